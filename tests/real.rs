//! The shipped weights on the scene they were never trained on. The scenes are not part of the project: where they are absent the test
//! says that it skipped. `ECHOGRID_DATA` names the folder; the default is `../shared/data` beside the checkout.

use echogrid::eval::metrics::Summary;
use echogrid::eval::{Protocol, evaluate, queries};
use echogrid::gpu::{AdapterChoice, Engine};
use echogrid::index::{Database, IndexConfig, LoadedModel, RESIDENT_BYTES, Searcher, build};
use echogrid::scene::ScenePair;
use std::path::PathBuf;

fn scene(name: &str) -> Option<(PathBuf, PathBuf)> {
    let data =
        std::env::var_os("ECHOGRID_DATA").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let folder = data.join("scenes").join(name);
    let (map, sar) = (folder.join("optical.tif"), folder.join("sar.tif"));
    if map.exists() && sar.exists() {
        return Some((map, sar));
    }
    eprintln!("SKIPPED: {} is not there", folder.display());
    None
}

#[test]
fn shipped_weights_find_aligned_queries_on_a_scene_never_trained_on() {
    let Some((map, sar)) = scene("inland-east") else { return };
    let engine = pollster::block_on(Engine::new(&AdapterChoice::from_option(None))).unwrap();
    let model = LoadedModel::load(None).unwrap();
    assert!(model.file.manifest.scenes.iter().all(|s| !s.map.contains("inland-east")), "trained on the scene it is judged on");
    let pair = ScenePair::open(&map, &sar, None).unwrap();
    let embedder = model.embedder(&engine, 32).unwrap();
    // One view a cell: the aligned protocol needs no more, and the test stays short.
    let grid = IndexConfig { views: 1, ..IndexConfig::default() };
    let database = build(&embedder, &model, &pair.map, &grid, Database::in_memory(), |_, _| {}).unwrap();
    assert_eq!(database.cells(), 233);
    let searcher = Searcher::new(&engine, &database, RESIDENT_BYTES).unwrap();
    let queries = queries(&pair, &database, Protocol::Aligned, 500, embedder.input(), 7).unwrap();
    let evaluation = evaluate(&embedder, &pair, &database, &searcher, queries).unwrap();
    let summary = Summary::new(&evaluation.results, 7).unwrap();
    let (r1, r10) = (summary.recall[&1].value, summary.recall[&10].value);
    assert!(r1 >= 0.35 && r10 >= 0.72, "R@1 {r1:.3}, R@10 {r10:.3}");
}

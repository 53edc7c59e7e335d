//! The shipped weights on the scene they were never trained on, and files of SAR ships. The data are not part of the project: where they are absent the test
//! says that it skipped. `ECHOGRID_DATA` names the folder; the default is `../shared/data` beside the checkout.

use echogrid::dense::{DenseModel, Structure};
use echogrid::detect::anchors::{anchors, letterboxed_sizes, size_iou};
use echogrid::detect::{Detection, ap, coco};
use echogrid::eval::metrics::Summary;
use echogrid::eval::{Protocol, evaluate, queries};
use echogrid::gpu::{AdapterChoice, Engine};
use echogrid::index::{Database, IndexConfig, LoadedModel, RESIDENT_BYTES, Searcher, build};
use echogrid::pairs::PairSet;
use echogrid::register::{DenseFinder, RegisterConfig, register};
use echogrid::scene::warp::{Target, resample};
use echogrid::scene::{Image, ScenePair};
use std::path::PathBuf;
use std::sync::Arc;

fn data() -> PathBuf {
    std::env::var_os("ECHOGRID_DATA").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from)
}

fn scene(name: &str) -> Option<(PathBuf, PathBuf)> {
    let folder = data().join("scenes").join(name);
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

#[test]
fn sets_of_pairs_are_read_and_lie_apart() {
    let folder = data().join("pairs");
    if !folder.exists() {
        return eprintln!("SKIPPED: {} is not there", folder.display());
    }
    for (sar, optical, count, shortest) in
        [("ombria_val/sar", "ombria_val/opt", 102, 256), ("srif/sar", "srif/opt", 91, 176), ("sih", "sih", 2, 1733)]
    {
        let set = PairSet::folders(&folder.join(sar), &folder.join(optical)).unwrap();
        assert_eq!((set.len(), set.shortest_side()), (count, shortest), "{sar}");
        let scene = set.scene(10.0).unwrap();
        let pixels: f64 = scene.places.iter().map(|p| f64::from(p.width) * f64::from(p.height)).sum();
        let size = [scene.pair.map.raster.width(), scene.pair.map.raster.height()].map(f64::from);
        let shown = scene.pair.sar_mask.share(0.0, 0.0, size[0], size[1]) * size[0] * size[1];
        println!("{sar}: {size:?} px, {:.2} % of the pairs have data, incomplete {:?}", 100.0 * shown / pixels, scene.incomplete());
        assert!(shown > 0.9 * pixels && shown <= pixels + 1.0, "{sar}: {shown} of {pixels} px");
    }
}

/// Metres to the right and down, degrees clockwise, factors along the image's rows and columns.
type Displacement = ([f64; 2], f64, [f64; 2]);

/// A displaced SAR scene, its georeference kept as if nothing had happened, comes back to where the displacement that was planted says. The
/// scene is a mosaic whose tiles lie up to 7 px off the map each, so it is compared with where the scene itself is registered, and only
/// loosely with its own georeference. `ECHOGRID_ALL_DISPLACEMENTS` set: more of them.
#[test]
fn a_displaced_sar_scene_comes_back_within_two_pixels() {
    let Some((map, sar)) = scene("inland-east") else { return };
    let engine = pollster::block_on(Engine::new(&AdapterChoice::from_option(None))).unwrap();
    let pair = ScenePair::open(&map, &sar, None).unwrap();
    let features = DenseModel::structure(Structure::default());
    let dir = tempfile::tempdir().unwrap();
    let all: [Displacement; 4] = [
        ([0.0, 0.0], 0.0, [1.0, 1.0]),
        ([300.0, -400.0], 3.0, [1.02, 1.02]),
        ([-500.0, 0.0], -3.0, [0.98, 0.98]),
        ([350.0, 350.0], 1.5, [1.02, 0.98]),
    ];
    let count = if std::env::var_os("ECHOGRID_ALL_DISPLACEMENTS").is_some() { all.len() } else { 2 };
    let median = |mut v: Vec<f64>| {
        v.sort_by(f64::total_cmp);
        v[v.len() / 2]
    };
    let apart = |p: [f64; 2], q: [f64; 2]| (p[0] - q[0]).hypot(p[1] - q[1]);
    let mut plain = None;
    for (i, (shift_m, degrees, scale)) in all.into_iter().enumerate().take(count) {
        let raster = &pair.sar.raster;
        let size = [raster.width(), raster.height()].map(f64::from);
        let pixel_m = raster.ground_pixel_size().unwrap().0;
        let (sin, cos) = degrees.to_radians().sin_cos();
        // Where a pixel of the displaced image shows the scene, and the other way round.
        let place = |p: [f64; 2]| {
            let [x, y] = [0, 1].map(|d| p[d] - size[d] / 2.0 - shift_m[d] / pixel_m);
            let [x, y] = [cos * x + sin * y, -sin * x + cos * y];
            [x / scale[0] + size[0] / 2.0, y / scale[1] + size[1] / 2.0]
        };
        let back = |q: [f64; 2]| {
            let [x, y] = [0, 1].map(|d| (q[d] - size[d] / 2.0) * scale[d]);
            [cos * x - sin * y + size[0] / 2.0 + shift_m[0] / pixel_m, sin * x + cos * y + size[1] / 2.0 + shift_m[1] / pixel_m]
        };
        let path = dir.path().join(format!("displaced-{i}.tif"));
        let target = Target { width: raster.width(), height: raster.height(), geo: raster.geo(), crs: raster.crs() };
        resample(raster, &path, &target, &place, |_, _| {}).unwrap();
        let displaced = Arc::new(Image::sar(&path, None).unwrap());
        let mut finder = DenseFinder::new(&engine, &features, pair.map.clone(), displaced.clone(), 4).unwrap();
        let info = finder.info().clone();
        let found = register(&info, &displaced, &mut finder, &RegisterConfig::default(), |_, _, _| {}).unwrap();
        let model = found.fit.model.clone();
        let undisplaced = plain.get_or_insert_with(|| model.clone());
        let (mut from_plain, mut from_own) = (Vec::new(), Vec::new());
        for k in 0..20 * 20 {
            let p = [k % 20, k / 20].map(|v| (f64::from(v) + 0.5) / 20.0);
            let p = [p[0] * f64::from(info.width), p[1] * f64::from(info.height)];
            if pair.sar_share(p, 50.0).unwrap() < 0.5 {
                continue;
            }
            let q = pair.link().apply(p).unwrap();
            let got = model.to_map(back(q)).unwrap();
            from_plain.push(apart(got, undisplaced.to_map(q).unwrap()));
            from_own.push(apart(got, p));
        }
        let (from_plain, from_own) = (median(from_plain), median(from_own));
        let fit = &found.fit;
        println!(
            "{shift_m:?} m, {degrees} degrees, x {scale:?}: {} off by {from_plain:.2} px (its georeference: {from_own:.2} px); {} of {} first \
             patches agree (1e{:.0} by chance, {} variants), {} of {} fixes; residuals {:.2} px median, {:.2} px rms, left out {:.2}; {:?}; \
             {:.1} s + {:.1} s",
            model.kind.name(),
            found.coarse.agreeing,
            found.coarse.patches,
            found.coarse.chance_log10,
            found.coarse.variants,
            fit.inliers(),
            found.sought,
            fit.median_px(),
            fit.rms_px(),
            fit.held_out_rms_px(),
            found.pose,
            found.seconds[0],
            found.seconds[1],
        );
        assert!(from_plain < 2.0 && from_own < 4.0, "{from_plain} px, {from_own} px");
    }
}

/// SSDD's images and boxes, and its anchors, which fit at least as well as those that are known of this split. The boxes themselves as detections are all right.
#[test]
fn ssdd_is_read_and_its_boxes_have_the_anchors_that_are_known() {
    let folder = data().join("ships/ssdd");
    if !folder.join("train.json").exists() {
        return eprintln!("SKIPPED: {} is not there", folder.display());
    }
    let [train, val] = ["train.json", "val.json"].map(|name| coco::read(&folder.join(name), Some(&folder.join("images"))).unwrap());
    assert_eq!([train.images.len(), train.boxes(), val.images.len(), val.boxes()], [714, 1747, 154, 228]);
    let groups =
        |set: &echogrid::detect::Dataset| set.images.iter().map(|i| i.group.clone().unwrap()).collect::<std::collections::BTreeSet<_>>();
    assert!(groups(&train).is_disjoint(&groups(&val)));

    let sizes = letterboxed_sizes(&train, 416);
    let known =
        [[8.0, 10.0], [16.0, 11.0], [10.0, 18.0], [12.0, 27.0], [25.0, 15.0], [42.0, 21.0], [21.0, 44.0], [87.0, 38.0], [44.0, 88.0]];
    let fit = |s: &[f64; 2]| known.iter().map(|k| size_iou(*s, *k)).fold(0.0, f64::max);
    let theirs = sizes.iter().map(fit).sum::<f64>() / sizes.len() as f64;
    let ours = anchors(&sizes, 9, 1).unwrap();
    println!("anchors {:.0?}: mean IoU {:.4}, of the known ones {theirs:.4}", ours.sizes, ours.mean_iou);
    assert!(ours.mean_iou >= theirs, "{ours:?}, known: {theirs}");

    let found: Vec<Vec<Detection>> =
        val.images.iter().map(|i| i.boxes.iter().map(|b| Detection { bbox: b.bbox, score: 0.5, category: b.category }).collect()).collect();
    let figures = ap::coco(&val, &found, ap::MAX_DETECTIONS).unwrap();
    assert!(figures.twelve().iter().take(6).all(|v| (v - 1.0).abs() < 1e-12), "{figures:?}");
    let estimate = ap::interval(&val, &found, ap::Measure::Coco, ap::MAX_DETECTIONS, 1).unwrap();
    assert_eq!(estimate.ci95.map(|v| (v * 1e9).round()), [1e9; 2]);
}

//! The methods over a made-up database: what holds for each of them.

use super::*;
use crate::gpu::AdapterChoice;
use crate::index::{DatabaseManifest, IndexConfig};
use crate::nn::{Architecture, EncoderConfig, Head, Sharing};
use crate::scene::MapInfo;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;

const DIM: usize = 16;
const CELLS: usize = 40;
const ALL: [Method; 7] = [Method::None, Method::Graph, Method::Aqe, Method::Krnn, Method::Gnnrr, Method::Superglobal, Method::Vote];

fn engine() -> Engine {
    pollster::block_on(Engine::new(&AdapterChoice::from_option(None))).expect("a GPU adapter (see `make test`)")
}

/// Unit vectors.
fn vectors(n: usize, seed: u64) -> Vec<f32> {
    let mut all: Vec<f32> = (0..(n * DIM) as u64).map(|i| crate::random::unit(seed << 32 | i) as f32 - 0.3).collect();
    for v in all.chunks_mut(DIM) {
        let length = v.iter().map(|x| x * x).sum::<f32>().sqrt();
        v.iter_mut().for_each(|x| *x /= length);
    }
    all
}

/// Cells of one view in rows of eight, 200 px of 2 m apart, the first at `at`.
fn database(folder: &std::path::Path, at: [f64; 2]) -> Database {
    let manifest = DatabaseManifest {
        kind: "database".into(),
        version: "0".into(),
        model: "a".into(),
        map: MapInfo {
            name: "map.tif".into(),
            sha256: "00".into(),
            standardisation: serde_json::Value::Null,
            files: Vec::new(),
            crs: "EPSG:32611".into(),
            geotransform: [500_000.0, 2.0, 0.0, 4_000_000.0, 0.0, -2.0],
            width: 4000,
            height: 3000,
            pixel_m: [2.0, 2.0],
        },
        grid: IndexConfig { cell: 200, stride: 200, views: 1, ..IndexConfig::default() },
        adapter: "none".into(),
    };
    let rows: Vec<u8> = vectors(CELLS, 5).iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
    let ids: Vec<u8> = (0..CELLS as u32).flat_map(u32::to_le_bytes).collect();
    let centre = |i: usize| [at[0] + 200.0 * (i % 8) as f64, at[1] + 200.0 * (i / 8) as f64];
    let cells: Vec<u8> = (0..CELLS).flat_map(|i| centre(i).map(f64::to_le_bytes).concat()).collect();
    let views = [
        ("rows", Dtype::F16, vec![CELLS, DIM], &rows),
        ("row_id", Dtype::U32, vec![CELLS], &ids),
        ("cell_px", Dtype::F64, vec![CELLS, 2], &cells),
        ("cell_lonlat", Dtype::F64, vec![CELLS, 2], &cells),
    ];
    let views = views.map(|(name, dtype, shape, data)| (name, TensorView::new(dtype, shape, data).unwrap()));
    let meta = HashMap::from([("echogrid".to_string(), serde_json::to_string(&manifest).unwrap())]);
    let path = folder.join(format!("{}.db", at[0]));
    std::fs::write(&path, safetensors::serialize(views, Some(meta)).unwrap()).unwrap();
    Database::open(&path).unwrap()
}

/// Cells and scores alone.
fn found(hits: &[Vec<CellHit>]) -> Vec<Vec<(u32, f32)>> {
    hits.iter().map(|h| h.iter().map(|h| (h.cell, h.score)).collect()).collect()
}

fn cells(hits: &[CellHit]) -> Vec<u32> {
    hits.iter().map(|h| h.cell).collect()
}

#[test]
fn each_method_keeps_what_it_must() {
    let (engine, folder) = (engine(), tempfile::tempdir().unwrap());
    let (here, there) = (database(folder.path(), [100.0, 100.0]), database(folder.path(), [1124.0, 612.0]));
    let [searcher, other] = [&here, &there].map(|d| Searcher::new(&engine, d, u64::MAX).unwrap());
    let n = 6;
    let queries = vectors(n, 9);
    let hits = searcher.search(&engine, &queries, 30).unwrap();
    let moved = other.search(&engine, &queries, 30).unwrap();
    // Two strips: of four queries, and of two.
    let strip = |queries: Range<usize>| Strip { offsets_m: queries.clone().map(|i| [400.0 * i as f64, 8.0]).collect(), queries };
    let strips = [strip(0..4), strip(4..6)];
    // A graph network of start values: what it says is arbitrary, but no accident of order or place.
    let config = RefinerConfig { top: 12, near: 3, width: 8, heads: 2, embedding: true, ..RefinerConfig::default() };
    let head = Head::Grid { cells: 4, channels: DIM / 16 };
    let architecture = Architecture::Residual { stem: Vec::new(), stages: Vec::new() };
    let encoder = EncoderConfig::new(architecture, 8, Sharing::Separate, head);
    let refiner = Refiner::random(&engine, &config, &encoder).unwrap();
    let slider = Slider::of(&engine, DIM, crate::kernels::slide::Slide { side: 4, reach: 1 }).unwrap();
    let mut different = 0;
    for (method, slider) in ALL.into_iter().map(|m| (m, None)).chain([Method::None, Method::Vote].map(|m| (m, Some(&slider)))) {
        let request = Request {
            searcher: &searcher,
            database: &here,
            queries: &queries,
            hits: &hits,
            strips: &strips,
            top: 12,
            slider,
            refiner: Some(&refiner),
        };
        let got = refine(&engine, method, &request).unwrap();
        let slid = slider.is_some() && method == Method::None;
        different += usize::from(got.iter().zip(&hits).any(|(a, b)| cells(a) != cells(b)));
        for (got, old) in got.iter().zip(&hits) {
            let ordered = if method == Method::Aqe || slid { got.len() } else { 12 };
            assert!(got[..ordered].windows(2).all(|w| w[0].score >= w[1].score), "{method:?}: {got:?}");
            let sorted = |h: &[CellHit]| {
                let mut all: Vec<(u32, u32)> = h.iter().map(|h| (h.cell, h.row)).collect();
                all.sort_unstable();
                all
            };
            match method {
                Method::Vote | Method::Graph => {
                    // Cells from the rest of the strip come in, none is lost, none is there twice.
                    let (now, before) = (sorted(got), sorted(old));
                    assert!(before.iter().all(|h| now.contains(h)) && now.windows(2).all(|w| w[0] != w[1]), "{method:?}: {now:?}");
                }
                Method::Aqe => assert_eq!(got.len(), old.len()),
                Method::None if slid => assert_eq!(sorted(got), sorted(old), "slid: the same candidates"),
                _ => {
                    assert_eq!(got[12..], old[12..], "{method:?}: those behind stay");
                    assert_eq!(sorted(&got[..12]), sorted(&old[..12]), "{method:?}: the same candidates");
                }
            }
        }
        // Where the map lies changes nothing; these distances are exact.
        let there = Request { searcher: &other, database: &there, hits: &moved, ..request };
        assert_eq!(found(&refine(&engine, method, &there).unwrap()), found(&got), "{method:?}: moved");
        // Strips in another order give their results in that order.
        let turn = |i: usize| (i + 4) % n;
        let turned: Vec<f32> = (0..n).flat_map(|i| queries[turn(i) * DIM..][..DIM].to_vec()).collect();
        let turned_hits: Vec<Vec<CellHit>> = (0..n).map(|i| hits[turn(i)].clone()).collect();
        let turned_strips = [Strip { queries: 0..2, ..strips[1].clone() }, Strip { queries: 2..6, ..strips[0].clone() }];
        let request = Request { queries: &turned, hits: &turned_hits, strips: &turned_strips, ..request };
        let again = refine(&engine, method, &request).unwrap();
        assert!((0..n).all(|i| again[i] == got[turn(i)]), "{method:?}: permuted");
        // A query's candidates of an empty list stay none.
        let none = vec![Vec::new(); n];
        assert!(refine(&engine, method, &Request { hits: &none, ..request }).unwrap().iter().all(Vec::is_empty), "{method:?}");
    }
    assert_eq!(different, ALL.len() + 1, "all but `none` without a slider find another order");
}

#[test]
fn a_strip_outvotes_a_better_cosine_elsewhere() {
    let (engine, folder) = (engine(), tempfile::tempdir().unwrap());
    let database = database(folder.path(), [100.0, 100.0]);
    let searcher = Searcher::new(&engine, &database, u64::MAX).unwrap();
    let queries = vectors(3, 9);
    let hit = |cell: u32, score: f32| CellHit { cell, score, centre_px: database.cell_px[cell as usize], row: cell };
    // The strip runs right from cell 10 by a cell of 400 m a query. Each query's best is elsewhere, and no two of those agree.
    let hits = [vec![hit(31, 0.6), hit(10, 0.5)], vec![hit(0, 0.6), hit(11, 0.5)], vec![hit(39, 0.6), hit(12, 0.5)]];
    let strips = [Strip { queries: 0..3, offsets_m: vec![[0.0, 0.0], [400.0, 0.0], [800.0, 0.0]] }];
    let request = Request {
        searcher: &searcher,
        database: &database,
        queries: &queries,
        hits: &hits,
        strips: &strips,
        top: 20,
        slider: None,
        refiner: None,
    };
    let got = refine(&engine, Method::Vote, &request).unwrap();
    assert_eq!(got.iter().map(|h| h[0].cell).collect::<Vec<_>>(), [10, 11, 12]);
    // Three votes of 0.5 that agree; what the others add is farther than three cells away: 3 * 0.6 exp(-4.5) at most.
    assert!(got.iter().all(|h| (1.5..1.53).contains(&h[0].score)), "{got:?}");
    let alone = refine(&engine, Method::Vote, &Request { strips: &Strip::singles(3), ..request }).unwrap();
    assert_eq!(alone.iter().map(|h| h[0].cell).collect::<Vec<_>>(), [31, 0, 39], "nothing agrees within a query");
}

/// Vectors of 4 x 4 squares of one channel; a square is 50 px of a cell of 200.
#[test]
fn a_candidate_slides_to_where_the_query_lies_and_not_beyond_its_cell() {
    let (engine, folder) = (engine(), tempfile::tempdir().unwrap());
    let database = database(folder.path(), [100.0, 100.0]);
    let slide = crate::kernels::slide::Slide { side: 4, reach: 1 };
    let slider = Slider::of(&engine, DIM, slide).unwrap();
    // The query shows what cell 10 does, one square further right and one further up.
    let c = database.row_values(10);
    let seen = |x: usize, y: usize| if x < 3 && y > 0 { c[(y - 1) * 4 + x + 1] } else { 0.0 };
    let query: Vec<f32> = (0..DIM).map(|p| seen(p % 4, p / 4)).collect();
    let hit = |cell: u32, row: u32| CellHit { cell, score: -2.0, centre_px: [7.0, 7.0], row };
    // Cell 11 begins 100 px right of where row 10's view has its centre: for it the view is already outside, and stays.
    let hits = [vec![hit(20, 20), hit(11, 10), hit(10, 10)]];
    let got = slider.slide(&engine, &database, &query, &hits).unwrap();
    assert_eq!(got[0].len(), 3);
    assert_eq!((got[0][0].cell, got[0][0].row), (10, 10), "{got:?}");
    let moved = [0, 1].map(|d| got[0][0].centre_px[d] - database.cell_px[10][d]);
    assert!((moved[0] - 50.0).abs() < 25.0 && (moved[1] + 50.0).abs() < 25.0, "{moved:?}");
    // Nine of sixteen squares overlap.
    let same = query.iter().map(|v| v * v).sum::<f32>() * 16.0 / 9.0;
    assert!((got[0][0].score - same).abs() < 1e-5, "{got:?} {same}");
    assert_eq!(slide::shift(slide, &database, &got[0][0]), 2, "x + 1, y - 1 of nine");
    let outside = got[0].iter().find(|h| h.cell == 11).unwrap();
    assert_eq!(outside.centre_px, database.cell_px[10]);
    let plain: f32 = c.iter().zip(&query).map(|(a, b)| a * b).sum();
    assert!((outside.score - plain).abs() < 1e-5 && slide::shift(slide, &database, outside) == 4);
    // From where it slid it starts from its view again.
    assert_eq!(slider.slide(&engine, &database, &query, &got).unwrap(), got);
}

#[test]
fn refuses_what_does_not_fit() {
    let (engine, folder) = (engine(), tempfile::tempdir().unwrap());
    let database = database(folder.path(), [100.0, 100.0]);
    let searcher = Searcher::new(&engine, &database, u64::MAX).unwrap();
    let queries = vectors(2, 9);
    let hits = searcher.search(&engine, &queries, 5).unwrap();
    let strips = Strip::singles(2);
    let good = Request {
        searcher: &searcher,
        database: &database,
        queries: &queries,
        hits: &hits,
        strips: &strips,
        top: 5,
        slider: None,
        refiner: None,
    };
    let says = |request: &Request<'_>, word: &str| {
        for method in ALL {
            let e = refine(&engine, method, request).unwrap_err().to_string();
            assert!(e.contains(word), "{e}");
        }
    };
    says(&Request { queries: &queries[..DIM], ..good }, "16 values of queries of 16 for candidates of 2 queries");
    says(&Request { top: 0, ..good }, "above 0");
    says(&Request { strips: &strips[..1], ..good }, "the strips hold 1 queries of 2");
    says(&Request { strips: &strips[1..], ..good }, "in order");
    says(&Request { strips: &[Strip { queries: 0..2, offsets_m: vec![[0.0; 2]] }], ..good }, "an offset each");
    says(&Request { strips: &[Strip { queries: 0..2, offsets_m: vec![[0.0; 2], [f64::NAN, 0.0]] }], ..good }, "not a finite distance");
    assert_eq!(refine(&engine, Method::None, &good).unwrap(), hits);
    // A name is the one that reports carry.
    for method in ALL {
        assert_eq!(serde_json::to_value(method).unwrap(), method.name());
    }
}

#[test]
fn what_is_not_a_number_comes_last() {
    let hit = |cell: u32| CellHit { cell, score: 0.0, centre_px: [0.0; 2], row: cell };
    let hits = [hit(0), hit(1), hit(2), hit(3)];
    assert_eq!(cells(&reorder(&hits, &[f64::NAN, 1.0, 2.0])), [2, 1, 0, 3]);
    assert_eq!(cells(&reorder(&hits, &[1.0, 1.0, 2.0, 1.0])), [2, 0, 1, 3], "ties keep their order");
}

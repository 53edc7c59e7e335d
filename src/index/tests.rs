//! The database and the search against brute force on the host, over made-up rows.

use super::store::RowId;
use super::*;
use crate::gpu::{AdapterChoice, Engine};
use crate::scene::{Cell, MapInfo};
use std::path::Path;

const DIM: usize = 16;
const VIEWS: u32 = 3;

fn engine() -> Engine {
    pollster::block_on(Engine::new(&AdapterChoice::from_option(None))).expect("a GPU adapter (see `make test`)")
}

fn manifest(views: u32) -> DatabaseManifest {
    DatabaseManifest {
        kind: "database".into(),
        version: "0".into(),
        model: "a0123456789abcdef".into(),
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
        grid: IndexConfig { cell: 200, stride: 200, views, ..IndexConfig::default() },
        adapter: "none".into(),
    }
}

fn cells(n: usize) -> Vec<Cell> {
    (0..n)
        .map(|i| Cell {
            row: 0,
            col: i as u32,
            x0: 200 * i as u32,
            y0: 0,
            missing: 0.0,
            centre_px: (200.0 * i as f64 + 100.0, 100.0),
            centre_map: None,
            centre_lonlat: (i > 0).then_some((-117.0, 34.0 + i as f64)),
        })
        .collect()
}

/// Quarters from -1 to 1: products and sums are exact in f16 and f32 whatever the order, so ties are true ties, and there are many.
fn values(n: usize, seed: u64) -> Vec<f32> {
    (0..n as u64).map(|i| ((crate::random::splitmix(seed << 32 | i) % 9) as f32 - 4.0) / 4.0).collect()
}

#[test]
fn products_of_rows_of_any_length_are_exact() {
    for n in [0, 1, 7, 8, 63, 64, 65, 72, 200] {
        let (a, b) = (values(n, 1), values(n, 2));
        let halves: Vec<u8> = a.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
        let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
        assert_eq!(super::store::product(&halves, &b), expected, "{n}");
    }
}

/// A database of `n` cells of which some lack views, and its rows: (cell, view, values).
fn database(mut writer: Writer, n: usize) -> (Database, Vec<(u32, u32, Vec<f32>)>) {
    let manifest = manifest(VIEWS);
    let mut rows = Vec::new();
    for cell in 0..n as u32 {
        for view in 0..VIEWS * VIEWS {
            if view == 4 || !(cell + view).is_multiple_of(5) {
                rows.push((cell, view, values(DIM, u64::from(cell * 9 + view) + 10)));
            }
        }
    }
    writer.begin(DIM).unwrap();
    for some in rows.chunks(7) {
        writer.rows(&some.iter().flat_map(|r| r.2.clone()).collect::<Vec<_>>()).unwrap();
    }
    let ids: Vec<RowId> = rows.iter().map(|r| RowId::new(&manifest.grid, r.0, r.1)).collect();
    (writer.finish(manifest, &cells(n), &ids).unwrap(), rows)
}

#[test]
fn comes_back_from_disk_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.db");
    let (written, rows) = database(Database::writer(&path), 23);
    let read = Database::open(&path).unwrap();
    for db in [&written, &read] {
        assert_eq!((db.len(), db.dim(), db.cells()), (rows.len(), DIM, 23));
        assert_eq!(db.manifest, manifest(VIEWS));
        assert_eq!((db.cell_px[3], db.cell_lonlat[3]), ([700.0, 100.0], [-117.0, 37.0]));
        assert!(db.cell_lonlat[0][0].is_nan(), "a cell of unknown place");
        let halves: &[u8] = db.row_bytes(0..rows.len());
        for (i, (cell, view, v)) in rows.iter().enumerate() {
            let row = db.row(i);
            // Views lie a third of the stride apart, row by row, the fifth on the cell.
            let offset = |k: u32| (f64::from(k) - 1.0) * 200.0 / 3.0;
            let want = [200.0 * f64::from(*cell) + 100.0 + offset(view % 3), 100.0 + offset(view / 3)];
            assert!(row.cell == *cell && row.centre_px.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9), "row {i}: {row:?}, {want:?}");
            let got = halves[i * 2 * DIM..][..2 * DIM].chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32());
            assert!(got.eq(v.iter().copied()), "row {i}");
        }
    }
    let (geo, crs) = read.georeference().unwrap();
    assert_eq!((geo.coefficients()[0], crs.epsg()), (500_000.0, Some(32611)));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn refuses_another_model_and_broken_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.db");
    let (db, _) = database(Database::writer(&path), 5);
    db.check_model("a0123456789abcdef", Path::new("right.safetensors")).unwrap();
    let e = db.check_model("b0123456789abcdef", Path::new("wrong.safetensors")).unwrap_err().to_string();
    for word in ["city.db: was made with model a0123456789", "not with b0123456789", "wrong.safetensors", "--model", "echogrid index"] {
        assert!(e.contains(word), "{e}");
    }
    drop(db);
    let whole = std::fs::read(&path).unwrap();
    let broken = folder.path().join("broken.db");
    let says = |bytes: &[u8], word: &str| {
        std::fs::write(&broken, bytes).unwrap();
        let e = Database::open(&broken).unwrap_err().to_string();
        assert!(e.contains("broken.db") && e.contains(word) && e.contains("echogrid index"), "{e}");
    };
    for cut in [1, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        says(&whole[..cut], "cut short");
    }
    says(&[0xff; 4096], "not a database");
    let text = String::from_utf8_lossy(&whole).into_owned();
    let swap = |from: &str, to: &str| {
        assert!(from.len() == to.len() && text.contains(from), "{from}");
        let at = whole.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut bytes = whole.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    says(&swap("\"row_id\"", "\"row_ix\""), "`row_id` is missing");
    says(&swap("\"echogrid\"", "\"elsewise\""), "no echogrid manifest");
    says(&swap("\\\"views\\\":3", "\\\"views\\\":0"), "0 views a side");
    says(&swap("\\\"views\\\":3", "\\\"views\\\":1"), "do not fit each other");
    assert!(Database::open(&folder.path().join("none.db")).unwrap_err().to_string().contains("cannot be opened"));
    let e = Database::writer(Path::new("/nonexistent/folder/city.db")).begin(4).unwrap_err().to_string();
    assert!(e.contains("cannot be written") && e.contains("create the folder /nonexistent/folder first"), "{e}");
}

/// The best cells of a query by sorting all of them: the best view of each, the earlier of equals; ties to the lower cell.
fn brute_force(rows: &[(u32, u32, Vec<f32>)], query: &[f32], k: usize) -> Vec<(u32, f32, u32)> {
    let mut best: Vec<(u32, f32, u32)> = Vec::new();
    for (cell, view, v) in rows {
        let score: f32 = v.iter().zip(query).map(|(a, b)| a * b).sum();
        match best.last_mut().filter(|b| b.0 == *cell) {
            Some(b) if score > b.1 => *b = (*cell, score, *view),
            Some(_) => {}
            None => best.push((*cell, score, *view)),
        }
    }
    best.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    best.truncate(k);
    best
}

#[test]
fn search_is_brute_force() {
    let engine = engine();
    let (db, rows) = database(Database::in_memory(), 211);
    let many = 300;
    let queries = values(many * DIM, 3);
    // Everything resident in one shard, in shards of 37 rows, and streamed in such shards.
    for (resident, shard) in [(u64::MAX, 64 << 20), (u64::MAX, 37 * 2 * DIM as u64), (0, 37 * 2 * DIM as u64)] {
        let searcher = Searcher::with_shards(&engine, &db, resident, shard).unwrap();
        // Short lists, one that is sorted in device memory, and more than there are cells.
        for (k, n) in [(1, many), (10, many), (150, 20), (1000, 3)] {
            let got = searcher.search(&engine, &queries[..n * DIM], k).unwrap();
            assert_eq!(got.len(), n);
            let mut ties = 0;
            for (q, hits) in got.iter().enumerate() {
                let want = brute_force(&rows, &queries[q * DIM..][..DIM], k);
                let got: Vec<(u32, f32)> = hits.iter().map(|h| (h.cell, h.score)).collect();
                assert_eq!(got, want.iter().map(|w| (w.0, w.1)).collect::<Vec<_>>(), "query {q}, k = {k}, shards of {shard} bytes");
                for (hit, (cell, _, view)) in hits.iter().zip(&want) {
                    let offset = db.manifest.grid.offset(*view);
                    assert_eq!(hit.centre_px, [200.0 * f64::from(*cell) + 100.0 + offset[0], 100.0 + offset[1]], "the best view");
                }
                ties += want.windows(2).filter(|w| w[0].1 == w[1].1).count();
            }
            assert!(k == 1 || ties > n, "{ties} ties");
        }
        // Among some cells alone: what brute force over their rows finds.
        let sets: Vec<std::collections::HashSet<u32>> =
            (0..20u32).map(|q| (0..211).filter(|c| (c * 7 + q) % 31 < q % 4 * 5).collect()).collect();
        let got = searcher.search_among(&engine, &queries[..20 * DIM], 4, &sets).unwrap();
        for (q, (hits, set)) in got.iter().zip(&sets).enumerate() {
            let some: Vec<_> = rows.iter().filter(|r| set.contains(&r.0)).cloned().collect();
            let want = brute_force(&some, &queries[q * DIM..][..DIM], 4);
            let got: Vec<(u32, f32)> = hits.iter().map(|h| (h.cell, h.score)).collect();
            assert_eq!(got, want.iter().map(|w| (w.0, w.1)).collect::<Vec<_>>(), "query {q} among {} cells", set.len());
        }
        assert!(searcher.search(&engine, &[], 5).unwrap().is_empty());
        let e = searcher.search(&engine, &queries[..DIM + 1], 5).unwrap_err().to_string();
        assert!(e.contains("17 values for rows of 16"), "{e}");
    }
}

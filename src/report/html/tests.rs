//! The page: rows, escapes, limits.

use std::collections::BTreeMap;

use super::super::figures;
use super::super::tests::{dense, fix, pictures};
use super::*;
use crate::eval::metrics::{QueryResult, Summary};

fn meta() -> ReportMeta {
    ReportMeta { title: "Sample".into(), version: "0.1.0".into(), ..ReportMeta::default() }
}

fn noise(seed: u64, width: u32, height: u32) -> Thumb {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let rgb = (0..width * height * 3)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 56) as u8
        })
        .collect();
    Thumb::new(width, height, rgb).unwrap()
}

#[test]
fn one_row_a_query_and_frames_by_truth() {
    let fixes = [fix("a", 1.0, 2.0, 1), fix("b", 1.1, 2.0, 2), fix("c", 1.2, 2.0, 0), fix("d", 1.3, 2.0, 9)];
    let meta = meta();
    let page = Page::new(&meta, &fixes).render().unwrap();
    assert_eq!(page.matches("<article").count(), 4);
    assert_eq!(page.matches("class=\"cell right\"").count(), 2);
    assert_eq!(page.matches("class=\"cell wrong\"").count(), 2 + 2 + 3);
    assert_eq!(page.matches("class=\"cell unknown\"").count(), 3);
    assert!(page.contains("right cell at rank 2") && page.contains("not among the best 3"));
    assert!(page.contains("All 4 shown") && page.contains("Wrong 2"));
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
}

#[test]
fn hostile_names_are_escaped() {
    let evil = "<script>alert('\"x\"')</script>";
    let fixes = [fix(evil, 1.0, 2.0, 2)];
    let mut meta = meta();
    for field in [&mut meta.title, &mut meta.command, &mut meta.map, &mut meta.sar, &mut meta.model, &mut meta.adapter, &mut meta.version] {
        *field = evil.to_string();
    }
    meta.rows.push((evil.to_string(), evil.to_string()));
    let summary = Summary::new(&[QueryResult::default()], 1).unwrap();
    let report = EvalReport::new(evil, 1, evil, BTreeMap::from([(evil.to_string(), 1.0)]), &summary);
    let overview = MapOverview { thumb: noise(1, 30, 20), scale: 10.0, pixel_m: 10.0 };
    let figures = [(evil.to_string(), evil.to_string())];
    let mut page = Page::new(&meta, &fixes);
    (page.summary, page.overview, page.figures) = (Some(&report), Some(&overview), &figures);
    let text = page.render().unwrap();
    assert!(!text.contains("<script") && !text.contains("'\"x\"'"), "{text}");
    assert!(text.contains("&lt;script&gt;"));
}

#[test]
fn many_queries_stay_under_the_limit() {
    let fixes: Vec<Fix> = (0..60).map(|i| fix(&format!("q{i}"), 1.0, 2.0, i % 3)).collect();
    let all: Vec<Pictures> = (0..60).map(|i| Pictures { patch: Some(noise(i, 100, 100)), ..pictures() }).collect();
    let meta = meta();
    let mut page = Page::new(&meta, &fixes);
    page.pictures = &all;
    page.limit_bytes = 400_000;
    let text = page.render().unwrap();
    assert!(text.len() < page.limit_bytes, "{}", text.len());
    let pictured = text.matches("<article").count();
    assert!((5..60).contains(&pictured), "{pictured}");
    assert!(text.contains(&format!("The first {pictured} of 60 are shown with pictures")));
    assert_eq!(text.matches("<tr class=\"q ").count(), 60 - pictured);
}

#[test]
fn a_picture_that_does_not_fill_its_size_is_refused() {
    let mut bad = pictures();
    bad.candidates[1] = Thumb { width: 9, height: 9, rgb: vec![0; 5] };
    let (meta, fixes) = (meta(), [fix("q3", 1.0, 2.0, 1)]);
    let text = Page { pictures: &[bad], ..Page::new(&meta, &fixes) }.render().unwrap_err().to_string();
    assert!(text.contains("candidate 2 of q3") && text.contains("need 243 bytes"), "{text}");
}

#[test]
fn an_empty_page_renders() {
    let text = Page::new(&meta(), &[]).render().unwrap();
    assert!(text.contains("There are no queries.") && !text.contains("<article"));
}

#[test]
fn the_map_draws_each_fix_at_its_place() {
    let fixes = [fix("a", 1.0, 2.0, 1), fix("b", 1.1, 2.0, 2)];
    let overview = MapOverview { thumb: noise(1, 3200, 20), scale: 2.0, pixel_m: 10.0 };
    let meta = meta();
    let mut page = Page::new(&meta, &fixes);
    page.overview = Some(&overview);
    let text = page.render().unwrap();
    // Overview of 3,200 px shrunk to 1,600: 4 map pixels a unit.
    assert!(text.contains("viewBox=\"0 0 1600 10\"") && text.contains("cx=\"12.5\" cy=\"15.0\""), "{text}");
    assert_eq!(text.matches("class=\"truth\"").count(), 1);
}

#[test]
fn what_was_not_found_is_drawn_apart_and_claims_no_place() {
    let fixes =
        [dense("a", 1.0, 2.0, 1, true), dense("b", 1.1, 2.0, 0, true), dense("c", 1.2, 2.0, 2, false), dense("d", 1.3, 2.0, 0, false)];
    let overview = MapOverview { thumb: noise(1, 320, 200), scale: 2.0, pixel_m: 10.0 };
    let meta = meta();
    let mut page = Page::new(&meta, &fixes);
    page.overview = Some(&overview);
    let text = page.render().unwrap();
    assert!(text.contains("<strong>2</strong> found, <strong>2</strong> not found"), "{text}");
    assert_eq!(text.matches("class=\"q lost\"").count(), 2);
    // Two ellipses of 40 x 20 m: 2 x 1 units beside marks of 1.4; the truth of "c" is known, that of "d" is not.
    assert!(text.contains("drawn 2 times as large"), "{text}");
    assert_eq!(text.matches("rx=\"4.0\" ry=\"2.0\" transform=\"rotate(-60.0 ").count(), 2);
    assert_eq!(text.matches("<a class=\"lost\"").count(), 1);
    assert!(
        text.contains("1 not found and not drawn") && text.contains("Not found 2") && !text.contains("NaN°") && !text.contains("=\"NaN")
    );
    assert!(text.contains("probability 87.5 %") && text.contains("turned 1.5") && text.contains("overlay of a"));
}

/// A city of blocks: an optical-looking picture, and a radar-looking one of the same place.
fn city(size: u32, seed: u64, x0: f64, y0: f64, radar: bool) -> Thumb {
    let hash = |a: i64, b: i64| {
        let mut z = (a.wrapping_mul(73_856_093) ^ b.wrapping_mul(19_349_663)) as u64 ^ seed;
        z = (z ^ (z >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((z >> 40) as f64) / f64::from(1u32 << 24)
    };
    let mut rgb = Vec::new();
    for y in 0..size {
        for x in 0..size {
            let (u, v) = (x0 + f64::from(x), y0 + f64::from(y));
            let (bu, bv) = ((u / 37.0).floor(), (v / 29.0).floor());
            let road = u - bu * 37.0 < 5.0 || v - bv * 29.0 < 5.0;
            let kind = hash(bu as i64, bv as i64);
            let inner = hash((u / 9.0) as i64, (v / 8.0) as i64);
            let river = (v - 300.0 - 60.0 * (u / 170.0).sin()).abs() < 22.0;
            let grain = hash(u as i64 * 7 + 3, v as i64 * 11 + 5);
            let base = match () {
                () if river => [58.0, 92.0, 108.0],
                () if road => [142.0, 140.0, 136.0],
                () if kind < 0.3 => [88.0, 118.0, 74.0],
                () if inner > 0.55 => [176.0, 150.0 + 20.0 * kind, 132.0],
                () => [120.0, 126.0, 104.0],
            };
            if radar {
                let echo = if river {
                    6.0
                } else if road {
                    22.0
                } else if kind < 0.3 {
                    60.0
                } else if inner > 0.55 {
                    190.0
                } else {
                    70.0
                };
                let g = (echo * (-(grain.max(1e-3)).ln()).sqrt() * 1.2).min(255.0) as u8;
                rgb.extend([g; 3]);
            } else {
                rgb.extend(base.map(|c: f64| (c + 24.0 * (grain - 0.5)).clamp(0.0, 255.0) as u8));
            }
        }
    }
    Thumb::new(size, size, rgb).unwrap()
}

/// Not a check but something to look at: `ECHOGRID_LOOK=DIR cargo test sample_page -- --ignored`.
#[test]
#[ignore = "writes a sample page and its figures to look at"]
fn sample_page() {
    let dir = std::env::var_os("ECHOGRID_LOOK").map_or_else(|| std::env::temp_dir().join("echogrid-look"), Into::into);
    std::fs::create_dir_all(&dir).unwrap();
    let mut fixes = Vec::new();
    for i in 0..24u32 {
        let (tx, ty) = (f64::from(i * 271 % 860) + 40.0, f64::from(i * 433 % 560) + 40.0);
        let right = [1, 1, 3, 1, 9, 2, 1][i as usize % 7];
        let mut f = fix(&format!("strip-07/{i:03}"), -118.25 + tx * 1e-4, 34.05 - ty * 1e-4, right);
        let original = f.candidates.clone();
        f.candidates = (1..=6u32)
            .map(|rank| {
                let mut c = original[0].clone();
                let (cx, cy) = if rank == right {
                    (tx, ty)
                } else {
                    (f64::from((i + rank * 97) * 53 % 860), f64::from((i * 3 + rank * 61) * 37 % 560))
                };
                c.rank = rank;
                c.score = 0.94 - 0.031 * rank as f32;
                c.right = Some(rank == right);
                c.distance_m = Some(if rank == right { 14.0 + f64::from(i) } else { (cx - tx).hypot(cy - ty) * 10.0 });
                c.thumb = Some(city(100, 1, cx - 50.0, cy - 50.0, false));
                c.lonlat = [-118.25 + cx * 1e-4, 34.05 - cy * 1e-4];
                c.center_map = [cx, cy];
                c
            })
            .collect();
        if i > 20 {
            for c in &mut f.candidates {
                (c.right, c.distance_m) = (None, None);
            }
            (f.truth_lonlat, f.truth_map_px) = (None, None);
            f.candidates[2].thumb = None;
        } else {
            f.truth_map_px = Some([tx * 10.0, ty * 10.0]);
        }
        f.map_px = f.candidates[0].center_map.map(|v| v * 10.0);
        f.lonlat = f.candidates[0].lonlat;
        f.sar_px = [f64::from(i * 200 + 100), 300.0];
        f.thumb = Some(city(100, 1, tx - 50.0, ty - 50.0, true));
        fixes.push(f);
    }
    let results = figures::tests::results(0);
    let other = figures::tests::results(300);
    let summary = Summary::new(&results, 7).unwrap();
    let seconds = BTreeMap::from([("encode map".to_string(), 3.4), ("encode queries".to_string(), 1.25), ("search".to_string(), 0.08)]);
    let report = EvalReport::new("aligned", 4_321, "llvmpipe (LLVM 15.0.6, 256 bits)", seconds, &summary);
    let curves = [&results, &other].map(|r| crate::eval::metrics::recall_curve(r, 20, 7).unwrap());
    let loss: Vec<(f64, f64)> =
        (0..3000).map(|i| (f64::from(i), 1.2 + 3.0 * (-f64::from(i) / 700.0).exp() + 0.4 * f64::from(i * 7919 % 100) / 100.0)).collect();
    let recall: Vec<(f64, f64)> = (1..=15).map(|i| (f64::from(i) * 200.0, 0.4 * (1.0 - (-f64::from(i) / 5.0).exp()))).collect();
    let figures = [
        (
            "Recall at k with its 95 % band".to_string(),
            figures::recall_curve(&[("aligned", &curves[0]), ("arbitrary", &curves[1])]).unwrap(),
        ),
        (
            "How far the first candidate is from the truth".to_string(),
            figures::error_cdf(&[("aligned", &results), ("arbitrary", &other)]).unwrap(),
        ),
        (
            "Training".to_string(),
            figures::training_curves(&[
                figures::Series { name: "loss".into(), points: loss, share: false },
                figures::Series { name: "recall".into(), points: recall, share: true },
            ])
            .unwrap(),
        ),
    ];
    for (i, (_, svg)) in figures.iter().enumerate() {
        figures::write(&dir.join(format!("figure{i}.svg")), svg).unwrap();
    }
    let overview = MapOverview {
        thumb: {
            let mut t = city(960, 1, 0.0, 0.0, false);
            t.height = 640;
            t.rgb.truncate(960 * 640 * 3);
            t
        },
        scale: 10.0,
        pixel_m: 10.0,
    };
    let meta = ReportMeta {
        title: "Inland strip located on the city map".into(),
        command: "echogrid locate --index city.eg --sar strip-07.tif --patch 200 --step 200 --top 10 --out fixes.geojson".into(),
        map: "city.tif, 9,600 x 6,400 px, 1 m, EPSG:32611".into(),
        sar: "strip-07.tif, 4,800 x 600 px, 1 m".into(),
        model: "echogrid-small 2f81c0d4".into(),
        adapter: "llvmpipe (LLVM 15.0.6, 256 bits)".into(),
        version: "0.1.0".into(),
        rows: vec![("Cells".into(), "1,536 of 200 px".into()), ("Seed".into(), "7".into())],
    };
    let mut page = Page::new(&meta, &fixes);
    (page.summary, page.overview, page.figures) = (Some(&report), Some(&overview), &figures);
    page.write(&dir.join("report.html")).unwrap();
    (page.figures, page.summary, page.limit_bytes) = (&[], None, 800_000);
    page.write(&dir.join("short.html")).unwrap();
    super::super::geojson::write(&dir.join("fixes.geojson"), &fixes).unwrap();
    super::super::csv::write_fixes(&dir.join("fixes.csv"), &fixes).unwrap();
}

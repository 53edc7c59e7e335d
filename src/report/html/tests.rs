//! The page: rows, escapes, limits; of several images in `images`.

mod images;

use std::collections::BTreeMap;

use base64::Engine as _;
use sha2::Digest as _;

use super::super::Thumb;
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
    // Without a map there is nothing for a script to do, and none may run.
    assert!(!page.contains("<script") && !page.contains("script-src") && !page.contains("http://") && !page.contains("https://"));
}

#[test]
fn the_policy_lets_the_one_script_run() {
    let overview = MapOverview::new(noise(1, 30, 20), 10.0, 10.0);
    let meta = meta();
    let text = Page { overview: Some(&overview), ..Page::new(&meta, &[]) }.render().unwrap();
    assert_eq!(text.matches("<script").count(), 1);
    // What a browser hashes: the text between the tags.
    let script = text.split("<script>").nth(1).and_then(|t| t.split("</script>").next()).unwrap();
    let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(script.as_bytes()));
    let policy = format!("content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{hash}'\"");
    assert!(text.contains(&policy), "{}", &text[..800]);
    assert!(!document::SCRIPT.contains("</") && !document::SCRIPT.contains("<!--") && !document::SCRIPT.contains('\r'));
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
    let overview = MapOverview::new(noise(1, 30, 20), 10.0, 10.0);
    let figures = [(evil.to_string(), evil.to_string())];
    let mut page = Page::new(&meta, &fixes);
    (page.summary, page.overview, page.figures) = (Some(&report), Some(&overview), &figures);
    let text = page.render().unwrap().replace(&format!("<script>{}</script>", document::SCRIPT), "");
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
    let overview = MapOverview::new(noise(1, 3200, 20), 2.0, 10.0);
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
    let overview = MapOverview::new(noise(1, 320, 200), 2.0, 10.0);
    let meta = meta();
    let shown = [Pictures { more: vec![("overlay".into(), noise(2, 4, 4))], ..pictures() }];
    let text = Page { overview: Some(&overview), pictures: &shown, ..Page::new(&meta, &fixes) }.render().unwrap();
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

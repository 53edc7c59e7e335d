//! The page of rows: escapes, frames, what is missing.

use super::*;

fn thumb(grey: u8) -> Thumb {
    Thumb::new(8, 8, vec![grey; 192]).unwrap()
}

fn candidate(right: bool, distance_m: f64) -> Candidate {
    Candidate { thumb: Some(thumb(90)), right, score: 0.75, distance_m, at_m: [distance_m, 100.0] }
}

fn asked(number: usize, rows: Vec<(&str, Vec<Candidate>)>) -> Asked {
    let rows = rows.into_iter().map(|(way, candidates)| Row { way: way.into(), candidates }).collect();
    Asked { number, patch: Some(thumb(20)), truth_m: [50.0, 100.0], rows }
}

fn page(queries: &[Asked]) -> String {
    let meta = ReportMeta { title: "<Rows> & \"more\"".into(), ..ReportMeta::default() };
    RetrievalPage::new(&meta, "chosen <by> hand", [5000.0, 4000.0], queries).render().unwrap()
}

/// The page between its heading and its footer.
fn body(page: &str) -> &str {
    page.split("<body>").nth(1).unwrap()
}

#[test]
fn frames_stand_only_at_right_ones() {
    let wrong = || candidate(false, 1234.0);
    let rows = vec![
        ("base", vec![wrong(), wrong(), wrong()]),
        ("base + graph", vec![wrong(), candidate(true, 12.0), wrong()]),
        ("critic", vec![candidate(true, 30.0)]),
    ];
    let text = page(&[asked(17, rows)]);
    let text = body(&text);
    assert_eq!(text.matches(r#"<figure class="at right""#).count(), 2);
    assert_eq!(text.matches(r#"<figure class="at""#).count(), 5);
    // Without colour, too: in the caption, and for those who hear the page.
    assert_eq!(text.matches(r#"<strong class="verdict">✓ right</strong>"#).count(), 2);
    assert_eq!(text.matches(r#"<span class="verdict">1.23 km off</span>"#).count(), 5);
    assert!(text.contains(r#"alt="candidate 2 of query 17 by base + graph, right""#) && text.contains(r#"alt="SAR patch of query 17""#));
    assert!(text.contains("none of 3 right") && text.contains("right at rank 2"));
    assert_eq!(text.matches("<img ").count(), text.matches("src=\"data:image/").count());
    assert_eq!([9.0, 9_994.0, 12_345.0, 152_300.0].map(off), ["9.0 m off", "9.99 km off", "12.3 km off", "152 km off"]);
    assert_eq!(text.matches("<img ").count(), text.matches(" alt=\"").count());
}

#[test]
fn names_are_escaped_and_nothing_comes_from_outside() {
    let text = page(&[asked(1, vec![("<b onclick=\"x\">&", vec![candidate(true, 0.0)])])]);
    assert!(text.contains("&lt;Rows&gt; &amp; &quot;more&quot;") && text.contains("chosen &lt;by&gt; hand"));
    assert!(text.contains("by &lt;b onclick=&quot;x&quot;&gt;&amp;, right"));
    assert!(!text.contains("<b ") && !text.contains("<by>") && !text.contains("<Rows>"));
    assert!(text.contains("default-src 'none'; img-src data:; style-src 'unsafe-inline'\""));
    assert!(!text.contains("<script") && !text.contains("http://") && !text.contains("https://") && !text.contains("url("));
}

#[test]
fn what_is_missing_or_no_number_breaks_nothing() {
    assert!(page(&[]).contains("There are no queries."));
    let bare = Candidate { thumb: None, right: false, score: f64::NAN, distance_m: f64::INFINITY, at_m: [f64::NAN; 2] };
    let mut query = asked(3, vec![("none", vec![]), ("bare", vec![bare.clone(), Candidate { right: true, ..bare }])]);
    (query.patch, query.truth_m) = (None, [f64::NAN; 2]);
    let text = page(&[query, asked(4, vec![])]);
    assert!(text.contains("no candidate") && text.contains(r#"<span class="verdict">wrong</span>"#) && text.contains("✓ right"));
    assert_eq!(body(&text).matches("no picture").count(), 3);
    assert!(!body(&text).contains("NaN") && !body(&text).contains("inf"), "{}", body(&text));

    let broken = Candidate { thumb: Some(Thumb { width: 2, height: 2, rgb: vec![0; 3] }), ..candidate(true, 0.0) };
    let meta = ReportMeta::default();
    assert!(RetrievalPage::new(&meta, "", [1.0, 1.0], &[asked(1, vec![("a", vec![broken])])]).render().is_err());
    assert!(RetrievalPage::new(&meta, "", [0.0, 1.0], &[]).render().is_err());
}

#[test]
fn ten_are_shown_and_the_page_stays_below_its_limit() {
    let noise = |seed: u32| {
        let rgb = (0..128 * 128 * 3u32).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect();
        Thumb::new(128, 128, rgb).unwrap()
    };
    let many = |seed| (0..14u32).map(|i| Candidate { thumb: Some(noise(seed + i)), ..candidate(false, 9.0) }).collect::<Vec<_>>();
    let queries: Vec<Asked> = (0..4).map(|q| asked(q, vec![("a", many(100)), ("b", many(200))])).collect();
    let meta = ReportMeta::default();
    let page = RetrievalPage { limit_bytes: 500_000, ..RetrievalPage::new(&meta, "", [5000.0, 4000.0], &queries) };
    let text = page.render().unwrap();
    assert_eq!(text.matches("<figure class=\"at\"").count(), 4 * 2 * 10);
    assert!(text.len() < 500_000, "{}", text.len());
    let whole = RetrievalPage { limit_bytes: DEFAULT_LIMIT_BYTES, ..page }.render().unwrap();
    assert!(whole.len() > 600_000, "coarser than need be: {}", whole.len());
}

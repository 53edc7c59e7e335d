//! Pages of images: rows, footprints, claimed places, size.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::super::{Failed, Overlay, Thumb};
use super::*;
use crate::dense::{Ellipse, Variant};
use crate::locate::{Displacement, Located, Method, Place, Verdict};
use crate::scene::{Frame, GeoTransform, Image, MapInfo, SampleData, write_geotiff};

/// An image of 60 x 40 pixels.
fn sar() -> Arc<Image> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sar.tif");
    let data: Vec<u8> = (0..60 * 40u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    write_geotiff(&path, 60, 40, 1, SampleData::U8(&data), None, None, None).unwrap();
    Arc::new(Image::sar(&path, None).unwrap())
}

fn frame(sar: &Image) -> Frame {
    let geo = GeoTransform::new([500_000.0, 10.0, 0.0, 4_000_000.0, 0.0, -10.0]).unwrap();
    let info = MapInfo {
        name: "map.tif".into(),
        files: Vec::new(),
        sha256: String::new(),
        standardisation: serde_json::Value::Null,
        crs: "EPSG:32611".into(),
        geotransform: geo.coefficients(),
        width: 1000,
        height: 800,
        pixel_m: [10.0; 2],
    };
    Frame::new(&info, sar, Some(10.0)).unwrap()
}

/// An image that was found, turned by a quarter: its upper left corner at map pixels 200, 100.
fn located(sar: &Arc<Image>, file: &str, fixes: Vec<Fix>) -> Located {
    let ellipse = Some(Ellipse { major_m: 37.2, minor_m: 20.0, azimuth_deg: 0.0 });
    let at = |x, y| Place { map_px: [x, y], map_xy: [0.0; 2], lonlat: [-117.38956, 33.83885], probability: Some(0.9988), ellipse };
    Located {
        file: file.into(),
        method: Method::Dense,
        verdict: Verdict::Here,
        place: Some(at(180.0, 130.0)),
        probability: Some(0.9988),
        footprint: vec![[-117.4, 33.9], [-117.4, 33.8], [-117.5, 33.8], [-117.5, 33.9]],
        to_map: Some([[0.0, -1.0, 200.0], [1.0, 0.0, 100.0]]),
        geotransform: None,
        variant: Variant::new(90.0, 1.0),
        agreeing: Some(fixes.len().saturating_sub(1)),
        fixes,
        claimed: Some(Place { ellipse: None, ..at(280.0, 130.0) }),
        displaced: Some(Displacement { metres: 1078.0, azimuth_deg: 315.0 }),
        frame: frame(sar),
        size: [sar.raster.width(), sar.raster.height()],
        image: Some(sar.clone()),
        threshold: Some(0.5),
        side_px: 20.0,
        step: 20,
        variants: 1,
        no_data: 0,
        outside: 0,
        matches: Vec::new(),
        seconds: BTreeMap::new(),
        warnings: vec!["a <doubt>".into()],
    }
}

/// A fix without a known truth that agrees with the others, or not.
fn patch(name: &str, agrees: bool) -> Fix {
    let mut fix = dense(name, -117.39, 33.84, 0, true);
    fix.claimed = Some(fix.place.unwrap());
    fix.agrees = Some(agrees);
    fix
}

/// The body without style and script.
fn body(page: &str) -> &str {
    page.split("<body>").nth(1).and_then(|b| b.split("<script>").next()).unwrap()
}

#[test]
fn one_image_is_a_sentence_with_a_neutral_claimed_place() {
    let sar = sar();
    let one = located(&sar, "data/sar.tif", vec![patch("p1", true), patch("p2", false)]);
    let overview = MapOverview::new(noise(1, 100, 80), 10.0, 10.0);
    let (meta, fixes, images) = (meta(), one.fixes.clone(), [Ok(&one)]);
    let page = Page { images: &images, overview: Some(&overview), ..Page::new(&meta, &fixes) }.render().unwrap();
    let text = body(&page);
    let plain = text.replace("<strong>", "").replace("</strong>", "").replace("<span class=\"nb\">", "").replace("</span>", "");
    let sentence = "sar.tif lies here with a probability of 99.9 %: 33.83885° N, 117.38956° W, ± 37 m; 1 of 2 patches agree; \
        displaced 1,078 m NW of where its georeference puts it.";
    assert!(plain.contains(sentence), "{plain}");
    // A claimed place is no truth: nothing is right or wrong, and a thin line leads from it to the place.
    for word in ["right", "wrong", "truth unknown"] {
        assert!(!text.contains(&format!("class=\"q {word}")) && !text.contains(&format!("<a class=\"{word}")), "{word}");
        assert!(!text.contains(&format!("key {word}")), "{word}");
    }
    assert!(text.contains("d=\"M28.0 13.0L18.0 13.0\"") && text.contains("on-claims"), "{text}");
    assert!(text.contains("<a class=\"unknown\" href=\"#q0\">") && text.contains("<a class=\"apart\" href=\"#q1\">"));
    // The turned outline of the image and of a patch, which its own variant turns by 1.5 degrees; no table of images.
    assert!(text.contains("d=\"M20.0 10.0L20.0 16.0L16.0 16.0L16.0 10.0z\""), "{text}");
    assert!(text.contains("class=\"unknown\" d=\"M4.0 5.0L6.0 5.0L6.0 7.0L4.0 7.0z\"") && !text.contains("plain images"), "{text}");
    assert!(text.contains("a &lt;doubt&gt;") && text.contains("<h2>Words</h2>") && text.contains("Claimed place"));
}

#[test]
fn where_the_truth_is_known_colours_say_right_and_wrong() {
    let sar = sar();
    let one = located(&sar, "sar.tif", vec![dense("a", 1.0, 2.0, 1, true), dense("b", 1.1, 2.0, 2, true)]);
    let overview = MapOverview::new(noise(1, 100, 80), 10.0, 10.0);
    let (meta, fixes, images) = (meta(), one.fixes.clone(), [Ok(&one)]);
    let page = Page { images: &images, overview: Some(&overview), ..Page::new(&meta, &fixes) }.render().unwrap();
    let text = body(&page);
    assert!(text.contains("<a class=\"right\"") && text.contains("<a class=\"wrong\"") && text.contains("1,078 m NW off the truth"));
    assert!(!text.contains("displaced") && !text.contains("on-claims") && text.contains("Right, wrong"), "{text}");
}

#[test]
fn several_images_have_a_row_each_that_leads_to_its_part() {
    let sar = sar();
    let here = located(&sar, "a/one.tif", vec![patch("p1", true)]);
    let mut check = located(&sar, "a/<b>two.tif", vec![patch("p1", true), patch("p2", true)]);
    (check.verdict, check.probability) = (Verdict::Check, Some(0.62));
    let mut none = located(&sar, "three.tif", vec![dense("p1", 1.0, 2.0, 0, false)]);
    (none.verdict, none.place, none.to_map, none.displaced, none.probability) = (Verdict::NotHere, None, None, None, Some(0.04));
    let failed = Failed { file: "four.tif", problem: "four.tif: no <pixels>".into() };
    let images = [Ok(&here), Ok(&check), Err(failed), Ok(&none)];
    let fixes: Vec<Fix> = images.iter().flatten().flat_map(|l| l.fixes.clone()).collect();
    let overview = MapOverview::new(noise(1, 100, 80), 10.0, 10.0);
    let meta = meta();
    let page = Page { images: &images, overview: Some(&overview), ..Page::new(&meta, &fixes) }.render().unwrap();
    let text = body(&page);
    for (i, (name, badge)) in
        [("one.tif", "here"), ("&lt;b&gt;two.tif", "check"), ("four.tif", "failed"), ("three.tif", "not on this map")].iter().enumerate()
    {
        let row =
            text.split("<tr>").find(|r| r.contains(&format!("href=\"#i{i}\">{name}</a>"))).unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(row.contains(&format!(">{badge}</span>")), "{row}");
        assert_eq!(text.matches(&format!("id=\"i{i}\"")).count(), 1);
        // Each part has its own patches.
        let part = text.split(&format!("id=\"i{i}\"")).nth(1).and_then(|p| p.split("class=\"part\"").next()).unwrap();
        assert_eq!(part.matches("<article").count(), [1, 2, 0, 1][i], "{part}");
    }
    let row = text.split("<tr>").find(|r| r.contains("#i0")).unwrap();
    for cell in ["33.83885° N, 117.38956° W", "37 m", "99.9 %", "0 of 1", "1,078 m NW"] {
        assert!(row.contains(&format!(">{cell}</td>")), "{cell}: {row}");
    }
    assert!(text.contains("no &lt;pixels&gt;") && text.contains("a class=\"check\" href=\"#i1\""), "{text}");
    assert!(text.contains("<strong>1</strong> may lie on it") && text.contains("four.tif</strong> could not be located: no &lt;"));
}

#[test]
fn pages_of_three_hundred_images_stay_under_the_limit() {
    let sar = sar();
    let all: Vec<Located> =
        (0..300).map(|i| located(&sar, &format!("chip_{i}.tif"), (0..60).map(|k| patch(&format!("p{k}"), k % 7 > 0)).collect())).collect();
    let images: Vec<Outcome<'_>> = all.iter().map(Ok).collect();
    let fixes: Vec<Fix> = all.iter().flat_map(|l| l.fixes.clone()).collect();
    let shown: Vec<Pictures> = (0..fixes.len())
        .map(|i| if i % 60 > 0 { Pictures::default() } else { Pictures { patch: Some(noise(i as u64, 128, 128)), ..pictures() } })
        .collect();
    let mut overview = MapOverview::new(noise(1, 1600, 1600), 5.0, 10.0);
    let lies = |seed: u64, side: u32| -> Overlay {
        let thumb: Thumb = noise(seed, side, side);
        Overlay { thumb, valid: (0..side * side).map(|i| i % 50 > 0).collect(), to_map: [[1.0, 0.0, 5.0], [0.0, 1.0, 5.0]] }
    };
    overview.images = (0..100).map(|i| lies(i, 118)).collect();
    overview.closer = (0..24).map(|i| lies(i, 240)).collect();
    let meta = meta();
    let page = Page { images: &images, overview: Some(&overview), pictures: &shown, ..Page::new(&meta, &fixes) };
    let text = page.render().unwrap();
    assert_eq!(page.limit_bytes, 5_000_000);
    assert!(text.len() < page.limit_bytes && text.len() > 3_000_000, "{}", text.len());
    // Every image has its row and its part, the last like the first.
    assert_eq!(text.matches("class=\"part\"").count(), 300);
    for i in [0, 299] {
        assert!(text.contains(&format!("href=\"#i{i}\">chip_{i}.tif")) && text.contains(&format!("id=\"q{}\"", i * 60)), "{i}");
    }
}

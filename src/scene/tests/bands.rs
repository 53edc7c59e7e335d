//! Which bands are read, and what is said of it.

use super::build::{Picture, Value};
use super::*;

const SIDE: u32 = 64;

/// A texture of bytes.
fn value(i: u32) -> u8 {
    40 + (i.wrapping_mul(2_654_435_761) >> 26) as u8
}

fn picture(bands: u32, of: impl Fn(u32, u32) -> u8) -> Picture {
    let pixels: Vec<u8> = (0..SIDE * SIDE).flat_map(|i| (0..bands).map(move |b| (i, b))).map(|(i, b)| of(i, b)).collect();
    Picture::bytes([SIDE, SIDE], bands as u16, &pixels)
}

/// GDAL's metadata of a role, a word a band.
fn said(role: &str, words: &[&str]) -> Value {
    let items: String = words.iter().enumerate().map(|(i, w)| format!("<Item sample=\"{i}\" role=\"{role}\">{w}</Item>")).collect();
    Value::Text(format!("<GDALMetadata>{items}</GDALMetadata>"))
}

fn opened(bands: Bands, picture: Picture) -> (Vec<u32>, String) {
    let dir = folder();
    let raster = OpenOptions { bands, ..OpenOptions::default() }.open(write(&dir, "t.tif", &[picture])).unwrap();
    (raster.band_names().into_iter().map(|(b, _)| b).collect(), raster.warnings().join("\n"))
}

#[test]
fn a_band_that_is_taken_for_sar_is_said_where_others_show_something_else() {
    let other = |i, b| value(i + 5000 * b);
    let rgb = Value::Short(vec![2]);
    // Grey in three bands, and what JPEG makes of it.
    for of in [|i, _| value(i), |i, b| value(i) + u8::from(b == 1 && i % 2 == 0)] {
        assert_eq!(opened(Bands::Polarisation, picture(3, of).with(262, rgb.clone())), (vec![1], String::new()));
    }
    let (bands, doubt) = opened(Bands::Polarisation, picture(3, other).with(262, rgb));
    assert!(bands == [1] && doubt.contains("t.tif: band 1 of 3") && doubt.contains("says that they are colours"), "{doubt}");
    let two = || picture(2, other).with(338, Value::Short(vec![0]));
    let (bands, doubt) = opened(Bands::Polarisation, two());
    assert!(bands == [1] && doubt.contains("does not say what they show (1, 2): --band NUMBER"), "{doubt}");
    // Of the same texture, half as bright.
    let (_, doubt) = opened(Bands::Polarisation, picture(2, |i, b| value(i) / (b + 1) as u8).with(338, Value::Short(vec![0])));
    assert!(doubt.contains("they differ"), "{doubt}");
    // Whatever names the fill, it says nothing; bands that are nearly all alike are grey.
    let filled = |i, b| if i % SIDE < 40 { 0 } else { other(i, b) / 16 };
    let (_, doubt) = opened(Bands::Polarisation, picture(2, filled).with(338, Value::Short(vec![0])));
    assert!(doubt.contains("they differ"), "{doubt}");
    // Chosen, or described.
    assert_eq!(opened(Bands::Named("2".into()), two()), (vec![2], String::new()));
    assert_eq!(opened(Bands::Polarisation, two().with(42112, said("description", &["x", "VH"]))), (vec![2], String::new()));
    assert_eq!(opened(Bands::Polarisation, picture(1, other)), (vec![1], String::new()));
}

#[test]
fn colours_of_a_map_are_those_that_the_file_says() {
    let of = |i, b| value(i + 5000 * b);
    let more = |n: usize| picture(n as u32, of).with(338, Value::Short(vec![0; n - 1]));
    let described = |words: &[&str]| opened(Bands::Colours, more(words.len()).with(42112, said("description", words)));
    // Sentinel-2, in the order of its numbers, of its wavelengths, and by words.
    assert_eq!(described(&["B2", "B3", "B4", "B8"]), (vec![3, 2, 1], String::new()));
    assert_eq!(described(&["B02", "B03", "B04"]), (vec![3, 2, 1], String::new()));
    assert_eq!(described(&["Red Edge 705", "Blue 490", "Green 560 nm", "Band 4: Red"]), (vec![4, 3, 2], String::new()));
    assert_eq!(described(&["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A"]), (vec![4, 3, 2], String::new()));
    // The Landsats do not agree on what their bands are; nor is a MODIS product's fourth band red.
    for words in [
        &["B1", "B2", "B3", "B4", "B5", "B6_VCID_1", "B7", "B8"][..],
        &["sur_refl_b01", "sur_refl_b02", "sur_refl_b03", "sur_refl_b04"],
        &["B2", "B3", "B4"],
    ] {
        let (bands, doubt) = described(words);
        assert!(bands == [1, 2, 3] && doubt.contains("does not say which are"), "{words:?}: {doubt}");
    }
    let (bands, doubt) = described(&["SR_B1", "SR_B2", "SR_B3", "SR_B4"]);
    assert!(bands == [1, 2, 3] && doubt.contains("first three of its 4 bands (1 (SR_B1), 2 (SR_B2)"), "{doubt}");
    let (bands, doubt) = opened(Bands::Colours, more(4));
    assert!(bands == [1, 2, 3] && doubt.contains("gdal_translate -b RED"), "{doubt}");
    // By colour interpretation, and by TIFF's own.
    let interpreted = more(4).with(42112, said("colorinterp", &["Blue", "Green", "Red", "Undefined"]));
    assert_eq!(opened(Bands::Colours, interpreted), (vec![3, 2, 1], String::new()));
    let rgb = picture(4, of).with(262, Value::Short(vec![2])).with(338, Value::Short(vec![0]));
    assert_eq!(opened(Bands::Colours, rgb), (vec![1, 2, 3], String::new()));
    assert_eq!(opened(Bands::Colours, more(3)), (vec![1, 2, 3], String::new()));
    assert_eq!(opened(Bands::Colours, more(2)), (vec![1, 2], String::new()));
}

//! No data, bad input, damaged files: the messages, and never a panic.

use super::*;

#[test]
fn no_data_rules() {
    let dir = folder();
    let path = dir.path().join("n.tif");
    let valid = |raster: &Raster| raster.read_window(0, 0, raster.width(), 1).unwrap().valid;
    // Single pixels of 0 are data where no tag says otherwise.
    write_geotiff(&path, 3, 1, 2, SampleData::U8(&[0, 0, 0, 7, 9, 9]), None, None, None).unwrap();
    let raster = Raster::open(&path).unwrap();
    assert_eq!((raster.nodata(), raster.fills()[0].value, valid(&raster)), (None, 0.0, vec![1, 1, 1]));
    let with = |no_data| OpenOptions { no_data, ..OpenOptions::default() }.open(&path).unwrap();
    assert_eq!(valid(&with(NoData::Value(9.0))), [1, 1, 0]);
    assert_eq!(valid(&with(NoData::None)), [1, 1, 1]);

    let data = [f32::NAN, 1.0, f32::INFINITY, 2.0, 0.0, 0.0, -9999.0, -9999.0];
    write_geotiff(&path, 4, 1, 2, SampleData::F32(&data), None, None, Some(-9999.0)).unwrap();
    let window = Raster::open(&path).unwrap().read_window(0, 0, 4, 1).unwrap();
    assert_eq!(window.valid, [0, 0, 1, 0]);
    assert_eq!(window.data, [0.0; 8], "what is not valid reads as 0");
    assert_eq!(window.missing_share(), 0.75);
    write_geotiff(&path, 2, 1, 1, SampleData::F32(&[f32::NAN, 0.0]), None, None, Some(f64::NAN)).unwrap();
    assert_eq!(valid(&Raster::open(&path).unwrap()), [0, 1]);

    write_geotiff(&path, 8, 8, 1, SampleData::U8(&[0; 64]), None, None, None).unwrap();
    let raster = Raster::open(&path).unwrap();
    let message = Standardisation::measure(&raster, Radiometry::Optical).unwrap_err().to_string();
    assert!(message.contains("n.tif") && message.contains("no valid pixel"), "{message}");
    assert!(Grid::new(8, 8, 4, 4).unwrap().valid_cells(&raster, DEFAULT_MAX_MISSING).unwrap().is_empty());
}

/// Sets a value of a little-endian classic TIFF's first directory.
fn patch(bytes: &mut [u8], id: u16, value: u32) {
    let at = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let n = u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()) as usize;
    let entry = (0..n).map(|i| at + 2 + i * 12).find(|&e| bytes[e..e + 2] == id.to_le_bytes()).unwrap();
    bytes[entry + 2..entry + 4].copy_from_slice(&4u16.to_le_bytes());
    bytes[entry + 8..entry + 12].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn bad_files_say_what_is_wrong() {
    let dir = folder();
    let path = dir.path().join("bad.tif");
    let message = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let read = Raster::open(&path).and_then(|r| r.read_window(0, 0, r.width().min(64), r.height().min(64)));
        let message = read.unwrap_err().to_string();
        assert!(message.contains("bad.tif"), "{message}");
        message
    };
    let absent = Raster::open(dir.path().join("absent.tif")).unwrap_err().to_string();
    assert!(absent.contains("absent.tif") && absent.contains("check the path"), "{absent}");
    assert!(message(b"hello, world").contains("not a TIFF, PNG or JPEG"));
    assert!(message(b"").contains("not a TIFF, PNG or JPEG"));
    assert!(message(b"II*\0").contains("truncated"));
    assert!(message(b"II*\0\xff\xff\xff\x7f").contains("truncated"));

    let tiled = std::fs::read(fixture("overview_first.tif")).unwrap();
    assert!(message(&tiled[..60]).contains("truncated"));
    let jpeg = std::fs::read(fixture("jpeg_ycbcr_tiled.tif")).unwrap();
    assert!(message(&jpeg[..jpeg.len() - 200]).contains("truncated"));
    for (id, value, want) in [
        (256, 0, "width 0"),
        (256, u32::MAX, "width 4294967295"),
        (256, 2_000_000_000, "but lists"),
        (322, u32::MAX, "but lists 6 of them"),
        (277, 1 << 20, "1048576 bands"),
        (259, 34712, "JPEG 2000 compression is not supported; rewrite it: gdal_translate"),
        (262, 3, "a colour palette is not supported"),
    ] {
        let mut bytes = jpeg.clone();
        patch(&mut bytes, id, value);
        let got = message(&bytes);
        assert!(got.contains(want), "{got} for tag {id} = {value}");
    }
    // One tile of the claimed size, so that the table fits: still no allocation.
    let mut bytes = jpeg.clone();
    for (id, value) in [(256, 16), (257, 16), (322, 4_000_000_000), (323, 4_000_000_000)] {
        patch(&mut bytes, id, value);
    }
    let at = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    for e in (0..40).map(|i| at + 2 + i * 12).take_while(|e| e + 12 < bytes.len()).collect::<Vec<_>>() {
        if [324u16, 325].iter().any(|t| bytes[e..e + 2] == t.to_le_bytes()) {
            bytes[e + 4..e + 8].copy_from_slice(&1u32.to_le_bytes());
        }
    }
    let got = message(&bytes);
    assert!(got.contains("more than the limit"), "{got}");
    // A tile whose JPEG frame is larger than the tile.
    let mut bytes = jpeg.clone();
    let frame = bytes.windows(4).position(|w| w == [0xff, 0xc0, 0x00, 0x11]).unwrap();
    bytes[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    let got = message(&bytes);
    assert!(got.contains("JPEG frame is 65535x65535 px instead of 16x16"), "{got}");
}

#[test]
fn damaged_bytes_never_panic() {
    let dir = folder();
    let path = dir.path().join("fuzz.tif");
    let mut seed = 7u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    for name in ["jpeg_ycbcr_tiled", "bigtiff_zstd_u16_be", "planar_lzw_i16", "overview_first", "f32_predictor3"] {
        let good = std::fs::read(fixture(&format!("{name}.tif"))).unwrap();
        for _ in 0..200 {
            let mut bytes = good.clone();
            for _ in 0..1 + next() % 4 {
                let at = if next() % 2 == 0 { next() % bytes.len().min(400) } else { next() % bytes.len() };
                bytes[at] = next() as u8;
            }
            if next() % 4 == 0 {
                bytes.truncate(next() % bytes.len());
            }
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(raster) = Raster::open(&path) {
                let _ = raster.read_window(-1, -1, 64, 64);
            }
        }
    }
}

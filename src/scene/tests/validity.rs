//! Which pixels hold data: no-data values and texts, fill that no tag names, masks, alpha, absent strips, chosen bands.

use super::build::{Picture, Value};
use super::*;

const SIDE: u32 = 96;

fn whole(raster: &Raster) -> Window {
    raster.read_window(0, 0, raster.width(), raster.height()).unwrap()
}

/// Speckle-like values above 0.01: no two alike near each other.
fn speckle(i: u32) -> f32 {
    let z = i.wrapping_mul(2_654_435_761) >> 8;
    0.01 + (z % 10_007) as f32 * 1e-4
}

/// Inside of a slanted swath.
fn in_swath(x: u32, y: u32) -> bool {
    let left = 20 + y / 4;
    (left..left + 50).contains(&x)
}

fn swath(value: impl Fn(u32) -> f32, fill: f32) -> Vec<f32> {
    (0..SIDE * SIDE).map(|i| if in_swath(i % SIDE, i / SIDE) { value(i) } else { fill }).collect()
}

/// Holds validity against the swath: each pixel, in one window and in many small ones.
fn check_swath(raster: &Raster) {
    let window = whole(raster);
    for i in 0..SIDE * SIDE {
        let (x, y) = (i % SIDE, i / SIDE);
        assert_eq!(window.valid[i as usize], u8::from(in_swath(x, y)), "at {x},{y} of {raster:?}");
    }
    for (x0, y0) in [(0, 0), (13, 30), (17, 41), (60, 60), (89, 3)] {
        let part = raster.read_window(x0, y0, 5, 11).unwrap();
        for j in 0..11 {
            for i in 0..5 {
                let (x, y) = (x0 as u32 + i, y0 as u32 + j);
                let want = u8::from(x < SIDE && y < SIDE && in_swath(x, y));
                assert_eq!(part.valid[(j * 5 + i) as usize], want, "at {x},{y} of a small window of {raster:?}");
            }
        }
    }
}

#[test]
fn fill_that_no_tag_names_is_found_said_and_overruled() {
    let dir = folder();
    for (name, fill, tag) in
        [("zero", 0.0, None), ("other", 0.0, Some("-32768")), ("m9999", -9999.0, None), ("m32768", -32768.0, Some("0"))]
    {
        let mut picture = Picture::floats([SIDE, SIDE], 1, &swath(speckle, fill));
        if let Some(text) = tag {
            picture = picture.with(42113, Value::Text(text.into()));
        }
        let path = write(&dir, &format!("{name}.tif"), &[picture]);
        let raster = Raster::open(&path).unwrap();
        check_swath(&raster);
        assert_eq!(raster.fills()[0].value, f64::from(fill));
        let said = raster.warnings().join("\n");
        assert!(said.contains(&format!("the value {fill} is taken for no data")) && said.contains("--no-data none"), "{said}");
        let none = OpenOptions { no_data: NoData::None, ..OpenOptions::default() }.open(&path).unwrap();
        assert!(none.warnings().is_empty() && !whole(&none).valid.contains(&0));
        let own = OpenOptions { no_data: NoData::Value(f64::from(fill)), ..OpenOptions::default() }.open(&path).unwrap();
        assert!(own.warnings().is_empty());
        check_swath(&own);
    }
    // Whole numbers: the ends of their type at once, others where they fill a quarter of the border; several at once.
    let i16s = |fill: i16| -> Vec<u8> {
        let data = swath(|i| 10.0 * (i % 2000) as f32 - 9000.0, f32::from(fill));
        data.iter().flat_map(|v| (*v as i16).to_le_bytes()).collect()
    };
    for fill in [-32768, 32767, -10000, -5001] {
        check_swath(&Raster::open(write(&dir, "i16.tif", &[Picture::new([SIDE, SIDE], 1, 16, 2, i16s(fill))])).unwrap());
    }
    let bytes: Vec<u8> = swath(|i| 20.0 + (i % 97) as f32, 128.0).iter().map(|v| *v as u8).collect();
    check_swath(&Raster::open(write(&dir, "u8.tif", &[Picture::bytes([SIDE, SIDE], 1, &bytes)])).unwrap());
    let mut several = swath(speckle, 0.0);
    several.iter_mut().zip(0..).filter(|(v, _)| **v == 0.0).for_each(|(v, i)| *v = [0.0, -9999.0, -32768.0][(i / SIDE / 32) as usize]);
    check_swath(&Raster::open(write(&dir, "several.tif", &[Picture::floats([SIDE, SIDE], 1, &several)])).unwrap());
    // Decibels, in which 0 is a number like others.
    let decibels = |i: u32| 10.0 * speckle(i).log10();
    let raster = Raster::open(write(&dir, "db.tif", &[Picture::floats([SIDE, SIDE], 1, &swath(decibels, 0.0))])).unwrap();
    check_swath(&raster);
    assert_eq!(SarUnit::guess(&raster).unwrap(), SarUnit::Decibel);
    // A value that fills a quarter of the border, whatever it is; but not one that is all there is.
    check_swath(&Raster::open(write(&dir, "odd.tif", &[Picture::floats([SIDE, SIDE], 1, &swath(speckle, 77.25))])).unwrap());
    let flat = Raster::open(write(&dir, "flat.tif", &[Picture::floats([SIDE, SIDE], 1, &[3.5; (SIDE * SIDE) as usize])])).unwrap();
    assert!(flat.fills().is_empty() && !whole(&flat).valid.contains(&0));
}

#[test]
fn dark_pixels_of_a_stretched_map_are_data() {
    let dir = folder();
    // A third of the pixels is 0 here and there; a block of 0, a corner of 0.
    let block = |x: u32, y: u32| (40..60).contains(&x) && (30..55).contains(&y) || x + y < 20;
    let dark = |x: u32, y: u32| (x * 7 + y * 13).is_multiple_of(3);
    let data: Vec<u8> = (0..SIDE * SIDE)
        .flat_map(|i| {
            let (x, y) = (i % SIDE, i / SIDE);
            [if block(x, y) || dark(x, y) { 0 } else { 90 }; 3]
        })
        .collect();
    let rgb = |p: Picture| p.with(262, Value::Short(vec![2]));
    let raster = Raster::open(write(&dir, "dark.tif", &[rgb(Picture::bytes([SIDE, SIDE], 3, &data))])).unwrap();
    assert!(raster.nodata().is_none());
    let window = whole(&raster);
    for i in 0..SIDE * SIDE {
        let (x, y) = (i % SIDE, i / SIDE);
        let near = (-1..=1).any(|dx| (-1..=1).any(|dy| block(x.saturating_add_signed(dx), y.saturating_add_signed(dy))));
        if block(x, y) || !near {
            assert_eq!(window.valid[i as usize], u8::from(!block(x, y)), "at {x},{y}");
        }
    }
    // Where a tag says so, each is none.
    let tagged = rgb(Picture::bytes([SIDE, SIDE], 3, &data)).with(42113, Value::Text("0".into()));
    let raster = Raster::open(write(&dir, "tagged.tif", &[tagged])).unwrap();
    let (window, missing) = (whole(&raster), (0..SIDE * SIDE).filter(|i| block(i % SIDE, i / SIDE) || dark(i % SIDE, i / SIDE)).count());
    assert_eq!(window.valid.iter().filter(|v| **v == 0).count(), missing);
}

#[test]
fn no_data_texts_mean_what_gdal_takes_them_for() {
    let dir = folder();
    let values = [1.0, f32::MIN, -9999.0, f32::INFINITY, 2.0, f32::NAN, 0.0, -3.3e38];
    let open = |text: &str| {
        Raster::open(write(&dir, "t.tif", &[Picture::floats([8, 1], 1, &values).with(42113, Value::Text(text.into()))])).unwrap()
    };
    for (text, want) in [
        ("-3.39999999999999996e+38", [1, 0, 1, 0, 1, 0, 1, 0]),
        ("-9999   ", [1, 1, 0, 0, 1, 0, 1, 1]),
        ("-9999 0", [1, 1, 0, 0, 1, 0, 1, 1]),
        ("1.#QNAN", [1, 1, 1, 0, 1, 0, 1, 1]),
        ("-1.#IND", [1, 1, 1, 0, 1, 0, 1, 1]),
        ("1.#INF", [1, 1, 1, 0, 1, 0, 1, 1]),
        ("-9999.000001", [1, 1, 0, 0, 1, 0, 1, 1]),
    ] {
        let raster = open(text);
        assert_eq!(whole(&raster).valid, want, "{text:?}");
        assert!(raster.warnings().is_empty());
    }
    let raster = open("void");
    assert_eq!((raster.nodata(), whole(&raster).valid), (None, vec![1, 1, 1, 0, 1, 0, 1, 1]));
    assert!(
        raster.warnings()[0].contains("t.tif") && raster.warnings()[0].contains("`void`, which is no number"),
        "{:?}",
        raster.warnings()
    );
    // A value that the type cannot hold marks nothing, one with a fraction its whole part.
    for (text, want) in [("-9999", [1, 1, 1]), ("256", [1, 1, 1]), ("7.5", [1, 0, 1])] {
        let picture = Picture::bytes([3, 1], 1, &[3, 7, 255]).with(42113, Value::Text(text.into()));
        assert_eq!(whole(&Raster::open(write(&dir, "b.tif", &[picture])).unwrap()).valid, want, "{text}");
    }
}

#[test]
fn absent_strips_leave_their_neighbours() {
    let dir = folder();
    let data: Vec<f32> = (0..40 * 30).map(speckle).collect();
    let mut picture = Picture::floats([40, 30], 1, &data).rows();
    for gone in [0, 7, 8, 29] {
        picture.strips[gone] = None;
    }
    let raster = Raster::open(write(&dir, "sparse.tif", &[picture])).unwrap();
    let window = whole(&raster);
    for (i, v) in window.valid.iter().enumerate() {
        assert_eq!(*v, u8::from(![0, 7, 8, 29].contains(&(i / 40))), "row {}", i / 40);
        assert_eq!(window.data[i], if *v == 1 { data[i] } else { 0.0 });
    }
    assert!(raster.stored(0, 5, 40, 3) && raster.chunk_size().1 > 1);
}

/// One bit a pixel, rows padded to bytes: 1 where `inside`.
fn bits(size: [u32; 2], inside: impl Fn(u32, u32) -> bool) -> Vec<u8> {
    let row = |y: u32| (0..size[0].div_ceil(8)).map(move |b| (b, y));
    (0..size[1])
        .flat_map(row)
        .map(|(b, y)| (0..8).fold(0, |a, i| a | u8::from(b * 8 + i < size[0] && inside(b * 8 + i, y)) << (7 - i)))
        .collect()
}

#[test]
fn masks_inside_and_beside_and_alpha_anywhere() {
    let dir = folder();
    let data: Vec<f32> = (0..SIDE * SIDE).map(speckle).collect();
    let image = || Picture::floats([SIDE, SIDE], 1, &data);
    let kind = |p: Picture, subfile: u32| p.with(254, Value::Long(vec![subfile])).with(262, Value::Short(vec![4]));
    let one_bit = |size: [u32; 2], subfile| kind(Picture::new(size, 1, 1, 1, bits(size, in_swath)), subfile);
    let overview = || Picture::floats([SIDE / 2, SIDE / 2], 1, &data[..(SIDE * SIDE / 4) as usize]).with(254, Value::Long(vec![1]));
    let eight = || kind(Picture::bytes([SIDE, SIDE], 1, &swath(|_| 255.0, 0.0).iter().map(|v| *v as u8).collect::<Vec<_>>()), 4);
    let orders = [
        vec![image(), one_bit([SIDE, SIDE], 4)],
        vec![image(), eight()],
        vec![image(), overview(), one_bit([SIDE / 2, SIDE / 2], 5), one_bit([SIDE, SIDE], 4)],
        vec![image(), one_bit([SIDE, SIDE], 4), overview(), one_bit([SIDE / 2, SIDE / 2], 5)],
    ];
    for pictures in &orders {
        let raster = Raster::open(write(&dir, "masked.tif", pictures)).unwrap();
        assert_eq!(raster.validity(), Some("mask"));
        check_swath(&raster);
    }
    // Beside the file.
    let path = write(&dir, "beside.tif", &[image()]);
    assert!(!whole(&Raster::open(&path).unwrap()).valid.contains(&0));
    write(&dir, "beside.tif.msk", &[eight()]);
    check_swath(&Raster::open(&path).unwrap());
    // One inside goes before one beside.
    write(&dir, "both.tif", &[image(), one_bit([SIDE, SIDE], 4)]);
    let path_of_both = dir.path().join("both.tif");
    write(&dir, "both.tif.msk", &[Picture::bytes([SIDE, SIDE], 1, &[255; (SIDE * SIDE) as usize])]);
    check_swath(&Raster::open(&path_of_both).unwrap());
    write(&dir, "beside.tif.msk", &[Picture::bytes([3, 3], 1, &[1; 9])]);
    let message = Raster::open(&path).unwrap_err().to_string();
    assert!(message.contains("beside.tif.msk") && message.contains("3x3 px"), "{message}");
    // Alpha as the second of three bands, by its tag and by GDAL's word.
    let bands: Vec<u8> = (0..SIDE * SIDE).flat_map(|i| [9, if in_swath(i % SIDE, i / SIDE) { 255 } else { 0 }, 11]).collect();
    let tagged = Picture::bytes([SIDE, SIDE], 3, &bands).with(338, Value::Short(vec![2, 0]));
    let xml = "<GDALMetadata>\n  <Item name=\"COLORINTERP\" sample=\"1\" role=\"colorinterp\">Alpha</Item>\n</GDALMetadata>";
    let named = Picture::bytes([SIDE, SIDE], 3, &bands).with(338, Value::Short(vec![0, 0])).with(42112, Value::Text(xml.into()));
    for picture in [tagged, named] {
        let raster = Raster::open(write(&dir, "alpha.tif", &[picture])).unwrap();
        assert_eq!((raster.bands(), raster.validity()), (2, Some("alpha")));
        check_swath(&raster);
        let p = (10 * SIDE + 40) as usize;
        assert_eq!(whole(&raster).data[2 * p..2 * p + 2], [9.0, 11.0]);
    }
    // And before a value that GDAL keeps beside the file: what it masks not is data.
    let flat = write(&dir, "flat.tif", &[Picture::bytes([SIDE, SIDE], 1, &[9; (SIDE * SIDE) as usize]), one_bit([SIDE, SIDE], 4)]);
    let aux = "<PAMDataset><PAMRasterBand band=\"1\"><NoDataValue>9</NoDataValue></PAMRasterBand></PAMDataset>";
    std::fs::write(dir.path().join("flat.tif.aux.xml"), aux).unwrap();
    check_swath(&Raster::open(&flat).unwrap());
    // What cannot be alpha is none: of a single band, or beyond the last.
    let path = write(&dir, "single.tif", &[Picture::bytes([8, 8], 1, &[7; 64]).with(338, Value::Short(vec![2]))]);
    std::fs::write(
        dir.path().join("single.tif.aux.xml"),
        "<PAMDataset><PAMRasterBand band=\"1\"><ColorInterp>Alpha</ColorInterp></PAMRasterBand></PAMDataset>",
    )
    .unwrap();
    let beyond = Picture::bytes([8, 8], 2, &[7; 128]).with(338, Value::Short(vec![0, 0, 2]));
    for path in [path, write(&dir, "beyond.tif", &[beyond])] {
        let raster = Raster::open(&path).unwrap();
        assert!(raster.validity().is_none() && !whole(&raster).valid.contains(&0));
        assert!(Image::sar(&path, None).is_ok());
    }
    // Few bits a sample are numbers too.
    for (n, want) in [(2u16, 3u8), (4, 15)] {
        let raster = Raster::open(write(&dir, "few.tif", &[Picture::new([8, 1], 1, n, 1, vec![0b1110_0100; n as usize])])).unwrap();
        let first: Vec<u8> = whole(&raster).data.iter().map(|v| *v as u8).collect();
        assert!(first.iter().all(|v| *v <= want) && first[0] == 0b1110_0100 >> (8 - n), "{first:?}");
    }
}

#[test]
fn validity_comes_from_the_bands_that_are_read() {
    let dir = folder();
    let n = (SIDE * SIDE) as usize;
    let polarised = |second: &dyn Fn(usize) -> f32| -> Vec<f32> {
        let first = swath(speckle, -9999.0);
        (0..n).flat_map(|i| [first[i], second(i)]).collect()
    };
    let xml = "<GDALMetadata><Item name=\"DESCRIPTION\" sample=\"0\" role=\"description\">angle</Item>\
               <Item name=\"DESCRIPTION\" sample=\"1\" role=\"description\">Sigma0_VH_db</Item></GDALMetadata>";
    let picture = |second: &dyn Fn(usize) -> f32| {
        Picture::floats([SIDE, SIDE], 2, &polarised(second)).with(42113, Value::Text("-9999".into())).with(338, Value::Short(vec![0]))
    };
    let path = write(&dir, "two.tif", &[picture(&|_| 35.0)]);
    let band = |word: &str| OpenOptions { bands: Bands::Named(word.into()), ..OpenOptions::default() };
    check_swath(&band("1").open(&path).unwrap());
    assert!(!whole(&band("2").open(&path).unwrap()).valid.contains(&0));
    check_swath(&OpenOptions { bands: Bands::Polarisation, ..OpenOptions::default() }.open(&path).unwrap());
    let message = band("VV").open(&path).unwrap_err().to_string();
    assert!(message.contains("no band `VV`; it has 1, 2"), "{message}");
    // A second band without any data takes nothing from the first.
    let path = write(&dir, "nan.tif", &[picture(&|_| f32::NAN)]);
    check_swath(&band("1").open(&path).unwrap());
    // A band's own no-data value, which GDAL keeps beside the file.
    let path = write(&dir, "own.tif", &[Picture::bytes([4, 1], 2, &[1, 1, 2, 2, 1, 2, 2, 1]).with(338, Value::Short(vec![0]))]);
    let bands = [1, 2].map(|b| format!("<PAMRasterBand band=\"{b}\"><NoDataValue>{b}</NoDataValue></PAMRasterBand>")).concat();
    std::fs::write(dir.path().join("own.tif.aux.xml"), format!("<PAMDataset>{bands}</PAMDataset>")).unwrap();
    assert_eq!(whole(&band("1").open(&path).unwrap()).valid, [0, 1, 0, 1]);
    assert_eq!(whole(&band("2").open(&path).unwrap()).valid, [1, 0, 0, 1]);
    // By name; and without a word the one that has a polarisation.
    let path = write(&dir, "named.tif", &[picture(&|i| speckle(i as u32)).with(42112, Value::Text(xml.into()))]);
    for options in [band("vh"), band("Sigma0_VH_db"), OpenOptions { bands: Bands::Polarisation, ..OpenOptions::default() }] {
        let raster = options.open(&path).unwrap();
        assert_eq!(raster.band_names(), [(2, Some("Sigma0_VH_db"))]);
        assert_eq!(whole(&raster).data[5], speckle(5));
    }
    let image = Image::sar(&path, None).unwrap();
    assert_eq!(image.raster.band_names(), [(2, Some("Sigma0_VH_db"))]);
}

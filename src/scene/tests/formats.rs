//! Every format, sample type and compression reads back to the same picture.

use std::io::Cursor;
use std::path::Path;

use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, TiffValue, colortype, colortype::ColorType};
use tiff::tags::Predictor;

use super::*;

fn encode<C: ColorType>(path: &Path, compression: Compression, predictor: Predictor, big: bool, rows: u32, sample: impl Fn(f32) -> C::Inner)
where
    [C::Inner]: TiffValue,
{
    let bands = C::BITS_PER_SAMPLE.len() as u32;
    let data: Vec<C::Inner> = (0..H).flat_map(|y| (0..W).flat_map(move |x| (0..bands).map(move |b| smooth(x, y, b)))).map(sample).collect();
    let mut out = Cursor::new(Vec::new());
    macro_rules! write {
        ($encoder:expr) => {{
            let mut encoder = $encoder.unwrap().with_compression(compression).with_predictor(predictor);
            let mut image = encoder.new_image::<C>(W, H).unwrap();
            if predictor != Predictor::None || !matches!(compression, Compression::Packbits) {
                image.rows_per_strip(rows).unwrap();
            }
            image.write_data(&data).unwrap();
        }};
    }
    if big {
        write!(TiffEncoder::new_big(&mut out));
    } else {
        write!(TiffEncoder::new(&mut out));
    }
    std::fs::write(path, out.into_inner()).unwrap();
}

#[test]
fn sample_types_and_compressions() {
    let dir = folder();
    let path = dir.path().join("image.tif");
    let deflate = Compression::Deflate(DeflateLevel::Balanced);
    for compression in [Compression::Uncompressed, Compression::Lzw, deflate, Compression::Packbits] {
        for (big, rows) in [(false, 5), (true, 24), (false, 1)] {
            macro_rules! kind {
                ($colour:ty, $kind:ident, $sample:expr) => {
                    encode::<$colour>(&path, compression, Predictor::None, big, rows, $sample);
                    let raster = Raster::open(&path).unwrap();
                    assert_eq!(raster.sample_type(), SampleType::$kind);
                    check(&raster, 0.0, smooth);
                };
            }
            kind!(colortype::Gray8, U8, |v| v as u8);
            kind!(colortype::GrayI16, I16, |v| v as i16);
            kind!(colortype::Gray16, U16, |v| v as u16);
            kind!(colortype::Gray32, U32, |v| v as u32);
            kind!(colortype::GrayI32, I32, |v| v as i32);
            kind!(colortype::Gray32Float, F32, |v| v);
            kind!(colortype::Gray64Float, F64, f64::from);
            kind!(colortype::RGB8, U8, |v| v as u8);
            kind!(colortype::RGBA16, U16, |v| v as u16);
            kind!(colortype::RGB32Float, F32, |v| v);
        }
    }
    encode::<colortype::GrayI8>(&path, deflate, Predictor::None, false, 7, |v| (v / 2.0) as i8);
    check(&Raster::open(&path).unwrap(), 0.0, |x, y, b| (smooth(x, y, b) / 2.0).trunc());
    encode::<colortype::RGB16>(&path, Compression::Lzw, Predictor::Horizontal, false, 7, |v| v as u16);
    check(&Raster::open(&path).unwrap(), 0.0, smooth);
}

#[test]
fn fixtures_of_other_writers() {
    let jpeg = Raster::open(fixture("jpeg_ycbcr_tiled.tif")).unwrap();
    assert_eq!((jpeg.bands(), jpeg.epsg(), jpeg.chunk_size()), (3, Some(32611), (16, 16)));
    let geo = jpeg.geo().unwrap();
    assert_eq!(geo.pixel_to_map(0.5, 0.5), (500_005.0, 3_759_995.0));
    // Quality 95 with halved colour: bands keep their order and level.
    check(&jpeg, 16.0, smooth);
    let window = jpeg.read_window(4, 4, 24, 8).unwrap();
    for b in 0..3 {
        let n = (window.data.len() / 3) as f32;
        let mean = window.data.iter().skip(b).step_by(3).sum::<f32>() / n;
        let want = (20.0 + 2.0 * 15.5 + 3.0 * 7.5) + 30.0 * b as f32;
        assert!((mean - want).abs() < 1.5, "band {b}: {mean} for {want}");
    }
    check(&Raster::open(fixture("jpeg_gray_strips.tif")).unwrap(), 3.0, smooth);

    let big = Raster::open(fixture("bigtiff_zstd_u16_be.tif")).unwrap();
    assert_eq!((big.sample_type(), big.nodata()), (SampleType::U16, Some(5.0)));
    check(&big, 0.0, |x, y, b| smooth(x, y, b) * 200.0);
    let planar = Raster::open(fixture("planar_lzw_i16.tif")).unwrap();
    check(&planar, 0.0, |x, y, b| smooth(x, y, b) * 100.0 - 9000.0);
    let planar = Raster::open(fixture("planar_raw_f32.tif")).unwrap();
    assert_eq!(planar.bands(), 4);
    check(&planar, 0.0, |x, y, b| smooth(x, y, b) / 8.0);
    check(&Raster::open(fixture("f32_predictor3.tif")).unwrap(), 0.0, |x, y, b| smooth(x, y, b) / 8.0);
    check(&Raster::open(fixture("f64_raw_tiled.tif")).unwrap(), 0.0, |x, y, b| smooth(x, y, b) / 8.0);
    let four = Raster::open(fixture("rgb_extra_lzw_u8.tif")).unwrap();
    assert_eq!(four.bands(), 4);
    check(&four, 0.0, |x, y, b| smooth(x, y, b) % 256.0);
    let overview = Raster::open(fixture("overview_first.tif")).unwrap();
    assert_eq!((overview.width(), overview.height()), (W, H));
    check(&overview, 0.0, smooth);

    let alpha = Raster::open(fixture("rgba_deflate.tif")).unwrap();
    assert_eq!(alpha.bands(), 3);
    let window = alpha.read_window(0, 0, W, H).unwrap();
    for (p, &valid) in window.valid.iter().enumerate() {
        let (x, y) = (p as u32 % W, p as u32 / W);
        assert_eq!(valid, u8::from(x >= 8));
        let want = if x >= 8 { smooth(x, y, 2) } else { 0.0 };
        assert_eq!(window.data[p * 3 + 2], want);
    }
}

#[test]
fn png_and_jpeg_with_world_files() {
    let dir = folder();
    let path = dir.path().join("map.dat.png");
    let data: Vec<u8> = (0..H).flat_map(|y| (0..W).flat_map(move |x| (0..3).map(move |b| smooth(x, y, b) as u8))).collect();
    image::save_buffer(&path, &data, W, H, image::ColorType::Rgb8).unwrap();
    let bare = Raster::open(&path).unwrap();
    check(&bare, 0.0, smooth);
    let message = bare.georeference().unwrap_err().to_string();
    assert!(message.contains("map.dat.png") && message.contains("neither a geotransform"), "{message}");

    std::fs::write(path.with_extension("pgw"), "10\n0\n0\n-10\n500005\n3759995\n").unwrap();
    let message = Raster::open(&path).unwrap().georeference().unwrap_err().to_string();
    assert!(message.contains("EPSG"), "{message}");
    std::fs::write(path.with_extension("prj"), "EPSG:32611\n").unwrap();
    let raster = Raster::open(&path).unwrap();
    let (geo, crs) = raster.georeference().unwrap();
    assert_eq!(geo.coefficients(), [500_000.0, 10.0, 0.0, 3_760_000.0, 0.0, -10.0]);
    assert_eq!(crs.name(), "WGS 84 / UTM zone 11N");

    std::fs::write(path.with_extension("pgw"), "10\n0\nnorth\n").unwrap();
    let message = Raster::open(&path).unwrap_err().to_string();
    assert!(message.contains("map.dat.pgw") && message.contains("six numbers"), "{message}");
    std::fs::write(path.with_extension("pgw"), "10\n0\n0\n-10\n5\n5\n").unwrap();
    std::fs::write(path.with_extension("prj"), "somewhere").unwrap();
    let message = Raster::open(&path).unwrap().georeference().unwrap_err().to_string();
    assert!(message.contains("map.dat.prj") && message.contains("EPSG:"), "{message}");

    let jpg = dir.path().join("photo.bin");
    image::RgbImage::from_raw(W, H, data).unwrap().save_with_format(&jpg, image::ImageFormat::Jpeg).unwrap();
    std::fs::write(jpg.with_extension("wld"), "2 0 0 -2 1 -1").unwrap();
    let raster = Raster::open(&jpg).unwrap();
    assert_eq!(raster.geo().unwrap().pixel_to_map(0.0, 0.0), (0.0, 0.0));
    check(&raster, 40.0, smooth);

    let short = dir.path().join("short.png");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&short, &bytes[..bytes.len() / 2]).unwrap();
    let message = Raster::open(&short).unwrap_err().to_string();
    assert!(message.contains("short.png") && message.contains("truncated"), "{message}");
}

#[test]
fn what_is_written_reads_back() {
    let dir = folder();
    let path = dir.path().join("out.tif");
    let north_up = GeoTransform::north_up(-13_103_589.25, 4_019_247.5, 10.0, 9.5).unwrap();
    let turned = GeoTransform::new([100.0, 3.0, 1.0, 200.0, 0.5, -4.0]).unwrap();
    for bands in [1, 2, 3, 4, 5] {
        for (geo, epsg) in [(Some(&north_up), Some(3395)), (Some(&turned), Some(4326)), (None, None)] {
            let values: Vec<f32> = (0..H).flat_map(|y| (0..W).flat_map(move |x| (0..bands).map(move |b| smooth(x, y, b)))).collect();
            let bytes: Vec<u8> = values.iter().map(|&v| v.min(255.0) as u8).collect();
            for data in [SampleData::U8(&bytes), SampleData::F32(&values)] {
                write_geotiff(&path, W, H, bands, data, geo, epsg, Some(-9999.5)).unwrap();
                let raster = Raster::open(&path).unwrap();
                assert_eq!((raster.bands(), raster.epsg(), raster.nodata()), (bands, epsg, Some(-9999.5)));
                assert_eq!(raster.geo(), geo);
                let cap = if matches!(data, SampleData::U8(_)) { 255.0 } else { f32::MAX };
                check(&raster, 0.0, |x, y, b| smooth(x, y, b).min(cap));
            }
        }
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    let hash = Raster::open(&path).unwrap().sha256().unwrap();
    assert_eq!(hash.len(), 64);

    let error = |r: Result<()>| r.unwrap_err().to_string();
    let gone = dir.path().join("missing").join("out.tif");
    let message = error(write_geotiff(&gone, 1, 1, 1, SampleData::U8(&[1]), None, None, None));
    assert!(message.contains("out.tif") && message.contains("cannot be written"), "{message}");
    let under_file = path.join("out.tif");
    let message = error(write_geotiff(&under_file, 1, 1, 1, SampleData::U8(&[1]), None, None, None));
    assert!(message.contains("is not a folder"), "{message}");
    let message = error(write_geotiff(&path, 2, 2, 1, SampleData::U8(&[1]), None, None, None));
    assert!(message.contains("do not fit 1 samples"), "{message}");
    let message = error(write_geotiff(&path, 1, 1, 1, SampleData::U8(&[1]), None, Some(99), None));
    assert!(message.contains("EPSG:99"), "{message}");
    assert_eq!(Raster::open(&path).unwrap().sha256().unwrap(), hash, "a failed write leaves the old file");
}

#[test]
fn the_cache_is_bounded_and_shared() {
    fn shared<T: Send + Sync>(_: &T) {}
    let raster = Raster::open(fixture("bigtiff_zstd_u16_be.tif")).unwrap();
    shared(&raster);
    let whole = raster.read_window(0, 0, W, H).unwrap();
    assert_eq!(raster.cached_bytes(), 6 * 16 * 16 * 2);
    let mut raster = raster;
    raster.set_cache_bytes(1100);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(raster.read_window(0, 0, W, H).unwrap(), whole);
                }
            });
        }
    });
    assert!(raster.cached_bytes() <= 1100);
}

//! The built-in reader held against GDAL (`cargo test --release --features gdal --test gdal`): files of many kinds are written, mostly by
//! GDAL, and read by both. Pixels, where there is data, transform and corners (longitude and latitude within a metre, by PROJ's default
//! operation) must be equal, or the built-in reader must refuse; and what it refuses must come through GDAL.
#![cfg(feature = "gdal")]

use echogrid::scene::{Bands, NoData, OpenOptions, Raster, Reader, lonlat_distance_m};
use gdal::raster::{Buffer, ColorInterpretation, GdalType, RasterCreationOptions};
use gdal::spatial_ref::{AxisMappingStrategy, CoordTransform, SpatialRef};
use gdal::{Dataset, DriverManager, GcpRef, Metadata};
use std::path::{Path, PathBuf};

const W: usize = 75;
const H: usize = 58;
/// Metres that a corner may be off.
const METRES: f64 = 1.0;
/// The same where the built-in reader says that its shift is fitted, which PROJ's varies about.
const FITTED_METRES: f64 = 10.0;

/// A sample's value, by its place: bounded so that every type holds it exactly, with some that mark no data here and there.
fn value(i: usize, band: usize) -> f64 {
    let z = (i as u32 * 3 + band as u32).wrapping_mul(2_654_435_761) >> 9;
    match z % 11 {
        0 => 0.0,
        1 => 100.0,
        _ => f64::from(z % 120),
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mask {
    None,
    Inside,
    Beside,
    Alpha,
    NoData(f64),
}

/// A file to write.
#[derive(Debug, Clone)]
struct Recipe {
    kind: &'static str,
    bands: usize,
    options: Vec<String>,
    mask: Mask,
    crs: String,
}

impl Recipe {
    fn new(kind: &'static str, bands: usize, options: &str) -> Self {
        let options = options.split_whitespace().map(String::from).collect();
        Self { kind, bands, options, mask: Mask::None, crs: "EPSG:32633".into() }
    }

    fn mask(mut self, mask: Mask) -> Self {
        self.mask = mask;
        self
    }

    fn crs(mut self, crs: &str) -> Self {
        self.crs = crs.into();
        self
    }
}

fn system(text: &str) -> SpatialRef {
    let mut s = SpatialRef::from_definition(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    s.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
    s
}

/// A transform that puts the file near a place where its system is at home.
fn transform(crs: &SpatialRef) -> [f64; 6] {
    let wgs = system("EPSG:4326");
    let area = crs.area_of_use();
    let (lon, lat) = area.map_or((14.0, 47.0), |a| {
        let east = if a.east_lon_degree < a.west_lon_degree { a.east_lon_degree + 360.0 } else { a.east_lon_degree };
        (a.west_lon_degree + 0.45 * (east - a.west_lon_degree), a.south_lat_degree + 0.55 * (a.north_lat_degree - a.south_lat_degree))
    });
    let (mut x, mut y) = ([lon], [lat]);
    let to = CoordTransform::new(&wgs, crs).unwrap();
    to.transform_coords(&mut x, &mut y, &mut []).unwrap();
    let step = if crs.is_geographic() { 1e-4 } else { 10.0 };
    [x[0], step, 0.0, y[0], 0.0, -step]
}

fn fill<T: Copy + GdalType>(dataset: &Dataset, recipe: &Recipe, of: impl Fn(f64) -> T) {
    for b in 0..recipe.bands {
        let mut band = dataset.rasterband(b + 1).unwrap();
        let alpha = recipe.mask == Mask::Alpha && b + 1 == recipe.bands;
        let data = (0..W * H).map(|i| of(if alpha { if inside(i) { 255.0 } else { 0.0 } } else { value(i, b) })).collect();
        band.write((0, 0), (W, H), &mut Buffer::new((W, H), data)).unwrap();
    }
}

/// Where a mask has data.
fn inside(i: usize) -> bool {
    let (x, y) = (i % W, i / W);
    x + y / 3 > 20 && !(40..47).contains(&x)
}

fn write(path: &Path, recipe: &Recipe) {
    gdal::config::set_config_option("GDAL_TIFF_INTERNAL_MASK", if recipe.mask == Mask::Beside { "NO" } else { "YES" }).unwrap();
    let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
    let options: RasterCreationOptions = recipe.options.iter().map(String::as_str).collect();
    macro_rules! create {
        ($t:ty) => {{
            let mut d = driver
                .create_with_band_type_with_options::<$t, _>(path, W, H, recipe.bands, &options)
                .unwrap_or_else(|e| panic!("{recipe:?}: {e}"));
            describe(&mut d, recipe);
            fill(&d, recipe, |v| v as $t);
            d
        }};
    }
    let mut dataset = match recipe.kind {
        "u8" => create!(u8),
        "u16" => create!(u16),
        "i16" => create!(i16),
        "u32" => create!(u32),
        "i32" => create!(i32),
        "f32" => create!(f32),
        _ => create!(f64),
    };
    if matches!(recipe.mask, Mask::Inside | Mask::Beside) {
        let mut band = dataset.rasterband(1).unwrap();
        band.create_mask_band(true).unwrap();
        let data = (0..W * H).map(|i| if inside(i) { 255u8 } else { 0 }).collect();
        band.open_mask_band().unwrap().write((0, 0), (W, H), &mut Buffer::new((W, H), data)).unwrap();
    }
    dataset.flush_cache().unwrap();
}

fn describe(dataset: &mut Dataset, recipe: &Recipe) {
    let crs = system(&recipe.crs);
    dataset.set_spatial_ref(&crs).unwrap();
    dataset.set_geo_transform(&transform(&crs)).unwrap();
    for b in 0..recipe.bands {
        let mut band = dataset.rasterband(b + 1).unwrap();
        if let Mask::NoData(v) = recipe.mask {
            band.set_no_data_value(Some(v)).unwrap();
        }
        if recipe.mask == Mask::Alpha && b + 1 == recipe.bands {
            band.set_color_interpretation(ColorInterpretation::AlphaBand).unwrap();
        }
    }
}

/// What GDAL says of a file, without any of our code: samples of the bands but alpha, where any band's mask has data, corners.
struct Truth {
    data: Vec<f64>,
    valid: Vec<bool>,
    geo: Option<[f64; 6]>,
    corners: Option<[(f64, f64); 4]>,
}

fn truth(path: &Path) -> Truth {
    let d = Dataset::open(path).unwrap();
    let (w, h) = d.raster_size();
    let bands: Vec<usize> = (1..=d.raster_count())
        .filter(|b| d.raster_count() == 1 || d.rasterband(*b).unwrap().color_interpretation() != ColorInterpretation::AlphaBand)
        .collect();
    let (mut data, mut valid) = (vec![0.0; w * h * bands.len()], vec![false; w * h]);
    for (to, b) in bands.iter().enumerate() {
        let band = d.rasterband(*b).unwrap();
        let samples = band.read_as::<f64>((0, 0), (w, h), (w, h), None).unwrap();
        let mask = band.open_mask_band().unwrap().read_as::<u8>((0, 0), (w, h), (w, h), None).unwrap();
        for i in 0..w * h {
            data[i * bands.len() + to] = samples.data()[i];
            valid[i] |= mask.data()[i] != 0;
        }
    }
    // Our rule beyond GDAL's: what is no number is no data.
    for (v, pixel) in valid.iter_mut().zip(data.chunks_exact(bands.len())) {
        *v &= pixel.iter().all(|s| (*s as f32).is_finite());
    }
    let geo = d.geo_transform().ok();
    let corners = geo.zip(d.spatial_ref().ok()).map(|(g, mut crs)| {
        crs.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
        let to = CoordTransform::new(&crs, &system("EPSG:4326")).unwrap();
        [(0, 0), (w, 0), (w, h), (0, h)].map(|(x, y)| {
            let (x, y) = (x as f64, y as f64);
            let (mut x, mut y) = ([g[0] + x * g[1] + y * g[2]], [g[3] + x * g[4] + y * g[5]]);
            to.transform_coords(&mut x, &mut y, &mut []).unwrap();
            (x[0], y[0])
        })
    });
    Truth { data, valid, geo, corners }
}

fn open(path: &Path, reader: Reader) -> echogrid::scene::Result<Raster> {
    OpenOptions { bands: Bands::All, no_data: NoData::Auto, reader: Some(reader) }.open(path)
}

/// Compares a reading with the truth; says what differs. Samples may be `tolerance` off.
fn differs(raster: &Raster, truth: &Truth, tolerance: f64) -> Option<String> {
    let window = match raster.read_window(0, 0, raster.width(), raster.height()) {
        Ok(w) => w,
        Err(e) => return Some(e.to_string()),
    };
    let bands = window.bands as usize;
    if window.data.len() != truth.data.len() {
        return Some(format!("{} samples for {}", window.data.len(), truth.data.len()));
    }
    for (i, valid) in truth.valid.iter().enumerate() {
        if (window.valid[i] != 0) != *valid {
            return Some(format!(
                "pixel {i} ({:?}) is {}",
                &truth.data[i * bands..(i + 1) * bands],
                if *valid { "not valid" } else { "valid" }
            ));
        }
        for b in 0..if *valid { bands } else { 0 } {
            let (got, want) = (f64::from(window.data[i * bands + b]), f64::from(truth.data[i * bands + b] as f32));
            if (got - want).abs() > tolerance {
                return Some(format!("pixel {i} band {b}: {got} for {want}"));
            }
        }
    }
    let geo = raster.geo().map(|g| g.coefficients());
    if let Some((a, b)) = geo.zip(truth.geo) {
        let scale = b[1].abs().max(b[5].abs());
        if (0..6).any(|i| (a[i] - b[i]).abs() > 1e-6 * scale) {
            return Some(format!("transform {a:?} for {b:?}"));
        }
    } else if geo.is_some() != truth.geo.is_some() {
        return Some(format!("transform {geo:?} for {:?}", truth.geo));
    }
    if let Some(corners) = truth.corners {
        let place = match raster.placement() {
            Ok(p) => p,
            // Refused by name: not wrong, and counted.
            Err(e) => return Some(format!("REFUSED {e}")),
        };
        let (w, h) = (f64::from(raster.width()), f64::from(raster.height()));
        for (p, want) in [[0.0, 0.0], [w, 0.0], [w, h], [0.0, h]].into_iter().zip(corners) {
            let got = place.to_lonlat(p).unwrap();
            let off = lonlat_distance_m(got, want);
            if off.is_nan() || off > if raster.crs().is_some_and(|c| c.is_fitted()) { FITTED_METRES } else { METRES } {
                return Some(format!("corner {got:?} for {want:?}, {off:.1} m"));
            }
        }
    }
    None
}

/// Types, compressions, predictors, interleaving, tiling, byte orders, BigTIFF.
fn storage() -> Vec<Recipe> {
    let mut all = Vec::new();
    let mut n = 0;
    for kind in ["u8", "u16", "i16", "u32", "i32", "f32", "f64"] {
        let float = kind.starts_with('f');
        for compress in ["NONE", "LZW", "LZW PREDICTOR", "DEFLATE", "DEFLATE PREDICTOR", "PACKBITS", "ZSTD", "ZSTD PREDICTOR"] {
            for bands in [1, 3, 5] {
                for tiled in ["NO", "YES BLOCKXSIZE=32 BLOCKYSIZE=16"] {
                    n += 1;
                    // Big-endian doubles by the floating point predictor GDAL 3.6 writes as other numbers than it was given.
                    let spoilt = kind == "f64" && n / 3 % 2 == 1;
                    let compress =
                        compress.replace(" PREDICTOR", if float && n % 2 == 0 && !spoilt { " PREDICTOR=3" } else { " PREDICTOR=2" });
                    let interleave = ["PIXEL", "BAND"][n / 2 % 2];
                    let endian = ["LITTLE", "BIG"][n / 3 % 2];
                    let big = ["NO", "YES"][n / 5 % 2];
                    let strips = if tiled == "NO" && n % 3 == 0 { " BLOCKYSIZE=7" } else { "" };
                    all.push(Recipe::new(
                        kind,
                        bands,
                        &format!("COMPRESS={compress} TILED={tiled} INTERLEAVE={interleave} ENDIANNESS={endian} BIGTIFF={big}{strips}"),
                    ));
                }
            }
        }
    }
    for bits in ["1", "2", "4"] {
        all.extend(["NONE", "DEFLATE"].map(|c| Recipe::new("u8", 1, &format!("NBITS={bits} COMPRESS={c}"))));
    }
    all
}

/// Masks, alpha and no-data values.
fn masks() -> Vec<Recipe> {
    let mut all = Vec::new();
    for kind in ["u8", "i16", "u16", "f32"] {
        for options in
            ["COMPRESS=DEFLATE TILED=YES BLOCKXSIZE=32 BLOCKYSIZE=32", "COMPRESS=NONE", "COMPRESS=LZW INTERLEAVE=BAND BLOCKYSIZE=5"]
        {
            for bands in [1, 3] {
                let plain = Recipe::new(kind, bands, options);
                for mask in
                    [Mask::Inside, Mask::Beside, Mask::NoData(0.0), Mask::NoData(100.0), Mask::NoData(-9999.0), Mask::NoData(f64::NAN)]
                {
                    all.push(plain.clone().mask(mask));
                }
                // GDAL takes alpha of other types for a band like others; the built-in reader does not.
                if kind.starts_with('u') {
                    all.push(Recipe { bands: bands + 1, ..plain }.mask(Mask::Alpha));
                }
            }
        }
    }
    all
}

/// Coordinate systems, each spelled in several ways.
fn systems() -> Vec<Recipe> {
    const CODES: [u32; 40] = [
        4326, 4258, 4269, 3857, 3395, 32611, 32733, 25832, 26911, 3035, 2154, 27700, 2056, 21781, 28992, 31370, 31467, 31287, 3003, 23030,
        5514, 2180, 3006, 2193, 7856, 28355, 3031, 3413, 3995, 6933, 5070, 3005, 2263, 3347, 6677, 5186, 4490, 31983, 22185, 2393,
    ];
    const TEXTS: [&str; 12] = [
        "+proj=lcc +lat_1=33 +lat_2=45 +lat_0=39 +lon_0=-96 +datum=WGS84",
        "+proj=lcc +lat_0=46.8 +lon_0=2.3 +lat_1=46.8 +k_0=0.99987742 +x_0=600000 +y_0=2200000 +datum=WGS84",
        "+proj=laea +lat_0=50 +lon_0=12 +datum=WGS84",
        "+proj=aeqd +lat_0=47 +lon_0=14 +datum=WGS84",
        "+proj=aea +lat_1=29.5 +lat_2=45.5 +lat_0=37.5 +lon_0=14 +datum=WGS84",
        "+proj=stere +lat_0=90 +lat_ts=75 +lon_0=-30 +datum=WGS84",
        "+proj=tmerc +lat_0=0 +lon_0=13.5 +k=0.9999 +x_0=250000 +y_0=0 +datum=WGS84",
        "+proj=tmerc +lat_0=0 +lon_0=13.5 +k=1 +x_0=0 +y_0=0 +ellps=GRS80 +towgs84=0,0,0",
        "+proj=merc +lon_0=10 +lat_ts=30 +datum=WGS84",
        "+proj=moll +lon_0=0 +datum=WGS84",
        "+proj=eqc +lat_ts=40 +lon_0=10 +datum=WGS84",
        "+proj=tmerc +lat_0=0 +lon_0=15 +k=1 +x_0=5500000 +y_0=0 +ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7",
    ];
    let mut all = Vec::new();
    for options in ["", "GEOTIFF_KEYS_FLAVOR=ESRI_PE", "GEOTIFF_VERSION=1.1", "PROFILE=BASELINE"] {
        all.extend(CODES.iter().map(|c| Recipe::new("u8", 1, options).crs(&format!("EPSG:{c}"))));
        all.extend(TEXTS.iter().map(|t| Recipe::new("u8", 1, options).crs(t)));
    }
    all
}

struct Tally {
    files: usize,
    refused: Vec<String>,
    wrong: Vec<String>,
}

impl Tally {
    fn judge(&mut self, path: &Path, what: &str, tolerance: f64) {
        let truth = truth(path);
        self.files += 1;
        let before = self.refused.len();
        match open(path, Reader::BuiltIn) {
            Err(e) => self.refused.push(format!("{what}: {e}")),
            Ok(raster) => match differs(&raster, &truth, tolerance) {
                Some(why) if why.starts_with("REFUSED") => self.refused.push(format!("{what}: {why}")),
                Some(why) => self.wrong.push(format!("built-in, {what}: {why}")),
                None => {}
            },
        }
        // Through GDAL all of it must come, whatever the kind.
        match open(path, Reader::Gdal) {
            Err(e) => self.wrong.push(format!("GDAL, {what}: {e}")),
            Ok(raster) => {
                // PROJ leaves out a shift that it does not know; neither reader does.
                let why = differs(&raster, &truth, 0.0).filter(|why| !(why.starts_with("REFUSED") && self.refused.len() > before));
                self.wrong.extend(why.map(|why| format!("GDAL, {what}: {why}")));
            }
        }
    }
}

/// Whole numbers of no-data texts, and other texts, on files written tag by tag.
fn texts(dir: &Path, tally: &mut Tally) {
    use tiff::encoder::{TiffEncoder, colortype};
    use tiff::tags::Tag;
    let texts = [
        "0",
        "100",
        "-9999",
        " 100 ",
        "100 0",
        "1e2",
        "-3.39999999999999996e+38",
        "nan",
        "1.#QNAN",
        "-1.#IND",
        "1.#INF",
        "-1.#INF",
        "256",
        "99.7",
    ];
    for (i, text) in texts.iter().enumerate() {
        macro_rules! kind {
            ($colour:ty, $t:ty, $name:literal) => {{
                let path = dir.join(format!("text{i}-{}.tif", $name));
                let mut data: Vec<$t> = (0..W * H).map(|i| value(i, 0) as $t).collect();
                if size_of::<$t>() >= 4 {
                    (0..W * H).step_by(17).for_each(|i| data[i] = f32::MIN as $t);
                }
                let mut encoder = TiffEncoder::new(std::fs::File::create(&path).unwrap()).unwrap();
                let mut image = encoder.new_image::<$colour>(W as u32, H as u32).unwrap();
                image.encoder().write_tag(Tag::GdalNodata, *text).unwrap();
                image.write_data(&data).unwrap();
                tally.judge(&path, &format!("no-data text `{text}` of {}", $name), 0.0);
            }};
        }
        kind!(colortype::Gray8, u8, "u8");
        kind!(colortype::GrayI16, i16, "i16");
        kind!(colortype::Gray32Float, f32, "f32");
        kind!(colortype::Gray64Float, f64, "f64");
    }
}

#[test]
fn files_of_many_kinds_read_as_gdal_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut tally = Tally { files: 0, refused: Vec::new(), wrong: Vec::new() };
    for (i, recipe) in storage().iter().chain(&masks()).chain(&systems()).enumerate() {
        let path = dir.path().join(format!("f{i}.tif"));
        write(&path, recipe);
        tally.judge(&path, &format!("{recipe:?}"), 0.0);
    }
    // What is lossy may round otherwise.
    for (i, (bands, options)) in [
        (1, ""),
        (3, "PHOTOMETRIC=YCBCR"),
        (3, "PHOTOMETRIC=RGB"),
        (3, "INTERLEAVE=BAND"),
        (1, "TILED=YES"),
        (3, "TILED=YES PHOTOMETRIC=YCBCR"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = dir.path().join(format!("j{i}.tif"));
        write(&path, &Recipe::new("u8", bands, &format!("COMPRESS=JPEG JPEG_QUALITY=97 {options}")));
        tally.judge(&path, &format!("JPEG {options}"), if options.contains("YCBCR") { 6.0 } else { 3.0 });
    }
    texts(dir.path(), &mut tally);
    println!("{} files; {} refused by the built-in reader, {} wrong", tally.files, tally.refused.len(), tally.wrong.len());
    tally.refused.iter().for_each(|r| println!("refused: {r}"));
    tally.wrong.iter().for_each(|w| println!("WRONG: {w}"));
    assert!(tally.files >= 600, "{} files", tally.files);
    assert!(tally.wrong.is_empty(), "{} are wrong", tally.wrong.len());
    assert!(tally.refused.len() * 20 < tally.files, "{} are refused", tally.refused.len());
}

/// Kinds that only GDAL reads: refused by name without it, read with it.
#[test]
fn what_is_refused_comes_through_gdal() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source.tif");
    write(&source, &Recipe::new("u8", 3, ""));
    let truth = truth(&source);
    let copy = |driver: &str, name: &str, options: &[&str]| -> Option<PathBuf> {
        let path = dir.path().join(name);
        let driver = DriverManager::get_driver_by_name(driver).ok()?;
        let options: RasterCreationOptions = options.iter().copied().collect();
        let mut made = Dataset::open(&source).unwrap().create_copy(&driver, &path, &options).ok()?;
        made.flush_cache().ok()?;
        Some(path)
    };
    let mut seen = 0;
    for (driver, name, options, word) in [
        ("JP2OpenJPEG", "a.jp2", &["REVERSIBLE=YES", "QUALITY=100"][..], "JPEG 2000"),
        ("ENVI", "a.dat", &[], "ENVI"),
        ("NITF", "a.ntf", &[], "NITF"),
        ("HFA", "a.img", &[], "ERDAS"),
        ("GTiff", "lzma.tif", &["COMPRESS=LZMA"], "LZMA"),
        ("GTiff", "lerc.tif", &["COMPRESS=LERC"], "LERC"),
        ("GTiff", "webp.tif", &["COMPRESS=WEBP", "WEBP_LOSSLESS=YES"], "WebP"),
        ("GTiff", "bits12.tif", &["NBITS=7"], "7-bit"),
    ] {
        let Some(path) = copy(driver, name, options) else {
            println!("this GDAL cannot write {name}");
            continue;
        };
        let refusal = open(&path, Reader::BuiltIn).unwrap_err().to_string();
        assert!(refusal.contains(word), "{name}: {refusal}");
        let raster = Raster::open(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(raster.reader(), Reader::Gdal);
        if let Some(why) = differs(&raster, &truth, 0.0) {
            // The place of what cannot hold this one is another matter.
            assert!(name == "a.ntf" && why.contains("transform"), "{name}: {why}");
        }
        seen += 1;
    }
    assert!(seen >= 5, "{seen}");
    // A virtual raster over the file.
    let bands: String = (1..=3)
        .map(|b| format!("<VRTRasterBand dataType=\"Byte\" band=\"{b}\"><SimpleSource><SourceFilename relativeToVRT=\"1\">source.tif</SourceFilename><SourceBand>{b}</SourceBand></SimpleSource></VRTRasterBand>"))
        .collect();
    let g = truth.geo.unwrap().map(|v| v.to_string()).join(", ");
    let vrt = dir.path().join("a.vrt");
    let text = format!(
        "<VRTDataset rasterXSize=\"{W}\" rasterYSize=\"{H}\"><SRS>EPSG:32633</SRS><GeoTransform>{g}</GeoTransform>{bands}</VRTDataset>"
    );
    std::fs::write(&vrt, text).unwrap();
    assert!(open(&vrt, Reader::BuiltIn).unwrap_err().to_string().contains("VRT"));
    assert_eq!(differs(&Raster::open(&vrt).unwrap(), &truth, 0.0), None);
    // Complex numbers are not taken for their real part, nor palettes for grey.
    let complex = dir.path().join("c.vrt");
    std::fs::write(
        &complex,
        "<VRTDataset rasterXSize=\"4\" rasterYSize=\"4\"><VRTRasterBand dataType=\"CFloat32\" band=\"1\"/></VRTDataset>",
    )
    .unwrap();
    let message = Raster::open(&complex).unwrap_err().to_string();
    assert!(message.contains("complex"), "{message}");
}

/// Control points of a file, by both readers.
#[test]
fn control_points_come_through_both_readers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gcp.tif");
    let place = |x: f64, y: f64| (12.0 - 1.2e-4 * x + 1e-5 * y + 1e-9 * x * y, 46.0 - 9e-5 * y - 2e-5 * x);
    {
        let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
        let d = driver.create_with_band_type::<u8, _>(&path, W, H, 1).unwrap();
        let recipe = Recipe::new("u8", 1, "");
        fill(&d, &recipe, |v| v as u8 + 1);
        let gcps = (0..5).flat_map(|j| (0..4).map(move |i| (i as f64 * 25.0, j as f64 * 14.5))).map(|(x, y)| {
            let (lon, lat) = place(x, y);
            gdal::Gcp { id: String::new(), info: String::new(), pixel: x, line: y, x: lon, y: lat, z: 0.0 }
        });
        d.set_gcps(gcps.collect(), &system("EPSG:4326")).unwrap();
    }
    assert_eq!(Dataset::open(&path).unwrap().gcps().iter().filter(|g: &&GcpRef<'_>| g.id() != "none").count(), 20);
    for reader in [Reader::BuiltIn, Reader::Gdal] {
        let raster = open(&path, reader).unwrap();
        assert_eq!(raster.control_points(), 20);
        for (x, y) in [(0.0, 0.0), (37.2, 29.1), (75.0, 58.0)] {
            let got = raster.placement().unwrap().to_lonlat([x, y]).unwrap();
            assert!(lonlat_distance_m(got, place(x, y)) < METRES, "{reader:?} at {x},{y}: {got:?}");
        }
    }
    let _ = Dataset::open(&path).unwrap().description();
}

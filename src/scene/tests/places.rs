//! Where pixels lie: side-cars, control points, maps in pieces; and what is refused by name.

use super::build::{Picture, Value, tiff};
use super::*;

const UTM: &str = r#"PROJCS["WGS 84 / UTM zone 11N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",-117],PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],PARAMETER["false_northing",0],UNIT["metre",1]]"#;

fn picture(dir: &TempDir, name: &str) -> PathBuf {
    let path = dir.path().join(name);
    image::save_buffer_with_format(&path, &[99u8; 24 * 20 * 3], 24, 20, image::ColorType::Rgb8, image::ImageFormat::Png).unwrap();
    path
}

fn corner(raster: &Raster) -> (f64, f64) {
    raster.placement().unwrap().to_lonlat([0.0, 0.0]).unwrap()
}

fn metres(a: (f64, f64), b: (f64, f64)) -> f64 {
    lonlat_distance_m(a, b)
}

#[test]
fn side_cars_of_any_case_and_of_gdal_and_arcgis() {
    let dir = folder();
    let utm = Crs::from_epsg(32611).unwrap();
    let want = utm.to_lonlat(453_825.0, 3_762_268.0).unwrap();
    let world = "10\n0\n0\n-10\n453830\n3762263\n";
    for (i, (w, p)) in [("pgw", "prj"), ("PGW", "PRJ"), ("Pgw", "Prj"), ("wld", "prj"), ("WLD", "prj")].into_iter().enumerate() {
        let path = picture(&dir, &format!("m{i}.png"));
        std::fs::write(path.with_extension(w), world).unwrap();
        std::fs::write(path.with_extension(p), format!("\u{feff}{UTM}\n")).unwrap();
        let raster = Raster::open(&path).unwrap();
        assert!(metres(corner(&raster), want) < 0.01, "{w} {p}: {:?}", corner(&raster));
    }
    // GDAL's: the transform speaks of corners.
    let path = picture(&dir, "pam.png");
    let aux = dir.path().join("pam.png.aux.xml");
    let pam = |inside: &str| std::fs::write(&aux, format!("<PAMDataset>{inside}</PAMDataset>")).unwrap();
    let srs = format!("<SRS dataAxisToSRSAxisMapping=\"1,2\">{UTM}</SRS>");
    pam(&format!(
        "{srs}<GeoTransform> 4.53825e5, 10, 0, 3762268, 0, -10</GeoTransform>\
         <PAMRasterBand band=\"2\"><Description>green</Description></PAMRasterBand>\
         <PAMRasterBand band=\"1\"><NoDataValue>99</NoDataValue><Description>red</Description></PAMRasterBand>"
    ));
    let raster = Raster::open(&path).unwrap();
    assert!(metres(corner(&raster), want) < 0.01);
    assert_eq!((raster.nodata(), raster.band_names()[1]), (Some(99.0), (2, Some("green"))));
    // It wins over the file itself, as in GDAL, and that is said.
    let tif = dir.path().join("own.tif");
    std::fs::write(&tif, tiff(&[Picture::bytes([4, 4], 1, &[7; 16]).placed()])).unwrap();
    assert!(Raster::open(&tif).unwrap().warnings().is_empty());
    std::fs::copy(&aux, dir.path().join("own.tif.aux.xml")).unwrap();
    let raster = Raster::open(&tif).unwrap();
    assert!(metres(corner(&raster), want) < 0.01 && raster.warnings()[0].contains("gives another place"), "{:?}", raster.warnings());
    // Another system alone is said too; one that cannot be read does not take the file's own away.
    let own_aux = dir.path().join("own.tif.aux.xml");
    std::fs::write(&own_aux, "<PAMDataset><SRS>EPSG:32610</SRS></PAMDataset>").unwrap();
    let raster = Raster::open(&tif).unwrap();
    assert!(raster.epsg() == Some(32610) && raster.warnings()[0].contains("gives another place"), "{raster:?}");
    std::fs::write(&own_aux, "<PAMDataset><SRS>somewhere</SRS></PAMDataset>").unwrap();
    assert_eq!(Raster::open(&tif).unwrap().epsg(), Some(32611));
    // ArcGIS writes the system there and leaves the world file.
    pam(&format!("<GeodataXform><SpatialReference><WKT>{UTM}</WKT></SpatialReference></GeodataXform>"));
    std::fs::write(path.with_extension("pgw"), world).unwrap();
    assert!(metres(corner(&Raster::open(&path).unwrap()), want) < 0.01);
    // Control points.
    let (left, top) = (453_825.0, 3_762_268.0);
    let gcp = |x: f64, y: f64| format!("<GCP Id=\"\" Pixel=\"{x}\" Line=\"{y}\" X=\"{}\" Y=\"{}\"/>", left + 10.0 * x, top - 10.0 * y);
    let list: String = [(0.0, 0.0), (24.0, 0.0), (0.0, 20.0), (24.0, 20.0)].map(|(x, y)| gcp(x, y)).concat();
    std::fs::remove_file(path.with_extension("pgw")).unwrap();
    pam(&format!("<GCPList Projection='{}'>{list}</GCPList>", UTM.replace('"', "&quot;")));
    let raster = Raster::open(&path).unwrap();
    assert_eq!(raster.control_points(), 4);
    assert!(metres(corner(&raster), want) < 0.1);
    let message = raster.georeference().unwrap_err().to_string();
    assert!(message.contains("4 ground control points") && message.contains("gdalwarp -tps"), "{message}");
    for (inside, want) in [("<GeoTransform>1, 2</GeoTransform>", "six numbers"), ("<GeoTransform>", "no XML")] {
        pam(inside);
        let message = Raster::open(&path).unwrap_err().to_string();
        assert!(message.contains("pam.png.aux.xml") && message.contains(want), "{message}");
    }
}

#[test]
fn tie_points_of_a_raw_product_give_scale_direction_and_mirroring() {
    let dir = folder();
    let path = dir.path().join("raw.tif");
    // Descending: columns run west, rows south; ten by four points in degrees, pixel is point.
    let place = |x: f64, y: f64| [-117.0 - 1e-4 * x + 2e-5 * y, 34.0 - 9e-5 * y - 1.5e-5 * x];
    let mut points = Vec::new();
    for (i, j) in (0..4).flat_map(|j| (0..10).map(move |i| (i, j))) {
        let [lon, lat] = place(f64::from(i) * 20.0, f64::from(j) * 30.0);
        points.extend([f64::from(i) * 20.0 - 0.5, f64::from(j) * 30.0 - 0.5, 0.0, lon, lat, 12.0]);
    }
    let data: Vec<u8> = (0..180 * 90u32).map(|i| (i * 37 % 251) as u8 + 2).collect();
    let keys = Value::Short(vec![1, 1, 0, 3, 1024, 0, 1, 2, 1025, 0, 1, 2, 2048, 0, 1, 4326]);
    let raw = || Picture::bytes([180, 90], 1, &data).with(33922, Value::Double(points.clone()));
    std::fs::write(&path, tiff(&[raw().with(34735, keys.clone())])).unwrap();
    let sar = Image::sar(&path, None).unwrap();
    let at = sar.raster.placement().unwrap();
    for p in [[0.0, 0.0], [77.5, 41.25], [180.0, 90.0]] {
        let [lon, lat] = place(p[0], p[1]);
        assert!(metres(at.to_lonlat(p).unwrap(), (lon, lat)) < 0.01);
        let back = at.from_lonlat((lon, lat)).unwrap();
        assert!((back[0] - p[0]).abs() < 1e-3 && (back[1] - p[1]).abs() < 1e-3, "{back:?}");
    }
    // The frame on a map says that it is mirrored.
    let map = dir.path().join("map.tif");
    let utm = Crs::from_epsg(32611).unwrap();
    let (x, y) = utm.from_lonlat(-117.01, 34.0).unwrap();
    let geo = GeoTransform::north_up(x - 2000.0, y + 2000.0, 10.0, 10.0).unwrap();
    write_geotiff(&map, 400, 400, 3, SampleData::U8(&vec![50; 400 * 400 * 3]), Some(&geo), Some(32611), None).unwrap();
    let info = MapInfo::of(&Image::map(&map).unwrap()).unwrap();
    let frame = Frame::new(&info, &sar, None).unwrap();
    let m = frame.matrix;
    assert!(frame.oriented && m[0][0] < 0.0 && m[0][0] * m[1][1] - m[0][1] * m[1][0] < 0.0, "{m:?}");
    let own = frame.own.as_ref().unwrap().apply([90.0, 45.0]).unwrap();
    let [lon, lat] = place(90.0, 45.0);
    let (u, v) = utm.from_lonlat(lon, lat).unwrap();
    let there = geo.map_to_pixel(u, v);
    assert!((own[0] - there.0).abs() < 0.01 && (own[1] - there.1).abs() < 0.01, "{own:?} {there:?}");
    // Where the claim lies on the map, each position has its own scale and direction, and patches lie to each other as it says.
    let apart = [0, 1].map(|d| frame.relative([90.0, 45.0])[d] - frame.relative([10.0, 70.0])[d]);
    let [lon, lat] = place(10.0, 70.0);
    let (u, v) = utm.from_lonlat(lon, lat).unwrap();
    let other = geo.map_to_pixel(u, v);
    assert!((apart[0] - (there.0 - other.0)).abs() < 0.01 && (apart[1] - (there.1 - other.1)).abs() < 0.01, "{apart:?}");
    let back = compose(frame.matrix_at([10.0, 70.0]), frame.own.as_ref().unwrap().jacobian([10.0, 70.0]).unwrap());
    assert!((back[0][0] - 1.0).abs() < 1e-9 && back[0][1].abs() < 1e-9 && (back[1][1] - 1.0).abs() < 1e-9, "{back:?}");
    let message = frame.ways(Mirrored::Yes).unwrap_err().to_string();
    assert!(message.contains("leave --mirrored out"), "{message}");
    // Points alone say nothing without a system, and two are too few.
    std::fs::write(&path, tiff(&[raw()])).unwrap();
    let message = Raster::open(&path).unwrap().placement().unwrap_err().to_string();
    assert!(message.contains("raw.tif") && message.contains("no coordinate system"), "{message}");
    let two = Picture::bytes([180, 90], 1, &data).with(33922, Value::Double(points[..12].to_vec())).with(34735, keys);
    std::fs::write(&path, tiff(&[two])).unwrap();
    let message = Raster::open(&path).unwrap().placement().unwrap_err().to_string();
    assert!(message.contains("2 ground control points are too few"), "{message}");
    // An image without any place may lie either way.
    std::fs::write(&path, tiff(&[Picture::bytes([180, 90], 1, &data)])).unwrap();
    let bare = Frame::new(&info, &Image::sar(&path, None).unwrap(), Some(10.0)).unwrap();
    let count = |m| bare.ways(m).unwrap().iter().map(|f| (f.flipped, f.matrix[0][0] < 0.0)).collect::<Vec<_>>();
    assert_eq!(count(Mirrored::Auto), [(false, false), (true, true)]);
    assert_eq!((count(Mirrored::Yes), count(Mirrored::No)), (vec![(true, true)], vec![(false, false)]));
}

#[test]
fn degrees_from_0_to_360_are_degrees() {
    let crs = Crs::from_epsg(4326).unwrap();
    let georeference = |left: f64| Georeference::affine(GeoTransform::north_up(left, 35.0, 0.01, 0.01).unwrap(), crs.clone(), [200, 200]);
    let (east, west) = (georeference(242.0), georeference(-118.0));
    for (from, to) in [(&east, &west), (&west, &east), (&east, &east)] {
        let p = from.to_pixels_of(to, [30.0, 40.0]).unwrap();
        assert!((p[0] - 30.0).abs() < 1e-6 && (p[1] - 40.0).abs() < 1e-6, "{p:?}");
    }
    assert!((east.to_lonlat([50.0, 50.0]).unwrap().0 + 117.5).abs() < 1e-9);
    let p = east.from_lonlat((-117.5, 34.5)).unwrap();
    assert!((p[0] - 50.0).abs() < 1e-6 && (p[1] - 50.0).abs() < 1e-6, "{p:?}");
}

/// A map of a smooth picture cut at `parts` (left, top, width, height), written as tiles; and the whole.
fn pieces(dir: &TempDir, parts: &[[u32; 4]]) -> Vec<PathBuf> {
    let geo = GeoTransform::north_up(500_000.0, 3_760_000.0, 10.0, 10.0).unwrap();
    let tile = |(i, [x0, y0, w, h]): (usize, &[u32; 4])| {
        let path = dir.path().join(format!("tile{i}.tif"));
        let data: Vec<u8> =
            (*y0..y0 + h).flat_map(|y| (*x0..x0 + w).flat_map(move |x| (0..3).map(move |b| smooth(x % 40, y % 40, b) as u8))).collect();
        let part = geo.offset(f64::from(*x0), f64::from(*y0));
        write_geotiff(&path, *w, *h, 3, SampleData::U8(&data), Some(&part), Some(32611), None).unwrap();
        path
    };
    parts.iter().enumerate().map(tile).collect()
}

#[test]
fn tiles_of_one_lattice_are_one_map() {
    let dir = folder();
    // The first is not at the corner; a gap at the lower right, an overlap between the upper two.
    let parts = [[600, 0, 300, 500], [0, 0, 620, 500], [0, 500, 600, 200]];
    let paths = pieces(&dir, &parts);
    let map = Image::open_map(&paths, OpenOptions::default()).unwrap();
    let raster = &map.raster;
    assert_eq!((raster.width(), raster.height(), raster.bands(), raster.pieces().len()), (900, 700, 3, 3));
    assert_eq!(raster.geo().unwrap().pixel_to_map(0.0, 0.0), (500_000.0, 3_760_000.0));
    let said = raster.warnings().join("\n");
    assert!(said.contains("3 files, 900x700 px") && said.contains("lies in none") && said.contains("in several"), "{said}");
    let window = raster.read_window(-2, 480, 905, 230).unwrap();
    for j in 0..230u32 {
        for i in 0..905u32 {
            let (x, y) = (i64::from(i) - 2, i64::from(j) + 480);
            let inside = (0..900).contains(&x) && y < 700 && (y < 500 || x < 600);
            let p = (j * 905 + i) as usize;
            assert_eq!(window.valid[p], u8::from(inside), "at {x},{y}");
            if inside {
                assert_eq!(window.data[3 * p + 1], smooth(x as u32 % 40, y as u32 % 40, 1));
            }
        }
    }
    // What a database remembers of it; the same from a folder and from a list.
    let info = MapInfo::of(&map).unwrap();
    assert_eq!((info.name.as_str(), info.files.len(), info.sha256.len()), ("tile0.tif", 3, 64));
    let list = dir.path().join("tiles.txt");
    std::fs::write(&list, "# tiles\ntile0.tif\n\ntile1.tif\ntile2.tif\n").unwrap();
    for source in [dir.path().to_path_buf(), list] {
        let again = OpenOptions { bands: Bands::Colours, ..OpenOptions::default() }.open_map(&[source]).unwrap();
        assert_eq!(again.sha256().unwrap(), info.sha256);
        assert_eq!(again.read_window(590, 490, 20, 20).unwrap(), raster.read_window(590, 490, 20, 20).unwrap());
    }
}

#[test]
fn tiles_off_the_lattice_are_resampled_and_unlike_ones_refused() {
    let dir = folder();
    let mut paths = pieces(&dir, &[[0, 0, 300, 300]]);
    // A ramp in another system, a quarter of a pixel off, twice as coarse: its values say where its pixels lie.
    let (utm, mercator) = (Crs::from_epsg(32611).unwrap(), Crs::from_epsg(3857).unwrap());
    let (lon, lat) = utm.to_lonlat(503_002.5, 3_760_000.0).unwrap();
    let (x, y) = mercator.from_lonlat(lon, lat).unwrap();
    let geo = GeoTransform::north_up(x, y, 24.0, 24.0).unwrap();
    let data: Vec<u8> = (0..150 * 140u32).flat_map(|i| [(i % 150 + 40) as u8, (i / 150 + 40) as u8, 100]).collect();
    let path = dir.path().join("other.tif");
    write_geotiff(&path, 150, 140, 3, SampleData::U8(&data), Some(&geo), Some(3857), Some(0.0)).unwrap();
    paths.push(path);
    let raster = OpenOptions { bands: Bands::Colours, ..OpenOptions::default() }.open_map(&paths).unwrap();
    assert!(raster.warnings().join("\n").contains("1 are resampled"), "{:?}", raster.warnings());
    let window = raster.read_window(320, 20, 100, 100).unwrap();
    assert!(!window.valid.contains(&0));
    for (i, v) in window.data.chunks_exact(3).enumerate() {
        let (px, py) = (320.5 + (i % 100) as f64, 20.5 + (i / 100) as f64);
        let (x, y) = raster.geo().unwrap().pixel_to_map(px, py);
        let (lon, lat) = utm.to_lonlat(x, y).unwrap();
        let (x, y) = mercator.from_lonlat(lon, lat).unwrap();
        let (u, w) = geo.map_to_pixel(x, y);
        assert!(
            (f64::from(v[0]) - (u - 0.5 + 40.0)).abs() < 0.01 && (f64::from(v[1]) - (w - 0.5 + 40.0)).abs() < 0.01,
            "{v:?} for {u} {w}"
        );
    }
    let grey = dir.path().join("grey.tif");
    write_geotiff(&grey, 9, 9, 1, SampleData::U8(&[5; 81]), Some(&geo), Some(3857), None).unwrap();
    let message = OpenOptions::default().open_map(&[paths[0].clone(), grey]).unwrap_err().to_string();
    assert!(message.contains("grey.tif in 1") && message.contains("must have the same"), "{message}");
    let deep = dir.path().join("deep.tif");
    write_geotiff(&deep, 9, 9, 3, SampleData::F32(&[5.0; 243]), Some(&geo), Some(3857), None).unwrap();
    let message = OpenOptions::default().open_map(&[paths[0].clone(), deep]).unwrap_err().to_string();
    assert!(message.contains("holds u8") && message.contains("deep.tif f32"), "{message}");
    // A file without a pixel adds nothing, wherever it stands; doubts about any file are told.
    let empty = dir.path().join("empty.tif");
    let mut none = Picture::bytes([30, 30], 3, &[7; 2700]).placed();
    none.strips = vec![None];
    std::fs::write(&empty, tiff(&[none.with(262, Value::Short(vec![2]))])).unwrap();
    assert!(matches!(Raster::open(&empty), Err(Error::Empty { .. })));
    std::fs::write(
        dir.path().join("other.tif.aux.xml"),
        "<PAMDataset><PAMRasterBand band=\"1\"><NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>",
    )
    .unwrap();
    let all = [empty, paths[0].clone(), paths[1].clone()];
    let raster = OpenOptions { bands: Bands::Colours, ..OpenOptions::default() }.open_map(&all).unwrap();
    let said = raster.warnings().join("\n");
    assert!(
        said.contains("empty.tif: stores no pixel, and adds nothing") && said.contains("no-data value 7 wins over the image's own 0"),
        "{said}"
    );
    let bare = picture(&dir, "bare.png");
    let message = OpenOptions::default().open_map(&[paths[0].clone(), bare]).unwrap_err().to_string();
    assert!(message.contains("bare.png") && message.contains("neither a geotransform"), "{message}");
}

#[test]
fn kinds_that_are_not_read_are_refused_by_name() {
    let dir = folder();
    let message = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Raster::open(&path).unwrap_err().to_string()
    };
    for (name, bytes, want) in [
        ("a.jp2", &b"\0\0\0\x0cjP  \r\n\x87\n"[..], "JPEG 2000"),
        ("a.ntf", b"NITF02.10", "NITF"),
        ("a.h5", b"\x89HDF\r\n", "HDF5"),
        ("a.nc", b"CDF\x01", "netCDF"),
        ("a.img", b"EHFA_HEADER_TAG", "ERDAS"),
        ("a.vrt", b"<VRTDataset rasterXSize=\"1\">", "VRT"),
        ("a.zip", b"PK\x03\x04....", "ZIP"),
        ("a.webp", b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        ("a.txt", b"hello", "is not a TIFF, PNG or JPEG"),
    ] {
        let got = message(name, bytes);
        assert!(got.contains(want) && got.contains(name) && (got.contains("gdal") || got.contains("unpack")), "{got}");
    }
    std::fs::write(dir.path().join("raw.hdr"), "ENVI\nsamples = 2\n").unwrap();
    assert!(message("raw.dat", &[1, 2, 3, 4]).contains("ENVI"));
    // Compressions, samples and colours of TIFF.
    let tif = |id: u16, value: Value| message("k.tif", &tiff(&[Picture::bytes([2, 2], 1, &[1; 4]).with(id, value)]));
    for (code, want) in [(34887, "LERC"), (50001, "WebP"), (34925, "LZMA"), (50002, "JPEG XL"), (3, "CCITT"), (777, "number 777")] {
        let got = tif(259, Value::Short(vec![code]));
        assert!(got.contains(want) && got.contains("compression is not supported; rewrite it: gdal_translate"), "{got}");
    }
    assert!(tif(258, Value::Short(vec![12])).contains("12-bit samples"));
    assert!(tif(339, Value::Short(vec![5])).contains("complex SAR data"));
    assert!(tif(266, Value::Short(vec![2])).contains("FillOrder 2"));
    assert!(tif(262, Value::Short(vec![5])).contains("CMYK"));
    let rpc = tif(50844, Value::Double(vec![0.0; 92]));
    assert!(rpc.contains("rational polynomial coefficients (RPC)") && rpc.contains("gdalwarp -rpc"), "{rpc}");
    for address in ["https://example.org/a.tif", "/vsizip/a.zip/a.tif", "NETCDF:\"a.nc\":b"] {
        let got = Raster::open(address).unwrap_err().to_string();
        assert!(got.contains("an address, or a part of a file") && got.contains("gdal_translate"), "{got}");
    }
    // Products as folders.
    let safe = dir.path().join("S1A_IW_GRDH.SAFE");
    std::fs::create_dir_all(safe.join("measurement")).unwrap();
    let got = Raster::open(&safe).unwrap_err().to_string();
    assert!(got.contains(".SAFE product folder") && got.contains("measurement"), "{got}");
    std::fs::write(safe.join("measurement").join("s1a-vv.tiff"), "").unwrap();
    let got = Raster::open(&safe).unwrap_err().to_string();
    assert!(got.contains("s1a-vv.tiff"), "{got}");
    let got = Raster::open(dir.path()).unwrap_err().to_string();
    assert!(got.contains("a folder is not supported") && got.contains("--map takes a folder"), "{got}");
}

#[test]
fn sizes_that_a_header_merely_claims() {
    let dir = folder();
    let path = dir.path().join("huge.tif");
    let refused = |picture: Picture| {
        std::fs::write(&path, tiff(&[picture])).unwrap();
        Raster::open(&path).unwrap_err().to_string()
    };
    let claimed = |size: [u32; 2], rows: u32, strips: Vec<Option<Vec<u8>>>| {
        let mut p = Picture::bytes([1, 1], 1, &[1]);
        (p.size, p.rows_per_strip, p.strips) = (size, rows, strips);
        p
    };
    let one = vec![None];
    assert!(refused(claimed([1 << 24, 1 << 24], 1 << 24, one.clone())).contains("is not supported; cut out the part"));
    assert!(refused(claimed([200_000, 200_000], 200_000, one)).contains("stores no pixel: all of its tiles"));
    // One strip of many is stored: found at once, and all else is passed over.
    let mut strips = vec![None; 3000];
    strips[1234] = Some((0..60_000u32 * 20).map(|i| (i % 97 + 3) as u8).collect());
    let p = claimed([60_000, 60_000], 20, strips);
    std::fs::write(&path, tiff(&[p.placed()])).unwrap();
    let start = std::time::Instant::now();
    let map = Image::map(&path).unwrap();
    let mask = ValidityMask::new(&map.raster).unwrap();
    assert!(mask.share(0.0, 24_680.0, 60_000.0, 20.0) > 0.5 && mask.share(0.0, 0.0, 60_000.0, 20_000.0) == 0.0);
    assert!(start.elapsed().as_secs_f64() < 20.0, "{:?}", start.elapsed());
}

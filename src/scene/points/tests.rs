use super::super::{SampleData, SampleType, write_geotiff, write_geotiff_rows};
use super::*;
use crate::scene::GeoTiff;
use std::path::PathBuf;
use std::process::Command;

/// An image of 60 x 40 px, and points on it that an affine transform joins with UTM zone 11.
fn world(dir: &Path, own: Option<&GeoTransform>) -> (Raster, ControlPoints, GeoTransform) {
    let path = dir.join("sar.tif");
    let data: Vec<u8> = (0..60 * 40).map(|i| 1 + (i % 200) as u8).collect();
    write_geotiff(&path, 60, 40, 1, SampleData::U8(&data), own, own.map(|_| 32611), None).unwrap();
    let truth = GeoTransform::new([400_000.0, 9.8, 1.7, 3_700_000.0, 1.7, -9.8]).unwrap();
    let place = |p: [f64; 2]| -> [f64; 2] { truth.pixel_to_map(p[0], p[1]).into() };
    let all = [[3.25, 4.5], [55.0, 2.0], [50.5, 36.0], [4.0, 33.0], [30.0, 20.0], [20.0, 30.0]];
    let mut points: Vec<ControlPoint> =
        all.iter().map(|p| ControlPoint { sar_px: *p, map_xy: place(*p), residual_px: Some([0.5, -0.25]), enabled: true }).collect();
    points[5].enabled = false;
    let crs = Some(Crs::from_epsg(32611).unwrap());
    (Raster::open(&path).unwrap(), ControlPoints { points, crs }, truth)
}

/// The same image without a place.
fn bare(dir: &Path) -> PathBuf {
    let path = dir.join("bare.tif");
    write_geotiff(&path, 60, 40, 1, SampleData::U8(&[9; 60 * 40]), None, None, None).unwrap();
    path
}

fn saved(dir: &Path, name: &str, points: &ControlPoints, image: &Raster, affine: &GeoTransform) -> (PathBuf, String) {
    let path = dir.join(name);
    write(&path, points, PointsOf { image, affine: Some(affine) }).unwrap();
    let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
    (path, text)
}

fn near(a: &ControlPoints, b: &ControlPoints, metres: f64) {
    let here = |p: &ControlPoints, i: usize| p.crs.as_ref().unwrap().to_lonlat(p.points[i].map_xy[0], p.points[i].map_xy[1]).unwrap();
    assert_eq!(a.points.len(), b.points.len());
    for i in 0..a.points.len() {
        assert!((0..2).all(|d| (a.points[i].sar_px[d] - b.points[i].sar_px[d]).abs() < 1e-3), "{:?} {:?}", a.points[i], b.points[i]);
        assert!(crate::scene::lonlat_distance_m(here(a, i), here(b, i)) < metres);
        assert_eq!(a.points[i].enabled, b.points[i].enabled);
    }
}

#[test]
fn qgis_counts_rows_downwards_as_negative() {
    let dir = tempfile::tempdir().unwrap();
    let (image, points, affine) = world(dir.path(), None);
    let (path, text) = saved(dir.path(), "a.points", &points, &image, &affine);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("#CRS: PROJCS[\"WGS 84 / UTM zone 11N\"") && lines[0].contains("\"32611\""), "{}", lines[0]);
    assert_eq!(lines[1], "mapX,mapY,sourceX,sourceY,enable,dX,dY,residual");
    let row: Vec<f64> = lines[2].split(',').map(|v| v.parse().unwrap()).collect();
    let want = affine.pixel_to_map(3.25, 4.5);
    assert_eq!(row[..7], [want.0, want.1, 3.25, -4.5, 1.0, 0.5, -0.25]);
    assert!((row[7] - 0.559_017).abs() < 1e-5);
    assert!(lines[7].split(',').nth(4) == Some("0"));
    let back = read(&path, None).unwrap();
    assert_eq!(back, points);
    // Before 3.26, and the oldest with tabs and no heading; rows counted downwards by other programs.
    for text in [
        "mapX,mapY,pixelX,pixelY,enable,dX,dY,residual\n400040.5,3699961.4,3.25,-4.5,1,0,0,0\n",
        "mapX,mapY,pixelX,pixelY,enable\n400040.5,3699961.4,3.25,-4.5,1\n",
        "mapX\tmapY\tpixelX\tpixelY\n400040.5\t3699961.4\t3.25\t-4.5\n",
        "400040.5,3699961.4,3.25,4.5,1\r\n",
    ] {
        let found = qgis::read(text, None).unwrap();
        assert!(found.crs.is_none());
        let [p] = &found.points[..] else { panic!("{found:?}") };
        assert_eq!((p.sar_px, p.map_xy, p.enabled, p.residual_px), ([3.25, 4.5], [400_040.5, 3_699_961.4], true, None));
    }
    for (text, word) in [("1,2,3\n", "line 1: four numbers"), ("#CRS: EPSG:32611\n1,2,x,4\n", "line 2: `x`"), ("#CRS: EPSG:99\n", "line 1")]
    {
        assert!(qgis::read(text, None).unwrap_err().contains(word), "{text}");
    }
}

#[test]
fn qgis_counts_in_map_coordinates_where_the_image_has_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let own = GeoTransform::north_up(400_100.0, 3_700_050.0, 10.0, 10.0).unwrap();
    let (image, points, affine) = world(dir.path(), Some(&own));
    let (path, text) = saved(dir.path(), "a.points", &points, &image, &affine);
    assert!(text.lines().nth(2).unwrap().contains(",400132.5,3700005,1,"), "{text}");
    let size = [60, 40];
    assert_eq!(read(&path, Some((Some(&own), size))).unwrap(), points);
    // Pixels all the same, as other programs write them.
    let (plain, _) = saved(dir.path(), "b.points", &points, &Raster::open(bare(dir.path())).unwrap(), &affine);
    assert_eq!(read(&plain, Some((Some(&own), size))).unwrap(), points);
}

#[test]
fn envi_counts_from_one_and_names_its_projection() {
    let dir = tempfile::tempdir().unwrap();
    let (image, mut points, affine) = world(dir.path(), None);
    let (path, text) = saved(dir.path(), "a.pts", &points, &image, &affine);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["; ENVI Image to Map GCP File", "; projection info = {UTM, 11, North, WGS-84, units=Meters}"]);
    assert_eq!((lines[3], lines[4], lines.len()), ("; Map (x,y), Image (x,y)", ";", 10));
    let row: Vec<&str> = lines[5].split_whitespace().collect();
    assert_eq!(row[2..], ["4.2500", "5.5000"]);
    let mut enabled = points.clone();
    enabled.points.pop();
    near(&read(&path, None).unwrap(), &enabled, 1e-3);
    // Another system: as longitude and latitude.
    let mercator = Crs::from_epsg(3395).unwrap();
    for p in &mut points.points {
        p.map_xy = points.crs.as_ref().unwrap().reproject(&mercator, p.map_xy[0], p.map_xy[1]).unwrap().into();
    }
    points.crs = Some(mercator);
    let (path, text) = saved(dir.path(), "b.pts", &points, &image, &affine);
    assert!(text.contains("{Geographic Lat/Lon, WGS-84, units=Degrees}"), "{text}");
    near(&read(&path, None).unwrap(), &enabled, 1e-3);
    let with_height = "; ENVI Orthorectification Ground Control Points File\n; projection info = {UTM, 12, South, WGS-84, units=Meters}\n; Map (x,y,elev), Image (x,y)\n;\n 1 2 300 4366.0\t447.0\n";
    let found = envi::read(with_height).unwrap();
    assert_eq!((found.points[0].sar_px, found.points[0].map_xy, found.crs.unwrap().epsg()), ([4365.0, 446.0], [1.0, 2.0], Some(32712)));
    assert!(envi::read("; ENVI Image to Image GCP File\n1 2 3 4\n").unwrap_err().contains("two images"));
    assert!(envi::read("1 2 3\n").unwrap_err().contains("line 1"));
}

#[test]
fn tables_and_geojson_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (image, points, affine) = world(dir.path(), None);
    let (path, _) = saved(dir.path(), "a.csv", &points, &image, &affine);
    let back = read(&path, None).unwrap();
    assert!(back.crs.is_none());
    near(&ControlPoints { crs: points.crs.clone(), ..back }, &points, 1e-3);
    let (path, _) = saved(dir.path(), "a.geojson", &points, &image, &affine);
    near(&read(&path, None).unwrap(), &points, 1e-3);
    let found = csv::read("Pixel;Line;Longitude;Latitude;enable\n3.5;4;-117.5;33.25;0\n").unwrap();
    assert_eq!((found.points[0].map_xy, found.points[0].enabled, found.crs.unwrap().epsg()), ([-117.5, 33.25], false, Some(4326)));
    assert!(csv::read("a,b\n1,2\n").unwrap_err().contains("position in the image"));
    assert!(csv::read("px,py,x,y\n1,2,3,four\n").unwrap_err().contains("line 2: `four`"));
    assert!(geojson::read("{}").unwrap_err().contains("feature collection"));
}

#[test]
fn names_that_say_no_format_are_refused_with_those_that_do() {
    let error = PointsFormat::of(Path::new("a.xyz")).unwrap_err().to_string();
    assert!([".points", ".pts", ".csv", ".geojson", ".vrt", ".tif", ".tfw", ".wld"].iter().all(|s| error.contains(s)), "{error}");
    assert_eq!(PointsFormat::of(Path::new("A.PTS")).unwrap(), PointsFormat::Envi);
}

#[test]
fn a_world_file_speaks_of_the_centre_of_the_first_pixel() {
    let dir = tempfile::tempdir().unwrap();
    let (image, points, affine) = world(dir.path(), None);
    let (path, text) = saved(dir.path(), "sar.tfw", &points, &image, &affine);
    let lines: Vec<f64> = text.lines().map(|l| l.parse().unwrap()).collect();
    let (x, y) = affine.pixel_to_map(0.5, 0.5);
    assert_eq!(lines[..4], [9.8, 1.7, 1.7, -9.8]);
    assert!((lines[4] - x).abs() < 1e-6 && (lines[5] - y).abs() < 1e-6);
    assert!(std::fs::read_to_string(path.with_extension("prj")).unwrap().starts_with("PROJCS["));
    // Beside the image: read back with it.
    let again = Raster::open(image.path()).unwrap();
    assert_eq!(again.epsg(), Some(32611));
    assert!((again.geo().unwrap().coefficients()[0] - 400_000.0).abs() < 1e-6);
    assert!(write(&path, &points, PointsOf { image: &image, affine: None }).is_err());
    let said = write(&path, &points, PointsOf { image: &again, affine: Some(&affine) }).unwrap();
    assert!(said[0].contains("before a world file"), "{said:?}");
}

/// GDAL's answer, or nothing where it is not installed.
fn gdal(args: &[&str]) -> Option<String> {
    match Command::new(args[0]).args(&args[1..]).output() {
        Ok(out) => {
            assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
            Some(String::from_utf8_lossy(&out.stdout).into_owned())
        }
        Err(_) => {
            eprintln!("skipped: {} is not installed, so what GDAL reads in these files is not checked", args[0]);
            None
        }
    }
}

#[test]
fn the_untouched_image_keeps_its_pixels_and_gdal_reads_its_points() {
    let dir = tempfile::tempdir().unwrap();
    let own = GeoTransform::north_up(0.0, 0.0, 5.0, 5.0).unwrap();
    for (name, own) in [("plain", None), ("placed", Some(&own))] {
        let (image, points, affine) = world(dir.path(), own);
        for file in ["gcps.tif", "gcps.vrt"] {
            let (path, _) = saved(dir.path(), file, &points, &image, &affine);
            if file.ends_with("tif") {
                let copy = Raster::open(&path).unwrap();
                assert_eq!(copy.read_window(0, 0, 60, 40).unwrap(), image.read_window(0, 0, 60, 40).unwrap());
                assert_eq!((copy.control_points(), copy.geo()), (5, None), "{name}");
                assert_eq!(copy.crs(), points.crs.as_ref());
                let (lon, lat) = copy.placement().unwrap().to_lonlat([30.0, 20.0]).unwrap();
                let (x, y) = points.crs.as_ref().unwrap().from_lonlat(lon, lat).unwrap();
                let want = affine.pixel_to_map(30.0, 20.0);
                assert!((x - want.0).hypot(y - want.1) < 0.01);
            }
            let Some(said) = gdal(&["gdalinfo", path.to_str().unwrap()]) else { continue };
            assert_eq!(said.matches("(3.25,4.5) ->").count(), 1, "{said}");
            assert_eq!(said.matches(") -> (").count(), 5, "{said}");
            assert!(said.contains("GCP Projection") && said.contains("UTM zone 11N") && !said.contains("Origin ="), "{said}");
            // Resampled by GDAL through the points: the pixel at the middle of the image lies where ours puts it.
            for way in [&["-tps"][..], &["-order", "1"]] {
                let out = dir.path().join("warped.tif");
                let _ = std::fs::remove_file(&out);
                let mut args = vec!["gdalwarp", "-q", "-tr", "1", "1"];
                args.extend(way);
                args.extend([path.to_str().unwrap(), out.to_str().unwrap()]);
                gdal(&args);
                let warped = Raster::open(&out).unwrap();
                let geo = *warped.geo().unwrap();
                let w = warped.read_window(0, 0, warped.width(), warped.height()).unwrap();
                for (i, j) in [(30u32, 20u32), (5, 5), (55, 35), (10, 30)] {
                    // Centres of pixels.
                    let (x, y) = affine.pixel_to_map(f64::from(i) + 0.5, f64::from(j) + 0.5);
                    let (u, v) = geo.map_to_pixel(x, y);
                    let got = w.data[v as usize * warped.width() as usize + u as usize];
                    assert_eq!(got, (1 + (j * 60 + i) % 200) as f32, "{file} {way:?}");
                }
            }
        }
    }
}

#[test]
fn overviews_masks_and_tags_of_a_tiff_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.tif");
    let about = [("KEPT".to_string(), "yes".to_string())];
    let header =
        GeoTiff { width: 1200, height: 700, bands: 2, nodata: Some(0.0), about: &about, names: &[None, Some("VH")], ..GeoTiff::default() };
    write_geotiff_rows(&path, &header, SampleType::U16, &mut |y, rows, out: &mut Vec<f32>| {
        out.extend((y..y + rows).flat_map(|y| (0..1200).flat_map(move |x| [(x + y) as f32, 7.0])));
        Ok(())
    })
    .unwrap();
    let image = Raster::open(&path).unwrap();
    let (_, points, affine) = world(dir.path(), None);
    let (copy, text) = saved(dir.path(), "copy.tif", &points, &image, &affine);
    assert!(text.contains("KNOWN_INCOMPATIBLE_EDITION=YES") && text.contains("KEPT"));
    let read = Raster::open(&copy).unwrap();
    assert_eq!((read.control_points(), read.nodata(), read.band_names()[1].1), (5, Some(0.0), Some("VH")));
    assert_eq!(read.read_window(1100, 600, 100, 100).unwrap(), image.read_window(1100, 600, 100, 100).unwrap());
    let mut decoder = ::tiff::decoder::Decoder::new(std::fs::File::open(&copy).unwrap()).unwrap();
    decoder.next_image().unwrap();
    assert_eq!(decoder.dimensions().unwrap(), (600, 350));
}

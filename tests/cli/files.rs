//! Files as people have them, from the command line: what is said, on standard error and in JSON, and that fixes are right all the same.

use super::*;
use echogrid::scene::lonlat_distance_m;
use serde_json::Value;

/// The SAR image as float intensity, without data (`fill`) outside of a slanted swath.
fn swath(fill: f32) -> Vec<f32> {
    let inside = |x: u32, y: u32| (60 + y / 5..540).contains(&x) && y >= 40;
    let value = |v: u8| (f32::from(v).max(1.0) / 100.0).powi(2);
    WORLD.scene.sar.iter().zip(0..).map(|(v, i)| if inside(i % SIZE, i / SIZE) { value(*v) } else { fill }).collect()
}

/// Places of a GeoJSON file's found patches: SAR pixels, longitude and latitude.
fn found(path: &Path) -> Vec<([f64; 2], (f64, f64))> {
    let all: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let number = |v: &Value| v.as_f64().unwrap();
    let properties =
        all["features"].as_array().unwrap().iter().map(|f| &f["properties"]).filter(|p| p["kind"] == "patch" && p["found"] == true);
    properties.map(|p| ([number(&p["sar_px"][0]), number(&p["sar_px"][1])], (number(&p["lon"]), number(&p["lat"])))).collect()
}

/// Metres that each found patch is off, where `to_map` brings SAR pixels to those of the world's own image.
fn errors(path: &Path, to_map: impl Fn([f64; 2]) -> [f64; 2]) -> Vec<f64> {
    let (geo, crs) = (own_geo(), Crs::from_epsg(EPSG).unwrap());
    let error = |(px, lonlat): ([f64; 2], (f64, f64))| {
        let [u, v] = to_map(px);
        let (x, y) = geo.pixel_to_map(u, v);
        lonlat_distance_m(crs.to_lonlat(x, y).unwrap(), lonlat)
    };
    found(path).into_iter().map(error).collect()
}

#[test]
fn fill_that_no_tag_names_is_said_and_overruled() {
    let dir = folder("fill");
    let (sar, out) = (dir.join("sar.tif"), dir.join("out.geojson"));
    for fill in [0.0, -9999.0] {
        write_sar(&sar, [SIZE; 2], SampleData::F32(&swath(fill)), Some(own_geo()), Some(EPSG));
        let value = locate_dense(&sar, &out, &[]);
        let warnings = value["warnings"].as_array().unwrap();
        let of_fill = warnings.iter().filter(|w| w.as_str().unwrap().contains("is taken for no data")).count();
        assert_eq!(of_fill, 1, "{value}");
        let off = errors(&out, |p| p);
        assert!(off.len() >= 4 && off.iter().all(|e| *e < 100.0), "{off:?}");
        let said = run(&["info", text(&sar)]).ok();
        assert!(said.err.contains("warning: ") && said.err.contains("--no-data none"), "{said:?}");
        let info: Value = serde_json::from_str(&run(&["info", "--json", "--no-data", "none", text(&sar)]).ok().out).unwrap();
        assert_eq!((&info["fill"], &info["warnings"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    }
    run(&["info", "--no-data", "soon", text(&sar)]).fails(2, &["a number, `none` or `auto` is needed"]);
}

#[test]
fn an_image_without_a_place_is_tried_mirrored_too() {
    let (w, dir) = (&*WORLD, folder("mirrored"));
    let (sar, out) = (dir.join("raw.tif"), dir.join("out.geojson"));
    let n = SIZE as usize;
    let flipped: Vec<u8> = (0..n * n).map(|i| w.scene.sar[i / n * n + n - 1 - i % n]).collect();
    write_sar(&sar, [SIZE; 2], SampleData::U8(&flipped), None, None);
    let size = Raster::open(&w.sar).unwrap().ground_pixel_size().unwrap().0.to_string();
    let unflip = |p: [f64; 2]| [f64::from(SIZE) - p[0], p[1]];
    for (more, mirrored) in [(&[][..], true), (&["--mirrored", "yes"], true), (&["--mirrored", "no"], false)] {
        let value = locate_dense(&sar, &out, &[&["--pixel-size", &size], more].concat());
        assert_eq!(value["images"][0]["mirrored"], mirrored, "{value}");
        let off = errors(&out, unflip);
        assert!(off.iter().all(|e| *e < 100.0) && (off.len() >= 8) == mirrored, "{more:?}: {off:?}");
    }
    // As it was taken, it is not mirrored; and an image that says how it lies is not to be told.
    write_sar(&sar, [SIZE; 2], SampleData::U8(&w.scene.sar), None, None);
    let value = locate_dense(&sar, &out, &["--pixel-size", &size]);
    assert!(value["images"][0]["mirrored"] == false && errors(&out, |p| p).len() >= 8, "{value}");
    let outcome = locate(&w.sar, &out, &["--mirrored", "yes"]);
    outcome.fails(1, &["georeference says how it lies"]);
}

#[test]
fn a_map_in_pieces_is_one_map() {
    let (w, dir) = (&*WORLD, folder("pieces"));
    // Cut at 250 and 400 px, so that cells cross the seams.
    let mut tiles = Vec::new();
    for (x0, x1) in [(0, 250), (250, 600)] {
        for (y0, y1) in [(0, 400), (400, 600)] {
            let path = dir.join(format!("tile_{x0}_{y0}.tif"));
            let row = |y: usize| w.scene.optical[3 * (y * SIZE as usize + x0)..3 * (y * SIZE as usize + x1)].to_vec();
            let data: Vec<u8> = (y0..y1).flat_map(row).collect();
            let geo = own_geo().offset(x0 as f64, y0 as f64);
            write_geotiff(&path, (x1 - x0) as u32, (y1 - y0) as u32, 3, SampleData::U8(&data), Some(&geo), Some(EPSG), None).unwrap();
            tiles.push(path);
        }
    }
    let (db, out, page) = (dir.join("map.dense"), dir.join("out.geojson"), dir.join("out.html"));
    let make = |map: &[&str]| {
        let args = [&["index", "--method", "dense", "--features", "structure", "--out", text(&db), "--json", "--map"], map].concat();
        serde_json::from_str::<Value>(&run(&args).ok().out).unwrap()
    };
    let several: Vec<&str> = tiles.iter().map(|t| text(t)).collect();
    for map in [&several[..], &[text(&dir)]] {
        let value = make(map);
        assert!(value["blocks"].as_u64().unwrap() > 0, "{value}");
        let done =
            run(&["locate", "--index", text(&db), "--sar", text(&w.sar), "--out", text(&out), "--report", text(&page), "--json"]).ok();
        let off = errors(&out, |p| p);
        assert!(off.len() >= 8 && off.iter().all(|e| *e < 100.0), "{off:?}");
        // The pictures are of the tiles beside the database.
        assert!(!done.out.contains("was not found beside") && std::fs::read_to_string(&page).unwrap().contains("tile_0_0.tif"));
    }
    run(&["index", "--map", text(&tiles[0]), text(&w.sar), "--out", text(&db)]).fails(1, &["files of one map must have the same"]);
}

#[test]
fn info_names_what_it_cannot_read_and_what_it_reads() {
    let dir = folder("kinds");
    let (jp2, safe) = (dir.join("a.jp2"), dir.join("S1A.SAFE"));
    std::fs::write(&jp2, b"\0\0\0\x0cjP  \r\n\x87\n").unwrap();
    std::fs::create_dir_all(&safe).unwrap();
    run(&["info", text(&jp2)]).fails(1, &["a.jp2", "JPEG 2000", "gdal_translate"]);
    run(&["info", text(&safe)]).fails(1, &["S1A.SAFE", "measurement"]);
    let info: Value = serde_json::from_str(&run(&["info", "--json", "--band", "2", text(&WORLD.map)]).ok().out).unwrap();
    assert_eq!((&info["bands"], &info["reads"][0]["band"], &info["reader"]), (&1.into(), &2.into(), &"built-in".into()));
    assert!(info.get("as_map").is_none(), "{info}");
    // Which bands are read of it as a map, and as a SAR image: which it is not, and that is said.
    let info: Value = serde_json::from_str(&run(&["info", "--json", text(&WORLD.map)]).ok().out).unwrap();
    assert_eq!(
        (&info["as_map"]["bands"], &info["as_map"]["doubt"], &info["as_sar"]["bands"]),
        (&vec![1, 2, 3].into(), &Value::Null, &vec![1].into())
    );
    assert!(info["as_sar"]["doubt"].as_str().unwrap().contains("says that they are colours"), "{info}");
    run(&["info", "--band", "VV", text(&WORLD.map)]).fails(1, &["has no band `VV`; it has 1, 2, 3"]);
}

#[test]
fn ships_are_drawn_with_their_boxes() {
    let dir = folder("ships");
    let out = dir.join("new");
    let draw = |more: &[&str]| run(&[&["synth", "--out", text(&out), "--ships", "4", "--size", "120"], more].concat());
    let done = draw(&[]).ok();
    assert!(done.out.contains("4 SAR images of 120x120 px") && done.out.contains("annotations.json"), "{done:?}");
    let read = || echogrid::detect::coco::read(&out.join("annotations.json"), Some(&out.join("images"))).unwrap();
    let first = read();
    assert!(first.images.len() == 4 && first.boxes() >= 4 && names(&out.join("images")).len() == 4);
    draw(&["--seed", "2"]).ok();
    assert_ne!(first, read());
    run(&["synth", "--out", text(&out), "--ships", "0"]).fails(2, &["--ships"]);
    run(&["synth", "--out", text(&out), "--ships", "1000000", "--size", "16384"])
        .fails(1, &["--ships 1000000 of --size 16384", "fewer or smaller"]);
    std::fs::write(dir.join("file"), "kept").unwrap();
    run(&["synth", "--out", text(&dir.join("file")), "--ships", "1"]).fails(1, &["folder cannot be made"]);
}

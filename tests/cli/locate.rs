//! `locate` of many images, of images that say little of themselves, and what it says of them.

use super::*;
use echogrid::scene::lonlat_distance_m;
use serde_json::Value;

/// A square of the world's SAR image from a corner on, with its georeference or none.
fn crop(path: &Path, [x0, y0]: [u32; 2], side: u32, placed: bool) {
    let at = |i: u32| WORLD.scene.sar[((y0 + i / side) * SIZE + x0 + i % side) as usize];
    let pixels: Vec<u8> = (0..side * side).map(at).collect();
    let geo = placed.then(|| own_geo().offset(f64::from(x0), f64::from(y0)));
    write_sar(path, [side; 2], SampleData::U8(&pixels), geo, placed.then_some(EPSG));
}

/// Longitude and latitude of a pixel of the world.
fn lonlat(px: f64, py: f64) -> (f64, f64) {
    let (x, y) = own_geo().pixel_to_map(px, py);
    Crs::from_epsg(EPSG).unwrap().to_lonlat(x, y).unwrap()
}

/// How far an image's place is from a pixel of the world, metres.
fn off(image: &Value, px: f64, py: f64) -> f64 {
    lonlat_distance_m((image["lon"].as_f64().unwrap(), image["lat"].as_f64().unwrap()), lonlat(px, py))
}

fn dense(sar: &[&str], out: &Path, more: &[&str]) -> Outcome {
    run(&[&["locate", "--index", text(&DENSE), "--out", text(out), "--json", "--sar"], sar, more].concat())
}

#[test]
fn many_images_are_located_each_by_itself_and_a_bad_one_does_not_stop_the_rest() {
    let dir = folder("many");
    let (chips, bad, out, csv) = (dir.join("chips"), dir.join("bad.tif"), dir.join("out.geojson"), dir.join("out.csv"));
    std::fs::create_dir_all(&chips).unwrap();
    let corners = [[0, 0], [300, 40], [120, 280]];
    for (i, corner) in corners.into_iter().enumerate() {
        crop(&chips.join(format!("c{i}.tif")), corner, 260, true);
    }
    std::fs::write(&bad, "no image").unwrap();
    let pattern = format!("{}/c[12].tif", text(&chips));
    // A file, a pattern and a folder: each image once.
    let outcome = dense(&[text(&chips.join("c1.tif")), &pattern, text(&chips), text(&bad)], &out, &["--csv", text(&csv)]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.err.contains("1 of 4 images could not be located") && outcome.err.contains("bad.tif"), "{outcome:?}");
    let value: Value = serde_json::from_str(&outcome.out).unwrap();
    let images = value["images"].as_array().unwrap();
    assert_eq!((images.len(), &value["failed"], &value["schema"]), (4, &1.into(), &1.into()), "{value}");
    for image in images.iter().filter(|i| i["verdict"] != "failed") {
        let number: usize = image["file"].as_str().unwrap().trim_end_matches(".tif").chars().last().unwrap().to_digit(10).unwrap() as usize;
        let [x, y] = corners[number].map(|v| f64::from(v) + 130.0);
        assert!(image["verdict"] != "not_here" && off(image, x, y) < 60.0, "{image}");
        assert_eq!(image["footprint"].as_array().unwrap().len(), 4);
    }
    let all = std::fs::read_to_string(&csv).unwrap();
    assert!(all.starts_with("file,kind,") && all.lines().filter(|l| l.contains(",image,")).count() == 4, "{all}");
    let features: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    let of = |kind: &str| features["features"].as_array().unwrap().iter().filter(|f| f["properties"]["kind"] == kind).count();
    assert_eq!((of("image"), of("patch")), (4, 3));
    // Standard input names images, and what is for other programs goes to standard output.
    let names = format!("{}\n", text(&chips.join("c0.tif")));
    let outcome = run_with_input(&["locate", "--index", text(&DENSE), "--sar", "-", "--out", "-"], &names).ok();
    let collection: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(collection["features"].as_array().unwrap().len(), 2);
    dense(&["nowhere/*.png"], &out, &[]).fails(1, &["no file has such a name"]);
}

#[test]
fn an_images_own_place_is_a_claim_unless_it_is_said_to_be_the_truth() {
    let dir = folder("claims");
    let (sar, out, page) = (dir.join("in.tif"), dir.join("out.geojson"), dir.join("out.html"));
    // Claimed 60 px to the east of where it lies.
    let at = |i: u32| WORLD.scene.sar[((100 + i / 300) * SIZE + 100 + i % 300) as usize];
    let pixels: Vec<u8> = (0..300 * 300).map(at).collect();
    write_sar(&sar, [300; 2], SampleData::U8(&pixels), Some(own_geo().offset(160.0, 100.0)), Some(EPSG));
    let claimed: Value = serde_json::from_str(&dense(&[text(&sar)], &out, &["--report", text(&page)]).ok().out).unwrap();
    let image = &claimed["images"][0];
    let displaced = image["displaced_m"].as_f64().unwrap();
    assert!((displaced - 60.0 * own_scale(&WORLD.sar)).abs() < 60.0, "{image}");
    assert!(image["displaced"].as_str().unwrap().ends_with(" m W") && claimed["truth"].is_null(), "{image}");
    assert!(image["fixes"][0]["found"] == true && image["fixes"][0]["right"].is_null());
    let text_of = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert!(!text_of(&out).contains("\"right\"") && !text_of(&page).contains("wrong fix"), "a claim is no truth");
    let truth: Value = serde_json::from_str(&dense(&[text(&sar)], &out, &["--truth"]).ok().out).unwrap();
    assert_eq!(truth["images"][0]["fixes"][0]["right"], false, "{truth}");
}

#[test]
fn a_turned_image_without_a_place_is_found_and_its_turn_told() {
    let dir = folder("turned");
    let (sar, out) = (dir.join("in.tif"), dir.join("out.geojson"));
    // Turned by 40 degrees clockwise on the map, its pixels 1.1 times as large, about the middle of the world.
    let (side, degrees, scale) = (340u32, 40f64, 1.1);
    let (sin, cos) = degrees.to_radians().sin_cos();
    let pixels: Vec<u8> = (0..side * side)
        .map(|i| {
            let [u, v] = [i % side, i / side].map(|p| scale * (f64::from(p) + 0.5 - f64::from(side) / 2.0));
            let [x, y] = [cos * u - sin * v, sin * u + cos * v].map(|d| d + f64::from(SIZE) / 2.0);
            WORLD.scene.sar[y as usize * SIZE as usize + x as usize]
        })
        .collect();
    write_sar(&sar, [side; 2], SampleData::U8(&pixels), None, None);
    let size = own_scale(&WORLD.sar).to_string();
    let map = ["--map", text(&WORLD.map), "--pixel-size", &size];
    let value: Value = serde_json::from_str(&dense(&[text(&sar)], &out, &map).ok().out).unwrap();
    let image = &value["images"][0];
    assert!(off(image, f64::from(SIZE) / 2.0, f64::from(SIZE) / 2.0) < 60.0, "{image}");
    let number = |name: &str| image[name].as_f64().unwrap();
    assert!((number("rotation_clockwise_deg") - degrees).abs() < 2.0 && (number("scale") - scale).abs() < 0.04, "{image}");
    // The upper left corner of the image lies to the north of its middle, and a little west.
    let corner = &image["footprint"][0];
    let north = corner[1].as_f64().unwrap() - number("lat");
    let east = (corner[0].as_f64().unwrap() - number("lon")) * number("lat").to_radians().cos();
    // (-1, -1) turned by 40 degrees clockwise: 0.12 to the west, 1.41 to the north.
    assert!(north > 0.0 && (east / north + 0.09).abs() < 0.05, "{east} {north} {image}");
    // The transform puts that corner there, too.
    let g: Vec<f64> = image["geotransform"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let (lon, lat) = Crs::from_epsg(EPSG).unwrap().to_lonlat(g[0], g[3]).unwrap();
    assert!((lon - corner[0].as_f64().unwrap()).abs() < 1e-6 && (lat - corner[1].as_f64().unwrap()).abs() < 1e-6, "{image}");
}

#[test]
fn a_prior_around_a_place_needs_no_georeference() {
    let dir = folder("near");
    let (sar, out) = (dir.join("in.tif"), dir.join("out.geojson"));
    crop(&sar, [200, 150], 260, false);
    let size = own_scale(&WORLD.sar).to_string();
    let (lon, lat) = lonlat(340.0, 290.0);
    let near = format!("{lon},{lat}");
    let args = ["--pixel-size", &size, "--near", &near, "--prior", "500", "--mirrored", "no"];
    let value: Value = serde_json::from_str(&dense(&[text(&sar)], &out, &args).ok().out).unwrap();
    assert!(off(&value["images"][0], 330.0, 280.0) < 60.0, "{value}");
    // Wrong by kilometres: nothing is made of it.
    let (lon, lat) = lonlat(5000.0, 290.0);
    let far = format!("{lon},{lat}");
    let args = ["--pixel-size", &size, "--near", &far, "--prior", "500", "--mirrored", "no"];
    dense(&[text(&sar)], &out, &args).fails(1, &["no part of the map with data lies within its prior"]);
    for near in ["10.5", "10,5,50,3", "200,95"] {
        dense(&[text(&sar)], &out, &["--pixel-size", &size, "--near", near, "--prior", "500"]).fails(2, &["LON,LAT"]);
    }
}

//! Sets of pairs: in place of scenes, built of two images, and checked.

use super::*;

/// Side of a pair, px.
const SIDE: u32 = 120;

/// The world's scene in pairs, 25 of them: folders `sar` and `opt` in `dir`.
fn pairs(dir: &Path) -> (PathBuf, PathBuf) {
    let w = &*WORLD;
    let (sar, optical) = (dir.join("sar"), dir.join("opt"));
    for (folder, bands, data) in [(&sar, 1usize, &w.scene.sar), (&optical, 3, &w.scene.optical)] {
        std::fs::create_dir_all(folder).unwrap();
        for n in 0..25u32 {
            let (x0, y0) = (n % 5 * SIDE, n / 5 * SIDE);
            let row = |y: u32| &data[((y0 + y) * SIZE + x0) as usize * bands..][..SIDE as usize * bands];
            let crop: Vec<u8> = (0..SIDE).flat_map(row).copied().collect();
            write_geotiff(folder.join(format!("{}.tif", n + 1)), SIDE, SIDE, bands as u32, SampleData::U8(&crop), None, None, None)
                .unwrap();
        }
    }
    (sar, optical)
}

fn json(outcome: Outcome) -> serde_json::Value {
    serde_json::from_str(&outcome.ok().out).expect("one JSON object")
}

#[test]
fn an_encoder_is_trained_and_judged_on_pairs() {
    let (w, dir) = (&*WORLD, folder("pairs_train"));
    let (sar, optical) = pairs(&dir);
    let (s, o, model) = (text(&sar), text(&optical), dir.join("model.safetensors"));
    let train = |more: &[&str]| run(&[&["train", "--config", text(&w.config), "--out", text(&model)], more].concat());
    let said = train(&["--pairs", s, o, "--pixel-size", "10", "--val-blocks", "1"]).ok();
    // Of 25 the last fifth, and its neighbour belongs to neither.
    assert!(said.err.contains("19 pairs to train on, 5 to validate on"), "{}", said.err);
    let about = json(run(&["info", text(&model), "--json"]));
    assert!(about.to_string().contains("opt/1.tif") && about.to_string().contains("sar/1.tif"), "{about}");
    // A table says which are for what, and --val-pairs wins.
    let table = dir.join("pairs.csv");
    let rows: String = (1..=25).map(|n| format!("sar/{n}.tif,opt/{n}.tif,{}\n", if n < 20 { "train" } else { "val" })).collect();
    std::fs::write(&table, format!("sar,optical,split\n{rows}")).unwrap();
    let said = train(&["--pairs-list", text(&table), "--pixel-size", "10"]).ok();
    assert!(said.err.contains("19 pairs to train on, 6 to validate on"), "{}", said.err);

    let dense = |more: &[&str]| run(&[&["eval", "--protocol", "dense", "--pairs", s, o, "--pixel-size", "10", "--json"], more].concat());
    let eval = |more: &[&str]| {
        run(&[&["eval", "--pairs", s, o, "--pixel-size", "10", "--model", text(&model), "--views", "1", "--json"], more].concat())
    };
    let value = json(eval(&["--cell", "100", "--protocol", "aligned", "--queries", "50"]));
    // One cell of 100 px lies in each pair of 120, and none between them.
    assert_eq!((&value["cells"], &value["queries"]), (&25.into(), &25.into()), "{value}");
    let value = json(eval(&["--cell", "60", "--protocol", "arbitrary", "--queries", "12"]));
    assert_eq!((&value["cells"], &value["queries"]), (&100.into(), &12.into()), "{value}");
    let page = dir.join("eval.html");
    let value = json(dense(&["--features", "structure", "--queries", "4", "--report", text(&page)]));
    // A patch that suits 120 px, as none is asked for.
    assert_eq!((&value["patch"], &value["queries"]), (&96.into(), &4.into()), "{value}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("How well sar is found on opt"));
    eval(&["--cell", "200", "--protocol", "aligned"]).fails(1, &["a cell (--cell) of 200 px", "120 px", "take 96"]);
    dense(&["--patch", "121"]).fails(1, &["a patch (--patch) of 121 px", "120 px"]);

    // What cannot be.
    let config = dir.join("large.toml");
    std::fs::write(&config, settings(1, 1, 1).replace("patch = 100", "patch = 130")).unwrap();
    run(&["train", "--config", text(&config), "--out", text(&model), "--pairs", s, o, "--pixel-size", "10"])
        .fails(1, &["patch of 130 px", "take 96"]);
    train(&["--pairs", s, o]).fails(1, &["--pixel-size METRES", "1.tif"]);
    train(&["--pairs", s, o, "--pixel-size", "0"]).fails(2, &["metres above 0"]);
    train(&["--pairs", s, o, "--pixel-size", "10,1"]).fails(1, &["2 sizes for 1 sets"]);
    train(&["--pairs", s, o, "--pixel-size", "10", "--val", "a", "b", "--val-pairs", s, o]).fails(2, &["--val"]);
    run(&["eval", "--pairs", s, o, "--map", "a", "--sar", "b", "--protocol", "aligned"]).fails(2, &["--pairs"]);
    run(&["eval", "--map", "a", "--protocol", "aligned"]).fails(2, &["--sar"]);
    std::fs::remove_file(optical.join("7.tif")).unwrap();
    train(&["--pairs", s, o, "--pixel-size", "10"]).fails(1, &["sar/7.tif has no partner", "1 fault"]);
}

#[test]
fn settings_that_nobody_chose_suit_the_pairs() {
    let dir = folder("pairs_settings");
    let (sar, optical) = pairs(&dir);
    let print = |more: &[&str]| {
        let args = [&["train", "--print-config", "--pairs", text(&sar), text(&optical), "--pixel-size", "10"], more].concat();
        run(&args).ok().out.parse::<toml::Table>().unwrap()
    };
    assert_eq!(print(&[])["patch"].as_integer(), Some(96));
    let dense = print(&["--dense"]);
    assert_eq!([&dense["window"], &dense["validate_window"]].map(toml::Value::as_integer), [Some(64), Some(64)]);
}

#[test]
fn dense_features_are_trained_and_calibrated_on_pairs() {
    let dir = folder("pairs_dense");
    let (sar, optical) = pairs(&dir);
    let (s, o, config, model) = (text(&sar), text(&optical), dir.join("dense.toml"), dir.join("dense.safetensors"));
    let settings = "windows = 2\nwindow = 32\npatches = 2\npatch = 16\nepochs = 1\nsteps = 1\nvalidate_patches = 2\nvalidate_windows = 2\n\
                    validate_window = 32\nvalidate_patch = 16\n";
    std::fs::write(&config, settings).unwrap();
    let pairs = ["--pairs", s, o, "--pixel-size", "10"];
    run(&[&["train", "--dense", "--config", text(&config), "--out", text(&model)], &pairs[..]].concat()).ok();
    std::fs::write(&config, settings.replace("\nwindow = 32", "\nwindow = 128")).unwrap();
    run(&[&["train", "--dense", "--config", text(&config), "--out", text(&model)], &pairs[..]].concat())
        .fails(1, &["window = 128", "take window = 64"]);

    // Half of the pairs are kept for patches that are not on the map.
    let fitted = dir.join("fit.json");
    let calibrate = |more: &[&str]| {
        let base = ["calibrate", "--features", "structure", "--queries", "4", "--out", text(&fitted), "--json"];
        run(&[&base, &pairs[..], more].concat())
    };
    let value = json(calibrate(&["--patches", "96,64"]));
    assert_eq!((&value["present"], &value["absent"]), (&8.into(), &8.into()), "{value}");
    // Another place beside it: each is judged by what the other says.
    let two = json(calibrate(&["--patches", "64", "--also", text(&WORLD.map), text(&WORLD.sar)]));
    let count = |of: &str, what: &str| two[of].as_array().unwrap().iter().map(|p| p[what].as_u64().unwrap()).collect::<Vec<_>>();
    for of in ["places", "left_out"] {
        assert_eq!([count(of, "present"), count(of, "absent")], [[4, 4], [4, 4]], "{two}");
    }
    assert_eq!((&two["present"], &two["absent"]), (&8.into(), &8.into()));
    let world = [text(&WORLD.map), text(&WORLD.sar)];
    calibrate(&[&["--patches", "64", "--also"], &world[..], &["--also"], &world].concat()).fails(1, &["sar.tif", "named for two places"]);
    let eval = [&["eval", "--protocol", "dense", "--features", "structure", "--dense-model", "x"], &pairs[..]].concat();
    run(&eval).fails(1, &["--dense-model x", "--features structure"]);
    calibrate(&["--patches", "200"]).fails(1, &["one of --patches of 200 px", "take 96"]);
    run(&["calibrate", "--map", "a", "--sar", "b", "--out", text(&fitted)]).fails(2, &["--absent"]);
}

#[test]
fn pairs_are_built_of_two_images() {
    let (w, dir) = (&*WORLD, folder("pairs_build"));
    let out = dir.join("by_place");
    let build = |out: &Path, more: &[&str]| {
        let base = ["pairs", "build", "--size", "128", "--out", text(out), "--json"];
        run(&[&base, more].concat())
    };
    let (m, s) = (text(&w.map), text(&w.sar));
    let value = json(build(&out, &["--optical", m, "--sar", s, "--min-texture", "0", "--max-saturated", "1"]));
    // Five crops a row every 102 px; the city and its image fit everywhere.
    let [kept, dropped] = ["pairs", "dropped"].map(|k| value[k].as_u64().unwrap());
    assert_eq!((kept + dropped, value["empty"].as_u64()), (25, Some(0)), "{value}");
    assert!(kept >= 20 && value["failing"]["misfit"] == dropped, "{value}");
    assert_eq!(value["transform"]["by"], "georeferences");
    let checked = json(run(&["pairs", "check", text(&out.join("sar")), text(&out.join("opt")), "--whole", "--json"]));
    assert_eq!((&checked["pairs"], &checked["faults"]), (&kept.into(), &serde_json::json!([])), "{checked}");
    build(&out, &["--optical", m, "--sar", s]).fails(1, &["not empty"]);

    // The SAR image without a place, moved by 12 and 5 px against the map, and points that say so; the last one is wrong.
    let [sx, sy] = [12u32, 5];
    let side = SIZE - 12;
    let moved: Vec<u8> = (0..side).flat_map(|y| w.scene.sar[((y + sy) * SIZE + sx) as usize..][..side as usize].iter()).copied().collect();
    let sar = dir.join("moved.tif");
    write_sar(&sar, [side; 2], SampleData::U8(&moved), None, None);
    let points = dir.join("by_hand.csv");
    let geo = own_geo();
    let rows: String = [[20, 30], [500, 40], [60, 480], [510, 500], [250, 260], [400, 120], [100, 300]]
        .into_iter()
        .map(|[x, y]: [u32; 2]| {
            let off = if [x, y] == [100, 300] { 90 } else { 0 };
            let (e, n) = geo.pixel_to_map(f64::from(x + sx + off), f64::from(y + sy));
            format!("{x},{y},{e},{n}\n")
        })
        .collect();
    std::fs::write(&points, format!("sar_px_x,sar_px_y,map_x,map_y\n{rows}")).unwrap();
    let by_points = dir.join("by_points");
    let args = ["--optical", m, "--sar", text(&sar), "--points", text(&points), "--max-misfit", "none", "--min-texture", "0"];
    let value = json(build(&by_points, &args));
    assert_eq!((&value["transform"]["used"], &value["transform"]["points"]), (&6.into(), &7.into()), "{value}");
    // The optical crop is the map's own pixels at the place that the points say.
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(by_points.join("manifest.json")).unwrap()).unwrap();
    let first = &manifest["pairs"][0];
    let at: Vec<u32> = first["at"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect();
    let crop = image::open(by_points.join(first["optical"].as_str().unwrap())).unwrap().into_rgb8();
    for (x, y) in [(0, 0), (100, 7), (127, 127)] {
        let p = ((at[1] + y + sy) * SIZE + at[0] + x + sx) as usize * 3;
        let near = |b: usize| crop.get_pixel(x, y)[b].abs_diff(w.scene.optical[p + b]) <= 1;
        assert!((0..3).all(near), "({x}, {y}): {:?}", crop.get_pixel(x, y));
    }

    // Pixel on pixel, whatever their places say.
    let plain = ["--max-misfit", "none", "--min-texture", "0", "--max-saturated", "1", "--aligned", "--format", "geotiff"];
    let aligned = dir.join("aligned");
    let value = json(build(&aligned, &[&["--optical", m, "--sar", s], &plain[..]].concat()));
    assert_eq!((&value["pairs"], &value["transform"]["by"]), (&25.into(), &"pixels".into()), "{value}");
    // Their place goes with them, and with it the size of a pixel.
    let checked = json(run(&["pairs", "check", text(&aligned.join("sar")), text(&aligned.join("opt")), "--json"]));
    let ground = Raster::open(&w.map).unwrap().ground_pixel_size().unwrap().0;
    assert!((checked["pixel_m"].as_f64().unwrap() / ground - 1.0).abs() < 2e-3, "{checked}, the map's {ground}");
    let small = dir.join("small");
    build(&small, &[&["--optical", m, "--sar", text(&sar)], &plain[..]].concat()).fails(1, &["--aligned", "588x588", "600x600"]);

    // What cannot be.
    let nowhere = dir.join("nowhere");
    build(&nowhere, &["--optical", m, "--sar", text(&sar)]).fails(1, &["--points", "--register"]);
    build(&nowhere, &["--optical", m, "--sar", s, "--overlap", "1"]).fails(1, &["--overlap"]);
    build(&nowhere, &["--optical", m, "--sar", s, "--max-misfit", "-1"]).fails(2, &["--max-misfit"]);
    build(&nowhere, &["--optical", m, "--sar", s, "--min-texture", "99", "--max-misfit", "none"]).fails(1, &["none fulfils", "texture 25"]);
    assert!(names(&nowhere).contains(&"dropped-1.svg".to_string()), "what was left out is shown all the same");
}

#[test]
fn faults_of_pairs_are_listed() {
    let dir = folder("pairs_check");
    let (sar, optical) = pairs(&dir);
    let (s, o) = (text(&sar), text(&optical));
    assert!(run(&["pairs", "check", s, o]).ok().out.contains("25 pairs"));
    std::fs::remove_file(sar.join("3.tif")).unwrap();
    let whole = std::fs::read(optical.join("5.tif")).unwrap();
    std::fs::write(optical.join("5.tif"), &whole[..whole.len() / 2]).unwrap();
    let outcome = run(&["pairs", "check", s, o, "--whole"]);
    outcome.fails(1, &["2 faults"]);
    assert!(outcome.out.contains("opt/3.tif has no partner") && outcome.out.contains("5.tif"), "{}", outcome.out);
    run(&["pairs", "check", s]).fails(2, &["OPT"]);
}

//! The command line as a user meets it: what it says about bad input, what it leaves behind, and that a killed training run
//! goes on to the same bits.

#![cfg(feature = "cli")]

use echogrid::scene::synth::{EPSG, SynthConfig, SynthScene, generate};
use echogrid::scene::warp::{Target, resample};
use echogrid::scene::{Crs, GeoTransform, Raster, SampleData, write_geotiff};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const SIZE: u32 = 600;
const CELL: &str = "100";

/// What a command did.
#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Outcome {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Failed with this exit code and all of these words.
    #[track_caller]
    fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in: {}", self.err);
        }
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_echogrid"));
    // Nothing is measured here, and nothing kept for this user is read.
    command.args(args).arg("--no-tune").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

#[track_caller]
fn finish(mut command: Command) -> Outcome {
    let done = command.output().expect("the binary runs");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let outcome = Outcome { code: done.status.code(), out: text(&done.stdout), err: text(&done.stderr) };
    assert!(!outcome.err.contains("panicked"), "{outcome:?}");
    assert!(outcome.code.is_some(), "ended by a signal: {outcome:?}");
    outcome
}

#[track_caller]
fn run(args: &[&str]) -> Outcome {
    finish(command(args))
}

/// The same with a text on standard input.
#[track_caller]
fn run_with_input(args: &[&str], input: &str) -> Outcome {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    file.rewind().unwrap();
    let mut command = command(args);
    command.stdin(file);
    finish(command)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// An empty folder of a test's own.
fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a folder for tests");
    dir
}

/// Names in a folder, sorted; hidden ones too.
fn names(dir: &Path) -> Vec<String> {
    let mut all: Vec<String> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    all.sort();
    all
}

/// A small city, a model that has seen four pairs of it, and its index.
struct World {
    scene: SynthScene,
    map: PathBuf,
    sar: PathBuf,
    config: PathBuf,
    model: PathBuf,
    db: PathBuf,
}

/// The least there is to train, in TOML.
fn settings(epochs: usize, steps: usize, similar_from: usize) -> String {
    format!(
        "patch = 100\nviews = 1\nbatch = 4\nepochs = {epochs}\nsteps = {steps}\nsimilar = 0.5\nsimilar_from = {similar_from}\npool = 16\n\
         validate_every = 100\nvalidate_queries = 4\nvalidate_views = 1\ncheckpoint_every = 3\n\
         [encoder]\ninput = 32\nsharing = \"trunk\"\nhead = {{ kind = \"grid\", cells = 4, channels = 8 }}\n\
         architecture = {{ kind = \"residual\", stem = [8, 8], stages = [{{ channels = 8, blocks = 1, stride = 1, dilation = 1 }}] }}\n"
    )
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let dir = folder("world");
    run(&["synth", "--out", text(&dir), "--size", &SIZE.to_string(), "--seed", "3"]).ok();
    let (map, sar, config) = (dir.join("optical.tif"), dir.join("sar.tif"), dir.join("config.toml"));
    std::fs::write(&config, settings(1, 1, 1)).unwrap();
    let (model, db) = (dir.join("model.safetensors"), dir.join("index.safetensors"));
    let (m, s) = (text(&map), text(&sar));
    run(&["train", "--scene", m, s, "--val", m, s, "--config", text(&config), "--out", text(&model)]).ok();
    run(&["index", "--map", m, "--method", "index", "--model", text(&model), "--cell", CELL, "--views", "1", "--out", text(&db)]).ok();
    let scene = generate(&SynthConfig { seed: 3, size: SIZE, ..SynthConfig::default() });
    World { scene, map, sar, config, model, db }
});

/// `locate` of a SAR image against the world's index. Its model has hardly been trained: that no patches agree is as good an answer.
fn locate(sar: &Path, out: &Path, more: &[&str]) -> Outcome {
    let w = &*WORLD;
    let mut args =
        vec!["locate", "--method", "index", "--index", text(&w.db), "--model", text(&w.model), "--sar", text(sar), "--out", text(out)];
    args.extend(more);
    let outcome = run(&args);
    Outcome { code: outcome.code.map(|c| if c == 3 { 0 } else { c }), ..outcome }
}

/// The retrieval index of a map with the world's model.
fn index(map: &Path, out: &Path) -> Outcome {
    run(&[
        "index",
        "--method",
        "index",
        "--map",
        text(map),
        "--model",
        text(&WORLD.model),
        "--cell",
        CELL,
        "--views",
        "1",
        "--out",
        text(out),
    ])
}

fn write_sar(path: &Path, size: [u32; 2], data: SampleData<'_>, geo: Option<GeoTransform>, epsg: Option<u32>) {
    write_geotiff(path, size[0], size[1], 1, data, geo.as_ref(), epsg, None).unwrap();
}

fn own_geo() -> GeoTransform {
    GeoTransform::new(WORLD.scene.geotransform()).unwrap()
}

/// Rows of a CSV file by column name.
fn table(path: &Path) -> Vec<std::collections::HashMap<String, String>> {
    let content = std::fs::read_to_string(path).unwrap();
    let mut lines = content.lines();
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    let all = lines.map(|l| head.iter().map(ToString::to_string).zip(l.split(',').map(str::to_string)).collect());
    // Of images and their patches, the patches.
    all.filter(|row: &std::collections::HashMap<String, String>| row.get("kind").is_none_or(|k| k == "patch")).collect()
}

fn number(row: &std::collections::HashMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} is `{}`", row[column]))
}

#[test]
fn wrong_usage_exits_with_2_and_help_with_0() {
    for args in [
        &["fly"][..],
        &["locate"],
        &["index", "--map", "x"],
        &["eval", "--map", "x", "--sar", "y", "--protocol", "sideways"],
        &["synth", "--out", "x", "--size", "7"],
        &["index", "--map", "x", "--out", "y", "--cell", "0"],
    ] {
        let outcome = run(args);
        outcome.fails(2, &["--help"]);
        assert!(outcome.out.is_empty(), "{outcome:?}");
    }
    for command in
        "info synth train index locate match eval gap register pairs calibrate study transport profile tune bench demo completions man"
            .split(' ')
    {
        let help = run(&[command, "--help"]).ok();
        assert!(help.out.contains("Usage") && help.out.contains("--adapter"), "{help:?}");
    }
    assert!(run(&["--version"]).ok().out.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn kept_measurements_are_used_and_damaged_ones_are_not() {
    let dir = folder("tuning");
    let info = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_echogrid"));
        command.args([&["info", "--json"], args].concat()).env("ECHOGRID_CACHE", &dir).stdin(Stdio::null());
        let outcome = finish(command).ok();
        let value: serde_json::Value = serde_json::from_str(&outcome.out).expect("one JSON object");
        (value["tuning"]["origin"].clone(), PathBuf::from(value["tuning"]["path"].as_str().unwrap()), outcome.err)
    };
    let (before, path, _) = info(&[]);
    assert!(before != "kept" && path.starts_with(&dir), "{before} {path:?}");
    let line = r#"{"family": "matmul", "sizes": [8, 8, 8], "seconds": {"tiled-32": 1e-3}}"#;
    std::fs::write(&path, format!(r#"{{"adapter": "a", "driver": "d", "version": "v", "lanes": 8, "measured": [{line}]}}"#)).unwrap();
    assert_eq!(info(&[]).0, "kept");
    assert_eq!(info(&["--no-tune"]).0, "nothing");
    std::fs::write(&path, "{").unwrap();
    let (after, _, err) = info(&[]);
    assert_eq!(after, before);
    assert!(err.contains("is damaged") && err.contains("echogrid tune"), "{err}");
}

#[test]
fn benchmarks_are_kept_and_held_against_earlier_ones() {
    let dir = folder("bench");
    let (kept, figure) = (dir.join("kept.json"), dir.join("kept.svg"));
    assert!(run(&["bench", "--list"]).ok().out.lines().any(|l| l == "l2norm"));
    run(&["bench", "l2morm"]).fails(2, &["l2norm"]);
    let outcome = run(&["bench", "l2norm", "--out", text(&kept), "--figure", text(&figure), "--json"]).ok();
    let value: serde_json::Value = serde_json::from_str(&outcome.out).expect("one JSON object");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap();
    assert_eq!(value["record"], record);
    assert!(record["roofline"]["gflops"].as_f64() > Some(0.0) && std::fs::read_to_string(&figure).unwrap().contains("roofline"));

    // As if everything had taken a hundredth of the time, then a hundred times as long.
    let mut against = |factor: f64| {
        for case in record["cases"].as_array_mut().unwrap() {
            for time in ["/median_s", "/quartiles_s/0", "/quartiles_s/1"] {
                let seconds = case.pointer_mut(time).unwrap();
                *seconds = (seconds.as_f64().unwrap() * factor).into();
            }
        }
        std::fs::write(&kept, record.to_string()).unwrap();
        run(&["bench", "l2norm", "--baseline", text(&kept)])
    };
    against(1e-2).fails(1, &["slower than the baseline: l2norm"]);
    assert!(against(1e4).ok().out.contains("faster"));
    record["adapter"] = "another".into();
    std::fs::write(&kept, record.to_string()).unwrap();
    run(&["bench", "l2norm", "--baseline", text(&kept)]).fails(1, &["another adapter"]);
    std::fs::write(&kept, "{").unwrap();
    run(&["bench", "l2norm", "--baseline", text(&kept)]).fails(1, &["no record"]);
}

#[test]
fn a_newcomers_round_ends_in_fixes_and_a_page() {
    let (w, dir) = (&*WORLD, folder("round"));
    let (out, csv, html) = (dir.join("fixes.geojson"), dir.join("fixes.csv"), dir.join("fixes.html"));
    let outcome = locate(&w.sar, &out, &["--csv", text(&csv), "--report", text(&html), "--step", "75", "--json"]).ok();
    let value: serde_json::Value = serde_json::from_str(&outcome.out).expect("one JSON object");
    // Corners from 0 to 500 px every 75: seven a side.
    assert_eq!((&value["fixes"], &value["precision"]), (&49.into(), &"full".into()), "{value}");
    let collection: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    // The image, and its patches.
    assert_eq!(collection["features"].as_array().unwrap().len(), 50);
    assert_eq!(collection["features"][1]["properties"]["candidates"].as_array().unwrap().len(), 10);
    assert_eq!(table(&csv).len(), 49);
    let page = std::fs::read_to_string(&html).unwrap();
    assert!(page.contains("data:image/jpeg"));
    assert_eq!(names(&dir), ["fixes.csv", "fixes.geojson", "fixes.html"]);

    // A prior that only the right cell and its neighbours fulfil.
    let near = locate(&w.sar, &out, &["--prior", "100", "--truth", "--json", "--csv", text(&csv)]).ok();
    let near: serde_json::Value = serde_json::from_str(&near.out).unwrap();
    assert_eq!(near["truth"]["right"], near["fixes"], "a prior within a cell finds the cell: {near}");

    // eval's JSON, exactly.
    let (m, s) = (text(&w.map), text(&w.sar));
    let args = ["eval", "--map", m, "--sar", s, "--model", text(&w.model), "--protocol", "arbitrary", "--queries", "9", "--json"];
    let args: Vec<&str> = args.into_iter().chain(["--cell", CELL, "--views", "1", "--report", text(&html)]).collect();
    let value: serde_json::Value = serde_json::from_str(&run(&args).ok().out).expect("one JSON object");
    assert_eq!(value["precision"], "full", "{value}");
    for key in ["protocol", "cells", "queries", "recall", "recall_ci95", "mrr", "median_error_m", "within_m", "seconds", "adapter"] {
        assert!(!value[key].is_null(), "{key} is missing: {value}");
    }
    for k in ["1", "5", "10", "20"] {
        assert!((0.0..=1.0).contains(&value["recall"][k].as_f64().unwrap()) && value["recall_ci95"][k].as_array().unwrap().len() == 2);
    }
    assert!(std::fs::read_to_string(&html).unwrap().contains("Rank of the right cell"));
}

#[test]
fn strips_of_queries_are_refined_together() {
    let w = &*WORLD;
    let (m, s) = (text(&w.map), text(&w.sar));
    let base = ["eval", "--map", m, "--sar", s, "--model", text(&w.model), "--cell", CELL, "--views", "1", "--json"];
    let eval = |more: &[&str]| run(&[&base, more].concat());
    let value: serde_json::Value =
        serde_json::from_str(&eval(&["--protocol", "arbitrary", "--queries", "10", "--refine", "vote", "--strip", "3"]).ok().out).unwrap();
    // Whole strips alone: three of three.
    assert_eq!(value["queries"], 9, "{value}");
    assert_eq!(value["refine"], serde_json::json!({ "method": "vote", "top": 20, "strip": 3 }), "{value}");
    assert!(value["seconds"]["refine"].as_f64().is_some_and(|s| s >= 0.0), "{value}");
    let slid = eval(&["--protocol", "arbitrary", "--queries", "9", "--slide", "2"]).ok().out;
    let slid: serde_json::Value = serde_json::from_str(&slid).unwrap();
    assert_eq!(slid["refine"], serde_json::json!({ "method": "none", "top": 20, "strip": 1, "slide": 2 }), "{slid}");
    let aligned: serde_json::Value = serde_json::from_str(
        &eval(&["--protocol", "aligned", "--queries", "9", "--refine", "krnn", "--refine-top", "5", "--precision", "mixed"]).ok().out,
    )
    .unwrap();
    assert_eq!(aligned["refine"], serde_json::json!({ "method": "krnn", "top": 5, "strip": 1 }), "{aligned}");
    assert_eq!(aligned["precision"], "mixed", "{aligned}");
    for (more, words) in [
        (&["--protocol", "aligned", "--strip", "3"][..], &["--strip", "--protocol arbitrary"][..]),
        (&["--protocol", "dense", "--refine", "vote"], &["--refine", "--protocol arbitrary"]),
        (&["--protocol", "dense"], &["--model", "makes no use", "--dense-model"]),
        (&["--protocol", "arbitrary", "--dense-model", "x"], &["--dense-model x", "--protocol dense"]),
        (&["--protocol", "arbitrary", "--refine-top", "5"], &["name a method with --refine"]),
        (&["--protocol", "arbitrary", "--refine", "krnn", "--slide"], &["krnn", "leave --slide out"]),
        (&["--protocol", "arbitrary", "--slide", "3"], &["4 x 4 squares", "take less"]),
        (&["--protocol", "arbitrary", "--queries", "2", "--strip", "3"], &["2 queries make no strip of 3"]),
        // Ten cells of 100 px do not fit into 600.
        (&["--protocol", "arbitrary", "--strip", "10"], &["no strip of 10 SAR patches", "shorter strips"]),
    ] {
        eval(more).fails(1, words);
    }
}

#[test]
fn a_displaced_image_is_brought_onto_the_maps_pixels() {
    let (w, dir) = (&*WORLD, folder("register"));
    // Displaced by 90 m and 60 m, turned by 1.5 degrees and 1 % larger; its georeference says nothing of it.
    let displaced = dir.join("displaced.tif");
    let (sin, cos) = 1.5f64.to_radians().sin_cos();
    let half = f64::from(SIZE) / 2.0;
    let place = |p: [f64; 2]| {
        let [x, y] = [p[0] - half - 9.0, p[1] - half + 6.0];
        [(cos * x + sin * y) / 1.01 + half, (cos * y - sin * x) / 1.01 + half]
    };
    let back = |q: [f64; 2]| {
        let [x, y] = q.map(|v| 1.01 * (v - half));
        [cos * x - sin * y + half + 9.0, sin * x + cos * y + half - 6.0]
    };
    let geo = own_geo();
    let crs = Crs::from_epsg(EPSG).unwrap();
    let target = Target { width: SIZE, height: SIZE, geo: Some(&geo), crs: Some(&crs) };
    resample(&Raster::open(&w.sar).unwrap(), &displaced, &target, &place, |_, _| {}).unwrap();
    let (out, html, csv, points) = (dir.join("on_map.tif"), dir.join("r.html"), dir.join("p.csv"), dir.join("p.geojson"));
    let (m, s) = (text(&w.map), text(&displaced));
    let args = |more: &[&'static str], points: &Path| -> Vec<String> {
        let plain =
            ["register", "--map", m, "--sar", s, "--out", text(&out), "--coarse-patch", "150", "--coarse-fixes", "16", "--patch", "100"];
        plain.into_iter().chain(["--fixes", "60", "--points", text(points)]).chain(more.iter().copied()).map(str::to_string).collect()
    };
    let go = |args: &[String]| run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let mut with_page = args(&["--json"], &csv);
    with_page.extend(["--report".to_string(), text(&html).to_string()]);
    let value: serde_json::Value = serde_json::from_str(&go(&with_page).ok().out).expect("one JSON object");
    let row = |d: usize| [0, 1, 2].map(|i| value["affine"]["sar_to_map"][d][i].as_f64().unwrap());
    let (x, y) = (row(0), row(1));
    let mut off: Vec<f64> = (0..100u32)
        .map(|i| {
            // Map and SAR image of a synthetic city have the same grid.
            let p = [30.0 + 60.0 * f64::from(i % 10), 30.0 + 60.0 * f64::from(i / 10)];
            let q = back(p);
            (x[0] * q[0] + x[1] * q[1] + x[2] - p[0]).hypot(y[0] * q[0] + y[1] * q[1] + y[2] - p[1])
        })
        .collect();
    off.sort_by(f64::total_cmp);
    assert!(off[50] < 2.0, "{} px off; {value}", off[50]);
    let used = value["fixes"]["used"].as_u64().unwrap() as usize;
    let rows = table(&csv);
    assert!(used >= 20 && rows.len() >= used);
    assert_eq!(rows.iter().filter(|r| r["used"] == "true").count(), used);
    let registered = Raster::open(&out).unwrap();
    assert_eq!([registered.width(), registered.height()], [SIZE, SIZE]);
    assert_eq!(registered.geo().unwrap().coefficients(), geo.coefficients());
    assert_eq!(registered.epsg(), Some(EPSG));
    let page = std::fs::read_to_string(&html).unwrap();
    assert_eq!(value["precision"], "full", "{value}");
    assert!(
        page.contains("structure features (")
            && page.contains("alternating squares")
            && page.contains("Residual, median")
            && page.contains("data:image/jpeg")
    );

    // Cropped, other outputs, the same transform: the draws are the same each time.
    let mut more = args(&["--json", "--extent", "sar", "--stac"], &points);
    let (qgis, plane) = (dir.join("p.points"), dir.join("plane.tif"));
    write_sar(&plane, [SIZE; 2], SampleData::U8(&vec![77; (SIZE * SIZE) as usize]), Some(geo), Some(EPSG));
    more.extend(["--points", text(&qgis), "--apply", s, text(&plane), "--dem", text(&plane)].map(String::from));
    let cropped: serde_json::Value = serde_json::from_str(&go(&more).ok().out).expect("one JSON object");
    assert_eq!(cropped["model"], value["model"]);
    let size = [2, 3].map(|i| cropped["written_px"][i].as_u64().unwrap() as u32);
    let registered = Raster::open(&out).unwrap();
    assert_eq!([registered.width(), registered.height()], size);
    let collection: serde_json::Value = serde_json::from_slice(&std::fs::read(&points).unwrap()).unwrap();
    assert_eq!(collection["features"].as_array().unwrap().len(), rows.len());
    assert_eq!(
        names(&dir),
        [
            "displaced.tif",
            "displaced_on_map.tif",
            "on_map.json",
            "on_map.tif",
            "p.csv",
            "p.geojson",
            "p.points",
            "plane.tif",
            "plane_on_map.tif",
            "r.html"
        ]
    );
    // The same image by the same transform; another one on the same grid.
    let [one, two] = ["displaced_on_map.tif", "plane_on_map.tif"].map(|n| Raster::open(dir.join(n)).unwrap());
    assert_eq!(one.read_window(0, 0, size[0], size[1]).unwrap(), registered.read_window(0, 0, size[0], size[1]).unwrap());
    assert_eq!(two.geo(), registered.geo());
    assert_eq!(two.read_window(i64::from(size[0] / 2), i64::from(size[1] / 2), 1, 1).unwrap().data, [77.0]);
    let control = echogrid::scene::points::read(&qgis, Some((Some(&geo), [SIZE; 2]))).unwrap();
    assert_eq!((control.points.len(), control.points.iter().filter(|p| p.enabled).count(), control.crs), (rows.len(), used, Some(crs)));
    let item: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join("on_map.json")).unwrap()).unwrap();
    assert_eq!((&item["stac_version"], &item["assets"]["applied_2"]["href"]), (&"1.1.0".into(), &"./plane_on_map.tif".into()));
    // Flat ground says nothing of relief, and that is said; the heights are told all the same.
    assert!(cropped["relief"].is_null() && cropped["warnings"].to_string().contains("too little of relief"), "{cropped}");
    assert_eq!(collection["features"][0]["properties"]["height_m"], 77.0);
    assert!(value["rmse_m"].as_f64().unwrap() <= value["ce90_m"].as_f64().unwrap());
    let turned = value["against_own_georeference"]["rotation_clockwise_deg"].as_f64().unwrap();
    // What it shows was turned clockwise and made larger: so the image lies turned the other way, with pixels that are smaller.
    assert!((turned + 1.5).abs() < 0.3, "{turned}");
    let scale = [0, 1].map(|i| value["against_own_georeference"]["scale"][i].as_f64().unwrap());
    assert!(((scale[0] * scale[1]).sqrt() - 1.0 / 1.01).abs() < 0.006, "{scale:?}");

    // An image of noise agrees on nothing, and leaves nothing behind.
    let noise = dir.join("noise.tif");
    let pixel = |i: u32| 40 + (i.wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(2_246_822_519) >> 25) as u8;
    let data: Vec<u8> = (0..SIZE * SIZE).map(pixel).collect();
    write_sar(&noise, [SIZE; 2], SampleData::U8(&data), Some(geo), Some(EPSG));
    let none = dir.join("none.tif");
    run(&[
        "register",
        "--map",
        m,
        "--sar",
        text(&noise),
        "--out",
        text(&none),
        "--coarse-patch",
        "150",
        "--coarse-fixes",
        "16",
        "--rotations",
        "0",
    ])
    .fails(1, &["noise.tif", "cannot be placed on the map", "--coarse-fixes"]);
    assert!(!none.exists());
    run(&["register", "--map", m, "--sar", s, "--out", s]).fails(1, &["name of an input"]);
    let short = ["register", "--map", m, "--sar", s, "--out", text(&none)];
    let with = |more: &[&str]| run(&[&short[..], more].concat());
    with(&["--points", "p.txt"]).fails(1, &["p.txt", ".points (QGIS)", ".pts (ENVI)", ".wld"]);
    run(&["register", "--map", m, "--sar", s, "--out", "x.vrt"]).fails(1, &["x.vrt", "--points"]);
    let small = dir.join("small.tif");
    write_sar(&small, [64; 2], SampleData::U8(&[5; 64 * 64]), Some(geo), Some(EPSG));
    with(&["--apply", text(&small)]).fails(1, &["small.tif", "64x64 px", "same geometry"]);
}

/// That `info` of a database says where its map lies and how large it is.
fn assert_covers(database: &serde_json::Value, map: &Path) {
    let image: serde_json::Value = serde_json::from_str(&run(&["info", text(map), "--json"]).ok().out).unwrap();
    assert!(database["corners_lonlat"][2][1].is_number() && database["corners_lonlat"] == image["corners_lonlat"], "{database}");
    let side = |d: usize, pixels: &str| image[pixels].as_f64().unwrap() * image["pixel_m"][d].as_f64().unwrap();
    for (d, pixels) in ["width", "height"].into_iter().enumerate() {
        assert!((database["extent_m"][d].as_f64().unwrap() - side(d, pixels)).abs() < 0.1, "{database}");
    }
}

#[test]
fn info_prints_what_files_say_about_themselves() {
    let w = &*WORLD;
    for (file, kind) in [(&w.model, "model"), (&w.db, "database"), (&w.sar, "raster")] {
        let outcome = run(&["info", text(file), "--json"]).ok();
        let value: serde_json::Value = serde_json::from_str(&outcome.out).expect("one JSON object");
        assert_eq!(value["kind"], kind);
        assert!(run(&["info", text(file)]).ok().out.contains(kind));
        if kind == "database" {
            assert_eq!(value["bytes"], std::fs::metadata(file).unwrap().len());
            assert_covers(&value, &w.map);
        }
    }
    let value: serde_json::Value = serde_json::from_str(&run(&["info", "--json", "--self-test"]).ok().out).expect("one JSON object");
    assert!(value["self_test"].as_array().unwrap().iter().all(|c| c["ok"] == true), "{value}");
    run(&["info", text(&w.config)]).fails(1, &["config.toml", "neither an image nor a whole safetensors file"]);
    run(&["info", "nowhere.tif"]).fails(1, &["nowhere.tif", "cannot be read"]);
    run(&["info", "--adapter", "no such card"]).fails(1, &["no such card", "--adapter"]);
}

/// The dense database of the world's map, for patches of up to 200 px.
static DENSE: LazyLock<PathBuf> = LazyLock::new(|| {
    let (w, path) = (&*WORLD, folder("dense-world").join("dense.safetensors"));
    let outcome = run(&["index", "--method", "dense", "--map", text(&w.map), "--out", text(&path), "--json"]).ok();
    let value: serde_json::Value = serde_json::from_str(&outcome.out).expect("one JSON object");
    assert_eq!((value["method"].as_str(), value["patch"].as_u64()), (Some("dense"), Some(200)), "{value}");
    for key in ["blocks", "seconds", "mb", "side", "channels"] {
        assert!(value[key].as_f64().is_some_and(|v| v > 0.0), "{key}: {value}");
    }
    path
});

/// `locate` by dense matching; its JSON.
#[track_caller]
fn locate_dense(sar: &Path, out: &Path, more: &[&str]) -> serde_json::Value {
    let mut args = vec!["locate", "--index", text(&DENSE), "--sar", text(sar), "--out", text(out), "--json"];
    args.extend(more);
    let outcome = run(&args);
    assert!([Some(0), Some(3)].contains(&outcome.code), "{outcome:?}");
    serde_json::from_str(&outcome.out).expect("one JSON object")
}

#[test]
fn dense_matching_finds_a_city_to_the_metre_and_says_how_sure_it_is() {
    let (w, dir) = (&*WORLD, folder("dense"));
    let (map, sar, model) = (text(&w.map), text(&w.sar), text(&w.model));
    let eval = [
        "eval",
        "--map",
        map,
        "--sar",
        sar,
        "--protocol",
        "dense",
        "--features",
        "structure",
        "--patch",
        "150",
        "--queries",
        "4",
        "--json",
    ];
    for method in [&["--method", "dense"][..], &["--method", "both", "--model", model, "--cells", "16", "--views", "1"]] {
        let value: serde_json::Value = serde_json::from_str(&run(&[&eval, method].concat()).ok().out).expect("one JSON object");
        // A synthetic city is easy for large patches.
        assert!(value["within_m"]["250"].as_f64().unwrap() >= 0.5 && value["queries"] == 4, "{value}");
        assert!(value["within_m_ci95"]["100"].is_array() && value["seconds_a_query"].as_f64().unwrap() > 0.0, "{value}");
        // The products' spectra alone take as much.
        let pixels = value["map"]["blocks"].as_f64().unwrap() * value["map"]["side"].as_f64().unwrap().powi(2);
        assert!(value["bytes_a_query"].as_f64().unwrap() > 4.0 * pixels, "{value}");
    }
    run(&[&eval[..], &["--method", "index"]].concat()).fails(1, &["--protocol arbitrary"]);
    let (out, csv, html) = (dir.join("fixes.geojson"), dir.join("fixes.csv"), dir.join("fixes.html"));
    let map = ["--map", text(&w.map)];
    let value = locate_dense(&w.sar, &out, &[&["--truth", "--csv", text(&csv), "--report", text(&html)][..], &map].concat());
    assert_eq!((&value["method"], &value["precision"]), (&"dense".into(), &"full".into()), "{value}");
    assert_eq!((&value["schema"], &value["patches"], &value["fixes"], &value["not_found"]), (&1.into(), &9.into(), &9.into(), &0.into()));
    let truth = &value["truth"];
    assert!(truth["median_distance_m"].as_f64().unwrap() < 30.0 && truth["right"] == 9 && truth["of"] == 9, "{value}");
    let image = &value["images"][0];
    assert_eq!(
        (&image["verdict"], &image["agreeing"], image["fixes"].as_array().unwrap().len()),
        (&"here".into(), &9.into(), 9),
        "{image}"
    );
    assert_eq!(image["footprint"].as_array().unwrap().len(), 4);
    assert!(image["displaced_m"].as_f64().unwrap() < 30.0 && image["probability"].as_f64().unwrap() > 0.9, "{image}");
    assert!((5.0..100.0).contains(&image["ellipse"]["major_m"].as_f64().unwrap()), "{image}");

    let collection: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    let features = collection["features"].as_array().unwrap();
    assert!(features.len() == 10 && features[0]["properties"]["kind"] == "image" && features[0]["geometry"]["type"] == "Polygon");
    for f in &features[1..] {
        let p = &f["properties"];
        assert!(f["geometry"]["type"] == "Polygon" && p["found"] == true && p["right"] == true, "{f}");
        assert!(p["probability"].as_f64().unwrap() > 0.9 && p["lon"].is_number() && p["map_x"].is_number(), "{p}");
        let e = &p["ellipse"];
        assert!(e["major_m"].as_f64().unwrap() >= e["minor_m"].as_f64().unwrap() && e["azimuth_deg"].is_number(), "{p}");
        assert!(p["rotation_clockwise_deg"].is_null() && p["agrees"] == true && p["candidates"][0]["cell"].is_null(), "{p}");
    }
    for row in table(&csv) {
        assert!(row["found"] == "true" && number(&row, "ellipse_major_m") > 0.0 && number(&row, "probability") > 0.9, "{row:?}");
        assert!(number(&row, "distance_m") < 100.0 && row["cell"].is_empty(), "{row:?}");
    }
    let page = std::fs::read_to_string(&html).unwrap();
    for part in ["9 are right", "SAR over map", "Correlation", "<ellipse"] {
        assert!(page.contains(part), "{part}");
    }

    // A little turned, and searched for: the turn is found, to the steps that are tried. Georeferenced as if it were not.
    let n = SIZE as usize;
    let (sin, cos) = 3f64.to_radians().sin_cos();
    let middle = f64::from(SIZE) / 2.0;
    let turned: Vec<u8> = (0..n * n)
        .map(|i| {
            let (x, y) = ((i % n) as f64 + 0.5 - middle, (i / n) as f64 + 0.5 - middle);
            let (u, v) = (cos * x + sin * y + middle, cos * y - sin * x + middle);
            let inside = (0.0..f64::from(SIZE)).contains(&u) && (0.0..f64::from(SIZE)).contains(&v);
            if inside { w.scene.sar[v as usize * n + u as usize] } else { 0 }
        })
        .collect();
    let sar = dir.join("turned.tif");
    write_sar(&sar, [SIZE; 2], SampleData::U8(&turned), Some(own_geo()), Some(EPSG));
    let value = locate_dense(&sar, &out, &["--rotation-range", "4", "--csv", text(&csv)]);
    assert!(value["fixes"].as_u64().unwrap() >= 8 && value["images"][0]["variants"].as_u64().unwrap() >= 3, "{value}");
    let turns: Vec<f64> = table(&csv).iter().filter(|r| r["found"] == "true").map(|r| number(r, "rotation_clockwise_deg")).collect();
    // Its content was turned clockwise, so that it lies turned the other way on the map.
    let mean = turns.iter().sum::<f64>() / turns.len() as f64;
    assert!((mean + 3.0).abs() < 1.5, "{turns:?}");
    let whole = value["images"][0]["rotation_clockwise_deg"].as_f64().unwrap();
    assert!((whole + 3.0).abs() < 0.5 && (value["images"][0]["scale"].as_f64().unwrap() - 1.0).abs() < 0.01, "{value}");
}

#[test]
fn what_is_not_on_the_map_is_not_found() {
    let dir = folder("dense-absent");
    let (sar, out, csv, html) = (dir.join("in.tif"), dir.join("out.geojson"), dir.join("out.csv"), dir.join("out.html"));
    // Another city, and speckle alone; each of many patches, which must not agree by chance.
    let city = generate(&SynthConfig { seed: 11, size: SIZE, ..SynthConfig::default() }).sar;
    let mut state = 7u32;
    let noise: Vec<u8> = (0..SIZE * SIZE)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            20 + (state >> 24) as u8 / 2
        })
        .collect();
    for image in [city, noise] {
        write_sar(&sar, [SIZE; 2], SampleData::U8(&image), Some(own_geo()), Some(EPSG));
        let args = ["locate", "--index", text(&DENSE), "--sar", text(&sar), "--out", text(&out), "--json", "--step", "100"];
        let outcome = run(&[&args[..], &["--csv", text(&csv), "--report", text(&html)]].concat());
        assert_eq!(outcome.code, Some(3), "{outcome:?}");
        let value: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
        assert_eq!((&value["images"][0]["verdict"], &value["not_here"]), (&"not_here".into(), &1.into()), "{value}");
        assert_eq!((&value["patches"], &value["fixes"], &value["not_found"]), (&25.into(), &0.into(), &25.into()), "{value}");
        let collection: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
        for f in &collection["features"].as_array().unwrap()[1..] {
            let p = &f["properties"];
            assert!(f["geometry"].is_null() && p["found"] == false && p["lon"].is_null() && p["ellipse"].is_null(), "{f}");
            assert!(!p["candidates"].as_array().unwrap().is_empty(), "{p}");
        }
        assert!(table(&csv).iter().all(|r| r["found"] == "false" && r["lon"].is_empty() && r["distance_m"].is_empty()));
        assert!(std::fs::read_to_string(&html).unwrap().contains("not found"));
    }
    // Whoever wants a position all the same can have it.
    let value = locate_dense(&sar, &out, &["--threshold", "0", "--no-vote"]);
    assert_eq!((&value["fixes"], &value["images"][0]["agreeing"]), (&9.into(), &serde_json::Value::Null), "{value}");
}

#[test]
fn both_methods_together_and_what_is_said_where_something_is_missing() {
    let (w, dir) = (&*WORLD, folder("both"));
    let (db, out, csv) = (dir.join("index"), dir.join("out"), dir.join("out.csv"));
    let (m, s, model, d, o) = (text(&w.map), text(&w.sar), text(&w.model), text(&db), text(&out));
    // Both databases at once, the dense one beside the other; then `locate` takes the dense one.
    let args = ["index", "--map", m, "--model", model, "--cell", CELL, "--views", "1", "--patch", "100", "--out", d];
    let told = run(&args).ok().out;
    assert!(told.contains("36 cells") && told.contains("index.dense: ") && told.contains("up to 100 map pixels"), "{told}");
    assert_eq!(names(&dir), ["index", "index.dense"]);
    let info: serde_json::Value = serde_json::from_str(&run(&["info", &format!("{d}.dense"), "--json"]).ok().out).unwrap();
    assert_eq!((info["kind"].as_str(), info["features"].as_str()), (Some("dense database"), Some("learned")), "{info}");
    assert!(info["layout"]["query"].as_u64().unwrap() >= 40 && info["tensors"]["spectra"].is_string(), "{info}");
    assert_eq!(info["bytes"], std::fs::metadata(format!("{d}.dense")).unwrap().len());
    assert_covers(&info, &w.map);
    let by = |more: &[&str]| -> serde_json::Value {
        let args = [&["locate", "--index", d, "--sar", s, "--out", o, "--json", "--truth", "--csv", text(&csv)], more].concat();
        serde_json::from_str(&run(&args).ok().out).expect("one JSON object")
    };
    assert_eq!(by(&["--patch", "90"])["method"], "dense");
    // All cells: the same as over the whole map, by way of the index and a temporary database.
    let value = by(&["--method", "both", "--model", model, "--map", m, "--cells", "36"]);
    assert_eq!((value["method"].as_str(), &value["patches"]), (Some("both"), &36.into()), "{value}");
    assert!(value["truth"]["median_distance_m"].as_f64().unwrap() < 60.0, "{value}");
    // A prior keeps what lies near.
    let value = by(&["--prior", "60", "--threshold", "0", "--no-vote"]);
    assert!(value["truth"]["median_distance_m"].as_f64().unwrap() <= 60.0, "{value}");
    assert!(table(&csv).iter().filter(|r| r["found"] == "true").all(|r| number(r, "distance_m") <= 60.0));

    let locate = |index: &str, sar: &str, more: &[&str]| run(&[&["locate", "--index", index, "--sar", sar, "--out", o], more].concat());
    locate(d, s, &["--patch", "150"]).fails(1, &["larger than the database was made for", "--patch"]);
    locate(d, s, &["--patch", "8"]).fails(1, &["larger --patch"]);
    locate(text(&DENSE), s, &["--method", "both"]).fails(1, &["is a dense database", "--method dense"]);
    locate(text(&w.db), s, &["--method", "dense"]).fails(1, &["no dense database", "echogrid index --method dense"]);
    locate(d, s, &["--method", "both", "--model", model]).fails(1, &["optical.tif", "does not lie beside", "--map"]);
    locate(d, s, &["--rotation-range", "200"]).fails(2, &["from 0 to 180"]);
    locate(d, s, &["--threshold", "3"]).fails(1, &["0 to 1"]);
    for unused in [["--rotation-range", "5"], ["--scale-range", "0.1"], ["--threshold", "0.5"], ["--closer", "10"]] {
        locate(d, s, &[&["--method", "index", "--model", model], &unused[..]].concat())
            .fails(1, &["--method index does not use", unused[0]]);
    }
    locate(d, s, &["--model", model]).fails(1, &["--method dense does not use --model"]);
    let sar = dir.join("in.tif");
    write_sar(&sar, [120, 70], SampleData::U8(&vec![7; 8400]), Some(own_geo()), Some(EPSG));
    locate(d, text(&sar), &["--patch", "100"]).fails(1, &["120x70", "smaller than one patch", "--patch 70"]);
    write_sar(&sar, [SIZE; 2], SampleData::U8(&w.scene.sar), None, None);
    locate(d, text(&sar), &["--pixel-size", "7.5", "--prior", "500"]).fails(1, &["a prior limits the search", "it has none"]);
    // Features that this build does not make.
    let bytes = std::fs::read(dir.join("index.dense")).unwrap();
    let at = bytes.windows(7).position(|b| b == b"model\\\"").expect("the manifest names its model") + 10;
    let mut other = bytes.clone();
    other[at] = if other[at] == b'0' { b'1' } else { b'0' };
    std::fs::write(dir.join("index.dense"), &other).unwrap();
    locate(d, s, &[]).fails(1, &["was made with learned features", "--features"]);
    std::fs::write(dir.join("index.dense"), &bytes[..bytes.len() / 2]).unwrap();
    locate(&format!("{d}.dense"), s, &[]).fails(1, &["index.dense", "cut short"]);
}

#[test]
fn images_that_are_none_or_cut_short_or_without_a_place() {
    let (w, dir) = (&*WORLD, folder("images"));
    let out = dir.join("out");
    let bad = dir.join("bad.tif");

    std::fs::write(&bad, "this is no image at all").unwrap();
    index(&bad, &out).fails(1, &["bad.tif", "is not a TIFF, PNG or JPEG"]);
    locate(&bad, &out, &[]).fails(1, &["bad.tif", "is not a TIFF, PNG or JPEG"]);
    let (m, s, b) = (text(&w.map), text(&w.sar), text(&bad));
    run(&["train", "--scene", b, s, "--val", m, s, "--out", text(&out)]).fails(1, &["bad.tif", "is not a TIFF"]);
    run(&["eval", "--map", m, "--sar", b, "--model", text(&w.model), "--protocol", "aligned"]).fails(1, &["bad.tif", "is not a TIFF"]);

    let whole = std::fs::read(&w.map).unwrap();
    for keep in [whole.len() / 2, 100, 8] {
        std::fs::write(&bad, &whole[..keep]).unwrap();
        index(&bad, &out).fails(1, &["bad.tif", "damaged or truncated"]);
    }

    write_geotiff(&bad, SIZE, SIZE, 3, SampleData::U8(&w.scene.optical), None, None, Some(0.0)).unwrap();
    index(&bad, &out).fails(1, &["bad.tif", "has neither a geotransform nor ground control points", "world file"]);
    run(&["eval", "--map", b, "--sar", s, "--model", text(&w.model), "--protocol", "aligned"])
        .fails(1, &["has neither a geotransform nor ground control points"]);
    index(&dir.join("none.tif"), &out).fails(1, &["none.tif", "cannot be read"]);
    assert_eq!(names(&dir), ["bad.tif"]);

    // A map smaller than a cell, and one with nothing in it.
    let small = vec![9u8; 60 * 60 * 3];
    write_geotiff(&bad, 60, 60, 3, SampleData::U8(&small), Some(&own_geo()), Some(EPSG), Some(0.0)).unwrap();
    index(&bad, &out).fails(1, &["60x60", "smaller than one cell"]);
    write_geotiff(&bad, SIZE, SIZE, 3, SampleData::U8(&vec![0; w.scene.optical.len()]), Some(&own_geo()), Some(EPSG), Some(0.0)).unwrap();
    index(&bad, &out).fails(1, &["no valid pixel"]);
    assert_eq!(names(&dir), ["bad.tif"]);
}

#[test]
fn sar_images_too_small_or_of_unknown_scale_or_empty() {
    let (w, dir) = (&*WORLD, folder("sar"));
    let (sar, out, csv) = (dir.join("in.tif"), dir.join("out.geojson"), dir.join("out.csv"));

    write_sar(&sar, [60, 60], SampleData::U8(&vec![7; 3600]), Some(own_geo()), Some(EPSG));
    locate(&sar, &out, &[]).fails(1, &["60x60", "smaller than one patch"]);

    write_sar(&sar, [SIZE; 2], SampleData::U8(&w.scene.sar), None, None);
    locate(&sar, &out, &[]).fails(1, &["in.tif", "--pixel-size METRES"]);
    locate(&sar, &out, &["--pixel-size=-3"]).fails(1, &["makes no sense"]);
    locate(&sar, &out, &["--pixel-size", "0.01"]).fails(1, &["smaller than one patch"]);
    locate(&sar, &out, &["--pixel-size", "1e9"]).fails(1, &["would hold only", "--pixel-size"]);
    locate(&sar, &out, &["--pixel-size", "7.5", "--prior", "500"]).fails(1, &["a prior limits the search", "it has none"]);

    let (nothing, nan) = (vec![0u8; w.scene.sar.len()], vec![f32::NAN; w.scene.sar.len()]);
    write_sar(&sar, [SIZE; 2], SampleData::U8(&nothing), Some(own_geo()), Some(EPSG));
    locate(&sar, &out, &[]).fails(1, &["in.tif", "no valid pixel"]);
    write_sar(&sar, [SIZE; 2], SampleData::F32(&nan), Some(own_geo()), Some(EPSG));
    locate(&sar, &out, &[]).fails(1, &["in.tif", "no valid pixel"]);
    assert_eq!(names(&dir), ["in.tif"]);

    // Without a georeference, but with a scale, it is found where it is with one (7.55 m is the ground size there).
    write_sar(&sar, [SIZE; 2], SampleData::U8(&w.scene.sar), None, None);
    let scale = own_scale(&WORLD.sar);
    let outcome = locate(&sar, &out, &["--pixel-size", &scale.to_string(), "--csv", text(&csv), "--json"]).ok();
    let value: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert!(value["images"][0]["displaced_m"].is_null() && value["truth"].is_null(), "{value}");
    same_fixes(&baseline(), &table(&csv), |a, b| near(a, b, &["sar_px_x", "sar_px_y"], 0.05), 0.01);

    // NaN in the upper third: those patches are left out, the others found as before.
    let mut holed: Vec<f32> = w.scene.sar.iter().map(|v| f32::from(*v)).collect();
    holed[..(SIZE * SIZE / 3) as usize].fill(f32::NAN);
    write_sar(&sar, [SIZE; 2], SampleData::F32(&holed), Some(own_geo()), Some(EPSG));
    let value: serde_json::Value = serde_json::from_str(&locate(&sar, &out, &["--json"]).ok().out).unwrap();
    assert_eq!((value["fixes"].as_u64(), value["images"][0]["no_data"].as_u64()), (Some(24), Some(12)), "{value}");
}

fn own_scale(path: &Path) -> f64 {
    let value: serde_json::Value = serde_json::from_str(&run(&["info", text(path), "--json"]).ok().out).unwrap();
    let [x, y] = [0, 1].map(|i| value["pixel_m"][i].as_f64().unwrap());
    (x * y).sqrt()
}

type Rows = Vec<std::collections::HashMap<String, String>>;

/// The world's SAR image located as it is.
fn baseline() -> Rows {
    static ROWS: LazyLock<Rows> = LazyLock::new(|| {
        let dir = folder("baseline");
        let csv = dir.join("fixes.csv");
        locate(&WORLD.sar, &dir.join("fixes.geojson"), &["--csv", text(&csv)]).ok();
        table(&csv)
    });
    ROWS.clone()
}

fn near(a: &std::collections::HashMap<String, String>, b: &std::collections::HashMap<String, String>, columns: &[&str], by: f64) -> bool {
    columns.iter().all(|c| (number(a, c) - number(b, c)).abs() < by)
}

/// The same patches have nearly the same scores, and most of them the same best cell.
#[track_caller]
fn same_fixes(a: &Rows, b: &Rows, is_same: impl Fn(&Row, &Row) -> bool, score: f64) {
    assert_eq!(a.len(), b.len());
    let mut agree = 0;
    for row in a {
        let other = b.iter().find(|o| is_same(row, o)).unwrap_or_else(|| panic!("{row:?} is missing in {b:?}"));
        let off = (number(row, "score") - number(other, "score")).abs();
        assert!(off < score, "scores differ by {off}: {row:?} {other:?}");
        agree += usize::from(row["cell"] == other["cell"]);
    }
    assert!(agree * 10 >= a.len() * 8, "{agree} of {} in the same cell", a.len());
}

type Row = std::collections::HashMap<String, String>;

#[test]
fn a_sar_image_in_other_coordinates_is_brought_to_the_maps_scale_and_north() {
    let (w, dir) = (&*WORLD, folder("coordinates"));
    let (sar, out, csv) = (dir.join("in.tif"), dir.join("out.geojson"), dir.join("out.csv"));
    let n = SIZE as usize;
    let by_truth = |a: &Row, b: &Row| near(a, b, &["claimed_lon", "claimed_lat"], 2e-5);

    // Turned by a quarter, and the geotransform with it: the new image's x runs south, its y runs west.
    let turned: Vec<u8> = (0..n * n).map(|i| w.scene.sar[(i % n) * n + (n - 1 - i / n)]).collect();
    let c = w.scene.geotransform();
    let (size, side) = (c[1], f64::from(SIZE) * c[1]);
    let geo = GeoTransform::new([c[0] + side, 0.0, -size, c[3], -size, 0.0]).unwrap();
    write_sar(&sar, [SIZE; 2], SampleData::U8(&turned), Some(geo), Some(EPSG));
    locate(&sar, &out, &["--csv", text(&csv)]).ok();
    same_fixes(&baseline(), &table(&csv), by_truth, 0.1);

    // In degrees, at the scale of the image's middle: Mercator is straight enough over 4 km.
    let crs = Crs::from_epsg(EPSG).unwrap();
    let own = own_geo();
    let corner = own.pixel_to_map(0.0, 0.0);
    let far = own.pixel_to_map(f64::from(SIZE), f64::from(SIZE));
    let ((lon0, lat0), (lon1, lat1)) = (crs.to_lonlat(corner.0, corner.1).unwrap(), crs.to_lonlat(far.0, far.1).unwrap());
    let degrees =
        |shift: f64| GeoTransform::north_up(lon0 + shift, lat0, (lon1 - lon0) / f64::from(SIZE), (lat0 - lat1) / f64::from(SIZE)).unwrap();
    write_sar(&sar, [SIZE; 2], SampleData::U8(&w.scene.sar), Some(degrees(0.0)), Some(4326));
    locate(&sar, &out, &["--csv", text(&csv)]).ok();
    same_fixes(&baseline(), &table(&csv), by_truth, 0.02);

    // The same a quarter of the world away: its own georeference must not lead the search, only say how far off it is.
    write_sar(&sar, [SIZE; 2], SampleData::U8(&w.scene.sar), Some(degrees(90.0)), Some(4326));
    locate(&sar, &out, &["--csv", text(&csv)]).ok();
    let rows = table(&csv);
    same_fixes(&baseline(), &rows, |a, b| near(a, b, &["sar_px_x", "sar_px_y"], 0.5), 0.02);
    assert!(rows.iter().all(|r| number(r, "displaced_m") > 1e6 && r["right"].is_empty()));
    locate(&sar, &out, &["--prior", "1000"]).fails(1, &["no patch within 1000 m"]);

    // In the map's own coordinates, but 300 km away: not one score changes.
    let moved = GeoTransform::north_up(c[0] + 3e5, c[3] + 3e5, size, size).unwrap();
    write_sar(&sar, [SIZE; 2], SampleData::U8(&w.scene.sar), Some(moved), Some(EPSG));
    locate(&sar, &out, &["--csv", text(&csv)]).ok();
    same_fixes(&baseline(), &table(&csv), |a, b| near(a, b, &["sar_px_x", "sar_px_y"], 0.5), 1e-9);

    // Twice as fine: every pixel four times.
    let fine: Vec<u8> = (0..4 * n * n).map(|i| w.scene.sar[i / (2 * n) / 2 * n + i % (2 * n) / 2]).collect();
    let geo = GeoTransform::north_up(c[0], c[3], size / 2.0, size / 2.0).unwrap();
    write_sar(&sar, [2 * SIZE; 2], SampleData::U8(&fine), Some(geo), Some(EPSG));
    locate(&sar, &out, &["--csv", text(&csv)]).ok();
    same_fixes(&baseline(), &table(&csv), by_truth, 0.1);
}

/// f16 between layers: other scores, the same places, among vectors and features made in full.
#[test]
fn mixed_precision_finds_the_same_places() {
    let (w, dir) = (&*WORLD, folder("mixed"));
    let (out, csv) = (dir.join("out.geojson"), dir.join("out.csv"));
    locate(&w.sar, &out, &["--precision", "mixed", "--csv", text(&csv)]).ok();
    let rows = table(&csv);
    same_fixes(&baseline(), &rows, |a, b| near(a, b, &["sar_px_x", "sar_px_y"], 0.5), 0.01);
    assert!(rows.iter().zip(&baseline()).any(|(a, b)| a["score"] != b["score"]));
    let fixes = |precision: &str| {
        locate_dense(&w.sar, &out, &["--precision", precision, "--csv", text(&csv)]);
        table(&csv)
    };
    let (full, mixed) = (fixes("full"), fixes("mixed"));
    assert!(full != mixed && full.len() == mixed.len());
    assert!(full.iter().zip(&mixed).all(|(a, b)| near(a, b, &["lon", "lat"], 2e-5)), "{full:?} {mixed:?}");
}

#[test]
fn outputs_that_cannot_be_written_are_refused_before_the_work() {
    let (w, dir) = (&*WORLD, folder("outputs"));
    let file = dir.join("file");
    std::fs::write(&file, "kept").unwrap();
    let (m, s, model) = (text(&w.map), text(&w.sar), text(&w.model));
    for place in [dir.join("none").join("out"), file.join("out"), dir.clone()] {
        let p = text(&place);
        index(&w.map, &place).fails(1, &["cannot write", p]);
        locate(&w.sar, &place, &[]).fails(1, &["cannot write", p]);
        locate(&w.sar, &dir.join("x"), &["--csv", p]).fails(1, &["cannot write", p]);
        locate(&w.sar, &dir.join("x"), &["--report", p]).fails(1, &["cannot write", p]);
        run(&["train", "--scene", m, s, "--val", m, s, "--config", text(&w.config), "--out", p]).fails(1, &["cannot write", p]);
        run(&["eval", "--map", m, "--sar", s, "--model", model, "--protocol", "aligned", "--report", p]).fails(1, &["cannot write", p]);
    }
    run(&["synth", "--out", text(&file.join("x")), "--size", "64"]).fails(1, &["folder cannot be made"]);
    run(&["demo", "--out", text(&file), "--model", model]).fails(1, &["folder cannot be made"]);
    let same = dir.join("x");
    locate(&w.sar, &same, &["--csv", text(&same)]).fails(1, &["two outputs have the same name"]);
    assert_eq!(names(&dir), ["file"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
}

/// A limit on the size of files stands for a full disk: writing past it fails where the signal is ignored.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_no_half_file() {
    let (w, dir) = (&*WORLD, folder("full"));
    let limited = |args: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_echogrid")]).args(args);
        finish(command)
    };
    let (m, s, model, db) = (text(&w.map), text(&w.sar), text(&w.model), text(&w.db));
    let out = dir.join("out");
    let o = text(&out);
    limited(&["index", "--map", m, "--model", model, "--cell", CELL, "--views", "3", "--out", o])
        .fails(1, &[o, "cannot be written", "room"]);
    limited(&["locate", "--method", "index", "--index", db, "--model", model, "--sar", s, "--out", o]).fails(1, &[o, "cannot write"]);
    limited(&["train", "--scene", m, s, "--val", m, s, "--config", text(&w.config), "--out", o])
        .fails(1, &["cannot be written", "free some space"]);
    std::fs::remove_file(dir.join("out.log.jsonl")).expect("the log of steps");
    assert!(names(&dir).is_empty(), "{:?}", names(&dir));
    limited(&["synth", "--out", text(&dir), "--size", "200"]).fails(1, &["optical.tif", "cannot be written", "room"]);
    assert!(names(&dir).is_empty(), "{:?}", names(&dir));
}

#[test]
fn damaged_models_and_databases_and_those_that_do_not_belong_together() {
    let (w, dir) = (&*WORLD, folder("models"));
    let (bad, out) = (dir.join("bad"), dir.join("out"));
    let (m, s, b, o) = (text(&w.map), text(&w.sar), text(&bad), text(&out));
    let index = || run(&["index", "--map", m, "--model", b, "--cell", CELL, "--views", "1", "--out", o]);
    let model = std::fs::read(&w.model).unwrap();

    // Other weights: a database belongs to one model.
    let mut other = model.clone();
    let last = other.len() - 4;
    other[last..].copy_from_slice(&0.25f32.to_le_bytes());
    std::fs::write(&bad, &other).unwrap();
    run(&["locate", "--index", text(&w.db), "--model", b, "--sar", s, "--out", o])
        .fails(1, &["was made with model", "--model", "echogrid index"]);

    other[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&bad, &other).unwrap();
    index().fails(1, &["bad", "not finite"]);
    for keep in [model.len() - 1, model.len() / 2, 4, 0] {
        std::fs::write(&bad, &model[..keep]).unwrap();
        index().fails(1, &["bad", "cut short"]);
    }
    // A header that claims more than there is.
    let mut claims = model.clone();
    claims[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&bad, &claims).unwrap();
    index().fails(1, &["bad", "cut short"]);
    // A database is no model, and a model is no database.
    run(&["index", "--map", m, "--model", text(&w.db), "--out", o]).fails(1, &["manifest cannot be read"]);
    let wrong = |db: &str| run(&["locate", "--index", db, "--model", text(&w.model), "--sar", s, "--out", o]);
    wrong(text(&w.model)).fails(1, &["not a database", "echogrid index"]);
    let db = std::fs::read(&w.db).unwrap();
    for keep in [db.len() - 1, db.len() / 2, 4, 0] {
        std::fs::write(&bad, &db[..keep]).unwrap();
        wrong(b).fails(1, &["bad"]);
    }
    wrong(text(&dir.join("none"))).fails(1, &["none", "echogrid index"]);
    assert_eq!(names(&dir), ["bad"]);
}

#[test]
fn an_encoder_is_trained_on_from_a_model() {
    let (w, dir) = (&*WORLD, folder("trained-on"));
    let (out, model) = (dir.join("next"), text(&w.model));
    let (m, s, c, o) = (text(&w.map), text(&w.sar), text(&w.config), text(&out));
    let info = |file: &str| serde_json::from_str::<serde_json::Value>(&run(&["info", file, "--json"]).ok().out).unwrap();
    run(&["train", "--scene", m, s, "--val", m, s, "--config", c, "--init-from", model, "--lr", "1e-5", "--out", o]).ok();
    let (first, next) = (info(model), info(o));
    assert!(next["init_hash"] == first["hash"] && next["encoder"] == first["encoder"], "{next}");
    assert_ne!(next["hash"], first["hash"]);
    let other = |from: &str, words: &[&str]| {
        run(&["train", "--scene", m, s, "--val", m, s, "--config", c, "--init-from", from, "--out", text(&dir.join("other"))])
            .fails(1, words);
    };
    other("shipped", &["(shipped)", "of another network", "[encoder]"]);
    other(m, &["optical.tif", "not a weights file"]);
    // A refining run starts from its --model.
    run(&["train", "--refine", "joint", "--init-from", model, "--print-config"]).fails(2, &["--init-from"]);
}

/// Starts a run, waits until its log has so many steps, and ends it with a signal.
#[cfg(unix)]
fn interrupted(args: &[&str], log: &Path, steps: usize, signal: &str) {
    let mut child = command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let done = || std::fs::read_to_string(log).unwrap_or_default().lines().filter(|l| l.contains("loss")).count();
    while done() < steps {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(start.elapsed() < Duration::from_secs(120), "no progress");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    let status = child.wait().unwrap();
    assert!(!status.success(), "it ended before the signal came");
    assert!(signal == "-KILL" || status.code() == Some(130), "{status}");
}

/// The least there is of dense training.
const DENSE_TRAINING: &str = "windows = 2\nwindow = 32\npatches = 4\npatch = 16\nepochs = 2\nsteps = 3\nhard_from = 1\nvalidate_every = 1\n\
    validate_patches = 4\nvalidate_patch = 16\nvalidate_windows = 2\nvalidate_window = 32\ncheckpoint_every = 2\n\
    [encoder]\nstem = 1\nskip = \"concat\"\nchannels = 4\nlevels = [{ width = 8, dilations = [] }, { width = 8, dilations = [2] }]\n";

#[test]
fn dense_features_are_trained_and_told_from_other_models() {
    let (w, dir) = (&*WORLD, folder("dense-training"));
    let (config, out) = (dir.join("dense.toml"), dir.join("features"));
    std::fs::write(&config, DENSE_TRAINING).unwrap();
    let (m, s, c, o) = (text(&w.map), text(&w.sar), text(&config), text(&out));
    let train = |more: &[&str]| {
        let args = ["train", "--scene", m, s, "--val", m, s, "--config", c, "--out", o];
        run(&args.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
    };
    // Either kind's settings are not the other's.
    train(&[]).fails(1, &["dense.toml", "unknown field"]);
    let done = train(&["--dense"]).ok();
    assert!(done.err.contains("SAR patches") && done.err.contains("found within 5"), "{done:?}");
    assert_eq!(names(&dir), ["dense.toml", "features", "features.log.jsonl", "features.svg"]);
    let log = std::fs::read_to_string(dir.join("features.log.jsonl")).unwrap();
    assert!(log.lines().filter(|l| l.contains("accuracy")).count() == 6 && log.contains("found"), "{log}");

    let value: serde_json::Value = serde_json::from_str(&run(&["info", o, "--json"]).ok().out).unwrap();
    assert_eq!(value["kind"], "dense-model");
    assert!(value["pixel_m"].as_f64().unwrap() > 10.0 && value["hash"].as_str().unwrap().len() == 64, "{value}");
    assert_eq!(value["encoder"]["channels"], 4);
    run(&["index", "--map", m, "--model", o, "--out", text(&dir.join("db"))])
        .fails(1, &["features", "is a dense-model", "a model is wanted"]);
    // From there on: its network and ground size where no settings are given, its network's parameters in any case.
    let model = dir.join("model");
    std::fs::rename(&out, &model).unwrap();
    let print = run(&["train", "--dense", "--init-from", text(&model), "--lr", "1e-4", "--print-config"]).ok().out;
    assert!(
        print.contains("channels = 4")
            && print.contains("init_from = ")
            && print.contains("lr = 0.0001")
            && print.contains("logit_scale = 120"),
        "{print}"
    );
    assert!(print.contains(&format!("pixel_m = {}", value["pixel_m"])), "{print}");
    train(&["--dense", "--init-from", text(&model), "--epochs", "1"]).ok();
    let next: serde_json::Value = serde_json::from_str(&run(&["info", o, "--json"]).ok().out).unwrap();
    assert_eq!(next["init_hash"], value["hash"]);
    train(&["--dense", "--init-from", "shipped"]).fails(1, &["(shipped)", "of another network", "[encoder]"]);
    // A checkpoint of the one kind is none of the other.
    std::fs::rename(&out, dir.join("features.checkpoint")).unwrap();
    train(&["--dense", "--resume"]).fails(1, &["features.checkpoint", "is a model, not a checkpoint"]);
    std::fs::copy(&w.model, dir.join("features.checkpoint")).unwrap();
    train(&["--dense", "--resume"]).fails(1, &["features.checkpoint", "is a model: ", "where a dense-model is wanted"]);
    let print = run(&["train", "--dense", "--print-config"]).ok().out;
    assert!(print.contains("validate_windows = 12") && print.contains("[encoder]"), "{print}");
}

/// The least there is of a graph network.
const REFINING: &str = "patch = 100\nviews = [1]\nstrip = 3\nqueries = 6\npool = 12\nepochs = 3\nsteps = 8\nvalidate_every = 100\nvalidate_queries = 6\n\
    checkpoint_every = 5\n[refiner]\ntop = 4\nnear = 2\nwidth = 8\nheads = 2\nlayers = 1\n";

#[test]
fn a_graph_network_is_trained_onto_a_model_and_refines() {
    let (w, dir) = (&*WORLD, folder("refine"));
    let config = dir.join("refine.toml");
    std::fs::write(&config, REFINING).unwrap();
    let (m, s, c) = (text(&w.map), text(&w.sar), text(&config));
    let (behind, joint) = (dir.join("behind"), dir.join("joint"));
    fn train<'a>([m, s, c]: [&'a str; 3], model: &'a Path, way: &'a str, out: &'a Path) -> Vec<&'a str> {
        vec!["train", "--refine", way, "--model", text(model), "--scene", m, s, "--val", m, s, "--config", c, "--out", text(out)]
    }
    let done = run(&train([m, s, c], &w.model, "two-stage", &behind)).ok();
    assert!(done.err.contains("R@1 in % of 6 queries anywhere") && done.err.contains("in strips of 3"), "{done:?}");
    run(&train([m, s, c], &w.model, "joint", &joint)).ok();
    // What a database is tied to is the encoder: the first left it alone, the second did not.
    let info = |path: &Path| -> serde_json::Value { serde_json::from_str(&run(&["info", text(path), "--json"]).ok().out).unwrap() };
    let hash = |path: &Path| info(path)["hash"].as_str().unwrap().to_string();
    assert!(hash(&behind) == hash(&w.model) && hash(&joint) != hash(&w.model));
    // The model goes on saying where its encoder came from.
    let (before, after) = (info(&w.model), info(&behind));
    assert!(["training", "step", "scenes", "validation"].iter().all(|k| before[k] == after[k] && !after[k].is_null()), "{after}");
    assert!(after["refiner_training"]["training"]["strip"] == 3 && before["refiner_training"].is_null(), "{after}");

    let eval = |model: &Path, more: &[&str]| {
        let base =
            ["eval", "--map", m, "--sar", s, "--model", text(model), "--cell", CELL, "--views", "1", "--protocol", "arbitrary", "--json"];
        run(&[&base, more].concat())
    };
    for model in [&behind, &joint] {
        let page = dir.join("page.html");
        let out = eval(model, &["--queries", "9", "--strip", "3", "--refine", "graph", "--report", text(&page)]).ok().out;
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["refine"], serde_json::json!({ "method": "graph", "top": 4, "strip": 3, "slide": 1 }), "{value}");
        assert!((0.0..=1.0).contains(&value["calibration_error"].as_f64().unwrap()), "{value}");
        let page = std::fs::read_to_string(&page).unwrap();
        assert!(page.contains("How often a first candidate") && page.contains(", full precision"));
    }
    eval(&w.model, &["--refine", "graph"]).fails(1, &["carries no graph network", "train one"]);
    eval(&behind, &["--refine", "graph", "--refine-top", "3"]).fails(1, &["leave --refine-top out"]);
    eval(&behind, &["--refine", "graph", "--slide"]).fails(1, &["leave --slide out"]);

    let fixes = dir.join("fixes.geojson");
    let find = |more: &[&str]| {
        let base =
            ["locate", "--method", "index", "--index", text(&w.db), "--model", text(&behind), "--sar", s, "--out", text(&fixes), "--json"];
        run(&[&base, more].concat())
    };
    let outcome = find(&["--refine", "graph", "--strip", "3"]);
    assert!([Some(0), Some(3)].contains(&outcome.code), "{outcome:?}");
    let value: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert!(value["refine"] == "graph" && value["fixes"].as_u64() > Some(8), "{value}");
    let found: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&fixes).unwrap()).unwrap();
    let scores = found["features"].as_array().unwrap()[1..].iter().map(|f| f["properties"]["score"].as_f64().unwrap());
    assert!(scores.into_iter().all(|p| (0.0..=1.0).contains(&p)), "probabilities");
    find(&["--strip", "3"]).fails(1, &["name a method with --refine"]);

    // Stopped and gone on with: the same bits.
    #[cfg(unix)]
    {
        let again = dir.join("again");
        let args = train([m, s, c], &w.model, "two-stage", &again);
        interrupted(&args, &dir.join("again.log.jsonl"), 4, "-INT");
        run(&[&args[..], &["--resume"]].concat()).ok();
        assert!(std::fs::read(&again).unwrap() == std::fs::read(&behind).unwrap(), "resumed weights differ");
    }
}

/// The steps that the log of a run tells of, in its order.
#[cfg(unix)]
fn steps_told(model: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(model.with_extension("log.jsonl")).unwrap();
    text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["step"].as_u64().unwrap()).collect()
}

#[cfg(unix)]
#[test]
fn a_run_that_was_killed_or_stopped_goes_on_to_the_same_bits() {
    let (w, dir) = (&*WORLD, folder("resume"));
    let config = dir.join("config.toml");
    // Hard negatives of the embedding from the second pass on: the checkpoint must carry what was planned.
    std::fs::write(&config, settings(3, 16, 1)).unwrap();
    let (m, s) = (text(&w.map), text(&w.sar));
    let train = |out: &Path, more: &[&str]| -> Vec<String> {
        ["train", "--scene", m, s, "--val", m, s, "--config", text(&config), "--out", text(out)]
            .into_iter()
            .chain(more.iter().copied())
            .map(str::to_string)
            .collect()
    };
    let go = |args: &[String]| run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let whole = dir.join("whole");
    go(&train(&whole, &[])).ok();
    let want = std::fs::read(&whole).unwrap();
    for (name, signal, steps) in [("killed", "-KILL", 20), ("stopped", "-INT", 8)] {
        let out = dir.join(name);
        let args = train(&out, &[]);
        interrupted(&args.iter().map(String::as_str).collect::<Vec<_>>(), &dir.join(format!("{name}.log.jsonl")), steps, signal);
        let checkpoint = dir.join(format!("{name}.checkpoint"));
        assert!(checkpoint.is_file() && !out.exists(), "{:?}", names(&dir));
        assert!(run(&["info", text(&checkpoint)]).ok().out.contains("checkpoint"));
        go(&train(&out, &["--resume"])).ok();
        assert!(std::fs::read(&out).unwrap() == want, "{name}: resumed weights differ from those of an uninterrupted run");
        // Nothing is told twice, nor left out.
        assert_eq!(steps_told(&out), steps_told(&whole), "{name}");
        assert!(!checkpoint.exists());
    }
    // Only what belongs there is left.
    let left: Vec<String> = names(&dir).into_iter().filter(|n| n.starts_with('.')).collect();
    assert!(left.is_empty(), "{left:?}");

    // Checkpoints that are damaged, absent, or of another run.
    let out = dir.join("again");
    let checkpoint = dir.join("again.checkpoint");
    go(&train(&out, &["--resume"])).fails(1, &["again.checkpoint"]);
    std::fs::write(&checkpoint, &want[..want.len() / 2]).unwrap();
    go(&train(&out, &["--resume"])).fails(1, &["again.checkpoint", "cut short"]);
    std::fs::write(&checkpoint, &want).unwrap();
    go(&train(&out, &["--resume"])).fails(1, &["again.checkpoint", "not a checkpoint"]);
    assert!(!out.exists());
}

#[test]
fn every_alignment_trains_and_tells_what_it_does() {
    let (w, dir) = (&*WORLD, folder("align"));
    let (m, s) = (text(&w.map), text(&w.sar));
    let train = |config: &Path, out: &Path, more: &[&str]| {
        let args = ["train", "--scene", m, s, "--val", m, s, "--config", text(config), "--out", text(out)];
        run(&args.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let figures = |out: &Path| -> serde_json::Value {
        let log = std::fs::read_to_string(out.with_file_name(format!("{}.log.jsonl", out.file_name().unwrap().to_str().unwrap()))).unwrap();
        serde_json::from_str(log.lines().rfind(|l| l.contains("loss")).unwrap()).unwrap()
    };
    let config = dir.join("config.toml");
    std::fs::write(&config, settings(1, 3, 1)).unwrap();
    let methods: [(&str, &[&str]); 6] = [
        ("critic-clip", &["distance", "adversary_loss"]),
        ("critic-gp", &["distance", "adversary_loss"]),
        ("class", &["class_loss", "class_accuracy"]),
        ("sinkhorn", &["sinkhorn"]),
        ("mmd", &["mmd"]),
        ("coral", &["coral"]),
    ];
    let mut weights = Vec::new();
    for (method, told) in methods {
        let out = dir.join(method);
        train(&config, &out, &["--align", method, "--align-weight", "1"]).ok();
        let step = figures(&out);
        assert!(told.iter().all(|name| step[*name].as_f64().is_some_and(f64::is_finite)), "{method}: {step}");
        // The model carries the encoder alone, and none is like another: each loss has moved it.
        let parsed = echogrid::nn::WeightFile::load(&out).unwrap();
        assert!(parsed.tensors.keys().all(|n| !n.contains("adversary")), "{method}");
        weights.push(parsed.tensors);
        assert!(std::fs::read_to_string(dir.join(format!("{method}.svg"))).unwrap().contains(&told[0].replace('_', " ")));
    }
    for (i, a) in weights.iter().enumerate() {
        assert!(weights[..i].iter().all(|b| a != b), "{}", methods[i].0);
    }
    // One-sided and flipped variants come from the settings.
    let other = dir.join("other.toml");
    for (align, told) in
        [("method = \"critic-gp\"\nsides = \"sar\"", "distance"), ("method = \"class\"\nclass_by = \"flip\"", "class_accuracy")]
    {
        std::fs::write(&other, format!("{}[align]\n{align}\n", settings(1, 2, 1))).unwrap();
        let out = dir.join("other");
        train(&other, &out, &[]).ok();
        assert!(figures(&out)[told].as_f64().is_some_and(f64::is_finite));
    }
    std::fs::write(&other, format!("{}[align]\neps = 0.0\n", settings(1, 2, 1))).unwrap();
    train(&other, &dir.join("other"), &[]).fails(1, &["align.eps must be above 0"]);
    run(&["train", "--dense", "--align", "mmd", "--print-config"]).fails(2, &["--align"]);
    run(&["train", "--align", "nonsense", "--print-config"]).fails(2, &["critic-gp", "sinkhorn"]);
    assert!(run(&["train", "--align", "coral", "--print-config"]).ok().out.contains("method = \"coral\""));
}

#[cfg(unix)]
#[test]
fn a_run_with_a_critic_goes_on_to_the_same_bits() {
    let (w, dir) = (&*WORLD, folder("resume-critic"));
    let config = dir.join("config.toml");
    std::fs::write(&config, format!("{}[align]\nmethod = \"critic-gp\"\nhidden = [8, 8]\nadversary_steps = 2\n", settings(2, 16, 1)))
        .unwrap();
    let (m, s) = (text(&w.map), text(&w.sar));
    let (whole, out) = (dir.join("whole"), dir.join("killed"));
    let args = |out| ["train", "--scene", m, s, "--val", m, s, "--config", text(&config), "--out", out];
    run(&args(text(&whole))).ok();
    interrupted(&args(text(&out)), &dir.join("killed.log.jsonl"), 12, "-KILL");
    run(&args(text(&out)).into_iter().chain(["--resume"]).collect::<Vec<_>>()).ok();
    assert!(std::fs::read(&out).unwrap() == std::fs::read(&whole).unwrap(), "resumed weights differ");
}

#[cfg(unix)]
#[test]
fn a_run_that_mixes_statistics_goes_on_to_the_same_bits() {
    let (w, dir) = (&*WORLD, folder("resume-mixing"));
    let (m, s) = (text(&w.map), text(&w.sar));
    let with = |name: &str, share: &str| {
        let path = dir.join(name);
        std::fs::write(&path, format!("{}[augment]\nmix_statistics = {share}\n", settings(2, 16, 1))).unwrap();
        path
    };
    let (config, plain, wrong) = (with("config.toml", "0.5"), with("plain.toml", "0.0"), with("wrong.toml", "1.5"));
    let (whole, out, other) = (dir.join("whole"), dir.join("killed"), dir.join("other"));
    let args = |config, out| ["train", "--scene", m, s, "--val", m, s, "--config", config, "--out", out];
    run(&args(text(&config), text(&whole))).ok();
    interrupted(&args(text(&config), text(&out)), &dir.join("killed.log.jsonl"), 12, "-KILL");
    run(&args(text(&config), text(&out)).into_iter().chain(["--resume"]).collect::<Vec<_>>()).ok();
    assert!(std::fs::read(&out).unwrap() == std::fs::read(&whole).unwrap(), "resumed weights differ");
    // Mixing moves the weights elsewhere; a model has no more of them.
    run(&args(text(&plain), text(&other))).ok();
    let [mixed, plain] = [&whole, &other].map(|p| echogrid::nn::WeightFile::load(p).unwrap().tensors);
    assert!(mixed.keys().eq(plain.keys()) && mixed.iter().zip(&plain).all(|(a, b)| a.1.1.len() < 2 || a != b));
    run(&args(text(&wrong), text(&other))).fails(1, &["augment.mix_statistics is a share, 0 to 1"]);
}

#[cfg(unix)]
#[test]
fn a_run_under_mixed_precision_goes_on_to_the_same_bits() {
    let (w, dir) = (&*WORLD, folder("resume-mixed"));
    let config = dir.join("config.toml");
    std::fs::write(&config, settings(2, 16, 1)).unwrap();
    let (m, s) = (text(&w.map), text(&w.sar));
    let (whole, out, full) = (dir.join("whole"), dir.join("killed"), dir.join("full"));
    let args =
        |precision, out| ["train", "--scene", m, s, "--val", m, s, "--config", text(&config), "--precision", precision, "--out", out];
    run(&args("mixed", text(&whole))).ok();
    interrupted(&args("mixed", text(&out)), &dir.join("killed.log.jsonl"), 12, "-KILL");
    // A checkpoint belongs to its precision.
    run(&args("full", text(&out)).into_iter().chain(["--resume"]).collect::<Vec<_>>()).fails(1, &["killed.checkpoint"]);
    run(&args("mixed", text(&out)).into_iter().chain(["--resume"]).collect::<Vec<_>>()).ok();
    assert!(std::fs::read(&out).unwrap() == std::fs::read(&whole).unwrap(), "resumed weights differ");
    // The log tells the loss scale, a power of two; layers that round give other weights.
    let log = std::fs::read_to_string(dir.join("whole.log.jsonl")).unwrap();
    let scales: Vec<f64> =
        log.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["loss scale"].as_f64()).collect();
    assert!(scales.len() == 32 && scales.iter().all(|s| s.log2().fract() == 0.0), "{scales:?}");
    run(&args("full", text(&full))).ok();
    let [mixed, full] = [&whole, &full].map(|p| echogrid::nn::WeightFile::load(p).unwrap().tensors);
    assert!(mixed.keys().eq(full.keys()) && mixed != full);
    assert!(run(&["train", "--precision", "mixed", "--print-config"]).ok().out.contains("precision = \"mixed\""));
}

#[test]
fn the_gap_is_measured_and_drawn() {
    let (w, dir) = (&*WORLD, folder("gap"));
    let figure = dir.join("gap.svg");
    let base = ["gap", "--map", text(&w.map), "--sar", text(&w.sar), "--model", text(&w.model), "--patch", "100", "--permutations", "19"];
    let with = |more: &[&str]| run(&base.into_iter().chain(more.iter().copied()).collect::<Vec<_>>());
    let json = with(&["--pairs", "32", "--json", "--figure", text(&figure)]).ok().out;
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((value["pairs"].as_u64(), value["dim"].as_u64()), (Some(32), Some(128)));
    let measures: Vec<&str> = value["estimates"].as_array().unwrap().iter().map(|e| e["measure"].as_str().unwrap()).collect();
    assert_eq!(measures, ["mean", "mmd", "coral", "sinkhorn", "critic", "class_accuracy"]);
    for e in value["estimates"].as_array().unwrap() {
        let of = |k: &str| e[k].as_f64().unwrap();
        assert!(
            of("value").is_finite() && of("p") > 0.0 && of("p") <= 1.0 && e["permuted"][0].as_f64() <= e["permuted"][1].as_f64(),
            "{e}"
        );
    }
    assert!(std::fs::read_to_string(&figure).unwrap().starts_with("<svg"));
    assert!(with(&["--pairs", "16"]).ok().out.contains("under permutation"));
    with(&["--pairs", "4"]).fails(2, &["--pairs"]);
    run(&["gap", "--map", text(&w.map), "--sar", text(&w.sar), "--model", text(&w.model), "--patch", "5000"]).fails(1, &["0 places"]);
}

#[test]
fn a_study_compares_what_it_has_trained_and_goes_on_where_it_stopped() {
    let (w, dir) = (&*WORLD, folder("study"));
    let config = dir.join("config.toml");
    std::fs::write(&config, settings(1, 2, 1)).unwrap();
    let (m, s, out) = (text(&w.map), text(&w.sar), dir.join("studies"));
    let base = ["study", "align", "--scene", m, s, "--val", m, s, "--config", text(&config), "--out", text(&out)];
    let go =
        |more: &[&str]| run(&base.into_iter().chain(["--views", "1", "--queries", "8"]).chain(more.iter().copied()).collect::<Vec<_>>());
    go(&["--ways", "none", "--minutes", "0"]).fails(1, &["more --minutes"]);
    let first = go(&["--ways", "none,critic-gp,class", "--seeds", "1,2"]).ok().out;
    assert!(first.contains("| `critic-gp` | ") && first.contains("| 1 2 |") && first.contains("less class adversary"), "{first}");
    assert_eq!(names(&out), ["align-runs", "align.json", "align.md", "align.svg"]);
    assert_eq!(names(&out.join("align-runs")).iter().filter(|n| n.ends_with(".json")).count(), 6);
    assert!(!first.contains(text(&dir)), "a machine's folders: {first}");
    let start = Instant::now();
    let again = go(&["--ways", "none,critic-gp,class", "--seeds", "1,2"]).ok();
    assert_eq!((again.out, again.err.contains("step")), (first, false));
    assert!(start.elapsed() < Duration::from_secs(20));
    go(&["--ways", "none", "--epochs", "2"]).fails(1, &["none-1.json", "other settings"]);
    go(&["--ways", "nonsense"]).fails(2, &["critic-clip"]);
}

#[test]
fn a_study_of_refinement_compares_what_it_has_trained_with_what_needs_no_training() {
    let (w, dir) = (&*WORLD, folder("study-refine"));
    let config = dir.join("config.toml");
    std::fs::write(&config, REFINING).unwrap();
    let (m, s, out) = (text(&w.map), text(&w.sar), dir.join("studies"));
    let base =
        ["study", "refine", "--scene", m, s, "--val", m, s, "--model", text(&w.model), "--config", text(&config), "--out", text(&out)];
    let go = |more: &[&str]| run(&base.into_iter().chain(["--queries", "9"]).chain(more.iter().copied()).collect::<Vec<_>>());
    go(&["--minutes", "0"]).fails(1, &["more --minutes"]);
    let ways = ["--ways", "krnn,slide-vote,graph,joint", "--seeds", "1,2"];
    let first = go(&ways).ok().out;
    assert!(first.contains("## One by one") && first.contains("## In strips") && first.contains("with the encoder of `joint`"), "{first}");
    for way in ["none", "krnn", "slide-vote", "graph", "joint"] {
        assert_eq!(first.matches(&format!("| `{way}` | ")).count(), 2, "{first}");
    }
    assert!(!first.contains(text(&dir)), "a machine's folders: {first}");
    let made = names(&out);
    assert!(["refine-runs", "refine.json", "refine.md", "refine.svg"].iter().all(|n| made.iter().any(|m| m == n)), "{made:?}");
    assert_eq!(names(&out.join("refine-runs")).iter().filter(|n| n.ends_with(".json")).count(), 7);
    let again = go(&ways).ok();
    assert_eq!((again.out, again.err.contains("step")), (first, false));
    std::fs::write(&config, format!("{REFINING}position = \"bearing\"\n")).unwrap();
    go(&ways).fails(1, &["none.json", "other settings"]);
    go(&["--ways", "nonsense"]).fails(2, &["slide-vote"]);
}

/// A .npy file of version 1.0.
fn npy(path: &Path, descr: &str, fortran: bool, shape: &str, data: &[u8]) {
    let order = if fortran { "True" } else { "False" };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn transport_between_arrays_of_either_kind_of_file() {
    let dir = folder("transport");
    let file = |name: &str| dir.join(name).to_str().unwrap().to_string();
    let (n, d) = (40usize, 3usize);
    let value = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 50.0;
    let x: Vec<f32> = (0..n * d).map(value).collect();
    let moved: Vec<f32> = x.iter().map(|v| v + 2.0).collect();
    let bytes = |v: &[f32]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    npy(Path::new(&file("a.npy")), "<f4", false, "(40, 3)", &bytes(&x));
    // The same points moved by 2 in every dimension: as 64-bit floats by columns, and as a tensor.
    let columns: Vec<u8> = (0..n * d).flat_map(|at| f64::from(moved[at % n * d + at / n]).to_le_bytes()).collect();
    npy(Path::new(&file("b.npy")), "<f8", true, "(40, 3)", &columns);
    let raw = bytes(&moved);
    let view = |shape: Vec<usize>| safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &raw).unwrap();
    let tensors = [("points", view(vec![n, d])), ("flat", view(vec![n * d]))];
    std::fs::write(file("b.safetensors"), safetensors::serialize(tensors, None).unwrap()).unwrap();
    let two = [("points", view(vec![n, d])), ("others", view(vec![n, d]))];
    std::fs::write(file("two.safetensors"), safetensors::serialize(two, None).unwrap()).unwrap();

    let a = file("a.npy");
    for b in ["b.npy", "b.safetensors", "two.safetensors:points"] {
        let outcome = run(&["transport", &a, &file(b), "--json"]).ok();
        let json: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
        // A displacement's divergence is its square.
        let divergence = json["divergence"].as_f64().unwrap();
        assert!((divergence - 12.0).abs() < 12e-4, "{json}");
        assert!(json["converged"] == true && json["marginal_error"].as_f64().unwrap() < 1.5e-4, "{json}");
        for key in ["cost", "iterations", "seconds", "eps"] {
            assert!(json[key].as_f64().unwrap() > 0.0, "{json}");
        }
        assert!(outcome.err.contains("eps: ") && outcome.err.contains("--eps sets another"), "{}", outcome.err);
    }
    let same = run(&["transport", &a, &a, "--cost", "cosine", "--eps", "0.1"]).ok();
    assert!(same.out.contains("divergence") && same.out.contains("converged") && !same.out.contains("NOT"), "{}", same.out);
    let few = run(&["transport", &a, &file("b.npy"), "--eps", "0.001", "--iterations", "5"]).ok();
    assert!(few.out.contains("NOT converged") && few.err.contains("did not converge in 5 iterations"), "{few:?}");

    npy(Path::new(&file("int.npy")), "<i4", false, "(40, 3)", &bytes(&x));
    npy(Path::new(&file("flat.npy")), "<f4", false, "(120,)", &bytes(&x));
    npy(Path::new(&file("wide.npy")), "<f4", false, "(30, 4)", &bytes(&x));
    npy(Path::new(&file("none.npy")), "<f4", false, "(0, 3)", &[]);
    npy(Path::new(&file("short.npy")), "<f4", false, "(41, 3)", &bytes(&x));
    let mut bad = x.clone();
    bad[7] = f32::NAN;
    npy(Path::new(&file("nan.npy")), "<f4", false, "(40, 3)", &bytes(&bad));
    std::fs::write(file("noise.npy"), [7u8; 30]).unwrap();
    std::fs::write(file("a.txt"), "1 2 3").unwrap();
    for (b, words) in [
        ("int.npy", &["int.npy", "astype"][..]),
        ("flat.npy", &["[120]", "two dimensions"]),
        ("wide.npy", &["3 columns", "4"]),
        ("none.npy", &["holds no points"]),
        ("short.npy", &["cut short"]),
        ("nan.npy", &["NaN", "row 2, column 1"]),
        ("noise.npy", &["no .npy file"]),
        ("a.txt", &["neither", ".npy"]),
        ("missing.npy", &["cannot be read"]),
        ("two.safetensors", &["several tensors", ":NAME", "`others`"]),
        ("two.safetensors:nope", &["no tensor `nope`"]),
    ] {
        run(&["transport", &a, &file(b)]).fails(1, words);
    }
    run(&["transport", &a, &a, "--eps=-1"]).fails(1, &["--eps must be above 0"]);
}

#[path = "cli/detect.rs"]
mod detect;
#[path = "cli/files.rs"]
mod files;
#[path = "cli/limits.rs"]
mod limits;
#[path = "cli/locate.rs"]
mod locating;
#[path = "cli/matching.rs"]
mod matching;
#[cfg(unix)]
#[path = "cli/outputs.rs"]
mod outputs;
#[path = "cli/pairs.rs"]
mod pairs;
#[path = "cli/published.rs"]
mod published;

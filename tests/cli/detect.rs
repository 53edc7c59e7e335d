//! Detectors at the command line: trained on synthetic ships, judged, used; and what is said where something does not fit.

use super::*;
use serde_json::Value;

/// The least there is to train.
const SETTINGS: &str = r#"
batch = 4
epochs = 1
steps = 3
validate_every = 1
checkpoint_every = 2
[detector]
input = 64
classes = []
[detector.architecture]
kind = "residual"
stem = [8]
stages = [{ channels = 8, blocks = 1, stride = 2, dilation = 1 }, { channels = 12, blocks = 1, stride = 2, dilation = 1 }]
[detector.head]
kind = "yolo3"
widths = [8, 8]
pairs = 1
anchors = []
box_weight = 2.0
"#;

fn json(outcome: Outcome) -> Value {
    serde_json::from_str(&outcome.ok().out).unwrap()
}

#[test]
fn a_detector_is_trained_judged_and_used() {
    let dir = folder("detect");
    let data = dir.join("ships");
    run(&["synth", "--ships", "10", "--size", "64", "--out", text(&data)]).ok();
    let (images, annotations) = (data.join("images"), data.join("annotations.json"));
    let (config, model) = (dir.join("detect.toml"), dir.join("detector"));
    std::fs::write(&config, SETTINGS).unwrap();
    let (i, a, m) = (text(&images), text(&annotations), text(&model));
    let printed = run(&["detect", "train", "--print-config", "--epochs", "7"]).ok().out;
    assert!(printed.contains("epochs = 7") && printed.contains("kind = \"yolo3\""), "{printed}");
    let train = |more: &[&str]| run(&[&["detect", "train", "--train", i, a, "--val", i, a, "--config", text(&config)], more].concat());
    let done = train(&["--out", m]).ok();
    assert!(done.err.contains("10 images with") && done.err.contains("AP50"), "{done:?}");
    train(&["--out", i]).fails(1, &["images"]);
    let batches = dir.join("batches");
    let export = ["detect", "train", "--train", i, a, "--config", text(&config), "--export", text(&batches)];
    assert!(run(&export).ok().err.contains("wrote 3 steps into"));
    assert_eq!(names(&batches), ["batches-00000.safetensors", "first.safetensors", "manifest.json", "start.safetensors"]);
    run(&export).fails(1, &["is not empty"]);
    run(&[&export[..], &["--out", m]].concat()).fails(2, &["--export", "--out"]);
    let known = json(run(&["info", "--json", m]));
    assert_eq!((&known["kind"], &known["encoder"]["extent"]), (&"detector".into(), &64.into()));

    let found = dir.join("found.json");
    let eval = |model: &str, more: &[&str]| run(&[&["detect", "eval", "--images", i, "--annotations", a, "--model", model], more].concat());
    let figures = json(eval(m, &["--json", "--dump", text(&found)]));
    assert!(["ap50", "ap", "ap_voc07", "ap_voc12"].iter().all(|k| figures[*k].is_number()), "{figures}");
    assert_eq!(figures["images"].as_u64(), Some(10));
    assert!(serde_json::from_str::<Value>(&std::fs::read_to_string(&found).unwrap()).unwrap().is_array());
    assert!(eval(m, &[]).ok().out.contains("AP50"));
    eval(text(&config), &[]).fails(1, &["detect.toml"]);

    // Whole images and one by tiles, in three formats; what lies under the least score is nothing.
    let one =
        |out: &str, more: &[&str]| run(&[&["detect", "run", "--model", m, "--image", i, "--out", text(&dir.join(out))], more].concat());
    for out in ["ships.json", "ships.csv", "ships.geojson"] {
        one(out, &["--score", "0"]).ok();
        assert!(dir.join(out).is_file());
    }
    let tiled = json(one("tiled.csv", &["--score", "0", "--tile", "32", "--json"]));
    assert!(tiled["boxes"].as_u64() > Some(0) && tiled["images"].as_array().map(Vec::len) == Some(10), "{tiled}");
    one("none.csv", &["--score", "1"]).fails(3, &[]);
    let page = dir.join("ships.html");
    one("ships.csv", &["--score", "0", "--report", text(&page)]).ok();
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.contains("<svg class=\"scene\"") && page.contains("<title>ship ") && page.contains("of 10 images"), "{page}");

    // Several detectors are one; they must tell the same apart.
    let both = json(run(&[
        "detect",
        "run",
        "--model",
        m,
        "shipped",
        "--image",
        i,
        "--out",
        text(&dir.join("both.csv")),
        "--score",
        "0",
        "--json",
    ]));
    assert!(both["boxes"].as_u64() > Some(0), "{both}");
    let twice = json(eval(m, &[m, "--json"]));
    assert!(twice["ap50"].is_number(), "{twice}");
    let boats = dir.join("boats");
    let mut bytes = std::fs::read(&model).unwrap();
    for at in 0..bytes.len() - 4 {
        if &bytes[at..at + 4] == b"ship" {
            bytes[at..at + 4].copy_from_slice(b"boat");
        }
    }
    std::fs::write(&boats, bytes).unwrap();
    eval(m, &[text(&boats)]).fails(1, &["boat", "same classes"]);

    // The shipped one needs no file.
    let shipped = json(run(&["detect", "run", "--image", i, "--out", text(&found), "--score", "0.01", "--json"]));
    assert!(shipped["boxes"].as_u64() > Some(0), "{shipped}");
    one("ships.txt", &[]).fails(1, &[".json", ".geojson"]);
    one("ships.csv", &["--nms", "2"]).fails(2, &["--nms", "0 to 1"]);
    one("ships.csv", &["--score", "nan"]).fails(2, &["--score", "0 to 1"]);
    one("ships.csv", &["--report", text(&dir.join("ships.json"))]).fails(2, &["--report", "ends in .html"]);
    assert!(one("ships.geojson", &["--score", "0"]).ok().err.contains("no georeference"));
    // Seen before a device is asked for.
    let nowhere = dir.join("nowhere.tif");
    run(&["detect", "run", "--model", m, "--image", text(&nowhere), "--out", text(&found), "--adapter", "none"]).fails(1, &["nowhere.tif"]);
}

#[test]
fn two_stages_are_trained_judged_and_used() {
    let dir = folder("two-stages");
    let data = dir.join("ships");
    run(&["synth", "--ships", "6", "--size", "64", "--out", text(&data)]).ok();
    let (images, annotations) = (data.join("images"), data.join("annotations.json"));
    let (config, model, found) = (dir.join("detect.toml"), dir.join("detector"), dir.join("found.json"));
    let (i, a, m, c) = (text(&images), text(&annotations), text(&model), text(&config));
    let (own, _) = SETTINGS.split_once("[detector.head]").unwrap();
    let head = "maps = 2\npooled = true\nwidth = 8\nanchors = []\nbins = 3\nhidden = 16\ncandidates = 40\nproposal_iou = 0.7\nproposals = 20\nbox_weight = 1.0\n";
    std::fs::write(&config, format!("{own}[detector.head]\nkind = \"faster-rcnn\"\n{head}[sampling]\nanchors = 32\nregions = 16\n"))
        .unwrap();
    let printed = run(&["detect", "train", "--head", "faster-rcnn", "--print-config"]).ok().out;
    assert!(printed.contains("kind = \"faster-rcnn\"") && printed.contains("region_share"), "{printed}");
    run(&["detect", "train", "--head", "faster-rcnn", "--config", c, "--print-config"]).fails(2, &["--head", "--config"]);
    run(&["profile", "--detect", "yolo3", "--config", c]).fails(1, &["--config says which detector"]);
    let train = ["detect", "train", "--train", i, a, "--val", i, a, "--config", c, "--out", m];
    assert!(run(&train).ok().err.contains("AP50"));
    let figures = json(run(&["detect", "eval", "--images", i, "--annotations", a, "--model", m, "--json"]));
    assert!(figures["ap50"].is_number(), "{figures}");
    let told = json(run(&["detect", "run", "--model", m, "--image", i, "--out", text(&found), "--score", "0", "--json"]));
    assert!(told["boxes"].as_u64() > Some(0), "{told}");
    std::fs::write(&config, format!("{own}[detector.head]\nkind = \"faster-rcnn\"\n{head}[sampling]\nanchor_iou = [0.7, 0.3]\n")).unwrap();
    run(&train).fails(1, &["anchor_iou"]);
}

#[test]
fn a_study_of_ships_says_what_pretraining_did() {
    let dir = folder("study-ships");
    let data = dir.join("ships");
    run(&["synth", "--ships", "6", "--size", "64", "--out", text(&data)]).ok();
    let [sar, opt] = matching::pairs(&dir.join("pairs"), 0, 14);
    let (trunk, settings, recipe, out) = (dir.join("osm"), dir.join("match.toml"), dir.join("ships.toml"), dir.join("studies"));
    std::fs::write(&settings, matching::SETTINGS).unwrap();
    let held = ["--val-share", "0.3", "--val-blocks", "1", "--epochs", "1"];
    let pretrain = ["train", "--match", "--pairs", text(&sar), text(&opt), "--config", text(&settings), "--out", text(&trunk)];
    run(&[&pretrain[..], &held].concat()).ok();
    let course = "batch = 4\nepochs = 1\nsteps = 2\n";
    let detector = "input = 64\nclasses = []\narchitecture = { kind = \"residual\", stem = [8], stages = [] }\n";
    let yolo = "head = { kind = \"yolo3\", widths = [8], pairs = 0, anchors = [], box_weight = 2.0 }\n";
    let faster = "head = { kind = \"faster-rcnn\", maps = 1, pooled = true, width = 8, anchors = [], bins = 3, hidden = 16, candidates = 40, proposal_iou = 0.7, proposals = 20, box_weight = 1.0 }\n";
    let part = |name: &str, head: &str| format!("[{name}]\n{course}[{name}.detector]\n{detector}{head}");
    std::fs::write(&recipe, part("yolo3", yolo) + &part("faster-rcnn", faster)).unwrap();
    let (images, annotations) = (data.join("images"), data.join("annotations.json"));
    let (i, a) = (text(&images), text(&annotations));
    let base = ["study", "ships", "--train", i, a, "--val", i, a, "--osm", text(&trunk), "--out", text(&out), "--config", text(&recipe)];
    let told = run(&[&base[..], &["--seeds", "1,2"]].concat()).ok().out;
    assert!(told.contains("| YOLOv3 | optical-SAR matching | 1 2 |") && told.contains("| both, fused | random values | 1 2 |"), "{told}");
    assert_eq!(names(&out), ["ships-runs", "ships.json", "ships.md", "ships.svg"]);
    // What is done stays, and is not taken for what it is not.
    assert_eq!(run(&[&base[..], &["--seeds", "2,1"]].concat()).ok().out.lines().nth(8), told.lines().nth(8));
    run(&[&base[..], &["--epochs", "2"]].concat()).fails(1, &["other settings"]);
    std::fs::write(&recipe, part("yolo3", faster) + &part("faster-rcnn", faster)).unwrap();
    run(&base).fails(1, &["ships.toml", "of that kind"]);
}

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
    one("ships.txt", &[]).fails(1, &[".json", ".geojson"]);
    one("ships.csv", &["--nms", "2"]).fails(1, &["0 to 1"]);
    run(&["detect", "run", "--model", m, "--image", text(&dir.join("nowhere.tif")), "--out", text(&found)]).fails(1, &["nowhere.tif"]);
}

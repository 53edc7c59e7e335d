//! Matching at the command line: training, judging, comparing files, and what is said where something does not fit.

use super::*;
use serde_json::Value;

/// The least there is to train.
pub(super) const SETTINGS: &str = r#"
batch = 6
epochs = 2
steps = 3
validate_every = 1
checkpoint_every = 2
encoder.input = 16
encoder.sharing = "separate"
encoder.architecture = { kind = "residual", stem = [8], stages = [{ channels = 8, blocks = 1, stride = 2, dilation = 1 }] }
encoder.head = { kind = "bounded", channels = 8, hidden = 8, dim = 6 }
"#;

/// Pairs of 32 px, named from `first` on: blocks of another layout each, dark where SAR is bright.
pub(super) fn pairs(dir: &Path, first: u32, count: u32) -> [PathBuf; 2] {
    let folders = ["sar", "opt"].map(|name| dir.join(name));
    folders.iter().for_each(|f| std::fs::create_dir_all(f).unwrap());
    for i in first..first + count {
        let block = |p: u32| i.wrapping_mul(2_654_435_761).rotate_left(p / 32 / 8 * 4 + p % 32 / 8) & 0xff;
        let grain = |p: u32| p.wrapping_mul(40_503) >> 3 & 15;
        let sar: Vec<u8> = (0..32 * 32).map(|p| (40 + (255 - block(p)) * 3 / 4 + grain(p)) as u8).collect();
        let optical: Vec<u8> = (0..3 * 32 * 32).map(|p| (40 + block(p / 3) * 3 / 4 + grain(p)) as u8).collect();
        let name = format!("{i}.tif");
        write_geotiff(folders[0].join(&name), 32, 32, 1, SampleData::U8(&sar), None, None, None).unwrap();
        write_geotiff(folders[1].join(&name), 32, 32, 3, SampleData::U8(&optical), None, None, None).unwrap();
    }
    folders
}

fn json(outcome: Outcome) -> Value {
    serde_json::from_str(&outcome.ok().out).unwrap()
}

#[test]
fn a_matching_model_is_trained_judged_and_used() {
    let dir = folder("matching");
    let [sar, opt] = pairs(&dir.join("train"), 0, 14);
    let [val_sar, val_opt] = pairs(&dir.join("val"), 100, 7);
    let (config, model) = (dir.join("match.toml"), dir.join("match.model"));
    std::fs::write(&config, SETTINGS).unwrap();
    let (s, o, c, m) = (text(&sar), text(&opt), text(&config), text(&model));
    let train = |more: &[&str]| run(&[&["train", "--match", "--pairs", s, o, "--config", c], more].concat());
    let printed = run(&["train", "--match", "--print-config", "--epochs", "7"]).ok().out;
    assert!(printed.contains("epochs = 7") && printed.contains("kind = \"bounded\"") && printed.contains("[bridge]"), "{printed}");
    let done = train(&["--val-pairs", text(&val_sar), text(&val_opt), "--out", m]).ok();
    assert!(done.err.contains("14 pairs to train on, 7 to validate on") && done.err.contains("AUC"), "{done:?}");
    assert_eq!(names(&dir), ["match.model", "match.model.log.jsonl", "match.svg", "match.toml", "train", "val"]);
    // Without pairs of its own a validation takes some of those it is given, and goes on from a model of the same network.
    let held = ["--val-share", "0.3", "--val-blocks", "1"];
    let other = train(&[&held[..], &["--init-from", m, "--epochs", "1", "--out", text(&dir.join("other"))]].concat()).ok();
    assert!(other.err.contains("9 pairs to train on, 4 to validate on"), "{other:?}");

    let known = json(run(&["info", "--json", m]));
    assert_eq!((&known["kind"], &known["encoder"]["patch"]), (&"matching model".into(), &32.into()));
    let threshold = known["calibration"]["threshold"].as_f64().unwrap();
    let figures = ["accuracy", "precision", "recall", "accuracy_at_half", "fpr95", "auc"];
    let (roc, dump) = (dir.join("roc.svg"), dir.join("distances.json"));
    let eval = ["eval", "--match", "--pairs", text(&val_sar), text(&val_opt), "--model", m];
    let told = json(run(&[&eval[..], &["--json", "--figure", text(&roc), "--dump", text(&dump)]].concat()));
    assert_eq!((told["pairs"].as_u64(), told["negatives"].as_u64(), told["threshold"].as_f64()), (Some(7), Some(7), Some(threshold)));
    for name in figures {
        let (value, interval) = (&told[name], &told[format!("{name}_ci95")]);
        assert!(value.is_null() == interval.is_null() && value.as_f64().is_none_or(|v| (0.0..=1.0).contains(&v)), "{name}: {told}");
    }
    assert_eq!(told["accuracy"], known["calibration"]["accuracy"], "the pairs and the seed of the validation");
    assert!(std::fs::read_to_string(&roc).unwrap().contains("ROC curve"));
    let rows: Value = serde_json::from_str(&std::fs::read_to_string(&dump).unwrap()).unwrap();
    assert_eq!((rows["pairs"].as_array().unwrap().len(), &rows["pairs"][0]["name"]), (7, &"100".into()));
    let shown = run(&eval).ok().out;
    assert!(shown.contains("FPR at 95 % recall") && shown.contains("precision") && shown.contains("32 px patches"), "{shown}");

    // Files, folders of equal names, and folders of others.
    let file = |folder: &Path, name: &str| text(&folder.join(name)).to_string();
    let compare = |sar: &str, opt: &str| json(run(&["match", "--sar", sar, "--opt", opt, "--model", m, "--json"]));
    let one = compare(&file(&val_sar, "101.tif"), &file(&val_opt, "101.tif"));
    let distance = |v: &Value| v["distance"].as_f64().unwrap();
    assert_eq!(one["pairs"][0]["matches"].as_bool(), Some(distance(&one["pairs"][0]) < threshold));
    let all = compare(text(&val_sar), text(&val_opt));
    assert_eq!((&all["compared"], all["pairs"].as_array().unwrap().len()), (&"each".into(), 7));
    // What is said of a pair does not hang on what lies beside it.
    assert!((distance(&all["pairs"][1]) - distance(&one["pairs"][0])).abs() < 1e-5, "{all} {one}");
    let nearest = compare(&file(&val_sar, "101.tif"), text(&opt));
    assert_eq!(nearest["compared"], "nearest");
    let best = &nearest["pairs"][0];
    assert!(distance(best) <= best["next"].as_f64().unwrap(), "{best}");
    let alone = compare(&file(&val_sar, "101.tif"), best["optical"].as_str().unwrap());
    assert!((distance(&alone["pairs"][0]) - distance(best)).abs() < 1e-5, "{alone}");
    let said = run(&["match", "--sar", text(&val_sar), "--opt", text(&val_opt), "--model", m]).ok().out;
    assert!(said.contains("of 7 match") && said.contains("100.tif"), "{said}");
    // A colour picture in the SAR image's place is compared by its first band, and that is said.
    let slip = run(&["match", "--sar", &file(&val_opt, "101.tif"), "--opt", &file(&val_opt, "101.tif"), "--model", m]).ok();
    assert!(slip.err.contains("band 1 of 3 is read as SAR") && slip.err.contains("colours"), "{slip:?}");
    assert!(one["pairs"][0].get("doubts").is_none(), "{one}");

    // Batches for others.
    let batches = dir.join("batches");
    train(&[&held[..], &["--export", text(&batches)]].concat()).ok();
    assert_eq!(names(&batches), ["batches-00000.safetensors", "judge.safetensors", "manifest.json", "start.safetensors"]);
}

#[test]
fn what_does_not_match_is_said() {
    let dir = folder("unmatched");
    let [sar, opt] = pairs(&dir, 0, 4);
    let (s, o) = (text(&sar), text(&opt));
    run(&["match", "--sar", s, "--opt", o]).fails(1, &["no matching model", "--model"]);
    run(&["match", "--sar", s, "--opt", o, "--model", text(&WORLD.model)]).fails(1, &["is a model", "matching model is wanted"]);
    run(&["eval", "--match", "--pairs", s, o]).fails(1, &["no matching model"]);
    run(&["eval", "--match", "--protocol", "dense", "--pairs", s, o]).fails(2, &["--match", "--protocol"]);
    let config = dir.join("match.toml");
    std::fs::write(&config, SETTINGS).unwrap();
    let out = dir.join("model");
    let train = |more: &[&str]| run(&[&["train", "--match", "--config", text(&config), "--out", text(&out)], more].concat());
    train(&["--pairs", s, o, "--val-pairs", s, o]).fails(1, &["is in both sets of pairs"]);
    let [val_sar, val_opt] = pairs(&dir.join("val"), 100, 4);
    let four = ["--pairs", s, o, "--val-pairs", text(&val_sar), text(&val_opt)];
    train(&four).fails(1, &["4 pairs hold 4 patches of 32 px", "fewer than the 6 of a batch"]);
    let (m, r) = (text(&WORLD.map), text(&WORLD.sar));
    train(&["--scene", m, r, "--val", m, r]).fails(2, &["--match", "--scene"]);
    train(&["--dense", "--pairs", s, o]).fails(2, &["--match", "--dense"]);
    std::fs::write(&config, SETTINGS.replace("bounded", "bound")).unwrap();
    train(&four).fails(1, &["match.toml", "bound"]);
    std::fs::write(&config, format!("patch = 33\n{SETTINGS}")).unwrap();
    train(&four).fails(1, &["pair `0` is 32x32 px", "`patch` = 33"]);
}

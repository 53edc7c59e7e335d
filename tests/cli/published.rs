//! The published system at the command line: recipes, held-out ground, batches for others, and its study.

use super::*;

/// A recipe of the least there is, and a scale of it.
const RECIPE: &str = r#"
[train]
patch = 100
views = 1
batch = 4
epochs = 1
steps = 1
loss = "triplet"
triplet = { mining = "all" }
similar = 0.0
held_out = 0.2
map_negatives = 2
validate_every = 1
validate_queries = 8
validate_views = 1
encoder.input = 32
encoder.sharing = "full"
encoder.architecture = { kind = "residual", stem = [8, 8], stages = [{ channels = 8, blocks = 1, stride = 1, dilation = 1 }] }
encoder.head = { kind = "pooled", pool = "max", dim = 12 }
[refine]
patch = 100
views = [1]
part = 1.0
strip = 2
queries = 2
pool = 6
epochs = 1
steps = 2
validate_queries = 6
refiner = { top = 4, width = 8, heads = 2, layers = 1, slide = 0 }
[scale.two.train]
steps = 2
"#;

#[test]
fn recipes_held_out_ground_and_batches_for_others() {
    let (w, dir) = (&*WORLD, folder("recipe"));
    let (m, s) = (text(&w.map), text(&w.sar));
    let (config, model) = (dir.join("recipe.toml"), dir.join("model"));
    std::fs::write(&config, RECIPE).unwrap();
    let with = |more: &[&str]| run(&[&["train", "--scene", m, s, "--val", m, s, "--config", text(&config)], more].concat());
    with(&["--scale", "ten", "--out", text(&model)]).fails(1, &["no scale `ten`", "two"]);
    let printed = with(&["--scale", "two", "--loss", "infonce", "--print-config"]).ok().out;
    assert!(printed.contains("steps = 2") && printed.contains("loss = \"infonce\"") && printed.contains("kind = \"pooled\""), "{printed}");
    with(&["--scale", "two", "--out", text(&model)]).ok();

    let profile = run(&["profile", "--config", text(&config), "--scale", "two", "--steps", "1", "--json"]).ok().out;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&profile).unwrap()["batch"].as_u64(), Some(4));
    run(&["profile", "--scale", "two"]).fails(2, &["--config"]);

    let batches = dir.join("batches");
    with(&["--scale", "two", "--export", text(&batches)]).ok();
    assert_eq!(names(&batches), ["batches-00000.safetensors", "judge.safetensors", "manifest.json", "start.safetensors"]);
    with(&["--export", text(&batches), "--out", text(&model)]).fails(2, &["--export", "--out"]);

    let eval = |model: &Path, more: &[&str]| {
        run(&[&["eval", "--map", m, "--sar", s, "--model", text(model), "--cell", CELL, "--views", "1", "--queries", "8"], more].concat())
    };
    let known = eval(&model, &["--protocol", "arbitrary", "--held-out", "--json"]).ok().out;
    let known: serde_json::Value = serde_json::from_str(&known).unwrap();
    assert_eq!((known["held_out"].as_f64(), known["queries"].as_u64()), (Some(0.2), Some(8)));
    let page = dir.join("known.html");
    let said = eval(&model, &["--protocol", "aligned", "--held-out", "--report", text(&page)]).ok().out;
    assert!(said.contains("20 % of the ground that training held out"), "{said}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("20 % that training held out alone"), "the page says so too");
    let large = ["eval", "--map", m, "--sar", s, "--model", text(&model), "--cell", "300", "--protocol", "arbitrary", "--held-out"];
    run(&large).fails(1, &["300 map pixels do not fit", "200 map pixels tall", "smaller cells"]);
    eval(&model, &["--protocol", "dense", "--held-out"]).fails(1, &["--held-out", "aligned or arbitrary"]);
    eval(&w.model, &["--protocol", "arbitrary", "--held-out"]).fails(1, &["held_out above 0"]);
    let other = dir.join("other");
    run(&["synth", "--out", text(&other), "--size", &SIZE.to_string(), "--seed", "4"]).ok();
    let (map, sar) = (other.join("optical.tif"), other.join("sar.tif"));
    let elsewhere = ["eval", "--map", text(&map), "--sar", text(&sar), "--model", text(&model), "--cell", CELL];
    run(&[&elsewhere[..], &["--protocol", "arbitrary", "--held-out"]].concat()).fails(1, &["none of them", "optical.tif"]);
}

#[test]
fn a_study_of_the_published_system_says_what_came_of_each_claim() {
    let (w, dir) = (&*WORLD, folder("study-cmpc"));
    let (config, out, page) = (dir.join("recipe.toml"), dir.join("studies"), dir.join("pictures.html"));
    std::fs::write(&config, RECIPE).unwrap();
    let (m, s) = (text(&w.map), text(&w.sar));
    let base = ["study", "cmpc", "--scene", m, s, "--val", m, s, "--out", text(&out)];
    run(&base).fails(1, &["--config FILE is missing", "studies/cmpc.toml"]);
    let go = |more: &[&str]| run(&[&base[..], &["--config", text(&config)], more].concat());
    go(&["--queries", "4"]).fails(1, &["--queries 4 are too few"]);
    let ways = ["--queries", "10", "--ways", "critic,critic-light,graph,joint,grid-slide,dense-structure", "--seeds", "1,2"];
    let first = go(&[&ways[..], &["--pictures", text(&page)]].concat()).ok().out;
    for way in ["base", "critic-light", "graph", "joint", "dense-structure"] {
        assert!(first.matches(&format!("| `{way}` | ")).count() >= 2, "{way}: {first}");
    }
    assert!(first.contains("raises R@1 of a triplet-trained pooled vector") && first.contains("`critic` less `base`"), "{first}");
    assert!(first.contains("found by the row") && !first.contains(text(&dir)), "{first}");
    assert_eq!(names(&out), ["cmpc-finds.svg", "cmpc-gap.svg", "cmpc-runs", "cmpc.json", "cmpc.md", "cmpc.svg"]);
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("Query ") && html.contains("critic-light") && html.contains("<svg"), "no rows");
    let again = go(&ways).ok();
    // All but the command line is as it was.
    let body = |text: &str| text.split_once("Adapter").unwrap().1.to_string();
    assert_eq!((body(&again.out), again.err.contains("step")), (body(&first), false));
    go(&[&ways[..], &["--pictures", text(&page), "--picture-queries", "11"]].concat()).fails(1, &["no query 11", "from 1 to 10"]);
    // A graph network whose outcome is gone is not taken for one of another encoder.
    let runs = out.join("cmpc-runs");
    std::fs::remove_file(runs.join("graph-1.json")).unwrap();
    std::fs::copy(runs.join("graph-2.safetensors"), runs.join("graph-1.safetensors")).unwrap();
    go(&ways).fails(1, &["graph-1.safetensors", "other settings"]);
    std::fs::write(&config, RECIPE.replace("steps = 1", "steps = 3")).unwrap();
    go(&ways).fails(1, &["base-1.json", "other settings"]);
}

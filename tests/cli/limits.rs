//! Numbers that would take for ever, or more room than there is: refused by name before the work starts.

use super::*;

#[test]
fn numbers_beyond_reason_are_refused_by_name() {
    let (w, dir) = (&*WORLD, folder("limits"));
    let (m, s, model, o) = (text(&w.map), text(&w.sar), text(&w.model), dir.join("x.db"));
    let index = ["index", "--method", "index", "--map", m, "--model", model, "--out", text(&o)];
    let eval = ["eval", "--map", m, "--sar", s, "--model", model];
    for (base, option, value, words) in [
        (&index[..], "--cell", "1", "8..=65536"),
        (&index, "--views", "98", "an odd number from 1 to 255"),
        (&index, "--views", "999", "an odd number from 1 to 255"),
        (&eval, "--queries", "100000000000", "1..=1000000"),
        (&eval, "--queries", "0", "1..=1000000"),
    ] {
        let more: &[&str] = if base[0] == "eval" { &["--protocol", "dense"] } else { &[] };
        run(&[base, more, &[option, value]].concat()).fails(2, &[option, words]);
    }
    // Each number may be right; together they are not.
    let rows = run(&[&index[..], &["--cell", "8", "--stride", "1", "--views", "255"]].concat());
    rows.fails(1, &["--cell 8, --stride 1 and --views 255 make", "more than a database counts", "take a larger --stride"]);
    let config = dir.join("long.toml");
    for (from, to, words) in [("steps = 1\n", "steps = 1000000000000\n", "steps"), ("batch = 4\n", "batch = 1000000\n", "batch")] {
        let settings = settings(3, 1, 1);
        assert!(settings.contains(from));
        std::fs::write(&config, settings.replace(from, to)).unwrap();
        let done = run(&["train", "--scene", m, s, "--val", m, s, "--config", text(&config), "--out", text(&dir.join("model"))]);
        assert!(done.code == Some(1) && done.err.contains(words), "{done:?}");
    }
    assert_eq!(names(&dir), ["long.toml"]);
}

#[test]
fn many_patches_are_said_to_be_many() {
    let done = locate(&WORLD.sar, &folder("many").join("fixes"), &["--step", "4"]);
    assert!(done.code == Some(0) && done.err.contains("a larger --step takes fewer"), "{done:?}");
}

//! Where outputs go that are no regular files, and what commands say of such as cannot be written.

use super::*;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::thread::JoinHandle;

/// A pipe with a name, and who reads it to its end.
fn pipe(path: &Path) -> JoinHandle<Vec<u8>> {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let path = path.to_path_buf();
    std::thread::spawn(move || std::fs::read(path).unwrap())
}

fn is_pipe(path: &Path) -> bool {
    std::fs::symlink_metadata(path).unwrap().file_type().is_fifo()
}

#[test]
fn pipes_and_devices_are_written_to_and_links_stay() {
    let (w, dir) = (&*WORLD, folder("through"));
    let (fixes, table, page) = (dir.join("fixes"), dir.join("table"), dir.join("page.html"));
    let (read_fixes, real) = (pipe(&fixes), dir.join("real.csv"));
    symlink("real.csv", &table).unwrap();
    locate(&w.sar, &fixes, &["--csv", text(&table), "--report", text(&page)]).ok();
    let told: serde_json::Value = serde_json::from_slice(&read_fixes.join().unwrap()).unwrap();
    let count = told["features"].as_array().unwrap().len();
    assert!(count > 0 && is_pipe(&fixes) && table.is_symlink());
    // The image has a row as well, which the table leaves out.
    assert_eq!(super::table(&real).len() + 1, count);
    assert_eq!(names(&dir), ["fixes", "page.html", "real.csv", "table"]);

    // A database, which is read again by the command that writes it.
    let db = dir.join("db");
    let read_db = pipe(&db);
    let done = index(&w.map, &db).ok();
    let bytes = read_db.join().unwrap();
    assert!(is_pipe(&db) && bytes == std::fs::read(&w.db).unwrap(), "{done:?}");
    run(&["index", "--map", text(&w.map), "--out", text(&db)]).fails(1, &["is no regular file"]);

    // Only now that pipes are known to stay.
    let null = Path::new("/dev/null");
    locate(&w.sar, null, &[]).ok();
    assert!(std::fs::symlink_metadata(null).unwrap().file_type().is_char_device());
}

#[test]
fn standard_output_is_the_output_alone() {
    let (w, dir) = (&*WORLD, folder("dash"));
    for (out, more) in [("-", &[][..]), ("/dev/stdout", &[])] {
        let done = locate(&w.sar, Path::new(out), more).ok();
        let fixes: serde_json::Value = serde_json::from_str(&done.out).unwrap_or_else(|e| panic!("{e}: {done:?}"));
        assert!(!fixes["features"].as_array().unwrap().is_empty() && done.err.contains("patches looked up"), "{done:?}");
    }
    let done = locate(&w.sar, &dir.join("fixes"), &["--csv", "-"]).ok();
    assert!(done.out.starts_with("file,") && !done.out.contains("wrote"), "{done:?}");
    locate(&w.sar, Path::new("-"), &["--json"]).fails(1, &["`-` and --json both go to standard output"]);
    locate(&w.sar, Path::new("-"), &["--report", "/dev/stdout"]).fails(1, &["another output goes to standard output"]);
    index(&w.map, Path::new("-")).fails(1, &["-: standard output takes text alone", "./-"]);
    assert!(!Path::new("-").exists());
}

#[test]
fn what_cannot_be_written_is_said_as_it_is() {
    let (w, dir) = (&*WORLD, folder("unwritable"));
    if cfg!(target_os = "linux") {
        let done = index(&w.map, Path::new("/proc/x.db"));
        done.fails(1, &["/proc/x.db", "No such file or directory", "takes no new files"]);
        assert!(!done.err.contains("create the folder"), "{done:?}");
    }
    index(&w.map, &dir.join("no/x.db")).fails(1, &["create the folder", "unwritable/no first"]);
    index(&w.map, &dir).fails(1, &["it is a folder"]);
}

#[test]
fn shells_and_man_are_told_of_all_commands() {
    let dir = folder("manual");
    let bash = run(&["completions", "bash"]).ok().out;
    assert!(bash.contains("echogrid__subcmd__locate") || bash.contains("locate"), "{bash}");
    run(&["completions", "cmd.exe"]).fails(2, &["possible values"]);
    let page = run(&["man"]).ok().out;
    assert!(page.contains(".TH echogrid 1") && page.contains("130"), "{page}");
    let pages = dir.join("man1");
    run(&["man", "--out", text(&pages)]).ok();
    let names = names(&pages);
    assert!(["echogrid.1", "echogrid-locate.1", "echogrid-study-refine.1"].iter().all(|n| names.contains(&n.to_string())), "{names:?}");
}

#[test]
fn an_input_is_never_overwritten_and_one_file_is_no_two_outputs() {
    let (w, dir) = (&*WORLD, folder("inputs"));
    let (sar, map, out) = (dir.join("sar.tif"), dir.join("map.tif"), dir.join("out.csv"));
    std::fs::copy(&w.sar, &sar).unwrap();
    std::fs::copy(&w.map, &map).unwrap();
    symlink("sar.tif", dir.join("link.tif")).unwrap();
    locate(&sar, &sar, &[]).fails(1, &["an output has the name of an input"]);
    locate(&dir.join("link.tif"), &out, &["--csv", text(&sar)]).fails(1, &["an output has the name of an input"]);
    locate(&dir, &out, &["--report", text(&sar)]).fails(2, &["--report", "ends in .html"]);
    let again = format!("{}/./out.csv", text(&dir));
    locate(&sar, &out, &["--csv", &again]).fails(1, &["two outputs have the same name"]);
    index(&map, &map).fails(1, &["an output has the name of an input"]);
    let (m, s) = (text(&map), text(&sar));
    run(&["eval", "--map", m, "--sar", s, "--protocol", "aligned", "--report", s]).fails(2, &["--report", "ends in .html"]);
    for command in [
        &["gap", "--map", m, "--sar", s, "--figure", m][..],
        &["calibrate", "--map", m, "--sar", s, "--absent", m, s, "--out", s],
        &["train", "--scene", m, s, "--val", m, s, "--out", m],
    ] {
        run(command).fails(1, &["an output has the name of an input"]);
    }
    assert_eq!(std::fs::read(&sar).unwrap(), std::fs::read(&w.sar).unwrap());
    assert_eq!(std::fs::read(&map).unwrap(), std::fs::read(&w.map).unwrap());
    let points = [dir.join("p.tif"), dir.join("p.tfw")];
    let register = ["register", "--map", text(&map), "--sar", text(&sar), "--out", text(&out)];
    run(&[&register[..6], &["out.tif", "--points", text(&points[0]), "--points", text(&points[1])]].concat())
        .fails(1, &["p.tfw would be taken for the place of"]);
    run(&[&register[..6], &["out.tif", "--dem", "none.tif"]].concat()).fails(1, &["none.tif"]);
}

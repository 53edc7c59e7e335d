//! The order of the house, read from its sources: rooms (the folders and files directly in `src`) do not know each other in circles, nor do
//! the files of `src/cli` and of `src/index`, and no file of the command line grows beyond 200 lines.
//!
//! What counts is what the program itself imports, by `use` or by a path in an expression that begins with `crate::` or `super::`; tests may
//! look wherever they like.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Most lines of a file of the command line.
const CLI_LINES: usize = 200;

/// Who knows whom: for each pair the first place that says so.
type Edges = BTreeMap<(String, String), String>;

/// A file of `src`: where it lies, its modules from the crate's root on, and its text without comments and tests.
struct Source {
    path: PathBuf,
    module: Vec<String>,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All sources below `src` but for files and folders of tests.
fn sources(src: &Path) -> Vec<Source> {
    let (mut all, mut folders) = (Vec::new(), vec![src.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            if stem == "tests" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let inside = path.strip_prefix(src).unwrap().with_extension("");
                let mut module: Vec<String> = inside.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
                if stem == "mod" {
                    module.pop();
                }
                let text = program(&std::fs::read_to_string(&path).unwrap());
                all.push(Source { path, module, text });
            }
        }
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

/// A file's text without comments and without what is compiled for tests alone; its lines keep their numbers.
fn program(text: &str) -> String {
    let (mut kept, mut lines) = (String::new(), text.lines());
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("#[cfg(test)]") || trimmed.starts_with("#[cfg(all(test") {
            // To the end of the item: rustfmt closes it at the attribute's own indentation.
            let indent = &line[..line.len() - trimmed.len()];
            kept.push('\n');
            for line in lines.by_ref() {
                kept.push('\n');
                if line.starts_with(&format!("{indent}}}"))
                    || line.starts_with(indent) && line.ends_with(';') && !line[indent.len()..].starts_with(' ')
                {
                    break;
                }
            }
            continue;
        }
        let code = if trimmed.starts_with("//") { "" } else { line.split(" // ").next().unwrap_or_default() };
        kept.push_str(code);
        kept.push('\n');
    }
    kept
}

/// Every path of a text that begins with `crate::` or `super::`, with its line; trees of a `use` are taken apart.
fn paths(text: &str) -> Vec<(Vec<String>, usize)> {
    let mut found = Vec::new();
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == ':';
    for start in ["crate::", "super::"].iter().flat_map(|s| text.match_indices(s)).map(|(at, _)| at) {
        // `super::super::x` is one path, and `$crate::x` is whoever expands the macro's.
        if text[..start].chars().next_back().is_some_and(word) {
            continue;
        }
        // A visibility, `pub(in crate::x)`, knows nobody.
        if text[..start].ends_with("pub(in ") {
            continue;
        }
        let line = 1 + text[..start].matches('\n').count();
        let mut rest = &text[start..];
        tree(&mut rest, &[], &mut |path| found.push((path, line)));
    }
    found
}

/// Reads one path or tree of paths from the front of `rest`.
fn tree(rest: &mut &str, before: &[String], found: &mut dyn FnMut(Vec<String>)) {
    let mut path = before.to_vec();
    loop {
        *rest = rest.trim_start();
        if let Some(inside) = rest.strip_prefix('{') {
            *rest = inside;
            loop {
                *rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
                if rest.is_empty() {
                    return;
                }
                if let Some(behind) = rest.strip_prefix('}') {
                    *rest = behind;
                    return;
                }
                tree(rest, &path, found);
            }
        }
        let end =
            rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(rest.len()).max(usize::from(!rest.is_empty()));
        path.push(rest[..end].to_string());
        *rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(behind) if !behind.starts_with('<') => *rest = behind,
            _ => break,
        }
    }
    // A renamed import: `as Other`.
    if let Some(name) = rest.trim_start().strip_prefix("as ") {
        *rest = name.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
    }
    found(path);
}

/// The path from the crate's root.
fn absolute(module: &[String], path: &[String]) -> Vec<String> {
    let ups = path.iter().take_while(|p| *p == "super").count();
    let base = if ups > 0 { &module[..module.len().saturating_sub(ups)] } else { &[] };
    let own = path.iter().skip(ups.max(1));
    base.iter().chain(own).cloned().collect()
}

fn place(source: &Source, line: usize) -> String {
    format!("{}:{line}", source.path.display())
}

/// What each room knows. Names at the crate's root that are no rooms count for the room they come from.
fn rooms(src: &Path) -> Edges {
    let all = sources(src);
    let rooms: BTreeSet<&String> = all.iter().map(|s| &s.module[0]).filter(|m| !["lib", "main"].contains(&m.as_str())).collect();
    let mut home: BTreeMap<String, String> = rooms.iter().map(|r| (r.to_string(), r.to_string())).collect();
    for source in &all {
        for (at, _) in source.text.match_indices("macro_rules! ") {
            let name: String = source.text[at + 13..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            home.entry(name).or_insert_with(|| source.module[0].clone());
        }
        for part in source.text.split("pub use ").skip(1).filter(|_| source.module == ["lib"]) {
            let mut rest = part;
            tree(&mut rest, &[], &mut |path| {
                home.insert(path.last().unwrap().clone(), path[0].clone());
            });
        }
    }
    let mut edges = Edges::new();
    for source in all.iter().filter(|s| rooms.contains(&s.module[0])) {
        for (path, line) in paths(&source.text) {
            let path = absolute(&source.module, &path);
            let Some(first) = path.first().filter(|p| *p != "*") else { continue };
            let to = home.get(first).unwrap_or_else(|| panic!("{}: whose is `{first}`?", place(source, line)));
            if *to != source.module[0] {
                edges.entry((source.module[0].clone(), to.clone())).or_insert_with(|| place(source, line));
            }
        }
    }
    edges
}

/// What each file of a room knows of the others. A `mod.rs` knows the files it is made of, so they know nothing of it.
fn files(src: &Path, room: &str) -> Edges {
    let all: Vec<Source> = sources(src).into_iter().filter(|s| s.module[0] == room).collect();
    let modules: BTreeSet<&Vec<String>> = all.iter().map(|s| &s.module).collect();
    let mut edges = Edges::new();
    for source in &all {
        let declared = source.text.lines().enumerate().filter_map(|(i, l)| {
            let name = l.split_once("mod ").filter(|(before, _)| before.is_empty() || before.starts_with("pub"))?.1.strip_suffix(';')?;
            Some((source.module.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>(), i + 1))
        });
        let named = paths(&source.text).into_iter().map(|(path, line)| (absolute(&source.module, &path), line));
        for (path, line) in declared.chain(named) {
            let known = (1..=path.len()).rev().map(|n| path[..n].to_vec()).find(|p| modules.contains(p));
            if let Some(known) = known.filter(|k| *k != source.module) {
                edges.entry((source.module.join("::"), known.join("::"))).or_insert_with(|| place(source, line));
            }
        }
    }
    edges
}

/// The edges that lie on a circle.
fn circles(edges: &Edges) -> Vec<String> {
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(at) = next.pop() {
            for ((_, b), _) in edges.iter().filter(|((a, _), _)| a == at) {
                if b == to {
                    return true;
                }
                if seen.insert(b) {
                    next.push(b);
                }
            }
        }
        false
    };
    edges.iter().filter(|((a, b), _)| reaches(b, a)).map(|((a, b), place)| format!("{a} -> {b} ({place})")).collect()
}

fn no_circle(what: &str, edges: &Edges) {
    let found = circles(edges);
    assert!(found.is_empty(), "{what} know each other in circles:\n  {}", found.join("\n  "));
}

#[test]
fn rooms_know_each_other_in_one_direction() {
    let edges = rooms(&root());
    // What no house of ours is without: else nothing was read.
    assert!(edges.contains_key(&("kernels".into(), "gpu".into())) && edges.contains_key(&("nn".into(), "kernels".into())));
    no_circle("rooms", &edges);
}

#[test]
fn files_of_the_command_line_know_each_other_in_one_direction() {
    no_circle("files of src/cli", &files(&root(), "cli"));
}

#[test]
fn files_of_the_index_know_each_other_in_one_direction() {
    let edges = files(&root(), "index");
    assert!(edges.contains_key(&("index::search".into(), "index::store".into())));
    no_circle("files of src/index", &edges);
}

#[test]
fn no_document_holds_two_versions_of_itself() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let texts = std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "md"));
    for path in texts {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.lines().any(|l| l.starts_with("<<<<<<< ") || l.starts_with(">>>>>>> ")), "{} was merged by half", path.display());
    }
}

#[test]
fn files_of_the_command_line_are_short() {
    let long: Vec<String> = sources(&root())
        .iter()
        .filter(|s| s.module[0] == "cli")
        .map(|s| (s, std::fs::read_to_string(&s.path).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > CLI_LINES)
        .map(|(s, lines)| format!("{} has {lines} lines", s.path.display()))
        .collect();
    assert!(long.is_empty(), "files of the command line parse, call and show, in {CLI_LINES} lines at most:\n  {}", long.join("\n  "));
}

#[test]
fn planted_circles_are_found_and_tests_may_look_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("lib.rs", "mod a;\nmod b;\nmod error;\npub use error::{Error, Result};\n");
    write("error.rs", "pub struct Error;\npub type Result<T> = std::result::Result<T, Error>;\n");
    write("a/mod.rs", "mod one;\nmod two;\npub use one::One;\n");
    write("a/one.rs", "use crate::{\n    Error, Result,\n};\nuse super::two::Two;\npub struct One;\n");
    write("a/two.rs", "pub struct Two;\n#[cfg(test)]\nmod tests {\n    use super::super::one::One;\n    use crate::b::B;\n}\n");
    write("b.rs", "// crate::nowhere\nuse crate::a::One as Other;\npub struct B;\n#[cfg(test)]\nmod tests;\n");
    assert_eq!(circles(&rooms(dir.path())), Vec::<String>::new());
    assert_eq!(circles(&files(dir.path(), "a")), Vec::<String>::new());
    assert!(rooms(dir.path()).contains_key(&("a".into(), "error".into())));

    write("a/two.rs", "pub struct Two;\nfn f() {\n    let _ = crate::b::B;\n    let _: super::One;\n}\n");
    let found = circles(&rooms(dir.path()));
    assert!(found.len() == 2 && found[0].starts_with("a -> b (") && found[0].ends_with("two.rs:3)"), "{found:?}");
    // By what the folder's `mod.rs` hands on: two -> mod -> one -> two.
    let found = circles(&files(dir.path(), "a"));
    assert!(found.iter().any(|e| e.starts_with("a::two -> a (")) && found.len() == 4, "{found:?}");
}

//! The images that a command line names.

use crate::scene::expand_paths;
use crate::{Error, Result};
use std::collections::HashSet;
use std::io::Read;
use std::path::PathBuf;

/// The images that some arguments name: files, folders of them, patterns, lists, and standard input (`-`, a path a line); each once. `option` is where they are named.
pub(super) fn images(arguments: &[PathBuf], option: &str) -> Result<Vec<PathBuf>> {
    let mut named: Vec<PathBuf> = Vec::new();
    for argument in arguments {
        let text = argument.to_string_lossy();
        if text == "-" {
            let mut lines = String::new();
            std::io::stdin().read_to_string(&mut lines).map_err(|e| Error::file("-", format!("standard input cannot be read ({e})")))?;
            named.extend(lines.lines().map(str::trim).filter(|l| !l.is_empty()).map(PathBuf::from));
        } else if text.contains(['*', '?', '[']) && !argument.exists() {
            let bad = |e: &dyn std::fmt::Display| Error::invalid(format!("{text}: is no pattern of file names ({e})"));
            let found: std::result::Result<Vec<PathBuf>, _> = glob::glob(&text).map_err(|e| bad(&e))?.collect();
            let found = found.map_err(|e| bad(&e))?;
            if found.is_empty() {
                return Err(Error::invalid(format!("{text}: no file has such a name")));
            }
            named.extend(found);
        } else {
            named.push(argument.clone());
        }
    }
    let mut all = expand_paths(&named)?;
    let mut seen = HashSet::new();
    all.retain(|path| seen.insert(path.clone()));
    if all.is_empty() {
        return Err(Error::invalid(format!("no image is named: give files, folders, patterns or lists with {option}")));
    }
    Ok(all)
}

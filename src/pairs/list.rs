//! Pairs in a table.

use std::path::{Path, PathBuf};

use super::set::Named;
use crate::{Error, Result};

/// What the columns may be called.
const SAR: [&str; 3] = ["sar", "sar_path", "radar"];
const OPTICAL: [&str; 4] = ["optical", "opt", "optical_path", "map"];

/// The pairs that a table of comma-separated values names: columns `sar` and `optical`, files relative to the table's own folder, and, where they are
/// there, `name` (else the SAR file's) and `split`.
pub(super) fn list(path: &Path) -> Result<Vec<Named>> {
    let wrong = |reason: String| Error::file(path, reason);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(|e| match e.into_kind() {
        csv::ErrorKind::Io(e) => Error::io(path, format!("cannot be read ({e})"), e),
        other => wrong(format!("cannot be read ({other:?})")),
    })?;
    let head: Vec<String> =
        reader.headers().map_err(|e| wrong(e.to_string()))?.iter().map(|h| h.trim_start_matches('\u{feff}').to_ascii_lowercase()).collect();
    let column = |names: &[&str]| names.iter().find_map(|n| head.iter().position(|h| h == n));
    let needed = |names: &[&str]| {
        column(names).ok_or_else(|| {
            wrong(format!("its first line names no column `{}`: it must be `sar,optical`, and may also name `name` and `split`", names[0]))
        })
    };
    let (sar, optical, name, split) = (needed(&SAR)?, needed(&OPTICAL)?, column(&["name"]), column(&["split"]));
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut pairs = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|e| wrong(e.to_string()))?;
        let line = row.position().map_or(0, csv::Position::line);
        let file = |at: usize, what: &str| match row.get(at) {
            Some(text) if !text.is_empty() => Ok(folder.join(text)),
            _ => Err(wrong(format!("line {line} names no {what} image"))),
        };
        let text = |at: Option<usize>| at.and_then(|at| row.get(at)).filter(|t| !t.is_empty()).map(String::from);
        let (sar, optical): (PathBuf, PathBuf) = (file(sar, "SAR")?, file(optical, "optical")?);
        let name = text(name).unwrap_or_else(|| sar.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        pairs.push(Named { name, sar, optical, split: text(split) });
    }
    if pairs.is_empty() {
        return Err(wrong("names no pair behind its first line".into()));
    }
    Ok(pairs)
}

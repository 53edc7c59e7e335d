//! Pairs in folders: images of equal names, in the order in which people count.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::fault::Fault;
use super::set::Named;
use crate::scene::expand_paths;
use crate::{Error, Result};

/// A name in natural order: runs of digits compare as numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Natural(String);

/// The first run of digits or of other characters, and what is behind it.
fn run(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    text.split_at(text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len()))
}

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut a, mut b) = (&self.0[..], &other.0[..]);
        while !a.is_empty() && !b.is_empty() {
            let ((x, behind), (y, after)) = (run(a), run(b));
            let number = |t: &str| t.starts_with(|c: char| c.is_ascii_digit());
            let order = if number(x) && number(y) {
                let (x, y) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
                x.len().cmp(&y.len()).then_with(|| x.cmp(y))
            } else {
                x.cmp(y)
            };
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (behind, after);
        }
        // Names that differ in leading zeros alone are two all the same.
        a.len().cmp(&b.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The ends by which the images of one folder are told apart.
const SAR_ENDS: [&str; 1] = ["_sar"];
const OPTICAL_ENDS: [&str; 2] = ["_opt", "_optical"];

/// The images of a folder by their names without the format's end, and of `ends`, where there are any, only those that have one, without it.
fn named(folder: &Path, ends: &[&str], faults: &mut Vec<Fault>) -> Result<BTreeMap<Natural, PathBuf>> {
    if !folder.is_dir() {
        return Err(Error::file(folder, "is no folder; --pairs takes two folders of equal-named images, --pairs-list a table of files"));
    }
    let mut all = BTreeMap::new();
    for path in expand_paths(&[folder.into()])? {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = match ends {
            [] => stem,
            _ => {
                let Some(name) = ends.iter().find_map(|e| stem.strip_suffix(e)) else { continue };
                name.to_string()
            }
        };
        match all.entry(Natural(name)) {
            std::collections::btree_map::Entry::Occupied(there) => faults.push(Fault::Twice(PathBuf::clone(there.get()), path)),
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(path);
            }
        }
    }
    Ok(all)
}

/// The pairs of two folders, in natural order of their names, and images without a partner.
pub(super) fn folders(sar: &Path, optical: &Path) -> Result<(Vec<Named>, Vec<Fault>)> {
    let one = sar == optical || matches!((sar.canonicalize(), optical.canonicalize()), (Ok(a), Ok(b)) if a == b);
    let ends: [&[&str]; 2] = if one { [&SAR_ENDS, &OPTICAL_ENDS] } else { [&[], &[]] };
    let mut faults = Vec::new();
    let sars = named(sar, ends[0], &mut faults)?;
    let mut opticals = named(optical, ends[1], &mut faults)?;
    let mut pairs = Vec::new();
    for (name, path) in sars {
        match opticals.remove(&name) {
            Some(other) => pairs.push(Named { name: name.0, sar: path, optical: other, split: None }),
            None => faults.push(Fault::NoPartner { path, sought: optical.into() }),
        }
    }
    faults.extend(opticals.into_values().map(|path| Fault::NoPartner { path, sought: sar.into() }));
    if pairs.is_empty() {
        let how = if one { "images N_sar and N_opt" } else { "images of equal names" };
        return Err(Error::file(sar, format!("holds no pair with {}: two folders hold {how}, in .tif, .png or .jpg", optical.display())));
    }
    Ok((pairs, faults))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_in_the_order_in_which_people_count() {
        let mut names: Vec<Natural> = ["10", "9", "2", "02", "a10b", "a9b", "a9", "b1", "100"].map(|n| Natural(n.into())).into();
        names.sort();
        let got: Vec<&str> = names.iter().map(|n| &n.0[..]).collect();
        assert_eq!(got, ["02", "2", "9", "10", "100", "a9", "a9b", "a10b", "b1"]);
    }
}

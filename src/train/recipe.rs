//! Settings of a whole system in one file: an encoder's and those of the graph network behind it, at several scales.

use super::{RefineTrainConfig, TrainConfig};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use std::path::Path;
use toml::{Table, Value};

/// An encoder and the graph network behind it. As TOML: tables `train` ([`TrainConfig`]) and `refine` ([`RefineTrainConfig`]), and in `scale.NAME` tables of
/// the same names with what differs at that scale.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recipe {
    /// The encoder.
    pub train: TrainConfig,
    /// The graph network.
    pub refine: RefineTrainConfig,
}

/// The tables of a recipe.
const TABLES: [&str; 2] = ["train", "refine"];
/// A table that may stand beside them: of a matching model ([`super::MatchTrainConfig`]), which no scale changes.
const MATCH: &str = "match";
/// Where its scales are.
const SCALE: &str = "scale";

impl Recipe {
    /// Reads a recipe at a scale that it names, or as it stands.
    ///
    /// # Errors
    /// Not there, not TOML, no such scale, an unknown or senseless value; with the place.
    pub fn load(path: &Path, scale: Option<&str>) -> Result<Self> {
        let mut table: Table = toml::from_str(&text(path)?).map_err(|e| Error::file(path, e))?;
        known(path, "a recipe", &table, &[TABLES[0], TABLES[1], MATCH, SCALE])?;
        let scales = match table.remove(SCALE) {
            Some(Value::Table(scales)) => scales,
            Some(_) => return Err(Error::file(path, "`scale` is no table of scales")),
            None => Table::new(),
        };
        if let Some(name) = scale {
            let Some(Value::Table(changes)) = scales.get(name) else {
                let names = scales.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                return Err(Error::file(
                    path,
                    format!("has no scale `{name}`; it has: {}", if names.is_empty() { "none" } else { &names }),
                ));
            };
            known(path, &format!("the scale `{name}`"), changes, &TABLES)?;
            merge(&mut table, changes);
        }
        let graph = table.contains_key(TABLES[1]);
        let recipe = Self { train: part(path, &mut table, TABLES[0])?, refine: part(path, &mut table, TABLES[1])? };
        recipe.train.check().and_then(|()| recipe.refine.check()).map_err(|e| Error::file(path, e.to_string()))?;
        match (recipe.train.patch, recipe.refine.patch) {
            (own, graph_s) if graph && own != graph_s => {
                Err(Error::file(path, format!("train.patch is {own} and refine.patch {graph_s}: both are a cell's side")))
            }
            _ => Ok(recipe),
        }
    }
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::io(path, e.to_string(), e))
}

fn part<T: DeserializeOwned + Default>(path: &Path, table: &mut Table, name: &str) -> Result<T> {
    match table.remove(name) {
        Some(value) => value.try_into().map_err(|e| Error::file(path, format!("{name}: {e}"))),
        None => Ok(T::default()),
    }
}

/// Puts `changes` in place of what `table` says; tables are merged. A tagged value of another kind replaces the whole.
fn merge(table: &mut Table, changes: &Table) {
    for (key, value) in changes {
        match (table.get_mut(key), value) {
            (Some(Value::Table(own)), Value::Table(new)) if new.get("kind").is_none_or(|k| own.get("kind") == Some(k)) => merge(own, new),
            _ => drop(table.insert(key.clone(), value.clone())),
        }
    }
}

/// Settings of any kind from a TOML file: the whole of it, or where it is a recipe the part of that name.
pub(super) fn read_toml<T: DeserializeOwned + Default>(path: &Path, name: &str) -> Result<T> {
    let text = text(path)?;
    let plain = || toml::from_str(&text).map_err(|e| Error::file(path, e));
    let Ok(mut table) = toml::from_str::<Table>(&text) else { return plain() };
    if !TABLES.iter().chain([&MATCH]).any(|t| matches!(table.get(*t), Some(Value::Table(_)))) {
        return plain();
    }
    known(path, "a recipe", &table, &[TABLES[0], TABLES[1], MATCH, SCALE])?;
    match table.contains_key(name) {
        true => part(path, &mut table, name),
        false => Err(Error::file(path, format!("is a recipe that says nothing of `{name}`"))),
    }
}

/// Refuses what is unknown.
fn known(path: &Path, what: &str, table: &Table, names: &[&str]) -> Result<()> {
    match table.keys().find(|k| !names.contains(&k.as_str())) {
        Some(name) => Err(Error::file(path, format!("`{name}` is no part of {what}, which may have: {}", names.join(", ")))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Architecture;
    use crate::train::DenseTrainConfig;

    const TEXT: &str = r#"
        [train]
        batch = 24
        [train.encoder]
        input = 200
        sharing = "full"
        architecture = { kind = "resnet50" }
        head = { kind = "pooled", pool = "max", dim = 512 }
        [refine]
        refiner = { top = 10, layers = 4 }
        [scale.small.train]
        batch = 32
        encoder.input = 64
        encoder.architecture = { kind = "residual", stem = [8], stages = [] }
        [scale.small.refine]
        refiner.layers = 2
    "#;

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.toml");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_scale_changes_what_it_names() {
        let (_folder, path) = file(TEXT);
        let full = Recipe::load(&path, None).unwrap();
        assert_eq!((full.train.batch, full.train.encoder.input, full.refine.refiner.layers), (24, 200, 4));
        assert_eq!(full.train.encoder.architecture, Architecture::Resnet50);
        let small = Recipe::load(&path, Some("small")).unwrap();
        assert_eq!((small.train.batch, small.train.encoder.input, small.refine.refiner.layers), (32, 64, 2));
        assert_eq!(small.train.encoder.architecture, Architecture::Residual { stem: vec![8], stages: vec![] });
        // What the scale does not name stays.
        assert_eq!((small.train.encoder.head, small.refine.refiner.top), (full.train.encoder.head, 10));
        let e = Recipe::load(&path, Some("tiny")).unwrap_err().to_string();
        assert!(e.contains("no scale `tiny`") && e.contains("small"), "{e}");
        let (_folder, path) = file("[scale.small.trian]\nbatch = 3");
        let e = Recipe::load(&path, Some("small")).unwrap_err().to_string();
        assert!(e.contains("`trian` is no part of the scale `small`"), "{e}");
    }

    #[test]
    fn each_training_reads_its_part() {
        let (_folder, path) = file(TEXT);
        assert_eq!(TrainConfig::load(&path).unwrap().batch, 24);
        assert_eq!(RefineTrainConfig::load(&path).unwrap().refiner.layers, 4);
        assert!(DenseTrainConfig::load(&path).unwrap_err().to_string().contains("says nothing of `dense`"));
        let (_folder, path) = file("batch = 48");
        assert_eq!(TrainConfig::load(&path).unwrap().batch, 48);
    }

    #[test]
    fn what_is_unknown_is_named() {
        for (text, word) in [
            ("[train]\nbach = 3", "bach"),
            ("[trian]\nbatch = 3", "trian"),
            ("[train]\nbatch = 1", "batch"),
            ("train = ", "line 1"),
            ("scale = 3\n[train]", "no table"),
            ("[train]\npatch = 100\n[refine]\ntop = 3", "top"),
            ("[train]\npatch = 100\n[refine]\nstrip = 5", "refine.patch 200"),
        ] {
            let (_folder, path) = file(text);
            let e = Recipe::load(&path, None).unwrap_err().to_string();
            assert!(e.contains(word), "{e}");
        }
    }
}

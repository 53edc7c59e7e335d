//! Checkpoints: everything a run needs to go on with the same bits, in one file that is written whole or not at all.

use super::batch::Place;
use super::config::TrainConfig;
use crate::gpu::Engine;
use crate::nn::{Manifest, Optimizer, SceneRecord, WeightFile, Weights};
use crate::scene::ScenePair;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where a run stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Places of the remaining steps of this epoch, where they came from the embedding of its start.
    pub planned: Vec<Vec<Place>>,
    /// Validation figures so far.
    pub validation: Vec<serde_json::Value>,
}

/// The checkpoint beside a model.
pub fn checkpoint_path(model: &Path) -> PathBuf {
    let mut name = model.file_name().unwrap_or_default().to_os_string();
    name.push(".checkpoint");
    model.with_file_name(name)
}

/// Refuses to start anew over the checkpoint of an unfinished run.
///
/// # Errors
/// It is there.
pub fn refuse_unfinished(model: &Path) -> Result<()> {
    let file = checkpoint_path(model);
    if file.exists() {
        return Err(Error::file(file, "is the checkpoint of an unfinished run; go on with --resume, or delete it to start anew"));
    }
    Ok(())
}

/// What describes the training scenes in the manifest.
pub(super) fn scene_records(scenes: &[ScenePair]) -> Result<Vec<SceneRecord>> {
    let name = |p: &Path| {
        // The last folder tells scenes apart whose files are called the same.
        let parts: Vec<_> = p.components().rev().take(2).map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
        parts.into_iter().rev().collect::<Vec<_>>().join("/")
    };
    scenes
        .iter()
        .map(|s| {
            Ok(SceneRecord {
                map: name(s.map.raster.path()),
                sar: name(s.sar.raster.path()),
                map_sha256: s.map.raster.sha256()?,
                sar_sha256: s.sar.raster.sha256()?,
                map_standardisation: serde_json::to_value(&s.map.standardisation).unwrap_or_default(),
                sar_standardisation: serde_json::to_value(&s.sar.standardisation).unwrap_or_default(),
            })
        })
        .collect()
}

/// A manifest of a run.
pub(super) fn manifest(
    kind: &str,
    engine: &Engine,
    config: &TrainConfig,
    scenes: &[SceneRecord],
    patch_m: f64,
    progress: &Progress,
) -> Result<Manifest> {
    let mut training = json(config)?;
    if kind == "checkpoint" {
        training = serde_json::json!({ "config": training, "progress": json(progress)? });
    }
    Ok(Manifest {
        kind: kind.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        encoder: config.encoder.clone(),
        pixel_m: None,
        patch_m,
        training,
        seed: config.seed,
        step: progress.step as u64,
        scenes: scenes.to_vec(),
        adapter: engine.adapter().to_string(),
        validation: serde_json::Value::Array(progress.validation.clone()),
    })
}

fn json(value: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|e| Error::invalid(format!("cannot be written as JSON: {e}")))
}

/// Writes a checkpoint.
pub(super) fn save(path: &Path, manifest: Manifest, engine: &Engine, weights: &Weights, optimizer: &Optimizer) -> Result<()> {
    let mut tensors = weights.read(engine)?;
    tensors.extend(optimizer.read(engine)?);
    Ok(WeightFile { manifest, tensors }.save(path)?)
}

/// Restores a run.
pub(super) fn load(
    path: &Path,
    engine: &Engine,
    config: &TrainConfig,
    scenes: &[SceneRecord],
    weights: &Weights,
    optimizer: &Optimizer,
) -> Result<Progress> {
    let file = WeightFile::load(path)?;
    let bad = |reason: &str| Error::file(path, format!("{reason}; start anew without --resume, or give the options of the run it is from"));
    if file.manifest.kind != "checkpoint" {
        return Err(bad("is a model, not a checkpoint"));
    }
    let saved: TrainConfig = serde_json::from_value(file.manifest.training["config"].clone())
        .map_err(|e| bad(&format!("its configuration cannot be read ({e})")))?;
    if saved != *config {
        return Err(bad("is from a run with another configuration"));
    }
    let same = |a: &SceneRecord, b: &SceneRecord| a.map_sha256 == b.map_sha256 && a.sar_sha256 == b.sar_sha256;
    if file.manifest.scenes.len() != scenes.len() || !file.manifest.scenes.iter().zip(scenes).all(|(a, b)| same(a, b)) {
        return Err(bad("is from a run on other scenes"));
    }
    let progress =
        serde_json::from_value(file.manifest.training["progress"].clone()).map_err(|e| bad(&format!("its state cannot be read ({e})")))?;
    let count = weights.load(engine, &file.tensors)?;
    if count != weights.len() {
        return Err(bad("some weights are missing"));
    }
    optimizer.load(engine, &file.tensors)?;
    Ok(progress)
}

//! Checkpoints: everything a run needs to go on with the same bits, in one file that is written whole or not at all.

use super::learner::Learner;
use super::task::{Progress, Task};
use crate::container;
use crate::gpu::Engine;
use crate::nn::{Network, NetworkFile, NetworkManifest, SceneRecord};
use crate::scene::ScenePair;
use crate::{Error, Result};
use memmap2::Mmap;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The checkpoint beside a model.
pub fn checkpoint_path(model: &Path) -> PathBuf {
    let mut name = model.file_name().unwrap_or_default().to_os_string();
    name.push(".checkpoint");
    model.with_file_name(name)
}

/// Refuses to start anew over the checkpoint of an unfinished run that has done a step.
///
/// # Errors
/// It is there.
pub fn refuse_unfinished(model: &Path) -> Result<()> {
    let file = checkpoint_path(model);
    if file.exists() && steps_done(&file) != Some(0) {
        return Err(Error::file(file, "is the checkpoint of an unfinished run; go on with --resume, or delete it to start anew"));
    }
    Ok(())
}

/// Steps that a checkpoint says were done; none of a file that does not say it.
fn steps_done(file: &Path) -> Option<u64> {
    let file = std::fs::File::open(file).ok()?;
    // SAFETY: the file is only read; checkpoints are replaced, never cut short.
    let bytes = unsafe { Mmap::map(&file) }.ok()?;
    let manifest: serde_json::Value = serde_json::from_str(&container::manifest(&bytes).ok()??).ok()?;
    manifest["training"]["progress"]["step"].as_u64()
}

/// What describes scenes in a manifest.
///
/// # Errors
/// A file that cannot be read.
pub fn scene_records(scenes: &[ScenePair]) -> Result<Vec<SceneRecord>> {
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

/// What a file of a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Model,
    Checkpoint,
}

impl Kind {
    fn name<N: Network>(self) -> &'static str {
        N::KINDS[usize::from(self == Self::Checkpoint)]
    }
}

/// A manifest of a run.
pub(super) fn manifest<T: Task>(
    kind: Kind,
    engine: &Engine,
    task: &T,
    scenes: &[SceneRecord],
    progress: &Progress<T::State>,
) -> Result<NetworkManifest<T::Network>> {
    let mut training = json(task.config())?;
    if kind == Kind::Checkpoint {
        training = serde_json::json!({ "config": training, "progress": json(progress)? });
    }
    Ok(NetworkManifest {
        kind: kind.name::<T::Network>().into(),
        version: env!("CARGO_PKG_VERSION").into(),
        encoder: task.network().clone(),
        calibration: None,
        pixel_m: task.pixel_m(),
        refiner: None,
        refiner_training: None,
        encoder_training: None,
        init_hash: progress.init_hash.clone(),
        patch_m: task.patch_m(),
        training,
        seed: task.course().seed,
        step: progress.step as u64,
        scenes: scenes.to_vec(),
        adapter: engine.adapter().to_string(),
        validation: serde_json::Value::Array(progress.validation.clone()),
    })
}

pub(super) fn json(value: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|e| Error::invalid(format!("cannot be written as JSON: {e}")))
}

/// Writes a checkpoint.
pub(super) fn save<N: Network>(path: &Path, manifest: NetworkManifest<N>, engine: &Engine, learner: &Learner) -> Result<()> {
    Ok(NetworkFile { manifest, tensors: learner.read(engine)? }.save(path)?)
}

/// Restores a run.
pub(super) fn load<T: Task>(
    path: &Path,
    engine: &Engine,
    task: &T,
    scenes: &[SceneRecord],
    learner: &Learner,
) -> Result<Progress<T::State>> {
    if !path.exists() {
        let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(Error::io(path, "is not there, so there is no run to go on with; leave --resume out to start one", gone));
    }
    let file = NetworkFile::<T::Network>::load(path)?;
    let bad = |reason: &str| Error::file(path, format!("{reason}; start anew without --resume, or give the options of the run it is from"));
    if file.manifest.kind != Kind::Checkpoint.name::<T::Network>() {
        return Err(bad("is a model, not a checkpoint"));
    }
    let saved: T::Config = serde_json::from_value(file.manifest.training["config"].clone())
        .map_err(|e| bad(&format!("its configuration cannot be read ({e})")))?;
    let progress: Progress<T::State> =
        serde_json::from_value(file.manifest.training["progress"].clone()).map_err(|e| bad(&format!("its state cannot be read ({e})")))?;
    if !task.goes_on_from(&saved, progress.step) {
        return Err(bad("is from a run with another configuration"));
    }
    // Of the same files other bands may be read, or values taken for another unit.
    let read_alike =
        |a: &SceneRecord, b: &SceneRecord| a.map_standardisation == b.map_standardisation && a.sar_standardisation == b.sar_standardisation;
    let same = |a: &SceneRecord, b: &SceneRecord| a.map_sha256 == b.map_sha256 && a.sar_sha256 == b.sar_sha256 && read_alike(a, b);
    if file.manifest.scenes.len() != scenes.len() || !file.manifest.scenes.iter().zip(scenes).all(|(a, b)| same(a, b)) {
        return Err(bad("is from a run on other scenes, or on these as they were read then"));
    }
    learner.load(engine, &file.tensors).map_err(|e| bad(&e.to_string()))?;
    Ok(progress)
}

//! A matching model from its file.

use crate::gpu::{Engine, Precision};
use crate::index::Embedder;
use crate::nn::{BridgeFile, BridgeNetwork, Graph, Modality, Weights};
use crate::scene::Standardisation;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Below which distance two patches match: chosen on validation when a model was trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The distance.
    pub threshold: f64,
    /// Share of the validation's pairs and negatives that it told right.
    pub accuracy: f64,
    /// Patches of that validation's pairs.
    pub pairs: usize,
}

/// Where a model without a validated threshold draws the line: half way between what pairs and negatives are trained to.
const HALF: f64 = 0.5;

/// A network that matches patches, and where it came from.
#[derive(Debug, Clone)]
pub struct MatchModel {
    /// Manifest and parameters.
    pub file: BridgeFile,
    /// Its file.
    pub path: PathBuf,
}

impl MatchModel {
    /// Reads a model.
    ///
    /// # Errors
    /// No path, for no weights are shipped; a file that cannot be read or is of another kind. A checkpoint counts as the model it would become.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let path = path.ok_or_else(|| {
            Error::invalid(
                "this build carries no matching model; give one with --model, or train one (`echogrid train --match --pairs SAR OPT`)",
            )
        })?;
        let model = Self { file: BridgeFile::load(path)?, path: path.into() };
        match model.file.manifest.calibration.is_some() && model.threshold().is_none() {
            true => Err(Error::file(path, "has a threshold that cannot be read; train it with this version")),
            false => Ok(model),
        }
    }

    /// The network.
    pub fn network(&self) -> &BridgeNetwork {
        &self.file.manifest.encoder
    }

    /// The threshold chosen on validation; none of a checkpoint.
    pub fn threshold(&self) -> Option<Threshold> {
        self.file.manifest.calibration.as_ref().and_then(|v| serde_json::from_value(v.clone()).ok())
    }

    /// Below which distance patches match: the validated one, else 0.5.
    pub fn line(&self) -> f64 {
        self.threshold().map_or(HALF, |t| t.threshold)
    }

    /// How the optical and the SAR images that it was trained on were standardised.
    ///
    /// # Errors
    /// A manifest that does not say.
    pub fn standardisation(&self) -> Result<[Standardisation; 2]> {
        let unknown = || Error::file(&self.path, "does not say how the images that it was trained on were standardised");
        let first = self.file.manifest.scenes.first().ok_or_else(unknown)?;
        let read = |v: &serde_json::Value| serde_json::from_value(v.clone()).map_err(|_| unknown());
        Ok([read(&first.map_standardisation)?, read(&first.sar_standardisation)?])
    }

    /// Towers of both modalities on an engine, `batch` patches at once.
    ///
    /// # Errors
    /// Parameters that do not fit; device memory.
    pub fn embedder<'e>(&self, engine: &'e Engine, batch: usize, precision: Precision) -> Result<Embedder<'e>> {
        let config = &self.network().encoder;
        let mut graph = Graph::new();
        for modality in [Modality::Map, Modality::Sar] {
            let x = graph.input("patch", &[batch, config.input, config.input, 4]);
            config.tower(&mut graph, modality, x)?;
        }
        let weights = Weights::from_file(engine, &graph, &self.file, &self.path)?;
        Embedder::new(engine, config, &weights, batch, precision)
    }
}

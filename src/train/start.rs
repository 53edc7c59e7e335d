//! What a run's network starts from, where not from random values.

use crate::dense::DenseModel;
use crate::index::LoadedModel;
use crate::nn::{DenseEncoderConfig, EncoderConfig, Network, NetworkFile, TensorMap, WeightFile, import_torchvision};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What a run's network starts from; written as a path, or as `shipped`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PathBuf", into = "PathBuf")]
pub enum InitFrom {
    /// The weights that this build carries.
    Shipped,
    /// A model or a checkpoint of the same kind; for an encoder with a ResNet trunk also a safetensors file with torchvision's names
    /// ([`import_torchvision`]).
    File(PathBuf),
}

const SHIPPED: &str = "shipped";

impl From<PathBuf> for InitFrom {
    fn from(path: PathBuf) -> Self {
        if path == Path::new(SHIPPED) { Self::Shipped } else { Self::File(path) }
    }
}

impl From<InitFrom> for PathBuf {
    fn from(from: InitFrom) -> Self {
        match from {
            InitFrom::Shipped => SHIPPED.into(),
            InitFrom::File(path) => path,
        }
    }
}

impl FromStr for InitFrom {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(PathBuf::from(text).into())
    }
}

/// Parameters that a run starts with.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) tensors: TensorMap,
    /// [`NetworkFile::hash`] of the model they are from; none of a file of torchvision's.
    pub(super) hash: Option<String>,
}

impl InitFrom {
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Shipped => None,
            Self::File(path) => Some(path),
        }
    }

    /// The encoder to start from.
    ///
    /// # Errors
    /// A file that cannot be read, or is none of an encoder.
    pub fn encoder(&self) -> Result<LoadedModel> {
        LoadedModel::load(self.path())
    }

    /// The dense features to start from.
    ///
    /// # Errors
    /// A file that cannot be read, or is none of dense features.
    pub fn dense(&self) -> Result<DenseModel> {
        DenseModel::learned(self.path())
    }

    /// What an encoder of this configuration starts with.
    pub(super) fn encoder_start(&self, config: &EncoderConfig) -> Result<Start> {
        if let Self::File(path) = self
            && config.architecture.torchvision().is_some()
            && !WeightFile::is_own(path)?
        {
            return Ok(Start { tensors: import_torchvision(path, config)?, hash: None });
        }
        let model = self.encoder()?;
        start(&model.file, &model.path, config)
    }

    /// What dense features of this configuration start with.
    pub(super) fn dense_start(&self, config: &DenseEncoderConfig) -> Result<Start> {
        let model = self.dense()?;
        let file = model.file().ok_or_else(|| Error::invalid("plain structure has no weights to start from"))?;
        let path = self.path().unwrap_or(Path::new("(shipped)"));
        start(file, path, config)
    }
}

/// The network's own parameters out of a model's or a checkpoint's file.
fn start<N: Network>(file: &NetworkFile<N>, path: &Path, wanted: &N) -> Result<Start> {
    if file.manifest.encoder != *wanted {
        let own = toml::to_string(&BTreeMap::from([("encoder", &file.manifest.encoder)])).unwrap_or_default();
        let reason =
            format!("is of another network than the configuration's `encoder`; to start from it, the configuration must say\n\n{own}");
        return Err(Error::file(path, reason));
    }
    let tensors = file.network().map(|(name, value)| (name.clone(), value.clone())).collect();
    Ok(Start { tensors, hash: Some(file.hash()) })
}

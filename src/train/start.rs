//! What a run's network starts from, where not from random values.

use crate::container;
use crate::dense::DenseModel;
use crate::detect::Detector;
use crate::index::LoadedModel;
use crate::nn::{
    Architecture, BridgeFile, BridgeNetwork, DenseEncoderConfig, DenseFile, DetectorConfig, DetectorFile, EncoderConfig, Head, Network,
    NetworkFile, Pooling, Sharing, TensorMap, WeightFile, parse_torchvision,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What a run's network starts from; written as a path, or as `shipped`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PathBuf", into = "PathBuf")]
pub enum InitFrom {
    /// The weights that this build carries.
    Shipped,
    /// A model or a checkpoint of the same kind; for an encoder with a ResNet trunk also a safetensors file with torchvision's names
    /// ([`crate::nn::import_torchvision`]).
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

/// As an argument of a command line.
impl From<OsString> for InitFrom {
    fn from(text: OsString) -> Self {
        PathBuf::from(text).into()
    }
}

/// Parameters that a run starts with.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) tensors: TensorMap,
    /// [`NetworkFile::hash`] of the model they are from; none of a file of torchvision's.
    pub(super) hash: Option<String>,
    /// Why they are not all of that model.
    pub(super) trunk_alone: Option<String>,
}

impl InitFrom {
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Shipped => None,
            Self::File(path) => Some(path),
        }
    }

    /// The encoder to start from.
    pub(super) fn encoder(&self) -> Result<LoadedModel> {
        LoadedModel::load(self.path())
    }

    /// The dense features to start from.
    pub(super) fn dense(&self) -> Result<(DenseFile, PathBuf)> {
        DenseModel::file_of(self.path())
    }

    /// What an encoder of this configuration starts with.
    pub(super) fn encoder_start(&self, config: &EncoderConfig) -> Result<Start> {
        let Self::File(path) = self else {
            let model = self.encoder()?;
            return start(&model.file, &model.path, config);
        };
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e.to_string(), e))?;
        // Whatever is wrong with the file, the reader of models says it.
        if config.architecture.torchvision().is_some() && matches!(container::manifest(&bytes), Ok(None)) {
            return Ok(Start { tensors: parse_torchvision(path, &bytes, config)?, hash: None, trunk_alone: None });
        }
        start(&WeightFile::parse(path, &bytes)?, path, config)
    }

    /// What a matching model starts with, whatever the size of the patches that the other was trained on.
    pub(super) fn bridge_start(&self, wanted: &BridgeNetwork) -> Result<Start> {
        let Self::File(path) = self else {
            return Err(Error::invalid("init_from = \"shipped\": this build carries no matching model; name a file"));
        };
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e.to_string(), e))?;
        if wanted.encoder.architecture.torchvision().is_some() && matches!(container::manifest(&bytes), Ok(None)) {
            return Ok(Start { tensors: parse_torchvision(path, &bytes, &wanted.encoder)?, hash: None, trunk_alone: None });
        }
        let file = BridgeFile::parse(path, &bytes)?;
        match file.manifest.encoder.encoder == wanted.encoder {
            true => {
                let mut start = start_of(&file);
                // The run may have another loss, or none with a temperature.
                start.tensors.retain(|name, _| !name.starts_with("loss."));
                Ok(start)
            }
            false => Err(of_another(path, &file.manifest.encoder.encoder)),
        }
    }

    /// What a detector of this configuration starts with: all of a detector of the same configuration, or the trunk of another, of an encoder's or a matching model's SAR tower, or of
    /// torchvision's ResNet.
    pub(super) fn detector_start(&self, wanted: &DetectorConfig) -> Result<Start> {
        let Some(path) = self.path() else {
            let (file, path) = Detector::file_of(None)?;
            return of_detector(&path, &file, wanted);
        };
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e.to_string(), e))?;
        let tower = EncoderConfig::new(wanted.architecture.clone(), wanted.input, Sharing::Separate, Head::pooled(Pooling::Average, 8));
        if tower.architecture.torchvision().is_some() && matches!(container::manifest(&bytes), Ok(None)) {
            let tensors = trunk(parse_torchvision(path, &bytes, &tower)?, "sar");
            return Ok(Start { tensors, hash: None, trunk_alone: Some("it is a ResNet of torchvision's".into()) });
        }
        let kind = kind(&bytes);
        if <DetectorConfig as Network>::KINDS.contains(&kind.as_str()) {
            return of_detector(path, &DetectorFile::parse(path, &bytes)?, wanted);
        }
        if <BridgeNetwork as Network>::KINDS.contains(&kind.as_str()) {
            let file = BridgeFile::parse(path, &bytes)?;
            let encoder = &file.manifest.encoder.encoder;
            return of_trunk(path, &encoder.architecture, start_of(&file), sar_tower(path, encoder)?, wanted, "it is a matching model");
        }
        let file = WeightFile::parse(path, &bytes)?;
        let encoder = &file.manifest.encoder;
        of_trunk(path, &encoder.architecture, start_of(&file), sar_tower(path, encoder)?, wanted, "it is an encoder")
    }

    /// What the detector to start from is; nothing where that is none.
    pub(super) fn detector(&self) -> Result<Option<DetectorConfig>> {
        let Some(path) = self.path() else {
            return Ok(Some(Detector::file_of(None)?.0.manifest.encoder));
        };
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e.to_string(), e))?;
        match <DetectorConfig as Network>::KINDS.contains(&kind(&bytes).as_str()) {
            true => Ok(Some(DetectorFile::parse(path, &bytes)?.manifest.encoder)),
            false => Ok(None),
        }
    }

    /// What dense features of this configuration start with.
    pub(super) fn dense_start(&self, config: &DenseEncoderConfig) -> Result<Start> {
        let (file, path) = self.dense()?;
        start(&file, &path, config)
    }
}

/// The network's own parameters out of a model's or a checkpoint's file.
fn start<N: Network>(file: &NetworkFile<N>, path: &Path, wanted: &N) -> Result<Start> {
    match file.manifest.encoder == *wanted {
        true => Ok(start_of(file)),
        false => Err(of_another(path, &file.manifest.encoder)),
    }
}

fn start_of<N: Network>(file: &NetworkFile<N>) -> Start {
    let tensors = file.network().map(|(name, value)| (name.clone(), value.clone())).collect();
    Start { tensors, hash: Some(file.hash()), trunk_alone: None }
}

/// What the parameters of the tower that sees SAR are called after.
fn sar_tower(path: &Path, encoder: &EncoderConfig) -> Result<&'static str> {
    match encoder.sharing {
        Sharing::Separate => Ok("sar"),
        Sharing::Full => Ok("shared"),
        Sharing::Trunk => Err(Error::file(
            path,
            "has a first convolution of its own for SAR before what its towers share; take one of separate or of one shared tower",
        )),
    }
}

/// The parameters of a trunk alone, called as a detector's.
fn trunk(tensors: TensorMap, tower: &str) -> TensorMap {
    let of_trunk = |name: &str| ["conv", "bn", "layer"].iter().any(|p| name.starts_with(p));
    let own = |(name, value): (String, _)| {
        let rest = name.strip_prefix(tower)?.strip_prefix('.')?;
        of_trunk(rest).then(|| (format!("sar.{rest}"), value))
    };
    tensors.into_iter().filter_map(own).collect()
}

/// What a detector starts with from another: all of it, or its trunk.
fn of_detector(path: &Path, file: &DetectorFile, wanted: &DetectorConfig) -> Result<Start> {
    let own = &file.manifest.encoder;
    let others = others(own, wanted);
    match others.is_empty() {
        true => Ok(start_of(file)),
        false => of_trunk(path, &own.architecture, start_of(file), "sar", wanted, &format!("other {}", others.join(" and "))),
    }
}

/// What of two detectors differs that their parameters hang on, or what these mean.
fn others(own: &DetectorConfig, wanted: &DetectorConfig) -> Vec<&'static str> {
    let mut head = own.head.clone();
    head.set_anchors(wanted.head.anchors().to_vec());
    let differ = [
        (own.architecture != wanted.architecture, "trunk"),
        (own.input != wanted.input, "input"),
        (own.repeat_band != wanted.repeat_band, "bands"),
        (own.classes != wanted.classes, "classes"),
        (head != wanted.head, "head"),
        (head == wanted.head && own.head != wanted.head, "anchors"),
    ];
    differ.into_iter().filter(|d| d.0).map(|d| d.1).collect()
}

/// The same of a network with a trunk of this architecture, and why no more of it is taken.
fn of_trunk(path: &Path, own: &Architecture, start: Start, tower: &str, wanted: &DetectorConfig, why: &str) -> Result<Start> {
    match *own == wanted.architecture {
        true => Ok(Start { tensors: trunk(start.tensors, tower), hash: start.hash, trunk_alone: Some(why.into()) }),
        false => Err(differs(path, "detector.architecture", &BTreeMap::from([("detector", BTreeMap::from([("architecture", own)]))]))),
    }
}

/// What a file's manifest says that it is; nothing where there is none.
fn kind(bytes: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    let text = container::manifest(bytes).ok().flatten().unwrap_or_default();
    serde_json::from_str(&text).map_or_else(|_| String::new(), |k: Kind| k.kind)
}

fn of_another(path: &Path, encoder: &impl Serialize) -> Error {
    differs(path, "encoder", &BTreeMap::from([("encoder", encoder)]))
}

fn differs(path: &Path, field: &str, own: &impl Serialize) -> Error {
    let own = toml::to_string(own).unwrap_or_default();
    Error::file(
        path,
        format!("is of another network than the configuration's `{field}`; to start from it, the configuration must say\n\n{own}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Architecture, Head, Pooling};
    use safetensors::tensor::{Dtype, TensorView};

    /// A file of torchvision's is one for a ResNet alone, and one of ours is never taken for it.
    #[test]
    fn files_are_read_for_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let [own, other] = ["own", "other"].map(|n| folder.path().join(n));
        let shipped = InitFrom::Shipped.encoder().unwrap();
        shipped.file.save(&own).unwrap();
        let view = TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
        std::fs::write(&other, safetensors::serialize([("fc.bias", view)], None).unwrap()).unwrap();
        let compact = shipped.encoder().clone();
        let resnet = EncoderConfig { architecture: Architecture::Resnet18, head: Head::pooled(Pooling::Gem, 8), ..compact.clone() };
        let start = |path: &Path, config| InitFrom::File(path.into()).encoder_start(config);
        let says = |path: &Path, config, words: &str| {
            let text = start(path, config).unwrap_err().to_string();
            assert!(text.contains(words), "{text}");
        };
        let start = start(&own, &compact).unwrap();
        assert_eq!(start.hash, Some(shipped.hash));
        assert!(!start.tensors.is_empty() && !start.tensors.keys().any(|n| n.starts_with("graph.")), "the graph network is another's");
        says(&own, &resnet, "of another network");
        says(&other, &resnet, "`conv1.weight` is missing");
        says(&other, &compact, "no echogrid manifest");
        says(folder.path(), &compact, folder.path().to_str().unwrap());
    }
}

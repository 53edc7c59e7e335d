//! Parameters on the device, and the files that carry them with their manifest.

use super::bridge::BridgeNetwork;
use super::dense::DenseEncoderConfig;
use super::detector::DetectorConfig;
use super::encoder::EncoderConfig;
use super::graph::Graph;
use super::ops::{Init, ParamSpec};
use crate::atomic::{AtomicFile, advice};
use crate::container::{MANIFEST, manifest};
use crate::gpu::{Engine, Tensor};
use crate::random;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// What the names of parameters of a graph network behind an encoder begin with.
pub(crate) const GRAPH_PREFIX: &str = "graph.";

/// Result of reading and writing weights.
pub type Result<T, E = WeightsError> = std::result::Result<T, E>;

/// Extents and values by name.
pub type TensorMap = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// What can be wrong with a weights file.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file could not be opened, read or written.
    #[error("{path}: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words and what to do.
        reason: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Values that no file would be read back with.
    #[error("{path}: not written: `{name}` holds values that are not finite; lower the learning rate")]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The parameter.
        name: String,
    },
    /// The file is not what it should be.
    #[error("{path}: {reason}; give a file that `echogrid train` (a detector: `echogrid detect train`) of this version wrote")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of another project's weights is not what it should be.
    #[error("{path}: {reason}; give a safetensors file of torchvision's {wanted}")]
    Import {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// The network expected.
        wanted: &'static str,
    },
    /// The device refused.
    #[error(transparent)]
    Gpu(#[from] crate::gpu::Error),
}

/// A scene that a model was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SceneRecord {
    /// The map's file, with its last folder.
    pub map: String,
    /// The SAR image.
    pub sar: String,
    /// SHA-256 of the map's file, hexadecimal.
    pub map_sha256: String,
    /// SHA-256 of the SAR file.
    pub sar_sha256: String,
    /// Robust statistics used for the map's pixels.
    pub map_standardisation: serde_json::Value,
    /// Robust statistics used for the SAR pixels.
    pub sar_standardisation: serde_json::Value,
}

impl SceneRecord {
    /// Whether both are of the same files, whatever they are called.
    pub fn is(&self, other: &Self) -> bool {
        self.map_sha256 == other.map_sha256 && self.sar_sha256 == other.sar_sha256
    }
}

/// A kind of network that weights files carry.
pub trait Network: Clone + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned {
    /// What its models and its checkpoints are called in a manifest's `kind`.
    const KINDS: [&'static str; 2];
}

impl Network for EncoderConfig {
    const KINDS: [&'static str; 2] = ["model", "checkpoint"];
}

/// Every kind, and what it is for.
const ALL_KINDS: [([&str; 2], &str); 4] = [
    (<EncoderConfig as Network>::KINDS, "an encoder of patches, for an index"),
    (<DenseEncoderConfig as Network>::KINDS, "features for dense correlation (`echogrid train --dense`)"),
    (<BridgeNetwork as Network>::KINDS, "a network that matches patches (`echogrid train --match`)"),
    (<DetectorConfig as Network>::KINDS, "a detector of objects (`echogrid detect`)"),
];

/// The manifest of an encoder of patches.
pub type Manifest = NetworkManifest<EncoderConfig>;

/// The weights of an encoder of patches.
pub type WeightFile = NetworkFile<EncoderConfig>;

/// The weights of a network that matches patches.
pub type BridgeFile = NetworkFile<BridgeNetwork>;

/// The weights of features for dense correlation.
pub type DenseFile = NetworkFile<DenseEncoderConfig>;

/// The weights of a detector.
pub type DetectorFile = NetworkFile<DetectorConfig>;

/// What a model file says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "N: Network"))]
pub struct NetworkManifest<N> {
    /// Of [`Network::KINDS`].
    pub kind: String,
    /// Version of echogrid that wrote it.
    pub version: String,
    /// The network.
    pub encoder: N,
    /// What a correlation of these features is worth, or below which distance patches match; of features for dense correlation and of matching
    /// models alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<serde_json::Value>,
    /// Ground metres of a feature pixel; of features for dense correlation alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_m: Option<f64>,
    /// The graph network that refines the encoder's candidates, where the model carries one: its parameters' names start with `graph.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refiner: Option<serde_json::Value>,
    /// How that network was trained behind an encoder that was there before: the fields below, of its own run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refiner_training: Option<serde_json::Value>,
    /// The training configuration of the encoder that a graph network was trained on together with, whole, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder_training: Option<serde_json::Value>,
    /// [`NetworkFile::hash`] of the model that the run started from, where it started from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_hash: Option<String>,
    /// Ground size of a training patch along x, on the first scene, metres.
    pub patch_m: f64,
    /// The training configuration, whole.
    pub training: serde_json::Value,
    /// Seed of everything random.
    pub seed: u64,
    /// Steps done.
    pub step: u64,
    /// Training scenes.
    pub scenes: Vec<SceneRecord>,
    /// Adapter it was trained on.
    pub adapter: String,
    /// Validation figures as training printed them.
    pub validation: serde_json::Value,
}

/// Names, extents and values, and the manifest.
#[derive(Debug, Clone)]
pub struct NetworkFile<N> {
    /// The manifest.
    pub manifest: NetworkManifest<N>,
    /// Tensors by name.
    pub tensors: TensorMap,
}

impl<N> NetworkFile<N> {
    /// All parameters, as the model has them or that a checkpoint would become: a running mean goes before the weights themselves.
    pub fn parameters(&self) -> impl Iterator<Item = (&String, &(Vec<usize>, Vec<f32>))> {
        let own = self.tensors.iter().filter(|(name, _)| !name.starts_with("optimizer."));
        own.map(|(name, value)| (name, self.tensors.get(&mean_name(name)).unwrap_or(value)))
    }
}

impl<N: Network> NetworkFile<N> {
    /// Reads a file; values of 16 bits become f32.
    ///
    /// # Errors
    /// Not there, truncated, not safetensors, without a manifest, with non-finite values.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| WeightsError::Io { path: path.into(), reason: source.to_string(), source })?;
        Self::parse(path, &bytes)
    }

    /// Reads a file's bytes; `path` is for messages.
    ///
    /// # Errors
    /// As [`WeightFile::load`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let bad = |reason: String| WeightsError::Format { path: path.into(), reason };
        let text = manifest(bytes).map_err(|e| bad(format!("not a weights file, or cut short ({e})")))?;
        let text = &text.ok_or_else(|| bad("no echogrid manifest in it".into()))?;
        #[derive(Deserialize)]
        struct Kind {
            kind: String,
        }
        if let Ok(Kind { kind }) = serde_json::from_str(text)
            && let Some((_, what)) = ALL_KINDS.iter().find(|(kinds, _)| kinds.contains(&kind.as_str()) && *kinds != N::KINDS)
        {
            return Err(bad(format!("is a {kind}: {what}, where a {} is wanted", N::KINDS[0])));
        }
        let manifest: NetworkManifest<N> = serde_json::from_str(text).map_err(|e| bad(format!("its manifest cannot be read ({e})")))?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| bad(format!("not a weights file, or cut short ({e})")))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let values = floats(&view).ok_or_else(|| bad(format!("tensor `{name}` is {:?}, not F32, F16 or BF16", view.dtype())))?;
            if values.iter().any(|v| !v.is_finite()) {
                return Err(bad(format!("tensor `{name}` holds values that are not finite")));
            }
            tensors.insert(name.to_string(), (view.shape().to_vec(), values));
        }
        Ok(Self { manifest, tensors })
    }

    /// Writes the file whole or not at all: to a temporary one beside it, synced, then renamed.
    ///
    /// # Errors
    /// Unwritable folder, full disk.
    pub fn save(&self, path: &Path) -> Result<()> {
        let fail = |source: std::io::Error| WeightsError::Io {
            path: path.into(),
            reason: format!("cannot be written ({source}); {}", advice(path, &source)),
            source,
        };
        // A file that could not be read again must not take the place of one that can.
        if let Some((name, _)) = self.tensors.iter().find(|(_, (_, v))| v.iter().any(|x| !x.is_finite())) {
            return Err(WeightsError::NotFinite { path: path.into(), name: name.clone() });
        }
        let json = serde_json::to_string(&self.manifest).map_err(|e| fail(e.into()))?;
        let data: Vec<(&String, &Vec<usize>, &[u8])> =
            self.tensors.iter().map(|(n, (s, v))| (n, s, bytemuck::cast_slice(v.as_slice()))).collect();
        let views = data
            .iter()
            .map(|(n, s, d)| Ok((n.as_str(), TensorView::new(Dtype::F32, s.to_vec(), d).map_err(|e| fail(std::io::Error::other(e)))?)))
            .collect::<Result<Vec<_>>>()?;
        let bytes = safetensors::serialize(views, Some(HashMap::from([(MANIFEST.to_string(), json)])))
            .map_err(|e| fail(std::io::Error::other(e)))?;
        AtomicFile::write(path, &bytes).map_err(fail)
    }

    /// The network's own parameters: not those of the loss or of the graph network behind it.
    pub fn network(&self) -> impl Iterator<Item = (&String, &(Vec<usize>, Vec<f32>))> {
        let apart = |name: &str| ["loss.", GRAPH_PREFIX].iter().any(|p| name.starts_with(p));
        self.parameters().filter(move |(name, _)| !apart(name))
    }

    /// SHA-256 over the encoder's configuration and every parameter of the network (not of the optimiser, the loss or the graph network
    /// behind it), hexadecimal: what a database is tied to.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(serde_json::to_string(&self.manifest.encoder).expect("plain data"));
        if let Some(pixel_m) = self.manifest.pixel_m {
            hash.update(pixel_m.to_le_bytes());
        }
        for (name, (shape, values)) in self.network() {
            hash.update(format!("{name}{shape:?}"));
            hash.update(bytemuck::cast_slice::<f32, u8>(values));
        }
        hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// The parameters of a graph on a device.
#[derive(Debug)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// Start values from a seed: the same on any machine.
    ///
    /// # Errors
    /// Out of device memory.
    pub fn init(engine: &Engine, graph: &Graph, seed: u64) -> Result<Self> {
        Self::make(engine, graph, |name, spec| Ok(initial(name, spec, seed)))
    }

    /// From a file; every parameter of the graph must be there with its extents.
    ///
    /// # Errors
    /// A parameter is missing or has other extents.
    pub fn from_file<N>(engine: &Engine, graph: &Graph, file: &NetworkFile<N>, path: &Path) -> Result<Self> {
        let all: HashMap<&str, &(Vec<usize>, Vec<f32>)> = file.parameters().map(|(n, v)| (n.as_str(), v)).collect();
        Self::make(engine, graph, |name, spec| match all.get(name) {
            Some((shape, values)) if *shape == spec.shape => Ok(values.clone()),
            Some((shape, _)) => Err(WeightsError::Format {
                path: path.into(),
                reason: format!("`{name}` is {shape:?}, the network wants {:?}", spec.shape),
            }),
            None => Err(WeightsError::Format { path: path.into(), reason: format!("`{name}` is missing") }),
        })
    }

    fn make(engine: &Engine, graph: &Graph, value: impl Fn(&str, &ParamSpec) -> Result<Vec<f32>>) -> Result<Self> {
        let tensors = graph
            .params()
            .iter()
            .map(|(name, spec)| Ok((name.clone(), engine.upload_f32(name, &spec.shape, &value(name, spec)?)?)))
            .collect::<Result<_>>()?;
        Ok(Self { tensors })
    }

    /// Takes the tensors of `other` for parameters of the same name: both then train or read the same values.
    ///
    /// # Errors
    /// One has other extents.
    pub fn adopt(&mut self, other: &Self) -> Result<()> {
        for (name, tensor) in &mut self.tensors {
            if let Some(t) = other.get(name) {
                if t.shape() != tensor.shape() {
                    return Err(crate::gpu::Error::shape(name, format!("{:?} for {:?}", t.shape(), tensor.shape())).into());
                }
                *tensor = t.clone();
            }
        }
        Ok(())
    }

    /// Tensors of the same names and extents that hold nothing yet.
    ///
    /// # Errors
    /// Out of memory.
    pub(super) fn room(&self, engine: &Engine) -> Result<Self> {
        let one = |(name, t): (&String, &Tensor)| Ok((name.clone(), engine.tensor(name, t.shape(), t.dtype())?));
        Ok(Self { tensors: self.tensors.iter().map(one).collect::<Result<_>>()? })
    }

    /// The parameters with their full names.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, t)| (name.as_str(), t))
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The parameters.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.values()
    }

    /// A parameter by its full name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Replaces values of parameters that `tensors` names and this graph has; returns how many.
    ///
    /// # Errors
    /// Other extents.
    pub fn load(&self, engine: &Engine, tensors: &TensorMap) -> Result<usize> {
        let mut count = 0;
        for (name, tensor) in &self.tensors {
            if let Some((shape, values)) = tensors.get(name) {
                if shape != tensor.shape() {
                    return Err(crate::gpu::Error::shape(name, format!("{shape:?} for {:?}", tensor.shape())).into());
                }
                engine.write(tensor, values)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Reads every parameter back.
    ///
    /// # Errors
    /// Device lost.
    pub fn read(&self, engine: &Engine) -> Result<TensorMap> {
        self.tensors.iter().map(|(n, t)| Ok((n.clone(), (t.shape().to_vec(), engine.read(t)?)))).collect()
    }
}

/// Values of 16 or 32 bits, as f32; none of another type.
pub(super) fn floats(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let data = view.data();
    let half = |f: fn([u8; 2]) -> f32| data.chunks_exact(2).map(|b| f([b[0], b[1]])).collect();
    match view.dtype() {
        Dtype::F32 => Some(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        Dtype::F16 => Some(half(|b| f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => Some(half(|b| bf16::from_le_bytes(b).to_f32())),
        _ => None,
    }
}

/// What a checkpoint calls the running mean of a parameter.
pub(super) fn mean_name(name: &str) -> String {
    format!("optimizer.mean.{name}")
}

fn initial(name: &str, spec: &ParamSpec, seed: u64) -> Vec<f32> {
    let n = spec.shape.iter().product();
    let deviation = match spec.init {
        Init::Constant(v) => return vec![v; n],
        Init::HeNormal { fan_in } => (2.0 / fan_in.max(1) as f64).sqrt(),
        Init::Normal { deviation } => f64::from(deviation),
    };
    let digest = Sha256::digest(name.as_bytes());
    let key = u64::from_le_bytes(digest[..8].try_into().expect("8 bytes")) ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let unit = |i: u64| random::unit(key.wrapping_add(i));
    // Box-Muller on counters 2i and 2i + 1.
    let normal = |i: u64| (deviation * (-2.0 * (1.0 - unit(2 * i)).ln()).sqrt() * (std::f64::consts::TAU * unit(2 * i + 1)).cos()) as f32;
    (0..n as u64).map(normal).collect()
}

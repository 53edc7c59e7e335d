//! Start values from torchvision's ResNets.

use super::encoder::{EncoderConfig, Modality};
use super::graph::Graph;
use super::weights::{Result, TensorMap, WeightsError, floats};
use safetensors::tensor::SafeTensors;
use std::collections::BTreeSet;
use std::path::Path;

/// Nodes of our heads: their parameters have no counterpart in the file.
const HEAD: [&str; 4] = ["gem.", "fc.", "norm.", "project."];

/// Reads a safetensors file with torchvision's names (`conv1.weight`, `bn1.running_mean`, `layer1.0.downsample.0.weight`, ...)
/// into parameters of an encoder: every parameter of the trunk, for both modalities, under the names that
/// [`EncoderConfig::tower`] gives them. F32, F16 and BF16 are read; the classifier (`fc.*`) and `num_batches_tracked` are ignored.
///
/// Convolutions go from [CO, CI, KH, KW] to [KH*KW, CI, CO]. The first has four input channels here, of which the last
/// (validity) starts at zero. A stem of SAR's own sees its one channel as the file's network would see a grey image, the same
/// value in all three bands: channel 0 is the sum of the three (their mean times 3), the others zero. Under
/// [`Sharing::Full`](super::Sharing::Full) both modalities use the map's.
///
/// # Errors
/// A file that cannot be read or is no safetensors; an architecture that is no ResNet; a tensor that is missing, of another
/// shape or type, not finite, or unknown (a deeper network's).
pub fn import_torchvision(path: &Path, config: &EncoderConfig) -> Result<TensorMap> {
    let bytes = std::fs::read(path).map_err(|source| WeightsError::Io { path: path.into(), reason: source.to_string(), source })?;
    parse_torchvision(path, &bytes, config)
}

/// The same from a file's bytes; `path` is for messages.
pub(crate) fn parse_torchvision(path: &Path, bytes: &[u8], config: &EncoderConfig) -> Result<TensorMap> {
    let Some(wanted) = config.architecture.torchvision() else {
        let reason = format!("{:?} is not one of torchvision's ResNets", config.architecture);
        return Err(WeightsError::Import { path: path.into(), reason, wanted: "ResNets for a resnet18, resnet34 or resnet50 encoder" });
    };
    let bad = |reason: String| WeightsError::Import { path: path.into(), reason, wanted };
    let file = SafeTensors::deserialize(bytes).map_err(|e| bad(format!("not a safetensors file, or cut short ({e})")))?;
    let mut graph = Graph::new();
    for modality in [Modality::Map, Modality::Sar] {
        let x = graph.input("patch", &[1, config.input, config.input, 4]);
        config.tower(&mut graph, modality, x)?;
    }
    let mut used = BTreeSet::new();
    let mut all = TensorMap::new();
    for (full, spec) in graph.params() {
        let (prefix, name) = full.split_once('.').expect("prefix.name");
        if HEAD.iter().any(|h| name.starts_with(h)) {
            continue;
        }
        let view = file.tensor(name).map_err(|_| bad(format!("`{name}` is missing")))?;
        used.insert(name.to_string());
        let values = floats(&view).ok_or_else(|| bad(format!("`{name}` is {:?}, not F32, F16 or BF16", view.dtype())))?;
        if values.iter().any(|v| !v.is_finite()) {
            return Err(bad(format!("`{name}` holds values that are not finite")));
        }
        let values = match spec.shape[..] {
            [taps, ci, co] => {
                let stem = name == "conv1.weight";
                let from = if stem { 3 } else { ci };
                match view.shape() {
                    [o, i, h, w] if *o == co && *i == from && h * w == taps => {}
                    other => return Err(bad(format!("`{name}` is {other:?}, expected [{co}, {from}, ..] of {taps} taps"))),
                }
                let sum = stem && prefix == "sar";
                convolution(&values, taps, from, ci, co, sum)
            }
            _ if view.shape() == spec.shape => values,
            _ => return Err(bad(format!("`{name}` is {:?}, expected {:?}", view.shape(), spec.shape))),
        };
        all.insert(full.clone(), (spec.shape.clone(), values));
    }
    let known = |n: &str| used.contains(n) || n.starts_with("fc.") || n.ends_with(".num_batches_tracked");
    match file.names().into_iter().find(|n| !known(n)) {
        Some(name) => Err(bad(format!("`{name}` is no part of it"))),
        None => Ok(all),
    }
}

/// [CO, `from`, taps] to [taps, CI, CO]; with `sum` all go into channel 0.
fn convolution(values: &[f32], taps: usize, from: usize, ci: usize, co: usize, sum: bool) -> Vec<f32> {
    let mut w = vec![0.0; taps * ci * co];
    for (at, v) in values.iter().enumerate() {
        let (o, i, tap) = (at / (from * taps), at / taps % from, at % taps);
        w[(tap * ci + if sum { 0 } else { i }) * co + o] += v;
    }
    w
}

//! Detectors of objects: a trunk, and what tells boxes from its feature maps.

mod faster;
mod yolo;

pub use faster::{BoxTargets, FasterRcnn, FasterRcnnLoss, FasterRcnnSlots, Proposing, RegionNodes};
pub use yolo::{Yolo3, YoloBoxLoss, YoloLoss, YoloTargets};

use super::encoder::Architecture;
use super::graph::{Graph, NodeId};
use super::ops::{BatchNorm, Conv2d, Pointwise, RepeatBand};
use super::weights::Network;
use crate::gpu::{Error, Result};
use crate::kernels::activation::Activation;
use crate::kernels::conv::Conv;
use serde::{Deserialize, Serialize};

/// A detector of objects in SAR images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorConfig {
    /// The trunk. Its parameters are called as those of an encoder's SAR tower, so that a detector may start from one.
    pub architecture: Architecture,
    /// Side of the square that an image is fitted into, pixels: a multiple of the coarsest map's stride.
    pub input: usize,
    /// Longer side of what an input mostly showed in training, pixels of the image: larger images are searched by tiles of this side. 0 until training sets it.
    #[serde(default)]
    pub extent: u32,
    /// Whether the SAR band is shown in all three bands, as a trunk trained on colours expects it.
    #[serde(default)]
    pub repeat_band: bool,
    /// What is told apart.
    pub classes: Vec<String>,
    /// What tells boxes from the feature maps.
    pub head: DetectorHead,
}

/// What tells boxes from a trunk's feature maps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum DetectorHead {
    /// Boxes straight from the maps of several strides.
    Yolo3(Yolo3),
    /// Regions that anchors propose, and boxes from the features of each.
    FasterRcnn(FasterRcnn),
}

impl DetectorHead {
    /// Sides of the boxes that it starts from, pixels of the input: width, height.
    pub fn anchors(&self) -> &[[f32; 2]] {
        match self {
            Self::Yolo3(yolo) => &yolo.anchors,
            Self::FasterRcnn(faster) => &faster.anchors,
        }
    }

    /// Puts others in their place.
    pub fn set_anchors(&mut self, anchors: Vec<[f32; 2]>) {
        match self {
            Self::Yolo3(yolo) => yolo.anchors = anchors,
            Self::FasterRcnn(faster) => faster.anchors = anchors,
        }
    }
}

impl Network for DetectorConfig {
    const KINDS: [&'static str; 2] = ["detector", "detector-checkpoint"];
}

/// What the parameters of the trunk are called after.
const TRUNK: &str = "sar";

impl DetectorConfig {
    /// Appends the trunk to images x [N, H, W, 4] and returns the last `count` of its stages' feature maps, the finest first.
    fn trunk(&self, graph: &mut Graph, x: NodeId, count: usize) -> Result<Vec<NodeId>> {
        let x = match self.repeat_band {
            true => graph.add("sar.bands", RepeatBand, &[x])?,
            false => x,
        };
        let mut maps = self.architecture.stages(graph, TRUNK, x)?;
        match maps.len().checked_sub(count) {
            Some(first) => Ok(maps.split_off(first)),
            None => Err(Error::shape("detector", format!("{count} feature maps are asked for, and the trunk has {} stages", maps.len()))),
        }
    }

    /// Refuses an input that the coarsest of the trunk's maps does not divide.
    fn check_stride(&self, op: &str, graph: &Graph, features: &[NodeId]) -> Result<()> {
        let side = features.last().map_or(1, |f| graph.shape(*f)[1]);
        match self.input.is_multiple_of(side) && (self.input / side).is_power_of_two() {
            true => Ok(()),
            false => Err(Error::shape(
                op,
                format!("an input of {} px is no multiple of the coarsest map's stride ({side} cells a side)", self.input),
            )),
        }
    }
}

/// Convolution without bias, batch normalisation, activation: parameters `name.conv`, `name.bn`.
fn unit(graph: &mut Graph, name: &str, x: NodeId, kernel: usize, channels: usize, act: Activation) -> Result<NodeId> {
    let conv = Conv2d { geometry: Conv::square(kernel, 1, 1), channels, bias: false, relu: false };
    let y = graph.add(&format!("{name}.conv"), conv, &[x])?;
    let fused = act == Activation::Relu;
    let y = graph.add(&format!("{name}.bn"), BatchNorm { relu: fused, ..BatchNorm::default() }, &[y])?;
    if fused { Ok(y) } else { graph.add(&format!("{name}.act"), Pointwise(act), &[y]) }
}

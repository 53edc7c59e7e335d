//! YOLOv3 (Redmon and Farhadi, "YOLOv3: an incremental improvement", 2018): each cell of three maps says, for each of its anchors, a box,
//! whether something is there, and what.

use super::{DetectorConfig, unit};
use crate::gpu::{Error, Result};
use crate::kernels::binary_xent::Focal;
use crate::kernels::box_decode::Yolo;
use crate::kernels::box_loss::BoxDistance;
use crate::kernels::conv::Conv;
use crate::nn::graph::{Graph, NodeId};
use crate::nn::ops::{BinaryXent, BoxLoss, Channels, Concat, Conv2d, DecodeYolo, GatherRows, RowListInputs, Upsample, WeightedSum};
use serde::{Deserialize, Serialize};

/// The head of YOLOv3 on a trunk's last maps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Yolo3 {
    /// Channels of the joined features of each map, the finest map first; as published 128, 256 and 512.
    pub widths: Vec<usize>,
    /// Pairs of 1x1 and 3x3 convolutions that a map passes before the last 1x1: 2 as published.
    pub pairs: usize,
    /// Sides of the anchors (x, y) in pixels of the input, those of the finest map first; as many for each map.
    pub anchors: Vec<[f32; 2]>,
    /// What a box that is in its place weighs against the rest of the loss.
    pub box_weight: f32,
    /// What is asked of it.
    #[serde(default)]
    pub box_loss: YoloBoxLoss,
    /// Negatives that are beyond doubt count less: the exponent of Lin et al. ("Focal loss for dense object detection", 2017); 0 as published.
    #[serde(default)]
    pub focal_gamma: f32,
}

/// What the rows that are to say a box are asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum YoloBoxLoss {
    /// Generalised IoU of the box (Rezatofighi et al., 2019).
    #[default]
    Giou,
    /// As published and as its authors' code weighs it: cross-entropy of the middle's place in its cell, and half the squared differences of the logarithms of the sides over the
    /// anchor's; small boxes weigh up to twice as much as one that fills the input ([`YoloBoxLoss::weight`]).
    Coordinates,
}

impl YoloBoxLoss {
    /// What a box of these sides, shares of the input's, weighs.
    pub fn weight(self, [width, height]: [f64; 2]) -> f64 {
        match self {
            Self::Giou => 1.0,
            Self::Coordinates => 2.0 - width * height,
        }
    }
}

/// What a map of a YOLO head is to be taught: inputs of the network.
#[derive(Debug, Clone, Copy)]
pub struct YoloTargets {
    /// What each number of the map should say, [N, H, W, anchors * (5 + classes)]: 0 or 1 for the logits; by coordinates also where in its cell a middle lies, 0 to 1, in the first two.
    pub targets: NodeId,
    /// Weights of them: 0 for all that is not asked about; those of middles are to be multiplied by the weight of boxes.
    pub weights: NodeId,
    /// The rows of anchors that are to say a box: row ((n * H + y) * W + x) * anchors + a.
    pub rows: RowListInputs,
    /// Their boxes x0 y0 x1 y1 in pixels of the input, [slots, 4]; by coordinates ln(w / anchor w), ln(h / anchor h), and both once more.
    pub boxes: NodeId,
    /// Weights of the boxes, \[slots\]: 0 for a slot that is not used.
    pub box_weights: NodeId,
}

/// The loss of a YOLO head, with what it reads.
#[derive(Debug, Clone)]
pub struct YoloLoss {
    /// The loss \[1\].
    pub loss: NodeId,
    /// Of each map, the finest first.
    pub maps: Vec<YoloTargets>,
    /// What the sums are divided by \[1\]: the number of boxes that are to be said.
    pub divisor: NodeId,
}

impl Yolo3 {
    /// Anchors of each map.
    pub fn anchors_a_map(&self) -> usize {
        self.anchors.len() / self.widths.len().max(1)
    }

    /// The anchors of map `k`, the finest being 0.
    pub fn anchors_of(&self, k: usize) -> &[[f32; 2]] {
        let each = self.anchors_a_map();
        &self.anchors[k * each..(k + 1) * each]
    }

    fn check(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::shape("yolo3", what));
        match self {
            y if y.widths.is_empty() || y.widths.contains(&0) => refuse("widths: a number of channels above 0 for each map".into()),
            y if y.anchors.is_empty() || !y.anchors.len().is_multiple_of(y.widths.len()) => {
                refuse(format!("{} anchors for {} maps: as many for each", y.anchors.len(), y.widths.len()))
            }
            y if y.anchors.iter().flatten().any(|v| !v.is_finite() || *v <= 0.0) => refuse("anchors: sides above 0".into()),
            y if !y.box_weight.is_finite() || y.box_weight <= 0.0 => refuse("box_weight: above 0".into()),
            y if !y.focal_gamma.is_finite() || y.focal_gamma < 0.0 => refuse("focal_gamma: 0 or above".into()),
            y if y.focal_gamma > 0.0 && y.box_loss == YoloBoxLoss::Coordinates => {
                refuse("focal_gamma: 0 with box_loss = \"coordinates\", whose middles are no doubtful answers".into())
            }
            _ => Ok(()),
        }
    }

    /// Appends trunk and head to images x [N, S, S, 4] and returns what each map says, [N, H, W, anchors * (5 + classes)], the finest first.
    ///
    /// # Errors
    /// Settings that make no sense; a side that is no multiple of the coarsest map's stride; a trunk of fewer stages than there are maps.
    pub fn maps(&self, config: &DetectorConfig, graph: &mut Graph, x: NodeId) -> Result<Vec<NodeId>> {
        self.check()?;
        let features = config.trunk(graph, x, self.widths.len())?;
        config.check_stride("yolo3", graph, &features)?;
        let act = config.architecture.activation();
        let channels = self.anchors_a_map() * (5 + config.classes.len());
        let (mut maps, mut coarser): (Vec<NodeId>, Option<NodeId>) = (Vec::new(), None);
        for (k, width) in self.widths.iter().copied().enumerate().rev() {
            let p = format!("head{k}");
            let mut y = match coarser {
                None => features[k],
                Some(coarser) => {
                    let fit = unit(graph, &format!("{p}.fit"), coarser, 1, width, act)?;
                    let up = graph.add(&format!("{p}.up"), Upsample { factor: 2, bilinear: false }, &[fit])?;
                    graph.add(&format!("{p}.join"), Concat, &[up, features[k]])?
                }
            };
            for i in 0..self.pairs {
                y = unit(graph, &format!("{p}.narrow{i}"), y, 1, width, act)?;
                y = unit(graph, &format!("{p}.wide{i}"), y, 3, 2 * width, act)?;
            }
            y = unit(graph, &format!("{p}.narrow{}", self.pairs), y, 1, width, act)?;
            coarser = Some(y);
            let y = unit(graph, &format!("{p}.last"), y, 3, 2 * width, act)?;
            let say = Conv2d { geometry: Conv::square(1, 1, 1), channels, bias: true, relu: false };
            maps.push(graph.add(&format!("{p}.say"), say, &[y])?);
        }
        maps.reverse();
        Ok(maps)
    }

    /// How a map of a graph decodes.
    fn decoding(config: &DetectorConfig, graph: &Graph, map: NodeId) -> Yolo {
        let shape = graph.shape(map);
        let grid = [shape[1], shape[2]];
        Yolo { grid, stride: [1, 0].map(|d| config.input as f32 / grid[d] as f32), classes: config.classes.len() }
    }

    /// Appends the decoding of what the maps say: rows [N * H * W * anchors, 5 + classes] of each, boxes x0 y0 x1 y1 in pixels of the input, then the logits.
    /// Returns the rows, and the inputs that take the anchors ([`Yolo3::anchors_of`]), the finest map first.
    ///
    /// # Errors
    /// Maps of another configuration.
    pub fn decoded(&self, config: &DetectorConfig, graph: &mut Graph, maps: &[NodeId]) -> Result<Vec<[NodeId; 2]>> {
        let each = self.anchors_a_map();
        let one = |(k, map): (usize, &NodeId)| -> Result<[NodeId; 2]> {
            let anchors = graph.input(&format!("anchors{k}"), &[each, 2]);
            let decode = DecodeYolo(Self::decoding(config, graph, *map));
            Ok([graph.add(&format!("head{k}.boxes"), decode, &[*map, anchors])?, anchors])
        };
        maps.iter().enumerate().map(one).collect()
    }

    /// Appends the loss: cross-entropy of the logits that are asked about, and what [`YoloBoxLoss`] asks of the boxes that are to be said, `slots` of them for each map at most.
    ///
    /// # Errors
    /// Maps of another configuration.
    pub fn loss(&self, config: &DetectorConfig, graph: &mut Graph, maps: &[NodeId], slots: usize) -> Result<(YoloLoss, Vec<NodeId>)> {
        let decoded = self.decoded(config, graph, maps)?;
        let divisor = graph.input("divisor", &[1]);
        let focal = Focal { gamma: self.focal_gamma, ..Focal::default() };
        let (mut terms, mut weights, mut taught) = (Vec::new(), Vec::new(), Vec::new());
        for (k, (map, [rows_of_boxes, _])) in maps.iter().zip(&decoded).enumerate() {
            let shape = graph.shape(*map).to_vec();
            let rows = graph.shape(*rows_of_boxes)[0];
            let of = YoloTargets {
                targets: graph.input(&format!("targets{k}"), &shape),
                weights: graph.input(&format!("weights{k}"), &shape),
                rows: RowListInputs::new(graph, &format!("said{k}"), rows, slots),
                boxes: graph.input(&format!("boxes{k}"), &[slots, 4]),
                box_weights: graph.input(&format!("box weights{k}"), &[slots]),
            };
            let logits = graph.add(&format!("loss.logits{k}"), BinaryXent::each(focal), &[*map, of.targets, of.weights, divisor])?;
            let (distance, weight) = match self.box_loss {
                YoloBoxLoss::Giou => (BoxDistance::Giou, self.box_weight),
                // Half of the squares, and each of them is there twice.
                YoloBoxLoss::Coordinates => (BoxDistance::Squares, 0.25 * self.box_weight),
            };
            let said = match self.box_loss {
                YoloBoxLoss::Giou => {
                    let said = graph.add(&format!("loss.said{k}"), GatherRows, &of.rows.with(*rows_of_boxes))?;
                    graph.add(&format!("loss.boxes{k}"), Channels { from: 0, count: 4 }, &[said])?
                }
                YoloBoxLoss::Coordinates => {
                    let said = graph.add(&format!("loss.said{k}"), GatherRows, &of.rows.with(*map))?;
                    let sides = graph.add(&format!("loss.sides{k}"), Channels { from: 2, count: 2 }, &[said])?;
                    graph.add(&format!("loss.boxes{k}"), Concat, &[sides, sides])?
                }
            };
            let boxes = graph.add(&format!("loss.located{k}"), BoxLoss { distance }, &[said, of.boxes, of.box_weights, divisor])?;
            terms.extend([logits, boxes]);
            weights.extend([1.0, weight]);
            taught.push(of);
        }
        let loss = graph.add("loss", WeightedSum { weights }, &terms)?;
        Ok((YoloLoss { loss, maps: taught, divisor }, decoded.into_iter().map(|[_, anchors]| anchors).collect()))
    }
}

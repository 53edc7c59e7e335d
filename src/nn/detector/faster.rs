//! Faster R-CNN (Ren, He, Girshick and Sun, "Faster R-CNN: towards real-time object detection with region proposal networks", 2015) on a feature pyramid
//! (Lin et al., "Feature pyramid networks for object detection", 2017): anchors propose regions, and each region's own features say what it is.

use super::DetectorConfig;
use crate::gpu::{Error, Result};
use crate::kernels::activation::Activation;
use crate::kernels::binary_xent::Focal;
use crate::kernels::box_decode::Deltas;
use crate::kernels::box_loss::BoxDistance;
use crate::kernels::conv::Conv;
use crate::kernels::roi_align::{self, fpn_level};
use crate::nn::graph::{Graph, NodeId};
use crate::nn::ops::{
    Add, BinaryXent, BoxLoss, Conv2d, GatherRows, Linear, MaxPool, Pointwise, RoiAlign, RowListInputs, SoftmaxXent, Upsample, WeightedSum,
};
use serde::{Deserialize, Serialize};

/// The head of Faster R-CNN on a trunk's last maps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FasterRcnn {
    /// The trunk's last stages that the pyramid is built on; 4 as published.
    pub maps: usize,
    /// Whether a map of every other pixel of the coarsest proposes too, as published.
    pub pooled: bool,
    /// Channels of the pyramid; 256 as published.
    pub width: usize,
    /// Sides of the anchors (x, y) in pixels of the input, those of the finest map first; as many for each map.
    pub anchors: Vec<[f32; 2]>,
    /// Bins along either side of a region's features; 7 as published.
    pub bins: usize,
    /// Width of the two layers that read them; 1024 as published.
    pub hidden: usize,
    /// The surest anchors of each map that propose regions; 1,000 as published.
    pub candidates: usize,
    /// Proposals that overlap a surer one of the same map by more than this (IoU) are left out; 0.7 as published.
    pub proposal_iou: f32,
    /// Proposals of an image whose features are read, at most; 1,000 as published.
    pub proposals: usize,
    /// What a region's box that is in its place weighs against its class; 1 as published.
    pub box_weight: f32,
}

/// What the anchors of a pyramid say, the finest map first.
#[derive(Debug, Clone)]
pub struct Proposing {
    /// Whether something is there: logits [N, H, W, anchors].
    pub logits: Vec<NodeId>,
    /// Where: differences from the anchors [N, H, W, 4 * anchors], [`FasterRcnn::PROPOSAL`].
    pub deltas: Vec<NodeId>,
}

/// What regions say, and the inputs that tell which they are.
#[derive(Debug, Clone, Copy)]
pub struct RegionNodes {
    /// Their boxes x0 y0 x1 y1 in pixels of the input, [R, 4].
    pub boxes: NodeId,
    /// Of each the image and the map ([`FasterRcnn::map_of`]), 2 R indices.
    pub places: NodeId,
    /// Logits [R, 1 + classes]: of nothing, then of the classes.
    pub classes: NodeId,
    /// Differences from the regions, four a class, [R, 4 * classes]: [`FasterRcnn::REGION`].
    pub deltas: NodeId,
}

/// Rows of differences that are to say a box, and what they should say: inputs of the network.
#[derive(Debug, Clone, Copy)]
pub struct BoxTargets {
    /// The rows; of anchors row ((n * H + y) * W + x) * anchors + a of a map, of regions region * classes + class.
    pub rows: RowListInputs,
    /// What they should say, [slots, 4].
    pub targets: NodeId,
    /// Weights of them, \[slots\]: 0 for a slot that is not used.
    pub weights: NodeId,
}

/// How much of the inputs of a step a loss has room for.
#[derive(Debug, Clone, Copy)]
pub struct FasterRcnnSlots {
    /// Anchors of a map that have something.
    pub anchors: usize,
    /// Regions.
    pub regions: usize,
    /// Regions that show an object.
    pub objects: usize,
}

/// The loss of a Faster R-CNN, with what it reads.
#[derive(Debug, Clone)]
pub struct FasterRcnnLoss {
    /// The loss \[1\].
    pub loss: NodeId,
    /// What the anchors say. The graph pauses for it: all inputs below may hang on it.
    pub said: Proposing,
    /// Of each map: what its logits should be, 0 or 1, and their weights, 0 for anchors that are not asked.
    pub there: Vec<[NodeId; 2]>,
    /// Of each map, the anchors that have something.
    pub proposed: Vec<BoxTargets>,
    /// The number of anchors that are asked \[1\].
    pub asked: NodeId,
    /// The regions.
    pub regions: RegionNodes,
    /// Of each region its class from 1 on, 0 for nothing, or [`crate::kernels::softmax_xent::IGNORE`].
    pub labels: NodeId,
    /// The regions that show an object.
    pub located: BoxTargets,
    /// The number of regions that are looked at \[1\].
    pub looked_at: NodeId,
}

/// Where the distance of a box becomes straight, as torchvision has it.
const BETA: f32 = 1.0 / 9.0;

/// Appends the distance of what `slots` of a tensor's rows of four say from what they should.
fn box_loss(graph: &mut Graph, name: &str, deltas: NodeId, slots: usize, divisor: NodeId) -> Result<(NodeId, BoxTargets)> {
    let rows = graph.shape(deltas).iter().product::<usize>() / 4;
    let of = BoxTargets {
        rows: RowListInputs::new(graph, name, rows, slots),
        targets: graph.input(&format!("{name} boxes"), &[slots, 4]),
        weights: graph.input(&format!("{name} weights"), &[slots]),
    };
    let said = graph.add(&format!("loss.{name} rows"), GatherRows, &of.rows.with(deltas))?;
    let loss = BoxLoss { distance: BoxDistance::SmoothL1 { beta: BETA } };
    Ok((graph.add(&format!("loss.{name} boxes"), loss, &[said, of.targets, of.weights, divisor])?, of))
}

impl FasterRcnn {
    /// How an anchor says a region.
    pub const PROPOSAL: Deltas = Deltas::PLAIN;
    /// How a region says its object, each of its classes by itself.
    pub const REGION: Deltas = Deltas { deviations: [0.1, 0.1, 0.2, 0.2], classes: 1 };

    /// Maps that propose.
    pub fn levels(&self) -> usize {
        self.maps + usize::from(self.pooled)
    }

    /// Anchors of each map.
    pub fn anchors_a_map(&self) -> usize {
        self.anchors.len() / self.levels().max(1)
    }

    fn check(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::shape("faster-rcnn", what));
        match self {
            f if f.maps == 0 => refuse("maps: 1 or more".into()),
            f if [f.width, f.bins, f.hidden, f.candidates, f.proposals].contains(&0) => {
                refuse("width, bins, hidden, candidates and proposals: above 0".into())
            }
            f if f.anchors.is_empty() || !f.anchors.len().is_multiple_of(f.levels()) => {
                refuse(format!("{} anchors for {} maps: as many for each", f.anchors.len(), f.levels()))
            }
            f if f.anchors.iter().flatten().any(|v| !v.is_finite() || *v <= 0.0) => refuse("anchors: sides above 0".into()),
            f if !(0.0..=1.0).contains(&f.proposal_iou) => refuse("proposal_iou: a share, 0 to 1".into()),
            f if !f.box_weight.is_finite() || f.box_weight <= 0.0 => refuse("box_weight: above 0".into()),
            _ => Ok(()),
        }
    }

    /// Appends trunk and pyramid to images x [N, S, S, 4] and returns the pyramid's maps [N, H, W, width], the finest first.
    ///
    /// # Errors
    /// Settings that make no sense; a side that is no multiple of the coarsest map's stride; a trunk of fewer stages than there are maps.
    pub fn pyramid(&self, config: &DetectorConfig, graph: &mut Graph, x: NodeId) -> Result<Vec<NodeId>> {
        self.check()?;
        let features = config.trunk(graph, x, self.maps)?;
        config.check_stride("faster-rcnn", graph, &features)?;
        let conv = |graph: &mut Graph, name: String, x: NodeId, kernel: usize| {
            let conv = Conv2d { geometry: Conv::square(kernel, 1, 1), channels: self.width, bias: true, relu: false };
            graph.add(&name, conv, &[x])
        };
        let (mut maps, mut coarser): (Vec<NodeId>, Option<NodeId>) = (Vec::new(), None);
        for (k, feature) in features.iter().enumerate().rev() {
            let mut sum = conv(graph, format!("pyramid{k}.lateral"), *feature, 1)?;
            if let Some(coarser) = coarser {
                let up = graph.add(&format!("pyramid{k}.up"), Upsample { factor: 2, bilinear: false }, &[coarser])?;
                sum = graph.add(&format!("pyramid{k}.sum"), Add { relu: false }, &[sum, up])?;
            }
            coarser = Some(sum);
            maps.push(conv(graph, format!("pyramid{k}.smooth"), sum, 3)?);
        }
        maps.reverse();
        if let Some(last) = maps.last().copied().filter(|_| self.pooled) {
            maps.push(graph.add("pyramid.pooled", MaxPool { kernel: 1, stride: 2, pad: 0 }, &[last])?);
        }
        Ok(maps)
    }

    /// Appends what the anchors of a pyramid's maps say; all maps share the parameters.
    ///
    /// # Errors
    /// Maps of another configuration.
    pub fn proposing(&self, graph: &mut Graph, pyramid: &[NodeId]) -> Result<Proposing> {
        let conv = |kernel: usize, channels: usize, relu: bool| Conv2d { geometry: Conv::square(kernel, 1, 1), channels, bias: true, relu };
        let each = self.anchors_a_map();
        let mut said = Proposing { logits: Vec::new(), deltas: Vec::new() };
        for map in pyramid {
            let y = graph.add("proposals.conv", conv(3, self.width, true), &[*map])?;
            said.logits.push(graph.add("proposals.there", conv(1, each, false), &[y])?);
            said.deltas.push(graph.add("proposals.boxes", conv(1, 4 * each, false), &[y])?);
        }
        Ok(said)
    }

    /// Appends what `count` regions say, whose boxes and places are inputs.
    ///
    /// # Errors
    /// Maps of another configuration.
    pub fn regions(&self, config: &DetectorConfig, graph: &mut Graph, pyramid: &[NodeId], count: usize) -> Result<RegionNodes> {
        let pyramid = &pyramid[..self.maps];
        let (boxes, places) = (graph.input("regions", &[count, 4]), graph.indices("places", 2 * count));
        let scales = pyramid.iter().map(|m| graph.shape(*m)[1] as f32 / config.input as f32).collect();
        let align = RoiAlign { align: roi_align::RoiAlign { bins: self.bins, samples: Some(2) }, scales };
        let mut y = graph.add("regions.align", align, &[pyramid, &[boxes, places]].concat())?;
        for i in 0..2 {
            y = graph.add(&format!("regions.hidden{i}"), Linear { out: self.hidden, bias: true }, &[y])?;
            y = graph.add(&format!("regions.relu{i}"), Pointwise(Activation::Relu), &[y])?;
        }
        let say = |out: usize| Linear { out, bias: true };
        let classes = graph.add("regions.classes", say(1 + config.classes.len()), &[y])?;
        let deltas = graph.add("regions.boxes", say(4 * config.classes.len()), &[y])?;
        Ok(RegionNodes { boxes, places, classes, deltas })
    }

    /// Appends trunk, heads and loss to images x [N, S, S, 4]: cross-entropy and smooth distance of boxes, of the anchors that are asked and of the regions
    /// that are looked at.
    ///
    /// # Errors
    /// As [`FasterRcnn::pyramid`].
    pub fn loss(&self, config: &DetectorConfig, graph: &mut Graph, x: NodeId, slots: FasterRcnnSlots) -> Result<FasterRcnnLoss> {
        let pyramid = self.pyramid(config, graph, x)?;
        let said = self.proposing(graph, &pyramid)?;
        graph.pause(&[&said.logits[..], &said.deltas[..]].concat());
        let (asked, looked_at) = (graph.input("asked", &[1]), graph.input("looked at", &[1]));
        let (mut terms, mut weights) = (Vec::new(), Vec::new());
        let (mut there, mut proposed) = (Vec::new(), Vec::new());
        for (k, (logits, deltas)) in said.logits.iter().zip(&said.deltas).enumerate() {
            let shape = graph.shape(*logits).to_vec();
            let taught = ["there", "asks"].map(|name| graph.input(&format!("{name}{k}"), &shape));
            let each = BinaryXent::each(Focal::default());
            terms.push(graph.add(&format!("loss.there{k}"), each, &[*logits, taught[0], taught[1], asked])?);
            let (loss, of) = box_loss(graph, &format!("proposed{k}"), *deltas, slots.anchors, asked)?;
            terms.push(loss);
            weights.extend([1.0, 1.0]);
            there.push(taught);
            proposed.push(of);
        }
        let regions = self.regions(config, graph, &pyramid, slots.regions)?;
        let labels = graph.indices("labels", slots.regions);
        let xent = SoftmaxXent { columns: 1 + config.classes.len(), smoothing: 0.0 };
        terms.push(graph.add("loss.classes", xent, &[regions.classes, labels])?);
        let (loss, located) = box_loss(graph, "located", regions.deltas, slots.objects, looked_at)?;
        terms.push(loss);
        weights.extend([1.0, self.box_weight]);
        let loss = graph.add("loss", WeightedSum { weights }, &terms)?;
        Ok(FasterRcnnLoss { loss, said, there, proposed, asked, regions, labels, located, looked_at })
    }

    /// The anchors x0 y0 x1 y1 of maps of so many cells a side, pixels of an input of side `input`: cell by cell, row by row, the finest map first.
    /// They lie about the middles of their cells.
    pub fn anchor_boxes(&self, input: usize, grids: &[usize]) -> Vec<Vec<[f32; 4]>> {
        let each = self.anchors_a_map();
        let map = |(k, grid): (usize, &usize)| {
            let stride = input as f32 / *grid as f32;
            let middle = |i: usize| (i as f32 + 0.5) * stride;
            let cells = (0..grid * grid).map(|i| [middle(i % grid), middle(i / grid)]);
            let anchors = &self.anchors[k * each..(k + 1) * each];
            let about = |[x, y]: [f32; 2]| anchors.iter().map(move |[w, h]| [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0]);
            cells.flat_map(about).collect()
        };
        grids.iter().enumerate().map(map).collect()
    }

    /// The map whose features a region's are taken from, the finest of the pyramid being 0; `finest` is that map's stride.
    pub fn map_of(&self, region: [f32; 4], finest: usize) -> usize {
        let first = finest.ilog2() as usize;
        fpn_level(region, first, first + self.maps - 1) - first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Architecture, DetectorHead, Stage};

    fn config() -> (DetectorConfig, FasterRcnn) {
        let faster = FasterRcnn {
            maps: 2,
            pooled: true,
            width: 6,
            anchors: vec![[8.0, 8.0], [16.0, 8.0], [32.0, 16.0], [16.0, 32.0], [64.0, 32.0], [64.0, 64.0]],
            bins: 3,
            hidden: 10,
            candidates: 20,
            proposal_iou: 0.7,
            proposals: 10,
            box_weight: 1.0,
        };
        let stage = |channels| Stage { channels, blocks: 1, stride: 2, dilation: 1 };
        let config = DetectorConfig {
            architecture: Architecture::Residual { stem: vec![4], stages: vec![stage(6), stage(8)] },
            input: 64,
            extent: 0,
            repeat_band: false,
            classes: vec!["ship".into(), "buoy".into()],
            head: DetectorHead::FasterRcnn(faster.clone()),
        };
        (config, faster)
    }

    #[test]
    fn maps_anchors_and_regions_have_their_shapes() {
        let (config, faster) = config();
        let mut graph = Graph::new();
        let x = graph.input("image", &[2, 64, 64, 4]);
        let pyramid = faster.pyramid(&config, &mut graph, x).unwrap();
        let sides: Vec<usize> = pyramid.iter().map(|m| graph.shape(*m)[1]).collect();
        assert_eq!(sides, [16, 8, 4]);
        let said = faster.proposing(&mut graph, &pyramid).unwrap();
        assert_eq!((graph.shape(said.logits[2]), graph.shape(said.deltas[0])), (&[2, 4, 4, 2][..], &[2, 16, 16, 8][..]));
        assert_eq!(graph.params().iter().filter(|(n, _)| n.starts_with("proposals.")).count(), 6, "shared by all maps");
        let regions = faster.regions(&config, &mut graph, &pyramid, 5).unwrap();
        assert_eq!((graph.shape(regions.classes), graph.shape(regions.deltas)), (&[5, 3][..], &[5, 8][..]));
        let anchors = faster.anchor_boxes(64, &sides);
        assert_eq!(anchors.iter().map(Vec::len).collect::<Vec<_>>(), [512, 128, 32]);
        // The second cell of the first row of the middle map: its middle is (12, 4).
        assert_eq!(anchors[1][3], [12.0 - 8.0, 4.0 - 16.0, 20.0, 20.0]);
        assert_eq!(faster.map_of([0.0, 0.0, 20.0, 20.0], 4), 0);
        assert_eq!(faster.map_of([0.0, 0.0, 120.0, 120.0], 4), 1);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let (config, faster) = config();
        let refused = |f: FasterRcnn, word: &str| {
            let mut graph = Graph::new();
            let x = graph.input("image", &[1, 64, 64, 4]);
            let e = f.pyramid(&config, &mut graph, x).unwrap_err().to_string();
            assert!(e.contains(word), "{e}");
        };
        refused(FasterRcnn { maps: 0, ..faster.clone() }, "maps");
        refused(FasterRcnn { maps: 4, pooled: false, anchors: vec![[1.0; 2]; 4], ..faster.clone() }, "4 feature maps");
        refused(FasterRcnn { anchors: vec![[8.0; 2]; 4], ..faster.clone() }, "4 anchors for 3 maps");
        refused(FasterRcnn { hidden: 0, ..faster.clone() }, "hidden");
        refused(FasterRcnn { proposal_iou: 1.5, ..faster }, "proposal_iou");
    }
}

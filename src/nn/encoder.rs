//! Encoders from one builder: small residual nets, ResNet-18/34/50 and Darknet-53, with a head.

use super::graph::{Graph, NodeId};
use super::head::{Head, Pooling, is_false};
use super::ops::{
    Add, AvgPool, BatchNorm, Center, Conv2d, Dropout, Gem, ImageStatistics, L2Norm, Linear, MaxPool, MixStatistics, Pointwise, RepeatBand,
    Rows, Span, Stack,
};
use crate::gpu::{Error, Result};
use crate::kernels::activation::Activation;
use crate::kernels::conv::Conv;
use serde::{Deserialize, Serialize};

/// What a patch shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// Optical map: channels red, green, blue, validity.
    Map,
    /// SAR: channels backscatter, zero, zero, validity.
    Sar,
}

/// What the two modalities share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// Nothing.
    Separate,
    /// All but the first convolution.
    Trunk,
    /// Everything.
    Full,
}

/// One stage of a small residual net.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Channels of the stage.
    pub channels: usize,
    /// Residual blocks (two 3x3 convolutions each).
    pub blocks: usize,
    /// Stride of the first block.
    pub stride: usize,
    /// Dilation of the second convolution of each block.
    pub dilation: usize,
}

/// The trunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", try_from = "Written")]
pub enum Architecture {
    /// First 3x3 convolutions of stride 2, then stages of residual blocks.
    Residual {
        /// Channels of each convolution of the stem; the first is the modality's own unless all is shared.
        stem: Vec<usize>,
        /// The stages.
        stages: Vec<Stage>,
    },
    /// He et al. 2015, with torchvision's names.
    Resnet18,
    /// He et al. 2015, with torchvision's names.
    Resnet34,
    /// He et al. 2015, with torchvision's names (stride in the 3x3 convolution).
    Resnet50,
    /// Redmon and Farhadi 2018.
    Darknet53,
}

/// An architecture as it is written: fields of another kind are refused, which the derived reader does not do where a kind has none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: String,
    stem: Option<Vec<usize>>,
    stages: Option<Vec<Stage>>,
}

impl TryFrom<Written> for Architecture {
    type Error = String;

    fn try_from(w: Written) -> Result<Self, String> {
        let known = match w.kind.as_str() {
            "residual" => {
                let missing = |name: &str| format!("architecture: kind `residual` needs `{name}`");
                let stem = w.stem.ok_or_else(|| missing("stem"))?;
                return Ok(Self::Residual { stem, stages: w.stages.ok_or_else(|| missing("stages"))? });
            }
            "resnet18" => Self::Resnet18,
            "resnet34" => Self::Resnet34,
            "resnet50" => Self::Resnet50,
            "darknet53" => Self::Darknet53,
            other => {
                return Err(format!("architecture: unknown kind `{other}`; one of residual, resnet18, resnet34, resnet50, darknet53"));
            }
        };
        match w.stem.is_some() || w.stages.is_some() {
            true => Err(format!("architecture: `stem` and `stages` are of kind `residual`, not of `{}`", w.kind)),
            false => Ok(known),
        }
    }
}

impl Architecture {
    /// Whether there is no stage behind the first convolutions.
    pub(crate) fn stageless(&self) -> bool {
        matches!(self, Self::Residual { stages, .. } if stages.is_empty())
    }

    /// Refuses stages without blocks, which would be none.
    pub(crate) fn check(&self) -> std::result::Result<(), &'static str> {
        match self {
            Self::Residual { stages, .. } if stages.iter().any(|s| s.blocks == 0) => {
                Err("each of the architecture's stages has one block or more")
            }
            _ => Ok(()),
        }
    }

    /// What stands behind its normalisations.
    pub(super) fn activation(&self) -> Activation {
        match self {
            Self::Darknet53 => Activation::LeakyRelu(0.1),
            Self::Residual { .. } | Self::Resnet18 | Self::Resnet34 | Self::Resnet50 => Activation::Relu,
        }
    }

    /// Appends the trunk alone to images x [N, H, W, 4] and returns the feature map behind each of its stages, the finest first: of Darknet-53
    /// those at strides 2, 4, 8, 16 and 32, of ResNets at 4, 8, 16 and 32. Parameters are called as in an encoder's tower `name` (`map`, `sar` or
    /// `shared`), so that one may start from the other.
    ///
    /// # Errors
    /// An image too small for the trunk.
    pub fn stages(&self, graph: &mut Graph, name: &str, x: NodeId) -> Result<Vec<NodeId>> {
        let mut tower = Tower { graph, stem: name.into(), trunk: name.into(), act: self.activation(), stream: 0 };
        let y = tower.first(self, x)?;
        tower.stages(self, y, None)
    }

    /// Channels of the last feature map.
    pub fn channels(&self) -> usize {
        match self {
            Self::Residual { stem, stages } => stages.last().map(|s| s.channels).or(stem.last().copied()).unwrap_or(4),
            Self::Resnet18 | Self::Resnet34 => 512,
            Self::Resnet50 => 2048,
            Self::Darknet53 => 1024,
        }
    }

    /// torchvision's name of the network, where it has it.
    pub fn torchvision(&self) -> Option<&'static str> {
        match self {
            Self::Resnet18 => Some("resnet18"),
            Self::Resnet34 => Some("resnet34"),
            Self::Resnet50 => Some("resnet50"),
            Self::Residual { .. } | Self::Darknet53 => None,
        }
    }
}

/// An encoder: patch [N, input, input, 4] to a vector [N, dim], of unit length but of [`Head::Bounded`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// Trunk.
    pub architecture: Architecture,
    /// Side of the patch in network pixels.
    pub input: usize,
    /// What the modalities share.
    pub sharing: Sharing,
    /// Head.
    pub head: Head,
    /// Stride of the last stage in place of the trunk's own: 1 keeps its feature map as large as that of the stage before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_stride: Option<usize>,
    /// Whether SAR's one band stands in all three, as a trunk shared with the map expects that was trained on photographs.
    #[serde(default, skip_serializing_if = "is_false")]
    pub repeat_band: bool,
}

/// What training adds to the towers: nodes of inputs that the host writes before each step.
#[derive(Debug, Clone, Copy, Default)]
pub struct TowerInputs {
    /// \[batch\], an image's share of its own statistics: the first unit of each tower ends in images that have mixed their channels'
    /// statistics with those of the other modality's image of the pair ([`MixStatistics`]); 1 leaves both as they are.
    pub style: Option<NodeId>,
    /// Seed and counter of the values that heads drop ([`Dropout`]).
    pub dropout: Option<NodeId>,
}

impl EncoderConfig {
    /// Refuses an input of nothing, and trunks that are not what they say.
    pub(crate) fn check(&self) -> std::result::Result<(), &'static str> {
        match self {
            c if c.input == 0 => Err("encoder.input must be above 0"),
            c if c.last_stride.is_some_and(|s| !(1..=4).contains(&s)) => Err("encoder.last_stride is 1 to 4"),
            c if c.last_stride.is_some() && c.architecture.stageless() => {
                Err("encoder.last_stride is of a trunk's last stage, which this one has not")
            }
            c => c.architecture.check(),
        }
    }

    /// An encoder whose stages have the trunk's own strides and whose SAR patches are seen as they are cut.
    pub fn new(architecture: Architecture, input: usize, sharing: Sharing, head: Head) -> Self {
        Self { architecture, input, sharing, head, last_stride: None, repeat_band: false }
    }

    /// Length of the vector.
    pub fn dim(&self) -> usize {
        match self.head {
            Head::Pooled { dim, .. } => dim.unwrap_or(self.architecture.channels()),
            Head::Grid { cells, channels } => cells * cells * channels,
            Head::Bounded { dim, .. } => dim,
        }
    }

    /// Squares a side of the vector's layout; none where the head keeps none.
    pub fn squares(&self) -> Option<usize> {
        match self.head {
            Head::Pooled { .. } | Head::Bounded { .. } => None,
            Head::Grid { cells, .. } => Some(cells),
        }
    }

    /// A graph with one tower: input `patch`, output the vector.
    ///
    /// # Errors
    /// An input too small for the trunk or not divisible by the head's squares.
    pub fn tower_graph(&self, modality: Modality, batch: usize) -> Result<(Graph, NodeId)> {
        let mut graph = Graph::new();
        let x = graph.input("patch", &[batch, self.input, self.input, 4]);
        let y = self.tower(&mut graph, modality, x)?;
        Ok((graph, y))
    }

    /// Appends a tower to a graph and returns the node of its vectors.
    ///
    /// # Errors
    /// As [`EncoderConfig::tower_graph`].
    pub fn tower(&self, graph: &mut Graph, modality: Modality, x: NodeId) -> Result<NodeId> {
        let x = self.seen(graph, modality, x)?;
        let mut b = self.parts(graph, modality);
        let y = b.first(&self.architecture, x)?;
        let y = b.rest(self, y, None)?;
        self.bound(graph, y)
    }

    /// The values of a vector of [`Head::Bounded`] between 0 and 1; any other as it is.
    pub(crate) fn bound(&self, graph: &mut Graph, vectors: NodeId) -> Result<NodeId> {
        match self.head {
            Head::Bounded { .. } => graph.add("bound", Pointwise(Activation::Sigmoid), &[vectors]),
            Head::Pooled { .. } | Head::Grid { .. } => Ok(vectors),
        }
    }

    /// Appends the towers of `map` and `sar`, with what training adds, and returns the nodes of their vectors. What the modalities share
    /// sees the patches of both as one batch, so that training normalises them together, as the one set of running statistics will.
    ///
    /// # Errors
    /// As [`EncoderConfig::tower_graph`]; a style where there is no first unit, or of fewer maps than SAR patches.
    pub fn towers(&self, graph: &mut Graph, images: [NodeId; 2], inputs: TowerInputs) -> Result<[NodeId; 2]> {
        let [map, sar] = self.unbounded_towers(graph, images, inputs)?;
        Ok([self.bound(graph, map)?, self.bound(graph, sar)?])
    }

    /// The same, of [`Head::Bounded`] before their sigmoid ([`EncoderConfig::bound`]).
    pub(crate) fn unbounded_towers(&self, graph: &mut Graph, [map, sar]: [NodeId; 2], inputs: TowerInputs) -> Result<[NodeId; 2]> {
        let pair = [map, self.seen(graph, Modality::Sar, sar)?];
        let counts = pair.map(|n| graph.shape(n)[0]);
        let mut pair = match self.sharing {
            Sharing::Full => {
                let both = join(graph, pair)?;
                let both = self.parts(graph, Modality::Map).first(&self.architecture, both)?;
                if inputs.style.is_none() {
                    let y = self.parts(graph, Modality::Map).rest(self, both, inputs.dropout)?;
                    return part(graph, y, counts);
                }
                part(graph, both, counts)?
            }
            Sharing::Trunk | Sharing::Separate => [
                self.parts(graph, Modality::Map).first(&self.architecture, pair[0])?,
                self.parts(graph, Modality::Sar).first(&self.architecture, pair[1])?,
            ],
        };
        if let Some(share) = inputs.style {
            pair = self.mixed(graph, pair, share)?;
        }
        match self.sharing {
            Sharing::Separate => Ok([
                self.parts(graph, Modality::Map).rest(self, pair[0], inputs.dropout)?,
                self.parts(graph, Modality::Sar).rest(self, pair[1], inputs.dropout)?,
            ]),
            Sharing::Full | Sharing::Trunk => {
                let both = join(graph, pair)?;
                let y = self.parts(graph, Modality::Map).rest(self, both, inputs.dropout)?;
                part(graph, y, counts)
            }
        }
    }

    /// The pairs' images with their channels' statistics mixed; maps beyond them have no partner.
    fn mixed(&self, graph: &mut Graph, [map, sar]: [NodeId; 2], share: NodeId) -> Result<[NodeId; 2]> {
        if matches!(&self.architecture, Architecture::Residual { stem, .. } if stem.is_empty()) {
            return Err(Error::shape("mix statistics", "the encoder's stem has no convolution"));
        }
        let (maps, pairs) = (graph.shape(map)[0], graph.shape(sar)[0]);
        let (paired, beyond) = match maps > pairs {
            true => part(graph, map, [pairs, maps - pairs]).map(|[paired, beyond]| (paired, Some(beyond)))?,
            false => (map, None),
        };
        let of_map = graph.add("style.map", ImageStatistics, &[paired])?;
        let of_sar = graph.add("style.sar", ImageStatistics, &[sar])?;
        let map = graph.add("style.map", MixStatistics, &[paired, of_map, of_sar, share])?;
        let sar = graph.add("style.sar", MixStatistics, &[sar, of_sar, of_map, share])?;
        let map = beyond.map_or(Ok(map), |beyond| join(graph, [map, beyond]))?;
        Ok([map, sar])
    }

    /// A patch as its tower takes it.
    fn seen(&self, graph: &mut Graph, modality: Modality, x: NodeId) -> Result<NodeId> {
        match self.repeat_band && modality == Modality::Sar {
            true => graph.add("sar.bands", RepeatBand, &[x]),
            false => Ok(x),
        }
    }

    fn parts<'g>(&self, graph: &'g mut Graph, modality: Modality) -> Tower<'g> {
        let own = match modality {
            Modality::Map => "map",
            Modality::Sar => "sar",
        };
        let (stem, trunk) = match self.sharing {
            Sharing::Separate => (own, own),
            Sharing::Trunk => (own, "shared"),
            Sharing::Full => ("shared", "shared"),
        };
        // Each tower drops values of its own.
        let stream = match modality {
            Modality::Map => 0,
            Modality::Sar => 1,
        };
        Tower { graph, stem: stem.into(), trunk: trunk.into(), act: self.architecture.activation(), stream }
    }
}

/// What the normalised values before a sigmoid are scaled by at first: they fill its range, and a distance of 0.5 lies between that of a pair and that of others.
const BOUNDED_SCALE: f32 = 4.0;

/// Two batches as one.
fn join(graph: &mut Graph, pair: [NodeId; 2]) -> Result<NodeId> {
    graph.add("join", Stack, &pair)
}

/// One batch as two of so many.
fn part(graph: &mut Graph, both: NodeId, [first, second]: [usize; 2]) -> Result<[NodeId; 2]> {
    Ok([graph.add("part", Rows { from: 0, count: first }, &[both])?, graph.add("part", Rows { from: first, count: second }, &[both])?])
}

struct Tower<'g> {
    graph: &'g mut Graph,
    stem: String,
    trunk: String,
    act: Activation,
    stream: u32,
}

impl Tower<'_> {
    /// Convolution without bias, batch normalisation, and the activation where asked.
    fn unit(&mut self, conv: &str, norm: &str, x: NodeId, geometry: Conv, channels: usize, act: bool) -> Result<NodeId> {
        let y = self.graph.add(conv, Conv2d { geometry, channels, bias: false, relu: false }, &[x])?;
        let fused = act && self.act == Activation::Relu;
        let y = self.graph.add(norm, BatchNorm { relu: fused, ..BatchNorm::default() }, &[y])?;
        if act && !fused { self.graph.add(&format!("{norm}.act"), Pointwise(self.act), &[y]) } else { Ok(y) }
    }

    /// The first convolution with its normalisation and activation, the modality's own unless all is shared; a residual net may have none.
    fn first(&mut self, architecture: &Architecture, x: NodeId) -> Result<NodeId> {
        let (geometry, channels) = match architecture {
            Architecture::Residual { stem, .. } => match stem.first() {
                Some(channels) => (Conv::square(3, 2, 1), *channels),
                None => return Ok(x),
            },
            Architecture::Resnet18 | Architecture::Resnet34 | Architecture::Resnet50 => (Conv::square(7, 2, 1), 64),
            Architecture::Darknet53 => (Conv::square(3, 1, 1), 32),
        };
        let s = self.stem.clone();
        self.unit(&format!("{s}.conv1"), &format!("{s}.bn1"), x, geometry, channels, true)
    }

    /// All that follows.
    fn rest(&mut self, config: &EncoderConfig, y: NodeId, dropout: Option<NodeId>) -> Result<NodeId> {
        let maps = self.stages(&config.architecture, y, config.last_stride)?;
        let y = maps.last().copied().unwrap_or(y);
        self.head(config.head, y, dropout)
    }

    /// The feature map behind each stage, the finest first; of a residual net without stages that behind its stem.
    fn stages(&mut self, architecture: &Architecture, y: NodeId, last: Option<usize>) -> Result<Vec<NodeId>> {
        match architecture {
            Architecture::Residual { stem, stages } => self.residual(y, stem, stages, last),
            Architecture::Resnet18 => self.resnet(y, [2, 2, 2, 2], false, last),
            Architecture::Resnet34 => self.resnet(y, [3, 4, 6, 3], false, last),
            Architecture::Resnet50 => self.resnet(y, [3, 4, 6, 3], true, last),
            Architecture::Darknet53 => self.darknet53(y, last),
        }
    }

    fn residual(&mut self, mut y: NodeId, stem: &[usize], stages: &[Stage], last: Option<usize>) -> Result<Vec<NodeId>> {
        let t = self.trunk.clone();
        for (i, channels) in stem.iter().enumerate().skip(1) {
            let (conv, norm) = (format!("{t}.conv{}", i + 1), format!("{t}.bn{}", i + 1));
            y = self.unit(&conv, &norm, y, Conv::square(3, 2, 1), *channels, true)?;
        }
        let mut maps = if stages.is_empty() { vec![y] } else { Vec::new() };
        for (i, stage) in stages.iter().enumerate() {
            let first = last.filter(|_| i + 1 == stages.len()).unwrap_or(stage.stride);
            for block in 0..stage.blocks {
                let stride = if block == 0 { first } else { 1 };
                y = self.basic(&format!("{t}.layer{}.{block}", i + 1), y, stage.channels, stride, stage.dilation)?;
            }
            maps.push(y);
        }
        Ok(maps)
    }

    fn basic(&mut self, p: &str, x: NodeId, channels: usize, stride: usize, dilation: usize) -> Result<NodeId> {
        let y = self.unit(&format!("{p}.conv1"), &format!("{p}.bn1"), x, Conv::square(3, stride, 1), channels, true)?;
        let y = self.unit(&format!("{p}.conv2"), &format!("{p}.bn2"), y, Conv::square(3, 1, dilation), channels, false)?;
        self.join(p, x, y, channels, stride)
    }

    fn bottleneck(&mut self, p: &str, x: NodeId, channels: usize, stride: usize) -> Result<NodeId> {
        let y = self.unit(&format!("{p}.conv1"), &format!("{p}.bn1"), x, Conv::square(1, 1, 1), channels, true)?;
        let y = self.unit(&format!("{p}.conv2"), &format!("{p}.bn2"), y, Conv::square(3, stride, 1), channels, true)?;
        let y = self.unit(&format!("{p}.conv3"), &format!("{p}.bn3"), y, Conv::square(1, 1, 1), 4 * channels, false)?;
        self.join(p, x, y, 4 * channels, stride)
    }

    fn join(&mut self, p: &str, x: NodeId, y: NodeId, channels: usize, stride: usize) -> Result<NodeId> {
        let same = self.graph.shape(x).last() == Some(&channels) && stride == 1;
        let x = match same {
            true => x,
            false => {
                self.unit(&format!("{p}.downsample.0"), &format!("{p}.downsample.1"), x, Conv::square(1, stride, 1), channels, false)?
            }
        };
        self.graph.add(p, Add { relu: true }, &[x, y])
    }

    fn resnet(&mut self, y: NodeId, blocks: [usize; 4], bottleneck: bool, last: Option<usize>) -> Result<Vec<NodeId>> {
        let t = self.trunk.clone();
        let mut maps = Vec::new();
        let mut y = self.graph.add(&format!("{t}.maxpool"), MaxPool { kernel: 3, stride: 2, pad: 1 }, &[y])?;
        for (i, count) in blocks.into_iter().enumerate() {
            let first = match i {
                0 => 1,
                3 => last.unwrap_or(2),
                _ => 2,
            };
            for block in 0..count {
                let stride = if block == 0 { first } else { 1 };
                let p = format!("{t}.layer{}.{block}", i + 1);
                y = match bottleneck {
                    true => self.bottleneck(&p, y, 64 << i, stride)?,
                    false => self.basic(&p, y, 64 << i, stride, 1)?,
                };
            }
            maps.push(y);
        }
        Ok(maps)
    }

    /// Redmon and Farhadi, "YOLOv3: an incremental improvement", 2018, table 1.
    fn darknet53(&mut self, mut y: NodeId, last: Option<usize>) -> Result<Vec<NodeId>> {
        let t = self.trunk.clone();
        let mut maps = Vec::new();
        for (i, count) in [1usize, 2, 8, 8, 4].into_iter().enumerate() {
            let channels = 64 << i;
            let p = format!("{t}.layer{}", i + 1);
            let stride = last.filter(|_| i == 4).unwrap_or(2);
            y = self.unit(&format!("{p}.conv"), &format!("{p}.bn"), y, Conv::square(3, stride, 1), channels, true)?;
            for block in 0..count {
                let p = format!("{p}.{block}");
                let z = self.unit(&format!("{p}.conv1"), &format!("{p}.bn1"), y, Conv::square(1, 1, 1), channels / 2, true)?;
                let z = self.unit(&format!("{p}.conv2"), &format!("{p}.bn2"), z, Conv::square(3, 1, 1), channels, true)?;
                y = self.graph.add(&p, Add { relu: false }, &[y, z])?;
            }
            maps.push(y);
        }
        Ok(maps)
    }

    fn head(&mut self, head: Head, x: NodeId, dropout: Option<NodeId>) -> Result<NodeId> {
        let t = self.trunk.clone();
        let y = match head {
            Head::Pooled { pool, dim, norm, dropout: rate } => {
                let side = self.graph.shape(x)[1];
                let mut y = match pool {
                    Pooling::Max => self.graph.add(&format!("{t}.pool"), MaxPool { kernel: side, stride: side, pad: 0 }, &[x])?,
                    Pooling::Average => self.graph.add(&format!("{t}.pool"), AvgPool { kernel: side, stride: side, pad: 0 }, &[x])?,
                    Pooling::Gem => self.graph.add(&format!("{t}.gem"), Gem { p: 3.0, eps: 1e-6 }, &[x])?,
                };
                if let Some(state) = dropout.filter(|_| rate > 0.0) {
                    y = self.graph.add(&format!("{t}.dropout"), Dropout { rate, stream: self.stream }, &[y, state])?;
                }
                if let Some(dim) = dim {
                    y = self.graph.add(&format!("{t}.fc"), Linear { out: dim, bias: true }, &[y])?;
                }
                match norm {
                    true => self.graph.add(&format!("{t}.norm"), BatchNorm::default(), &[y])?,
                    false => y,
                }
            }
            Head::Grid { cells, channels } => {
                let y = self.graph.add(
                    &format!("{t}.project"),
                    Conv2d { geometry: Conv::square(1, 1, 1), channels, bias: true, relu: false },
                    &[x],
                )?;
                let y = self.squares("grid", y, cells)?;
                let y = self.graph.add(&format!("{t}.pixel"), L2Norm { span: Span::Pixel, eps: 1e-6 }, &[y])?;
                self.graph.add(&format!("{t}.center"), Center, &[y])?
            }
            Head::Bounded { channels, hidden, dim, cells, norm } => return self.bounded(x, [channels, hidden, dim], cells, norm),
        };
        self.graph.add(&format!("{t}.unit"), L2Norm { span: Span::Image, eps: 1e-6 }, &[y])
    }

    /// Means over so many squares a side of a feature map.
    fn squares(&mut self, name: &str, y: NodeId, cells: usize) -> Result<NodeId> {
        let side = self.graph.shape(y)[1];
        if cells == 0 || !side.is_multiple_of(cells) {
            return Err(Error::shape("head", format!("a {side} x {side} feature map does not divide into {cells} x {cells} squares")));
        }
        match side / cells {
            1 => Ok(y),
            k => self.graph.add(&format!("{}.{name}", self.trunk), AvgPool { kernel: k, stride: k, pad: 0 }, &[y]),
        }
    }

    fn bounded(&mut self, x: NodeId, [channels, hidden, dim]: [usize; 3], cells: usize, norm: bool) -> Result<NodeId> {
        let t = self.trunk.clone();
        let project = Conv2d { geometry: Conv::square(1, 1, 1), channels, bias: true, relu: true };
        let y = self.graph.add(&format!("{t}.project"), project, &[x])?;
        let y = self.squares("pool", y, cells)?;
        let y = self.graph.add(&format!("{t}.fc1"), Linear { out: hidden, bias: true }, &[y])?;
        let y = self.graph.add(&format!("{t}.fc1.act"), Pointwise(Activation::Relu), &[y])?;
        // A normalisation takes an offset away.
        let y = self.graph.add(&format!("{t}.fc2"), Linear { out: dim, bias: !norm }, &[y])?;
        match norm {
            true => self.graph.add(&format!("{t}.norm"), BatchNorm { scale: BOUNDED_SCALE, ..BatchNorm::default() }, &[y]),
            false => Ok(y),
        }
    }
}

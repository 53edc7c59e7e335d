//! Encoders from one builder: small residual nets, ResNet-18/34/50 and Darknet-53, with a head.

use super::graph::{Graph, NodeId};
use super::ops::{Add, AvgPool, BatchNorm, Center, Conv2d, Gem, ImageStatistics, L2Norm, Linear, MaxPool, MixStatistics, Pointwise, Span};
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
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
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

impl Architecture {
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

/// From the feature map to a unit vector.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Head {
    /// Generalised mean over the patch, then a linear layer to `dim`: where things lie inside the patch is lost.
    Gem {
        /// Length of the vector.
        dim: usize,
    },
    /// A 1x1 convolution to `channels`, averaged into `cells` x `cells` squares, each square's vector scaled to unit length,
    /// each channel's mean over the patch removed, flattened: the cosine of two such vectors is a normalised cross-correlation that keeps the layout of the patch.
    Grid {
        /// Squares a side.
        cells: usize,
        /// Channels a square.
        channels: usize,
    },
}

/// An encoder: patch [N, input, input, 4] to unit vector [N, dim].
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
}

impl EncoderConfig {
    /// Length of the vector.
    pub fn dim(&self) -> usize {
        match self.head {
            Head::Gem { dim } => dim,
            Head::Grid { cells, channels } => cells * cells * channels,
        }
    }

    /// Squares a side of the vector's layout; none where the head keeps none.
    pub fn squares(&self) -> Option<usize> {
        match self.head {
            Head::Gem { .. } => None,
            Head::Grid { cells, .. } => Some(cells),
        }
    }

    /// A graph with one tower: input `patch`, output the unit vector.
    ///
    /// # Errors
    /// An input too small for the trunk or not divisible by the head's squares.
    pub fn tower_graph(&self, modality: Modality, batch: usize) -> Result<(Graph, NodeId)> {
        let mut graph = Graph::new();
        let x = graph.input("patch", &[batch, self.input, self.input, 4]);
        let y = self.tower(&mut graph, modality, x)?;
        Ok((graph, y))
    }

    /// Appends a tower to a graph and returns the node of its unit vectors.
    ///
    /// # Errors
    /// As [`EncoderConfig::tower_graph`].
    pub fn tower(&self, graph: &mut Graph, modality: Modality, x: NodeId) -> Result<NodeId> {
        let mut b = self.parts(graph, modality);
        let y = b.first(&self.architecture, x)?;
        b.rest(self, y)
    }

    /// Appends the towers of `map` and `sar`, as [`EncoderConfig::tower`] does, and returns the nodes of their unit vectors. With a `style`
    /// \[batch\], an image's share of its own statistics, the first unit of each tower ends in images that have mixed their channels'
    /// statistics with those of the other modality's image of the pair ([`MixStatistics`]): for training; 1 leaves both as they are.
    ///
    /// # Errors
    /// As [`EncoderConfig::tower_graph`]; a style where there is no first unit.
    pub fn towers(&self, graph: &mut Graph, [map, sar]: [NodeId; 2], style: Option<NodeId>) -> Result<[NodeId; 2]> {
        let Some(share) = style else {
            return Ok([self.tower(graph, Modality::Map, map)?, self.tower(graph, Modality::Sar, sar)?]);
        };
        if matches!(&self.architecture, Architecture::Residual { stem, .. } if stem.is_empty()) {
            return Err(Error::shape("mix statistics", "the encoder's stem has no convolution"));
        }
        let map = self.parts(graph, Modality::Map).first(&self.architecture, map)?;
        let sar = self.parts(graph, Modality::Sar).first(&self.architecture, sar)?;
        let of_map = graph.add("style.map", ImageStatistics, &[map])?;
        let of_sar = graph.add("style.sar", ImageStatistics, &[sar])?;
        let map = graph.add("style.map", MixStatistics, &[map, of_map, of_sar, share])?;
        let sar = graph.add("style.sar", MixStatistics, &[sar, of_sar, of_map, share])?;
        Ok([self.parts(graph, Modality::Map).rest(self, map)?, self.parts(graph, Modality::Sar).rest(self, sar)?])
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
        let act = if self.architecture == Architecture::Darknet53 { Activation::LeakyRelu(0.1) } else { Activation::Relu };
        Tower { graph, stem: stem.into(), trunk: trunk.into(), act }
    }
}

struct Tower<'g> {
    graph: &'g mut Graph,
    stem: String,
    trunk: String,
    act: Activation,
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
    fn rest(&mut self, config: &EncoderConfig, y: NodeId) -> Result<NodeId> {
        let y = match &config.architecture {
            Architecture::Residual { stem, stages } => self.residual(y, stem, stages)?,
            Architecture::Resnet18 => self.resnet(y, [2, 2, 2, 2], false)?,
            Architecture::Resnet34 => self.resnet(y, [3, 4, 6, 3], false)?,
            Architecture::Resnet50 => self.resnet(y, [3, 4, 6, 3], true)?,
            Architecture::Darknet53 => self.darknet53(y)?,
        };
        self.head(config.head, y)
    }

    fn residual(&mut self, mut y: NodeId, stem: &[usize], stages: &[Stage]) -> Result<NodeId> {
        let t = self.trunk.clone();
        for (i, channels) in stem.iter().enumerate().skip(1) {
            let (conv, norm) = (format!("{t}.conv{}", i + 1), format!("{t}.bn{}", i + 1));
            y = self.unit(&conv, &norm, y, Conv::square(3, 2, 1), *channels, true)?;
        }
        for (i, stage) in stages.iter().enumerate() {
            for block in 0..stage.blocks {
                let stride = if block == 0 { stage.stride } else { 1 };
                y = self.basic(&format!("{t}.layer{}.{block}", i + 1), y, stage.channels, stride, stage.dilation)?;
            }
        }
        Ok(y)
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

    fn resnet(&mut self, y: NodeId, blocks: [usize; 4], bottleneck: bool) -> Result<NodeId> {
        let t = self.trunk.clone();
        let mut y = self.graph.add(&format!("{t}.maxpool"), MaxPool { kernel: 3, stride: 2, pad: 1 }, &[y])?;
        for (i, count) in blocks.into_iter().enumerate() {
            for block in 0..count {
                let stride = if i > 0 && block == 0 { 2 } else { 1 };
                let p = format!("{t}.layer{}.{block}", i + 1);
                y = match bottleneck {
                    true => self.bottleneck(&p, y, 64 << i, stride)?,
                    false => self.basic(&p, y, 64 << i, stride, 1)?,
                };
            }
        }
        Ok(y)
    }

    fn darknet53(&mut self, mut y: NodeId) -> Result<NodeId> {
        let t = self.trunk.clone();
        for (i, count) in [1usize, 2, 8, 8, 4].into_iter().enumerate() {
            let channels = 64 << i;
            let p = format!("{t}.layer{}", i + 1);
            y = self.unit(&format!("{p}.conv"), &format!("{p}.bn"), y, Conv::square(3, 2, 1), channels, true)?;
            for block in 0..count {
                let p = format!("{p}.{block}");
                let z = self.unit(&format!("{p}.conv1"), &format!("{p}.bn1"), y, Conv::square(1, 1, 1), channels / 2, true)?;
                let z = self.unit(&format!("{p}.conv2"), &format!("{p}.bn2"), z, Conv::square(3, 1, 1), channels, true)?;
                y = self.graph.add(&p, Add { relu: false }, &[y, z])?;
            }
        }
        Ok(y)
    }

    fn head(&mut self, head: Head, x: NodeId) -> Result<NodeId> {
        let t = self.trunk.clone();
        let y = match head {
            Head::Gem { dim } => {
                let y = self.graph.add(&format!("{t}.gem"), Gem { p: 3.0, eps: 1e-6 }, &[x])?;
                self.graph.add(&format!("{t}.fc"), Linear { out: dim, bias: true }, &[y])?
            }
            Head::Grid { cells, channels } => {
                let y = self.graph.add(
                    &format!("{t}.project"),
                    Conv2d { geometry: Conv::square(1, 1, 1), channels, bias: true, relu: false },
                    &[x],
                )?;
                let side = self.graph.shape(y)[1];
                if cells == 0 || !side.is_multiple_of(cells) {
                    return Err(Error::shape(
                        "grid head",
                        format!("a {side} x {side} feature map does not divide into {cells} x {cells} squares"),
                    ));
                }
                let k = side / cells;
                let y = match k {
                    1 => y,
                    _ => self.graph.add(&format!("{t}.grid"), AvgPool { kernel: k, stride: k, pad: 0 }, &[y])?,
                };
                let y = self.graph.add(&format!("{t}.pixel"), L2Norm { span: Span::Pixel, eps: 1e-6 }, &[y])?;
                self.graph.add(&format!("{t}.center"), Center, &[y])?
            }
        };
        self.graph.add(&format!("{t}.unit"), L2Norm { span: Span::Image, eps: 1e-6 }, &[y])
    }
}

//! Features for dense matching: a fully convolutional tower for each modality, a unit vector a pixel.

use super::encoder::Modality;
use super::graph::{Graph, NodeId};
use super::ops::{Add, BatchNorm, Center, Concat, Conv2d, KeepValid, L2Norm, Span, Upsample};
use super::weights::Network;
use crate::gpu::{Error, Result};
use crate::kernels::conv::Conv;
use serde::{Deserialize, Serialize};

/// How what was seen coarsely joins what was seen at full resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Skip {
    /// Summed; a 1x1 convolution fits the widths where they differ.
    Add,
    /// Side by side.
    Concat,
}

/// One resolution of the tower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// Channels.
    pub width: usize,
    /// A residual block (two 3x3 convolutions) for each, both of this dilation.
    pub dilations: Vec<usize>,
}

/// A tower: patch [N, S, S, 4] to features [N, S, S, channels], of unit length where the patch is valid and 0 elsewhere.
///
/// `stem` 3x3 convolutions; at each further level a 3x3 convolution of stride 2 and the level's residual blocks; then back up, each
/// time enlarged by two (bilinear), joined with what that level had, and a 3x3 convolution; all with batch normalisation and ReLU. A 1x1
/// convolution with bias gives the features. Nothing is shared between the modalities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseEncoderConfig {
    /// Convolutions at full resolution before the first level's blocks, 1 or more.
    pub stem: usize,
    /// The levels: full resolution, half, quarter, ...
    pub levels: Vec<Level>,
    /// How levels join.
    pub skip: Skip,
    /// Features a pixel.
    pub channels: usize,
}

impl Default for DenseEncoderConfig {
    fn default() -> Self {
        Self {
            stem: 1,
            levels: vec![Level { width: 32, dilations: Vec::new() }, Level { width: 48, dilations: vec![1, 2] }],
            skip: Skip::Add,
            channels: 16,
        }
    }
}

impl Network for DenseEncoderConfig {
    const KINDS: [&'static str; 2] = ["dense-model", "dense-checkpoint"];
}

/// A pixel counts where at least this share of it is valid.
const VALID: f32 = 0.5;

impl DenseEncoderConfig {
    /// Refuses what makes no tower.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::shape("dense encoder", what));
        match self {
            c if c.stem == 0 => refuse("stem must be at least 1"),
            c if !(1..=6).contains(&c.levels.len()) => refuse("one to six levels"),
            c if c.channels == 0 || c.levels.iter().any(|l| l.width == 0) => refuse("channels and widths must be above 0"),
            c if c.levels.iter().any(|l| l.dilations.contains(&0)) => refuse("dilations must be above 0"),
            _ => Ok(()),
        }
    }

    /// What sides of images must be a multiple of.
    pub fn multiple(&self) -> usize {
        1 << (self.levels.len() - 1)
    }

    /// How many pixels away an input pixel may still change a feature: what a tile needs around it.
    pub fn reach(&self) -> usize {
        let blocks = |l: &Level| l.dilations.iter().map(|d| 2 * d).sum::<usize>();
        let deeper = self.levels.iter().enumerate().skip(1).map(|(i, l)| {
            // The convolutions of the stride and after the joining, of the finer level; blocks and interpolation, of the coarser; and
            // where in its coarser pixel a pixel lies.
            (1 << i) + (blocks(l) + 2) * (1 << i)
        });
        self.stem + blocks(&self.levels[0]) + deeper.sum::<usize>()
    }

    /// A graph with one tower: input `patch` [batch, side, side, 4], output the features.
    ///
    /// # Errors
    /// As [`DenseEncoderConfig::check`]; a side that is no multiple of [`DenseEncoderConfig::multiple`].
    pub fn tower_graph(&self, modality: Modality, batch: usize, side: usize) -> Result<(Graph, NodeId)> {
        let mut graph = Graph::new();
        let x = graph.input("patch", &[batch, side, side, 4]);
        let y = self.tower(&mut graph, modality, x)?;
        Ok((graph, y))
    }

    /// Appends a tower to a graph and returns the node of its features.
    ///
    /// # Errors
    /// As [`DenseEncoderConfig::tower_graph`].
    pub fn tower(&self, graph: &mut Graph, modality: Modality, patch: NodeId) -> Result<NodeId> {
        self.check()?;
        let (shape, multiple) = (graph.shape(patch).to_vec(), self.multiple());
        if shape.len() != 4 || shape[1..3].iter().any(|s| *s == 0 || !s.is_multiple_of(multiple)) {
            return Err(Error::shape(
                "dense encoder",
                format!("{shape:?} is not [N, H, W, 4] with sides that are multiples of {multiple}"),
            ));
        }
        let name = match modality {
            Modality::Map => "map",
            Modality::Sar => "sar",
        };
        let mut t = Tower { graph, name };
        let mut y = patch;
        for i in 1..=self.stem {
            y = t.unit(&format!("stem{i}"), y, Conv::square(3, 1, 1), self.levels[0].width, true)?;
        }
        y = t.blocks(0, &self.levels[0], y)?;
        let mut seen = Vec::with_capacity(self.levels.len());
        for (i, level) in self.levels.iter().enumerate().skip(1) {
            seen.push(y);
            y = t.unit(&format!("down{i}"), y, Conv::square(3, 2, 1), level.width, true)?;
            y = t.blocks(i, level, y)?;
        }
        for (i, finer) in seen.into_iter().enumerate().rev() {
            let width = self.levels[i].width;
            if self.skip == Skip::Add && self.levels[i + 1].width != width {
                // Before it is enlarged: a quarter of the work.
                y = t.unit(&format!("fit{i}"), y, Conv::square(1, 1, 1), width, false)?;
            }
            y = t.graph.add(&format!("{name}.up{i}"), Upsample { factor: 2, bilinear: true }, &[y])?;
            y = match self.skip {
                Skip::Add => t.graph.add(&format!("{name}.skip{i}"), Add { relu: false }, &[y, finer])?,
                Skip::Concat => t.graph.add(&format!("{name}.skip{i}"), Concat, &[y, finer])?,
            };
            y = t.unit(&format!("join{i}"), y, Conv::square(3, 1, 1), width, true)?;
        }
        let head = Conv2d { geometry: Conv::square(1, 1, 1), channels: self.channels, bias: true, relu: false };
        y = t.graph.add(&format!("{name}.head"), head, &[y])?;
        y = t.graph.add(&format!("{name}.pixel"), L2Norm { span: Span::Pixel, eps: 1e-6 }, &[y])?;
        t.graph.add(&format!("{name}.valid"), KeepValid { least: VALID }, &[y, patch])
    }

    /// Appends what makes a template of a SAR patch's features [P, h, w, C]: each channel's mean over the patch removed, the whole of
    /// unit length, shape as before.
    ///
    /// Correlated with features of unit length a pixel, and multiplied by 1 / sqrt(h w) ([`DenseEncoderConfig::score_factor`]), it gives the
    /// normalised cross-correlation, -1 to 1: a window's own mean needs no removing, as the template's is 0.
    ///
    /// # Errors
    /// No image.
    pub fn template(graph: &mut Graph, features: NodeId) -> Result<NodeId> {
        let y = graph.add("sar.center", Center, &[features])?;
        graph.add("sar.unit", L2Norm { span: Span::Whole, eps: 1e-6 }, &[y])
    }

    /// What turns the correlation of a template of `h` x `w` pixels with features of unit length into a score within -1 to 1.
    pub fn score_factor(h: usize, w: usize) -> f32 {
        (1.0 / ((h * w) as f64).sqrt()) as f32
    }
}

struct Tower<'g> {
    graph: &'g mut Graph,
    name: &'static str,
}

impl Tower<'_> {
    /// Convolution without bias, batch normalisation, and ReLU where asked.
    fn unit(&mut self, part: &str, x: NodeId, geometry: Conv, channels: usize, relu: bool) -> Result<NodeId> {
        let y = self.graph.add(&format!("{}.{part}.conv", self.name), Conv2d { geometry, channels, bias: false, relu: false }, &[x])?;
        self.graph.add(&format!("{}.{part}.bn", self.name), BatchNorm { relu, ..BatchNorm::default() }, &[y])
    }

    fn blocks(&mut self, level: usize, of: &Level, mut x: NodeId) -> Result<NodeId> {
        for (i, dilation) in of.dilations.iter().enumerate() {
            let geometry = Conv::square(3, 1, *dilation);
            let y = self.unit(&format!("level{level}.{i}.1"), x, geometry, of.width, true)?;
            let y = self.unit(&format!("level{level}.{i}.2"), y, geometry, of.width, false)?;
            x = self.graph.add(&format!("{}.level{level}.{i}", self.name), Add { relu: true }, &[x, y])?;
        }
        Ok(x)
    }
}

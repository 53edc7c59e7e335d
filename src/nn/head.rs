//! From a feature map to a vector.

use serde::{Deserialize, Serialize};

/// What a pooled vector takes of each channel of the feature map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The largest value.
    Max,
    /// The mean.
    Average,
    /// The generalised mean, its exponent learned from 3 (Radenovic, Tolias, Chum, "Fine-tuning CNN image retrieval", 2018).
    #[default]
    Gem,
}

/// From the feature map to a vector: of unit length, but of [`Head::Bounded`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Head {
    /// Each channel pooled over the whole patch: where things lie inside the patch is lost.
    #[serde(alias = "gem")]
    Pooled {
        /// How.
        #[serde(default)]
        pool: Pooling,
        /// Length of the vector that a linear layer projects to; without one the vector is the pooled channels.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dim: Option<usize>,
        /// Batch normalisation of the vector before it is scaled to unit length: it takes away what all patches have in common, without which a
        /// batch-hard triplet loss from random values may draw all vectors into one point.
        #[serde(default, skip_serializing_if = "is_false")]
        norm: bool,
        /// Share of the pooled values that training drops, before the projection.
        #[serde(default, skip_serializing_if = "is_zero")]
        dropout: f32,
    },
    /// A 1x1 convolution to `channels`, averaged into `cells` x `cells` squares, each square's vector scaled to unit length,
    /// each channel's mean over the patch removed, flattened: the cosine of two such vectors is a normalised cross-correlation that keeps the layout of the patch.
    Grid {
        /// Squares a side.
        cells: usize,
        /// Channels a square.
        channels: usize,
    },
    /// A 1x1 convolution to `channels`, their means over the patch or over each of its squares, two fully connected layers, a sigmoid: values of 0 to 1 whose distance says
    /// whether two patches belong together (a bridge network; Huang et al., "The QXS-SAROPT dataset for deep learning in SAR-optical data
    /// fusion", 2021).
    Bounded {
        /// Channels of the convolution.
        #[serde(default = "bounded_channels")]
        channels: usize,
        /// Values between the two layers.
        #[serde(default = "bounded_channels")]
        hidden: usize,
        /// Length of the vector.
        #[serde(default = "bounded_dim")]
        dim: usize,
        /// Squares a side whose means the layers see; 1, the whole patch, as published.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        cells: usize,
        /// Batch normalisation before the sigmoid: without it the vectors of networks that start from random values all but become one, and nothing is learned from a few hundred pairs.
        #[serde(default, skip_serializing_if = "is_false")]
        norm: bool,
    },
}

fn one() -> usize {
    1
}

fn bounded_channels() -> usize {
    128
}

fn bounded_dim() -> usize {
    64
}

impl Head {
    /// The head of a bridge network: 128 channels, 128 values, a vector of 64, of the whole patch.
    pub fn bounded() -> Self {
        Self::Bounded { channels: bounded_channels(), hidden: bounded_channels(), dim: bounded_dim(), cells: 1, norm: false }
    }

    /// That of a small one, which learns from random values and few pairs: 32 channels of 4 x 4 squares, normalised.
    pub fn small_bounded() -> Self {
        Self::Bounded { channels: 32, hidden: bounded_channels(), dim: bounded_dim(), cells: 4, norm: true }
    }

    /// A pooled vector projected to `dim` values, not normalised, nothing dropped.
    pub fn pooled(pool: Pooling, dim: usize) -> Self {
        Self::Pooled { pool, dim: Some(dim), norm: false, dropout: 0.0 }
    }

    /// Share of values that training drops.
    pub fn dropout(&self) -> f32 {
        match self {
            Self::Pooled { dropout, .. } => *dropout,
            Self::Grid { .. } | Self::Bounded { .. } => 0.0,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_one(v: &usize) -> bool {
    *v == 1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(v: &f32) -> bool {
    *v == 0.0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
pub(super) fn is_false(v: &bool) -> bool {
    !*v
}

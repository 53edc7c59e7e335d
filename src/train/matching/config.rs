//! Settings of the training of matching models; every field has a default, a TOML file may set any of them (of `encoder`, all at once).

use crate::gpu::Precision;
use crate::kernels::bridge::Bridge;
use crate::nn::{Architecture, EncoderConfig, Head, OptimizerConfig, Sharing, Stage};
use crate::train::course::Course;
use crate::train::look::Look;
use crate::train::recipe::read_toml;
use crate::train::start::InitFrom;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Random changes of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MatchAugment {
    /// Both patches are turned together by a random multiple of 90 degrees.
    pub quarter_turns: bool,
    /// Both patches are mirrored together, every other time.
    pub mirror: bool,
    /// Contrast is multiplied by a factor of up to 1 + this (or its inverse).
    pub gain: f64,
    /// Brightness is shifted by up to this many standard deviations.
    pub offset: f64,
    /// Optical bands are mixed: each by up to this much of the others.
    pub mixing: f64,
    /// Every so often the optical patch is grey (share of patches).
    pub grey: f64,
    /// Standard deviation of noise on the optical patch, at most.
    pub noise: f64,
    /// Speckle of this many looks or more (up to 16) on half of the SAR patches; 0 for none.
    pub speckle_looks: u32,
}

impl Default for MatchAugment {
    fn default() -> Self {
        Self { quarter_turns: true, mirror: true, gain: 0.2, offset: 0.2, mixing: 0.1, grey: 0.1, noise: 0.1, speckle_looks: 4 }
    }
}

impl MatchAugment {
    pub(super) fn look(&self) -> Look {
        let Self { gain, offset, mixing, grey, noise, speckle_looks, .. } = *self;
        Look { gain, offset, mixing, grey, random_channel: 0.0, recolour: 0.0, noise, speckle_looks }
    }
}

/// A training run of a bridge network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MatchTrainConfig {
    /// The network, of a bounded head.
    pub encoder: EncoderConfig,
    /// The loss.
    pub bridge: Bridge,
    /// What InfoNCE over the batch weighs beside it, on the vectors before their sigmoid: each patch is to be more like its partner than like any other of the batch. 0 as published.
    pub contrast: f32,
    /// Side of a patch, pixels of the pairs; 0 for the shorter side of the smallest pair.
    pub patch: u32,
    /// Pairs in a step.
    pub batch: usize,
    /// Passes.
    pub epochs: usize,
    /// Steps in a pass.
    pub steps: usize,
    /// Everything random hangs on it.
    pub seed: u64,
    /// What the network starts from: a matching model of the same `encoder`, or for ResNet trunks a safetensors file with torchvision's names
    /// ([`crate::nn::import_torchvision`]); random values where there is none.
    pub init_from: Option<InitFrom>,
    /// Share of all steps over which the learning rate rises; then it falls as a cosine.
    pub warmup: f64,
    /// The optimiser.
    #[serde(deserialize_with = "optimizer")]
    pub optimizer: OptimizerConfig,
    /// How layers multiply: `full`, or `mixed` with factors in f16, where tensor cores have them, and the loss scaled.
    pub precision: Precision,
    /// Augmentation.
    pub augment: MatchAugment,
    /// Validation every so many epochs, and after the last.
    pub validate_every: usize,
    /// A checkpoint every so many steps.
    pub checkpoint_every: usize,
}

/// What a file leaves out of the optimiser is this training's.
fn optimizer<'de, D: serde::Deserializer<'de>>(said: D) -> std::result::Result<OptimizerConfig, D::Error> {
    MatchTrainConfig::default().optimizer.changed_by(said)
}

impl Default for MatchTrainConfig {
    fn default() -> Self {
        let stage = |channels, stride| Stage { channels, blocks: 1, stride, dilation: 1 };
        let architecture = Architecture::Residual { stem: vec![24, 48], stages: vec![stage(48, 1), stage(96, 2), stage(128, 2)] };
        Self {
            encoder: EncoderConfig::new(architecture, 64, Sharing::Separate, Head::small_bounded()),
            bridge: Bridge::default(),
            contrast: 1.0,
            patch: 0,
            batch: 32,
            epochs: 40,
            steps: 16,
            seed: 1,
            init_from: None,
            warmup: 0.05,
            optimizer: OptimizerConfig { lr: 1e-3, ..OptimizerConfig::default() },
            precision: Precision::Full,
            augment: MatchAugment::default(),
            validate_every: 5,
            checkpoint_every: 50,
        }
    }
}

impl MatchTrainConfig {
    /// Reads a TOML file: settings by themselves, or the table `match` of a recipe ([`crate::train::Recipe`]).
    ///
    /// # Errors
    /// Not there, not TOML, an unknown or senseless value; with the place.
    pub fn load(path: &Path) -> Result<Self> {
        let config: Self = read_toml(path, "match")?;
        config.check().map_err(|e| Error::file(path, e.to_string()))?;
        Ok(config)
    }

    /// Refuses values that make no sense.
    ///
    /// # Errors
    /// The field and what it may be.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::invalid(format!("matching configuration: {what}")));
        match self {
            c if !matches!(c.encoder.head, Head::Bounded { channels, hidden, dim, cells, .. } if [channels, hidden, dim, cells].iter().all(|v| *v > 0)) => {
                refuse("encoder.head must be of kind `bounded`, its channels, hidden, dim and cells above 0")
            }
            c if !(c.contrast.is_finite() && c.contrast >= 0.0) => refuse("contrast must be 0 or above, and a number"),
            c if c.batch < 4 => refuse("batch must be at least 4 (a pair's negatives are none of the pairs beside it)"),
            c if !(1..c.batch).contains(&c.bridge.negatives) => refuse("bridge.negatives must be above 0, and fewer than the batch"),
            c if !(c.bridge.alpha.is_finite() && c.bridge.alpha > 0.0) => refuse("bridge.alpha must be above 0, and a number"),
            c if !(c.bridge.eps.is_finite() && c.bridge.eps > 0.0) => refuse("bridge.eps must be above 0, and a number"),
            c => c.encoder.check().and_then(|()| c.course().check()).or_else(refuse),
        }
    }

    /// Steps in all.
    pub fn total_steps(&self) -> usize {
        self.epochs * self.steps
    }

    pub(super) fn course(&self) -> Course {
        Course {
            epochs: self.epochs,
            steps: self.steps,
            items: self.batch,
            seed: self.seed,
            warmup: self.warmup,
            hold: 0.0,
            optimizer: self.optimizer,
            precision: self.precision,
            validate_every: self.validate_every,
            checkpoint_every: self.checkpoint_every,
        }
    }
}

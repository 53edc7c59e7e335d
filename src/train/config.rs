//! What a training run is made of; every field has a default, a TOML file may set any of them (of `encoder`, all at once).

use super::course::Course;
use super::look::Look;
use super::loss::Loss;
use super::recipe::read_toml;
use super::start::InitFrom;
use crate::align::AlignConfig;
use crate::eval::HeldOut;
use crate::gpu::Precision;
use crate::index::IndexConfig;
use crate::kernels::triplet::Triplet;
use crate::nn::{Architecture, EncoderConfig, Head, Manifest, OptimizerConfig, Sharing, Stage};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Places that are kept, or judged on, at most.
pub(super) const MOST: usize = 1_000_000;

/// Random changes of a pair's look and place.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Both patches are turned together by a random multiple of 90 degrees.
    pub quarter_turns: bool,
    /// Both patches are mirrored together, every other time.
    pub mirror: bool,
    /// Both are turned together by up to this many degrees more.
    pub rotation_deg: f64,
    /// Both are scaled together by up to this share.
    pub scale: f64,
    /// The SAR patch alone is turned by up to this many degrees and scaled by up to a hundredth of that per degree.
    pub relative_rotation_deg: f64,
    /// The SAR patch is displaced by up to this share of a view's step along both axes: half a step is what a query anywhere may have.
    pub shift: f64,
    /// And by up to this many map pixels more: the residual error of the scenes' registration.
    pub registration_px: f64,
    /// Contrast is multiplied by a factor of up to 1 + this (or its inverse).
    pub gain: f64,
    /// Brightness is shifted by up to this many standard deviations.
    pub offset: f64,
    /// Map bands are mixed: each by up to this much of the others.
    pub mixing: f64,
    /// Every so often the map is grey (share of patches).
    pub grey: f64,
    /// Every so often the map's three bands all show the same one of them (Ye et al., "Channel augmented joint learning", 2021).
    pub random_channel: f64,
    /// Every so often they all show a random combination of them, of either sign: another radiometry.
    pub recolour: f64,
    /// Every so often a pair's two images take a part of each other's feature statistics, after the towers' first unit, by a share
    /// that is Beta(0.1, 0.1) (Zhou et al., "Domain generalization with MixStyle", 2021).
    pub mix_statistics: f64,
    /// Standard deviation of noise on the map, at most.
    pub noise: f64,
    /// Speckle of this many looks or more (up to 16) on half of the SAR patches; 0 for none.
    pub speckle_looks: u32,
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            quarter_turns: true,
            mirror: true,
            rotation_deg: 0.0,
            scale: 0.03,
            relative_rotation_deg: 1.0,
            shift: 0.5,
            registration_px: 3.0,
            gain: 0.25,
            offset: 0.3,
            mixing: 0.2,
            grey: 0.1,
            random_channel: 0.0,
            recolour: 0.0,
            mix_statistics: 0.0,
            noise: 0.1,
            speckle_looks: 4,
        }
    }
}

impl Augment {
    pub(super) fn look(&self) -> Look {
        let Self { gain, offset, mixing, grey, random_channel, recolour, noise, speckle_looks, .. } = *self;
        Look { gain, offset, mixing, grey, random_channel, recolour, noise, speckle_looks }
    }
}

/// A training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// The network.
    pub encoder: EncoderConfig,
    /// Side of a patch, map pixels.
    pub patch: u32,
    /// Views a side that the index will use: their step sets how far a query may be displaced.
    pub views: u32,
    /// Pairs in a step.
    pub batch: usize,
    /// Passes.
    pub epochs: usize,
    /// Steps in a pass.
    pub steps: usize,
    /// Everything random hangs on it.
    pub seed: u64,
    /// What the encoder starts from: a model file of the same `encoder`, `shipped`, or for ResNet trunks a safetensors file with
    /// torchvision's names ([`crate::nn::import_torchvision`]); random values where there is none.
    pub init_from: Option<InitFrom>,
    /// What draws a place's two vectors together and pushes the others away.
    pub loss: Loss,
    /// Settings of `loss = "triplet"`.
    pub triplet: Triplet,
    /// Whether ground that a SAR patch shares with another place's map counts: InfoNCE weights its positives by the intersection over the
    /// union of the two (where they lie alike), triplets leave such pairs out.
    pub overlap: bool,
    /// Pairs a place: several give each SAR patch as many right maps.
    pub positives: usize,
    /// Maps beside those of the pairs, negatives alone; of the ground that `held_out` names, where there is such.
    pub map_negatives: usize,
    /// Share of the ground, in strips, whose SAR image no pair shows, to be judged on (`eval --protocol` with `--held-out`); 0 for none.
    pub held_out: f64,
    /// Weight of a softmax over the scenes' cells, by which both vectors of a pair are told where they lie; 0 for none.
    pub class_weight: f64,
    /// Label smoothing of InfoNCE and of the softmax over cells.
    pub smoothing: f32,
    /// Share of all steps over which the learning rate rises; then it falls as a cosine.
    pub warmup: f64,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// How layers multiply: `full`, or `mixed` with factors in f16, where tensor cores have them, and the loss scaled.
    pub precision: Precision,
    /// What draws the two modalities' embeddings together.
    pub align: AlignConfig,
    /// Augmentation.
    pub augment: Augment,
    /// Share of a batch drawn as geographic neighbours (clusters of 4 within two cells): hard negatives from the first step.
    pub near: f64,
    /// Share of a batch drawn as neighbours in the embedding of the epoch's start, from epoch `similar_from` on.
    pub similar: f64,
    /// First epoch with such batches.
    pub similar_from: usize,
    /// Places kept for them.
    pub pool: usize,
    /// Validation every so many epochs, and after the last.
    pub validate_every: usize,
    /// Random queries of a validation.
    pub validate_queries: usize,
    /// Views a side at validation (the final evaluation uses the index's own).
    pub validate_views: u32,
    /// Whether a validation measures the gap between the modalities too.
    pub validate_gap: bool,
    /// A checkpoint every so many steps.
    pub checkpoint_every: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            encoder: EncoderConfig::new(
                Architecture::Residual { stem: vec![32, 32], stages: vec![Stage { channels: 32, blocks: 1, stride: 1, dilation: 1 }] },
                96,
                Sharing::Separate,
                Head::Grid { cells: 8, channels: 16 },
            ),
            patch: 200,
            views: crate::index::DEFAULT_VIEWS,
            batch: 64,
            epochs: 24,
            steps: 50,
            seed: 1,
            init_from: None,
            loss: Loss::Infonce,
            triplet: Triplet::default(),
            overlap: false,
            positives: 1,
            map_negatives: 0,
            held_out: 0.0,
            class_weight: 0.0,
            smoothing: 0.1,
            warmup: 0.05,
            optimizer: OptimizerConfig::default(),
            precision: Precision::Full,
            align: AlignConfig::default(),
            augment: Augment::default(),
            near: 0.25,
            similar: 0.25,
            similar_from: 8,
            pool: 1024,
            validate_every: 4,
            validate_queries: 200,
            validate_views: 3,
            validate_gap: false,
            checkpoint_every: 50,
        }
    }
}

impl TrainConfig {
    /// The defaults for going on from a model: of its network.
    ///
    /// # Errors
    /// A file that cannot be read, or holds no encoder.
    pub fn from_model(from: InitFrom) -> Result<Self> {
        let encoder = from.encoder()?.encoder().clone();
        Ok(Self { encoder, init_from: Some(from), ..Self::default() })
    }

    /// What a model's encoder was trained by, before a graph network was trained together with it, if one was; none where its manifest does not say.
    pub fn of(manifest: &Manifest) -> Option<Self> {
        serde_json::from_value(manifest.encoder_training.as_ref().unwrap_or(&manifest.training).clone()).ok()
    }

    /// Reads a TOML file: settings by themselves, or the table `train` of a recipe ([`super::Recipe`]).
    ///
    /// # Errors
    /// Not there, not TOML, an unknown or senseless value; with the place.
    pub fn load(path: &Path) -> Result<Self> {
        let config: Self = read_toml(path, "train")?;
        config.check().map_err(|e| Error::file(path, e.to_string()))?;
        Ok(config)
    }

    /// Refuses values that make no sense.
    ///
    /// # Errors
    /// The field and what it may be.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::invalid(format!("training configuration: {what}")));
        match self {
            c if c.batch < 2 => refuse("batch must be at least 2 (a pair alone has no negatives)"),
            c if c.positives == 0 || !c.batch.is_multiple_of(c.positives) || c.places() < 2 => {
                refuse("batch must be a multiple of positives, and hold two places at least")
            }
            c if !(0.0..=0.5).contains(&c.held_out) => refuse("held_out is a share, 0 to 0.5"),
            c if !c.class_weight.is_finite() || c.class_weight < 0.0 => refuse("class_weight must be 0 or above, and a number"),
            c if !c.triplet.margin.is_finite() => refuse("triplet.margin must be a number"),
            c if !(c.triplet.eps.is_finite() && c.triplet.eps > 0.0) => refuse("triplet.eps must be above 0, and a number"),
            c if c.map_negatives > 1 << 16 => refuse("map_negatives are at most 65,536"),
            c if matches!(c.encoder.head, Head::Bounded { .. }) => {
                refuse("encoder.head of kind `bounded` is of matching models (`echogrid train --match`), not of an index's encoder")
            }
            c if c.encoder.dim() == 0 || !c.encoder.dim().is_multiple_of(2) => {
                refuse("encoder.head must make vectors of an even number of values: its dim, or without one the trunk's channels")
            }
            c if !(0.0..1.0).contains(&c.encoder.head.dropout()) => refuse("encoder.head.dropout is a share, 0 to below 1"),
            c if c.patch == 0 => refuse("patch must be above 0"),
            c if c.views.is_multiple_of(2) || c.validate_views.is_multiple_of(2) => refuse("views and validate_views must be odd"),
            c if !(0.0..=1.0).contains(&c.near) || !(0.0..=1.0).contains(&c.similar) => refuse("near and similar are shares, 0 to 1"),
            c if !(0.0..1.0).contains(&c.smoothing) => refuse("smoothing is a share, 0 to below 1"),
            c if !(1..=MOST).contains(&c.validate_queries) || c.pool > MOST => {
                refuse("validate_queries and pool are at most 1,000,000, and validate_queries above 0")
            }
            c if c.views > 255 || c.validate_views > 255 => refuse("views and validate_views are at most 255"),
            c if !(0.0..1.0).contains(&c.augment.scale) => refuse("augment.scale is a share, 0 to below 1"),
            c if !(0.0..=1.0).contains(&c.augment.mix_statistics) => refuse("augment.mix_statistics is a share, 0 to 1"),
            c if c.similar > 0.0 && c.pool < 4 * c.places() => refuse("pool must be at least four times the places of a batch"),
            c => c.align.check().and(c.encoder.check().and_then(|()| c.course().check()).or_else(refuse)),
        }
    }

    /// Steps in all.
    pub fn total_steps(&self) -> usize {
        self.epochs * self.steps
    }

    /// The index of so many views a side that judges the encoder.
    pub fn grid(&self, views: u32) -> IndexConfig {
        IndexConfig { cell: self.patch, stride: self.patch, views, ..IndexConfig::default() }
    }

    /// Places in a step.
    pub fn places(&self) -> usize {
        self.batch / self.positives.max(1)
    }

    /// The ground whose SAR image no pair shows.
    pub fn held_out(&self) -> Option<HeldOut> {
        (self.held_out > 0.0).then_some(HeldOut { patch: self.patch, share: self.held_out })
    }

    /// Whether the loss is told what each SAR patch has to do with each map.
    pub(super) fn weighs(&self) -> bool {
        self.overlap || self.positives > 1
    }

    /// Learning rate of a step (from 0): linear rise, then half a cosine down to 0.
    pub fn learning_rate(&self, step: usize) -> f64 {
        self.course().learning_rate(step)
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

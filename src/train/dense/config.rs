//! What a training run of dense features is made of; every field has a default, a TOML file may set any of them (of `encoder`, all at
//! once).

use crate::gpu::Precision;
use crate::nn::{DenseEncoderConfig, OptimizerConfig};
use crate::train::course::Course;
use crate::train::look::Look;
use crate::train::recipe::read_toml;
use crate::train::start::InitFrom;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Random changes of windows and patches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DenseAugment {
    /// A window and its patches are turned together by a random multiple of 90 degrees.
    pub quarter_turns: bool,
    /// They are mirrored together, every other time.
    pub mirror: bool,
    /// They are turned together by up to this many degrees more.
    pub rotation_deg: f64,
    /// They are scaled together by up to this share.
    pub scale: f64,
    /// A SAR patch alone is turned about its centre by up to this many degrees.
    pub relative_rotation_deg: f64,
    /// And scaled by up to this share.
    pub relative_scale: f64,
    /// Contrast is multiplied by a factor of up to 1 + this (or its inverse).
    pub gain: f64,
    /// Brightness is shifted by up to this many standard deviations.
    pub offset: f64,
    /// Map bands are mixed: each by up to this much of the others.
    pub mixing: f64,
    /// Every so often the map is grey (share of windows).
    pub grey: f64,
    /// Every so often all its bands show one of them (share of windows).
    pub random_channel: f64,
    /// Or a random mixture of them, negative perhaps: another radiometry (share of the rest).
    pub recolour: f64,
    /// Standard deviation of noise on the map, at most.
    pub noise: f64,
    /// Speckle of this many looks or more (up to 16) on half of the SAR patches; 0 for none.
    pub speckle_looks: u32,
}

impl Default for DenseAugment {
    fn default() -> Self {
        Self {
            quarter_turns: true,
            mirror: true,
            rotation_deg: 0.0,
            scale: 0.03,
            relative_rotation_deg: 3.0,
            relative_scale: 0.03,
            gain: 0.25,
            offset: 0.3,
            mixing: 0.2,
            grey: 0.1,
            random_channel: 0.0,
            recolour: 0.0,
            noise: 0.1,
            speckle_looks: 4,
        }
    }
}

impl DenseAugment {
    /// Nothing changes.
    pub(super) fn none() -> Self {
        Self {
            quarter_turns: false,
            mirror: false,
            rotation_deg: 0.0,
            scale: 0.0,
            relative_rotation_deg: 0.0,
            relative_scale: 0.0,
            gain: 0.0,
            offset: 0.0,
            mixing: 0.0,
            grey: 0.0,
            random_channel: 0.0,
            recolour: 0.0,
            noise: 0.0,
            speckle_looks: 0,
        }
    }

    pub(super) fn look(&self) -> Look {
        let Self { gain, offset, mixing, grey, random_channel, recolour, noise, speckle_looks, .. } = *self;
        Look { gain, offset, mixing, grey, random_channel, recolour, noise, speckle_looks }
    }
}

/// A training run of dense features. Sizes are in feature pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DenseTrainConfig {
    /// Both towers.
    pub encoder: DenseEncoderConfig,
    /// Ground metres a feature pixel; 0 for two map pixels of the first scene, rounded to a tenth of a metre.
    pub pixel_m: f64,
    /// How often windows are drawn in each scene and then each set of pairs, relative to each other; none for as often as their area.
    pub shares: Vec<f64>,
    /// Windows of the map in a step, an even number.
    pub windows: usize,
    /// Side of a window, a power of two.
    pub window: usize,
    /// SAR patches in a step: as many of each window.
    pub patches: usize,
    /// Side of a SAR patch.
    pub patch: usize,
    /// Passes.
    pub epochs: usize,
    /// Steps in a pass.
    pub steps: usize,
    /// Everything random hangs on it.
    pub seed: u64,
    /// What both towers start from: a model file or `shipped`; random values where there is none. Its `encoder` must be this one.
    pub init_from: Option<InitFrom>,
    /// Offsets this far from the true one count as right.
    pub radius: f32,
    /// What the scores (-1 to 1) are multiplied by before the softmax, at the start; learned.
    pub logit_scale: f32,
    /// And at most.
    pub max_logit_scale: f32,
    /// Share of all steps over which the learning rate rises.
    pub warmup: f64,
    /// Share of all steps, after those, over which it stays; then it falls as a cosine. A run that holds may be made longer as it goes
    /// (Hu et al., "MiniCPM", 2024).
    pub hold: f64,
    /// The optimiser.
    #[serde(deserialize_with = "optimizer")]
    pub optimizer: OptimizerConfig,
    /// How layers multiply: `full`, or `mixed` with factors in f16, where tensor cores have them, and the loss scaled.
    pub precision: Precision,
    /// Augmentation.
    pub augment: DenseAugment,
    /// Share of the windows drawn near places that were hard in the pass before, from epoch `hard_from` on.
    pub hard: f64,
    /// First epoch with such windows.
    pub hard_from: usize,
    /// Validation every so many epochs, and after the last.
    pub validate_every: usize,
    /// SAR patches of a validation.
    pub validate_patches: usize,
    /// Side of such a patch.
    pub validate_patch: usize,
    /// Windows of a validation, each patch against all; fewer where the scene holds no more side by side.
    pub validate_windows: usize,
    /// Side of such a window, a power of two.
    pub validate_window: usize,
    /// A checkpoint every so many steps.
    pub checkpoint_every: usize,
}

/// What a file leaves out of the optimiser is this training's.
fn optimizer<'de, D: serde::Deserializer<'de>>(said: D) -> std::result::Result<OptimizerConfig, D::Error> {
    DenseTrainConfig::default().optimizer.changed_by(said)
}

impl Default for DenseTrainConfig {
    fn default() -> Self {
        Self {
            encoder: DenseEncoderConfig::default(),
            pixel_m: 0.0,
            shares: Vec::new(),
            windows: 4,
            window: 128,
            patches: 24,
            patch: 40,
            epochs: 64,
            steps: 50,
            seed: 1,
            init_from: None,
            radius: 3.0,
            // 1 over what the scores of unlike places spread by: 1 / patch.
            logit_scale: 40.0,
            max_logit_scale: 1000.0,
            warmup: 0.03,
            hold: 0.0,
            optimizer: OptimizerConfig { lr: 3e-3, ..OptimizerConfig::default() },
            precision: Precision::Full,
            augment: DenseAugment::default(),
            hard: 0.25,
            hard_from: 10,
            validate_every: 8,
            validate_patches: 64,
            validate_patch: 50,
            validate_windows: 12,
            validate_window: 256,
            checkpoint_every: 50,
        }
    }
}

/// Near where the logit scale stays in runs from the shipped features; from the default it would take hundreds of steps to get there.
/// Models do not keep the scale that theirs ended with.
const LEARNT_LOGIT_SCALE: f32 = 120.0;

impl DenseTrainConfig {
    /// The defaults for going on from a model: of its network, at its ground size.
    ///
    /// # Errors
    /// A file that cannot be read, or holds no features for dense correlation.
    pub fn from_model(from: InitFrom) -> Result<Self> {
        let model = from.dense()?.0.manifest;
        let pixel_m = model.pixel_m.unwrap_or_default();
        Ok(Self { encoder: model.encoder, pixel_m, logit_scale: LEARNT_LOGIT_SCALE, init_from: Some(from), ..Self::default() })
    }

    /// Ground metres a feature pixel on maps with pixels of so many: `pixel_m`, or that of two map pixels, rounded to a tenth of a metre where that is a small change.
    pub(in crate::train) fn pixel_on(&self, map_px_m: f64) -> f64 {
        match self.pixel_m > 0.0 {
            true => self.pixel_m,
            false if map_px_m < 0.5 => 2.0 * map_px_m,
            false => (20.0 * map_px_m).round() / 10.0,
        }
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    /// Not there, not TOML, an unknown or senseless value; with the place.
    pub fn load(path: &Path) -> Result<Self> {
        let config: Self = read_toml(path, "dense")?;
        config.check()?;
        Ok(config)
    }

    /// Refuses values that make no sense.
    ///
    /// # Errors
    /// The field and what it may be.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::invalid(format!("training configuration: {what}")));
        self.encoder.check().map_err(|e| Error::invalid(format!("training configuration: {e}")))?;
        let multiple = self.encoder.multiple();
        let shares = [self.hard, self.augment.grey, self.augment.random_channel, self.augment.recolour];
        let below = [self.augment.scale, self.augment.relative_scale];
        let finite = [
            ("augment.rotation_deg", self.augment.rotation_deg),
            ("augment.relative_rotation_deg", self.augment.relative_rotation_deg),
            ("augment.gain", self.augment.gain),
            ("augment.offset", self.augment.offset),
            ("augment.mixing", self.augment.mixing),
            ("augment.noise", self.augment.noise),
            ("pixel_m", self.pixel_m),
        ];
        if let Some((name, v)) = finite.into_iter().find(|(_, v)| !(*v >= 0.0 && v.is_finite())) {
            return refuse(&format!("{name} must be 0 or above, not {v}"));
        }
        for (name, side) in [
            ("window", self.window),
            ("patch", self.patch),
            ("validate_window", self.validate_window),
            ("validate_patch", self.validate_patch),
        ] {
            if side == 0 || !side.is_multiple_of(multiple) {
                return refuse(&format!("{name} must be above 0 and a multiple of {multiple} for this encoder, not {side}"));
            }
            // Windows go through the Fourier transform as they are.
            if name.ends_with("window") && !(side.is_power_of_two() && (16..=4096).contains(&side)) {
                return refuse(&format!("{name} must be a power of two from 16 to 4096, not {side}"));
            }
        }
        match self {
            c if !(c.shares.is_empty() || c.shares.iter().all(|s| (0.0..=1e9).contains(s)) && c.shares.iter().any(|s| *s > 0.0)) => {
                refuse("shares must be 0 or above, and one of them above")
            }
            c if c.windows == 0 || !c.windows.is_multiple_of(2) || !c.encoder.channels.is_multiple_of(2) => {
                refuse("windows and encoder.channels must be above 0 and even")
            }
            c if c.patches == 0 || !c.patches.is_multiple_of(c.windows) => refuse("patches must be as many for each window"),
            c if c.patch >= c.window => refuse("patch must be smaller than window"),
            c if c.validate_patch > c.validate_window => refuse("validate_patch must not be larger than validate_window"),
            c if c.validate_patches == 0 || c.validate_windows == 0 => refuse("validate_patches and validate_windows must be above 0"),
            c if !(0.0..=64.0).contains(&c.radius) => refuse("radius is 0 to 64"),
            c if !(c.logit_scale > 0.0 && c.logit_scale <= c.max_logit_scale && c.max_logit_scale.is_finite()) => {
                refuse("logit_scale must be above 0 and not above max_logit_scale")
            }
            _ if shares.iter().any(|s| !(0.0..=1.0).contains(s)) => {
                refuse("hard, augment.grey, augment.random_channel and augment.recolour are shares, 0 to 1")
            }
            _ if below.iter().any(|s| !(0.0..1.0).contains(s)) => {
                refuse("augment.scale and augment.relative_scale are shares, 0 to below 1")
            }
            c => c.course().check().or_else(refuse),
        }
    }

    /// Steps in all.
    pub fn total_steps(&self) -> usize {
        self.epochs * self.steps
    }

    /// Learning rate of a step (from 0): linear rise, the highest for a while, then half a cosine down to 0.
    pub fn learning_rate(&self, step: usize) -> f64 {
        self.course().learning_rate(step)
    }

    /// Whether the learning rate of the last of so many steps was the highest, so that as many could have led there in a longer run.
    pub(super) fn holds_after(&self, steps: usize) -> bool {
        steps > 0 && self.learning_rate(steps - 1) == self.optimizer.lr
    }

    pub(super) fn course(&self) -> Course {
        Course {
            epochs: self.epochs,
            steps: self.steps,
            items: self.patches,
            seed: self.seed,
            warmup: self.warmup,
            hold: self.hold,
            optimizer: self.optimizer,
            precision: self.precision,
            validate_every: self.validate_every,
            checkpoint_every: self.checkpoint_every,
        }
    }
}

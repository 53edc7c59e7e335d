//! How long and how fast a run learns.

use crate::gpu::Precision;
use crate::nn::OptimizerConfig;

/// Steps of a run at most.
const MAX_STEPS: usize = 1_000_000_000;
/// Items of a step at most.
const MAX_ITEMS: usize = 1 << 16;

/// How long and how fast a run learns, and when it stops to look around.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    /// Passes.
    pub(super) epochs: usize,
    /// Steps in a pass.
    pub(super) steps: usize,
    /// What a step counts for in the rate that is reported.
    pub(super) items: usize,
    /// Everything random hangs on it.
    pub(super) seed: u64,
    /// Share of all steps over which the learning rate rises.
    pub(super) warmup: f64,
    /// Share of all steps, after those, over which it stays.
    pub(super) hold: f64,
    /// The optimiser.
    pub(super) optimizer: OptimizerConfig,
    /// How layers multiply.
    pub(super) precision: Precision,
    /// Validation every so many epochs, and after the last.
    pub(super) validate_every: usize,
    /// A checkpoint every so many steps.
    pub(super) checkpoint_every: usize,
}

impl Course {
    /// Steps in all.
    pub(super) fn total(&self) -> usize {
        self.epochs * self.steps
    }

    /// Learning rate of a step (from 0): linear rise, the highest for a while, then half a cosine down to 0.
    pub(super) fn learning_rate(&self, step: usize) -> f64 {
        let total = self.total() as f64;
        let warm = (self.warmup * total).max(1.0);
        let (t, held) = (step as f64 + 1.0, warm + self.hold * total);
        let factor = match t {
            t if t < warm => t / warm,
            t => 0.5 * (1.0 + (std::f64::consts::PI * ((t - held) / (total - held).max(1.0)).clamp(0.0, 1.0)).cos()),
        };
        self.optimizer.lr * factor
    }

    /// Refuses values that make no sense.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match self {
            c if c.epochs == 0 || c.steps == 0 => Err("epochs and steps must be above 0"),
            c if c.epochs.checked_mul(c.steps).is_none_or(|all| all > MAX_STEPS) => {
                Err("epochs times steps are more than the 1,000,000,000 steps a run takes; --epochs or steps must be fewer")
            }
            c if c.items > MAX_ITEMS => {
                Err("a step takes at most 65,536 pairs, patches or queries: batch, patches or queries must be fewer")
            }
            c if c.optimizer.lr <= 0.0 || !c.optimizer.lr.is_finite() => Err("optimizer.lr must be above 0"),
            c if !(0.0..=1.0).contains(&c.warmup) => Err("warmup is a share, 0 to 1"),
            c if !(0.0..=1.0).contains(&c.hold) || c.warmup + c.hold > 1.0 => Err("hold is a share, 0 to 1 less warmup"),
            c if !(0.0..1.0).contains(&c.optimizer.beta1) || !(0.0..1.0).contains(&c.optimizer.beta2) => {
                Err("optimizer.beta1 and beta2 are 0 to below 1")
            }
            c if c.optimizer.clip.is_nan() || c.optimizer.clip <= 0.0 => Err("optimizer.clip must be above 0"),
            c if !(0.0..1.0).contains(&c.optimizer.average) => Err("optimizer.average is 0 to below 1"),
            c if c.validate_every == 0 || c.checkpoint_every == 0 => Err("validate_every and checkpoint_every must be above 0"),
            _ => Ok(()),
        }
    }
}

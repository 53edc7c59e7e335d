//! What may be said of a run's course without a file of settings.

use crate::gpu::Precision;
use crate::nn::OptimizerConfig;

/// How long and how fast a run learns.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(in crate::cli) struct CourseArgs {
    /// Passes [default: that of the configuration]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Highest learning rate [default: that of the configuration]
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    /// How layers multiply [default: that of the configuration]
    #[arg(long, value_enum)]
    precision: Option<Precision>,
    /// Seed of everything random [default: that of the configuration]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl CourseArgs {
    /// Puts what was given in place of what the configuration says.
    pub(in crate::cli) fn change(&self, epochs: &mut usize, seed: &mut u64, precision: &mut Precision, optimizer: &mut OptimizerConfig) {
        *epochs = self.epochs.unwrap_or(*epochs);
        *seed = self.seed.unwrap_or(*seed);
        *precision = self.precision.unwrap_or(*precision);
        optimizer.lr = self.lr.unwrap_or(optimizer.lr);
    }
}

//! Training: batches, hard negatives, schedules, checkpoints, the loop.

mod batch;
mod checkpoint;
mod config;
mod run;

pub use batch::{Batcher, Place};
pub use checkpoint::{Progress, checkpoint_path, refuse_unfinished};
pub use config::{Augment, TrainConfig};
pub use run::{Event, Outcome, profile_step, train};

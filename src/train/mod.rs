//! Training: batches, hard negatives, schedules, checkpoints, the loop.

mod batch;
mod checkpoint;
mod config;
mod course;
mod run;

pub use batch::{Batcher, Place};
pub use checkpoint::{checkpoint_path, refuse_unfinished};
pub use config::{Augment, TrainConfig};
pub use course::{Event, Outcome};
pub use run::{profile_step, train};

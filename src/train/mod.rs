//! Training: batches, hard negatives, schedules, checkpoints, the loop; of encoders of patches ([`train`]) and of dense features
//! ([`train_dense`]).

mod batch;
mod checkpoint;
mod config;
mod course;
mod dense;
mod refine;
mod run;
mod start;

pub use batch::{Batcher, Place};
pub use checkpoint::{checkpoint_path, refuse_unfinished};
pub use config::{Augment, TrainConfig};
pub use course::{Event, Outcome};
pub use dense::{DenseAugment, DenseTrainConfig, profile_dense_step, train_dense};
pub use refine::{RefineTrainConfig, train_refiner};
pub use run::{profile_step, step_plan, train};
pub use start::InitFrom;

//! Training: batches, hard negatives, schedules, checkpoints, the loop; of encoders of patches ([`train`]) and of dense features
//! ([`train_dense`]).

mod batch;
mod checkpoint;
mod config;
mod course;
mod dense;
mod encoder;
mod event;
mod export;
mod learner;
mod log;
mod loss;
mod recipe;
mod refine;
mod run;
mod sampling;
mod start;
mod task;

pub use batch::{Batcher, Place};
pub use checkpoint::{checkpoint_path, refuse_unfinished};
pub use config::{Augment, TrainConfig};
pub use dense::{DenseAugment, DenseTrainConfig, profile_dense_step, train_dense};
pub use encoder::{profile_step, step_plan, train};
pub use event::{Event, Outcome};
pub use export::export;
pub use log::Log;
pub use loss::Loss;
pub use recipe::Recipe;
pub use refine::{RefineTrainConfig, train_refiner};
pub use start::InitFrom;

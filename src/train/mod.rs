//! Training: batches, hard negatives, schedules, checkpoints, the loop; of encoders of patches ([`train`]), of dense features
//! ([`train_dense`]) , of networks that match patches ([`train_matching`]) and of detectors
//! ([`train_detector`]).

mod batch;
mod checkpoint;
mod config;
mod course;
mod cuts;
mod dense;
mod detect;
mod encoder;
mod event;
mod export;
mod fitting;
mod learner;
mod log;
mod look;
mod loss;
mod matching;
mod recipe;
mod refine;
mod run;
mod sampling;
mod start;
mod task;
#[cfg(test)]
mod tests;

pub use batch::{Batcher, Place};
pub use checkpoint::{checkpoint_path, refuse_unfinished, scene_records};
pub use config::{Augment, TrainConfig};
pub use cuts::Cuts;
pub use dense::{DenseAugment, DenseTrainConfig, export_dense, profile_dense_step, train_dense};
pub use detect::{
    DetectAugment, DetectTrainConfig, RecipeOfDetectors, RegionSampling, export_detector, profile_detector_step, train_detector,
};
pub use encoder::{profile_step, step_plan, train};
pub use event::{Event, Outcome};
pub use export::export;
pub use fitting::{check_fits, suitable_patch};
pub use log::Log;
pub use loss::Loss;
pub use matching::{MatchAugment, MatchTrainConfig, export_matching, train_matching};
pub use recipe::Recipe;
pub use refine::{RefineTrainConfig, train_refiner};
pub use start::InitFrom;

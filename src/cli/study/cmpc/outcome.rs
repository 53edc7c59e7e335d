//! What became of a way, and of which settings.

use crate::eval::metrics::QueryResult;
use crate::train::{RefineTrainConfig, TrainConfig};
use serde::{Deserialize, Serialize};

/// All that decides what becomes of a way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) train: Option<TrainConfig>,
    pub(super) refine: Option<RefineTrainConfig>,
    /// Side of a cell and of a patch, map pixels.
    pub(super) patch: u32,
    pub(super) queries: usize,
    pub(super) strip: usize,
    /// SHA-256 of the maps and SAR images of all scenes, the one to judge on last.
    pub(super) scenes: Vec<String>,
}

/// What was found on some ground: of queries anywhere and on the grid.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) arbitrary: Vec<QueryResult>,
    /// None where queries are taken strip by strip, or where there are no cells.
    pub(super) aligned: Option<Vec<QueryResult>>,
}

/// What became of one way with one seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) way: String,
    pub(super) seed: u64,
    pub(super) settings: Settings,
    pub(super) adapter: String,
    /// On the scene never trained on.
    pub(super) cross: Found,
    /// On the ground of the training scenes whose SAR image was held out.
    pub(super) same: Option<Found>,
    /// Measures of the gap between the modalities over the training's steps, as its validations found them.
    pub(super) gap: Vec<serde_json::Value>,
}

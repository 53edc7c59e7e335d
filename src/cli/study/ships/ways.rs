//! The ways that `study ships` compares, and what became of each.

use crate::cli::detect::Head;
use crate::detect::Detection;
use crate::nn::SceneRecord;
use crate::train::DetectTrainConfig;
use serde::{Deserialize, Serialize};

/// What a detector's trunk starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Start {
    Random,
    Osm,
    Imagenet,
}

impl Start {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Osm => "osm",
            Self::Imagenet => "imagenet",
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Random => "random values",
            Self::Osm => "optical-SAR matching",
            Self::Imagenet => "ImageNet",
        }
    }
}

/// A detector from a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) head: Head,
    pub(super) start: Start,
}

impl Way {
    pub(super) fn name(self) -> String {
        format!("{}-{}", self.head.name(), self.start.name())
    }
}

/// What became of one training.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) head: Head,
    pub(super) start: Start,
    pub(super) seed: u64,
    /// Without the path of what it starts from, which [`Run::from`] names.
    pub(super) config: DetectTrainConfig,
    /// Hash of the file that it starts from.
    pub(super) from: Option<String>,
    /// The images of its training and those that it is judged on.
    pub(super) records: [SceneRecord; 2],
    pub(super) adapter: String,
    /// What it found in each of the latter.
    pub(super) found: Vec<Vec<Detection>>,
}

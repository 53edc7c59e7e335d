//! The kinds of detectors on the command line.

use crate::train::{DetectTrainConfig, RecipeOfDetectors};
use serde::{Deserialize, Serialize};

/// A detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum Head {
    /// One look: boxes straight from feature maps
    Yolo3,
    /// Two: proposals, then a look at each
    FasterRcnn,
}

impl Head {
    pub(in crate::cli) const ALL: [Self; 2] = [Self::Yolo3, Self::FasterRcnn];

    /// Its name in files.
    pub(in crate::cli) fn name(self) -> &'static str {
        match self {
            Self::Yolo3 => "yolo3",
            Self::FasterRcnn => "faster-rcnn",
        }
    }

    /// Its name in words.
    pub(in crate::cli) fn words(self) -> &'static str {
        match self {
            Self::Yolo3 => "YOLOv3",
            Self::FasterRcnn => "Faster R-CNN",
        }
    }

    /// The default settings.
    pub(in crate::cli) fn settings(self) -> DetectTrainConfig {
        self.of(&RecipeOfDetectors::default()).clone()
    }

    /// Its settings.
    pub(in crate::cli) fn of(self, recipe: &RecipeOfDetectors) -> &DetectTrainConfig {
        match self {
            Self::Yolo3 => &recipe.yolo3,
            Self::FasterRcnn => &recipe.faster_rcnn,
        }
    }
}

//! What a set of built pairs says of itself.

use serde::{Deserialize, Serialize};

use super::{BuildConfig, Crop, Reason, Sources};
use crate::scene::Image;

/// One of the images that pairs were cut from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Name of the file.
    pub file: String,
    /// Its SHA-256; none of what is no plain file.
    pub sha256: Option<String>,
    /// Its width and height, px.
    pub size: [u32; 2],
}

impl Source {
    fn of(image: &Image) -> Self {
        let raster = &image.raster;
        let file = raster.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { file, sha256: raster.sha256().ok(), size: [raster.width(), raster.height()] }
    }
}

/// A pair that was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Its number.
    pub number: usize,
    /// The SAR file, in the manifest's folder.
    pub sar: String,
    /// The optical file.
    pub optical: String,
    /// Where it lies, and what was measured on it.
    #[serde(flatten)]
    pub crop: Crop,
}

/// A crop that was left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// The limits that it fails.
    pub why: Vec<Reason>,
    /// Where it lies, and what was measured on it.
    #[serde(flatten)]
    pub crop: Crop,
}

/// What was cut from what, and how: `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The program's version.
    pub version: String,
    /// The SAR image.
    pub sar: Source,
    /// The optical image.
    pub optical: Source,
    /// How one lies on the other.
    pub transform: serde_json::Value,
    /// How crops were cut, and what they had to fulfil.
    pub config: BuildConfig,
    /// Crops without any data in one of the images.
    pub empty: usize,
    /// What was written.
    pub pairs: Vec<Kept>,
    /// What was left out.
    pub dropped: Vec<Dropped>,
}

impl Manifest {
    pub(super) fn new(sources: &Sources<'_>, config: &BuildConfig, transform: serde_json::Value, empty: usize) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            sar: Source::of(sources.sar),
            optical: Source::of(sources.optical),
            transform,
            config: *config,
            empty,
            pairs: Vec::new(),
            dropped: Vec::new(),
        }
    }

    /// How many crops fail a limit.
    pub fn failing(&self, reason: Reason) -> usize {
        self.dropped.iter().filter(|d| d.why.contains(&reason)).count()
    }

    /// How many fail which, in words.
    pub fn tally(&self) -> String {
        Reason::ALL.map(|r| format!("{} {}", r.name(), self.failing(r))).join(", ")
    }
}

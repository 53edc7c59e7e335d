//! The detector of a command, and what counts as found.

use crate::Result;
use crate::detect::{DetectOptions, Detector};
use crate::gpu::Engine;
use crate::nn::DetectorFile;
use std::path::PathBuf;

/// Which detector, and how its boxes are taken.
#[derive(Debug, clap::Args)]
pub(super) struct ModelArgs {
    /// Detector, as `detect train` writes it
    #[arg(long, value_name = "MODEL")]
    pub(super) model: PathBuf,
    /// Boxes of one class that overlap by more (IoU) are one: the surest stays. Boxes of neighbouring tiles are one from a half on
    #[arg(long, value_name = "IOU", default_value_t = 0.45)]
    nms: f64,
    /// Side of the tiles that large images are searched by, pixels [default: that of the images of the training]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..=8192))]
    tile: Option<u32>,
}

impl ModelArgs {
    /// The detector's file.
    pub(super) fn file(&self) -> Result<DetectorFile> {
        Ok(DetectorFile::load(&self.model)?)
    }

    /// The detector on a device, for so many images at once; several where one may be searched by tiles.
    pub(super) fn detector<'e>(&self, engine: &'e Engine, file: &DetectorFile, images: Option<usize>) -> Result<Detector<'e>> {
        Detector::new(engine, file, &self.model, images)
    }

    /// Boxes of this score at least, so many an image at most.
    pub(super) fn options(&self, score: f64, most: usize) -> DetectOptions {
        DetectOptions { score, iou: self.nms, most, tile: self.tile }
    }
}

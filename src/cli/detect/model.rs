//! The detectors of a command, and what counts as found.

use crate::detect::{DetectOptions, Detection, Detector, Fusion};
use crate::gpu::Engine;
use crate::nn::DetectorFile;
use crate::scene::Image;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which detectors, and how their boxes are taken.
#[derive(Debug, clap::Args)]
pub(super) struct ModelArgs {
    /// Detectors, as `detect train` writes them, or `shipped`; the boxes of several become one list (weighted boxes fusion) [default: the shipped one, of ships]
    #[arg(long, value_name = "MODEL", num_args = 1..)]
    model: Vec<PathBuf>,
    /// Boxes of one class that overlap by more (IoU) are one: the surest stays. Boxes of neighbouring tiles are one from a half on
    #[arg(long, value_name = "IOU", default_value_t = 0.45, value_parser = share)]
    nms: f64,
    /// Side of the tiles that large images are searched by, pixels [default: that of the images of the training]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(32..=8192))]
    tile: Option<u32>,
}

/// A share, all and nothing included.
pub(super) fn share(text: &str) -> std::result::Result<f64, String> {
    text.parse::<f64>().ok().filter(|v| (0.0..=1.0).contains(v)).ok_or_else(|| "a number from 0 to 1 is needed".into())
}

/// Detectors' files, of the same classes.
pub(super) struct Files(Vec<(DetectorFile, PathBuf)>);

/// Detectors that search the same images.
pub(super) struct Detectors<'e> {
    each: Vec<Detector<'e>>,
    nms: f64,
    tile: Option<u32>,
}

impl ModelArgs {
    /// The detectors' files.
    pub(super) fn files(&self) -> Result<Files> {
        let files = match &self.model[..] {
            [] => vec![Detector::file_of(None)?],
            some => {
                some.iter().map(|path| Detector::file_of((path != Path::new("shipped")).then_some(path))).collect::<Result<Vec<_>>>()?
            }
        };
        let (first, rest) = files.split_first().expect("one at least");
        let classes = |(file, _): &(DetectorFile, PathBuf)| file.manifest.encoder.classes.clone();
        match rest.iter().find(|f| classes(f) != classes(first)) {
            None => Ok(Files(files)),
            Some(other) => Err(Error::file(
                &other.1,
                format!(
                    "tells {:?} apart, {} {:?}: only the boxes of the same classes can be fused",
                    classes(other),
                    first.1.display(),
                    classes(first)
                ),
            )),
        }
    }

    /// The detectors on a device, for so many images at once; several where one may be searched by tiles.
    pub(super) fn detectors<'e>(&self, engine: &'e Engine, files: &Files, images: Option<usize>) -> Result<Detectors<'e>> {
        let each = files.0.iter().map(|(file, path)| Detector::new(engine, file, path, images)).collect::<Result<_>>()?;
        Ok(Detectors { each, nms: self.nms, tile: self.tile })
    }
}

impl Files {
    /// Names of the classes.
    pub(super) fn classes(&self) -> &[String] {
        &self.0[0].0.manifest.encoder.classes
    }

    /// What the detectors are called.
    pub(super) fn names(&self) -> String {
        self.0.iter().map(|(file, path)| format!("{} ({})", path.display(), &file.hash()[..12])).collect::<Vec<_>>().join(", ")
    }
}

impl Detectors<'_> {
    /// Boxes of each image of this score at least, so many at most; of tiles, of each.
    pub(super) fn detect(&self, images: &[Arc<Image>], score: f64, most: usize) -> Result<Vec<Vec<Detection>>> {
        let options = DetectOptions { score, iou: self.nms, most, tile: self.tile };
        if let [one] = &self.each[..] {
            return one.detect(images, &options);
        }
        options.check()?;
        // What one detector is not sure of may be a box that all see.
        let options = DetectOptions { score: score.min(DetectOptions::default().score), ..options };
        let lists = self.each.iter().map(|d| d.detect(images, &options)).collect::<Result<Vec<_>>>()?;
        let fusion = Fusion::new(self.each.len());
        let fused = |image: usize| -> Result<Vec<Detection>> {
            let of: Vec<&[Detection]> = lists.iter().map(|l| l[image].as_slice()).collect();
            let mut all = fusion.fuse(&of)?;
            all.retain(|d| d.score >= score);
            Ok(all)
        };
        (0..images.len()).map(fused).collect()
    }
}

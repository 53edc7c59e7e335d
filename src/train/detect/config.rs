//! What a training run of a detector is made of; every field has a default, a TOML file may set any of them (of `detector`, all at once).

use crate::gpu::Precision;
use crate::nn::{Architecture, DetectorConfig, DetectorHead, FasterRcnn, OptimizerConfig, Stage, Yolo3, YoloBoxLoss};
use crate::train::course::Course;
use crate::train::look::Look;
use crate::train::recipe::read_toml;
use crate::train::start::InitFrom;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Random changes of images and their boxes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectAugment {
    /// Images are turned by a random multiple of 90 degrees.
    pub quarter_turns: bool,
    /// They are mirrored, every other time.
    pub mirror: bool,
    /// They are shown between these scales, 1 being that at which they fill the input.
    pub scale: [f64; 2],
    /// Share of inputs that are put together from parts of four images, until `mosaic_until`.
    pub mosaic: f64,
    /// Share of all steps after which inputs show one image each.
    pub mosaic_until: f64,
    /// Share of shown images that are moved so that one of their boxes lies anywhere in the part that shows them; the others lie in its middle.
    pub about_box: f64,
    /// Contrast is multiplied by a factor of up to 1 + this (or its inverse).
    pub gain: f64,
    /// Brightness is shifted by up to this many standard deviations.
    pub offset: f64,
    /// Speckle of this many looks or more (up to 16) on half of the images; 0 for none.
    pub speckle_looks: u32,
}

impl Default for DetectAugment {
    fn default() -> Self {
        Self {
            quarter_turns: true,
            mirror: true,
            scale: [0.5, 1.4],
            mosaic: 0.5,
            mosaic_until: 0.85,
            about_box: 0.5,
            gain: 0.3,
            offset: 0.3,
            speckle_looks: 0,
        }
    }
}

impl DetectAugment {
    pub(super) fn look(&self) -> Look {
        let Self { gain, offset, speckle_looks, .. } = *self;
        Look { gain, offset, mixing: 0.0, grey: 0.0, random_channel: 0.0, recolour: 0.0, noise: 0.0, speckle_looks }
    }
}

/// What a head of two stages learns from: of each input so many anchors and regions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegionSampling {
    /// Anchors that are asked whether something is there; 256 as published.
    pub anchors: usize,
    /// Share of them at most where something is.
    pub anchor_share: f64,
    /// Below the first overlap (IoU) with every box an anchor has nothing, from the second on it has something, as the best anchors of each box always have.
    pub anchor_iou: [f64; 2],
    /// Regions whose features are read; 512 as published with a pyramid.
    pub regions: usize,
    /// Share of them at most that show an object.
    pub region_share: f64,
    /// A region that overlaps a box by this (IoU) shows it.
    pub region_iou: f64,
}

impl Default for RegionSampling {
    fn default() -> Self {
        Self { anchors: 256, anchor_share: 0.5, anchor_iou: [0.3, 0.7], regions: 128, region_share: 0.25, region_iou: 0.5 }
    }
}

impl RegionSampling {
    /// Anchors of an input at most where something is.
    pub(super) fn anchors_there(&self) -> usize {
        ((self.anchors as f64 * self.anchor_share) as usize).max(1)
    }

    /// Regions of an input at most that show an object.
    pub(super) fn regions_there(&self) -> usize {
        ((self.regions as f64 * self.region_share) as usize).max(1)
    }

    fn check(&self) -> Option<&'static str> {
        let share = |v: f64| (0.0..=1.0).contains(&v);
        match self {
            s if s.anchors == 0 || s.regions == 0 => Some("sampling.anchors and regions must be above 0"),
            s if ![s.anchor_share, s.region_share, s.region_iou].into_iter().chain(s.anchor_iou).all(share) || s.region_iou == 0.0 => {
                Some("sampling's shares and overlaps are 0 to 1, region_iou above 0")
            }
            s if s.anchor_iou[0] > s.anchor_iou[1] || s.anchor_iou[0] == 0.0 => {
                Some("sampling.anchor_iou is the lower and the upper overlap, both above 0")
            }
            _ => None,
        }
    }
}

/// A training run of a detector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectTrainConfig {
    /// The network. Without classes those of the annotations are taken, without anchors those that fit their boxes best.
    pub detector: DetectorConfig,
    /// Inputs in a step.
    pub batch: usize,
    /// Passes.
    pub epochs: usize,
    /// Steps in a pass; 0 for as many as show each image once.
    pub steps: usize,
    /// Everything random hangs on it.
    pub seed: u64,
    /// What the network, or its trunk alone, starts from: a detector, or an encoder or matching model with the same trunk in its SAR tower; random values where there is none.
    pub init_from: Option<InitFrom>,
    /// Of YOLOv3: anchors whose sides overlap a box's by at least this say it too, beside the best one; 1 for the best alone, as published.
    pub match_iou: f64,
    /// Of YOLOv3: an anchor that overlaps a box by at least this, and is not to say it, is not asked whether something is there.
    pub ignore_iou: f64,
    /// Of Faster R-CNN: the anchors and regions that it learns from.
    pub sampling: RegionSampling,
    /// Share of a box that must be left of it where an image is cut, for it to count.
    pub least_visible: f64,
    /// Share of all steps over which the learning rate rises; then it falls as a cosine.
    pub warmup: f64,
    /// The optimiser.
    #[serde(deserialize_with = "optimizer")]
    pub optimizer: OptimizerConfig,
    /// How layers multiply: `full`, or `mixed` with factors in f16, where tensor cores have them, and the loss scaled.
    pub precision: Precision,
    /// Augmentation.
    pub augment: DetectAugment,
    /// Validation every so many epochs, and after the last.
    pub validate_every: usize,
    /// A checkpoint every so many steps.
    pub checkpoint_every: usize,
}

/// What a file leaves out of the optimiser is this training's.
fn optimizer<'de, D: serde::Deserializer<'de>>(said: D) -> std::result::Result<OptimizerConfig, D::Error> {
    DetectTrainConfig::default().optimizer.changed_by(said)
}

impl Default for DetectTrainConfig {
    fn default() -> Self {
        let stage = |channels| Stage { channels, blocks: 1, stride: 2, dilation: 1 };
        let detector = DetectorConfig {
            architecture: Architecture::Residual { stem: vec![16, 32], stages: [48, 96, 160].map(stage).to_vec() },
            input: 320,
            extent: 0,
            repeat_band: false,
            classes: Vec::new(),
            head: DetectorHead::Yolo3(Yolo3 {
                widths: vec![48, 64, 96],
                pairs: 1,
                anchors: Vec::new(),
                box_weight: 2.0,
                box_loss: YoloBoxLoss::Giou,
                focal_gamma: 0.0,
            }),
        };
        Self {
            detector,
            batch: 16,
            epochs: 60,
            steps: 0,
            seed: 1,
            init_from: None,
            match_iou: 0.5,
            ignore_iou: 0.5,
            sampling: RegionSampling::default(),
            least_visible: 0.4,
            warmup: 0.05,
            optimizer: OptimizerConfig { lr: 2e-3, average: 0.998, ..OptimizerConfig::default() },
            precision: Precision::Full,
            augment: DetectAugment::default(),
            validate_every: 5,
            checkpoint_every: 50,
        }
    }
}

/// Settings of both detectors, for comparisons: tables `yolo3` and `faster-rcnn` of a TOML file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RecipeOfDetectors {
    /// That of YOLOv3.
    pub yolo3: DetectTrainConfig,
    /// That of Faster R-CNN.
    pub faster_rcnn: DetectTrainConfig,
}

impl Default for RecipeOfDetectors {
    /// The small ones.
    fn default() -> Self {
        Self { yolo3: DetectTrainConfig::default(), faster_rcnn: DetectTrainConfig::faster_rcnn() }
    }
}

impl RecipeOfDetectors {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// Not there, not TOML, an unknown or senseless value; a detector in the place of the other.
    pub fn load(path: &Path) -> Result<Self> {
        let recipe: Self = read_toml(path, "yolo3")?;
        let kinds = [
            matches!(recipe.yolo3.detector.head, DetectorHead::Yolo3(_)),
            matches!(recipe.faster_rcnn.detector.head, DetectorHead::FasterRcnn(_)),
        ];
        if kinds != [true; 2] {
            return Err(Error::file(path, "`yolo3` and `faster-rcnn` must each have a detector of that kind (detector.head)"));
        }
        recipe.yolo3.check().and_then(|()| recipe.faster_rcnn.check()).map_err(|e| Error::file(path, e))?;
        Ok(recipe)
    }
}

/// Shorter sides of boxes that a detector can learn, pixels of the input: half of them must have it.
const LEAST_BOX: f64 = 4.0;
/// Anchors of a map of YOLOv3 where the configuration names none.
const ANCHORS_A_MAP: usize = 3;

impl DetectTrainConfig {
    /// The same for a small Faster R-CNN.
    pub fn faster_rcnn() -> Self {
        let mut config = Self::default();
        config.detector.head = DetectorHead::FasterRcnn(FasterRcnn {
            maps: 3,
            pooled: false,
            width: 48,
            anchors: Vec::new(),
            bins: 7,
            hidden: 128,
            candidates: 400,
            proposal_iou: 0.7,
            proposals: 200,
            box_weight: 1.0,
        });
        config.sampling = RegionSampling { anchors: 128, anchor_iou: [0.3, 0.5], ..config.sampling };
        config.optimizer.lr = 1e-3;
        config
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    /// Not there, not TOML, an unknown or senseless value; with the place.
    pub fn load(path: &Path) -> Result<Self> {
        let config: Self = read_toml(path, "detect")?;
        config.check()?;
        Ok(config)
    }

    /// Refuses values that make no sense.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<()> {
        let share = |v: f64| (0.0..=1.0).contains(&v);
        let a = &self.augment;
        let wrong = match self {
            c if c.batch == 0 => Some("batch must be above 0"),
            c if ![c.match_iou, c.ignore_iou, c.least_visible, a.mosaic, a.mosaic_until, a.about_box].into_iter().all(share) => {
                Some("match_iou, ignore_iou, least_visible, mosaic, mosaic_until and about_box are shares, 0 to 1")
            }
            c if c.match_iou == 0.0 || c.ignore_iou == 0.0 => Some("match_iou and ignore_iou must be above 0"),
            _ if !(a.scale[0] > 0.0 && a.scale[0] <= a.scale[1] && a.scale[1].is_finite()) => {
                Some("augment.scale is the least and the greatest, above 0")
            }
            _ if !(0.0..f64::INFINITY).contains(&a.gain) || !(0.0..f64::INFINITY).contains(&a.offset) => {
                Some("augment.gain and offset are 0 or above")
            }
            c if c.detector.input == 0 || !c.detector.input.is_multiple_of(8) || c.detector.input > 2040 => {
                Some("detector.input is a multiple of 8 up to 2,040 (and of the coarsest map's stride)")
            }
            c if c.sampling.check().is_some() => c.sampling.check(),
            c => c.detector.architecture.check().and_then(|()| c.course(1).check()).err(),
        };
        wrong.map_or(Ok(()), |w| Err(Error::invalid(w)))
    }

    /// What the network starts from, in words; nothing where that is random values.
    ///
    /// # Errors
    /// The file, and what of it does not fit; those of [`DetectTrainConfig::fitted`].
    pub fn start(&self, dataset: &crate::detect::Dataset) -> Result<Option<String>> {
        let Some(from) = &self.init_from else { return Ok(None) };
        let name = PathBuf::from(from.clone());
        Ok(Some(match from.detector_start(&self.fitted(dataset)?.detector)?.trunk_alone {
            None => format!("starts from all of {}, anchors too", name.display()),
            Some(why) => format!("starts from the trunk of {} alone: {why}", name.display()),
        }))
    }

    /// Steps of a pass over so many images.
    pub fn steps_of(&self, images: usize) -> usize {
        if self.steps > 0 { self.steps } else { images.div_ceil(self.batch).max(1) }
    }

    pub(super) fn course(&self, steps: usize) -> Course {
        Course {
            epochs: self.epochs,
            steps,
            items: self.batch,
            seed: self.seed,
            warmup: self.warmup,
            hold: 0.0,
            optimizer: self.optimizer,
            precision: self.precision,
            validate_every: self.validate_every,
            checkpoint_every: self.checkpoint_every,
        }
    }

    /// The same with the classes, extent and anchors of a data set where the configuration names none; with the anchors of the detector that it starts from, where that is the same otherwise, for
    /// its weights mean nothing at others.
    ///
    /// # Errors
    /// Boxes too small for the input, or too few for anchors of their own; a file to start from that cannot be read.
    pub fn fitted(&self, dataset: &crate::detect::Dataset) -> Result<Self> {
        use crate::detect::anchors::{anchors, letterboxed_sizes, pyramid};
        let mut config = self.clone();
        let d = &mut config.detector;
        if d.classes.is_empty() {
            d.classes = dataset.categories.iter().map(|c| c.name.clone()).collect();
        }
        if d.extent == 0 {
            let sides: u64 = dataset.images.iter().map(|i| u64::from(i.width.max(i.height))).sum();
            d.extent = (sides / dataset.images.len().max(1) as u64) as u32;
        }
        let sizes = letterboxed_sizes(dataset, d.input as u32);
        let small = sizes.iter().filter(|s| s[0].min(s[1]) < LEAST_BOX).count();
        if 2 * small > sizes.len() {
            return Err(Error::invalid(format!(
                "{small} of {} boxes are under {LEAST_BOX} px where images are fitted into an input of {} px: cut the images into tiles, or raise detector.input",
                sizes.len(),
                d.input
            )));
        }
        if d.head.anchors().is_empty()
            && let Some(first) = self.init_from.as_ref().map(InitFrom::detector).transpose()?.flatten()
        {
            let same = DetectorConfig { extent: d.extent, ..first.clone() };
            let mut own = d.clone();
            own.head.set_anchors(first.head.anchors().to_vec());
            if same == own {
                return Ok(Self { detector: own, ..config });
            }
        }
        let (own, found) = match &mut d.head {
            DetectorHead::Yolo3(yolo) if yolo.anchors.is_empty() => {
                let count = ANCHORS_A_MAP * yolo.widths.len();
                (&mut yolo.anchors, anchors(&sizes, count, self.seed)?)
            }
            DetectorHead::FasterRcnn(faster) if faster.anchors.is_empty() => {
                let maps = faster.levels();
                (&mut faster.anchors, pyramid(&sizes, maps)?)
            }
            _ => return Ok(config),
        };
        *own = found.sizes.iter().map(|s| s.map(|v| (v * 10.0).round().max(1.0) as f32 / 10.0)).collect();
        Ok(config)
    }
}

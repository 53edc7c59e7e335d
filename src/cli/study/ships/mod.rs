//! `echogrid study ships`: does a trunk that learned to match SAR and optical patches find ships better than one that starts from nothing?

mod report;
mod ways;

use super::runs::{Ledger, LedgerArgs};
use crate::cli::common::{Global, SarArgs, warn};
use crate::detect::{AnnotatedImages, DetectOptions, Detector, MAX_DETECTIONS, ap};
use crate::nn::{BridgeFile, DetectorFile};
use crate::train::{DetectTrainConfig, InitFrom, RecipeOfDetectors, train_detector};
use crate::{Error, Result};
use report::report;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use ways::{Head, Run, Start, Way};

/// Detectors of ships from random values and from what `train --match` learned, on the same budget
///
/// YOLOv3 and Faster R-CNN, each from each start with several seeds, judged on images never trained on; both fused, too (weighted boxes fusion). Writes FOLDER/ships.md (the table, with paired intervals over groups of
/// images), ships.json and ships.svg; models and the outcome of each run go to FOLDER/ships-runs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of images to train on, and their annotations
    #[arg(long, num_args = 2, value_names = ["IMAGES", "TRAIN.json"], required = true)]
    train: Vec<PathBuf>,
    /// The same to judge on; images that share pixels with those of the training flatter
    #[arg(long, num_args = 2, value_names = ["IMAGES", "VAL.json"], required = true)]
    val: Vec<PathBuf>,
    /// A model of `train --match`: its SAR tower is the trunk of all detectors, and what those of the way `osm` start from
    #[arg(long, value_name = "MODEL")]
    osm: PathBuf,
    /// A ResNet of torchvision's as safetensors, for the way `imagenet`; the trunk must be it
    #[arg(long, value_name = "FILE")]
    imagenet: Option<PathBuf>,
    /// Detectors to compare [default: both]
    #[arg(long, value_enum, value_delimiter = ',')]
    heads: Vec<Head>,
    /// Passes of each training [default: those of the configuration]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    #[command(flatten)]
    ledger: LedgerArgs,
    #[command(flatten)]
    reading: SarArgs,
}

struct Study<'a> {
    args: &'a Args,
    recipe: RecipeOfDetectors,
    ledger: Ledger<'a>,
    data: AnnotatedImages,
    val: AnnotatedImages,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let mut recipe = args.ledger.config.as_deref().map_or_else(|| Ok(RecipeOfDetectors::default()), RecipeOfDetectors::load)?;
    let matching = BridgeFile::load(&args.osm)?;
    for config in [&mut recipe.yolo3, &mut recipe.faster_rcnn] {
        let trunk = &matching.manifest.encoder.encoder;
        (config.detector.architecture, config.detector.repeat_band) = (trunk.architecture.clone(), trunk.repeat_band);
        config.epochs = args.epochs.unwrap_or(config.epochs);
        // The study's own judgement is what counts.
        config.validate_every = config.epochs;
        config.check()?;
    }
    let open = |of: &[PathBuf]| AnnotatedImages::open(&of[0], &of[1], &args.reading.options(), args.reading.unit());
    let (data, val) = (open(&args.train)?, open(&args.val)?);
    data.warnings().union(&val.warnings()).for_each(warn);
    let heads = || Head::ALL.into_iter().filter(|h| args.heads.is_empty() || args.heads.contains(h));
    let starts = [Some(Start::Random), Some(Start::Osm), args.imagenet.as_ref().map(|_| Start::Imagenet)];
    let ways: Vec<Way> = heads().flat_map(|head| starts.iter().flatten().map(move |start| Way { head, start: *start })).collect();
    let study = Study { args, recipe, ledger: Ledger::open(global, &args.ledger, "ships-runs")?, data, val };
    let all = study.ledger.all(&ways.iter().collect::<Vec<_>>(), |way, seed| study.one(*way, seed))?;
    report(&study, &ways, &all)
}

impl Study<'_> {
    /// The file that a way starts from.
    fn start(&self, way: Way) -> Option<&Path> {
        match way.start {
            Start::Random => None,
            Start::Osm => Some(&self.args.osm),
            Start::Imagenet => self.args.imagenet.as_deref(),
        }
    }

    /// Trains and judges one way with one seed, or reads what an earlier call has found.
    fn one(&self, way: Way, seed: u64) -> Result<Run> {
        let config = DetectTrainConfig { seed, ..way.head.of(&self.recipe).clone() };
        let from = self.start(way).map(hash).transpose()?;
        let records = [self.data.record()?, self.val.record()?];
        let name = format!("{}-{seed}", way.name());
        let these = |run: &Run| run.config == config && run.from == from && run.records == records;
        self.ledger.kept(&name, these, || {
            let found = self.found(way, &name, &config)?;
            let figures = ap::coco(&self.val.dataset, &found, MAX_DETECTIONS)?;
            self.ledger.global.say(format_args!("{name}: AP50 {:.1} %", 100.0 * figures.ap50.unwrap_or(0.0)));
            let adapter = self.ledger.engine.adapter().to_string();
            Ok(Run {
                head: way.head,
                start: way.start,
                seed,
                config: config.clone(),
                from: from.clone(),
                records: records.clone(),
                adapter,
                found,
            })
        })
    }

    fn found(&self, way: Way, name: &str, config: &DetectTrainConfig) -> Result<Vec<Vec<crate::detect::Detection>>> {
        let (engine, data, val) = (&self.ledger.engine, &self.data, &self.val);
        let config = DetectTrainConfig { init_from: self.start(way).map(|p| InitFrom::File(p.into())), ..config.clone() };
        let total = config.epochs * config.steps_of(data.images.len());
        let train = |out: &Path, resume, stop: &_, on: &mut dyn FnMut(_)| train_detector(engine, &config, data, val, out, resume, stop, on);
        let path = self.ledger.train(name, total, train)?;
        let detector = Detector::new(engine, &DetectorFile::load(&path)?, &path, None)?;
        let mut found = detector.detect(&val.images, &DetectOptions::default())?;
        found.iter_mut().for_each(|f| f.truncate(MAX_DETECTIONS));
        Ok(found)
    }
}

/// Of a file, SHA-256.
fn hash(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e.to_string(), e))?;
    Ok(Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect())
}

//! `echogrid study ships`: does a trunk that learned to match SAR and optical patches find ships better than one that starts from nothing?

mod report;
mod study;
mod ways;

use super::runs::{Ledger, LedgerArgs};
use crate::cli::common::{Global, SarArgs, warn_of_many};
use crate::cli::detect::Head;
use crate::detect::AnnotatedImages;
use crate::nn::BridgeFile;
use crate::train::RecipeOfDetectors;
use crate::{Error, Result};
use report::report;
use std::path::PathBuf;
use study::Study;
use ways::{Start, Way};

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
    /// Detectors to compare [default: both of them]
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
    warn_of_many(data.warnings().union(&val.warnings()).copied());
    for (data, of) in [(&data, &args.train), (&val, &args.val)] {
        if data.dataset.boxes() == 0 {
            return Err(Error::file(&of[1], "has no box to learn from or to be judged by"));
        }
    }
    let heads = || Head::ALL.into_iter().filter(|h| args.heads.is_empty() || args.heads.contains(h));
    let starts = [Some(Start::Random), Some(Start::Osm), args.imagenet.as_ref().map(|_| Start::Imagenet)];
    let ways: Vec<Way> = heads().flat_map(|head| starts.iter().flatten().map(move |start| Way { head, start: *start })).collect();
    let ledger = Ledger::open(global, &args.ledger, "ships-runs")?;
    let records = [data.record()?, val.record()?];
    let study = Study { osm: &args.osm, imagenet: args.imagenet.as_deref(), recipe, ledger, data, val, records };
    // What does not fit must show before hours of training.
    for way in &ways {
        study.settings(*way, way.head.of(&study.recipe)).start(&study.data.dataset)?;
    }
    let all = study.ledger.all(&ways.iter().collect::<Vec<_>>(), |way, seed| study.one(*way, seed))?;
    report(&study, &ways, &all)
}

//! `echogrid detect train`.

use super::head::Head;
use crate::cli::common::{Global, SarArgs, check_apart, check_regular, warn_of_many};
use crate::cli::train::{CourseArgs, Words, follow, show};
use crate::detect::AnnotatedImages;
use crate::train::{DetectTrainConfig, InitFrom, export_detector, train_detector};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Train a detector on images with boxes
///
/// Annotations are COCO JSON (or a folder of VOC XML), whose file names lie in IMAGES. Writes checkpoints beside MODEL (MODEL.checkpoint) and a log (MODEL.log.jsonl, drawn at the end in a .svg of the same
/// name). Ctrl-C saves and stops; --resume goes on to the same bits as a run that was never stopped, on the same adapter with the same measurements (`echogrid tune`).
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of images, and their annotations
    #[arg(long, num_args = 2, value_names = ["IMAGES", "TRAIN.json"], required_unless_present = "print_config")]
    train: Vec<PathBuf>,
    /// The same to validate on; never trained on. Images that share pixels with those of the training flatter
    #[arg(long, num_args = 2, value_names = ["IMAGES", "VAL.json"], required_unless_present_any = ["print_config", "export"])]
    val: Vec<PathBuf>,
    /// The model to write
    #[arg(long, value_name = "MODEL", required_unless_present_any = ["print_config", "export"])]
    out: Option<PathBuf>,
    /// Instead of training (so without --val and --out), write what the detector would be trained on into this new folder: every batch as the device cuts it, its boxes, the start values and the first step; to train the same network elsewhere
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["out", "val", "resume", "print_config"])]
    export: Option<PathBuf>,
    /// Start from the weights of a detector of the same configuration and classes (`shipped` for the one that is built in, a Faster R-CNN), whose anchors are taken where the configuration names none; or from the trunk of any network of the same architecture: another detector, the SAR tower of an
    /// encoder or of `train --match`, a ResNet of torchvision's as safetensors
    #[arg(long, value_name = "MODEL")]
    init_from: Option<InitFrom>,
    /// What tells boxes: small networks of the default settings; a configuration says it itself
    #[arg(long, value_enum, default_value_t = Head::Yolo3, conflicts_with = "config")]
    head: Head,
    /// Settings in TOML; `echogrid detect train --print-config` shows all of them
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    course: CourseArgs,
    /// Go on from the checkpoint
    #[arg(long)]
    resume: bool,
    /// Print all settings in TOML, and stop; empty classes and anchors, and an extent of 0, are fitted to what is trained on
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    reading: SarArgs,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let mut config = args.config.as_deref().map_or_else(|| Ok(args.head.settings()), DetectTrainConfig::load)?;
    config.init_from = args.init_from.clone().or(config.init_from);
    args.course.change(&mut config.epochs, &mut config.seed, &mut config.precision, &mut config.optimizer);
    config.check()?;
    let open = |images: &Path, annotations: &Path| AnnotatedImages::open(images, annotations, &args.reading.options(), args.reading.unit());
    if let ([images, annotations], Some(folder)) = (&args.train[..], &args.export) {
        let data = open(images, annotations)?;
        warn_of_many(data.warnings());
        let total = config.epochs * config.steps_of(data.images.len());
        let bar = global.bar(total as u64, "writing batches");
        export_detector(&global.engine()?, &config, &data, folder, |step| bar.set_position(step as u64))?;
        bar.finish_and_clear();
        global.say(format_args!("wrote {total} steps into {}", folder.display()));
        return Ok(());
    }
    let ([images, annotations], [val_images, val_annotations], Some(out)) = (&args.train[..], &args.val[..], &args.out) else {
        return show(&config);
    };
    if args.print_config {
        return show(&config);
    }
    check_regular(out)?;
    check_apart(&[out], args.train.iter().chain(&args.val).map(PathBuf::as_path))?;
    let (data, val) = (open(images, annotations)?, open(val_images, val_annotations)?);
    global.say(format_args!(
        "{} images with {} boxes to train on, {} with {} to validate on",
        data.images.len(),
        data.dataset.boxes(),
        val.images.len(),
        val.dataset.boxes()
    ));
    warn_of_many(data.warnings().union(&val.warnings()).copied());
    if data.dataset.boxes() == 0 || val.dataset.boxes() == 0 {
        return Err(Error::file(
            if data.dataset.boxes() == 0 { annotations } else { val_annotations },
            "has no box to learn from or to be judged by",
        ));
    }
    if !args.resume
        && let Some(words) = config.start(&data.dataset)?
    {
        global.say(format_args!("{words}"));
    }
    let total = config.epochs * config.steps_of(data.images.len());
    let figures = |v: &serde_json::Value| match v["ap50"].as_f64() {
        Some(ap) => format!("AP50 {:.1} % of {} images", 100.0 * ap, v["images"]),
        None => "no box to be found".into(),
    };
    let words = Words { total, items: config.batch, item: "inputs", figures };
    follow(global, out, args.resume, &words, |engine, stop, on| train_detector(engine, &config, &data, &val, out, args.resume, stop, on))
}

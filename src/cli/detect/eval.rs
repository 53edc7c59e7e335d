//! `echogrid detect eval`.

use super::model::ModelArgs;
use crate::cli::common::{Global, SarArgs, check_apart, check_output, print_json, warn_of_many};
use crate::detect::write::{Detected, Format, write};
use crate::detect::{AnnotatedImages, Dataset, DetectOptions, Detection, MAX_DETECTIONS, ap};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Judge a detector on images with boxes
///
/// Average precision as pycocotools, VOC 2007 and VOC 2012 have it, all boxes of a score of 0.01 and above, the hundred surest of an image at most.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of images
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Their annotations: COCO JSON, a folder of VOC XML, or one such file
    #[arg(long, value_name = "FILE")]
    annotations: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    reading: SarArgs,
    /// Write what was found, as COCO's list of results with the images' ids
    #[arg(long, value_name = "FILE.json")]
    dump: Option<PathBuf>,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Seed of the intervals.
const SEED: u64 = 7;

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    if let Some(path) = &args.dump {
        if Format::of(path)? != Format::Coco {
            return Err(Error::file(path, "--dump writes COCO's list of results: name a .json file"));
        }
        check_output(path)?;
        check_apart(&[path], [args.annotations.as_path()])?;
    }
    let files = args.model.files()?;
    let data = AnnotatedImages::open(&args.images, &args.annotations, &args.reading.options(), args.reading.unit())?;
    warn_of_many(data.warnings());
    data.check_classes(files.classes())?;
    let engine = global.engine()?;
    let detectors = args.model.detectors(&engine, &files, None)?;
    let start = Instant::now();
    let mut found = detectors.detect(&data.images, DetectOptions::default().score, MAX_DETECTIONS)?;
    // Of an image that was searched by tiles there may be more.
    found.iter_mut().for_each(|f| f.truncate(MAX_DETECTIONS));
    let seconds = start.elapsed().as_secs_f64();
    if let Some(path) = &args.dump {
        dump(path, &data.dataset, &found)?;
        global.say(format_args!("wrote {}", path.display()));
    }
    let pixels: f64 = data.images.iter().map(|i| f64::from(i.raster.width()) * f64::from(i.raster.height())).sum();
    let mut told = figures(&data.dataset, &found)?;
    for (name, value) in [
        ("seconds", json!(seconds)),
        ("megapixels_per_s", json!(pixels * 1e-6 / seconds)),
        ("adapter", json!(engine.adapter().to_string())),
    ] {
        told[name] = value;
    }
    if args.json {
        return print_json(&told);
    }
    show(&told);
    Ok(())
}

fn dump(path: &Path, dataset: &Dataset, found: &[Vec<Detection>]) -> Result<()> {
    let of = |i: usize| Detected { id: dataset.images[i].id, file: &dataset.images[i].file, place: None, boxes: &found[i] };
    write(path, &(0..found.len()).map(of).collect::<Vec<_>>(), &dataset.categories)
}

/// All figures; null where there is no box to be found.
fn figures(dataset: &Dataset, found: &[Vec<Detection>]) -> Result<Value> {
    let (coco, voc) = (ap::coco(dataset, found, MAX_DETECTIONS)?, ap::voc(dataset, found, 0.5)?);
    // Of one group there is none.
    let interval = ap::interval(dataset, found, ap::Measure::AllPoints(0.5), MAX_DETECTIONS, SEED).ok();
    Ok(json!({
        "ap50": ap::all_points(dataset, found, 0.5, MAX_DETECTIONS)?, "ap50_ci95": interval.map(|e| e.ci95), "ap": coco.ap, "coco": coco,
        "ap_voc07": voc.ap_voc07, "ap_voc12": voc.ap_voc12, "images": dataset.images.len(), "boxes": dataset.boxes(),
    }))
}

fn show(told: &Value) {
    let percent = |v: &Value| v.as_f64().map_or("-".into(), |v| format!("{:.1}", 100.0 * v));
    let ci = &told["ap50_ci95"];
    let ci = if ci.is_array() { format!(" [{}, {}]", percent(&ci[0]), percent(&ci[1])) } else { String::new() };
    out!("{} images, {} boxes", told["images"], told["boxes"]);
    out!("AP50 {} %{ci} (all points; groups of images resampled)", percent(&told["ap50"]));
    out!("AP   {} % (COCO, IoU 0.50 to 0.95), AP75 {} %", percent(&told["ap"]), percent(&told["coco"]["ap75"]));
    out!("VOC  {} % (2007), {} % (2012)", percent(&told["ap_voc07"]), percent(&told["ap_voc12"]));
    let number = |k: &str| told[k].as_f64().unwrap_or(f64::NAN);
    let adapter = told["adapter"].as_str().unwrap_or_default();
    out!("{:.1} s, {:.1} megapixels a second on {adapter}", number("seconds"), number("megapixels_per_s"));
}

//! `echogrid detect eval`.

use super::model::ModelArgs;
use crate::cli::common::{Global, SarArgs, check_apart, check_output, print_json};
use crate::detect::write::{Detected, write};
use crate::detect::{AnnotatedImages, DetectOptions, MAX_DETECTIONS, ap};
use crate::{Error, Result};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Judge a detector on images with boxes
///
/// Average precision as pycocotools, VOC 2007 and VOC 2012 have it, all boxes of a score of 0.01 and above, a hundred an image at most.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of images
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Their annotations: COCO JSON
    #[arg(long, value_name = "FILE.json")]
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
        check_output(path)?;
        check_apart(&[path], [args.annotations.as_path()])?;
    }
    let file = args.model.file()?;
    let data = AnnotatedImages::open(&args.images, &args.annotations, &args.reading.options(), args.reading.unit())?;
    let categories: Vec<String> = data.dataset.categories.iter().map(|c| c.name.clone()).collect();
    if categories != file.manifest.encoder.classes {
        return Err(Error::file(
            &args.annotations,
            format!("has the categories {categories:?}, the detector the classes {:?}", file.manifest.encoder.classes),
        ));
    }
    let engine = global.engine()?;
    let detector = args.model.detector(&engine, &file)?;
    let start = Instant::now();
    let found = detector.detect(&data.images, &args.model.options(DetectOptions::default().score, MAX_DETECTIONS))?;
    let seconds = start.elapsed().as_secs_f64();
    let pixels: f64 = data.images.iter().map(|i| f64::from(i.raster.width()) * f64::from(i.raster.height())).sum();
    let coco = ap::coco(&data.dataset, &found, MAX_DETECTIONS)?;
    let all = ap::all_points(&data.dataset, &found, 0.5, MAX_DETECTIONS)?;
    let voc = ap::voc(&data.dataset, &found, 0.5)?;
    let interval = ap::interval(&data.dataset, &found, ap::Measure::AllPoints(0.5), MAX_DETECTIONS, SEED).ok();
    if let Some(path) = &args.dump {
        let of = |i: usize| Detected { id: data.dataset.images[i].id, file: &data.dataset.images[i].file, place: None, boxes: &found[i] };
        write(path, &(0..found.len()).map(of).collect::<Vec<_>>(), &data.dataset.categories)?;
        global.say(format_args!("wrote {}", path.display()));
    }
    let rate = pixels * 1e-6 / seconds;
    if args.json {
        return print_json(&json!({
            "ap50": all, "ap50_ci95": interval.map(|e| e.ci95), "ap": coco.ap, "ap50_coco": coco.ap50, "ap75": coco.ap75,
            "ap_voc07": voc.ap_voc07, "ap_voc12": voc.ap_voc12, "ar100": coco.ar,
            "images": data.images.len(), "boxes": data.dataset.boxes(), "seconds": seconds, "megapixels_per_s": rate,
            "adapter": engine.adapter().to_string(),
        }));
    }
    let percent = |v: Option<f64>| v.map_or("-".into(), |v| format!("{:.1}", 100.0 * v));
    out!("{} images, {} boxes", data.images.len(), data.dataset.boxes());
    let ci = interval.map_or(String::new(), |e| format!(" [{:.1}, {:.1}]", 100.0 * e.ci95[0], 100.0 * e.ci95[1]));
    out!("AP50 {} %{ci} (all points; groups of images resampled)", percent(all));
    out!("AP   {} % (COCO, IoU 0.50 to 0.95), AP75 {} %", percent(coco.ap), percent(coco.ap75));
    out!("VOC  {} % (2007), {} % (2012)", percent(voc.ap_voc07), percent(voc.ap_voc12));
    out!("{seconds:.1} s, {rate:.1} megapixels a second on {}", engine.adapter());
    Ok(())
}

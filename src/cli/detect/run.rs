//! `echogrid detect run`.

use super::model::ModelArgs;
use crate::Result;
use crate::cli::common::{Global, Outcome, SarArgs, check_apart, check_output, print_json};
use crate::cli::inputs::images as images_of;
use crate::detect::Category;
use crate::detect::write::{Detected, Format, write};
use crate::scene::Image;
use rayon::prelude::*;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Find ships in images
///
/// Images of any size; those far larger than the training's are searched by tiles. The end of FILE's name says what is written: .json (COCO's list of results), .csv (a row a box), .geojson (polygons in
/// longitude and latitude, where an image has a place). image_id counts the images from 1, in the order in which they are listed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// SAR images: files, folders, patterns, lists (.txt), or `-` for a list on standard input
    #[arg(long, value_name = "SAR", num_args = 1.., required = true)]
    image: Vec<PathBuf>,
    /// The boxes: .json, .csv or .geojson
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Least score of a box, 0 to 1
    #[arg(long, value_name = "SCORE", default_value_t = 0.3)]
    score: f64,
    #[command(flatten)]
    reading: SarArgs,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Boxes of a tile, or of an image that is searched whole, at most.
const MOST: usize = 300;

/// Images that are open at once.
const OPEN: usize = 64;

pub(super) fn run(global: &Global, args: &Args) -> Result<Outcome> {
    Format::of(&args.out)?;
    check_output(&args.out)?;
    let files = images_of(&args.image, "--image")?;
    check_apart(&[&args.out], files.iter().map(PathBuf::as_path))?;
    let file = args.model.file()?;
    let engine = global.engine()?;
    let detector = args.model.detector(&engine, &file, (files.len() > 1).then_some(files.len()))?;
    let (mut found, mut places, mut pixels) = (Vec::new(), Vec::new(), 0.0);
    let (bar, start) = (global.bar(files.len() as u64, "searching"), Instant::now());
    for part in files.chunks(OPEN) {
        let images = part.par_iter().map(|path| Ok(Arc::new(args.reading.open(path)?))).collect::<Result<Vec<Arc<Image>>>>()?;
        found.extend(detector.detect(&images, &args.model.options(args.score, MOST))?);
        places.extend(images.iter().map(|i| i.raster.placement().ok()));
        pixels += images.iter().map(|i| f64::from(i.raster.width()) * f64::from(i.raster.height())).sum::<f64>();
        bar.set_position(found.len() as u64);
    }
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let categories: Vec<Category> = detector.classes().iter().zip(1..).map(|(name, id)| Category { id, name: name.clone() }).collect();
    let names: Vec<String> = files.iter().map(|p| p.display().to_string()).collect();
    let detected: Vec<Detected<'_>> =
        (0..files.len()).map(|i| Detected { id: i as u64 + 1, file: &names[i], place: places[i].as_ref(), boxes: &found[i] }).collect();
    write(&args.out, &detected, &categories)?;
    let (count, rate) = (found.iter().map(Vec::len).sum::<usize>(), pixels * 1e-6 / seconds);
    global.say(format_args!("wrote {}", args.out.display()));
    if args.json {
        let each = |d: &Detected<'_>| json!({ "id": d.id, "image": d.file, "boxes": d.boxes.len() });
        print_json(&json!({
            "boxes": count, "images": detected.iter().map(each).collect::<Vec<_>>(), "seconds": seconds, "megapixels_per_s": rate,
            "adapter": engine.adapter().to_string(),
        }))?;
    } else {
        names.iter().zip(&found).for_each(|(name, boxes)| out!("{name}: {} boxes", boxes.len()));
        out!("{count} boxes in {} images, {seconds:.1} s, {rate:.1} megapixels a second", files.len());
    }
    Ok(if count > 0 { Outcome::Done } else { Outcome::NothingFound })
}

//! `echogrid detect run`.

use super::model::ModelArgs;
use crate::cli::common::{Global, Outcome, SarArgs, check_apart, check_output, print_json};
use crate::detect::write::{Detected, Format, write};
use crate::detect::{Category, Detection};
use crate::scene::Image;
use crate::{Error, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Find ships in images
///
/// Images of any size; those far larger than the training's are searched by tiles. The end of FILE's name says what is written: .json (COCO's list of results), .csv (a row a box), .geojson (polygons in
/// longitude and latitude, where an image has a place).
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// SAR image, or a folder of them; several may be given
    #[arg(long, value_name = "FILE|DIR", num_args = 1.., required = true)]
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

/// Ends of names of images in a folder.
const ENDS: [&str; 5] = ["tif", "tiff", "png", "jpg", "jpeg"];

pub(super) fn run(global: &Global, args: &Args) -> Result<Outcome> {
    Format::of(&args.out)?;
    check_output(&args.out)?;
    let files = files(&args.image)?;
    check_apart(&[&args.out], files.iter().map(PathBuf::as_path))?;
    let file = args.model.file()?;
    let open = |path: &PathBuf| Ok(Arc::new(args.reading.open(path)?));
    let images = files.iter().map(open).collect::<Result<Vec<Arc<Image>>>>()?;
    let engine = global.engine()?;
    let detector = args.model.detector(&engine, &file)?;
    let start = Instant::now();
    let found = detector.detect(&images, &args.model.options(args.score, MOST))?;
    let seconds = start.elapsed().as_secs_f64();
    let categories: Vec<Category> =
        detector.classes().iter().enumerate().map(|(i, name)| Category { id: i as u64 + 1, name: name.clone() }).collect();
    let places: Vec<_> = images.iter().map(|i| i.raster.placement().ok()).collect();
    let names: Vec<String> = files.iter().map(|p| p.display().to_string()).collect();
    let detected: Vec<Detected<'_>> =
        (0..images.len()).map(|i| Detected { id: i as u64 + 1, file: &names[i], place: places[i].as_ref(), boxes: &found[i] }).collect();
    write(&args.out, &detected, &categories)?;
    let count: usize = found.iter().map(Vec::len).sum();
    let pixels: f64 = images.iter().map(|i| f64::from(i.raster.width()) * f64::from(i.raster.height())).sum();
    global.say(format_args!("wrote {}", args.out.display()));
    if args.json {
        let each = |(name, boxes): (&String, &Vec<Detection>)| json!({ "image": name, "boxes": boxes.len() });
        print_json(&json!({
            "boxes": count, "images": names.iter().zip(&found).map(each).collect::<Vec<_>>(), "seconds": seconds,
            "megapixels_per_s": pixels * 1e-6 / seconds, "adapter": engine.adapter().to_string(),
        }))?;
    } else {
        names.iter().zip(&found).for_each(|(name, boxes)| out!("{name}: {} boxes", boxes.len()));
        out!("{count} boxes in {} images, {seconds:.1} s, {:.1} megapixels a second", images.len(), pixels * 1e-6 / seconds);
    }
    Ok(if count > 0 { Outcome::Done } else { Outcome::NothingFound })
}

/// The images that are named, those of folders by name.
fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let is_image = |p: &Path| p.extension().and_then(|e| e.to_str()).is_some_and(|e| ENDS.contains(&e.to_ascii_lowercase().as_str()));
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|e| Error::io(path, e.to_string(), e))?;
        let mut own: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| is_image(p)).collect();
        if own.is_empty() {
            return Err(Error::file(path, format!("holds no image ({})", ENDS.join(", "))));
        }
        own.sort();
        files.extend(own);
    }
    Ok(files)
}

//! `echogrid detect run`.

use super::model::{Detectors, ModelArgs, share};
use crate::Result;
use crate::cli::common::{Global, Outcome, SarArgs, check_apart, check_output, print_json, warn};
use crate::cli::inputs::images as images_of;
use crate::cli::present::meta;
use crate::detect::write::{Detected, Format, write};
use crate::detect::{Category, Detection};
use crate::report::detections::{BoxPictures, DetectionPage, SHOWN, Searched};
use crate::scene::{Georeference, Image, ImageHeader};
use rayon::prelude::*;
use serde_json::json;
use std::path::{Path, PathBuf};
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
    #[arg(long, value_name = "SCORE", default_value_t = 0.3, value_parser = share)]
    score: f64,
    #[command(flatten)]
    reading: SarArgs,
    /// A page of the images with their boxes
    #[arg(long, value_name = "FILE.html", value_parser = crate::cli::common::page)]
    report: Option<PathBuf>,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Boxes of a tile, or of an image that is searched whole, at most.
const MOST: usize = 300;

/// Images that are open at once.
const OPEN: usize = 64;

impl Args {
    /// Rows of the page about the run.
    fn rows(&self) -> Vec<(String, String)> {
        vec![("Least score".into(), self.score.to_string())]
    }
}

/// Images in a few words.
fn of_many(names: &[String]) -> String {
    match names {
        [one] => Path::new(one).file_name().map_or_else(|| one.clone(), |n| n.to_string_lossy().into_owned()),
        many => format!("{} images", many.len()),
    }
}

/// What was found in the images, in their order.
#[derive(Default)]
struct Found {
    boxes: Vec<Vec<Detection>>,
    sizes: Vec<[u32; 2]>,
    places: Vec<Option<Georeference>>,
    /// Of the first images, where a page is asked for.
    pictures: Vec<BoxPictures>,
    /// Time that reading and searching took.
    seconds: f64,
}

impl Found {
    fn of(global: &Global, args: &Args, files: &[PathBuf], detectors: &Detectors<'_>) -> Result<Self> {
        let mut all = Self::default();
        let bar = global.bar(files.len() as u64, "searching");
        for part in files.chunks(OPEN) {
            let start = Instant::now();
            let images = part.par_iter().map(|path| Ok(Arc::new(args.reading.open(path)?))).collect::<Result<Vec<Arc<Image>>>>()?;
            let boxes = detectors.detect(&images, args.score, MOST)?;
            all.seconds += start.elapsed().as_secs_f64();
            if args.report.is_some() {
                let left = SHOWN.saturating_sub(all.pictures.len());
                let pictured = |(image, boxes): (&Arc<Image>, &Vec<Detection>)| BoxPictures::of(image, boxes, files.len());
                all.pictures.extend(images.iter().zip(&boxes).take(left).map(pictured).collect::<Result<Vec<_>>>()?);
            }
            all.boxes.extend(boxes);
            all.sizes.extend(images.iter().map(|i| [i.raster.width(), i.raster.height()]));
            all.places.extend(images.iter().map(|i| i.raster.placement().ok()));
            bar.set_position(all.boxes.len() as u64);
        }
        bar.finish_and_clear();
        Ok(all)
    }

    fn count(&self) -> usize {
        self.boxes.iter().map(Vec::len).sum()
    }

    /// Megapixels a second.
    fn rate(&self) -> f64 {
        let pixels: f64 = self.sizes.iter().map(|[w, h]| f64::from(*w) * f64::from(*h)).sum();
        pixels * 1e-6 / self.seconds
    }
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let format = Format::of(&args.out)?;
    let outputs: Vec<&Path> = [Some(&args.out), args.report.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
    outputs.iter().try_for_each(|o| check_output(o))?;
    let files = images_of(&args.image, "--image")?;
    check_apart(&outputs, files.iter().map(PathBuf::as_path))?;
    // What is no image must show before minutes of searching.
    files.par_iter().try_for_each(|path| ImageHeader::of(path).map(drop))?;
    let models = args.model.files()?;
    let engine = global.engine()?;
    let adapter = engine.adapter().to_string();
    let detectors = args.model.detectors(&engine, &models, (files.len() > 1).then_some(files.len()))?;
    let mut found = Found::of(global, args, &files, &detectors)?;
    let pictures = std::mem::take(&mut found.pictures);
    let names: Vec<String> = files.iter().map(|p| p.display().to_string()).collect();
    let of = |i: usize| Detected { id: i as u64 + 1, file: &names[i], place: found.places[i].as_ref(), boxes: &found.boxes[i] };
    let detected: Vec<Detected<'_>> = (0..files.len()).map(of).collect();
    let categories: Vec<Category> = models.classes().iter().zip(1..).map(|(name, id)| Category { id, name: name.clone() }).collect();
    write(&args.out, &detected, &categories)?;
    let nowhere = detected.iter().filter(|d| d.place.is_none() && !d.boxes.is_empty()).count();
    if format == Format::GeoJson && nowhere > 0 {
        warn(format_args!(
            "{nowhere} of {} images have no georeference: their boxes have no geometry there, only pixels; .json and .csv have the same",
            files.len()
        ));
    }
    if let Some(path) = &args.report {
        let title = format!("Ships in {}", of_many(&names));
        let meta = meta(&title, "", &of_many(&names), models.names(), &adapter, args.rows());
        let mut pictures = pictures.into_iter();
        let one = |i: usize| Searched { name: &names[i], size: found.sizes[i], boxes: &found.boxes[i], pictures: pictures.next() };
        DetectionPage::new(&meta, models.classes(), &(0..files.len()).map(one).collect::<Vec<_>>()).write(path)?;
    }
    outputs.iter().for_each(|o| global.say(format_args!("wrote {}", o.display())));
    if args.json {
        let each = |d: &Detected<'_>| json!({ "id": d.id, "image": d.file, "boxes": d.boxes.len() });
        print_json(&json!({
            "boxes": found.count(), "images": detected.iter().map(each).collect::<Vec<_>>(), "seconds": found.seconds,
            "megapixels_per_s": found.rate(), "adapter": adapter,
        }))?;
    } else {
        let boxes = |n: usize| if n == 1 { "1 box".into() } else { format!("{n} boxes") };
        let images = if files.len() == 1 { "1 image".into() } else { format!("{} images", files.len()) };
        names.iter().zip(&found.boxes).for_each(|(name, found)| out!("{name}: {}", boxes(found.len())));
        out!("{} in {images}, {:.1} s, {:.2} megapixels a second", boxes(found.count()), found.seconds, found.rate());
    }
    Ok(if found.count() > 0 { Outcome::Done } else { Outcome::NothingFound })
}

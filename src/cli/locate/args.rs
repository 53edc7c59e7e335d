//! Options of `echogrid locate`.

use crate::cli::common::{MapNoData, MirrorArgs, SarArgs};
use crate::cli::dense_args::{DenseArgs, MatchArgs};
use crate::cli::refine_args::RefineArgs;
use crate::locate::{INDEX_CREDIT, Method, Near, Options, Query};
use std::path::PathBuf;

/// Find where on an indexed map SAR images were taken
///
/// Each image is cut into patches at the map's scale, each patch is looked up, and what they agree on is the image's place: here, check (to be
/// looked at), or not on this map. Its own georeference is not used to find the place (unless --prior says so): only the size of its
/// pixels and the direction of north are taken from it.
///
/// Methods: `dense` correlates each patch with the whole map, to the metre; `both` does so around the best cells of the retrieval index
/// only, for which the map itself is read; `index` gives the best cells. With dense and both each place has an error ellipse
/// and a probability, and a patch whose probability is below the threshold is "not found".
///
/// Turns are clockwise on the map, scales factors of the ground size of a pixel, both against what the image says or --pixel-size.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Database that `echogrid index` wrote: a retrieval or a dense one
    #[arg(long, value_name = "DB")]
    pub(super) index: PathBuf,
    /// SAR images: files, folders of them, patterns such as 'chips/*.png', lists (.txt, a path a line); `-` reads paths from standard input
    #[arg(long, value_name = "SAR", required = true, num_args = 1..)]
    pub(super) sar: Vec<PathBuf>,
    /// How to look [default: dense if DB is a dense database or DB.dense lies beside it; else both if the map can be read (--map,
    /// or beside DB); else index]
    #[arg(long, value_enum)]
    method: Option<Method>,
    /// Model the retrieval database was made with [default: the shipped weights]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    #[command(flatten)]
    dense: DenseArgs,
    /// Distance between patches, pixels of the map [default: the patch]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..))]
    step: Option<u32>,
    #[command(flatten)]
    refinement: RefineArgs,
    /// Patches of a row of the image that are refined together: how they lie to each other is known [default: 5; only with --refine]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Refinement")]
    strip: Option<u32>,
    /// Candidates kept for each patch
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Size of a SAR pixel on the ground [default: from the image's georeference; needed where it has none]
    #[arg(long, value_name = "METRES", allow_negative_numbers = true)]
    pixel_size: Option<f64>,
    /// Search only within this distance of where the image's own, rough georeference puts each patch, or of --near
    #[arg(long, value_name = "METRES", allow_negative_numbers = true)]
    prior: Option<f64>,
    /// Where the image's middle roughly lies, within --prior of it
    #[arg(long, value_name = "LON,LAT", allow_hyphen_values = true, requires = "prior", value_parser = lonlat)]
    near: Option<[f64; 2]>,
    /// The images' own georeference is the truth: say what is right and wrong, not how far they are displaced
    #[arg(long)]
    pub(super) truth: bool,
    #[command(flatten)]
    reading: SarArgs,
    #[command(flatten)]
    mirror: MirrorArgs,
    /// Patches encoded at once
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    #[command(flatten)]
    matching: MatchArgs,
    /// Search the best places of each patch again at this many ground metres a feature pixel, finer than the database's; reads the map
    #[arg(long, value_name = "METRES", help_heading = "Dense matching")]
    closer: Option<f64>,
    /// The image may be turned by up to so much either way: tried in steps that move a patch's corner by at most 1.5 feature pixels from
    /// the nearest [default: not at all; of an image that does not say how it lies the whole circle, if it is not found as the map lies]
    #[arg(long, value_name = "DEGREES", value_parser = range_of::<180>, help_heading = "Dense matching")]
    rotation_range: Option<f64>,
    /// The image's scale may be off by up to this share either way: 0.02 for 2 %; steps as with rotation [default: not at all; of an image that
    /// does not say how it lies a quarter, if it is not found as it is]
    #[arg(long, value_name = "SHARE", value_parser = scale_range, help_heading = "Dense matching")]
    scale_range: Option<f64>,
    /// Judge each patch by itself, not by what the image's patches agree on
    #[arg(long, help_heading = "Dense matching")]
    no_vote: bool,
    /// Cells of the index around which each patch is correlated (method both)
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Dense matching")]
    cells: u32,
    /// What a cell's cosine of 1 adds to a peak in it, standard deviations (method both)
    #[arg(long, value_name = "F", default_value_t = INDEX_CREDIT, hide = true)]
    index_credit: f64,
    /// The map, for the method `both` and the report's pictures [default: the file of the map's name beside DB, if it is there]
    #[arg(long, value_name = "MAP", num_args = 1..)]
    map: Vec<PathBuf>,
    #[command(flatten)]
    map_no_data: MapNoData,
    /// Fixes to write, GeoJSON: each image's verdict, footprint, place, ellipse and probability, and those of its patches; `-` is standard output
    #[arg(long, value_name = "FIXES.geojson")]
    pub(super) out: PathBuf,
    /// The same as a table
    #[arg(long, value_name = "FILE.csv")]
    pub(super) csv: Option<PathBuf>,
    /// A page with pictures to look at
    #[arg(long, value_name = "FILE.html", value_parser = crate::cli::common::page)]
    pub(super) report: Option<PathBuf>,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
}

/// A number from 0 to `MOST`.
fn range_of<const MOST: u32>(text: &str) -> std::result::Result<f64, String> {
    let value: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if (0.0..=f64::from(MOST)).contains(&value) { Ok(value) } else { Err(format!("a number from 0 to {MOST} is needed")) }
}

/// A longitude and a latitude.
fn lonlat(text: &str) -> std::result::Result<[f64; 2], String> {
    let numbers: Vec<f64> = text.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    match numbers[..] {
        [lon, lat] if text.split(',').count() == 2 && (-180.0..=360.0).contains(&lon) && (-90.0..=90.0).contains(&lat) => Ok([lon, lat]),
        _ => Err("a longitude and a latitude in degrees are needed, with decimal points and a comma between: LON,LAT".into()),
    }
}

/// A share of the scale: at most half.
fn scale_range(text: &str) -> std::result::Result<f64, String> {
    text.parse().ok().filter(|v| (0.0..=0.5).contains(v)).ok_or_else(|| "a share from 0 to 0.5 is needed".into())
}

impl Args {
    /// How images are looked for.
    pub(super) fn options(&self) -> Options {
        let what = &self.dense.what;
        Options {
            method: self.method,
            model: self.model.clone(),
            features: what.features,
            dense_model: what.dense_model.clone(),
            precision: what.precision,
            map: self.map.clone(),
            map_reading: self.map_no_data.options(),
            patch: self.dense.patch,
            step: self.step,
            top: self.top as usize,
            batch: self.batch as usize,
            threshold: self.matching.threshold,
            vote: !self.no_vote,
            closer_m: self.closer,
            cells: self.cells as usize,
            index_credit: self.index_credit,
            feature_m: self.dense.scale,
            block: self.dense.block,
            refine: self.refinement.choice(),
            strip: self.strip.map(|n| n as usize),
            surfaces: false,
        }
    }

    /// The map's files, where they are named.
    pub(super) fn map(&self) -> &[PathBuf] {
        &self.map
    }

    /// What is asked of an image.
    pub(super) fn query(&self, file: PathBuf) -> Query {
        let near = self.prior.map(|metres| self.near.map_or(Near::Own(metres), |lonlat| Near::Place { lonlat, metres }));
        Query {
            reading: self.reading.options(),
            unit: self.reading.unit(),
            pixel_m: self.pixel_size,
            near,
            rotation_deg: self.rotation_range,
            scale: self.scale_range,
            mirrored: self.mirror.mirrored,
            ..Query::file(file)
        }
    }
}

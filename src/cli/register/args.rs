//! The options of `echogrid register`.

use crate::cli::common::{MapArgs, MirrorArgs, SarArgs};
use crate::cli::dense_args::FeatureArgs;
use crate::register::{ModelKind, RegisterConfig};
use clap::ValueEnum;
use std::path::PathBuf;

/// Kind of transform.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ModelArg {
    /// Similarity or affine: whichever predicts better where there are no fixes
    Auto,
    /// Shift, rotation and one scale
    Similarity,
    /// Shift, rotation, scales and shear
    Affine,
    /// Degree 2: follows a bend
    Polynomial2,
    /// Degree 3
    Polynomial3,
}

impl ModelArg {
    pub(in crate::cli) fn kind(self) -> Option<ModelKind> {
        match self {
            Self::Auto => None,
            Self::Similarity => Some(ModelKind::Similarity),
            Self::Affine => Some(ModelKind::Affine),
            Self::Polynomial2 => Some(ModelKind::Polynomial2),
            Self::Polynomial3 => Some(ModelKind::Polynomial3),
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ExtentArg {
    /// All of the map
    Map,
    /// As much of it as the image covers
    Sar,
}

/// Register a SAR image to a map: bring it onto the map's pixels
///
/// Some large patches of the image are sought over the whole map; where enough of them agree, many smaller ones are sought near by, and
/// a transform is fitted through all that agree. The image is written resampled onto the map's grid. Its own georeference is not used to
/// find the place: only the size of its pixels and the direction of north are taken from it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(super) map: MapArgs,
    /// SAR image
    #[arg(long, value_name = "SAR")]
    pub(super) sar: PathBuf,
    /// Registered image to write, GeoTIFF on the map's grid
    #[arg(long, value_name = "SAR_ON_MAP.tif")]
    pub(super) out: PathBuf,
    /// Transform to fit
    #[arg(long, value_enum, default_value_t = ModelArg::Auto)]
    pub(super) model: ModelArg,
    #[command(flatten)]
    pub(super) what: FeatureArgs,
    /// Side of the patches sought over the whole map, pixels of the map
    #[arg(long, value_name = "PX", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(super) coarse_patch: u32,
    /// How many of them at most
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(4..=10_000))]
    pub(super) coarse_fixes: u32,
    /// Side of the patches sought near by, pixels of the map
    #[arg(long, value_name = "PX", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(super) patch: u32,
    /// How many of them at most
    #[arg(long, value_name = "N", default_value_t = 250, value_parser = clap::value_parser!(u32).range(6..=100_000))]
    pub(super) fixes: u32,
    /// How near: the distance from where the large patches put them
    #[arg(long, value_name = "METRES", default_value_t = 400.0, allow_negative_numbers = true)]
    pub(super) reach: f64,
    /// Rotations to try where the image is not found as its georeference turns it: degrees clockwise by which it is turned on the map against
    /// that, as they are reported [default: -3,0,3; of an image that does not say how it lies the whole circle, and scales a quarter off]
    #[arg(long, value_name = "DEGREES", value_delimiter = ',', allow_negative_numbers = true)]
    pub(super) rotations: Vec<f64>,
    /// Scales to try with them, as they are reported: above 1 where its pixels are larger on the ground than claimed [default: 1]
    #[arg(long, value_name = "FACTORS", value_delimiter = ',')]
    pub(super) scales: Vec<f64>,
    /// Size of a SAR pixel on the ground [default: from the image's georeference; needed where it has none]
    #[arg(long, value_name = "METRES", allow_negative_numbers = true)]
    pub(super) pixel_size: Option<f64>,
    #[command(flatten)]
    pub(super) reading: SarArgs,
    #[command(flatten)]
    pub(super) mirror: MirrorArgs,
    /// Part of the map's grid to write
    #[arg(long, value_enum, default_value_t = ExtentArg::Map)]
    pub(super) extent: ExtentArg,
    /// Patches correlated at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub(super) at_once: usize,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// A page with the fit, its residuals, and map and image in alternating squares
    #[arg(long, value_name = "FILE.html", value_parser = crate::cli::common::page)]
    pub(super) report: Option<PathBuf>,
    /// The tie points, in the format that the name's end says (may be repeated): .csv, .geojson, .points (QGIS), .pts (ENVI); .vrt or .tif: the
    /// untouched image with them (GDAL); .tfw, .pgw, .jgw, .wld: the best affine transform as a world file, with a .prj
    #[arg(long, value_name = "FILE")]
    pub(super) points: Vec<PathBuf>,
    /// Other bands or files of the same geometry to bring onto the map with the same transform: each is written as NAME_on_map.tif beside --out
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(super) apply: Vec<PathBuf>,
    /// Folder for what --apply writes [default: that of --out]
    #[arg(long, value_name = "FOLDER", requires = "apply")]
    pub(super) apply_to: Option<PathBuf>,
    /// A height model (any raster with a georeference): how residuals follow the height of the ground
    #[arg(long, value_name = "DEM")]
    pub(super) dem: Option<PathBuf>,
    /// A STAC item beside --out, its name with .json
    #[arg(long)]
    pub(super) stac: bool,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
}

impl Args {
    /// What is sought, and how.
    pub(super) fn config(&self) -> RegisterConfig {
        let plain = RegisterConfig::default();
        let given = |values: &[f64], or: Vec<f64>| if values.is_empty() { or } else { values.to_vec() };
        RegisterConfig {
            kind: self.model.kind(),
            coarse_patch: self.coarse_patch,
            coarse_fixes: self.coarse_fixes as usize,
            patch: self.patch,
            fixes: self.fixes as usize,
            reach_m: self.reach,
            rotations: given(&self.rotations, plain.rotations),
            scales: given(&self.scales, plain.scales),
            // Whoever says what to try has it tried, and no more.
            lost: plain.lost.filter(|_| self.rotations.is_empty() && self.scales.is_empty()),
            pixel_m: self.pixel_size,
            mirrored: self.mirror.mirrored,
            seed: self.seed,
        }
    }
}

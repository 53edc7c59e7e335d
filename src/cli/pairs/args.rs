//! Options of `echogrid pairs build`.

use crate::cli::common::{MapNoData, SarArgs};
use crate::cli::dense_args::FeatureArgs;
use crate::cli::register::ModelArg;
use crate::pairs::build::{BuildConfig, Format, Limits, Onto};
use crate::{Error, Result};
use std::path::PathBuf;

/// Cut two large images of the same ground into numbered pairs
///
/// One image is brought onto the other's grid: through corresponding points (--points), through a transform that is found (--register), pixel by pixel (--aligned), or, without any of these, by what both georeferences say. Both are cut into crops that overlap. A crop is left out where data is missing, where nothing is to be seen, where samples are saturated, or where the two do not fit: there the SAR crop correlates best elsewhere. What was left out is shown on contact sheets (dropped-N.svg), and manifest.json says all of it.
#[derive(Debug, clap::Args)]
pub(super) struct BuildArgs {
    /// SAR image
    #[arg(long, value_name = "SAR")]
    pub(super) sar: PathBuf,
    /// Optical image
    #[arg(long, value_name = "OPT")]
    pub(super) optical: PathBuf,
    /// Corresponding points: .points (QGIS), .csv, .pts (ENVI) or .geojson; positions in the SAR image, and on the map that the optical image is (its pixels, where it has no georeference)
    #[arg(long, value_name = "FILE", conflicts_with = "register")]
    pub(super) points: Option<PathBuf>,
    /// Find the transform, as `echogrid register` does
    #[arg(long)]
    pub(super) register: bool,
    /// The images lie pixel on pixel already
    #[arg(long, conflicts_with_all = ["points", "register"])]
    pub(super) aligned: bool,
    /// Transform through the points, or through what --register finds
    #[arg(long, value_enum, default_value_t = ModelArg::Auto)]
    pub(super) model: ModelArg,
    /// Of --points, those that lie farther off the transform do not count, px of the optical image
    #[arg(long, value_name = "PX", default_value_t = 5.0)]
    pub(super) tolerance: f64,
    /// Folder to write: sar/N and opt/N, manifest.json, dropped-N.svg; it must be new, or empty
    #[arg(long, value_name = "FOLDER")]
    pub(super) out: PathBuf,
    /// Which image's grid both are cut on; the other one is resampled bilinearly
    #[arg(long, value_enum, default_value_t = Onto::Sar)]
    pub(super) onto: Onto,
    /// Side of a crop, px
    #[arg(long, value_name = "PX", default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=8192))]
    pub(super) size: u32,
    /// Share of a crop that its neighbour shows too
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    pub(super) overlap: f64,
    /// Files of the crops
    #[arg(long, value_enum, default_value_t = Format::Png)]
    pub(super) format: Format,
    /// Most of a crop that may hold no data in one of the images, share of its pixels
    #[arg(long, value_name = "SHARE", default_value_t = Limits::default().missing, help_heading = "Quality")]
    pub(super) max_missing: f64,
    /// Least texture of either image: standard deviation over the crop of means of 8 x 8 px, in standard deviations of the whole image
    #[arg(long, value_name = "SIGMAS", default_value_t = Limits::default().texture, help_heading = "Quality")]
    pub(super) min_texture: f64,
    /// Most of a crop that may lie at an end of the samples' range, share of its pixels
    #[arg(long, value_name = "SHARE", default_value_t = Limits::default().saturated, help_heading = "Quality")]
    pub(super) max_saturated: f64,
    /// Farthest that a SAR crop may correlate best from where the transform puts it, px of the grid; `none`: it is not measured
    #[arg(long, value_name = "PX", default_value = "8", allow_negative_numbers = true, value_parser = misfit, help_heading = "Quality")]
    pub(super) max_misfit: MaxMisfit,
    #[command(flatten)]
    pub(super) what: FeatureArgs,
    /// Ground size of a pixel of a SAR image without a georeference; against that of the optical image it says how much smaller or larger it is
    #[arg(long, value_name = "METRES", default_value_t = 10.0)]
    pub(super) pixel_size: f64,
    /// Ground size of a pixel of an optical image without a georeference
    #[arg(long, value_name = "METRES", default_value_t = 10.0)]
    pub(super) optical_pixel_size: f64,
    #[command(flatten)]
    pub(super) reading: SarArgs,
    #[command(flatten)]
    pub(super) no_data: MapNoData,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
}

/// The largest misfit, if one is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MaxMisfit(pub(super) Option<f64>);

fn misfit(text: &str) -> std::result::Result<MaxMisfit, String> {
    match (text, text.parse::<f64>()) {
        ("none", _) => Ok(MaxMisfit(None)),
        (_, Ok(v)) if v > 0.0 && v.is_finite() => Ok(MaxMisfit(Some(v))),
        _ => Err("pixels above 0, or `none`, are needed".into()),
    }
}

impl BuildArgs {
    /// How pairs are cut.
    pub(super) fn config(&self) -> Result<BuildConfig> {
        if !(0.0..1.0).contains(&self.overlap) {
            return Err(Error::invalid(format!("--overlap is a share from 0 to below 1, not {}", self.overlap)));
        }
        // A fifth of 256 px is 51: crops follow each other at 205.
        let stride = ((f64::from(self.size) * (1.0 - self.overlap)).round() as u32).max(1);
        let limits =
            Limits { missing: self.max_missing, texture: self.min_texture, saturated: self.max_saturated, misfit_px: self.max_misfit.0 };
        Ok(BuildConfig { size: self.size, stride, onto: self.onto, limits, format: self.format })
    }
}

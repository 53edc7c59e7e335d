//! How images are read: the options, and what is doubtful about them.

use super::global::name_of;
use super::output::{warn, warn_of};
use crate::Result;
use crate::scene::{Bands, Image, Mirrored, NoData, OpenOptions, SarUnit, ScenePair};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// What the SAR values measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Unit {
    /// Square root of intensity (most 8- and 16-bit products)
    Amplitude,
    /// Backscattered power
    Intensity,
    /// Decibels
    Db,
}

impl From<Unit> for SarUnit {
    fn from(u: Unit) -> Self {
        match u {
            Unit::Amplitude => Self::Amplitude,
            Unit::Intensity => Self::Intensity,
            Unit::Db => Self::Decibel,
        }
    }
}

/// How the SAR image is read.
#[derive(Debug, Clone, Args)]
pub struct SarArgs {
    /// What the SAR values measure [default: it is guessed]
    #[arg(long, value_enum, help_heading = "Reading")]
    pub sar_unit: Option<Unit>,
    /// Band of the SAR image: its number, or a word of its description such as VV [default: the first described as VV, VH, HH or HV, else the first]
    #[arg(long, value_name = "BAND", help_heading = "Reading")]
    pub band: Option<String>,
    /// Value of the SAR image that marks no data; `none`: every value is data [default: the file's own, and fill along the border that it does not name]
    #[arg(
        long,
        value_name = "VALUE",
        allow_negative_numbers = true,
        hide_default_value = true,
        default_value = "auto",
        help_heading = "Reading"
    )]
    pub no_data: NoData,
}

impl SarArgs {
    /// How a file is opened.
    pub(in crate::cli) fn options(&self) -> OpenOptions {
        OpenOptions { bands: self.band.clone().map_or(Bands::All, Bands::Named), no_data: self.no_data, reader: None }
    }

    /// The same with `bands` where none was named.
    pub(in crate::cli) fn options_or(&self, bands: Bands) -> OpenOptions {
        OpenOptions { bands: self.band.clone().map_or(bands, Bands::Named), ..self.options() }
    }

    /// What the values measure, if it was said.
    pub(in crate::cli) fn unit(&self) -> Option<SarUnit> {
        self.sar_unit.map(Into::into)
    }

    /// Opens a SAR image, and says what is doubtful about it.
    pub(in crate::cli) fn open(&self, path: &Path) -> Result<Image> {
        let image = Image::open_sar(path, self.unit(), self.options())?;
        warn_of(&image.raster);
        let raster = &image.raster;
        if let (true, Err(e)) = (raster.geo().is_some() || raster.control_points() > 0, raster.placement()) {
            warn(format_args!("the image's own georeference is not used: {e}"));
        }
        Ok(image)
    }

    /// Opens the images of an area, and says what is doubtful about them. `map` reads the map.
    pub(in crate::cli) fn pair(&self, map: &MapArgs, sar: &Path) -> Result<ScenePair> {
        Ok(ScenePair::of(map.open()?, self.open(sar)?)?)
    }

    /// The same for a pair of files, a map of one file.
    pub(in crate::cli) fn pair_of(&self, files: &[PathBuf]) -> Result<ScenePair> {
        let map = MapArgs { map: vec![files[0].clone()], no_data: MapNoData { map_no_data: NoData::Auto } };
        self.pair(&map, &files[1])
    }
}

/// What marks no data in a map.
#[derive(Debug, Clone, Copy, Args)]
pub struct MapNoData {
    /// Value of the map that marks no data; `none`: every value is data [default: the file's own, and fill that it does not name]
    #[arg(
        long,
        value_name = "VALUE",
        allow_negative_numbers = true,
        hide_default_value = true,
        default_value = "auto",
        help_heading = "Reading"
    )]
    pub map_no_data: NoData,
}

impl MapNoData {
    /// For opening the map.
    pub(in crate::cli) fn options(self) -> OpenOptions {
        OpenOptions { no_data: self.map_no_data, ..OpenOptions::default() }
    }
}

/// A map to read.
#[derive(Debug, Clone, Args)]
pub struct MapArgs {
    /// Optical map: GeoTIFF, or PNG or JPEG with a world file; several files, a folder of them, or a list (.txt, a path a line) count as one map
    #[arg(long, value_name = "MAP", required = true, num_args = 1..)]
    pub map: Vec<PathBuf>,
    #[command(flatten)]
    pub no_data: MapNoData,
}

impl MapArgs {
    /// Opens it, and says what is doubtful about it.
    pub(in crate::cli) fn open(&self) -> Result<Image> {
        open_map(&self.map, self.no_data)
    }

    /// Its name, for people.
    pub(in crate::cli) fn name(&self) -> String {
        name_of(&self.map[0])
    }
}

/// Opens a map, and says what is doubtful about it.
pub(in crate::cli) fn open_map(files: &[PathBuf], no_data: MapNoData) -> Result<Image> {
    let image = Image::open_map(files, no_data.options())?;
    warn_of(&image.raster);
    Ok(image)
}

/// Whether an image that does not say how it lies is mirrored.
#[derive(Debug, Clone, Copy, Args)]
pub struct MirrorArgs {
    /// Whether an image without a georeference shows the ground as from below, as raw images of descending passes do
    #[arg(long, value_enum, default_value_t = Mirrored::Auto, help_heading = "Reading")]
    pub mirrored: Mirrored,
}

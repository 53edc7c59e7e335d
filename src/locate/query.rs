//! What is asked: an image, and what is known of it beforehand.

use crate::scene::{Frame, Image, Mirrored, OpenOptions, Raster, Result as SceneResult, SarUnit};
use crate::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// Where an image comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// One that is open already.
    Image(Arc<Image>),
}

/// Roughly where an image lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Near {
    /// Each patch within so many metres of where the image's own georeference puts it.
    Own(f64),
    /// The image's middle within so many metres of a longitude and latitude.
    Place {
        /// Degrees, WGS 84.
        lonlat: [f64; 2],
        /// Metres.
        metres: f64,
    },
}

impl Near {
    /// How far, metres.
    pub fn metres(self) -> f64 {
        match self {
            Self::Own(metres) | Self::Place { metres, .. } => metres,
        }
    }
}

/// An image to be located, and what is known of it.
#[derive(Debug, Clone)]
pub struct Query {
    /// The image.
    pub source: Source,
    /// How its file is read.
    pub reading: OpenOptions,
    /// What its values measure; none guesses.
    pub unit: Option<SarUnit>,
    /// Ground size of a pixel, metres; wins over the image's own georeference, and is needed where it has none.
    pub pixel_m: Option<f64>,
    /// Roughly where it lies; none searches the whole map.
    pub near: Option<Near>,
    /// Degrees by which it may be turned either way. None: not at all; but one that does not say how it lies, has no prior and is not found as the
    /// map lies is searched over the whole circle (dense matching).
    pub rotation_deg: Option<f64>,
    /// Share by which its scale may be off either way. None: not at all; a quarter where the whole circle is searched.
    pub scale: Option<f64>,
    /// Whether an image without a georeference is mirrored.
    pub mirrored: Mirrored,
}

impl Query {
    fn of(source: Source) -> Self {
        Self {
            source,
            reading: OpenOptions::default(),
            unit: None,
            pixel_m: None,
            near: None,
            rotation_deg: None,
            scale: None,
            mirrored: Mirrored::Auto,
        }
    }

    /// A file, of which nothing more is known.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::of(Source::File(path.into()))
    }

    /// An open image.
    pub fn image(image: Arc<Image>) -> Self {
        Self::of(Source::Image(image))
    }

    /// Pixels at hand, row by row from the top, NaN where there is no data, each `pixel_m` metres wide on the ground.
    ///
    /// # Errors
    /// Values that do not fill the size; none that is valid.
    pub fn values(width: u32, height: u32, values: Vec<f32>, pixel_m: f64) -> Result<Self> {
        let image = Image::of_sar(Raster::from_values("(array)", width, height, values)?, None)?;
        Ok(Self { pixel_m: Some(pixel_m), ..Self::image(Arc::new(image)) })
    }

    /// Its name, for people.
    pub fn name(&self) -> String {
        match &self.source {
            Source::File(path) => path.display().to_string(),
            Source::Image(image) => image.raster.path().display().to_string(),
        }
    }

    /// The image, opened if it is a file.
    pub(super) fn open(&self) -> SceneResult<Arc<Image>> {
        match &self.source {
            Source::File(path) => Image::open_sar(path, self.unit, self.reading.clone()).map(Arc::new),
            Source::Image(image) => Ok(image.clone()),
        }
    }

    /// Bytes of its file, or of its pixels where it is open.
    pub(super) fn bytes(&self) -> u64 {
        match &self.source {
            Source::File(path) => std::fs::metadata(path).map_or(0, |m| m.len()),
            Source::Image(image) => u64::from(image.raster.width()) * u64::from(image.raster.height()),
        }
    }

    /// Refuses a prior around a georeference that the image does not have.
    pub(super) fn check_prior(&self, frame: &Frame) -> Result<()> {
        if matches!(self.near, Some(Near::Own(_))) && frame.own.is_none() {
            return Err(Error::invalid(format!(
                "{}: a prior limits the search around the image's own georeference, and it has none; leave --prior out, or say --near LON,LAT",
                self.name()
            )));
        }
        Ok(())
    }

    /// That the prior leaves no patch near `what`.
    pub(super) fn nowhere(&self, what: &str) -> Error {
        let by = if matches!(self.near, Some(Near::Own(_))) { "its own georeference" } else { "--near" };
        let metres = self.near.map_or(0.0, Near::metres);
        Error::invalid(format!("{}: {by} puts no patch within {metres} m of {what}; use a larger --prior, or none", self.name()))
    }

    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<()> {
        if self.near.is_some_and(|n| !(n.metres().is_finite() && n.metres() > 0.0)) {
            return Err(Error::invalid("the prior must be a distance in metres above 0"));
        }
        if self.rotation_deg.is_some_and(|r| !(0.0..=180.0).contains(&r)) {
            return Err(Error::invalid("the range of rotations is in degrees either way, 0 to 180"));
        }
        if self.scale.is_some_and(|s| !(0.0..=0.5).contains(&s)) {
            return Err(Error::invalid("the range of scales is a share either way, 0 to 0.5"));
        }
        Ok(())
    }
}

//! Errors of the scene module: each names the file, what is wrong and what to do.

use std::path::{Path, PathBuf};

/// Behind refusals of formats: what another build of echogrid can do.
#[cfg(not(feature = "gdal"))]
const GDAL_HINT: &str = ", or build echogrid with --features gdal, which reads what GDAL reads";
#[cfg(feature = "gdal")]
const GDAL_HINT: &str = "";

/// Result of the scene module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with a raster, its georeference or a file to be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened or read.
    #[error("{}: cannot be read: {source}; check the path and its permissions", path.display())]
    Read {
        /// File concerned.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// GDAL could not open or read it.
    #[cfg(feature = "gdal")]
    #[error("{}: GDAL cannot read it: {detail}", path.display())]
    Gdal {
        /// File concerned.
        path: PathBuf,
        /// What GDAL said.
        detail: String,
    },
    /// The file could not be written.
    #[error("{}: cannot be written: {source}; {} (nothing was left behind)", path.display(), crate::atomic::advice(path, source))]
    Write {
        /// File concerned.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is of none of the formats read.
    #[error("{}: is not a TIFF, PNG or JPEG image; convert it to GeoTIFF (gdal_translate IN OUT.tif){}", path.display(), GDAL_HINT)]
    NotAnImage {
        /// File concerned.
        path: PathBuf,
    },
    /// The file ends before its contents do, or contradicts itself.
    #[error("{}: is damaged or truncated: {detail}; fetch or write the file again", path.display())]
    Damaged {
        /// File concerned.
        path: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// The file is sound but of a kind that is not read.
    #[error("{}: {what} is not supported; {advice}{}", path.display(), GDAL_HINT)]
    Unsupported {
        /// File concerned.
        path: PathBuf,
        /// The feature in question.
        what: String,
        /// What to do instead.
        advice: String,
    },
    /// A header claims more memory than the limits allow.
    #[error(
        "{}: {what} would take {bytes} bytes in memory, more than the limit of {limit}; rewrite it in smaller tiles (gdal_translate -co TILED=YES IN OUT.tif)",
        path.display()
    )]
    TooLarge {
        /// File concerned.
        path: PathBuf,
        /// The piece concerned.
        what: String,
        /// Bytes claimed.
        bytes: u128,
        /// Bytes allowed.
        limit: u64,
    },
    /// More pages are wanted at once than the device holds.
    #[error("{pages} pages of the scenes are wanted on the device at once, {room} fit; use fewer or smaller scenes, or a smaller batch")]
    TooManyPages {
        /// Pages wanted.
        pages: usize,
        /// Pages there is room for.
        room: usize,
    },
    /// The image carries no geotransform.
    #[error(
        "{}: has neither a geotransform nor ground control points, so its pixels have no place on the ground; use a georeferenced GeoTIFF, or put a world file (.tfw, .pgw, .jgw, .wld) beside it",
        path.display()
    )]
    NoGeotransform {
        /// File concerned.
        path: PathBuf,
    },
    /// The image carries no coordinate reference system that could be read.
    #[error(
        "{}: names no coordinate system; assign one (gdal_edit.py -a_srs EPSG:nnnn FILE, or a .prj file holding WKT or the text EPSG:nnnn beside it)",
        path.display()
    )]
    NoCrs {
        /// File concerned.
        path: PathBuf,
    },
    /// A world or .prj file beside the image does not read.
    #[error("{}: {detail}; correct or remove it", path.display())]
    Sidecar {
        /// Side-car file concerned.
        path: PathBuf,
        /// What is wrong in it.
        detail: String,
    },
    /// A coordinate system that is not known, or whose projection or datum cannot be computed.
    #[error("{name}: {detail}; reproject to a common system (gdalwarp -t_srs EPSG:3857 IN OUT.tif, or the UTM zone)")]
    UnknownCrs {
        /// The system, as the file names it.
        name: String,
        /// Why it cannot be used.
        detail: String,
    },
    /// A file whose coordinate system cannot be used.
    #[error("{}: {detail}", path.display())]
    FileCrs {
        /// File concerned.
        path: PathBuf,
        /// The system, why, and what to do.
        detail: String,
    },
    /// Ground control points that give no surface.
    #[error("{}: {detail}; correct them, or resample the image: gdalwarp -tps -t_srs EPSG:3857 IN OUT.tif", path.display())]
    ControlPoints {
        /// File concerned.
        path: PathBuf,
        /// What is wrong with them.
        detail: String,
    },
    /// Ground control points where a transform is needed, as of a map.
    #[error(
        "{}: its {points} ground control points give no transform from pixels to the ground that a map needs; resample it: gdalwarp -tps -t_srs EPSG:3857 IN OUT.tif (or the UTM zone)",
        path.display()
    )]
    TiesOnly {
        /// File concerned.
        path: PathBuf,
        /// How many.
        points: usize,
    },
    /// A coordinate outside the domain of a projection.
    #[error("{system}: the point ({x}, {y}) cannot be projected: {detail}; check the georeference")]
    Projection {
        /// The system concerned.
        system: String,
        /// First coordinate given.
        x: f64,
        /// Second coordinate given.
        y: f64,
        /// What the projection said.
        detail: String,
    },
    /// No pixel of the image holds data.
    #[error(
        "{}: holds no valid pixel (every pixel is no-data, masked, NaN or infinite); check the file, its mask and its no-data value (--no-data VALUE names another, --no-data none takes every pixel)",
        path.display()
    )]
    AllNoData {
        /// File concerned.
        path: PathBuf,
    },
    /// The file stores no pixel at all.
    #[error("{}: stores no pixel: all of its tiles or strips are absent; check that it was written to its end", path.display())]
    Empty {
        /// File concerned.
        path: PathBuf,
    },
    /// The image is smaller than one cell or patch.
    #[error("the image of {width}x{height} px is smaller than one cell of {cell} px; take a smaller cell or patch, or a larger image")]
    TooSmall {
        /// Image width, px.
        width: u32,
        /// Image height, px.
        height: u32,
        /// Cell edge, px.
        cell: u32,
    },
    /// What is known of an image is not enough, or contradicts itself.
    #[error("{0}")]
    Invalid(String),
    /// The device.
    #[error(transparent)]
    Gpu(#[from] crate::gpu::Error),
    /// A caller's argument that makes no sense.
    #[error("{what}: {detail}")]
    Argument {
        /// The argument.
        what: String,
        /// What is wrong with it and what would be right.
        detail: String,
    },
}

impl Error {
    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        Error::Read { path: path.into(), source }
    }

    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        Error::Write { path: path.into(), source }
    }

    pub(crate) fn damaged(path: &Path, detail: impl Into<String>) -> Self {
        Error::Damaged { path: path.into(), detail: detail.into() }
    }

    pub(crate) fn unsupported(path: &Path, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Error::Unsupported { path: path.into(), what: what.into(), advice: advice.into() }
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Error::Invalid(reason.into())
    }

    pub(crate) fn argument(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Error::Argument { what: what.into(), detail: detail.into() }
    }
}

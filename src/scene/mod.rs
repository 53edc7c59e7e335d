//! Scenes: rasters, georeference, grid and radiometry, on the host.
//!
//! A [`Raster`] is an image file (GeoTIFF, or PNG/JPEG with a world file), or several as one map, read by windows, so that
//! a map of any size passes through a bounded cache. Coordinates are in pixels with (0, 0) at the
//! upper left corner of the upper left pixel, whose centre lies at (0.5, 0.5).

mod bands;
mod cache;
mod chunk;
mod cog;
pub mod crs;
pub mod error;
mod formats;
mod frame;
#[cfg(feature = "gdal")]
mod gdal_read;
pub mod georef;
pub mod grid;
mod image_read;
mod map_info;
pub mod mask;
mod memory;
mod metadata;
mod mosaic;
mod nodata;
mod open;
pub(crate) mod outline;
pub mod pages;
pub mod pair;
pub mod points;
pub mod radiometry;
pub mod raster;
mod sheet;
mod sidecar;
mod source;
pub mod synth;
mod ties;
mod tiff_chunk;
mod tiff_ifd;
mod tiff_read;
pub mod warp;
mod window;
pub mod write;

#[cfg(test)]
mod tests;

pub use bands::Bands;
pub use crs::{Crs, GeoKeyTags, lonlat_distance_m};
pub use error::{Error, Result};
pub(crate) use frame::inverse;
pub use frame::{Frame, Mirrored};
pub use georef::{GeoTransform, Georeference};
pub use grid::{Cell, DEFAULT_MAX_MISSING, Grid};
pub use map_info::MapInfo;
pub use mask::ValidityMask;
pub use nodata::{Fill, NoData};
pub use open::{ImageHeader, OpenOptions, expand_paths};
pub use pages::{Image, PageCache};
pub use pair::{Link, ScenePair, compose};
pub use points::{ControlPoint, ControlPoints, PointsFormat};
pub use radiometry::{Radiometry, SarUnit, Standardisation};
pub use raster::{DEFAULT_CACHE_BYTES, Raster, SampleType};
pub use sheet::Laid;
pub use source::Reader;
pub use window::Window;
pub use write::{GeoTiff, SampleData, write_geotiff, write_geotiff_rows};

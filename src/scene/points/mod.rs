//! Ground control points in the files that people use: QGIS, ENVI, GDAL, world files, CSV, GeoJSON.
//!
//! One list of points, each a position in the image and its map coordinates, and a format each in a file of its own. Positions in the image are
//! pixels with (0, 0) at the upper left corner of the upper left pixel, x to the right and y down, whatever a format makes of them.

mod csv;
mod envi;
mod geojson;
mod qgis;
mod tiff;
mod vrt;
mod world;

#[cfg(test)]
mod tests;

use std::path::Path;

use super::crs::Crs;
use super::error::{Error, Result};
use super::georef::GeoTransform;
use super::raster::Raster;
use crate::atomic::AtomicFile;

/// A position in an image and where it lies on the ground.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ControlPoint {
    /// Position in the image, pixels from its upper left corner, y down.
    pub sar_px: [f64; 2],
    /// The same on the map: coordinates in the points' system, easting or longitude first.
    pub map_xy: [f64; 2],
    /// Where the transform puts `map_xy` in the image less `sar_px`, image pixels, y down; none where it is not known.
    pub residual_px: Option<[f64; 2]>,
    /// Whether a transform is to rest on it.
    pub enabled: bool,
}

/// Control points of an image.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ControlPoints {
    /// The points.
    pub points: Vec<ControlPoint>,
    /// System of their map coordinates, where it is known.
    pub crs: Option<Crs>,
}

impl ControlPoints {
    fn enabled(&self) -> impl Iterator<Item = &ControlPoint> {
        self.points.iter().filter(|p| p.enabled)
    }

    fn named_crs(&self, path: &Path) -> Result<&Crs> {
        self.crs.as_ref().ok_or_else(|| {
            Error::argument(path.display().to_string(), "the system of the points' coordinates is not known, and this format needs it")
        })
    }
}

/// Formats of control points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointsFormat {
    /// QGIS's Georeferencer: `.points`.
    Qgis,
    /// ENVI's image-to-map points: `.pts`.
    Envi,
    /// A table: `.csv`.
    Csv,
    /// GeoJSON points: `.geojson`, `.json`.
    GeoJson,
    /// The untouched image by reference, with its points: GDAL's `.vrt`.
    Vrt,
    /// A copy of the untouched image with its points: `.tif`, `.tiff`.
    Tiff,
    /// The best affine transform, with its system in a `.prj` beside it: `.tfw`, `.pgw`, `.jgw`, `.wld`.
    World,
}

impl PointsFormat {
    /// By the name's end.
    ///
    /// # Errors
    /// [`Error::Argument`] for one that is not known; it lists those that are.
    pub fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        Ok(match extension.as_str() {
            "points" => Self::Qgis,
            "pts" => Self::Envi,
            "csv" => Self::Csv,
            "geojson" | "json" => Self::GeoJson,
            "vrt" => Self::Vrt,
            "tif" | "tiff" => Self::Tiff,
            "tfw" | "pgw" | "jgw" | "wld" | "tifw" | "pngw" | "jpgw" => Self::World,
            _ => {
                return Err(Error::argument(
                    path.display().to_string(),
                    "the end of its name says no format of control points; known are .points (QGIS), .pts (ENVI), .csv, .geojson and .json, .vrt and .tif (GDAL: the untouched image with its points), .tfw, .pgw, .jgw and .wld (world file)",
                ));
            }
        })
    }
}

/// What formats need beside the points.
#[derive(Debug, Clone, Copy)]
pub struct PointsOf<'a> {
    /// The image that they belong to.
    pub image: &'a Raster,
    /// The affine transform, from pixels to coordinates in the points' system, that follows them best: for a world file.
    pub affine: Option<&'a GeoTransform>,
}

/// Writes control points in the format that the name's end says; what a reader should know of the file comes back in words.
///
/// # Errors
/// [`PointsFormat::of`]; a format that needs a coordinate system, or a world file a transform, that is not there; writing.
pub fn write(path: &Path, points: &ControlPoints, of: PointsOf<'_>) -> Result<Vec<String>> {
    let text = match PointsFormat::of(path)? {
        PointsFormat::Qgis => qgis::text(points, of.image.geo()),
        PointsFormat::Envi => envi::text(points, of.image.path())?,
        PointsFormat::Csv => csv::text(points),
        PointsFormat::GeoJson => geojson::text(points)?,
        PointsFormat::Vrt => vrt::text(path, points, of.image)?,
        PointsFormat::Tiff => return tiff::write(path, points, of.image),
        PointsFormat::World => return world::write(path, points, of),
    };
    AtomicFile::write(path, text.as_bytes()).map_err(|e| Error::write(path, e))?;
    Ok(Vec::new())
}

/// Reads control points: `.points` (of any QGIS), `.pts`, `.csv`, `.geojson`. Of an image that has a transform QGIS counts positions in the image's
/// own map coordinates: `image` says its transform and size, where it is known.
///
/// # Errors
/// [`PointsFormat::of`], formats that hold an image, a file that does not read; it names the line.
pub fn read(path: &Path, image: Option<(Option<&GeoTransform>, [u32; 2])>) -> Result<ControlPoints> {
    let format = PointsFormat::of(path)?;
    let bytes = std::fs::read(path).map_err(|e| Error::read(path, e))?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_start_matches('\u{feff}');
    let found = match format {
        PointsFormat::Qgis => qgis::read(text, image),
        PointsFormat::Envi => envi::read(text),
        PointsFormat::Csv => csv::read(text),
        PointsFormat::GeoJson => geojson::read(text),
        _ => Err("it holds an image or a transform, not a list of points: name it as the image itself".into()),
    };
    let found = found.map_err(|detail| Error::Sidecar { path: path.into(), detail })?;
    if let Some(i) = found.points.iter().position(|p| !p.sar_px.iter().chain(&p.map_xy).all(|v| v.is_finite())) {
        return Err(Error::Sidecar { path: path.into(), detail: format!("its point {} has a coordinate that is no number", i + 1) });
    }
    Ok(found)
}

/// A number of a text, which is in line `line` (from 1).
fn number(text: &str, line: usize) -> Result<f64, String> {
    text.trim().parse().map_err(|_| format!("line {line}: `{}` is no number", text.trim()))
}

/// A number as short as it comes back the same.
fn shown(v: f64) -> String {
    // No exponents, which some readers do not take; nor a zero with a sign.
    format!("{}", if v == 0.0 { 0.0 } else { v })
}

//! What a database of any kind remembers of its map.

use super::{Crs, GeoTransform, Image};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A map, without its pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapInfo {
    /// File name.
    #[serde(rename = "map")]
    pub name: String,
    /// SHA-256 of the file.
    #[serde(rename = "map_sha256")]
    pub sha256: String,
    /// How its values were standardised.
    #[serde(rename = "map_standardisation")]
    pub standardisation: serde_json::Value,
    /// EPSG code of its coordinates.
    pub epsg: u32,
    /// Its geotransform, GDAL's order.
    pub geotransform: [f64; 6],
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
    /// Ground size of a pixel in its middle, metres, along x and y.
    pub pixel_m: [f64; 2],
}

impl MapInfo {
    /// Of an open map.
    ///
    /// # Errors
    /// No georeference; reading.
    pub fn of(map: &Image) -> Result<Self> {
        let raster = &map.raster;
        let (geo, crs) = raster.georeference()?;
        let (pixel_x, pixel_y) = raster.ground_pixel_size()?;
        Ok(Self {
            name: raster.path().file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            sha256: raster.sha256()?,
            standardisation: serde_json::to_value(&map.standardisation).unwrap_or_default(),
            epsg: crs.epsg(),
            geotransform: geo.coefficients(),
            width: raster.width(),
            height: raster.height(),
            pixel_m: [pixel_x, pixel_y],
        })
    }

    /// Its geotransform and coordinate system.
    ///
    /// # Errors
    /// A code or transform that is not valid.
    pub fn georeference(&self) -> Result<(GeoTransform, Crs)> {
        let geo = GeoTransform::new(self.geotransform)
            .ok_or_else(|| Error::invalid(format!("the geotransform stored for {} is not valid; make the database anew", self.name)))?;
        Ok((geo, Crs::from_epsg(self.epsg)?))
    }

    /// Ground size of a pixel, metres: the root of its area in the map's middle.
    pub fn ground_m(&self) -> f64 {
        (self.pixel_m[0] * self.pixel_m[1]).sqrt()
    }
}

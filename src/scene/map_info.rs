//! What a database of any kind remembers of its map.

use super::error::{Error, Result};
use super::{Crs, GeoTransform, Georeference, Image};
use serde::{Deserialize, Deserializer, Serialize};

/// A map, without its pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapInfo {
    /// File name; of a map in pieces that of the first.
    #[serde(rename = "map")]
    pub name: String,
    /// Names of all its files, where it is in pieces.
    #[serde(rename = "map_files", default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// SHA-256 of the file; of a map in pieces that of their hashes.
    #[serde(rename = "map_sha256")]
    pub sha256: String,
    /// How its values were standardised.
    #[serde(rename = "map_standardisation")]
    pub standardisation: serde_json::Value,
    /// Definition of its coordinates' system: [`Crs::definition`].
    #[serde(alias = "epsg", deserialize_with = "code_or_text")]
    pub crs: String,
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
        let name = |p: &std::path::Path| p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self {
            name: name(raster.path()),
            files: raster.pieces().iter().map(|p| name(p)).collect(),
            sha256: raster.sha256()?,
            standardisation: serde_json::to_value(&map.standardisation).unwrap_or_default(),
            crs: crs.definition().to_string(),
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
        Ok((geo, Crs::from_text(&self.crs)?))
    }

    /// Where its pixels lie.
    ///
    /// # Errors
    /// As [`georeference`](Self::georeference).
    pub fn placement(&self) -> Result<Georeference> {
        let (geo, crs) = self.georeference()?;
        Ok(Georeference::affine(geo, crs, [self.width, self.height]))
    }

    /// Refuses an image that is not the map a database was made of, by its size and place.
    ///
    /// # Errors
    /// Another map; the message names both.
    pub fn check_is(&self, map: &Image, database: &std::path::Path) -> Result<()> {
        let same = (map.raster.width(), map.raster.height()) == (self.width, self.height)
            && map.raster.geo().is_some_and(|g| g.coefficients() == self.geotransform);
        if same {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "{}: is not the map that {} was made of ({}, {}x{} px)",
            map.raster.path().display(),
            database.display(),
            self.name,
            self.width,
            self.height
        )))
    }

    /// Ground size of a pixel, metres: the root of its area in the map's middle.
    pub fn ground_m(&self) -> f64 {
        (self.pixel_m[0] * self.pixel_m[1]).sqrt()
    }
}

/// A system's definition, or the bare EPSG code that older databases hold.
fn code_or_text<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Code(u32),
        Text(String),
    }
    Ok(match Either::deserialize(from)? {
        Either::Code(code) => format!("EPSG:{code}"),
        Either::Text(text) => text,
    })
}

//! How a SAR image lies on a map, but for its place: the scale and the direction, from the ground size of its pixels.

use super::error::{Error, Result};
use super::{GeoTransform, Image, Link, MapInfo, compose};

/// Whether an image that does not say how it lies is seen as from below, as raw images of descending passes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Mirrored {
    /// Both are tried
    #[default]
    Auto,
    /// Columns run the other way than the map's
    Yes,
    /// They do not
    No,
}

/// How a SAR image lies on a map, but for its place.
#[derive(Debug, Clone)]
pub struct Frame {
    /// From offsets in map pixels to offsets in SAR pixels: rows of (x, y).
    pub matrix: [[f64; 2]; 2],
    /// Ground size of a SAR pixel, metres.
    pub pixel_m: f64,
    /// Whether the image says where north is; else it is taken to lie as the map does.
    pub oriented: bool,
    /// Whether it is taken for mirrored though nothing in the image says so.
    pub flipped: bool,
    /// From SAR pixels to map pixels by the image's own georeference: for a prior and for comparison, not for the search.
    pub own: Option<Link>,
    /// Whether scale and direction change over the image, as control points say, and its claim lies on the map: then they are taken from
    /// where each patch is claimed to lie. A raw product of 250 km turns by a degree or two from edge to edge.
    bent: bool,
}

impl Frame {
    /// Frame of `sar` on the map of a map; `pixel_m` wins over the image's own scale.
    ///
    /// Scale, direction and mirroring come from the transform or the ground control points of the image.
    ///
    /// # Errors
    /// A scale that is neither given nor in the file, or makes no sense; a map without a valid georeference.
    pub fn new(map: &MapInfo, sar: &Image, pixel_m: Option<f64>) -> Result<Self> {
        if let Some(m) = pixel_m.filter(|m| !(m.is_finite() && *m > 0.0)) {
            return Err(Error::invalid(format!("a SAR pixel of {m} m makes no sense; give its size on the ground in metres")));
        }
        let raster = &sar.raster;
        let on_map = map.placement()?;
        let place = match (raster.placement(), pixel_m) {
            (Ok(place), _) => place,
            (Err(_), Some(m)) => {
                let [x, y] = map.pixel_m.map(|p| p / m);
                return Ok(Self { matrix: [[x, 0.0], [0.0, y]], pixel_m: m, oriented: false, flipped: false, own: None, bent: false });
            }
            (Err(e), None) => {
                return Err(Error::invalid(format!(
                    "the size of a SAR pixel on the ground is not known, so it cannot be brought to the map's scale ({e}); give it with --pixel-size METRES"
                )));
            }
        };
        let middle = [f64::from(raster.width()) / 2.0, f64::from(raster.height()) / 2.0];
        let mut from_sar = place.ground_jacobian(middle)?;
        let size = |j: &[[f64; 2]; 2]| determinant(j).abs().sqrt();
        if let Some(m) = pixel_m {
            let factor = m / size(&from_sar);
            from_sar = from_sar.map(|row| row.map(|v| v * factor));
        }
        // The claimed place must not matter: in one coordinate system the two transforms compare without it; else, or with a scale that
        // was given, the map counts with the scale of its middle.
        let matrix = match (place.transform(), on_map.transform()) {
            (Some(geo), Some(map_geo)) if pixel_m.is_none() && place.crs() == on_map.crs() => {
                compose(inverse(&linear(geo)), linear(map_geo))
            }
            _ => {
                let middle = [f64::from(map.width) / 2.0, f64::from(map.height) / 2.0];
                compose(inverse(&from_sar), on_map.ground_jacobian(middle)?)
            }
        };
        if !matrix.iter().flatten().all(|v| v.is_finite()) {
            return Err(Error::invalid(format!(
                "{}: its pixels have no size on the ground; give --pixel-size METRES",
                raster.path().display()
            )));
        }
        let by_points = place.transform().is_none() && pixel_m.is_none();
        let own = Link::between(place, on_map);
        let on_map = |p: [f64; 2]| p[0] > 0.0 && p[1] > 0.0 && p[0] < f64::from(map.width) && p[1] < f64::from(map.height);
        let bent = by_points && own.apply(middle).is_ok_and(on_map);
        let mut frame = Self { matrix, pixel_m: size(&from_sar), oriented: true, flipped: false, own: Some(own), bent };
        frame.matrix = frame.matrix_at(middle);
        Ok(frame)
    }

    /// The frames to try: this one, that of the image with its columns the other way, or both. An image that says how it lies has its own alone.
    ///
    /// # Errors
    /// [`Mirrored::Yes`] for an image that says how it lies.
    pub fn ways(&self, mirrored: Mirrored) -> Result<Vec<Self>> {
        let [x, y] = self.matrix;
        let flipped = || Self { matrix: [[-x[0], -x[1]], y], flipped: true, ..self.clone() };
        match (mirrored, self.oriented) {
            (Mirrored::Yes, true) => Err(Error::invalid(
                "the image's georeference says how it lies, mirrored or not: leave --mirrored out (or take its georeference away)",
            )),
            (_, true) | (Mirrored::No, false) => Ok(vec![self.clone()]),
            (Mirrored::Yes, false) => Ok(vec![flipped()]),
            (Mirrored::Auto, false) => Ok(vec![self.clone(), flipped()]),
        }
    }

    /// The frame of an image that lies otherwise on the map: `from_map` brings offsets on the map to those where this frame puts them.
    #[must_use]
    pub fn turned(&self, from_map: [[f64; 2]; 2]) -> Self {
        Self { matrix: compose(self.matrix, from_map), bent: false, ..self.clone() }
    }

    /// The matrix about a position of the image, SAR pixels.
    pub fn matrix_at(&self, p: [f64; 2]) -> [[f64; 2]; 2] {
        let local = self.own.as_ref().filter(|_| self.bent).and_then(|own| own.jacobian(p).ok());
        local.map(|j| inverse(&j)).filter(|m| m.iter().flatten().all(|v| v.is_finite())).unwrap_or(self.matrix)
    }

    /// Where a position of the image lies on the map but for one shift that all positions share, map pixels.
    pub fn relative(&self, p: [f64; 2]) -> [f64; 2] {
        let local = self.own.as_ref().filter(|_| self.bent).and_then(|own| own.apply(p).ok());
        local.unwrap_or_else(|| inverse(&self.matrix).map(|row| row[0] * p[0] + row[1] * p[1]))
    }

    /// SAR pixels a map pixel: the root of the ratio of areas.
    pub fn scale(&self) -> f64 {
        determinant(&self.matrix).abs().sqrt()
    }

    /// Width and height in SAR pixels of the box around a patch of `side` map pixels.
    pub fn extent(&self, side: f64) -> [f64; 2] {
        self.matrix.map(|row| (row[0].abs() + row[1].abs()) * side)
    }
}

/// Map units (rows) a pixel along x and y (columns).
fn linear(geo: &GeoTransform) -> [[f64; 2]; 2] {
    let c = geo.coefficients();
    [[c[1], c[2]], [c[4], c[5]]]
}

/// Determinant of a 2x2 matrix.
fn determinant(m: &[[f64; 2]; 2]) -> f64 {
    m[0][0] * m[1][1] - m[0][1] * m[1][0]
}

/// Inverse of a 2x2 matrix.
pub(crate) fn inverse(m: &[[f64; 2]; 2]) -> [[f64; 2]; 2] {
    let d = determinant(m);
    [[m[1][1] / d, -m[0][1] / d], [-m[1][0] / d, m[0][0] / d]]
}

#[cfg(test)]
mod tests {
    use super::super::{Crs, Georeference};
    use super::*;

    #[test]
    fn a_jacobian_on_the_ground_knows_mercator_and_degrees() {
        let crs = Crs::from_epsg(3395).unwrap();
        let geo = GeoTransform::north_up(-4_500_000.0, 5_000_000.0, 10.0, 10.0).unwrap();
        let j = Georeference::affine(geo, crs.clone(), [200, 200]).ground_jacobian([100.0, 100.0]).unwrap();
        let (x, y) = geo.pixel_to_map(100.0, 100.0);
        let (mx, my) = crs.meters_per_unit_at(x, y).unwrap();
        assert!((j[0][0] - 10.0 * mx).abs() < 1e-3 && (j[1][1] + 10.0 * my).abs() < 1e-3, "{j:?}");
        assert!(j[0][1].abs() < 1e-6 && j[1][0].abs() < 1e-6, "{j:?}");
        // The same place in degrees: the product of one and the other's inverse is the ratio of pixels.
        let (lon, lat) = crs.to_lonlat(x, y).unwrap();
        let degrees = GeoTransform::north_up(lon - 0.005, lat + 0.005, 1e-4, 1e-4).unwrap();
        let d = Georeference::affine(degrees, Crs::from_epsg(4326).unwrap(), [100, 100]).ground_jacobian([50.0, 50.0]).unwrap();
        let m = compose(inverse(&d), j);
        assert!((m[0][0] - j[0][0] / d[0][0]).abs() < 1e-6 && m[0][0] > 0.5 && m[1][1] > 0.5, "{m:?}");
    }

    #[test]
    fn inverses() {
        let m = [[2.0, 1.0], [0.5, -3.0]];
        let i = compose(m, inverse(&m));
        assert!((i[0][0] - 1.0).abs() < 1e-12 && (i[1][1] - 1.0).abs() < 1e-12 && i[0][1].abs() < 1e-12 && i[1][0].abs() < 1e-12);
    }
}

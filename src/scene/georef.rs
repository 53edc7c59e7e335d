//! Where pixels lie: the affine transform, and georeferences of any kind.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::crs::Crs;
use super::error::{Error, Result};
use super::ties::TieSurface;

/// Affine map from pixels to map coordinates.
///
/// Pixel coordinates run from (0, 0) at the **upper left corner of the upper left pixel**, x to
/// the right and y down; the centre of that pixel is (0.5, 0.5). Map coordinates are in the units
/// of the raster's [`Crs`] (metres, or degrees as longitude then latitude).
///
/// `x = c[0] + c[1] px + c[2] py`, `y = c[3] + c[4] px + c[5] py` (GDAL's order).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "[f64; 6]", into = "[f64; 6]")]
pub struct GeoTransform {
    c: [f64; 6],
}

impl GeoTransform {
    /// From the six coefficients in GDAL's order; `None` when one is not finite or the map has no inverse.
    pub fn new(coefficients: [f64; 6]) -> Option<Self> {
        let c = coefficients;
        let det = c[1] * c[5] - c[2] * c[4];
        (c.iter().all(|v| v.is_finite()) && det.is_normal()).then_some(Self { c })
    }

    /// North-up raster: map coordinates of the upper left corner and the pixel's size in map units
    /// (both positive); `None` where the size is not.
    pub fn north_up(left: f64, top: f64, pixel_width: f64, pixel_height: f64) -> Option<Self> {
        if pixel_width > 0.0 && pixel_height > 0.0 { Self::new([left, pixel_width, 0.0, top, 0.0, -pixel_height]) } else { None }
    }

    /// The six coefficients in GDAL's order.
    pub fn coefficients(&self) -> [f64; 6] {
        self.c
    }

    /// Map coordinates of a point in pixels; the centre of pixel (i, j) is (i + 0.5, j + 0.5).
    pub fn pixel_to_map(&self, px: f64, py: f64) -> (f64, f64) {
        let c = &self.c;
        (c[0] + c[1] * px + c[2] * py, c[3] + c[4] * px + c[5] * py)
    }

    /// Point in pixels of map coordinates: the inverse of [`pixel_to_map`](Self::pixel_to_map).
    pub fn map_to_pixel(&self, x: f64, y: f64) -> (f64, f64) {
        let c = &self.c;
        let (dx, dy) = (x - c[0], y - c[3]);
        let det = c[1] * c[5] - c[2] * c[4];
        ((c[5] * dx - c[2] * dy) / det, (c[1] * dy - c[4] * dx) / det)
    }

    /// Length of a pixel's edges along its row and its column, map units.
    pub fn pixel_size(&self) -> (f64, f64) {
        (self.c[1].hypot(self.c[4]), self.c[2].hypot(self.c[5]))
    }

    /// Whether rows run exactly west to east and columns north to south.
    pub fn is_north_up(&self) -> bool {
        self.c[2] == 0.0 && self.c[4] == 0.0 && self.c[1] > 0.0 && self.c[5] < 0.0
    }

    /// The transform of the sub-image whose upper left pixel is (`x0`, `y0`).
    pub fn offset(&self, x0: f64, y0: f64) -> Self {
        let (x, y) = self.pixel_to_map(x0, y0);
        let mut c = self.c;
        (c[0], c[3]) = (x, y);
        Self { c }
    }
}

impl TryFrom<[f64; 6]> for GeoTransform {
    type Error = String;

    fn try_from(c: [f64; 6]) -> Result<Self, String> {
        Self::new(c).ok_or_else(|| format!("the geotransform {c:?} has no inverse"))
    }
}

impl From<GeoTransform> for [f64; 6] {
    fn from(g: GeoTransform) -> Self {
        g.c
    }
}

/// Where the pixels of an image lie on the ground: by a transform or by ground control points.
#[derive(Debug, Clone)]
pub struct Georeference {
    place: Place,
    crs: Crs,
    /// Longitude of the middle, degrees: what a longitude is brought near to.
    middle: f64,
}

#[derive(Debug, Clone)]
enum Place {
    Affine(GeoTransform),
    Ties(Arc<TieSurface>),
}

impl Georeference {
    /// By a transform into coordinates of `crs`, for an image of `size` px.
    pub fn affine(geo: GeoTransform, crs: Crs, size: [u32; 2]) -> Self {
        let (x, _) = geo.pixel_to_map(f64::from(size[0]) / 2.0, f64::from(size[1]) / 2.0);
        Self { place: Place::Affine(geo), crs, middle: x }
    }

    /// By ground control points.
    pub(super) fn ties(surface: Arc<TieSurface>, crs: Crs) -> Self {
        Self { place: Place::Ties(surface), crs, middle: 0.0 }
    }

    /// The transform, where it is one.
    pub fn transform(&self) -> Option<&GeoTransform> {
        match &self.place {
            Place::Affine(geo) => Some(geo),
            Place::Ties(_) => None,
        }
    }

    /// The coordinate system: of the transform, or of the ground control points.
    pub fn crs(&self) -> &Crs {
        &self.crs
    }

    /// WGS 84 longitude and latitude of a pixel position, degrees.
    ///
    /// # Errors
    /// [`Error::Projection`] outside the projection's domain.
    pub fn to_lonlat(&self, p: [f64; 2]) -> Result<(f64, f64)> {
        match &self.place {
            Place::Affine(geo) => {
                let (x, y) = geo.pixel_to_map(p[0], p[1]);
                self.crs.to_lonlat(x, y)
            }
            Place::Ties(surface) => Ok(surface.to_lonlat(p)),
        }
    }

    /// The pixel position of a longitude and latitude, degrees.
    ///
    /// # Errors
    /// [`Error::Projection`] outside the projection's domain, or where the surface through control points does not reach.
    pub fn from_lonlat(&self, lonlat: (f64, f64)) -> Result<[f64; 2]> {
        match &self.place {
            Place::Affine(geo) => {
                let (x, y) = self.crs.from_lonlat(lonlat.0, lonlat.1)?;
                Ok(geo.map_to_pixel(self.near(x), y).into())
            }
            Place::Ties(surface) => surface.pixel_of(lonlat).ok_or_else(|| Error::Projection {
                system: "ground control points".into(),
                x: lonlat.0,
                y: lonlat.1,
                detail: "the surface through them does not reach there".into(),
            }),
        }
    }

    /// Where a pixel position lies in pixels of another image.
    ///
    /// # Errors
    /// As [`to_lonlat`](Self::to_lonlat) and [`from_lonlat`](Self::from_lonlat).
    pub fn to_pixels_of(&self, other: &Self, p: [f64; 2]) -> Result<[f64; 2]> {
        match (&self.place, &other.place) {
            (Place::Affine(from), Place::Affine(to)) if self.crs == other.crs => {
                let (x, y) = from.pixel_to_map(p[0], p[1]);
                Ok(to.map_to_pixel(other.near(x), y).into())
            }
            _ => other.from_lonlat(self.to_lonlat(p)?),
        }
    }

    /// Metres east and north (rows) for a pixel along x and y (columns) at a position, over a span of 64 px.
    ///
    /// # Errors
    /// As [`to_lonlat`](Self::to_lonlat).
    pub fn ground_jacobian(&self, p: [f64; 2]) -> Result<[[f64; 2]; 2]> {
        const H: f64 = 32.0;
        let (lon, lat) = self.to_lonlat(p)?;
        let (east, north) = Crs::from_epsg(4326)?.meters_per_unit_at(lon, lat)?;
        let along = |dx: f64, dy: f64| -> Result<[f64; 2]> {
            let (a, b) = (self.to_lonlat([p[0] - dx, p[1] - dy])?, self.to_lonlat([p[0] + dx, p[1] + dy])?);
            let dlon = (b.0 - a.0 + 540.0).rem_euclid(360.0) - 180.0;
            Ok([dlon * east / (2.0 * H), (b.1 - a.1) * north / (2.0 * H)])
        };
        let (x, y) = (along(H, 0.0)?, along(0.0, H)?);
        Ok([[x[0], y[0]], [x[1], y[1]]])
    }

    /// A longitude by the turns that bring it near the image's middle: files count from -180 or from 0.
    fn near(&self, x: f64) -> f64 {
        self.crs.turn().map_or(x, |turn| x - turn * ((x - self.middle) / turn).round())
    }
}

/// From ModelPixelScale and ModelTiepoint, or ModelTransformation, where they make sense.
pub(super) fn from_tags(scale: &[f64], tie: &[f64], matrix: &[f64], pixel_is_point: bool) -> Option<GeoTransform> {
    let by_scale = match (scale, tie) {
        // GDAL's reading of a negative scale, which some writers mean as it is and most do not.
        ([sx, sy, ..], [i, j, _, x, y, ..]) => GeoTransform::new([x - i * sx, *sx, 0.0, y + j * sy.abs(), 0.0, -sy.abs()]),
        _ => None,
    };
    let by_matrix = || match matrix {
        m if m.len() >= 16 => GeoTransform::new([m[3], m[0], m[1], m[7], m[4], m[5]]),
        _ => None,
    };
    let area = by_scale.or_else(by_matrix);
    // PixelIsPoint: the tags speak of pixel centres.
    if pixel_is_point { area.map(|g| g.offset(-0.5, -0.5)) } else { area }
}

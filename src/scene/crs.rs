//! Coordinate reference systems by EPSG code, and distances on the ground.

use proj4rs::Proj;

use super::error::{Error, Result};

/// WGS 84 semi-major axis, metres.
const WGS84_A: f64 = 6_378_137.0;
/// WGS 84 flattening.
const WGS84_F: f64 = 1.0 / 298.257_223_563;

/// A coordinate reference system known by its EPSG code (definitions of the `crs-definitions`
/// crate, projections of `proj4rs`).
///
/// Coordinates are (easting, northing) in the system's own units, or (longitude, latitude) in
/// degrees for a geographic one, whatever the axis order EPSG states, as GeoTIFF stores them.
#[derive(Clone)]
pub struct Crs {
    code: u32,
    name: String,
    proj: Proj,
    lonlat: Proj,
}

impl std::fmt::Debug for Crs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EPSG:{} ({})", self.code, self.name)
    }
}

impl PartialEq for Crs {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
    }
}

impl Crs {
    /// The system of an EPSG code.
    ///
    /// # Errors
    /// [`Error::UnknownEpsg`] for a code that the tables do not hold or whose projection or datum
    /// cannot be computed.
    pub fn from_epsg(code: u32) -> Result<Self> {
        let unknown = |detail: String| Error::UnknownEpsg { code, detail };
        let def = u16::try_from(code)
            .ok()
            .and_then(crs_definitions::from_code)
            .ok_or_else(|| {
                unknown("this code is not in the built-in table of coordinate systems".into())
            })?;
        let proj = Proj::from_proj_string(def.proj4)
            .map_err(|e| unknown(format!("`{}` cannot be computed: {e}", def.proj4)))?;
        if proj.is_geocent() || !proj.has_inverse() || !proj.has_forward() {
            return Err(unknown(
                "it is no system of map coordinates with an inverse".into(),
            ));
        }
        let lonlat = Proj::from_proj_string("+proj=longlat +datum=WGS84 +no_defs")
            .map_err(|e| unknown(format!("WGS 84 cannot be computed: {e}")))?;
        let name = def.wkt.split('"').nth(1).unwrap_or("unnamed").to_string();
        Ok(Self {
            code,
            name,
            proj,
            lonlat,
        })
    }

    /// The EPSG code.
    pub fn epsg(&self) -> u32 {
        self.code
    }

    /// The system's name, for example `WGS 84 / World Mercator`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether coordinates are longitude and latitude in degrees.
    pub fn is_geographic(&self) -> bool {
        self.proj.is_latlong()
    }

    /// WGS 84 longitude and latitude in degrees of a point in map coordinates.
    ///
    /// # Errors
    /// [`Error::Projection`] for a point outside the projection's domain.
    pub fn to_lonlat(&self, x: f64, y: f64) -> Result<(f64, f64)> {
        let (x1, y1) = if self.is_geographic() {
            (x.to_radians(), y.to_radians())
        } else {
            (x, y)
        };
        let (lon, lat) = self.transform(&self.proj, &self.lonlat, (x1, y1), (x, y))?;
        Ok((lon.to_degrees(), lat.to_degrees()))
    }

    /// Map coordinates of a point given by WGS 84 longitude and latitude in degrees.
    ///
    /// # Errors
    /// [`Error::Projection`] for a point outside the projection's domain.
    pub fn from_lonlat(&self, lon: f64, lat: f64) -> Result<(f64, f64)> {
        let (x, y) = self.transform(
            &self.lonlat,
            &self.proj,
            (lon.to_radians(), lat.to_radians()),
            (lon, lat),
        )?;
        Ok(if self.is_geographic() {
            (x.to_degrees(), y.to_degrees())
        } else {
            (x, y)
        })
    }

    fn transform(
        &self,
        from: &Proj,
        to: &Proj,
        p: (f64, f64),
        shown: (f64, f64),
    ) -> Result<(f64, f64)> {
        let failed = |detail: String| Error::Projection {
            code: self.code,
            x: shown.0,
            y: shown.1,
            detail,
        };
        let mut point = (p.0, p.1, 0.0);
        if !(p.0.is_finite() && p.1.is_finite()) {
            return Err(failed("a coordinate is not finite".into()));
        }
        proj4rs::transform::transform(from, to, &mut point).map_err(|e| failed(e.to_string()))?;
        if !(point.0.is_finite() && point.1.is_finite()) {
            return Err(failed("the result is not finite".into()));
        }
        Ok((point.0, point.1))
    }

    /// A point of this system in the coordinates of another.
    ///
    /// # Errors
    /// [`Error::Projection`] for a point outside either domain.
    pub fn reproject(&self, to: &Crs, x: f64, y: f64) -> Result<(f64, f64)> {
        if self == to {
            return Ok((x, y));
        }
        let (lon, lat) = self.to_lonlat(x, y)?;
        to.from_lonlat(lon, lat)
    }

    /// Local ground scale at a point: metres on the WGS 84 ellipsoid per map unit along x and y.
    ///
    /// Central difference over a short step with the ellipsoid's radii of curvature, so it holds
    /// for any projection: on Mercator it is cos(latitude) near enough, on a geographic system the
    /// metres of a degree.
    ///
    /// # Errors
    /// [`Error::Projection`] for a point outside the projection's domain.
    pub fn meters_per_unit_at(&self, x: f64, y: f64) -> Result<(f64, f64)> {
        let h = if self.is_geographic() {
            1e-4
        } else {
            10.0 / self.proj.to_meter()
        };
        let (_, lat) = self.to_lonlat(x, y)?;
        let (meridian, normal) = radii(lat.to_radians());
        let along = |dx: f64, dy: f64| -> Result<f64> {
            let (lon0, lat0) = self.to_lonlat(x - dx, y - dy)?;
            let (lon1, lat1) = self.to_lonlat(x + dx, y + dy)?;
            let dlon = (lon1 - lon0 + 540.0).rem_euclid(360.0) - 180.0;
            let east = dlon.to_radians() * normal * lat.to_radians().cos();
            let north = (lat1 - lat0).to_radians() * meridian;
            Ok(east.hypot(north) / (2.0 * h))
        };
        Ok((along(h, 0.0)?, along(0.0, h)?))
    }

    /// Metres on the ground between two points in map coordinates: [`lonlat_distance_m`].
    ///
    /// # Errors
    /// [`Error::Projection`] for a point outside the projection's domain.
    pub fn ground_distance_m(&self, p: (f64, f64), q: (f64, f64)) -> Result<f64> {
        Ok(lonlat_distance_m(
            self.to_lonlat(p.0, p.1)?,
            self.to_lonlat(q.0, q.1)?,
        ))
    }
}

/// Radii of curvature of WGS 84 at a latitude (radians): in the meridian and in the prime vertical, metres.
fn radii(lat: f64) -> (f64, f64) {
    let e2 = WGS84_F * (2.0 - WGS84_F);
    let w2 = 1.0 - e2 * lat.sin().powi(2);
    let normal = WGS84_A / w2.sqrt();
    (normal * (1.0 - e2) / w2, normal)
}

/// Geodesic distance in metres between two (longitude, latitude) points in degrees on WGS 84.
///
/// Vincenty's inverse formula (Survey Review 23(176), 1975), good to under a millimetre; for
/// almost antipodal points, where it does not converge, the great circle (haversine, within 0.6 %).
pub fn lonlat_distance_m(p: (f64, f64), q: (f64, f64)) -> f64 {
    let b = WGS84_A * (1.0 - WGS84_F);
    let (lat1, lat2) = (p.1.to_radians(), q.1.to_radians());
    let span = ((q.0 - p.0 + 540.0).rem_euclid(360.0) - 180.0).to_radians();
    let reduced = |lat: f64| ((1.0 - WGS84_F) * lat.tan()).atan().sin_cos();
    let ((s1, c1), (s2, c2)) = (reduced(lat1), reduced(lat2));
    let mut lambda = span;
    for _ in 0..100 {
        let (sl, cl) = lambda.sin_cos();
        let sin_sigma = (c2 * sl).hypot(c1 * s2 - s1 * c2 * cl);
        if sin_sigma == 0.0 {
            return 0.0;
        }
        let cos_sigma = s1 * s2 + c1 * c2 * cl;
        let sigma = sin_sigma.atan2(cos_sigma);
        let sin_alpha = c1 * c2 * sl / sin_sigma;
        let cos2_alpha = 1.0 - sin_alpha * sin_alpha;
        let cos_2m = if cos2_alpha > 1e-15 {
            cos_sigma - 2.0 * s1 * s2 / cos2_alpha
        } else {
            0.0
        };
        let c = WGS84_F / 16.0 * cos2_alpha * (4.0 + WGS84_F * (4.0 - 3.0 * cos2_alpha));
        let m = 2.0 * cos_2m * cos_2m - 1.0;
        let next = span
            + (1.0 - c)
                * WGS84_F
                * sin_alpha
                * (sigma + c * sin_sigma * (cos_2m + c * cos_sigma * m));
        let done = (next - lambda).abs() < 1e-13;
        lambda = next;
        if done {
            let u2 = cos2_alpha * (WGS84_A * WGS84_A - b * b) / (b * b);
            let big_a = 1.0 + u2 / 16384.0 * (4096.0 + u2 * (-768.0 + u2 * (320.0 - 175.0 * u2)));
            let big_b = u2 / 1024.0 * (256.0 + u2 * (-128.0 + u2 * (74.0 - 47.0 * u2)));
            let inner = cos_sigma * m
                - big_b / 6.0
                    * cos_2m
                    * (4.0 * sin_sigma * sin_sigma - 3.0)
                    * (4.0 * cos_2m * cos_2m - 3.0);
            let delta = big_b * sin_sigma * (cos_2m + big_b / 4.0 * inner);
            return b * big_a * (sigma - delta);
        }
    }
    let half =
        ((lat2 - lat1) / 2.0).sin().powi(2) + lat1.cos() * lat2.cos() * (span / 2.0).sin().powi(2);
    2.0 * 6_371_008.8 * half.sqrt().min(1.0).asin()
}

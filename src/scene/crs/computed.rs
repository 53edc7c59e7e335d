//! A system as `proj4rs` computes it, held against itself: a place that does not come back is none.

use proj4rs::Proj;

use super::definition::Definition;
use super::distance;

/// Projections in which all longitudes, however far, lie side by side, so that a point has many places.
const ROLLING: [&str; 5] = ["merc", "webmerc", "eqc", "cea", "mill"];

/// Metres by which a point may miss itself on the way there and back.
const CLOSURE_M: f64 = 5.0;

/// A system with its projections.
#[derive(Clone)]
pub(super) struct Computed {
    pub(super) parameters: Definition,
    proj: Proj,
    lonlat: Proj,
}

impl Computed {
    /// # Errors
    /// Why it cannot be computed.
    pub(super) fn new(parameters: Definition) -> Result<Self, String> {
        let text = parameters.proj_string();
        let made = |text: &str| Proj::from_proj_string(text).map_err(|e| format!("`{text}` cannot be computed: {e}"));
        let proj = made(&text)?;
        if proj.is_geocent() || !proj.has_inverse() || !proj.has_forward() {
            return Err("it is no system of map coordinates with an inverse".into());
        }
        Ok(Self { parameters, proj, lonlat: made("+proj=longlat +datum=WGS84 +no_defs")? })
    }

    /// Longitude (-180 to 180) and latitude of WGS 84, degrees, of a point in map coordinates.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn to_lonlat(&self, point: (f64, f64)) -> Result<(f64, f64), String> {
        let place = self.inverse(point)?;
        self.within(place)?;
        if !self.is_rolling() {
            // Some inverses give a place for points that no place has, such as the corners around a round map.
            let there = self.forward(place)?;
            let miss = (there.0 - point.0).hypot(there.1 - point.1) * self.parameters.to_meter;
            // Also where the miss is measured in map units, a pole or the date line may have two ends.
            if miss > CLOSURE_M && !self.inverse(there).is_ok_and(|p| near(p, place) && self.on_seam(place)) {
                return Err("it lies outside of the map".into());
            }
        }
        Ok(place)
    }

    /// Map coordinates of a longitude and latitude of WGS 84, degrees.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) fn point_of(&self, (lon, lat): (f64, f64)) -> Result<(f64, f64), String> {
        let place = (normal(lon).ok_or("it is no longitude")?, lat);
        self.within(place)?;
        let point = self.forward(place)?;
        if !self.is_rolling() && !near(self.inverse(point)?, place) {
            return Err("it lies outside of the map".into());
        }
        Ok(point)
    }

    /// Whether the shift of the datum is known at a place.
    pub(super) fn within(&self, place: (f64, f64)) -> Result<(), String> {
        if self.parameters.tie.holds_at(place) {
            return Ok(());
        }
        Err("no shift of its datum to WGS 84 is known there, so reproject the file by one that is (gdalwarp -t_srs EPSG:3857 -ct PIPELINE IN OUT.tif)".into())
    }

    /// Whether there and back need not be held against each other.
    fn is_rolling(&self) -> bool {
        self.parameters.method.is_none_or(|m| ROLLING.contains(&m.proj))
    }

    /// Whether a place lies where the map is cut open: half a turn from its central meridian.
    fn on_seam(&self, place: (f64, f64)) -> bool {
        let away = place.0 - self.parameters.meridian - self.parameters.value("lon_0");
        ((away + 540.0).rem_euclid(360.0) - 180.0).abs() > 179.9999 || place.1.abs() > 89.9999
    }

    /// Place of a point, degrees.
    fn inverse(&self, point: (f64, f64)) -> Result<(f64, f64), String> {
        let point = if self.parameters.method.is_none() {
            let unit = self.parameters.to_degree;
            let lon = normal(point.0 * unit).ok_or("it is no longitude")?;
            let lat = latitude(point.1 * unit)?;
            (lon.to_radians(), lat.to_radians())
        } else {
            point
        };
        let (lon, lat) = transform(&self.proj, &self.lonlat, point)?;
        let lon = normal(lon.to_degrees()).ok_or("its longitude makes no sense")?;
        Ok((lon, latitude(lat.to_degrees())?))
    }

    /// Point of a place, map coordinates.
    fn forward(&self, place: (f64, f64)) -> Result<(f64, f64), String> {
        let lat = latitude(place.1)?;
        let point = transform(&self.lonlat, &self.proj, (place.0.to_radians(), lat.to_radians()))?;
        if self.parameters.method.is_some() {
            return Ok(point);
        }
        let unit = self.parameters.to_degree;
        let lon = normal(point.0.to_degrees()).ok_or("its longitude makes no sense")?;
        Ok((lon / unit, point.1.to_degrees() / unit))
    }
}

/// A latitude that is one, to rounding.
fn latitude(lat: f64) -> Result<f64, String> {
    if lat.abs() <= 90.0 + 1e-9 { Ok(lat.clamp(-90.0, 90.0)) } else { Err(format!("{lat} is no latitude")) }
}

fn transform(from: &Proj, to: &Proj, p: (f64, f64)) -> Result<(f64, f64), String> {
    let mut point = (p.0, p.1, 0.0);
    if !(p.0.is_finite() && p.1.is_finite()) {
        return Err("a coordinate is not finite".into());
    }
    proj4rs::transform::transform(from, to, &mut point).map_err(|e| e.to_string())?;
    if point.0.is_finite() && point.1.is_finite() { Ok((point.0, point.1)) } else { Err("the result is not finite".into()) }
}

/// A longitude between -180 and 180 degrees; `None` for what lies more than two turns away.
fn normal(lon: f64) -> Option<f64> {
    match lon {
        -180.0..=180.0 => Some(lon),
        -720.0..=720.0 => Some((lon + 180.0).rem_euclid(360.0) - 180.0),
        _ => None,
    }
}

/// Whether two places are the same, to [`CLOSURE_M`].
fn near(p: (f64, f64), q: (f64, f64)) -> bool {
    let (meridian, normal) = distance::radii(q.1.to_radians());
    let dlon = (p.0 - q.0 + 540.0).rem_euclid(360.0) - 180.0;
    let east = dlon.to_radians() * normal * q.1.to_radians().cos();
    east.hypot((p.1 - q.1).to_radians() * meridian) < CLOSURE_M
}

//! Coordinate systems by GDAL's PROJ, where the built-in ones refuse (feature `gdal`).

use std::cell::RefCell;
use std::collections::HashMap;

use gdal::spatial_ref::{AxisMappingStrategy, CoordTransform, CoordTransformOptions, SpatialRef};

/// A system that PROJ computes.
#[derive(Clone)]
pub(super) struct Pair {
    /// What GDAL makes the system of.
    text: String,
    pub(super) geographic: bool,
    /// Metres or degrees a map unit.
    pub(super) unit: f64,
}

/// Transforms to longitude and latitude and back.
type Transforms = (CoordTransform, CoordTransform);

thread_local! {
    /// A transform is for one thread, so each makes its own.
    static TRANSFORMS: RefCell<HashMap<String, Transforms>> = RefCell::default();
}

/// A definition as GDAL understands it, its coordinates easting before northing.
fn system(text: &str) -> Result<SpatialRef, String> {
    let made = SpatialRef::from_definition(text).or_else(|_| SpatialRef::from_esri(text)).map_err(|e| e.to_string())?;
    let mut made = made;
    made.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
    Ok(made)
}

/// EPSG code, name and transforms of a system.
///
/// # Errors
/// What GDAL says; a system that is neither geographic nor projected.
pub(super) fn read(text: &str) -> Result<(Option<u32>, String, Pair), String> {
    let made = system(text)?;
    if !(made.is_geographic() || made.is_projected()) {
        return Err("it is neither geographic nor projected".into());
    }
    let geographic = made.is_geographic();
    let unit = if geographic { made.angular_units().to_degrees() } else { made.linear_units() };
    let pair = Pair { text: text.to_string(), geographic, unit };
    // Whether there is a transform at all.
    pair.with(|_| Ok(()))?;
    let code = made.auth_name().filter(|n| n == "EPSG").and_then(|_| made.auth_code().ok()).and_then(|c| u32::try_from(c).ok());
    Ok((code, made.name().unwrap_or_default(), pair))
}

impl Pair {
    fn with<R>(&self, work: impl FnOnce(&Transforms) -> Result<R, String>) -> Result<R, String> {
        TRANSFORMS.with_borrow_mut(|all| {
            if !all.contains_key(&self.text) {
                let (own, lonlat) = (system(&self.text)?, system("EPSG:4326")?);
                // PROJ's default leaves a datum's shift out, in silence, where it knows none: hundreds of metres.
                let mut options = CoordTransformOptions::new().map_err(|e| e.to_string())?;
                options.set_ballpark_allowed(false).map_err(|e| e.to_string())?;
                let make = |from, to| CoordTransform::new_with_options(from, to, &options).map_err(|e| e.to_string());
                all.insert(self.text.clone(), (make(&own, &lonlat)?, make(&lonlat, &own)?));
            }
            work(&all[&self.text])
        })
    }

    /// Longitude and latitude, degrees, of map coordinates.
    pub(super) fn to_lonlat(&self, p: (f64, f64)) -> Result<(f64, f64), String> {
        self.with(|t| run(&t.0, p))
    }

    /// Map coordinates of longitude and latitude, degrees.
    pub(super) fn point_of(&self, p: (f64, f64)) -> Result<(f64, f64), String> {
        self.with(|t| run(&t.1, p))
    }
}

fn run(transform: &CoordTransform, (x, y): (f64, f64)) -> Result<(f64, f64), String> {
    let (mut x, mut y) = ([x], [y]);
    transform.transform_coords(&mut x, &mut y, &mut []).map_err(|e| e.to_string())?;
    if x[0].is_finite() && y[0].is_finite() { Ok((x[0], y[0])) } else { Err("the result is not finite".into()) }
}

#[cfg(test)]
mod tests {
    use super::super::{Crs, lonlat_distance_m};

    #[test]
    fn a_shift_that_proj_leaves_out_is_an_error() {
        // Indian 1960 / UTM zone 48N at Ho Chi Minh City, 488 m off its own longitudes, and at Phnom Penh, where PROJ knows no shift.
        let crs = Crs::from_epsg(3148).unwrap();
        let (lon, lat) = crs.to_lonlat(685_861.0, 1_194_203.0).unwrap();
        let (x, y) = crs.from_lonlat(lon, lat).unwrap();
        assert!((x - 685_861.0).abs() < 0.01 && (y - 1_194_203.0).abs() < 0.01);
        let message = crs.to_lonlat(489_000.0, 1_282_000.0).map_err(|e| e.to_string());
        assert!(message.as_ref().is_err_and(|m| m.contains("EPSG:3148")), "{message:?}");
        // What the built-in ways refuse comes by PROJ: a projection that they do not have (PROJ 9.1 is 6 m off itself there).
        let grinten = Crs::from_text("+proj=vandg +lon_0=10 +R_A +datum=WGS84").unwrap();
        assert!(lonlat_distance_m(grinten.to_lonlat(2103734.278, 4679653.485).unwrap(), (30.0, 40.0)) < 10.0);
    }
}

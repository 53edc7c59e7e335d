//! Coordinate reference systems: by EPSG code, text or GeoTIFF keys, to longitude and latitude of WGS 84 and back.
//!
//! Every way in leads to a `Definition`, which makes the PROJ string that `proj4rs` computes. What would be more than
//! ten metres off is refused by name: a place that is silently wrong is worse than none. `studies/crs_sweep.py` holds all codes
//! against PROJ.

#[cfg(feature = "gdal")]
mod by_gdal;
mod computed;
mod datum;
mod definition;
mod distance;
mod epsg;
mod geo_keys;
mod geo_keys_write;
mod methods;
mod proj_string;
#[cfg(test)]
mod tests;
mod units;
mod wkt;
mod wkt_crs;

pub use distance::lonlat_distance_m;
pub(in crate::scene) use geo_keys::GeoKeys;
pub use geo_keys_write::GeoKeyTags;

use self::computed::Computed;
use self::definition::{Definition, Shift};
use super::error::{Error, Result};

/// A coordinate reference system (projections of `proj4rs`, codes of `crs-definitions`).
///
/// Coordinates are (easting, northing) in the system's own units, or (longitude, latitude) in its angular unit, degrees nearly
/// always, for a geographic one, whatever the axis order EPSG states, as GeoTIFF stores them.
#[derive(Clone)]
pub struct Crs {
    code: Option<u32>,
    text: String,
    name: String,
    engine: Engine,
}

/// Who computes a system.
#[derive(Clone)]
enum Engine {
    Own(Box<Computed>),
    /// GDAL's PROJ; with the parameters, where they are known too.
    #[cfg(feature = "gdal")]
    Gdal(by_gdal::Pair, Option<Box<Computed>>),
}

impl std::fmt::Debug for Crs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text, self.name)
    }
}

impl PartialEq for Crs {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// A system that cannot be used, and why.
fn unknown(name: impl Into<String>, detail: impl Into<String>) -> Error {
    Error::UnknownCrs { name: name.into(), detail: detail.into() }
}

impl Crs {
    /// The system of an EPSG code.
    ///
    /// # Errors
    /// [`Error::UnknownCrs`] for a code that the tables do not hold, or whose projection, axes or datum cannot be computed within ten metres
    /// (with the feature `gdal` only where its PROJ cannot either).
    pub fn from_epsg(code: u32) -> Result<Self> {
        or_gdal(Self::from_code(code, None), &format!("EPSG:{code}"))
    }

    /// As [`from_epsg`](Self::from_epsg); a shift that a file states itself counts where it is another than the built-in one.
    fn from_code(code: u32, stated: Option<Shift>) -> Result<Self> {
        let name = format!("EPSG:{code}");
        let known = epsg::find(code, None).ok_or_else(|| unknown(&name, "this code is not in the built-in table of coordinate systems"))?;
        match (known.definition, stated) {
            (Ok(definition), stated) if stated.is_none_or(|s| s.is_near(definition.tie.shift)) => {
                Self::from_definition(Some(code), known.name, definition)
            }
            (_, Some(_)) => {
                let definition = epsg::find(code, stated).map_or_else(|| Err(String::new()), |k| k.definition);
                Self::from_definition(None, known.name, definition.map_err(|e| unknown(&name, e))?)
            }
            (Err(detail), None) => Err(unknown(&name, detail)),
            (Ok(definition), None) => Self::from_definition(Some(code), known.name, definition),
        }
    }

    /// The system that a text describes: `EPSG:32611`, `urn:ogc:def:crs:EPSG::32611`, a PROJ string, or WKT (GDAL's and ESRI's WKT1,
    /// WKT2). Of a compound system the horizontal part counts. A WKT's own EPSG code wins over its parameters, and a shift to WGS 84
    /// that it states over both.
    ///
    /// # Errors
    /// [`Error::UnknownCrs`] for a text that is none of these, or a system that cannot be computed within ten metres (with the feature `gdal`
    /// only where its PROJ cannot either).
    pub fn from_text(text: &str) -> Result<Self> {
        let text = text.trim_matches(wkt::ignorable);
        or_gdal(Self::from_own_text(text), text)
    }

    fn from_own_text(text: &str) -> Result<Self> {
        if let Some(code) = code_of(text) {
            return Self::from_code(code, None);
        }
        let shown = || text.chars().take(60).collect::<String>();
        if text.contains("+proj") && !text.contains('[') {
            let definition = proj_string::read(text, None).map_err(|e| unknown(shown(), e))?;
            return Self::from_definition(None, text.chars().take(200).collect(), definition);
        }
        let tree = wkt::parse(text).map_err(|e| unknown(if text.is_empty() { "(empty)".into() } else { shown() }, e))?;
        let described = wkt_crs::describe(&tree);
        if let Some(code) = described.epsg
            && epsg::find(code, None).is_some()
        {
            return Self::from_code(code, described.shift);
        }
        let name = if described.name.is_empty() { "an unnamed system".into() } else { described.name };
        let definition = described.definition.map_err(|e| unknown(&name, e))?;
        Self::from_definition(None, name, definition)
    }

    fn from_definition(code: Option<u32>, name: String, parameters: Definition) -> Result<Self> {
        let text = parameters.proj_string();
        let shown = code.map_or_else(|| name.clone(), |c| format!("EPSG:{c}"));
        let engine = Engine::Own(Box::new(Computed::new(parameters).map_err(|e| unknown(shown, e))?));
        let text = code.map_or(text, |c| format!("EPSG:{c}"));
        Ok(Self { code, text, name, engine })
    }

    /// The system as GDAL has it: by the built-in ways where these are right, else by its PROJ.
    ///
    /// # Errors
    /// [`Error::UnknownCrs`] where neither can compute it.
    #[cfg(feature = "gdal")]
    pub(in crate::scene) fn from_gdal(system: &gdal::spatial_ref::SpatialRef) -> Result<Self> {
        let text = system.to_wkt().map_err(|e| unknown(system.name().unwrap_or_default(), e.to_string()))?;
        Self::from_text(&text)
    }

    /// Itself, by GDAL's PROJ where that is at hand and knows the shift of the datum better.
    #[cfg(feature = "gdal")]
    pub(in crate::scene) fn by_proj(mut self) -> Self {
        let unshifted = [Shift::Same, definition::Tie::NONE.shift];
        if let Engine::Own(own) = &self.engine
            && !unshifted.contains(&own.parameters.tie.shift)
            && let Ok((_, _, pair)) = by_gdal::read(&self.text)
        {
            self.engine = Engine::Gdal(pair, Some(own.clone()));
        }
        self
    }

    /// Itself: PROJ is not at hand.
    #[cfg(not(feature = "gdal"))]
    pub(in crate::scene) fn by_proj(self) -> Self {
        self
    }

    /// The EPSG code, where the system is known by one.
    pub fn epsg(&self) -> Option<u32> {
        self.code
    }

    /// `EPSG:3395`, or a PROJ string: [`from_text`](Self::from_text) reads it back to the same system.
    pub fn definition(&self) -> &str {
        &self.text
    }

    /// Its WKT 1 as EPSG's table has it; none of a system without a code.
    pub fn wkt(&self) -> Option<&'static str> {
        let code = self.code.and_then(|c| u16::try_from(c).ok())?;
        crs_definitions::from_code(code).map(|d| d.wkt).filter(|w| !w.is_empty())
    }

    /// The system's name, for example `WGS 84 / World Mercator`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether coordinates are longitude and latitude.
    pub fn is_geographic(&self) -> bool {
        match &self.engine {
            Engine::Own(own) => own.parameters.method.is_none(),
            #[cfg(feature = "gdal")]
            Engine::Gdal(pair, _) => pair.geographic,
        }
    }

    /// Whether its shift to WGS 84 is fitted: PROJ's differs from place to place, and the built-in one is within ten metres of it.
    pub fn is_fitted(&self) -> bool {
        matches!(&self.engine, Engine::Own(own) if !own.parameters.tie.areas.is_empty())
    }

    /// Its parameters, where they are known to the built-in ways.
    fn parameters(&self) -> Option<&Definition> {
        match &self.engine {
            Engine::Own(own) => Some(&own.parameters),
            #[cfg(feature = "gdal")]
            Engine::Gdal(_, own) => own.as_ref().map(|o| &o.parameters),
        }
    }

    /// Metres a map unit, or degrees of a geographic system's.
    fn unit(&self) -> f64 {
        match &self.engine {
            Engine::Own(own) if own.parameters.method.is_none() => own.parameters.to_degree,
            Engine::Own(own) => own.parameters.to_meter,
            #[cfg(feature = "gdal")]
            Engine::Gdal(pair, _) => pair.unit,
        }
    }

    /// What a whole turn is in the units of a geographic system; none for others.
    pub(in crate::scene) fn turn(&self) -> Option<f64> {
        self.is_geographic().then(|| 360.0 / self.unit())
    }

    /// WGS 84 longitude (-180 to 180) and latitude in degrees of a point in map coordinates.
    ///
    /// # Errors
    /// [`Error::Projection`] for a point outside the projection's domain.
    pub fn to_lonlat(&self, x: f64, y: f64) -> Result<(f64, f64)> {
        let place = match &self.engine {
            Engine::Own(own) => own.to_lonlat((x, y)),
            #[cfg(feature = "gdal")]
            Engine::Gdal(pair, own) => pair.to_lonlat((x, y)).and_then(|place| known_at(own.as_deref(), place).map(|()| place)),
        };
        place.map_err(|detail| self.failed((x, y), detail))
    }

    /// Map coordinates of a point given by WGS 84 longitude and latitude in degrees.
    ///
    /// # Errors
    /// [`Error::Projection`] for a point outside the projection's domain.
    pub fn from_lonlat(&self, lon: f64, lat: f64) -> Result<(f64, f64)> {
        let point = match &self.engine {
            Engine::Own(own) => own.point_of((lon, lat)),
            #[cfg(feature = "gdal")]
            Engine::Gdal(pair, own) => known_at(own.as_deref(), (lon, lat)).and_then(|()| pair.point_of((lon, lat))),
        };
        point.map_err(|detail| self.failed((lon, lat), detail))
    }

    fn failed(&self, shown: (f64, f64), detail: String) -> Error {
        let system = if self.code.is_some() { &self.text } else { &self.name };
        Error::Projection { system: system.clone(), x: shown.0, y: shown.1, detail }
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
        let h = if self.is_geographic() { 1e-4 } else { 10.0 } / self.unit();
        let (_, lat) = self.to_lonlat(x, y)?;
        let (meridian, normal) = distance::radii(lat.to_radians());
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
        Ok(lonlat_distance_m(self.to_lonlat(p.0, p.1)?, self.to_lonlat(q.0, q.1)?))
    }
}

/// The code of `EPSG:32611`, `OGC:CRS84`, `epsg : 32611`, `+init=epsg:32611` or `urn:ogc:def:crs:EPSG:9.9:32611`.
fn code_of(text: &str) -> Option<u32> {
    let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_uppercase();
    let rest = plain.strip_prefix("+INIT=").unwrap_or(&plain);
    if matches!(rest, "OGC:CRS84" | "CRS:84" | "URN:OGC:DEF:CRS:OGC:1.3:CRS84" | "URN:OGC:DEF:CRS:OGC::CRS84") {
        return Some(4326);
    }
    if let Some(code) = rest.strip_prefix("EPSG:") {
        return code.trim_start_matches(':').parse().ok();
    }
    let version_and_code = rest.strip_prefix("URN:OGC:DEF:CRS:EPSG:")?;
    version_and_code.rsplit(':').next()?.parse().ok()
}

/// Whether the shift of a datum is known at a place: elsewhere PROJ takes that of another place, or none.
#[cfg(feature = "gdal")]
fn known_at(own: Option<&Computed>, place: (f64, f64)) -> std::result::Result<(), String> {
    own.map_or(Ok(()), |own| own.within(place))
}

/// A system that was refused, by GDAL's PROJ where that is at hand.
#[cfg(feature = "gdal")]
fn or_gdal(own: Result<Crs>, text: &str) -> Result<Crs> {
    own.map(Crs::by_proj).or_else(|refused| {
        let (code, name, pair) = by_gdal::read(text).map_err(|_| refused)?;
        Ok(Crs { code, text: text.to_string(), name, engine: Engine::Gdal(pair, None) })
    })
}

#[cfg(not(feature = "gdal"))]
fn or_gdal(own: Result<Crs>, _: &str) -> Result<Crs> {
    own
}

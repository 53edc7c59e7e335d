//! GeoTIFF's keys out: a system to tags 34735 to 34737, as GDAL reads them.

use super::definition::{Definition, Ellipsoid, Shift};
use super::geo_keys::*;
use super::methods::{self, Kind};
use super::{Crs, units, unknown};
use crate::scene::error::Result;

/// Values of the three tags of a GeoTIFF that hold its system.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GeoKeyTags {
    /// GeoKeyDirectory, tag 34735.
    pub directory: Vec<u16>,
    /// GeoDoubleParams, tag 34736; leave the tag out where it is empty.
    pub doubles: Vec<f64>,
    /// GeoAsciiParams, tag 34737; leave the tag out where it is empty.
    pub ascii: String,
}

const WGS84: Ellipsoid = Ellipsoid { a: 6_378_137.0, rf: 298.257_223_563 };
const WGS84_DATUM: u16 = 6326;
const NO_SHIFT: Shift = Shift::Helmert([0.0; 7]);

/// Keys being gathered.
#[derive(Default)]
struct Writer {
    keys: Vec<[u16; 4]>,
    tags: GeoKeyTags,
}

impl Writer {
    fn code(&mut self, key: u16, value: u16) {
        self.keys.push([key, 0, 1, value]);
    }

    fn numbers(&mut self, key: u16, values: &[f64]) {
        self.keys.push([key, 34736, values.len() as u16, self.tags.doubles.len() as u16]);
        self.tags.doubles.extend_from_slice(values);
    }

    /// A text, which the format wants in ASCII and ended by a bar.
    fn text(&mut self, key: u16, text: &str) {
        let start = self.tags.ascii.len() as u16;
        self.tags.ascii.extend(text.chars().map(|c| if c.is_ascii() && c != '\0' { c } else { '?' }));
        self.tags.ascii.push('|');
        self.keys.push([key, 34737, self.tags.ascii.len() as u16 - start, start]);
    }

    fn finish(mut self) -> GeoKeyTags {
        self.keys.sort_unstable();
        // Version 1, revision 1.0.
        self.tags.directory = vec![1, 1, 0, self.keys.len() as u16];
        self.tags.directory.extend(self.keys.concat());
        self.tags
    }
}

impl Crs {
    /// What a GeoTIFF holds of this system: model type, PixelIsArea and the code or all parameters.
    ///
    /// # Errors
    /// [`Error::UnknownCrs`](crate::scene::Error::UnknownCrs) for a system that GeoTIFF cannot say.
    pub fn geo_keys(&self) -> Result<GeoKeyTags> {
        let mut out = Writer::default();
        out.code(RASTER_TYPE, 1);
        let own = self.parameters();
        let is_web = |d: &Definition| {
            d.method.is_some_and(|m| m.proj == "webmerc")
                && d.ellipsoid == WGS84
                && d.tie.shift == NO_SHIFT
                && d.to_meter == 1.0
                && d.meridian == 0.0
                && d.values.iter().all(|(_, v)| *v == 0.0)
        };
        let code = self.epsg().or(own.is_some_and(is_web).then_some(3857)).and_then(|c| u16::try_from(c).ok());
        if let Some(code) = code {
            let (model, key) = if self.is_geographic() { (2, GEODETIC) } else { (1, PROJECTED) };
            out.code(MODEL, model);
            out.code(key, code);
            return Ok(out.finish());
        }
        let name: String = self.name().chars().filter(|c| *c != '|').take(200).collect();
        let failed = |detail: String| unknown(self.name(), format!("it cannot be written into a GeoTIFF: {detail}"));
        let d = own.ok_or_else(|| failed("only GDAL can compute it".into()))?;
        let Some(method) = d.method else {
            out.code(MODEL, 2);
            if d.to_degree != 1.0 {
                // GDAL and the standard differ about the unit of the prime meridian.
                return Err(failed("its angular unit is not the degree".into()));
            }
            base(&mut out, d).map_err(failed)?;
            out.code(ANGULAR_UNIT, 9102);
            return Ok(out.finish());
        };
        // The Swiss grids are oblique Mercator projections to GeoTIFF.
        let (method, fixed) = if method.proj == "somerc" {
            (methods::by_geotiff(9815).unwrap_or(method), &[("alpha", 90.0), ("gamma", 90.0), ("lonc", d.value("lon_0"))][..])
        } else {
            (method, &[][..])
        };
        if method.geotiff == 0 {
            let text = esri(d, method).ok_or_else(|| failed(format!("there is no key for +proj={} on its datum", method.proj)))?;
            out.code(MODEL, USER_DEFINED as u16);
            out.text(CITATION, &name);
            out.text(PROJECTED_CITATION, &format!("{ESRI_TEXT}{text}"));
            return Ok(out.finish());
        }
        out.code(MODEL, 1);
        out.text(CITATION, &name);
        base(&mut out, d).map_err(failed)?;
        out.code(ANGULAR_UNIT, 9102);
        out.code(PROJECTED, USER_DEFINED as u16);
        out.code(CONVERSION, USER_DEFINED as u16);
        out.code(METHOD, method.geotiff);
        match units::linear_code(d.to_meter) {
            Some(code) => out.code(LINEAR_UNIT, code as u16),
            None => {
                out.code(LINEAR_UNIT, USER_DEFINED as u16);
                out.numbers(LINEAR_SIZE, &[d.to_meter]);
            }
        }
        for p in method.parameters {
            let given = fixed.iter().find(|(k, _)| *k == p.proj).map(|(_, v)| *v);
            let value = given.unwrap_or_else(|| d.value(p.proj));
            match p.kind {
                Kind::Length => out.numbers(p.keys[0], &[value / d.to_meter]),
                // GeoTIFF's conic with two parallels has no scale.
                Kind::Scale if method.geotiff == 8 && value != 1.0 => return Err(failed("a scale factor beside two parallels".into())),
                Kind::Scale if method.geotiff == 8 => {}
                // That with one parallel has the latitude of origin for it, and a Mercator projection one or the other.
                _ if matches!((method.geotiff, p.proj), (9, "lat_1")) => {}
                _ if method.geotiff == 7 && p.proj == "lat_ts" && value == 0.0 => {}
                _ => out.numbers(p.keys[0], &[value]),
            }
        }
        Ok(out.finish())
    }
}

/// Datum, ellipsoid, prime meridian and shift.
fn base(out: &mut Writer, d: &Definition) -> Result<(), String> {
    out.code(GEODETIC, USER_DEFINED as u16);
    let wgs84 = d.tie.shift == NO_SHIFT && d.ellipsoid == WGS84;
    out.text(GEODETIC_CITATION, &format!("GCS Name = unknown|Datum = {}", if wgs84 { "World Geodetic System 1984" } else { "unknown" }));
    out.code(DATUM, if wgs84 { WGS84_DATUM } else { USER_DEFINED as u16 });
    out.code(ELLIPSOID, USER_DEFINED as u16);
    out.numbers(SEMI_MAJOR, &[d.ellipsoid.a]);
    if d.ellipsoid.is_sphere() {
        out.numbers(SEMI_MINOR, &[d.ellipsoid.a]);
    } else {
        out.numbers(INVERSE_FLATTENING, &[d.ellipsoid.rf]);
    }
    if d.meridian != 0.0 {
        out.code(MERIDIAN, USER_DEFINED as u16);
    }
    out.numbers(MERIDIAN_LONGITUDE, &[d.meridian]);
    match d.tie.shift {
        Shift::Helmert(s) if !wgs84 => out.numbers(TOWGS84, &s),
        Shift::Same if !d.ellipsoid.is_sphere() && !d.ellipsoid.is_near(super::datum::HUGHES) => {
            return Err("latitudes that are WGS 84's on another ellipsoid".into());
        }
        _ => {}
    }
    Ok(())
}

/// ESRI's WKT of a projection without a GeoTIFF code.
fn esri(d: &Definition, method: &methods::Method) -> Option<String> {
    let datum = match d.tie.shift {
        Shift::Same if d.ellipsoid.is_sphere() => "D_unknown",
        NO_SHIFT if d.ellipsoid == WGS84 => "D_WGS_1984",
        NO_SHIFT if d.ellipsoid.is_near(WGS84) => "D_unknown",
        _ => return None,
    };
    if method.esri.is_empty() || d.meridian != 0.0 || method.proj == "krovak" {
        return None;
    }
    let (a, rf) = (d.ellipsoid.a, d.ellipsoid.rf);
    let parameters: String = method
        .parameters
        .iter()
        .map(|p| {
            let (name, value) = match p.proj {
                "x_0" => ("False_Easting", d.value("x_0") / d.to_meter),
                "y_0" => ("False_Northing", d.value("y_0") / d.to_meter),
                "lon_0" => ("Central_Meridian", d.value("lon_0")),
                _ => ("Latitude_Of_Origin", d.value("lat_0")),
            };
            format!("PARAMETER[\"{name}\",{value:?}],")
        })
        .collect();
    Some(format!(
        "PROJCS[\"unknown\",GEOGCS[\"GCS_unknown\",DATUM[\"{datum}\",SPHEROID[\"unknown\",{a:?},{rf:?}]],PRIMEM[\"Greenwich\",0.0],\
         UNIT[\"Degree\",0.0174532925199433]],PROJECTION[\"{}\"],{parameters}UNIT[\"Unit\",{:?}]]",
        method.esri, d.to_meter
    ))
}

//! GeoTIFF's keys in: tags 34735 to 34737 to a system (OGC GeoTIFF 1.1, 19-008r4).

use super::definition::{Definition, Ellipsoid, Shift, Tie};
use super::methods::{self, Kind};
use super::{Crs, datum, epsg, proj_string, units, unknown};
use crate::scene::error::Result;

pub(super) const MODEL: u16 = 1024;
pub(super) const RASTER_TYPE: u16 = 1025;
pub(super) const CITATION: u16 = 1026;
pub(super) const GEODETIC: u16 = 2048;
pub(super) const GEODETIC_CITATION: u16 = 2049;
pub(super) const DATUM: u16 = 2050;
pub(super) const MERIDIAN: u16 = 2051;
pub(super) const ANGULAR_UNIT: u16 = 2054;
pub(super) const ANGULAR_SIZE: u16 = 2055;
pub(super) const ELLIPSOID: u16 = 2056;
pub(super) const SEMI_MAJOR: u16 = 2057;
pub(super) const SEMI_MINOR: u16 = 2058;
pub(super) const INVERSE_FLATTENING: u16 = 2059;
pub(super) const MERIDIAN_LONGITUDE: u16 = 2061;
pub(super) const TOWGS84: u16 = 2062;
pub(super) const PROJECTED: u16 = 3072;
pub(super) const PROJECTED_CITATION: u16 = 3073;
pub(super) const CONVERSION: u16 = 3074;
pub(super) const METHOD: u16 = 3075;
pub(super) const LINEAR_UNIT: u16 = 3076;
pub(super) const LINEAR_SIZE: u16 = 3077;
pub(super) const USER_DEFINED: u32 = 32767;
/// What GDAL and ESRI write before a WKT that the keys cannot say.
pub(super) const ESRI_TEXT: &str = "ESRI PE String = ";

/// Ellipsoids by EPSG code, where a file names one and gives no axes.
const ELLIPSOIDS: [(u32, f64, f64); 12] = [
    (7001, 6_377_563.396, 299.324_964_6),
    (7003, 6_378_160.0, 298.25),
    (7004, 6_377_397.155, 299.152_812_8),
    (7008, 6_378_206.4, 294.978_698_213_898),
    (7011, 6_378_249.2, 293.466_021_293_627),
    (7012, 6_378_249.145, 293.465),
    (7015, 6_377_276.345, 300.8017),
    (7019, 6_378_137.0, 298.257_222_101),
    (7022, 6_378_388.0, 297.0),
    (7024, 6_378_245.0, 298.3),
    (7030, 6_378_137.0, 298.257_223_563),
    (7043, 6_378_135.0, 298.26),
];

/// A key's value.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Code(u32),
    Numbers(Vec<f64>),
    Text(String),
}

/// What the GeoKey directory says.
#[derive(Debug, Default, Clone, PartialEq)]
pub(in crate::scene) struct GeoKeys {
    keys: Vec<(u16, Value)>,
    /// Whether the tags of the transform speak of pixel centres.
    pub(in crate::scene) pixel_is_point: bool,
}

impl GeoKeys {
    /// From the values of tags 34735, 34736 and 34737. Keys that point outside of them are left out.
    pub(in crate::scene) fn parse(directory: &[u64], doubles: &[f64], ascii: &str) -> Self {
        const IN_DOUBLES: u64 = 34736;
        const IN_ASCII: u64 = 34737;
        let mut out = Self::default();
        let count = directory.get(3).copied().unwrap_or(0) as usize;
        for key in directory.get(4..).unwrap_or(&[]).as_chunks::<4>().0.iter().take(count) {
            let [id, place, count, value] = *key;
            let range = value as usize..(value as usize).saturating_add(count as usize);
            let value = match place {
                0 => u32::try_from(value).ok().map(Value::Code),
                IN_DOUBLES => doubles.get(range).map(|v| Value::Numbers(v.to_vec())),
                IN_ASCII => {
                    // The last character is a bar in place of a zero; some writers count one too many.
                    let bytes = ascii.as_bytes();
                    let end = range.end.min(bytes.len());
                    bytes.get(range.start..end).map(|b| Value::Text(String::from_utf8_lossy(b).trim_end_matches(['|', '\0']).into()))
                }
                _ => None,
            };
            if let (Ok(id), Some(value)) = (u16::try_from(id), value) {
                out.keys.push((id, value));
            }
        }
        out.pixel_is_point = out.short(RASTER_TYPE) == Some(2);
        out
    }

    fn get(&self, id: u16) -> Option<&Value> {
        self.keys.iter().find(|(k, _)| *k == id).map(|(_, v)| v)
    }

    fn short(&self, id: u16) -> Option<u32> {
        if let Some(Value::Code(c)) = self.get(id) { Some(*c) } else { None }
    }

    /// A code that means something.
    fn code(&self, id: u16) -> Option<u32> {
        self.short(id).filter(|c| *c != 0 && *c != USER_DEFINED)
    }

    fn number(&self, id: u16) -> Option<f64> {
        match self.get(id)? {
            Value::Numbers(v) => v.first().copied(),
            Value::Code(c) => Some(f64::from(*c)),
            Value::Text(_) => None,
        }
    }

    fn text(&self, id: u16) -> Option<&str> {
        if let Some(Value::Text(t)) = self.get(id) { Some(t) } else { None }
    }

    /// The system; `None` where the keys name none. A vertical system is left aside.
    pub(in crate::scene) fn crs(&self) -> Option<Result<Crs>> {
        let esri = [PROJECTED_CITATION, CITATION].iter().filter_map(|k| self.text(*k)).find_map(|t| t.split_once(ESRI_TEXT));
        if self.code(PROJECTED).is_none()
            && let Some((_, text)) = esri
        {
            return Some(Crs::from_text(text));
        }
        let model = self.short(MODEL);
        let projection = [PROJECTED, CONVERSION, METHOD].iter().any(|k| self.get(*k).is_some());
        let base = [GEODETIC, DATUM, SEMI_MAJOR].iter().any(|k| self.get(*k).is_some());
        let result = match model {
            Some(3) => Err("it is a geocentric system, not one of map coordinates".into()),
            Some(2) if base => self.geographic(),
            Some(1) if projection => self.projected(),
            Some(1) if base => Err("it is projected, and how is missing (no ProjectedCRSGeoKey, no projection)".into()),
            _ if projection => self.projected(),
            _ if base => self.geographic(),
            _ => return None,
        };
        Some(result.map_err(|detail| unknown(self.name(), detail)).flatten())
    }

    /// What to call the system in messages.
    fn name(&self) -> String {
        let code = self.code(PROJECTED).or(if self.get(METHOD).is_some() { None } else { self.code(GEODETIC) });
        let citation = [PROJECTED_CITATION, CITATION, GEODETIC_CITATION].iter().find_map(|k| self.text(*k));
        let citation = citation.map(|t| t.trim_start_matches("GCS Name = ").split(['|', '\n']).next().unwrap_or("").trim());
        let citation = citation.filter(|t| !t.is_empty() && !t.eq_ignore_ascii_case("unknown"));
        code.map(|c| format!("EPSG:{c}")).or(citation.map(String::from)).unwrap_or_else(|| "the system in the GeoTIFF keys".into())
    }

    /// A shift to WGS 84 that the file states.
    fn stated(&self) -> Result<Option<Shift>, String> {
        match self.get(TOWGS84) {
            Some(Value::Numbers(v)) => proj_string::helmert(v).map(Some),
            _ => Ok(None),
        }
    }

    fn linear_unit(&self) -> Result<Option<f64>, String> {
        match self.short(LINEAR_UNIT) {
            None | Some(0) => Ok(self.number(LINEAR_SIZE)),
            Some(USER_DEFINED) => self.number(LINEAR_SIZE).map(Some).ok_or_else(|| "the size of its linear unit is missing".into()),
            Some(code) => units::linear(code).map(Some).ok_or_else(|| format!("its linear unit, EPSG's {code}, is not known")),
        }
    }

    fn angular_unit(&self) -> Result<Option<f64>, String> {
        match self.short(ANGULAR_UNIT) {
            None | Some(0) => Ok(self.number(ANGULAR_SIZE).map(f64::to_degrees)),
            Some(USER_DEFINED) => {
                let size = self.number(ANGULAR_SIZE).ok_or("the size of its angular unit is missing")?;
                Ok(Some(size.to_degrees()))
            }
            Some(code) => units::angular(code).map(Some).ok_or_else(|| format!("its angular unit, EPSG's {code}, is not known")),
        }
    }

    fn geographic(&self) -> Result<Result<Crs>, String> {
        if let Some(code) = self.code(GEODETIC) {
            let unit = self.angular_unit()?;
            return self.of_code(code, |d| d.method.is_none() && unit.is_none_or(|u| (u / d.to_degree - 1.0).abs() < 1e-9));
        }
        Ok(Crs::from_definition(None, self.name(), self.settled(self.base()?)?))
    }

    /// A system by code, whose unit must be what `fits` says, with the shift that the file states.
    fn of_code(&self, code: u32, fits: impl Fn(&Definition) -> bool) -> Result<Result<Crs>, String> {
        let stated = self.stated()?;
        let crs = Crs::from_code(code, stated);
        if crs.as_ref().is_ok_and(|c| c.parameters().is_some_and(|p| !fits(p))) {
            return Err("its keys contradict each other: the unit is not that of its code".into());
        }
        Ok(crs)
    }

    /// With the datum tied to WGS 84.
    fn settled(&self, (definition, name, code): (Definition, String, Option<u32>)) -> Result<Definition, String> {
        datum::settled(definition, &name, code, self.stated()?)
    }

    /// The geographic system below, or the system itself: everything but the projection, with name and code of its datum.
    fn base(&self) -> Result<(Definition, String, Option<u32>), String> {
        if let Some(code) = self.code(GEODETIC) {
            let known = epsg::find(code, Some(Shift::Helmert([0.0; 7])))
                .ok_or_else(|| format!("its base EPSG:{code} is not in the built-in table, nor is its datum"))?;
            let base = known.definition.map_err(|e| format!("its base EPSG:{code}: {e}"))?;
            let datum = epsg::datum(code);
            let name = datum.and_then(datum::by_code).map_or_else(|| known.name, |d| d.name.into());
            return if base.method.is_none() {
                Ok((base, name, datum))
            } else {
                Err(format!("its base EPSG:{code} is no geographic system"))
            };
        }
        let to_degree = self.angular_unit()?.map_or(1.0, |u| if (u - 1.0).abs() < 1e-9 { 1.0 } else { u });
        let code = self.code(DATUM);
        let named =
            self.text(GEODETIC_CITATION).into_iter().flat_map(|t| t.split('|')).find_map(|part| part.trim().strip_prefix("Datum = "));
        let listed = self.code(ELLIPSOID).and_then(|c| ELLIPSOIDS.iter().find(|e| e.0 == c)).map(|&(_, a, rf)| Ellipsoid { a, rf });
        // Some writers name the datum, or the system after it, and give no code.
        let cited = self.text(GEODETIC_CITATION).map(|t| t.trim_start_matches("GCS Name = ").split('|').next().unwrap_or("").trim());
        let cited = cited.map(|t| t.trim_start_matches("GCS_")).filter(|t| code.is_none() && datum::by_name(t).is_some());
        let named = named.or(cited);
        let own = || code.and_then(datum::by_code).or_else(|| named.and_then(datum::by_name)).map(|d| d.ellipsoid);
        let ellipsoid = match (self.number(SEMI_MAJOR), self.number(SEMI_MINOR), self.number(INVERSE_FLATTENING)) {
            (Some(a), _, Some(rf)) => Some(Ellipsoid { a, rf }),
            (Some(a), Some(b), None) => Some(Ellipsoid::from_axes(a, b)),
            _ => listed.or_else(own),
        };
        let ellipsoid = ellipsoid.ok_or("its datum and ellipsoid are missing from the GeoTIFF keys")?;
        let meridian = match (self.number(MERIDIAN_LONGITUDE), self.code(MERIDIAN)) {
            (Some(longitude), _) => longitude * to_degree,
            (None, Some(code)) => units::meridian(code).ok_or_else(|| format!("its prime meridian, EPSG's {code}, is not known"))?,
            (None, None) => 0.0,
        };
        let name = named.map(String::from).or(code.map(|c| format!("EPSG's {c}"))).unwrap_or_default();
        Ok((Definition { method: None, values: Vec::new(), ellipsoid, meridian, tie: Tie::NONE, to_meter: 1.0, to_degree }, name, code))
    }

    fn projected(&self) -> Result<Result<Crs>, String> {
        let unit = self.linear_unit()?;
        // Parameters beside a code are read where the code is too new for the table.
        let code = self.code(PROJECTED).filter(|c| epsg::find(*c, None).is_some() || self.code(METHOD).is_none());
        if let Some(code) = code {
            return self.of_code(code, |d| d.method.is_some() && unit.is_none_or(|u| (u / d.to_meter - 1.0).abs() < 1e-9));
        }
        let (mut out, name, datum) = self.base()?;
        if out.to_degree != 1.0 {
            return Err("the angular unit of its parameters is not the degree".into());
        }
        if let Some(code) = self.code(CONVERSION) {
            let conversion = conversion(code)
                .ok_or_else(|| format!("its ProjectionGeoKey (3074), EPSG's conversion {code}, is not in the built-in table"))?;
            (out.method, out.values, out.to_meter) = conversion;
            out.to_meter = unit.unwrap_or(out.to_meter);
        } else {
            let code =
                self.code(METHOD).ok_or("how it is projected is missing (no ProjectedCRSGeoKey, ProjectionGeoKey or ProjMethodGeoKey)")?;
            let method = u16::try_from(code).ok().and_then(methods::by_geotiff);
            let method = method.ok_or_else(|| format!("the projection of GeoTIFF's method {code} is not computed"))?;
            out.to_meter = unit.unwrap_or(1.0);
            for p in method.parameters {
                let Some(value) = p.keys.iter().find_map(|k| self.number(*k)) else { continue };
                out.values.push((p.proj, if p.kind == Kind::Length { value * out.to_meter } else { value }));
            }
            out.method = Some(method);
        }
        Ok(Crs::from_definition(None, self.name(), self.settled((out, name, datum))?))
    }
}

type Conversion = (Option<&'static methods::Method>, Vec<(&'static str, f64)>, f64);

/// Method, parameters and linear unit of EPSG's conversions: 16001 to 16060 and 16101 to 16160 are the zones of UTM.
fn conversion(code: u32) -> Option<Conversion> {
    let definition = match code {
        16001..=16060 => proj_string::read(&format!("+proj=utm +zone={} +datum=WGS84", code - 16000), None).ok(),
        16101..=16160 => proj_string::read(&format!("+proj=utm +zone={} +south +datum=WGS84", code - 16100), None).ok(),
        _ => epsg::conversion(code),
    }?;
    Some((definition.method, definition.values, definition.to_meter))
}

//! Datums: which shift leads to WGS 84, and which are refused because none is known or none holds everywhere.

use super::definition::{Definition, Ellipsoid, Shift, Tie};
use super::epsg;
use super::methods::plain;

/// EPSG's datums by code and names, with their shifts (see the head of the file).
const DATUMS: &str = include_str!("datums.csv");
/// Systems whose shift differs from their datum's.
const SHIFTS: &str = include_str!("shifts.csv");

/// Hughes's ellipsoid of 1980: the sea-ice products of NSIDC lay WGS 84's latitudes on it.
pub(super) const HUGHES: Ellipsoid = Ellipsoid { a: 6_378_273.0, rf: 298.279_411_123_064 };

/// A datum of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Datum {
    pub(super) code: u32,
    pub(super) name: &'static str,
    pub(super) ellipsoid: Ellipsoid,
    shift: &'static str,
}

impl Datum {
    /// Its shift to WGS 84, where one holds wherever the datum is used.
    pub(super) fn shift(&self) -> Result<Tie, String> {
        parse(self.shift, self.name)
    }
}

fn rows(text: &'static str) -> impl Iterator<Item = std::str::Split<'static, char>> {
    text.lines().filter(|l| !l.starts_with('#')).map(|l| l.split('|'))
}

fn datum(mut fields: std::str::Split<'static, char>) -> Option<(Datum, &'static str)> {
    let code = fields.next()?.parse().ok()?;
    let name = fields.next()?;
    let ellipsoid = Ellipsoid { a: fields.next()?.parse().ok()?, rf: fields.next()?.parse().ok()? };
    let shift = fields.next()?;
    Some((Datum { code, name, ellipsoid, shift }, fields.next()?))
}

/// The datum of an EPSG code.
pub(super) fn by_code(code: u32) -> Option<Datum> {
    rows(DATUMS).filter_map(datum).map(|(d, _)| d).find(|d| d.code == code)
}

/// The datum of a name in WKT, ESRI's `D_` before it or not.
pub(super) fn by_name(name: &str) -> Option<Datum> {
    let name = plain(name.strip_prefix("D_").unwrap_or(name));
    rows(DATUMS).filter_map(datum).find(|(_, names)| names.split(' ').any(|n| n == name)).map(|(d, _)| d)
}

/// The shift of an EPSG system that has one of its own, else its datum's.
pub(super) fn of_system(code: u32, datum: &Datum) -> Result<Tie, String> {
    let own = rows(SHIFTS).find_map(|mut f| (f.next()?.parse() == Ok(code)).then(|| f.next())?);
    own.map_or_else(|| datum.shift(), |text| parse(text, datum.name))
}

fn parse(text: &str, name: &str) -> Result<Tie, String> {
    let (text, areas) = text.split_once('@').unwrap_or((text, ""));
    let numbers = |list: &str| list.split(',').map(|v| v.parse::<f64>().ok()).collect::<Option<Vec<_>>>();
    let areas = areas.split(';').filter_map(|b| numbers(b)?.try_into().ok()).collect();
    match text {
        "same" => Ok(Tie { shift: Shift::Same, areas }),
        "*" => Err(format!("the shift of its datum {name} to WGS 84 differs from region to region by more than 10 m")),
        "?" => Err(format!("no shift of its datum {name} to WGS 84 is known")),
        _ => {
            let mut shift = [0.0; 7];
            let values = numbers(text).ok_or_else(|| format!("the shift `{text}` of its datum {name} does not read"))?;
            shift.iter_mut().zip(values).for_each(|(to, v)| *to = v);
            Ok(Tie { shift: Shift::Helmert(shift), areas })
        }
    }
}

/// The shift of a datum given by name, code and ellipsoid in a file, where that file says none itself.
pub(super) fn resolve(name: &str, code: Option<u32>, ellipsoid: Ellipsoid) -> Result<Tie, String> {
    // Spheres have no datum to speak of: PROJ and GDAL, too, take latitudes as they are.
    if ellipsoid.is_sphere() {
        return Ok(Shift::Same.into());
    }
    let known = code.and_then(by_code).or_else(|| by_name(name));
    if let Some(datum) = known {
        return if datum.ellipsoid.is_near(ellipsoid) {
            datum.shift()
        } else {
            Err(format!("its datum {name} has another ellipsoid than EPSG's {}", datum.name))
        };
    }
    let modern = [Ellipsoid { a: 6_378_137.0, rf: 298.257_222_101 }, Ellipsoid { a: 6_378_137.0, rf: 298.257_223_563 }];
    let plain = plain(name);
    let unnamed = ["unknown", "dunknown", "unnamed", "userdefined", "notspecified", "unspecified"].iter().any(|n| plain.starts_with(n));
    if (unnamed || plain.is_empty()) && modern.iter().any(|m| m.is_near(ellipsoid)) {
        // A file that says the ellipsoid of all modern datums and no more means one of them: they agree within metres.
        return Ok(Tie::NONE);
    }
    if (unnamed || plain.is_empty()) && ellipsoid.is_near(HUGHES) {
        return Ok(Shift::Same.into());
    }
    let shown = if name.trim().is_empty() { "(unnamed)" } else { name.trim() };
    Err(format!("no shift of its datum {shown} to WGS 84 is known"))
}

/// A definition with its datum tied to WGS 84: by what a file states itself, by the table, or, where the datum's shift differs by region,
/// by the EPSG system of the same parameters, whose area is smaller.
pub(super) fn settled(mut definition: Definition, name: &str, code: Option<u32>, stated: Option<Shift>) -> Result<Definition, String> {
    let tie = match stated {
        Some(shift) => Ok(shift.into()),
        None => resolve(name, code, definition.ellipsoid),
    };
    let spherical = definition.method.is_some_and(|m| m.proj == "mill");
    if spherical || tie.as_ref().is_ok_and(|t| t.areas.is_empty()) {
        definition.tie = tie?;
        return definition.checked();
    }
    definition.tie = Tie::NONE;
    let mut definition = definition.checked()?;
    let own = code.and_then(by_code).or_else(|| by_name(name)).and_then(|datum| {
        let shifts = rows(SHIFTS).filter_map(|mut f| Some((f.next()?.parse::<u32>().ok()?, f.next()?)));
        let mut tied = shifts.filter_map(|(system, shift)| Some((system, parse(shift, datum.name).ok()?)));
        tied.find(|(system, _)| epsg::datum(*system) == Some(datum.code) && epsg::is_like(*system, &definition))
    });
    definition.tie = own.map_or(tie, |(_, tie)| Ok(tie))?;
    Ok(definition)
}

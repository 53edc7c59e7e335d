//! Systems by EPSG code: definitions of the `crs-definitions` crate, shifts of [`super::datum`].

use super::datum;
use super::definition::{Definition, Shift, Tie};
use super::methods::{Kind, Parameter};
use super::proj_string;
use super::{wkt, wkt_crs};

/// Conversions by EPSG code, each with a system that uses it (see the head of the file).
const CONVERSIONS: &str = include_str!("conversions.csv");
/// Systems that are refused, with the reason (see the head of the file).
const REFUSED: &str = include_str!("refused.csv");

/// A system of the table.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) definition: Result<Definition, String>,
}

/// The system of a code; `None` where the table does not hold it. `stated` is a shift that a file gives itself.
pub(super) fn find(code: u32, stated: Option<Shift>) -> Option<Known> {
    let def = u16::try_from(code).ok().and_then(crs_definitions::from_code)?;
    let name = def.wkt.split('"').nth(1).map_or_else(|| format!("EPSG:{code}"), String::from);
    Some(Known { name, definition: definition(code, &def, stated) })
}

fn definition(code: u32, def: &crs_definitions::Def, stated: Option<Shift>) -> Result<Definition, String> {
    if let Some(reason) = rows(REFUSED).find_map(|(c, reason)| (c == code).then_some(reason)) {
        return Err(reason.into());
    }
    if def.proj4.contains("+proj=geocent") {
        return Err("it is a geocentric system, not one of map coordinates".into());
    }
    if def.wkt.is_empty() {
        // A few systems have no more than their PROJ string.
        let modern = def.proj4.contains("+datum=WGS84").then_some(Tie::NONE);
        let tie =
            stated.map(Tie::from).or(modern).ok_or("its datum is missing from the built-in table, so its shift to WGS 84 is not known")?;
        return proj_string::read(def.proj4, Some(tie));
    }
    if def.proj4.is_empty() {
        return Err("its projection is not computed".into());
    }
    let tree = wkt::parse(def.wkt)?;
    wkt_crs::axes(&tree)?;
    let base = tree.child(&["GEOGCS"]).unwrap_or(&tree);
    let named = base.child(&["DATUM"]).ok_or("its datum is missing from the table")?;
    let tie = match stated {
        Some(shift) => shift.into(),
        None => {
            let known = named.epsg().and_then(datum::by_code).or_else(|| datum::by_name(named.name()));
            let known = known.ok_or_else(|| format!("no shift of its datum {} to WGS 84 is known", named.name()))?;
            datum::of_system(code, &known)?
        }
    };
    let mut out = proj_string::read(def.proj4, Some(tie))?;
    if out.ellipsoid.is_sphere() && stated.is_none() {
        // Such as EPSG:3857, which lays WGS 84's latitudes on a sphere.
        out.tie = Shift::Same.into();
    }
    if out.method.is_none() {
        let unit = base.child(&["UNIT"]).and_then(|u| u.numbers.first()).map_or(1.0, |r| r.to_degrees());
        out.to_degree = if (unit - 1.0).abs() < 1e-9 { 1.0 } else { (unit * 1e12).round() / 1e12 };
    }
    Ok(out)
}

/// The code of a system's datum.
pub(super) fn datum(code: u32) -> Option<u32> {
    let tree = wkt::parse(crs_definitions::from_code(u16::try_from(code).ok()?)?.wkt).ok()?;
    tree.child(&["GEOGCS"]).unwrap_or(&tree).child(&["DATUM"])?.epsg()
}

/// Whether a system has this projection and unit.
pub(super) fn is_like(code: u32, definition: &Definition) -> bool {
    let other = find(code, Some(Shift::Helmert([0.0; 7]))).and_then(|k| k.definition.ok());
    other.is_some_and(|o| {
        let (a, b) = (o.method.map(|m| m.parameters), definition.method.map(|m| m.parameters));
        let same = |p: &&Parameter| (o.value(p.proj) - definition.value(p.proj)).abs() < if p.kind == Kind::Length { 0.01 } else { 1e-7 };
        a.zip(b).is_some_and(|(a, b)| std::ptr::eq(a, b) && a.iter().all(same)) && (o.to_meter / definition.to_meter - 1.0).abs() < 1e-9
    })
}

/// A system that uses a conversion: its method and parameters are those of the conversion.
pub(super) fn conversion(code: u32) -> Option<Definition> {
    let system = rows(CONVERSIONS).find_map(|(c, system)| (c == code).then_some(system))?;
    find(system.parse().ok()?, Some(Shift::Same))?.definition.ok()
}

fn rows(text: &'static str) -> impl Iterator<Item = (u32, &'static str)> {
    text.lines().filter_map(|l| l.split_once('|')).filter_map(|(code, rest)| Some((code.parse().ok()?, rest)))
}

//! PROJ strings in: `+proj=utm +zone=11 +datum=WGS84` to a [`Definition`].

use proj4rs::Proj;

use super::datum;
use super::definition::{Definition, Ellipsoid, Shift, Tie};
use super::methods;

/// Names of PROJ's datums with EPSG's codes.
const NAMED: [(&str, u32); 8] = [
    ("WGS84", 6326),
    ("NAD83", 6269),
    ("NAD27", 6267),
    ("OSGB36", 6277),
    ("GGRS87", 6121),
    ("potsdam", 6314),
    ("carthage", 6223),
    ("nzgd49", 6272),
];
/// Words that say nothing about where a point lies on the ground.
const SILENT: [&str; 11] =
    ["no_defs", "wktext", "type", "vunits", "vto_meter", "geoidgrids", "geoid_crs", "over", "lon_wrap", "datum_name", "title"];
/// Words that are read below.
const READ: [&str; 22] = [
    "proj",
    "datum",
    "ellps",
    "a",
    "b",
    "rf",
    "f",
    "es",
    "R",
    "towgs84",
    "nadgrids",
    "pm",
    "units",
    "to_meter",
    "to_degree",
    "axis",
    "zone",
    "south",
    "no_uoff",
    "no_off",
    "k",
    "k0",
];

/// The words of a PROJ string: key and value, the plus signs taken off.
fn words(text: &str) -> Vec<(&str, &str)> {
    text.split_whitespace().map(|w| w.trim_start_matches('+')).map(|w| w.split_once('=').unwrap_or((w, ""))).collect()
}

/// A definition by a PROJ string; `tie` replaces what the string says of the datum.
pub(super) fn read(text: &str, tie: Option<Tie>) -> Result<Definition, String> {
    let words = words(text);
    let get = |key: &str| words.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
    let name = get("proj").ok_or("its PROJ string has no +proj")?;
    let geographic = matches!(name, "longlat" | "latlong" | "lonlat" | "latlon");
    // PROJ's words for the same.
    let name = match name {
        "utm" | "etmerc" => "tmerc",
        other => other,
    };
    let axis = get("axis").unwrap_or("enu");
    let mut flags = Vec::new();
    if get("no_uoff").is_some() || get("no_off").is_some() {
        flags.push("+no_uoff");
    }
    let pole = name == "stere" && get("lat_0").is_some_and(|v| angle(v).is_ok_and(|d| (d.abs() - 90.0).abs() < 1e-9));
    if pole {
        flags.push("+pole");
    }
    match axis {
        "enu" | "neu" => {}
        "wsu" if name == "tmerc" => flags.push("+axis=wsu"),
        other => return Err(format!("the axes +axis={other} are not read")),
    }
    let method = match geographic {
        true => None,
        false => Some(methods::by_proj(name, &flags).ok_or_else(|| format!("the projection +proj={name} is not computed"))?),
    };

    let mut definition = Definition {
        method,
        values: Vec::new(),
        ellipsoid: ellipsoid(&words)?,
        meridian: 0.0,
        tie: Tie::NONE,
        to_meter: 1.0,
        to_degree: 1.0,
    };
    if let Some(pm) = get("pm") {
        definition.meridian = probe(&format!("+proj=longlat +pm={pm}"), "prime meridian")?.from_greenwich().to_degrees();
    }
    if let Some(unit) = get("units").filter(|_| !geographic) {
        definition.to_meter = probe(&format!("+proj=merc +units={unit}"), "unit")?.to_meter();
    } else if let Some(factor) = get("to_meter").filter(|_| !geographic) {
        let (top, bottom) = factor.split_once('/').unwrap_or((factor, "1"));
        definition.to_meter = number(top)? / number(bottom)?;
    }
    if let Some(degrees) = get("to_degree") {
        definition.to_degree = number(degrees)?;
    }
    if get("proj") == Some("utm") {
        let zone = number(get("zone").ok_or("its UTM zone is missing")?)?;
        if !(1.0..=60.0).contains(&zone) || zone.fract() != 0.0 {
            return Err(format!("there is no UTM zone {zone}"));
        }
        let north = if get("south").is_some() { 10_000_000.0 } else { 0.0 };
        definition.values = vec![("lat_0", 0.0), ("lon_0", 6.0 * zone - 183.0), ("k_0", 0.9996), ("x_0", 500_000.0), ("y_0", north)];
    }
    for (key, value) in &words {
        let key = if matches!(*key, "k" | "k0") { "k_0" } else { key };
        let parameter = method.and_then(|m| m.parameters.iter().find(|p| p.proj == key));
        if let Some(p) = parameter {
            let value = if p.kind == methods::Kind::Angle { angle(value)? } else { number(value)? };
            definition.values.retain(|(k, _)| *k != p.proj);
            definition.values.push((p.proj, value));
        } else if !(SILENT.contains(&key) || READ.contains(&key) || key.is_empty() || pole && key == "lat_0") {
            let zero = value.parse::<f64>().is_ok_and(|v| v == 0.0 || v == 1.0 && key == "k_0");
            // Krovak's azimuth is part of the projection.
            if !(zero || name == "krovak" && key == "alpha") {
                return Err(format!("the parameter +{key}={value} of its projection is not read"));
            }
        }
    }
    if pole {
        let pole = angle(get("lat_0").unwrap_or("90"))?;
        let ts = definition.value("lat_ts");
        definition.values.retain(|(k, _)| *k != "lat_ts");
        definition.values.push(("lat_ts", if ts == 0.0 { pole } else { ts.copysign(pole) }));
    }
    definition.tie = match tie {
        Some(tie) => tie,
        None => stated(&get, definition.ellipsoid)?,
    };
    definition.checked()
}

/// The shift that a PROJ string states.
fn stated<'a>(get: &dyn Fn(&str) -> Option<&'a str>, ellipsoid: Ellipsoid) -> Result<Tie, String> {
    match get("nadgrids") {
        Some("@null") => return Ok(Shift::Same.into()),
        Some(grids) => return Err(format!("its datum is shifted by the grids {grids}, which are not at hand")),
        None => {}
    }
    if let Some(list) = get("towgs84") {
        let values: Vec<f64> = list.split(',').map(number).collect::<Result<_, _>>()?;
        return helmert(&values).map(Tie::from);
    }
    match get("datum") {
        Some(name) => {
            let code = NAMED.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, c)| *c);
            let known = code.and_then(datum::by_code).ok_or_else(|| format!("no shift of its datum {name} to WGS 84 is known"))?;
            known.shift()
        }
        None => datum::resolve("unknown", None, ellipsoid),
    }
}

/// Three or seven values as of `TOWGS84`.
pub(super) fn helmert(values: &[f64]) -> Result<Shift, String> {
    if !matches!(values.len(), 3 | 7) || values.iter().any(|v| !v.is_finite()) {
        return Err(format!("the shift of its datum, TOWGS84, has {} values that make no sense", values.len()));
    }
    let mut shift = [0.0; 7];
    shift[..values.len()].copy_from_slice(values);
    Ok(Shift::Helmert(shift))
}

/// The ellipsoid that the words of size and shape make.
fn ellipsoid(words: &[(&str, &str)]) -> Result<Ellipsoid, String> {
    let mut text = String::from("+proj=longlat");
    for (key, value) in words {
        // The grids of NAD27 are not at hand, and its ellipsoid alone is wanted.
        match (*key, *value) {
            ("datum", "NAD27") => text += " +ellps=clrk66",
            ("datum" | "ellps" | "a" | "b" | "rf" | "f" | "es" | "R", _) => text += &format!(" +{key}={value}"),
            _ => {}
        }
    }
    let (a, b) = probe(&text, "ellipsoid or datum")?.ellipse_parameters();
    let rf = words.iter().find(|(k, _)| *k == "rf").map(|(_, v)| number(v)).transpose()?;
    Ok(rf.filter(|_| a != b).map_or_else(|| Ellipsoid::from_axes(a, b), |rf| Ellipsoid { a, rf }))
}

fn probe(text: &str, what: &str) -> Result<Proj, String> {
    Proj::from_proj_string(text).map_err(|e| format!("the {what} of its PROJ string does not read ({e})"))
}

fn number(text: &str) -> Result<f64, String> {
    text.trim().parse().map_err(|_| format!("`{text}` in its PROJ string is no number"))
}

/// Degrees of an angle, which may be written `46d30'`.
fn angle(text: &str) -> Result<f64, String> {
    number(text).or_else(|_| Ok(probe(&format!("+proj=merc +lon_0={text}"), "angle")?.longitude_of_origin().to_degrees()))
}

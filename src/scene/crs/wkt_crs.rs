//! Coordinate systems in well-known text: WKT1 of GDAL and ESRI, WKT2 of 2015 and 2019 (OGC 01-009, 18-010r7).

use super::datum;
use super::definition::{Definition, Ellipsoid, Shift, Tie};
use super::methods::{self, Kind, Method, plain};
use super::proj_string;
use super::wkt::Node;

/// What a text says.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) name: String,
    /// EPSG's code of the horizontal system as a whole.
    pub(super) epsg: Option<u32>,
    /// A shift to WGS 84 that the text states itself.
    pub(super) shift: Option<Shift>,
    /// The system by its parameters, or why it cannot be computed.
    pub(super) definition: Result<Definition, String>,
}

const PROJECTED: [&str; 3] = ["PROJCS", "PROJCRS", "PROJECTEDCRS"];
const GEOGRAPHIC: [&str; 7] = ["GEOGCS", "GEOGCRS", "GEOGRAPHICCRS", "GEODCRS", "GEODETICCRS", "BASEGEOGCRS", "BASEGEODCRS"];
const COMPOUND: [&str; 2] = ["COMPD_CS", "COMPOUNDCRS"];
const DATUM: [&str; 5] = ["DATUM", "GEODETICDATUM", "TRF", "ENSEMBLE", "GEODETICREFERENCEFRAME"];

/// Reads a tree.
pub(super) fn describe(root: &Node) -> Described {
    let mut shift = None;
    let found = horizontal(root, &mut shift);
    let node = *found.as_ref().unwrap_or(&root);
    let mut out = Described { name: node.name().into(), epsg: None, shift: None, definition: Err(String::new()) };
    out.definition = found.and_then(|node| {
        out.epsg = node.epsg();
        let stated = shift.map_or_else(|| towgs84(node), |s| s.map(Some));
        out.shift = *stated.as_ref().unwrap_or(&None);
        definition(node, stated?)
    });
    out
}

/// The projected or geographic system within compounds and bound systems.
fn horizontal<'a>(node: &'a Node, shift: &mut Option<Result<Shift, String>>) -> Result<&'a Node, String> {
    let keyword = node.keyword.as_str();
    if PROJECTED.contains(&keyword) || GEOGRAPHIC.contains(&keyword) {
        return Ok(node);
    }
    let inner = if COMPOUND.contains(&keyword) {
        node.children
            .iter()
            .find(|c| PROJECTED.contains(&c.keyword.as_str()) || GEOGRAPHIC.contains(&c.keyword.as_str()) || c.keyword == "BOUNDCRS")
    } else if keyword == "BOUNDCRS" {
        *shift = Some(bound(node));
        node.child(&["SOURCECRS"]).and_then(|s| s.children.first())
    } else if keyword == "GEOCCS" {
        return Err("it is a geocentric system, not one of map coordinates".into());
    } else {
        return Err(format!("a system of the kind {keyword} has no place on the Earth that is read"));
    };
    horizontal(inner.ok_or_else(|| format!("its {keyword} holds no horizontal system"))?, shift)
}

/// The shift of a bound system.
fn bound(node: &Node) -> Result<Shift, String> {
    let target = node.child(&["TARGETCRS"]).and_then(|t| t.children.first());
    let wgs84 = target.is_some_and(|t| matches!(t.epsg(), Some(4326 | 4979 | 4978)) || plain(t.name()).starts_with("wgs84"));
    let transformation = node.child(&["ABRIDGEDTRANSFORMATION"]).ok_or("the shift of its datum is missing from its BOUNDCRS")?;
    let method = transformation.child(&["METHOD"]).ok_or("the shift of its datum names no method")?;
    let named = plain(method.name());
    let frame = matches!(method.epsg(), Some(9607 | 1032 | 1038)) || named.starts_with("coordinateframe");
    let helmert = frame
        || matches!(method.epsg(), Some(9603 | 9606 | 1031 | 1033 | 1035 | 1037))
        || named.starts_with("positionvector")
        || named.starts_with("geocentrictranslations");
    if !wgs84 || !helmert {
        return Err(format!("the shift of its datum by {} to {} is not computed", method.name(), target.map_or("nowhere", Node::name)));
    }
    let mut values = [0.0; 7];
    for p in transformation.all("PARAMETER") {
        let names = [
            "xaxistranslation",
            "yaxistranslation",
            "zaxistranslation",
            "xaxisrotation",
            "yaxisrotation",
            "zaxisrotation",
            "scaledifference",
        ];
        let at =
            names.iter().position(|n| plain(p.name()) == *n).or_else(|| p.epsg().and_then(|c| c.checked_sub(8605)).map(|i| i as usize));
        let (Some(at), Some(v)) = (at.filter(|i| *i < 7), p.numbers.first()) else { continue };
        let factor = unit(p);
        values[at] = match (at, factor) {
            (0..3, f) => v * f.unwrap_or(1.0),
            (3..6, Some(f)) => (v * f).to_degrees() * 3600.0,
            (6, Some(f)) => v * f * 1e6,
            _ => *v,
        };
    }
    if frame {
        (3..6).for_each(|i| values[i] = -values[i]);
    }
    Ok(Shift::Helmert(values))
}

/// The shift that WKT1 states in its datum.
fn towgs84(node: &Node) -> Result<Option<Shift>, String> {
    let base = node.child(&GEOGRAPHIC).unwrap_or(node);
    let list = base.child(&DATUM).and_then(|d| d.child(&["TOWGS84"]));
    list.map(|t| proj_string::helmert(&t.numbers)).transpose()
}

/// Factor (to radians, metres or one) of a node's own unit.
fn unit(node: &Node) -> Option<f64> {
    node.child(&["UNIT", "ANGLEUNIT", "LENGTHUNIT", "SCALEUNIT"])?.numbers.first().copied()
}

/// The unit of a system: its own or that of its axes.
fn system_unit(node: &Node) -> Option<f64> {
    unit(node).or_else(|| node.all("AXIS").find_map(unit))
}

fn definition(node: &Node, stated: Option<Shift>) -> Result<Definition, String> {
    // GDAL writes into WKT1 what WKT1 cannot say.
    let extension = node.all("EXTENSION").find(|e| e.name().eq_ignore_ascii_case("PROJ4"));
    if let Some(text) = extension.and_then(|e| e.texts.get(1)) {
        return proj_string::read(text, None);
    }
    let projected = PROJECTED.contains(&node.keyword.as_str());
    let base = if projected { node.child(&GEOGRAPHIC).ok_or("its base system is missing")? } else { node };
    if node.child(&["CS"]).is_some_and(|cs| cs.name().eq_ignore_ascii_case("Cartesian")) && !projected {
        return Err("it is a geocentric system, not one of map coordinates".into());
    }
    axes(node)?;
    let datum_node = base.child(&DATUM).ok_or("its datum is missing")?;
    let sphere = datum_node.child(&["SPHEROID", "ELLIPSOID"]).ok_or("the ellipsoid of its datum is missing")?;
    let (&[a, rf, ..], metres) = (sphere.numbers.as_slice(), unit(sphere).unwrap_or(1.0)) else {
        return Err("the ellipsoid of its datum has no axes".into());
    };
    let ellipsoid = Ellipsoid { a: a * metres, rf };
    // Of a degree's 15 digits in texts, the last few are rounding.
    let radians = system_unit(base).unwrap_or(1f64.to_radians());
    let to_degree = if (radians.to_degrees() - 1.0).abs() < 1e-9 { 1.0 } else { round(radians.to_degrees()) };
    let meridian = base.child(&["PRIMEM", "PRIMEMERIDIAN"]).map_or(0.0, |p| {
        let value = p.numbers.first().copied().unwrap_or(0.0);
        // WKT1 keeps degrees here, whatever the unit of the system.
        unit(p).map_or(value, |f| round((value * f).to_degrees()))
    });
    let mut definition = Definition { method: None, values: Vec::new(), ellipsoid, meridian, tie: Tie::NONE, to_meter: 1.0, to_degree };
    if projected {
        definition.to_meter = system_unit(node).ok_or("the unit of its coordinates is missing")?;
        let conversion = node.child(&["CONVERSION"]).unwrap_or(node);
        let projection = conversion.child(&["METHOD", "PROJECTION"]).ok_or("its projection is missing")?;
        let method = method(projection, conversion, node)?;
        definition.method = Some(method);
        definition.values = values(method, conversion, to_degree, definition.to_meter)?;
        let name = plain(projection.name());
        if name == "behrmann" {
            definition.values.push(("lat_ts", 30.0));
        }
        if matches!(method.proj, "laea" | "cea") && (name.ends_with("spherical") || matches!(projection.epsg(), Some(1027 | 9834))) {
            let mut settled = datum::settled(definition, datum_node.name(), datum_node.epsg(), stated)?;
            settled.spherical()?;
            return Ok(settled);
        }
    }
    datum::settled(definition, datum_node.name(), datum_node.epsg(), stated)
}

/// Takes the rounding of decimal texts out of a product.
fn round(v: f64) -> f64 {
    (v * 1e12).round() / 1e12
}

/// Easting and northing, or both towards a pole, are what rasters hold.
pub(super) fn axes(node: &Node) -> Result<(), String> {
    let south_oriented = || {
        let conversion = node.child(&["CONVERSION"]).unwrap_or(node);
        let method = conversion.child(&["METHOD", "PROJECTION"]).and_then(|m| methods::by_wkt(m.name(), m.epsg()));
        method.is_some_and(|m| m.flags == "+axis=wsu")
    };
    let mut towards = node.all("AXIS").filter_map(|a| a.texts.get(1)).map(|t| t.to_ascii_lowercase());
    let (Some(a), Some(b)) = (towards.next(), towards.next()) else { return Ok(()) };
    let away = |t: &str| matches!(t, "west" | "south");
    if a == b || !(away(&a) || away(&b)) || south_oriented() {
        return Ok(());
    }
    Err(format!("its axes run {a} and {b}, not east and north"))
}

fn method(projection: &Node, conversion: &Node, node: &Node) -> Result<&'static Method, String> {
    let name = plain(projection.name());
    let parameter = |n: &str| conversion.all("PARAMETER").find(|p| plain(p.name()) == n).and_then(|p| p.numbers.first()).copied();
    let found = if name == "krovak" || projection.epsg() == Some(9819) {
        // Southing and westing by EPSG's definition; easting and northing where the text says so.
        let east = node.all("AXIS").any(|a| a.texts.get(1).is_some_and(|t| t.eq_ignore_ascii_case("east")));
        if !east && parameter("xscale") != Some(-1.0) {
            return Err("the axes of its Krovak projection run south and west, not east and north".into());
        }
        methods::by_proj("krovak", &[])
    } else {
        methods::by_wkt(&name, projection.epsg())
    };
    found.ok_or_else(|| format!("the projection {} is not computed", projection.name()))
}

fn values(method: &'static Method, conversion: &Node, to_degree: f64, to_meter: f64) -> Result<Vec<(&'static str, f64)>, String> {
    let mut out: Vec<(&'static str, f64)> = Vec::new();
    for p in conversion.all("PARAMETER") {
        let (name, code) = (plain(p.name()), p.epsg());
        let value = *p.numbers.first().ok_or_else(|| format!("the parameter {} of its projection has no value", p.name()))?;
        let fits = |m: &&&methods::Parameter| code.is_some_and(|c| m.epsg.contains(&c)) || m.names.contains(&name.as_str());
        let Some(known) = method.parameters.iter().find(fits) else {
            let harmless = value == 0.0
                || (value == 1.0 && name.contains("scale"))
                // Parts of the projections themselves.
                || method.proj == "krovak"
                // The pole's own latitude, beside that of true scale.
                || (method.flags == "+pole" && value.abs() == 90.0);
            if !harmless {
                return Err(format!("the parameter {} = {value} of its projection is not read", p.name()));
            }
            continue;
        };
        let own = unit(p);
        let value = match known.kind {
            Kind::Angle => {
                own.map_or(value * to_degree, |f| if (f.to_degrees() - 1.0).abs() < 1e-9 { value } else { round((value * f).to_degrees()) })
            }
            Kind::Length => value * own.unwrap_or(to_meter),
            Kind::Scale => value * own.unwrap_or(1.0),
        };
        // ESRI states both the pole and the parallel; the parallel is the one that counts.
        if let Some(old) = out.iter_mut().find(|(k, _)| *k == known.proj) {
            if method.flags == "+pole" && old.1.abs() == 90.0 {
                old.1 = value;
            } else if method.flags != "+pole" || value.abs() != 90.0 {
                return Err(format!("its projection has two values of {}", p.name()));
            }
        } else {
            out.push((known.proj, value));
        }
    }
    Ok(out)
}

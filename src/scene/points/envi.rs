//! `.pts` of ENVI: image-to-map points. The upper left corner of the upper left pixel is (1, 1), and the head must say the projection.

use std::fmt::Write as _;
use std::path::Path;

use super::{ControlPoint, ControlPoints, number};
use crate::scene::crs::Crs;
use crate::scene::error::Result;

const WGS84: &str = "Geographic Lat/Lon, WGS-84, units=Degrees";

/// Zone and whether it is north, of a UTM zone on WGS 84.
fn utm(code: u32) -> Option<(u32, bool)> {
    match code {
        32601..=32660 => Some((code - 32600, true)),
        32701..=32760 => Some((code - 32700, false)),
        _ => None,
    }
}

/// The points that are enabled: ENVI knows no others. Coordinates of systems other than UTM on WGS 84 become longitude and latitude, which ENVI
/// needs no parameters for.
pub(super) fn text(points: &ControlPoints, image: &Path) -> Result<String> {
    let crs = points.named_crs(image)?;
    let zone = crs.epsg().and_then(utm);
    let projection = match zone {
        Some((zone, north)) => format!("UTM, {zone}, {}, WGS-84, units=Meters", if north { "North" } else { "South" }),
        None => WGS84.into(),
    };
    let mut out = format!(
        "; ENVI Image to Map GCP File\n; projection info = {{{projection}}}\n; warp file: {}\n; Map (x,y), Image (x,y)\n;\n",
        image.display()
    );
    for p in points.enabled() {
        let [x, y] = p.map_xy;
        let [x, y] = if zone.is_some() { [x, y] } else { crs.to_lonlat(x, y)?.into() };
        let decimals = if zone.is_some() { 4 } else { 9 };
        let _ = writeln!(out, "{x:18.decimals$} {y:18.decimals$} {:14.4} {:14.4}", p.sar_px[0] + 1.0, p.sar_px[1] + 1.0);
    }
    Ok(out)
}

pub(super) fn read(text: &str) -> std::result::Result<ControlPoints, String> {
    let mut out = ControlPoints::default();
    // Map x, y and then the image's; with a height between them where the head says so.
    let mut columns = [0, 1, 2, 3];
    for (i, line) in text.lines().enumerate().map(|(i, l)| (i + 1, l.trim())) {
        if let Some(remark) = line.strip_prefix(';').map(str::trim) {
            let lower = remark.to_ascii_lowercase();
            if lower.starts_with("envi image to image") {
                return Err("its points tie two images, not an image and map coordinates; an image-to-map file is needed".into());
            }
            if let Some(projection) =
                remark.split_once('{').map(|(_, p)| p.trim_end_matches('}')).filter(|_| lower.starts_with("projection info"))
            {
                out.crs = system(projection).map_err(|e| format!("line {i}: {e}"))?;
            }
            if lower.starts_with("map (x,y,elev)") {
                columns = [0, 1, 3, 4];
            }
            continue;
        }
        let fields: Vec<&str> = line.split([' ', '\t', ',']).filter(|f| !f.is_empty()).collect();
        if fields.is_empty() {
            continue;
        }
        if fields.len() <= columns[3] {
            return Err(format!("line {i}: {} numbers are a point, this has {}", columns[3] + 1, fields.len()));
        }
        let [x, y, column, row] = columns.map(|c| number(fields[c], i));
        out.points.push(ControlPoint { map_xy: [x?, y?], sar_px: [column? - 1.0, row? - 1.0], residual_px: None, enabled: true });
    }
    Ok(out)
}

/// The system of a `projection info`, where it is one that needs no table of ENVI's.
fn system(text: &str) -> std::result::Result<Option<Crs>, String> {
    let words: Vec<String> = text.split(',').map(|w| w.trim().to_ascii_lowercase()).collect();
    let modern = words.iter().any(|w| w == "wgs-84");
    let code = match words[0].as_str() {
        "geographic lat/lon" if modern => 4326,
        "utm" if modern => {
            let zone: u32 = words
                .get(1)
                .and_then(|z| z.parse().ok())
                .filter(|z| (1..=60).contains(z))
                .ok_or("its UTM zone is no number from 1 to 60")?;
            zone + if words.iter().any(|w| w == "south") { 32700 } else { 32600 }
        }
        _ => return Ok(None),
    };
    Crs::from_epsg(code).map(Some).map_err(|e| e.to_string())
}

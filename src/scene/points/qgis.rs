//! `.points` of QGIS's Georeferencer.
//!
//! Since 3.26: a line `#CRS: WKT`, then `mapX,mapY,sourceX,sourceY,enable,dX,dY,residual`; before, `pixelX,pixelY` for the position, and no line of
//! the system before 3.x. A position is in the coordinates of the image as QGIS shows it: of one without a georeference pixels, with y **negative**
//! downwards; of one with a transform that transform's map coordinates. dX, dY are where the transform puts the point less where it is, pixels with y
//! down.

use std::fmt::Write as _;

use super::{ControlPoint, ControlPoints, number, shown};
use crate::scene::crs::Crs;
use crate::scene::georef::GeoTransform;

pub(super) fn text(points: &ControlPoints, geo: Option<&GeoTransform>) -> String {
    let mut out = String::new();
    if let Some(crs) = &points.crs {
        let system = crs.wkt().map_or_else(
            || if crs.epsg().is_some() { crs.definition().into() } else { format!("PROJ:{}", crs.definition()) },
            String::from,
        );
        let _ = writeln!(out, "#CRS: {system}");
    }
    out.push_str("mapX,mapY,sourceX,sourceY,enable,dX,dY,residual\n");
    for p in &points.points {
        let source = geo.map_or([p.sar_px[0], -p.sar_px[1]], |g| g.pixel_to_map(p.sar_px[0], p.sar_px[1]).into());
        let [dx, dy] = p.residual_px.unwrap_or_default();
        let numbers = [p.map_xy[0], p.map_xy[1], source[0], source[1]].map(shown).join(",");
        let _ = writeln!(out, "{numbers},{},{},{},{}", u8::from(p.enabled), shown(dx), shown(dy), shown(dx.hypot(dy)));
    }
    out
}

pub(super) fn read(text: &str, image: Option<(Option<&GeoTransform>, [u32; 2])>) -> Result<ControlPoints, String> {
    let mut out = ControlPoints::default();
    for (i, line) in text.lines().enumerate().map(|(i, l)| (i + 1, l.trim())) {
        if let Some(rest) = line.strip_prefix('#') {
            if let Some(system) = rest.trim().strip_prefix("CRS:").map(str::trim).filter(|s| !s.is_empty()) {
                let plain = ["PROJ:", "PROJ4:", "WKT:"].iter().find_map(|p| system.strip_prefix(p)).unwrap_or(system);
                out.crs = Some(Crs::from_text(plain).map_err(|e| format!("line {i}: {e}"))?);
            }
            continue;
        }
        // The oldest files have tabs, and no heading.
        let fields: Vec<&str> = if line.contains(',') { line.split(',').collect() } else { line.split('\t').collect() };
        if line.is_empty() || fields[0].trim().eq_ignore_ascii_case("mapX") {
            continue;
        }
        if fields.len() < 4 {
            return Err(format!("line {i}: four numbers at least are a point, this has {}", fields.len()));
        }
        let at = |k: usize| number(fields[k], i);
        let residual_px = match fields.len() {
            7.. => Some([at(5)?, at(6)?]).filter(|r| *r != [0.0; 2]),
            _ => None,
        };
        let enabled = fields.get(4).is_none_or(|e| !matches!(e.trim(), "0" | "false"));
        out.points.push(ControlPoint { map_xy: [at(0)?, at(1)?], sar_px: [at(2)?, at(3)?], residual_px, enabled });
    }
    let by_map = match image {
        Some((Some(geo), size)) => {
            // Which of both readings puts more points into the image: files of other programs, and of old QGIS, have pixels all the same.
            let inside = |p: [f64; 2]| (0..2).all(|d| (-1.0..=f64::from(size[d]) + 1.0).contains(&p[d]));
            let by_geo = out.points.iter().filter(|p| inside(geo.map_to_pixel(p.sar_px[0], p.sar_px[1]).into())).count();
            let plain = out.points.iter().filter(|p| inside([p.sar_px[0], p.sar_px[1].abs()])).count();
            (by_geo >= plain && by_geo > 0).then_some(geo)
        }
        _ => None,
    };
    // Rows that count downwards, as some programs write them.
    let down = out.points.iter().all(|p| p.sar_px[1] >= 0.0);
    for p in &mut out.points {
        p.sar_px = match by_map {
            Some(geo) => geo.map_to_pixel(p.sar_px[0], p.sar_px[1]).into(),
            None => [p.sar_px[0], if down { p.sar_px[1] } else { -p.sar_px[1] }],
        };
    }
    Ok(out)
}

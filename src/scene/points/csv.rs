//! Tables of points, as `register` writes them and with other names of columns.

use super::{ControlPoint, ControlPoints, number, shown};
use crate::scene::crs::Crs;

pub(super) fn text(points: &ControlPoints) -> String {
    let mut out = String::from("sar_px_x,sar_px_y,map_x,map_y,residual_sar_px_x,residual_sar_px_y,used\n");
    for p in &points.points {
        let numbers = [p.sar_px[0], p.sar_px[1], p.map_xy[0], p.map_xy[1]].map(shown).join(",");
        let residual = p.residual_px.map_or_else(|| ",".into(), |r| r.map(shown).join(","));
        out.push_str(&format!("{numbers},{residual},{}\n", p.enabled));
    }
    out
}

pub(super) fn read(text: &str) -> Result<ControlPoints, String> {
    // Spreadsheets of some countries separate by semicolons.
    let first = text.lines().next().unwrap_or_default();
    let delimiter = [b',', b';', b'\t'].into_iter().max_by_key(|d| first.bytes().filter(|b| b == d).count()).unwrap_or(b',');
    let mut reader = ::csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).trim(::csv::Trim::All).from_reader(text.as_bytes());
    let head: Vec<String> = reader.headers().map_err(|e| e.to_string())?.iter().map(|h| h.to_ascii_lowercase()).collect();
    let find = |names: &[&str]| names.iter().find_map(|n| head.iter().position(|h| h == n));
    let pair = |pairs: &[[&str; 2]]| pairs.iter().find_map(|[x, y]| Some([find(&[*x])?, find(&[*y])?]));
    let sar = pair(&[
        ["sar_px_x", "sar_px_y"],
        ["pixel", "line"],
        ["pixel_x", "pixel_y"],
        ["column", "row"],
        ["col", "row"],
        ["px", "py"],
        ["image_x", "image_y"],
    ])
    .ok_or("its head names no position in the image: sar_px_x and sar_px_y, pixel and line, or column and row")?;
    // Longitude and latitude say their system themselves.
    let lonlat = pair(&[["lon", "lat"], ["longitude", "latitude"]]);
    let map = lonlat
        .or_else(|| pair(&[["map_x", "map_y"], ["x", "y"], ["easting", "northing"], ["east", "north"]]))
        .ok_or("its head names no place on the map: lon and lat, map_x and map_y, or x and y")?;
    let used = find(&["used", "enable", "enabled"]);
    let crs = lonlat.map(|_| Crs::from_epsg(4326)).transpose().map_err(|e| e.to_string())?;
    let mut points = Vec::new();
    for (i, row) in reader.records().enumerate() {
        let row = row.map_err(|e| e.to_string())?;
        let at = |c: usize| number(row.get(c).unwrap_or_default(), i + 2);
        let enabled = used.is_none_or(|c| !matches!(row.get(c).unwrap_or_default().to_ascii_lowercase().as_str(), "0" | "false" | "no"));
        points.push(ControlPoint { sar_px: [at(sar[0])?, at(sar[1])?], map_xy: [at(map[0])?, at(map[1])?], residual_px: None, enabled });
    }
    Ok(ControlPoints { points, crs })
}

//! GeoJSON: a point each, longitude and latitude of WGS 84, with its position in the image as `sar_px`.

use serde_json::{Value, json};

use super::{ControlPoint, ControlPoints};
use crate::scene::crs::Crs;
use crate::scene::error::{Error, Result};

pub(super) fn text(points: &ControlPoints) -> Result<String> {
    let crs = points.crs.as_ref().ok_or_else(|| Error::argument("points", "GeoJSON needs the system of their coordinates"))?;
    let mut features = Vec::new();
    for p in &points.points {
        let (lon, lat) = crs.to_lonlat(p.map_xy[0], p.map_xy[1])?;
        features.push(json!({
            "type": "Feature", "geometry": { "type": "Point", "coordinates": [lon, lat] },
            "properties": { "sar_px": p.sar_px, "used": p.enabled },
        }));
    }
    Ok(json!({ "type": "FeatureCollection", "features": features }).to_string() + "\n")
}

pub(super) fn read(text: &str) -> std::result::Result<ControlPoints, String> {
    let all: Value = serde_json::from_str(text).map_err(|e| format!("is no JSON ({e})"))?;
    let features = all["features"].as_array().ok_or("is no feature collection of GeoJSON")?;
    let mut points = Vec::new();
    for (i, feature) in features.iter().enumerate() {
        let pair = |v: &Value| Some([v.get(0)?.as_f64()?, v.get(1)?.as_f64()?]);
        let properties = &feature["properties"];
        let sar_px = pair(&properties["sar_px"]).or_else(|| Some([properties["pixel"].as_f64()?, properties["line"].as_f64()?]));
        let map_xy = pair(&feature["geometry"]["coordinates"]).filter(|_| feature["geometry"]["type"] == "Point");
        let (Some(sar_px), Some(map_xy)) = (sar_px, map_xy) else {
            return Err(format!("its feature {} is no point with its position in the image as `sar_px`", i + 1));
        };
        points.push(ControlPoint { sar_px, map_xy, residual_px: None, enabled: properties["used"].as_bool().unwrap_or(true) });
    }
    let crs = Crs::from_epsg(4326).map_err(|e| e.to_string())?;
    Ok(ControlPoints { points, crs: Some(crs) })
}

//! What a file of any kind says about itself.

use crate::index::LoadedModel;
use crate::nn::{BridgeFile, BridgeNetwork, DenseEncoderConfig, DenseFile, DetectorConfig, DetectorFile, Network};
use crate::scene::{Bands, Georeference, MapInfo, Raster};
use crate::{Error, Result};
use memmap2::Mmap;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::path::Path;

/// What to do about a file that says nothing.
const GIVE: &str = "give an image, or a file that `echogrid train` or `echogrid index` wrote";

/// What an image says about itself, and what is doubtful about where it lies; where it has several bands, also which are read of it as a map and as a SAR image.
///
/// # Errors
/// Reading.
pub fn describe_raster(raster: &Raster) -> Result<(Value, Vec<crate::scene::Error>)> {
    let mut doubts = Vec::new();
    let names: Vec<Value> = raster.band_names().iter().map(|(band, name)| json!({ "band": band, "name": name })).collect();
    let lies = match (raster.geo(), raster.control_points()) {
        (Some(_), _) => "by a transform".to_string(),
        (None, 0) => "unknown".into(),
        (None, n) => format!("by {n} ground control points"),
    };
    let mut value = json!({
        "kind": "raster",
        "reader": raster.reader().name(),
        "width": raster.width(),
        "height": raster.height(),
        "bands": raster.bands(),
        "reads": names,
        "type": format!("{:?}", raster.sample_type()).to_lowercase(),
        "no_data": raster.nodata(),
        "fill": raster.fills().iter().map(|f| f.value).collect::<Vec<_>>(),
        "validity": raster.validity(),
        "tile": [raster.chunk_size().0, raster.chunk_size().1],
        "lies": lies,
        "epsg": raster.epsg(),
        "crs": raster.crs().map(|c| c.name()),
        "crs_definition": raster.crs().map(|c| c.definition()),
        "geotransform": raster.geo().map(|g| g.coefficients()),
        "sha256": raster.sha256()?,
    });
    if raster.bands() > 1 {
        for (key, bands) in [("as_map", Bands::Colours), ("as_sar", Bands::Polarisation)] {
            let (bands, doubt) = raster.bands_as(&bands)?;
            value[key] = json!({ "bands": bands, "doubt": doubt });
        }
    }
    match raster.placement() {
        Ok(place) => {
            value["corners_lonlat"] = json!(corners(&place, [raster.width(), raster.height()], &mut doubts));
            value["pixel_m"] = json!(raster.ground_pixel_size().ok());
        }
        Err(e) if raster.geo().is_some() || raster.control_points() > 0 => doubts.push(e),
        Err(_) => {}
    }
    Ok((value, doubts))
}

/// What a model, a checkpoint or a database says about itself; of a database also where its map lies and how large it is on the ground.
///
/// # Errors
/// A file of another kind, or cut short.
pub fn describe_tensors(path: &Path) -> Result<(Value, Vec<crate::scene::Error>)> {
    let mut doubts = Vec::new();
    let bad = |reason: String| Error::file(path, format!("{reason}; {GIVE}"));
    let refused = |verb: &str, e: std::io::Error| Error::io(path, format!("cannot be {verb} ({e}); {GIVE}"), e);
    let file = std::fs::File::open(path).map_err(|e| refused("opened", e))?;
    // SAFETY: the file is only read; one that another process cuts short while it is mapped ends this process, as with
    // any mapped file.
    let data = unsafe { Mmap::map(&file) }.map_err(|e| refused("read", e))?;
    let (_, header) = SafeTensors::read_metadata(&data).map_err(|e| bad(format!("neither an image nor a whole safetensors file ({e})")))?;
    let text = header.metadata().as_ref().and_then(|m| m.get("echogrid")).ok_or_else(|| bad("no echogrid manifest in it".into()))?;
    let mut value: Value = serde_json::from_str(text).map_err(|e| bad(format!("its manifest cannot be read ({e})")))?;
    if !value.is_object() {
        return Err(bad("its manifest is no object".into()));
    }
    let kind = value["kind"].as_str().unwrap_or_default();
    if <DenseEncoderConfig as Network>::KINDS.contains(&kind) {
        value["hash"] = json!(DenseFile::load(path)?.hash());
    } else if <BridgeNetwork as Network>::KINDS.contains(&kind) {
        value["hash"] = json!(BridgeFile::load(path)?.hash());
    } else if <DetectorConfig as Network>::KINDS.contains(&kind) {
        value["hash"] = json!(DetectorFile::load(path)?.hash());
    } else if ["database", "dense database"].contains(&kind) {
        let map: MapInfo = serde_json::from_value(value.clone()).map_err(|e| bad(format!("its map cannot be read ({e})")))?;
        let size = [map.width, map.height];
        match map.placement() {
            Ok(place) => value["corners_lonlat"] = json!(corners(&place, size, &mut doubts)),
            Err(e) => doubts.push(e),
        }
        value["extent_m"] = json!([0, 1].map(|d| (f64::from(size[d]) * map.pixel_m[d] * 10.0).round() / 10.0));
    } else {
        value["hash"] = json!(LoadedModel::load(Some(path))?.hash);
    }
    let tensors: serde_json::Map<String, Value> =
        header.tensors().iter().map(|(name, t)| (name.clone(), json!(format!("{:?} {:?}", t.dtype, t.shape)))).collect();
    value["bytes"] = json!(data.len());
    value["tensors"] = Value::Object(tensors);
    Ok((value, doubts))
}

/// Longitude and latitude of an image's corners, in ring order from its first pixel; none where they cannot be computed, for the reason that is
/// put to the doubts.
fn corners(place: &Georeference, size: [u32; 2], doubts: &mut Vec<crate::scene::Error>) -> [Option<[f64; 2]>; 4] {
    let [w, h] = size.map(f64::from);
    [[0.0, 0.0], [w, 0.0], [w, h], [0.0, h]].map(|p| match place.to_lonlat(p) {
        Ok((lon, lat)) => Some([lon, lat].map(|v| (v * 1e7).round() / 1e7)),
        Err(e) => {
            doubts.push(e);
            None
        }
    })
}

//! A STAC item (1.1, with the projection extension 2.0) for what a registration wrote.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Error, geojson, write_atomically};
use crate::scene::GeoTransform;

/// Media type of the GeoTIFFs that are written.
const COG: &str = "image/tiff; application=geotiff; profile=cloud-optimized";

/// A file of the item.
#[derive(Debug, Clone, Copy)]
pub struct Asset<'a> {
    /// Its name in the item.
    pub key: &'a str,
    /// The file.
    pub path: &'a Path,
    /// What it is for: `data`, `metadata`, `overview`, ...
    pub role: &'a str,
}

/// What an item tells of.
#[derive(Debug, Clone)]
pub struct Item<'a> {
    /// Its name.
    pub id: &'a str,
    /// A sentence.
    pub title: String,
    /// The image that was registered.
    pub source: &'a Path,
    /// Outline of the image on the map, longitude and latitude.
    pub outline: Vec<[f64; 2]>,
    /// EPSG code of the grid, where it has one.
    pub epsg: Option<u32>,
    /// Its transform.
    pub geo: GeoTransform,
    /// Its width and height, px.
    pub size: [u32; 2],
    /// Further properties.
    pub about: Map<String, Value>,
    /// The files, that of the image first.
    pub assets: Vec<Asset<'a>>,
}

/// Media type by a name's end.
fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase().as_str() {
        "tif" | "tiff" => "image/tiff; application=geotiff",
        "csv" => "text/csv",
        "geojson" | "json" => "application/geo+json",
        "html" => "text/html",
        "vrt" => "application/xml",
        _ => "text/plain",
    }
}

/// A link to a file from the folder of another.
fn href(file: &Path, from: &Path) -> String {
    let folder = |p: &Path| std::fs::canonicalize(crate::atomic::folder_of(p));
    match (folder(file), folder(from), file.file_name()) {
        (Ok(a), Ok(b), Some(name)) if a == b => format!("./{}", name.to_string_lossy()),
        (Ok(a), _, Some(name)) => a.join(name).to_string_lossy().into_owned(),
        _ => file.to_string_lossy().into_owned(),
    }
}

/// Times of the kind `20200131T061530` in a name, as RFC 3339.
fn stamps(name: &str) -> Vec<String> {
    let sound = |w: &&str| {
        let b = w.as_bytes();
        let two = |i: usize| w[i..i + 2].parse::<u32>().unwrap_or(99);
        b.len() == 15
            && (b[8] | 32) == b't'
            && (0..15).all(|i| i == 8 || b[i].is_ascii_digit())
            && (1..=12).contains(&two(4))
            && (1..=31).contains(&two(6))
            && two(9) < 24
            && two(11) < 60
            && two(13) < 61
    };
    let all = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(sound);
    all.map(|w| format!("{}-{}-{}T{}:{}:{}Z", &w[..4], &w[4..6], &w[6..8], &w[9..11], &w[11..13], &w[13..])).collect()
}

/// When an image was taken: by the times in its name, as products of most radars have them, else that of the file.
fn times(source: &Path) -> Map<String, Value> {
    let name = source.file_stem().unwrap_or_default().to_string_lossy();
    let found = stamps(&name);
    let mut out = Map::new();
    match &found[..] {
        [start, end, ..] if start <= end => {
            out.extend([("datetime".into(), Value::Null), ("start_datetime".into(), json!(start)), ("end_datetime".into(), json!(end))]);
        }
        [one, ..] => {
            out.insert("datetime".into(), json!(one));
        }
        [] => {
            let modified = std::fs::metadata(source).and_then(|m| m.modified()).ok();
            let seconds = modified.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, |d| d.as_secs() as i64);
            out.insert("datetime".into(), json!(super::utc(seconds)));
            out.insert("echogrid:datetime_of".into(), json!("the file: when the image was taken is not known"));
        }
    }
    out
}

/// The item as JSON, for a file at `path`.
///
/// # Errors
/// [`Error::Position`] for an outline that is no place on Earth.
pub fn item(path: &Path, item: &Item<'_>) -> Result<Value, Error> {
    let (geometry, bbox) = geojson::outline(item.id, &item.outline)?;
    let c = item.geo.coefficients();
    let mut properties = times(item.source);
    properties.extend([
        ("title".into(), json!(item.title)),
        ("proj:code".into(), item.epsg.map_or(Value::Null, |e| json!(format!("EPSG:{e}")))),
        ("proj:shape".into(), json!([item.size[1], item.size[0]])),
        ("proj:transform".into(), json!([c[1], c[2], c[0], c[4], c[5], c[3]])),
    ]);
    properties.extend(item.about.clone());
    let assets: Map<String, Value> = item
        .assets
        .iter()
        .map(|a| {
            let kind = if a.role == "data" { COG } else { media_type(a.path) };
            (a.key.to_string(), json!({ "href": href(a.path, path), "type": kind, "roles": [a.role] }))
        })
        .collect();
    Ok(json!({
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
        "id": item.id,
        "geometry": geometry,
        "bbox": bbox,
        "properties": properties,
        "links": [{ "rel": "via", "href": href(item.source, path), "title": "the image that was registered" }],
        "assets": assets,
    }))
}

/// Writes an item.
///
/// # Errors
/// Those of [`item`], and [`Error::Write`].
pub fn write(path: &Path, what: &Item<'_>) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(&item(path, what)?).map_err(|e| Error::Encode { format: "JSON", problem: e.to_string() })?;
    write_atomically(path, format!("{text}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_from_the_name_or_the_file() {
        let name = "S1A_IW_GRDH_1SDV_20200131T061530_20200131T061555_030000_037000_ABCD.tif";
        let t = times(Path::new(name));
        assert_eq!(
            (&t["datetime"], &t["start_datetime"], &t["end_datetime"]),
            (&Value::Null, &json!("2020-01-31T06:15:30Z"), &json!("2020-01-31T06:15:55Z"))
        );
        assert_eq!(times(Path::new("x_20210203t040506.tif"))["datetime"], "2021-02-03T04:05:06Z");
        assert_eq!(times(Path::new("absent_20211303T040506.tif"))["datetime"], "1970-01-01T00:00:00Z");
        assert_eq!([0, 18_321, 11_016].map(super::super::civil), [(1970, 1, 1), (2020, 2, 29), (2000, 2, 29)]);
    }

    #[test]
    fn an_item_has_what_the_standard_asks_for() {
        let dir = tempfile::tempdir().unwrap();
        let (out, path) = (dir.path().join("a.tif"), dir.path().join("a.json"));
        let what = Item {
            id: "a",
            title: "t".into(),
            source: Path::new("/elsewhere/s_20200131T061530.tif"),
            outline: vec![[1.0, 51.0], [2.0, 51.0], [2.0, 50.0], [1.0, 50.0]],
            epsg: Some(32631),
            geo: GeoTransform::north_up(500_000.0, 5_600_000.0, 10.0, 20.0).unwrap(),
            size: [300, 200],
            about: Map::new(),
            assets: vec![Asset { key: "data", path: &out, role: "data" }],
        };
        write(&path, &what).unwrap();
        let v: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((&v["bbox"], &v["geometry"]["type"]), (&json!([1.0, 50.0, 2.0, 51.0]), &json!("Polygon")));
        assert_eq!(v["properties"]["proj:transform"], json!([10.0, 0.0, 500_000.0, 0.0, -20.0, 5_600_000.0]));
        assert_eq!((&v["properties"]["proj:shape"], &v["properties"]["proj:code"]), (&json!([200, 300]), &json!("EPSG:32631")));
        assert_eq!((&v["assets"]["data"]["href"], &v["assets"]["data"]["type"]), (&json!("./a.tif"), &json!(COG)));
        let bad = Item { outline: vec![[1.0, 95.0]; 4], ..what };
        assert!(item(&path, &bad).is_err());
    }
}

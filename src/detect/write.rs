//! Detections as files: COCO JSON, CSV, GeoJSON.

use std::path::Path;

use ::geojson::{Feature, FeatureCollection};
use serde_json::json;

use super::dataset::{Category, Detection};
use crate::atomic::AtomicFile;
use crate::scene::Georeference;
use crate::scene::outline::{Outline, bbox, no_place, position, round};
use crate::{Error, Result};

/// An image and what was found in it.
#[derive(Debug, Clone, Copy)]
pub struct Detected<'a> {
    /// The image's number in files.
    pub id: u64,
    /// Its name.
    pub file: &'a str,
    /// Where its pixels lie on the ground, where that is known.
    pub place: Option<&'a Georeference>,
    /// What was found.
    pub boxes: &'a [Detection],
}

/// Formats of detections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// COCO's list of results: `.json`. Numbers come back bit by bit.
    Coco,
    /// A table, a row a box: `.csv`.
    Csv,
    /// Polygons in longitude and latitude: `.geojson`.
    GeoJson,
}

impl Format {
    /// By the name's end.
    ///
    /// # Errors
    /// One that is not known; it lists those that are.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase().as_str() {
            "json" => Ok(Self::Coco),
            "csv" => Ok(Self::Csv),
            "geojson" => Ok(Self::GeoJson),
            _ => Err(Error::file(path, "the end of its name says no format of detections; known are .json (COCO), .csv and .geojson")),
        }
    }
}

/// Writes detections in the format that the name's end says.
///
/// # Errors
/// [`Format::of`], those of [`text`], and what the system refuses.
pub fn write(path: &Path, images: &[Detected<'_>], categories: &[Category]) -> Result<()> {
    let text = text(Format::of(path)?, images, categories)?;
    AtomicFile::write(path, text.as_bytes()).map_err(|e| crate::scene::Error::write(path, e))?;
    Ok(())
}

/// Detections as text of a format.
///
/// # Errors
/// For GeoJSON a box outside of its image's projection.
pub fn text(format: Format, images: &[Detected<'_>], categories: &[Category]) -> Result<String> {
    match format {
        Format::Coco => Ok(coco(images, categories)),
        Format::Csv => csv(images, categories),
        Format::GeoJson => geojson(images, categories),
    }
}

fn coco(images: &[Detected<'_>], categories: &[Category]) -> String {
    let entries: Vec<_> = images
        .iter()
        .flat_map(|image| image.boxes.iter().map(move |b| (image.id, b)))
        .map(|(id, b)| json!({ "image_id": id, "category_id": categories[b.category].id, "bbox": b.bbox, "score": b.score }))
        .collect();
    json!(entries).to_string() + "\n"
}

/// Columns of the table. Longitude and latitude are those of the box's middle, empty where the image has no place.
const COLUMNS: [&str; 10] = ["image_id", "file", "category", "score", "x0", "y0", "x1", "y1", "lon", "lat"];

fn csv(images: &[Detected<'_>], categories: &[Category]) -> Result<String> {
    let failed = |e: &dyn std::fmt::Display| Error::invalid(format!("the table of detections cannot be made: {e}"));
    let mut table = ::csv::Writer::from_writer(Vec::new());
    table.write_record(COLUMNS).map_err(|e| failed(&e))?;
    for image in images {
        for b in image.boxes {
            let mut row = vec![image.id.to_string(), image.file.into(), categories[b.category].name.clone(), format!("{:.6}", b.score)];
            row.extend(b.bbox.corners().map(|v| format!("{:.3}", v + 0.0)));
            match image.place {
                Some(place) => row.extend(position(lonlat(image, place, b.bbox.center())?).map(|v| format!("{v:.7}"))),
                None => row.extend([String::new(), String::new()]),
            }
            table.write_record(&row).map_err(|e| failed(&e))?;
        }
    }
    let bytes = table.into_inner().map_err(|e| failed(&e))?;
    String::from_utf8(bytes).map_err(|e| failed(&e))
}

/// A feature a box: the polygon of its corners, or no geometry where the image has no place; pixels and score as properties.
fn geojson(images: &[Detected<'_>], categories: &[Category]) -> Result<String> {
    let (mut features, mut spans, mut lats) = (Vec::new(), Vec::new(), Vec::new());
    for image in images {
        for b in image.boxes {
            let corners = b.bbox.corners();
            let [x0, y0, x1, y1] = corners;
            let properties = json!({
                "image_id": image.id, "file": image.file, "category": categories[b.category].name, "score": round(b.score, 6),
                "bbox_px": corners.map(|v| round(v, 3)),
            });
            let mut feature =
                Feature { bbox: None, geometry: None, id: None, properties: properties.as_object().cloned(), foreign_members: None };
            if let Some(place) = image.place {
                let corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]].map(|p| lonlat(image, place, p));
                let corners = corners.into_iter().collect::<Result<Vec<_>>>()?;
                let outline = Outline::new(&corners, lonlat(image, place, b.bbox.center())?);
                feature.bbox = outline.bbox();
                feature.geometry = Some(outline.geometry);
                spans.extend(outline.spans);
                lats.extend(outline.lats.concat());
            }
            features.push(feature);
        }
    }
    let collection = FeatureCollection { bbox: bbox(&spans, &lats), features, foreign_members: None };
    Ok(collection.to_string() + "\n")
}

fn lonlat(image: &Detected<'_>, place: &Georeference, p: [f64; 2]) -> Result<[f64; 2]> {
    let lonlat: [f64; 2] = place.to_lonlat(p).map_err(|e| Error::file(image.file, e))?.into();
    match no_place(lonlat) {
        None => Ok(lonlat),
        Some(problem) => {
            Err(Error::file(image.file, format!("pixel ({}, {}) lies at {problem}, which is no place; check its georeference", p[0], p[1])))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::boxes::BBox;
    use super::super::{Annotated, Dataset, coco};
    use super::*;
    use crate::scene::{Crs, GeoTransform};
    use ::geojson::{GeoJson, GeometryValue};
    use serde_json::Value;

    fn ship() -> Vec<Category> {
        vec![Category { id: 4, name: "ship, large".into() }]
    }

    fn found(corners: [f64; 4], score: f64) -> Detection {
        Detection { bbox: BBox::from_corners(corners), score, category: 0 }
    }

    #[test]
    fn coco_comes_back_bit_by_bit() {
        let boxes = [found([0.1, 0.2, 1.0 / 3.0, 7.7], 0.1 + 0.2), found([5.0, 5.0, 6.0, 6.0], 1e-17)];
        let images =
            [Detected { id: 9, file: "a.png", place: None, boxes: &boxes }, Detected { id: 2, file: "b.png", place: None, boxes: &[] }];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("found.json");
        write(&path, &images, &ship()).unwrap();
        let image = |id, file: &str| Annotated { id, file: file.into(), width: 10, height: 10, group: None, boxes: vec![] };
        let dataset = Dataset { categories: ship(), images: vec![image(2, "b.png"), image(9, "a.png")] };
        assert_eq!(coco::read_detections(&path, &dataset).unwrap(), [vec![], boxes.to_vec()]);
    }

    #[test]
    fn a_table_has_a_row_a_box_and_places_where_there_are_any() {
        let geo = GeoTransform::north_up(10.0, 50.0, 0.001, 0.001).unwrap();
        let place = Georeference::affine(geo, Crs::from_epsg(4326).unwrap(), [100, 100]);
        let boxes = [found([10.0, 20.0, 30.0, 40.0], 0.5)];
        let images = [
            Detected { id: 1, file: "a.tif", place: Some(&place), boxes: &boxes },
            Detected { id: 2, file: "b.png", place: None, boxes: &boxes },
        ];
        let table = text(Format::Csv, &images, &ship()).unwrap();
        let rows: Vec<&str> = table.lines().collect();
        assert_eq!(rows[0], "image_id,file,category,score,x0,y0,x1,y1,lon,lat");
        assert_eq!(rows[1], "1,a.tif,\"ship, large\",0.500000,10.000,20.000,30.000,40.000,10.0200000,49.9700000");
        assert_eq!(rows[2], "2,b.png,\"ship, large\",0.500000,10.000,20.000,30.000,40.000,,");
        assert_eq!(rows.len(), 3);
    }

    #[test]
    fn polygons_follow_an_image_that_lies_aslant() {
        // A quarter turn: x goes north, y goes east.
        let geo = GeoTransform::new([10.0, 0.0, 0.001, 50.0, 0.001, 0.0]).unwrap();
        let place = Georeference::affine(geo, Crs::from_epsg(4326).unwrap(), [100, 100]);
        let boxes = [found([10.0, 20.0, 30.0, 60.0], 0.25)];
        let images = [
            Detected { id: 1, file: "a.tif", place: Some(&place), boxes: &boxes },
            Detected { id: 2, file: "b.png", place: None, boxes: &boxes },
        ];
        let read = FeatureCollection::try_from(text(Format::GeoJson, &images, &ship()).unwrap().parse::<GeoJson>().unwrap()).unwrap();
        let first = &read.features[0];
        let GeometryValue::Polygon { coordinates } = &first.geometry.as_ref().unwrap().value else { panic!("{first:?}") };
        let mut ring: Vec<[f64; 2]> = coordinates[0].iter().map(|p| [p[0], p[1]]).collect();
        assert_eq!(ring.pop(), ring.first().copied());
        ring.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        assert_eq!(ring, [[10.02, 50.01], [10.02, 50.03], [10.06, 50.01], [10.06, 50.03]]);
        assert_eq!(first.property("bbox_px"), Some(&json!([10.0, 20.0, 30.0, 60.0])));
        assert_eq!((first.property("score"), first.property("category")), (Some(&json!(0.25)), Some(&json!("ship, large"))));
        assert!(read.features[1].geometry.is_none() && read.features[1].property("bbox_px").is_some());
        assert_eq!(read.bbox, Some(vec![10.02, 50.01, 10.06, 50.03]));
    }

    #[test]
    fn formats_go_by_the_name_and_places_off_the_globe_are_refused() {
        assert!(Format::of(Path::new("a.JSON")).is_ok_and(|f| f == Format::Coco));
        let e = Format::of(Path::new("a.txt")).unwrap_err().to_string();
        assert!(e.contains("a.txt: ") && e.contains(".geojson"), "{e}");
        // South up, from a hundredth of a degree below the pole on.
        let geo = GeoTransform::new([10.0, 0.001, 0.0, 89.99, 0.0, 0.001]).unwrap();
        let place = Georeference::affine(geo, Crs::from_epsg(4326).unwrap(), [100, 100]);
        let boxes = [found([10.0, 20.0, 30.0, 40.0], 0.5)];
        let images = [Detected { id: 1, file: "a.tif", place: Some(&place), boxes: &boxes }];
        let e = text(Format::GeoJson, &images, &ship()).unwrap_err().to_string();
        assert!(e.contains("a.tif"), "{e}");
        let nothing: Value = serde_json::from_str(&text(Format::GeoJson, &[], &[]).unwrap()).unwrap();
        assert_eq!(nothing["features"], json!([]));
    }
}

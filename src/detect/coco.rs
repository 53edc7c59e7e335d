//! COCO's JSON: annotated images, and detections (<https://cocodataset.org/#format-data>).
//!
//! Boxes are `[x, y, width, height]` in pixels, (0, 0) the upper left corner of the upper left pixel. Of images `id`, `file_name`, `width`, `height` and
//! `group` (ours: images that hang together) are read, of annotations `id`, `image_id`, `category_id`, `bbox`, `area`, `iscrowd` and `ignore`, of
//! categories `id` and `name`; other keys are passed over.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::boxes::BBox;
use super::dataset::{Annotated, Category, Dataset, Detection, Seen, Truth, bytes_of, inside};
use crate::atomic::AtomicFile;
use crate::{Error, Result};

/// A file of annotations. What may be missing is optional, so that the message names it and the entry.
#[derive(Deserialize)]
struct File {
    images: Option<Vec<ImageEntry>>,
    annotations: Option<Vec<AnnotationEntry>>,
    categories: Option<Vec<CategoryEntry>>,
}

#[derive(Deserialize)]
struct ImageEntry {
    id: Option<u64>,
    file_name: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    #[serde(default)]
    group: Value,
}

#[derive(Deserialize)]
struct AnnotationEntry {
    id: Option<u64>,
    image_id: Option<u64>,
    category_id: Option<u64>,
    bbox: Option<Vec<f64>>,
    area: Option<f64>,
    #[serde(default)]
    iscrowd: Value,
    #[serde(default)]
    ignore: Value,
}

#[derive(Deserialize)]
struct CategoryEntry {
    id: Option<u64>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct DetectionEntry {
    image_id: Option<u64>,
    category_id: Option<u64>,
    bbox: Option<Vec<f64>>,
    score: Option<f64>,
}

/// Reads annotated images. With a folder of images each must be there and have the size that the annotations say.
///
/// # Errors
/// Names the file, and the line and column of what is no JSON, or the image, annotation or category that is wrong, and says what to do.
pub fn read(path: &Path, images: Option<&Path>) -> Result<Dataset> {
    let bytes = bytes_of(path)?;
    if bytes.trim_ascii_start().starts_with(b"[") {
        let reason = "is a list, as files of detections are; annotations are an object with the lists images, annotations and categories";
        return Err(Error::file(path, reason));
    }
    let file: File = parse(path, &bytes)?;
    let dataset = dataset(file).map_err(|reason| Error::file(path, reason))?;
    if let Some(folder) = images {
        dataset.check_images(folder)?;
    }
    Ok(dataset)
}

/// Reads detections in images of a data set, as [`write`](super::write) and other programs write them: a list for each of its images, in the file's order.
///
/// # Errors
/// As [`read`]; an image or category that the data set does not have; a score or coordinate that is no number.
pub fn read_detections(path: &Path, dataset: &Dataset) -> Result<Vec<Vec<Detection>>> {
    let bytes = bytes_of(path)?;
    if !bytes.trim_ascii_start().starts_with(b"[") {
        let reason = "is no list: detections are a list of {image_id, category_id, bbox, score}";
        return Err(Error::file(path, reason));
    }
    let entries: Vec<DetectionEntry> = parse(path, &bytes)?;
    let images: HashMap<u64, usize> = dataset.images.iter().enumerate().map(|(i, image)| (image.id, i)).collect();
    let mut found = vec![Vec::new(); dataset.images.len()];
    for (i, entry) in entries.into_iter().enumerate() {
        let (image, detection) =
            detection(entry, &images, dataset).map_err(|reason| Error::file(path, format!("detection {} of the list: {reason}", i + 1)))?;
        found[image].push(detection);
    }
    Ok(found)
}

/// Writes annotated images.
///
/// # Errors
/// The system refuses to write.
pub fn write(path: &Path, dataset: &Dataset) -> Result<()> {
    AtomicFile::write(path, text(dataset).as_bytes()).map_err(|e| crate::scene::Error::write(path, e))?;
    Ok(())
}

/// Annotated images as text.
pub fn text(dataset: &Dataset) -> String {
    let images: Vec<Value> = dataset
        .images
        .iter()
        .map(|i| {
            let mut entry = json!({ "id": i.id, "file_name": i.file, "width": i.width, "height": i.height });
            if let Some(group) = &i.group {
                entry["group"] = json!(group);
            }
            entry
        })
        .collect();
    let boxes = dataset.images.iter().flat_map(|i| i.boxes.iter().map(move |b| (i.id, b)));
    let annotations: Vec<Value> = boxes
        .map(|(image, b)| {
            let mut entry = json!({
                "id": b.id, "image_id": image, "category_id": dataset.categories[b.category].id, "bbox": b.bbox, "area": b.area,
                "iscrowd": u8::from(b.crowd),
            });
            if b.difficult {
                entry["ignore"] = json!(1);
            }
            entry
        })
        .collect();
    let categories: Vec<Value> = dataset.categories.iter().map(|c| json!({ "id": c.id, "name": c.name })).collect();
    json!({ "images": images, "annotations": annotations, "categories": categories }).to_string() + "\n"
}

/// JSON of a kind; a fault is told by line and column.
fn parse<'a, T: Deserialize<'a>>(path: &Path, bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| {
        let (line, column) = (e.line(), e.column());
        let at = bytes.split(|b| *b == b'\n').nth(line.saturating_sub(1)).unwrap_or_default();
        let near = &at[column.saturating_sub(2).min(at.len())..(column + 8).min(at.len())];
        let all = e.to_string();
        let what = all.split(" at line ").next().unwrap_or_default();
        let what = match ["NaN", "Infinity"].iter().find(|w| near.windows(w.len()).any(|n| n == w.as_bytes())) {
            Some(word) => format!("{word} is no number of JSON"),
            None => what.to_string(),
        };
        Error::file(path, format!("line {line}, column {column}: {what}; correct the file there, or write it again"))
    })
}

fn dataset(file: File) -> Result<Dataset, String> {
    let missing = |list: &str| format!("has no list `{list}`; annotations are an object with the lists images, annotations and categories");
    let images = file.images.ok_or_else(|| missing("images"))?;
    let annotations = file.annotations.ok_or_else(|| missing("annotations"))?;
    let mut categories = categories(file.categories.ok_or_else(|| missing("categories"))?)?;
    categories.sort_by_key(|c| c.id);
    let kinds: HashMap<u64, usize> = categories.iter().enumerate().map(|(i, c)| (c.id, i)).collect();
    let (mut all, mut ids, mut names) = (Vec::<Annotated>::with_capacity(images.len()), Seen::default(), Seen::default());
    for (i, entry) in images.into_iter().enumerate() {
        let image = annotated(entry, i)?;
        if ids.add(image.id, i).is_some() {
            return Err(format!("two images have the id {}; give each its own", image.id));
        }
        if let Some(before) = names.add(image.file.clone(), i) {
            return Err(format!("images {} and {} are both {}; remove one of them", all[before].id, image.id, image.file));
        }
        all.push(image);
    }
    let mut seen = Seen::default();
    for (i, entry) in annotations.into_iter().enumerate() {
        let id = entry.id.ok_or_else(|| format!("annotation {} of the list has no `id`; give it one of its own", i + 1))?;
        if seen.add(id, i).is_some() {
            return Err(format!("two annotations have the id {id}; give each its own"));
        }
        truth(entry, id, &ids, &kinds, &mut all).map_err(|reason| format!("annotation {id}: {reason}"))?;
    }
    Ok(Dataset { categories, images: all })
}

fn categories(entries: Vec<CategoryEntry>) -> Result<Vec<Category>, String> {
    let (mut ids, mut names) = (Seen::default(), Seen::default());
    let mut all = Vec::with_capacity(entries.len());
    for (i, entry) in entries.into_iter().enumerate() {
        let id = entry.id.ok_or_else(|| format!("category {} of the list has no `id`; give it one of its own", i + 1))?;
        let name = entry.name.ok_or_else(|| format!("category {id} has no `name`; give it one"))?;
        if ids.add(id, i).is_some() {
            return Err(format!("two categories have the id {id}; give each its own"));
        }
        if names.add(name.clone(), i).is_some() {
            return Err(format!("two categories have the name {name}; make them one"));
        }
        all.push(Category { id, name });
    }
    Ok(all)
}

fn annotated(entry: ImageEntry, i: usize) -> Result<Annotated, String> {
    let id = entry.id.ok_or_else(|| format!("image {} of the list has no `id`; give it one of its own", i + 1))?;
    let lacks = |key: &str| format!("image {id} has no `{key}`; add it");
    let file = entry.file_name.filter(|f| !f.is_empty()).ok_or_else(|| lacks("file_name"))?;
    let (width, height) = (entry.width.ok_or_else(|| lacks("width"))?, entry.height.ok_or_else(|| lacks("height"))?);
    if width == 0 || height == 0 {
        return Err(format!("image {id} ({file}) is said to be {width}x{height} px, which is no image; correct it"));
    }
    let group = match entry.group {
        Value::Null => None,
        Value::String(name) => Some(name),
        Value::Number(n) => Some(n.to_string()),
        other => return Err(format!("image {id}: its `group` is {other}, neither a number nor a name; correct it")),
    };
    Ok(Annotated { id, file, width, height, group, boxes: Vec::new() })
}

fn truth(entry: AnnotationEntry, id: u64, ids: &Seen<u64>, kinds: &HashMap<u64, usize>, images: &mut [Annotated]) -> Result<(), String> {
    let image = entry.image_id.ok_or("it has no `image_id`; say which image it is of, or remove it")?;
    let image =
        ids.get(&image).ok_or_else(|| format!("it is of image {image}, which is not in the list of images; add that, or remove it"))?;
    let image = &mut images[image];
    let category = entry.category_id.ok_or("it has no `category_id`; say which category it is of")?;
    let category = *kinds.get(&category).ok_or_else(|| unknown_category(category, kinds.keys()))?;
    let bbox =
        inside(four(entry.bbox)?, [image.width, image.height]).map_err(|e| format!("of image {} ({}): {e}", image.id, image.file))?;
    let area = entry.area.unwrap_or_else(|| bbox.area());
    if area <= 0.0 {
        return Err(format!("its `area` is {area}; correct it, or leave it out for that of the box"));
    }
    let crowd = flag(&entry.iscrowd).ok_or_else(|| format!("its `iscrowd` is {}; it must be 0 or 1", entry.iscrowd))?;
    let difficult = flag(&entry.ignore).ok_or_else(|| format!("its `ignore` is {}; it must be 0 or 1", entry.ignore))?;
    image.boxes.push(Truth { id, bbox, category, area, crowd, difficult });
    Ok(())
}

fn detection(entry: DetectionEntry, images: &HashMap<u64, usize>, dataset: &Dataset) -> Result<(usize, Detection), String> {
    let image = entry.image_id.ok_or("it has no `image_id`")?;
    let at = *images
        .get(&image)
        .ok_or_else(|| format!("it is of image {image}, which the annotations do not have; give those it was made for"))?;
    let category = entry.category_id.ok_or("it has no `category_id`")?;
    let ids = dataset.categories.iter().map(|c| &c.id);
    let category = dataset.categories.iter().position(|c| c.id == category).ok_or_else(|| unknown_category(category, ids))?;
    let bbox = four(entry.bbox)?;
    if bbox.width() < 0.0 || bbox.height() < 0.0 {
        return Err(format!("of image {image}: its box is {} px wide and {} px high; correct or remove it", bbox.width(), bbox.height()));
    }
    let score = entry.score.ok_or_else(|| format!("of image {image}: it has no `score`; these look like annotations, not detections"))?;
    Ok((at, Detection { bbox, score, category }))
}

fn unknown_category<'a>(id: u64, known: impl Iterator<Item = &'a u64>) -> String {
    let mut known: Vec<String> = known.map(u64::to_string).collect();
    known.sort();
    format!("it is of category {id}, which is not in the list of categories ({}); add that, or correct it", known.join(", "))
}

fn four(bbox: Option<Vec<f64>>) -> Result<BBox, String> {
    let bbox = bbox.ok_or("it has no `bbox`; give it one, or remove it")?;
    let four: [f64; 4] =
        bbox.try_into().map_err(|b: Vec<f64>| format!("its `bbox` has {} numbers; it takes four: x, y, width, height", b.len()))?;
    Ok(BBox::from_xywh(four))
}

/// 0 or 1, false or true; nothing is false.
fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Null => Some(false),
        Value::Bool(b) => Some(*b),
        Value::Number(n) => match n.as_f64()? {
            0.0 => Some(false),
            1.0 => Some(true),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Value {
        json!({
            "info": {"year": 2020},
            "images": [
                {"id": 7, "file_name": "a/b.png", "width": 100, "height": 50, "group": 3, "license": 1},
                {"id": 3, "file_name": "c.png", "width": 10, "height": 10, "group": "x"},
                {"id": 4, "file_name": "d.png", "width": 10, "height": 10},
            ],
            "annotations": [
                {"id": 1, "image_id": 7, "category_id": 9, "bbox": [1, 2.5, 10, 20], "area": 150, "iscrowd": 1, "segmentation": []},
                {"id": 0, "image_id": 3, "category_id": 2, "bbox": [-0.5, 0, 10.75, 4], "ignore": true},
            ],
            "categories": [{"id": 9, "name": "ship", "supercategory": "vehicle"}, {"id": 2, "name": "tank"}],
        })
    }

    fn read_text(text: &str) -> Result<Dataset> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("truth.json");
        std::fs::write(&path, text).unwrap();
        read(&path, None)
    }

    #[test]
    fn a_sound_file_is_read_and_written_back_the_same() {
        let set = read_text(&sound().to_string()).unwrap();
        let names: Vec<(u64, &str)> = set.categories.iter().map(|c| (c.id, c.name.as_str())).collect();
        assert_eq!(names, [(2, "tank"), (9, "ship")]);
        let heads: Vec<(u64, &str, Option<&str>, usize)> =
            set.images.iter().map(|i| (i.id, i.file.as_str(), i.group.as_deref(), i.boxes.len())).collect();
        assert_eq!(heads, [(7, "a/b.png", Some("3"), 1), (3, "c.png", Some("x"), 1), (4, "d.png", None, 0)]);
        let bbox = BBox::from_xywh([1.0, 2.5, 10.0, 20.0]);
        assert_eq!(set.images[0].boxes, [Truth { id: 1, bbox, category: 1, area: 150.0, crowd: true, difficult: false }]);
        let cut = &set.images[1].boxes[0];
        assert_eq!((cut.bbox.corners(), cut.area, cut.crowd, cut.difficult), ([0.0, 0.0, 10.0, 4.0], 40.0, false, true));
        assert_eq!(set.boxes(), 2);
        assert_eq!(read_text(&text(&set)).unwrap(), set);
    }

    #[test]
    fn every_fault_names_the_entry_and_what_to_do() {
        let faults: [(&str, Value, &[&str]); 24] = [
            ("/images/0/id", Value::Null, &["image 1 of the list has no `id`"]),
            ("/images/0/id", json!(3), &["two images have the id 3"]),
            ("/images/0/file_name", json!("c.png"), &["images 7 and 3 are both c.png"]),
            ("/images/1/file_name", Value::Null, &["image 3 has no `file_name`"]),
            ("/images/1/width", Value::Null, &["image 3 has no `width`"]),
            ("/images/1/height", json!(0), &["image 3 (c.png)", "10x0"]),
            ("/images/1/height", json!(-4), &["line 1, column", "-4"]),
            ("/images/1/group", json!([1]), &["image 3: its `group` is [1]"]),
            ("/annotations/1/id", Value::Null, &["annotation 2 of the list has no `id`"]),
            ("/annotations/1/id", json!(1), &["two annotations have the id 1"]),
            ("/annotations/0/image_id", json!(8), &["annotation 1: it is of image 8, which is not in the list"]),
            ("/annotations/0/image_id", Value::Null, &["annotation 1: it has no `image_id`"]),
            ("/annotations/0/category_id", json!(1), &["annotation 1: it is of category 1", "(2, 9)"]),
            ("/annotations/0/bbox", Value::Null, &["annotation 1: it has no `bbox`"]),
            ("/annotations/0/bbox", json!([1, 2, 3]), &["annotation 1: its `bbox` has 3 numbers"]),
            ("/annotations/0/bbox", json!([1, 2, 3, 0]), &["annotation 1: of image 7 (a/b.png)", "3 px wide and 0 px high"]),
            ("/annotations/0/bbox", json!([1, 2, -3, 5]), &["annotation 1: of image 7 (a/b.png)", "-3 px wide"]),
            ("/annotations/0/bbox", json!([1, 45, 3, 8]), &["annotation 1: of image 7 (a/b.png)", "3 px beyond its image of 100x50 px"]),
            ("/annotations/0/area", json!(0), &["annotation 1: its `area` is 0"]),
            ("/annotations/0/iscrowd", json!(2), &["annotation 1: its `iscrowd` is 2"]),
            ("/annotations/1/ignore", json!("no"), &["annotation 0: its `ignore` is \"no\""]),
            ("/categories/0/id", json!(2), &["two categories have the id 2"]),
            ("/categories/0/name", json!("tank"), &["two categories have the name tank"]),
            ("/annotations", Value::Null, &["no list `annotations`"]),
        ];
        for (at, value, words) in faults {
            let mut file = sound();
            *file.pointer_mut(at).unwrap() = value;
            let e = read_text(&file.to_string()).unwrap_err().to_string();
            assert!(e.contains("truth.json: ") && words.iter().all(|w| e.contains(w)), "{at}: {e}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_by_line_and_column() {
        let broken = "{\n \"images\": [],\n \"annotations\": [}\n}";
        let e = read_text(broken).unwrap_err().to_string();
        assert!(e.contains("truth.json: line 3, column 18: ") && e.contains("correct the file there"), "{e}");
        for (nan, word) in [("NaN", "NaN"), ("-Infinity", "Infinity")] {
            let text = format!("{{\"images\": [],\n\"annotations\": [{{\"id\": 1, \"bbox\": [1, {nan}, 3, 4]}}]}}");
            let e = read_text(&text).unwrap_err().to_string();
            assert!(e.contains("line 2, column ") && e.contains(&format!("{word} is no number of JSON")), "{e}");
        }
        let e = read_text("[{\"image_id\": 1}]").unwrap_err().to_string();
        assert!(e.contains("as files of detections are"), "{e}");
        assert!(read_text("").unwrap_err().to_string().contains("line 1, column 0"));
        let e = read(Path::new("no/such.json"), None).unwrap_err();
        assert_eq!(e.io_kind(), Some(std::io::ErrorKind::NotFound));
    }

    #[test]
    fn detections_are_read_image_by_image_and_faults_are_named() {
        let set = read_text(&sound().to_string()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("found.json");
        let read = |value: Value| {
            std::fs::write(&path, value.to_string()).unwrap();
            read_detections(&path, &set)
        };
        let one = json!({"image_id": 3, "category_id": 9, "bbox": [1, 2, 3, 4], "score": 0.25});
        let with = |key: &str, value: Value| {
            let mut entry = one.clone();
            entry[key] = value;
            entry
        };
        let found = read(json!([one, with("image_id", json!(7)), with("score", json!(0.5))])).unwrap();
        let bbox = BBox::from_xywh([1.0, 2.0, 3.0, 4.0]);
        let of = |score| Detection { bbox, score, category: 1 };
        assert_eq!(found, [vec![of(0.25)], vec![of(0.25), of(0.5)], vec![]]);
        for (key, value, words) in [
            ("image_id", json!(99), "detection 2 of the list: it is of image 99"),
            ("category_id", json!(1), "detection 2 of the list: it is of category 1"),
            ("bbox", json!([1, 2, -1, 4]), "of image 3: its box is -1 px wide"),
            ("score", Value::Null, "of image 3: it has no `score`"),
        ] {
            let e = read(json!([one, with(key, value)])).unwrap_err().to_string();
            assert!(e.contains("found.json: ") && e.contains(words), "{e}");
        }
        assert!(read(sound()).unwrap_err().to_string().contains("is no list"));
    }
}

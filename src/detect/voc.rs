//! Pascal VOC's XML: a file an image, or a folder of them (Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010).
//!
//! VOC's own files count pixels from 1 and name the last one inside, so a box from `xmin` to `xmax` begins at the edge `xmin - 1`; they say so by a
//! `source/database` that names VOC. Tools that write the format for other data write the edges themselves, and are read as they are.

use std::collections::BTreeSet;
use std::path::Path;

use roxmltree::{Document, Node};

use super::boxes::BBox;
use super::dataset::{Annotated, Category, Dataset, Seen, Truth, bytes_of, files_in, image_size, inside};
use crate::{Error, Result};

/// Ends of images' names, for files that leave them out.
const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "tif", "tiff", "JPG", "PNG", "TIF"];

/// What a file says.
struct Entry {
    file: String,
    /// None where it says nothing; the image must tell.
    size: Option<[u32; 2]>,
    objects: Vec<Object>,
}

struct Object {
    name: String,
    /// Edges: x0, y0, x1, y1.
    corners: [f64; 4],
    difficult: bool,
    line: u32,
}

/// Reads annotated images of a file or of all files `.xml` in a folder. Images and categories are numbered from 1 by name. With a folder of images each must be
/// there and have the size that its annotations say.
///
/// # Errors
/// Names the file and the line that is wrong, and says what to do.
pub fn read(path: &Path, images: Option<&Path>) -> Result<Dataset> {
    let files = if path.is_dir() { files_in(path, "xml")? } else { vec![path.to_path_buf()] };
    if files.is_empty() {
        return Err(Error::file(path, "holds no .xml file; name the folder of the annotations"));
    }
    let mut entries = Vec::with_capacity(files.len());
    for file in &files {
        entries.push(entry(file)?);
    }
    let names: BTreeSet<&str> = entries.iter().flat_map(|e| &e.objects).map(|o| o.name.as_str()).collect();
    let categories: Vec<Category> = names.iter().zip(1..).map(|(name, id)| Category { id, name: (*name).into() }).collect();
    let (mut all, mut seen, mut next) = (Vec::with_capacity(entries.len()), Seen::default(), 0);
    for (i, (path, entry)) in files.iter().zip(&entries).enumerate() {
        let file = images.map_or_else(|| entry.file.clone(), |folder| image_name(folder, path, &entry.file));
        if let Some(before) = seen.add(file.clone(), i) {
            return Err(Error::file(path, format!("is of image {file}, as {} is; remove one of them", files[before].display())));
        }
        let [width, height] = match (entry.size, images) {
            (Some(size), _) => size,
            (None, Some(folder)) => image_size(&folder.join(&file))?,
            (None, None) => {
                return Err(Error::file(
                    path,
                    "says no size (size/width and size/height) of its image; add it, or name the folder of images",
                ));
            }
        };
        let mut boxes = Vec::with_capacity(entry.objects.len());
        for object in &entry.objects {
            next += 1;
            let bbox = inside(BBox::from_corners(object.corners), [width, height])
                .map_err(|e| Error::file(path, format!("line {}: object {} ({}): {e}", object.line, boxes.len() + 1, object.name)))?;
            let category = categories.iter().position(|c| c.name == object.name).unwrap_or_default();
            boxes.push(Truth { id: next, bbox, category, area: bbox.area(), crowd: false, difficult: object.difficult });
        }
        all.push(Annotated { id: i as u64 + 1, file, width, height, group: None, boxes });
    }
    let dataset = Dataset { categories, images: all };
    if let Some(folder) = images {
        dataset.check_images(folder)?;
    }
    Ok(dataset)
}

/// The image's name in a folder: as the file has it, with an end that it left out, or the file's own.
fn image_name(folder: &Path, xml: &Path, said: &str) -> String {
    let stem = xml.file_stem().unwrap_or_default().to_string_lossy();
    let bare = [said, &stem].into_iter().flat_map(|name| EXTENSIONS.iter().map(move |e| format!("{name}.{e}")));
    [said.to_string()].into_iter().chain(bare).find(|name| folder.join(name).is_file()).unwrap_or_else(|| said.into())
}

fn entry(path: &Path) -> Result<Entry> {
    let bytes = bytes_of(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        let line = 1 + bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count();
        Error::file(path, format!("line {line}: is no UTF-8; save the file as UTF-8"))
    })?;
    let document = Document::parse(text.trim_start_matches('\u{feff}')).map_err(|e| {
        let at = e.pos();
        Error::file(path, format!("line {}, column {}: is no XML ({e}); correct the file there, or write it again", at.row, at.col))
    })?;
    of_document(path, &document).map_err(|(line, reason)| Error::file(path, format!("line {line}: {reason}")))
}

type Fault = (u32, String);

fn of_document(path: &Path, document: &Document<'_>) -> Result<Entry, Fault> {
    let line = |node: Node<'_, '_>| document.text_pos_at(node.range().start).row;
    let root = document.root_element();
    if !root.has_tag_name("annotation") {
        let reason = format!("its root is <{}>, not <annotation>: this is no annotation of Pascal VOC; remove it", root.tag_name().name());
        return Err((line(root), reason));
    }
    let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let file = child(root, "filename").map(text_of).filter(|f| !f.is_empty()).unwrap_or_else(stem);
    let size = child(root, "size").map(|size| {
        let mut sides = [0; 2];
        for (side, name) in sides.iter_mut().zip(["width", "height"]) {
            let node = child(size, name).ok_or_else(|| (line(size), format!("its size has no {name}; add it")))?;
            let text = text_of(node);
            *side = text.parse().map_err(|_| (line(node), format!("`{text}` is no {name} of an image; correct it")))?;
        }
        // Some tools write zeros where they did not look.
        Ok::<_, Fault>((sides[0] > 0 && sides[1] > 0).then_some(sides))
    });
    let size = size.transpose()?.flatten();
    let database = child(root, "source").and_then(|s| child(s, "database")).map(text_of).unwrap_or_default();
    let first = if database.to_ascii_uppercase().contains("VOC") { 1.0 } else { 0.0 };
    let objects = root.children().filter(|n| n.has_tag_name("object"));
    let objects = objects.map(|node| object(node, first, &line)).collect::<Result<_, _>>()?;
    Ok(Entry { file, size, objects })
}

fn object(node: Node<'_, '_>, first: f64, line: &dyn Fn(Node<'_, '_>) -> u32) -> Result<Object, Fault> {
    let at = line(node);
    let name = child(node, "name")
        .map(text_of)
        .filter(|n| !n.is_empty())
        .ok_or_else(|| (at, "an object without <name>; give it one".to_string()))?;
    let bndbox = child(node, "bndbox").ok_or_else(|| {
        (at, format!("object {name} has no <bndbox>; boxes that lie aslant are not read: give the upright box about them"))
    })?;
    let mut ends = [0.0; 4];
    for (end, key) in ends.iter_mut().zip(["xmin", "ymin", "xmax", "ymax"]) {
        let node =
            child(bndbox, key).ok_or_else(|| (line(bndbox), format!("the box of {name} has no <{key}>; add it, or remove the object")))?;
        let text = text_of(node);
        *end = text.parse().map_err(|_| (line(node), format!("`{text}`, the {key} of {name}, is no number; correct it")))?;
    }
    let [x0, y0, x1, y1] = ends;
    if x1 <= x0 || y1 <= y0 {
        let reason = format!("the box of {name} from ({x0}, {y0}) to ({x1}, {y1}) has no area; correct or remove it");
        return Err((line(bndbox), reason));
    }
    let difficult = match child(node, "difficult").map(text_of).unwrap_or_default().as_str() {
        "" | "0" | "false" => false,
        "1" | "true" => true,
        other => return Err((at, format!("object {name} has the <difficult> `{other}`; it must be 0 or 1"))),
    };
    Ok(Object { name, corners: [x0 - first, y0 - first, x1, y1], difficult, line: line(bndbox) })
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|n| n.has_tag_name(name))
}

fn text_of(node: Node<'_, '_>) -> String {
    node.text().unwrap_or_default().trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "<annotation>
  <folder>x</folder><filename>b.png</filename>
  <source><database>Unknown</database></source>
  <size><width>40</width><height>30</height><depth>1</depth></size>
  <object><name>ship</name><pose>Unspecified</pose><truncated>0</truncated><difficult>1</difficult>
    <bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>11</xmax><ymax>30</ymax></bndbox>
  </object>
  <object><name>buoy</name><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>5</xmax><ymax>6</ymax></bndbox></object>
</annotation>
";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn a_folder_is_read_by_name() {
        let empty = "\u{feff}<annotation><filename>a</filename><size><width>7</width><height>8</height></size></annotation>";
        let dir = folder(&[("b.xml", SOUND), ("a.xml", empty), ("notes.txt", "no XML")]);
        let set = read(dir.path(), None).unwrap();
        let names: Vec<(u64, &str)> = set.categories.iter().map(|c| (c.id, c.name.as_str())).collect();
        assert_eq!(names, [(1, "buoy"), (2, "ship")]);
        let heads: Vec<(u64, &str, u32, usize)> = set.images.iter().map(|i| (i.id, i.file.as_str(), i.width, i.boxes.len())).collect();
        assert_eq!(heads, [(1, "a", 7, 0), (2, "b.png", 40, 2)]);
        let ship = &set.images[1].boxes[0];
        assert_eq!((ship.id, ship.category, ship.bbox.corners(), ship.area), (1, 1, [1.0, 2.5, 11.0, 30.0], 275.0));
        assert!(ship.difficult && !ship.crowd && !set.images[1].boxes[1].difficult);
        assert_eq!(read(&dir.path().join("b.xml"), None).unwrap().boxes(), 2);
    }

    #[test]
    fn files_of_voc_itself_count_from_one() {
        let dir = folder(&[("b.xml", &SOUND.replace("Unknown", "The VOC2007 Database"))]);
        let set = read(dir.path(), None).unwrap();
        assert_eq!(set.images[0].boxes[1].bbox.corners(), [2.0, 2.0, 5.0, 6.0]);
    }

    #[test]
    fn images_are_found_by_their_bare_names_and_tell_their_size() {
        let bare = SOUND.replace("b.png", "000001").replace("<width>40</width><height>30</height>", "<width>0</width><height>0</height>");
        let dir = folder(&[("000001.xml", &bare)]);
        let e = read(dir.path(), None).unwrap_err().to_string();
        assert!(e.contains("000001.xml: says no size"), "{e}");
        let e = read(dir.path(), Some(dir.path())).unwrap_err().to_string();
        assert!(e.contains("000001: ") && e.contains("not there"), "{e}");
        image::save_buffer(dir.path().join("000001.jpg"), &[9; 1200], 40, 30, image::ColorType::L8).unwrap();
        let image = &read(dir.path(), Some(dir.path())).unwrap().images[0];
        assert_eq!((image.file.as_str(), image.width, image.height), ("000001.jpg", 40, 30));
    }

    #[test]
    fn every_fault_names_file_and_line() {
        for (from, to, words) in [
            ("</bndbox>\n", "\n", "line 7, column"),
            ("<xmax>11</xmax>", "<xmax>1</xmax>", "line 6: the box of ship from (1, 2.5) to (1, 30) has no area"),
            ("<xmax>11</xmax>", "<xmax>-4</xmax>", "line 6: the box of ship"),
            ("<xmax>11</xmax>", "<xmax>43</xmax>", "line 6: object 1 (ship): its box from (1, 2.5) to (43, 30) reaches 3 px beyond"),
            ("<xmax>11</xmax>", "<xmax>wide</xmax>", "line 6: `wide`, the xmax of ship, is no number"),
            ("<xmax>11</xmax>", "<xmax>NaN</xmax>", "line 6: object 1 (ship): its box (1, 2.5, NaN wide"),
            ("<xmax>11</xmax>", "", "line 6: the box of ship has no <xmax>"),
            ("<name>ship</name>", "", "line 5: an object without <name>"),
            ("<difficult>1<", "<difficult>7<", "line 5: object ship has the <difficult> `7`"),
            ("<bndbox><xmin>3", "<robndbox/><box><xmin>3", "line 8, column"),
            ("<width>40", "<width>forty", "line 4: `forty` is no width"),
            ("<width>40</width>", "", "line 4: its size has no width"),
        ] {
            let dir = folder(&[("b.xml", &SOUND.replacen(from, to, 1))]);
            let e = read(dir.path(), None).unwrap_err().to_string();
            assert!(e.contains("b.xml: ") && e.contains(words), "{from} -> {to}: {e}");
        }
        let turned = SOUND.replace("bndbox", "robndbox");
        let dir = folder(&[("b.xml", turned.as_str()), ("c.xml", "<html/>")]);
        assert!(read(dir.path(), None).unwrap_err().to_string().contains("line 5: object ship has no <bndbox>"));
        assert!(read(&dir.path().join("c.xml"), None).unwrap_err().to_string().contains("line 1: its root is <html>"));
        let dir = folder(&[("b.xml", SOUND), ("c.xml", SOUND)]);
        let e = read(dir.path(), None).unwrap_err().to_string();
        assert!(e.contains("c.xml: is of image b.png, as ") && e.contains("b.xml is"), "{e}");
        let e = read(tempfile::tempdir().unwrap().path(), None).unwrap_err().to_string();
        assert!(e.contains("holds no .xml"), "{e}");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("d.xml"), b"<annotation>\n<name>\xff</name></annotation>").unwrap();
        assert!(read(dir.path(), None).unwrap_err().to_string().contains("d.xml: line 2: is no UTF-8"));
    }
}

//! Images with boxes: what every format of annotations is read into.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use image::{ImageFormat, ImageReader};
use rayon::prelude::*;

use super::boxes::BBox;
use crate::scene::Raster;
use crate::{Error, Result};

/// A box may reach so many pixels beyond its image, by rounding of who wrote it; that much is cut off.
pub const TOLERANCE_PX: f64 = 1.0;

/// A kind of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// Its number in files.
    pub id: u64,
    /// Its name.
    pub name: String,
}

/// A box of the ground truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// Its number in files.
    pub id: u64,
    /// The box, pixels of its image.
    pub bbox: BBox,
    /// Position of its category in [`Dataset::categories`].
    pub category: usize,
    /// Area of the object, square pixels; that of the box where nothing else is said.
    pub area: f64,
    /// Whether it is about many objects that are not told apart (COCO's `iscrowd`): neither found nor missed by COCO's measures.
    pub crowd: bool,
    /// Whether it is not to be counted (VOC's `difficult`, COCO's `ignore`): neither found nor missed by VOC's measures. pycocotools does not look at
    /// `ignore`, so COCO's measures do not either.
    pub difficult: bool,
}

/// An image and its boxes.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotated {
    /// Its number in files.
    pub id: u64,
    /// Its name, relative to the folder of images.
    pub file: String,
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
    /// Images of one group hang together, as crops that share pixels: splits and intervals take them together.
    pub group: Option<String>,
    /// The boxes; there may be none.
    pub boxes: Vec<Truth>,
}

/// Images with boxes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dataset {
    /// The kinds of objects, by their numbers.
    pub categories: Vec<Category>,
    /// The images, as the file lists them.
    pub images: Vec<Annotated>,
}

/// A box that was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The box, pixels of its image.
    pub bbox: BBox,
    /// How sure the detector is; greater is surer.
    pub score: f64,
    /// Position of its category in [`Dataset::categories`].
    pub category: usize,
}

impl Dataset {
    /// Number of boxes.
    pub fn boxes(&self) -> usize {
        self.images.iter().map(|i| i.boxes.len()).sum()
    }

    /// Holds the images against their files: each must be there, and of the size that the annotations say.
    ///
    /// # Errors
    /// Names the first file that is missing, does not read, or has another size.
    pub fn check_images(&self, folder: &Path) -> Result<()> {
        self.images.par_iter().try_for_each(|image| {
            let path = folder.join(&image.file);
            let [width, height] = image_size(&path)?;
            if [width, height] == [image.width, image.height] {
                return Ok(());
            }
            Err(Error::file(
                path,
                format!(
                    "is {width}x{height} px, but the annotations say {}x{} of image {}: it is another file of that name, or was resized; \
                     correct the annotations or the image",
                    image.width, image.height, image.id
                ),
            ))
        })
    }
}

/// Width and height of an image file, by its head where that will do.
///
/// # Errors
/// It is not there, or no image that is read.
pub(super) fn image_size(path: &Path) -> Result<[u32; 2]> {
    if !path.is_file() {
        return Err(Error::file(
            path,
            "the annotations name this image, but it is not there; check the folder of images, or leave it out of them",
        ));
    }
    if let Ok(reader) = ImageReader::open(path).and_then(ImageReader::with_guessed_format)
        && matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg))
        && let Ok((width, height)) = reader.into_dimensions()
    {
        return Ok([width, height]);
    }
    let raster = Raster::open(path)?;
    Ok([raster.width(), raster.height()])
}

/// Holds a box against its image of so many pixels, and cuts off what is within [`TOLERANCE_PX`].
///
/// # Errors
/// In words, to follow the name of the box.
pub(super) fn inside(bbox: BBox, [width, height]: [u32; 2]) -> Result<BBox, String> {
    let [x, y, w, h] = bbox.xywh();
    if ![x, y, w, h].iter().all(|v| v.is_finite()) {
        return Err(format!("its box ({x}, {y}, {w} wide, {h} high) has a coordinate that is no number; correct or remove it"));
    }
    if w <= 0.0 || h <= 0.0 {
        return Err(format!("its box at ({x}, {y}) is {w} px wide and {h} px high, which is no area; correct or remove it"));
    }
    let [x0, y0, x1, y1] = bbox.corners();
    let beyond = [-x0, -y0, x1 - f64::from(width), y1 - f64::from(height)].into_iter().fold(f64::NEG_INFINITY, f64::max);
    let outside = || {
        format!(
            "its box from ({x0}, {y0}) to ({x1}, {y1}) reaches {beyond} px beyond its image of {width}x{height} px ({TOLERANCE_PX} px is cut off, not \
             more); correct or remove it"
        )
    };
    if beyond > TOLERANCE_PX {
        return Err(outside());
    }
    bbox.clip([width, height].map(f64::from)).ok_or_else(outside)
}

/// What has one of these numbers or names so far; says which was there before.
#[derive(Default)]
pub(super) struct Seen<K>(HashMap<K, usize>);

impl<K: std::hash::Hash + Eq> Seen<K> {
    /// Adds what stands at `at`; gives where the same key stood before.
    pub(super) fn add(&mut self, key: K, at: usize) -> Option<usize> {
        self.0.insert(key, at)
    }

    /// Where a key stands.
    pub(super) fn get(&self, key: &K) -> Option<usize> {
        self.0.get(key).copied()
    }
}

/// The bytes of a file.
pub(super) fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    Ok(std::fs::read(path).map_err(|e| crate::scene::Error::read(path, e))?)
}

/// The files of a folder with this extension, by name.
pub(super) fn files_in(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|e| crate::scene::Error::read(folder, e))?;
    let mut all: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))).collect();
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_beyond_the_image_is_cut_off_and_more_is_refused() {
        let cut = inside(BBox::from_corners([-1.0, 0.0, 10.5, 8.0]), [10, 8]).unwrap();
        assert_eq!(cut.corners(), [0.0, 0.0, 10.0, 8.0]);
        for (bbox, words) in [
            ([-1.5, 0.0, 5.0, 5.0], "reaches 1.5 px beyond its image of 10x8"),
            ([0.0, 0.0, 5.0, 9.5], "reaches 1.5 px"),
            ([10.0, 0.0, 11.0, 5.0], "beyond"),
            ([3.0, 3.0, 3.0, 5.0], "0 px wide"),
            ([3.0, 5.0, 4.0, 3.0], "-2 px high"),
            ([3.0, f64::NAN, 4.0, 3.0], "no number"),
        ] {
            let e = inside(BBox::from_corners(bbox), [10, 8]).unwrap_err();
            assert!(e.contains(words) && e.contains("correct or remove it"), "{e}");
        }
    }

    #[test]
    fn images_are_held_against_their_files() {
        let dir = tempfile::tempdir().unwrap();
        image::save_buffer(dir.path().join("a.png"), &[7; 12], 4, 3, image::ColorType::L8).unwrap();
        let image = |file: &str, width| Annotated { id: 5, file: file.into(), width, height: 3, group: None, boxes: vec![] };
        let check = |image| Dataset { categories: vec![], images: vec![image] }.check_images(dir.path());
        check(image("a.png", 4)).unwrap();
        let e = check(image("a.png", 5)).unwrap_err().to_string();
        assert!(e.contains("a.png: is 4x3 px") && e.contains("5x3 of image 5"), "{e}");
        let e = check(image("b.png", 4)).unwrap_err().to_string();
        assert!(e.contains("b.png: ") && e.contains("not there"), "{e}");
        std::fs::write(dir.path().join("c.png"), "no image").unwrap();
        let e = check(image("c.png", 4)).unwrap_err().to_string();
        assert!(e.contains("c.png: is not a TIFF, PNG or JPEG"), "{e}");
    }
}

//! Drawn images of ships with their boxes, where there are no data: for a demo, tests and a first try.

use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use rayon::prelude::*;

use super::boxes::BBox;
use super::coco;
use super::dataset::{Annotated, Category, Dataset, Truth};
use crate::atomic::AtomicFile;
use crate::random::stream;
use crate::scene::synth::{ShipConfig, ships};
use crate::{Error, Result};

/// Name of the folder of images in a written data set.
pub const IMAGES: &str = "images";
/// Name of the file of annotations in a written data set.
pub const ANNOTATIONS: &str = "annotations.json";

/// A data set and the pixels of its images: 8-bit amplitudes, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// The boxes.
    pub dataset: Dataset,
    /// An image each.
    pub pixels: Vec<Vec<u8>>,
}

/// Draws `count` images of `size` x `size` pixels, by turns of the open sea and of a port, of 3 to 8 m a pixel and with calm or rough sea. The same
/// seed gives the same images on any machine.
pub fn draw(count: u32, size: u32, seed: u64) -> Drawn {
    let scene = |i: u32| {
        let bits = stream(seed, u64::from(i));
        let config = ShipConfig {
            seed: bits,
            size,
            pixel_m: 3.0 + (bits >> 32) as f64 / f64::from(u32::MAX) * 5.0,
            port: i % 2 == 1,
            ships: 1 + (bits >> 8) as u32 % 7,
            looks: 1 + (bits >> 16) as u32 % 4,
            ..ShipConfig::default()
        };
        ships(&config)
    };
    let scenes: Vec<_> = (0..count).into_par_iter().map(scene).collect();
    let (mut images, mut pixels, mut next) = (Vec::new(), Vec::new(), 0);
    for (id, scene) in (1..).zip(scenes) {
        let truth = |corners: &[f64; 4]| {
            next += 1;
            // Hundredths of a pixel are enough, and read better.
            let bbox = BBox::from_corners(corners.map(|v| (v * 100.0).round() / 100.0));
            Truth { id: next, bbox, category: 0, area: bbox.area(), crowd: false, difficult: false }
        };
        let boxes = scene.boxes.iter().map(truth).collect();
        images.push(Annotated { id, file: format!("{id:06}.png"), width: scene.width, height: scene.height, group: None, boxes });
        pixels.push(scene.sar);
    }
    Drawn { dataset: Dataset { categories: vec![Category { id: 1, name: "ship".into() }], images }, pixels }
}

impl Drawn {
    /// Writes [`IMAGES`] as PNG and [`ANNOTATIONS`] as COCO JSON into a folder, which is made where it is missing.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let images = folder.join(IMAGES);
        std::fs::create_dir_all(&images).map_err(|e| Error::io(&images, format!("this folder cannot be made ({e}); name another"), e))?;
        for (image, pixels) in self.dataset.images.iter().zip(&self.pixels) {
            let (path, mut png) = (images.join(&image.file), Vec::new());
            let encoded = PngEncoder::new(&mut png).write_image(pixels, image.width, image.height, ExtendedColorType::L8);
            encoded.map_err(|e| Error::file(&path, format!("cannot be made a PNG: {e}")))?;
            AtomicFile::write(&path, &png).map_err(|e| crate::scene::Error::write(&path, e))?;
        }
        coco::write(&folder.join(ANNOTATIONS), &self.dataset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_with_its_images() {
        let drawn = draw(4, 120, 3);
        assert!(drawn.dataset.images.len() == 4 && drawn.dataset.boxes() >= 4, "{:?}", drawn.dataset);
        assert_ne!(drawn, draw(4, 120, 4));
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("new");
        drawn.write(&folder).unwrap();
        let read = coco::read(&folder.join(ANNOTATIONS), Some(&folder.join(IMAGES))).unwrap();
        // Sizes are differences of corners, which JSON keeps.
        assert_eq!(read, drawn.dataset);
        let first = image::open(folder.join(IMAGES).join("000001.png")).unwrap().into_luma8();
        assert_eq!(first.into_raw(), drawn.pixels[0]);
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(drawn.write(&dir.path().join("file")).unwrap_err().to_string().contains("folder cannot be made"));
    }
}

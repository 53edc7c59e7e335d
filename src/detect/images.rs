//! A data set with its images open.

use super::dataset::Dataset;
use super::{coco, voc};
use crate::container;
use crate::nn::SceneRecord;
use crate::scene::{Image, OpenOptions, SarUnit};
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Annotated images, open.
#[derive(Debug)]
pub struct AnnotatedImages {
    /// What is annotated.
    pub dataset: Dataset,
    /// The file it is from.
    pub annotations: PathBuf,
    /// The images, in the data set's order.
    pub images: Vec<Arc<Image>>,
}

impl AnnotatedImages {
    /// Reads annotations (COCO JSON; a folder of VOC XML, or one such file) and opens their images in a folder.
    ///
    /// # Errors
    /// Annotations that are wrong, images that are missing, of another size, or cannot be read; no image.
    pub fn open(folder: &Path, annotations: &Path, options: &OpenOptions, unit: Option<SarUnit>) -> Result<Self> {
        let is_voc = annotations.is_dir() || annotations.extension().is_some_and(|e| e.eq_ignore_ascii_case("xml"));
        let dataset = if is_voc { voc::read(annotations, Some(folder))? } else { coco::read(annotations, Some(folder))? };
        if dataset.images.is_empty() {
            return Err(Error::file(annotations, "names no image"));
        }
        let open = |file: &String| Ok(Arc::new(Image::open_sar(&folder.join(file), unit, options.clone())?));
        let images = dataset.images.par_iter().map(|i| open(&i.file)).collect::<Result<Vec<_>>>()?;
        Ok(Self { dataset, annotations: annotations.into(), images })
    }

    /// Refuses categories that are not a network's classes: their numbers would mean other things.
    ///
    /// # Errors
    /// Both lists.
    pub fn check_classes(&self, classes: &[String]) -> Result<()> {
        let names: Vec<&String> = self.dataset.categories.iter().map(|c| &c.name).collect();
        match names.iter().copied().eq(classes) {
            true => Ok(()),
            false => Err(Error::file(
                &self.annotations,
                format!("has the categories {names:?}, the detector the classes {classes:?}; both must name the same in the same order"),
            )),
        }
    }

    /// What is doubtful about the images, each said once.
    pub fn warnings(&self) -> BTreeSet<&str> {
        self.images.iter().flat_map(|i| i.raster.warnings()).map(String::as_str).collect()
    }

    /// What a model's manifest says of them: the annotations in the place of a scene's map, the images in that of its SAR image.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn record(&self) -> Result<SceneRecord> {
        // Also how they are read: other values are other images.
        let one = |i: &Arc<Image>| Ok(i.raster.sha256()? + &serde_json::to_string(&i.standardisation).unwrap_or_default());
        let each = self.images.par_iter().map(one).collect::<Result<Vec<String>>>()?;
        let name = |p: &Path| p.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(SceneRecord {
            map: name(&self.annotations),
            sar: format!("{} images", self.images.len()),
            map_sha256: container::sha256(coco::text(&self.dataset)),
            sar_sha256: container::sha256(each.concat()),
            map_standardisation: serde_json::Value::Null,
            sar_standardisation: serde_json::Value::Null,
        })
    }
}

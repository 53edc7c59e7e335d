//! A data set with its images open.

use super::coco;
use super::dataset::Dataset;
use crate::nn::SceneRecord;
use crate::scene::{Image, OpenOptions, SarUnit};
use crate::{Error, Result};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
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
    /// Reads annotations (COCO JSON) and opens their images in a folder.
    ///
    /// # Errors
    /// Annotations that are wrong, images that are missing, of another size, or cannot be read; no image.
    pub fn open(folder: &Path, annotations: &Path, options: &OpenOptions, unit: Option<SarUnit>) -> Result<Self> {
        let dataset = coco::read(annotations, Some(folder))?;
        if dataset.images.is_empty() {
            return Err(Error::file(annotations, "names no image"));
        }
        let open = |file: &String| Ok(Arc::new(Image::open_sar(&folder.join(file), unit, options.clone())?));
        let images = dataset.images.par_iter().map(|i| open(&i.file)).collect::<Result<Vec<_>>>()?;
        Ok(Self { dataset, annotations: annotations.into(), images })
    }

    /// What a model's manifest says of them: the annotations in the place of a scene's map, the images in that of its SAR image.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn record(&self) -> Result<SceneRecord> {
        let hex = |hash: Sha256| hash.finalize().iter().map(|b| format!("{b:02x}")).collect::<String>();
        let annotations = std::fs::read(&self.annotations).map_err(|e| Error::io(&self.annotations, e.to_string(), e))?;
        let each = self.images.par_iter().map(|i| Ok(i.raster.sha256()?)).collect::<Result<Vec<String>>>()?;
        let name = |p: &Path| p.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(SceneRecord {
            map: name(&self.annotations),
            sar: format!("{} images", self.images.len()),
            map_sha256: hex(Sha256::new_with_prefix(annotations)),
            sar_sha256: hex(Sha256::new_with_prefix(each.concat())),
            map_standardisation: serde_json::Value::Null,
            sar_standardisation: serde_json::Value::Null,
        })
    }
}

//! Average precision: as COCO has it (pycocotools 2.0.11), as VOC 2007 and VOC 2012 have it, and the whole area under the curve.
//!
//! [`coco()`] matches as COCO does, [`voc()`] as VOC; both give a [`Curve`] of precision over recall for each category, whose area is taken at 101 points,
//! at 11, or whole. Detections are given a list for each image of the data set, in any order; of equal scores the one given first counts as
//! surer, and of several images the one with the lower id.

mod coco;
mod curve;
mod groups;
#[cfg(test)]
mod tests;
mod verdicts;
mod voc;

pub use coco::{CocoFigures, IOU_THRESHOLDS, MAX_DETECTIONS, all_points, coco};
pub use curve::Curve;
pub use groups::{Measure, interval, paired_interval};
pub use verdicts::Verdicts;
pub use voc::{VocFigures, voc};

use super::dataset::{Dataset, Detection};
use crate::{Error, Result};

/// Refuses lists that do not belong to the data set.
fn check(dataset: &Dataset, detections: &[Vec<Detection>]) -> Result<()> {
    if detections.len() != dataset.images.len() {
        let (lists, images) = (detections.len(), dataset.images.len());
        return Err(Error::invalid(format!(
            "{lists} lists of detections for {images} images; give one for each image, if need be an empty one"
        )));
    }
    for (image, found) in dataset.images.iter().zip(detections) {
        if let Some(d) = found.iter().find(|d| d.category >= dataset.categories.len()) {
            let (known, id) = (dataset.categories.len(), image.id);
            return Err(Error::invalid(format!(
                "a detection in image {id} is of category {} of {known}; categories count from 0",
                d.category
            )));
        }
        if found.iter().any(|d| !d.score.is_finite() || !d.bbox.xywh().iter().all(|v| v.is_finite())) {
            return Err(Error::invalid(format!(
                "a detection in image {} has a score or a box that is no number; it is the detector's fault",
                image.id
            )));
        }
    }
    Ok(())
}

/// Positions of the images by their ids, which is the order in which COCO and we go through them.
fn by_id(dataset: &Dataset) -> Vec<usize> {
    let mut order: Vec<usize> = (0..dataset.images.len()).collect();
    order.sort_by_key(|i| dataset.images[*i].id);
    order
}

/// The mean of what is known.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, count) = values.flatten().fold((0.0, 0), |(sum, count), v| (sum + v, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

//! VOC's measures, as its development kit takes them (Everingham et al., IJCV 2010; `VOCevaldet.m`).

use serde::Serialize;

use super::verdicts::{Image, Verdicts};
use super::{by_id, check, mean};
use crate::Result;
use crate::detect::dataset::{Dataset, Detection, Truth};

/// VOC's average precision, mean over the categories that have a box; none where there is no box.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct VocFigures {
    /// At eleven recalls, as VOC 2007.
    pub ap_voc07: Option<f64>,
    /// The whole area under the envelope, as VOC 2010 to 2012.
    pub ap_voc12: Option<f64>,
}

/// VOC's average precision of detections, a list for each image of the data set, at an IoU, for VOC 0.5.
///
/// A detection is held against the box with which it overlaps most, whether a surer one found that before or not: then it is false. Difficult boxes and crowds do
/// not count, nor does what overlaps most with one of them. Boxes are areas of the plane, without the added pixel of VOC's own kit.
///
/// # Errors
/// Lists that do not belong to the data set.
pub fn voc(dataset: &Dataset, detections: &[Vec<Detection>], iou: f64) -> Result<VocFigures> {
    check(dataset, detections)?;
    let curves: Vec<_> = verdicts(dataset, detections, iou).iter().map(Verdicts::curve).collect();
    Ok(VocFigures {
        ap_voc07: mean(curves.iter().map(|c| Some(c.as_ref()?.eleven_points()))),
        ap_voc12: mean(curves.iter().map(|c| Some(c.as_ref()?.all_points()))),
    })
}

/// For each category, what became of its detections.
pub(super) fn verdicts(dataset: &Dataset, detections: &[Vec<Detection>], iou: f64) -> Vec<Verdicts> {
    let order = by_id(dataset);
    let image = |at: usize, category: usize| {
        let truths: Vec<&Truth> = dataset.images[at].boxes.iter().filter(|b| b.category == category).collect();
        let mut found: Vec<&Detection> = detections[at].iter().filter(|d| d.category == category).collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        (at, judge(&truths, &found, iou))
    };
    (0..dataset.categories.len()).map(|c| Verdicts::new(dataset.images.len(), order.iter().map(|at| image(*at, c)))).collect()
}

fn judge(truths: &[&Truth], found: &[&Detection], iou: f64) -> Image {
    let counts = |t: &Truth| !t.difficult && !t.crowd;
    let mut taken = vec![false; truths.len()];
    let outcome = |d: &&Detection| {
        let mut best = (0, f64::NEG_INFINITY);
        for (i, t) in truths.iter().enumerate() {
            let overlap = d.bbox.iou(&t.bbox);
            // Of equal overlaps the first.
            if overlap > best.1 {
                best = (i, overlap);
            }
        }
        let (i, overlap) = best;
        let hit = match overlap >= iou {
            true if !counts(truths[i]) => None,
            true => Some(!std::mem::replace(&mut taken[i], true)),
            false => Some(false),
        };
        (d.score, hit)
    };
    let outcomes = found.iter().map(outcome).collect();
    Image { outcomes, positives: truths.iter().filter(|t| counts(t)).count() }
}

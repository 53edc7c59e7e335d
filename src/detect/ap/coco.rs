//! COCO's measures, by the conventions of pycocotools 2.0.11 (`cocoeval.py`, boxes).

use rayon::prelude::*;
use serde::Serialize;

use super::verdicts::{Image, Verdicts};
use super::{by_id, check, mean};
use crate::Result;
use crate::detect::dataset::{Dataset, Detection, Truth};

/// Detections of a category in an image that count, the surest first.
pub const MAX_DETECTIONS: usize = 100;

/// The overlaps at which a detection finds a box: 0.5, 0.55, ... 0.95, as numpy's `linspace` has them.
pub const IOU_THRESHOLDS: [f64; 10] = {
    let step = (0.95 - 0.5) / 9.0;
    let mut all = [0.5; 10];
    let mut i = 1;
    while i < 9 {
        all[i] = 0.5 + i as f64 * step;
        i += 1;
    }
    all[9] = 0.95;
    all
};

/// Areas of all objects, square pixels.
pub(super) const EVERY_AREA: [f64; 2] = [0.0, 1e10];

/// Areas of all, small, medium and large objects, both ends inside.
const AREAS: [[f64; 2]; 4] = [EVERY_AREA, [0.0, 1024.0], [1024.0, 9216.0], [9216.0, 1e10]];

/// COCO's twelve figures; none where the data set has no box of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CocoFigures {
    /// Average precision: the mean over IoU 0.5 to 0.95 and over the categories.
    pub ap: Option<f64>,
    /// At IoU 0.5.
    pub ap50: Option<f64>,
    /// At IoU 0.75.
    pub ap75: Option<f64>,
    /// Of objects up to 32 x 32 square pixels.
    pub ap_small: Option<f64>,
    /// Of objects from there to 96 x 96.
    pub ap_medium: Option<f64>,
    /// Of larger ones.
    pub ap_large: Option<f64>,
    /// Average recall, over the same overlaps, by one detection an image and category.
    pub ar_1: Option<f64>,
    /// By ten.
    pub ar_10: Option<f64>,
    /// By as many as count, a hundred unless told.
    pub ar: Option<f64>,
    /// The same of small objects.
    pub ar_small: Option<f64>,
    /// Of medium ones.
    pub ar_medium: Option<f64>,
    /// Of large ones.
    pub ar_large: Option<f64>,
}

impl CocoFigures {
    /// In pycocotools' order, with its -1 for what is not known.
    pub fn twelve(&self) -> [f64; 12] {
        let precisions = [self.ap, self.ap50, self.ap75, self.ap_small, self.ap_medium, self.ap_large];
        let recalls = [self.ar_1, self.ar_10, self.ar, self.ar_small, self.ar_medium, self.ar_large];
        let mut all = precisions.into_iter().chain(recalls);
        [0; 12].map(|_| all.next().flatten().unwrap_or(-1.0))
    }
}

/// COCO's twelve figures of detections, a list for each image of the data set, of which the `max_detections` surest of each category count.
///
/// A detection finds the box with which it overlaps most among those that no surer one found; boxes to be ignored, which are crowds and those outside of
/// the range of areas, only where there is no other. Crowds may be found again and again, and the overlap with them is over the detection's area. What
/// found a box to be ignored, or none and is itself outside of the range of areas, does not count. (pycocotools takes a box with the id 0 as
/// not found, and other figures than 100 detections for its first figure as unknown; we do not.)
///
/// # Errors
/// Lists that do not belong to the data set.
pub fn coco(dataset: &Dataset, detections: &[Vec<Detection>], max_detections: usize) -> Result<CocoFigures> {
    check(dataset, detections)?;
    let thresholds: Vec<(f64, [f64; 2])> = AREAS.iter().flat_map(|a| IOU_THRESHOLDS.iter().map(move |t| (*t, *a))).collect();
    let all = verdicts(dataset, detections, &thresholds, max_detections);
    let precision: Vec<Vec<Option<f64>>> =
        all.par_iter().map(|kinds| kinds.iter().map(|v| v.curve().map(|c| c.hundred_one_points())).collect()).collect();
    let n = IOU_THRESHOLDS.len();
    let ap = |columns: std::ops::Range<usize>| mean(precision.iter().flat_map(|kinds| &kinds[columns.clone()]).copied());
    let ar = |area: usize, most: usize| mean(all.iter().flat_map(|kinds| &kinds[area * n..(area + 1) * n]).map(|v| v.recall(most)));
    Ok(CocoFigures {
        ap: ap(0..n),
        ap50: ap(0..1),
        ap75: ap(5..6),
        ap_small: ap(n..2 * n),
        ap_medium: ap(2 * n..3 * n),
        ap_large: ap(3 * n..4 * n),
        ar_1: ar(0, 1),
        ar_10: ar(0, 10),
        ar: ar(0, max_detections),
        ar_small: ar(1, max_detections),
        ar_medium: ar(2, max_detections),
        ar_large: ar(3, max_detections),
    })
}

/// The whole area under the envelope at one IoU, matched as COCO does, mean over the categories that have a box.
///
/// # Errors
/// Lists that do not belong to the data set.
pub fn all_points(dataset: &Dataset, detections: &[Vec<Detection>], iou: f64, max_detections: usize) -> Result<Option<f64>> {
    check(dataset, detections)?;
    let all = verdicts(dataset, detections, &[(iou, EVERY_AREA)], max_detections);
    Ok(mean(all.iter().map(|kinds| Some(kinds[0].curve()?.all_points()))))
}

/// For each category, what became of its detections at each overlap and range of areas.
pub(super) fn verdicts(
    dataset: &Dataset,
    detections: &[Vec<Detection>],
    thresholds: &[(f64, [f64; 2])],
    max_detections: usize,
) -> Vec<Vec<Verdicts>> {
    let order = by_id(dataset);
    let of_category = |category: usize| {
        let images: Vec<(usize, Vec<Image>)> = order
            .par_iter()
            .map(|&at| {
                let truths: Vec<&Truth> = dataset.images[at].boxes.iter().filter(|b| b.category == category).collect();
                let mut found: Vec<&Detection> = detections[at].iter().filter(|d| d.category == category).collect();
                found.sort_by(|a, b| b.score.total_cmp(&a.score));
                found.truncate(max_detections);
                (at, judge(&truths, &found, thresholds))
            })
            .collect();
        let column = |i: usize| images.iter().map(move |(at, kinds)| (*at, kinds[i].clone()));
        (0..thresholds.len()).map(|i| Verdicts::new(dataset.images.len(), column(i))).collect()
    };
    (0..dataset.categories.len()).map(of_category).collect()
}

/// `evaluateImg`: one image and category, at each overlap and range of areas.
fn judge(truths: &[&Truth], found: &[&Detection], thresholds: &[(f64, [f64; 2])]) -> Vec<Image> {
    let overlaps: Vec<Vec<f64>> = found
        .iter()
        .map(|d| truths.iter().map(|t| if t.crowd { d.bbox.share_in(&t.bbox) } else { d.bbox.iou(&t.bbox) }).collect())
        .collect();
    let outside = |area: f64, [least, most]: [f64; 2]| area < least || area > most;
    let at = |&(threshold, range): &(f64, [f64; 2])| {
        let ignored: Vec<bool> = truths.iter().map(|t| t.crowd || outside(t.area, range)).collect();
        // Those to be ignored last, else in the file's order.
        let mut order: Vec<usize> = (0..truths.len()).collect();
        order.sort_by_key(|i| ignored[*i]);
        let mut taken = vec![false; truths.len()];
        let outcome = |(d, overlaps): (&&Detection, &Vec<f64>)| {
            let (mut best, mut overlap) = (None, threshold.min(1.0 - 1e-10));
            for &t in &order {
                if taken[t] && !truths[t].crowd {
                    continue;
                }
                // From here on all are to be ignored, and one is found that is not.
                if best.is_some_and(|b: usize| !ignored[b]) && ignored[t] {
                    break;
                }
                // Of equal overlaps the last.
                if overlaps[t] >= overlap {
                    (best, overlap) = (Some(t), overlaps[t]);
                }
            }
            let hit = match best {
                Some(t) => {
                    taken[t] = true;
                    (!ignored[t]).then_some(true)
                }
                None => (!outside(d.bbox.area(), range)).then_some(false),
            };
            (d.score, hit)
        };
        let outcomes = found.iter().zip(&overlaps).map(outcome).collect();
        Image { outcomes, positives: ignored.iter().filter(|i| !**i).count() }
    };
    thresholds.iter().map(at).collect()
}

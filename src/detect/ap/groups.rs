//! Intervals over groups of images.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::verdicts::Verdicts;
use super::{IOU_THRESHOLDS, check, coco, mean, voc};
use crate::detect::dataset::{Dataset, Detection};
use crate::eval::metrics::{Estimate, RESAMPLES, percentiles};
use crate::random::Random;
use crate::{Error, Result};

/// A figure that an interval is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// [`all_points`](super::all_points) at this IoU.
    AllPoints(f64),
    /// COCO's average precision over IoU 0.5 to 0.95.
    Coco,
    /// COCO's average precision at IoU 0.5.
    Coco50,
    /// VOC 2007's, at IoU 0.5.
    Voc07,
    /// VOC 2012's, at IoU 0.5.
    Voc12,
}

/// A figure of detections with its 95 % percentile bootstrap interval over groups: groups are drawn again with replacement
/// [`RESAMPLES`] times (Efron and Tibshirani 1993, ch. 13), because images of a group share pixels. An image without a group is one of its own.
///
/// # Errors
/// Lists that do not belong to the data set, fewer than two groups, no box to be found.
pub fn interval(dataset: &Dataset, detections: &[Vec<Detection>], measure: Measure, max_detections: usize, seed: u64) -> Result<Estimate> {
    check(dataset, detections)?;
    let groups = groups(dataset);
    let count = groups.iter().max().map_or(0, |g| g + 1);
    if count < 2 {
        return Err(Error::invalid("an interval over groups needs two groups of images; give more images, or go without"));
    }
    let verdicts = of(dataset, detections, measure, max_detections);
    let figure = |weights: &[f64]| {
        let area = |v: &Verdicts| {
            let curve = v.weighted_curve(|image| weights[groups[image]])?;
            Some(match measure {
                Measure::AllPoints(_) | Measure::Voc12 => curve.all_points(),
                Measure::Coco | Measure::Coco50 => curve.hundred_one_points(),
                Measure::Voc07 => curve.eleven_points(),
            })
        };
        mean(verdicts.iter().map(area))
    };
    let value = figure(&vec![1.0; count]).ok_or_else(|| Error::invalid("there is no box to be found; average precision needs one"))?;
    let draws: Vec<f64> = (0..RESAMPLES as u64)
        .into_par_iter()
        .filter_map(|i| {
            let (mut random, mut weights) = (Random::new(seed, i), vec![0.0; count]);
            for _ in 0..count {
                weights[random.below(count)] += 1.0;
            }
            figure(&weights)
        })
        .collect();
    Ok(Estimate { value, ci95: percentiles(draws, value) })
}

/// The number of each image's group, from 0.
fn groups(dataset: &Dataset) -> Vec<usize> {
    let (mut numbers, mut next) = (BTreeMap::new(), 0);
    let mut new = || {
        next += 1;
        next - 1
    };
    let of = |group: &Option<String>| match group {
        Some(name) => *numbers.entry(name.clone()).or_insert_with(&mut new),
        None => new(),
    };
    dataset.images.iter().map(|i| &i.group).map(of).collect()
}

/// What the measure is the mean over: categories, and overlaps where it goes over several.
fn of(dataset: &Dataset, detections: &[Vec<Detection>], measure: Measure, max_detections: usize) -> Vec<Verdicts> {
    let thresholds = match measure {
        Measure::Voc07 | Measure::Voc12 => return voc::verdicts(dataset, detections, 0.5),
        Measure::AllPoints(iou) => vec![(iou, coco::EVERY_AREA)],
        Measure::Coco50 => vec![(0.5, coco::EVERY_AREA)],
        Measure::Coco => IOU_THRESHOLDS.iter().map(|t| (*t, coco::EVERY_AREA)).collect(),
    };
    coco::verdicts(dataset, detections, &thresholds, max_detections).into_iter().flatten().collect()
}

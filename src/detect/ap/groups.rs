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
    let groups = Groups::of(dataset)?;
    let weighed = Weighed::new(dataset, detections, measure, max_detections)?;
    let value = weighed.figure(&groups, &groups.once()).ok_or_else(nothing)?;
    let draw = |i| weighed.figure(&groups, &groups.drawn(&mut Random::new(seed, i)));
    let draws: Vec<f64> = (0..RESAMPLES as u64).into_par_iter().filter_map(draw).collect();
    Ok(Estimate { value, ci95: percentiles(draws, value) })
}

/// By how much b's figure is above a's, the mean over training seeds, of which both have the same: each a list of detections an image. The 95 % interval is a two-level
/// bootstrap's (Davison and Hinkley 1997, ch. 3.8): seeds are drawn again with replacement, then groups, the same ones for a and b.
///
/// # Errors
/// Those of [`interval`]; no seed, or not as many on both sides.
pub fn paired_interval(
    dataset: &Dataset,
    [a, b]: [&[Vec<Vec<Detection>>]; 2],
    measure: Measure,
    max_detections: usize,
    seed: u64,
) -> Result<Estimate> {
    if a.is_empty() || a.len() != b.len() {
        return Err(Error::invalid(format!(
            "{} and {} runs do not pair: as many seeds are needed on both sides, and one at least",
            a.len(),
            b.len()
        )));
    }
    let groups = Groups::of(dataset)?;
    let weigh =
        |all: &[Vec<Vec<Detection>>]| all.iter().map(|d| Weighed::new(dataset, d, measure, max_detections)).collect::<Result<Vec<_>>>();
    let (a, b) = (weigh(a)?, weigh(b)?);
    let difference = |seeds: &[usize], weights: &[f64]| {
        let of = |i: &usize| Some(b[*i].figure(&groups, weights)? - a[*i].figure(&groups, weights)?);
        mean(seeds.iter().map(of))
    };
    let all: Vec<usize> = (0..a.len()).collect();
    let value = difference(&all, &groups.once()).ok_or_else(nothing)?;
    let draw = |i| {
        let mut random = Random::new(seed, i);
        let seeds: Vec<usize> = all.iter().map(|_| random.below(all.len())).collect();
        difference(&seeds, &groups.drawn(&mut random))
    };
    let draws: Vec<f64> = (0..RESAMPLES as u64).into_par_iter().filter_map(draw).collect();
    Ok(Estimate { value, ci95: percentiles(draws, value) })
}

fn nothing() -> Error {
    Error::invalid("there is no box to be found; average precision needs one")
}

/// Groups of images that are drawn as one.
struct Groups {
    /// Of each image.
    of: Vec<usize>,
    count: usize,
}

impl Groups {
    fn of(dataset: &Dataset) -> Result<Self> {
        let of = groups(dataset);
        let count = of.iter().max().map_or(0, |g| g + 1);
        match count {
            0 | 1 => Err(Error::invalid("an interval over groups needs two groups of images; give more images, or go without")),
            _ => Ok(Self { of, count }),
        }
    }

    /// Weights of each as it is.
    fn once(&self) -> Vec<f64> {
        vec![1.0; self.count]
    }

    /// Weights of as many, drawn with replacement.
    fn drawn(&self, random: &mut Random) -> Vec<f64> {
        let mut weights = vec![0.0; self.count];
        (0..self.count).for_each(|_| weights[random.below(self.count)] += 1.0);
        weights
    }
}

/// Detections, judged, whose groups may weigh differently.
struct Weighed {
    verdicts: Vec<Verdicts>,
    measure: Measure,
}

impl Weighed {
    fn new(dataset: &Dataset, detections: &[Vec<Detection>], measure: Measure, max_detections: usize) -> Result<Self> {
        check(dataset, detections)?;
        Ok(Self { verdicts: of(dataset, detections, measure, max_detections), measure })
    }

    fn figure(&self, groups: &Groups, weights: &[f64]) -> Option<f64> {
        let area = |v: &Verdicts| {
            let curve = v.weighted_curve(|image| weights[groups.of[image]])?;
            Some(match self.measure {
                Measure::AllPoints(_) | Measure::Voc12 => curve.all_points(),
                Measure::Coco | Measure::Coco50 => curve.hundred_one_points(),
                Measure::Voc07 => curve.eleven_points(),
            })
        };
        mean(self.verdicts.iter().map(area))
    }
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

//! Sizes of anchors: by k-means under 1 - IoU (Redmon and Farhadi, "YOLO9000", CVPR 2017, section 2), or the same shapes at every scale (Lin et al., "Feature pyramid networks", 2017,
//! section 4.1).

use super::dataset::Dataset;
use super::letterbox::Letterbox;
use crate::random::Random;
use crate::{Error, Result};

/// Starts that are tried; the best is kept.
const STARTS: u64 = 30;
/// Most rounds of a start. Medians need not settle: they might go round in a circle.
const ROUNDS: usize = 300;
/// Width over height of a pyramid's anchors, as published.
const ASPECTS: [f64; 3] = [0.5, 1.0, 2.0];
/// Sides of a pyramid's first anchors that are tried: powers of two by this part of an exponent, from 1 px up.
const SIDE_STEP: f64 = 0.125;
/// Powers of two of the greatest of them.
const SIDE_OCTAVES: f64 = 10.0;

/// Sizes for boxes to start from.
#[derive(Debug, Clone, PartialEq)]
pub struct Anchors {
    /// Width and height, pixels, by area.
    pub sizes: Vec<[f64; 2]>,
    /// Mean over the boxes of the IoU with the anchor that fits best, both about one middle.
    pub mean_iou: f64,
}

/// IoU of two sizes about one middle.
pub fn size_iou(a: [f64; 2], b: [f64; 2]) -> f64 {
    let shared = a[0].min(b[0]) * a[1].min(b[1]);
    shared / (a[0] * a[1] + b[0] * b[1] - shared)
}

/// Widths and heights of a data set's boxes, crowds left out, in images that are letterboxed to a square of `side` pixels.
pub fn letterboxed_sizes(dataset: &Dataset, side: u32) -> Vec<[f64; 2]> {
    let boxes = dataset.images.iter().flat_map(|i| {
        let letterbox = Letterbox::new([i.width, i.height], side);
        i.boxes.iter().filter(|b| !b.crowd).map(move |b| letterbox.apply(&b.bbox))
    });
    boxes.map(|b| [b.width(), b.height()]).collect()
}

/// `count` anchors for boxes of these sizes: k-means under 1 - IoU, where a middle is the median width and height of its boxes (on SSDD nine such fit by 0.725,
/// of means by 0.707), from the best of thirty starts by k-means++ (Arthur and Vassilvitskii 2007). A middle that loses its boxes moves to the box that is fitted worst. The same seed gives the same anchors.
///
/// # Errors
/// Fewer different sizes than anchors, or one that is no size.
pub fn anchors(sizes: &[[f64; 2]], count: usize, seed: u64) -> Result<Anchors> {
    check(sizes)?;
    let mut different = sizes.to_vec();
    different.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    different.dedup();
    if count == 0 || different.len() < count {
        let n = different.len();
        return Err(Error::invalid(format!(
            "{count} anchors are wanted of {n} different sizes of boxes; ask for 1 to {n}, or give more boxes"
        )));
    }
    let all = (0..STARTS).map(|start| {
        let mut random = Random::new(seed, start);
        settle(sizes, plus_plus(sizes, count, &mut random))
    });
    // Of equal ones the first.
    let best = all.reduce(|best, next| if next.mean_iou > best.mean_iou { next } else { best });
    let mut best = best.ok_or_else(|| Error::invalid("no anchors"))?;
    best.sizes.sort_by(|a, b| (a[0] * a[1]).total_cmp(&(b[0] * b[1])).then(a[0].total_cmp(&b[0])));
    Ok(best)
}

/// Anchors for maps that each have twice the stride of the one before and share what reads them, so that those of one place in the list must mean one shape: of each map three, half as
/// wide as high, square and twice as wide, of twice the side of the map before; of the first the side that fits boxes of these sizes best.
///
/// # Errors
/// No size, or one that is none; no map.
pub fn pyramid(sizes: &[[f64; 2]], maps: usize) -> Result<Anchors> {
    check(sizes)?;
    if sizes.is_empty() || maps == 0 {
        return Err(Error::invalid("anchors of a pyramid are fitted to boxes, for one map or more: there is none"));
    }
    let of = |side: f64| -> Vec<[f64; 2]> {
        let sides = (0..maps).map(|k| side * 2f64.powi(k as i32));
        sides.flat_map(|side| ASPECTS.map(|a| [side * a.sqrt(), side / a.sqrt()])).collect()
    };
    let sides = (0..=(SIDE_OCTAVES / SIDE_STEP) as usize).map(|i| (i as f64 * SIDE_STEP).exp2());
    let all = sides.map(|side| {
        let anchors = of(side);
        Anchors { mean_iou: mean_iou(sizes, &anchors), sizes: anchors }
    });
    let best = all.reduce(|best, next| if next.mean_iou > best.mean_iou { next } else { best });
    best.ok_or_else(|| Error::invalid("no anchors"))
}

/// Refuses what is no size.
fn check(sizes: &[[f64; 2]]) -> Result<()> {
    match sizes.iter().find(|s| s.iter().any(|v| !v.is_finite() || *v <= 0.0)) {
        Some([w, h]) => Err(Error::invalid(format!("a box of {w} x {h} px has no size for anchors; check the annotations"))),
        None => Ok(()),
    }
}

/// Mean over sizes of the IoU with the anchor that fits best.
fn mean_iou(sizes: &[[f64; 2]], anchors: &[[f64; 2]]) -> f64 {
    sizes.iter().map(|s| nearest(*s, anchors).1).sum::<f64>() / sizes.len() as f64
}

/// The anchor that fits best, and how well; of equal ones the first.
fn nearest(size: [f64; 2], anchors: &[[f64; 2]]) -> (usize, f64) {
    let mut best = (0, f64::NEG_INFINITY);
    for (i, anchor) in anchors.iter().enumerate() {
        let iou = size_iou(size, *anchor);
        if iou > best.1 {
            best = (i, iou);
        }
    }
    best
}

/// Boxes drawn one by one, each with a chance by the square of its distance to those before.
fn plus_plus(sizes: &[[f64; 2]], count: usize, random: &mut Random) -> Vec<[f64; 2]> {
    let mut middles = vec![sizes[random.below(sizes.len())]];
    while middles.len() < count {
        let distances: Vec<f64> = sizes.iter().map(|s| (1.0 - nearest(*s, &middles).1).powi(2)).collect();
        let mut left = random.unit() * distances.iter().sum::<f64>();
        let drawn = distances.iter().position(|d| {
            left -= d;
            left < 0.0
        });
        // Rounding may use the sum up: then the farthest.
        let farthest = || (0..sizes.len()).fold(0, |best, i| if distances[i] > distances[best] { i } else { best });
        middles.push(sizes[drawn.unwrap_or_else(farthest)]);
    }
    middles
}

/// Lloyd's rounds until no box changes its middle.
fn settle(sizes: &[[f64; 2]], mut middles: Vec<[f64; 2]>) -> Anchors {
    let mut owners = vec![usize::MAX; sizes.len()];
    for _ in 0..ROUNDS {
        let fits: Vec<(usize, f64)> = sizes.iter().map(|s| nearest(*s, &middles)).collect();
        if fits.iter().map(|f| f.0).eq(owners.iter().copied()) {
            break;
        }
        owners = fits.iter().map(|f| f.0).collect();
        let mut members = vec![Vec::new(); middles.len()];
        sizes.iter().zip(&owners).for_each(|(size, owner)| members[*owner].push(*size));
        // Sizes by how badly they are fitted, for middles without a box; each but once, or two middles would be one.
        let mut worst: Vec<usize> = (0..sizes.len()).collect();
        worst.sort_by(|a, b| fits[*a].1.total_cmp(&fits[*b].1).then(sizes[*a][0].total_cmp(&sizes[*b][0])));
        worst.dedup_by_key(|i| sizes[*i]);
        let mut worst = worst.into_iter();
        for (middle, members) in middles.iter_mut().zip(members) {
            *middle = match members.is_empty() {
                true => worst.next().map_or(*middle, |i| sizes[i]),
                false => [0, 1].map(|d| median(members.iter().map(|s| s[d]).collect())),
            };
        }
    }
    Anchors { mean_iou: mean_iou(sizes, &middles), sizes: middles }
}

/// The middle value, or the mean of the two middle ones; of at least one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len();
    f64::midpoint(values[(n - 1) / 2], values[n / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_sizes_are_found_whatever_the_seed() {
        let planted = [[8.0, 10.0], [30.0, 12.0], [12.0, 40.0], [90.0, 80.0]];
        let mut random = Random::new(3, 9);
        let sizes: Vec<[f64; 2]> = (0..400).map(|i| planted[i % 4].map(|v| v * random.range(0.95, 1.05))).collect();
        for seed in 0..5 {
            let found = anchors(&sizes, 4, seed).unwrap();
            assert!(found.sizes.iter().zip(planted).all(|(a, b)| size_iou(*a, b) > 0.98), "{found:?}");
            assert!(found.mean_iou > 0.93);
            assert_eq!(found, anchors(&sizes, 4, seed).unwrap());
        }
        let one = anchors(&sizes, 1, 0).unwrap();
        let middle = |d: usize| {
            let mut all: Vec<f64> = sizes.iter().map(|s| s[d]).collect();
            all.sort_by(f64::total_cmp);
            (all[199] + all[200]) / 2.0
        };
        assert!((0..2).all(|d| (one.sizes[0][d] - middle(d)).abs() < 1e-9));
    }

    #[test]
    fn as_many_anchors_as_sizes_fit_all() {
        let sizes = [[5.0, 5.0], [9.0, 3.0], [5.0, 5.0], [20.0, 30.0], [21.0, 30.0]];
        let found = anchors(&sizes, 4, 1).unwrap();
        assert!((found.mean_iou - 1.0).abs() < 1e-12, "{found:?}");
        let e = anchors(&sizes, 5, 1).unwrap_err().to_string();
        assert!(e.contains("5 anchors are wanted of 4 different sizes"), "{e}");
        assert!(anchors(&[], 1, 1).is_err() && anchors(&sizes, 0, 1).is_err());
        assert!(anchors(&[[1.0, 0.0]], 1, 1).unwrap_err().to_string().contains("1 x 0 px"));
    }

    #[test]
    fn a_middle_that_loses_its_boxes_moves_to_the_worst_fit() {
        let sizes = [[10.0, 10.0], [11.0, 10.0], [60.0, 60.0], [10.0, 90.0]];
        // The second middle is nobody's nearest.
        let found = settle(&sizes, vec![[10.0, 10.0], [1000.0, 1.0], [60.0, 60.0]]);
        assert!(
            found.sizes.contains(&[10.0, 90.0]) && found.sizes.contains(&[60.0, 60.0]) && found.sizes.contains(&[10.5, 10.0]),
            "{found:?}"
        );
    }

    #[test]
    fn a_pyramid_fits_its_first_side_and_doubles_it() {
        // Squares of 2^3.5 px and its doubles, and some that are half as high.
        let side = 3.5f64.exp2();
        let planted = [[side, side], [2.0 * side, 2.0 * side], [4.0 * side * 2f64.sqrt(), 4.0 * side / 2f64.sqrt()]];
        let found = pyramid(&planted, 3).unwrap();
        assert!((found.mean_iou - 1.0).abs() < 1e-12, "{found:?}");
        assert_eq!(found.sizes.len(), 9);
        for (k, three) in found.sizes.chunks(3).enumerate() {
            let area = (side * 2f64.powi(k as i32)).powi(2);
            for ([w, h], aspect) in three.iter().zip([0.5, 1.0, 2.0]) {
                assert!((w / h - aspect).abs() < 1e-9 && (w * h / area - 1.0).abs() < 1e-9, "{found:?}");
            }
        }
        assert!(pyramid(&[], 3).is_err() && pyramid(&planted, 0).is_err());
        assert!(pyramid(&[[0.0, 1.0]], 1).unwrap_err().to_string().contains("0 x 1 px"));
    }

    #[test]
    fn ious_of_sizes_are_those_of_boxes_about_one_middle() {
        assert_eq!(size_iou([4.0, 2.0], [2.0, 4.0]), 4.0 / 12.0);
        assert_eq!(size_iou([3.0, 3.0], [3.0, 3.0]), 1.0);
    }
}

//! Twin of `shaders/box_match.wgsl`.

use super::boxes::{area, common, iou};
use crate::kernels::box_match::{IGNORE, Match, NEGATIVE, POSITIVE};

/// Row, IoU and label of each of an image's anchors [A, 4], of all boxes [G, 4] those of its range.
pub fn assign(by: Match, anchors: &[f64], boxes: &[f64], of: std::ops::Range<usize>, ignored: &[u32]) -> Vec<(u32, f64, u32)> {
    let of_box = |g: usize| &boxes[4 * g..][..4];
    let (crowds, real): (Vec<usize>, Vec<usize>) = of.partition(|g| ignored[*g] != 0);
    let greatest = |g: &usize| anchors.chunks(4).map(|a| iou(a, of_box(*g))).fold(0.0, f64::max);
    let need: Vec<Option<f64>> =
        real.iter().map(|g| by.low_quality.and_then(|least| Some(greatest(g)).filter(|v| *v > f64::from(least)))).collect();
    let one = |a: &[f64]| {
        let all: Vec<f64> = real.iter().map(|g| iou(a, of_box(*g))).collect();
        let best = (0..all.len()).fold(None, |best: Option<usize>, i| best.filter(|b| all[*b] >= all[i]).or(Some(i)));
        let overlap = best.map_or(-1.0, |i| all[i]);
        let reaches = all.iter().zip(&need).any(|(v, need)| need.is_some_and(|need| *v >= need));
        let covered = crowds.iter().any(|g| common(a, of_box(*g)) > f64::from(by.cover) * area(a));
        let label = match overlap >= f64::from(by.high) || reaches {
            true => POSITIVE,
            false if overlap < f64::from(by.low) && !covered => NEGATIVE,
            false => IGNORE,
        };
        (best.map_or(IGNORE, |i| real[i] as u32), overlap.max(0.0), label)
    };
    anchors.chunks(4).map(one).collect()
}

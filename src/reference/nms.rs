//! Twin of `shaders/nms.wgsl`.

use super::boxes::{area, common};
use crate::kernels::nms::Nms;

/// Indices of the boxes [N, 4] that stay, in order of falling score, `k` at most.
pub fn nms(nms: Nms, boxes: &[f64], scores: &[f32], groups: &[u32], k: usize) -> Vec<u32> {
    let of = |i: usize| &boxes[4 * i..][..4];
    let stands = |i: &usize| scores[*i] > nms.score && of(*i).iter().all(|v| v.is_finite());
    let mut order: Vec<usize> = (0..scores.len()).filter(stands).collect();
    // Stable: of equals the lower index stays first.
    order.sort_by(|a, b| scores[*b].partial_cmp(&scores[*a]).expect("no NaN is above a score"));
    let mut kept: Vec<usize> = Vec::new();
    for i in order {
        let covers = |j: &usize| {
            let shared = common(of(i), of(*j));
            groups[*j] == groups[i] && shared > f64::from(nms.iou) * (area(of(i)) + area(of(*j)) - shared)
        };
        if kept.len() < k && !kept.iter().any(covers) {
            kept.push(i);
        }
    }
    kept.iter().map(|i| *i as u32).collect()
}

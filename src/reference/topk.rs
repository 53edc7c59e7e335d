//! Twin of `shaders/topk.wgsl`.

/// Indices of the k best of one row of scores: greater first, the lower index of equals, NaN last.
pub fn best(scores: &[f32], k: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    // A stable sort keeps the lower index first.
    order.sort_by(|a, b| {
        let (a, b) = (scores[*a as usize], scores[*b as usize]);
        match (a.is_nan(), b.is_nan()) {
            (false, false) => b.partial_cmp(&a).expect("numbers"),
            (a, b) => a.cmp(&b),
        }
    });
    order.truncate(k);
    order
}

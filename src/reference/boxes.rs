//! Boxes x0, y0, x1, y1: what the twins of `nms` and `box_match` share.

/// The area; 0 where the ends are the wrong way round.
pub fn area(a: &[f64]) -> f64 {
    (a[2] - a[0]).max(0.0) * (a[3] - a[1]).max(0.0)
}

/// The area that two have in common.
pub fn common(a: &[f64], b: &[f64]) -> f64 {
    (a[2].min(b[2]) - a[0].max(b[0])).max(0.0) * (a[3].min(b[3]) - a[1].max(b[1])).max(0.0)
}

/// Intersection over union; 0 where both are empty.
pub fn iou(a: &[f64], b: &[f64]) -> f64 {
    let (shared, sum) = (common(a, b), area(a) + area(b));
    if sum > 0.0 { shared / (sum - shared) } else { 0.0 }
}

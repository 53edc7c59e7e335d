//! Twin of `shaders/elementwise.wgsl`.

/// y = a + b, or max(a + b, 0).
pub fn add(a: &[f64], b: &[f64], relu: bool) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| if relu { (a + b).max(0.0) } else { a + b }).collect()
}

/// dx = dy where y > 0, else 0.
pub fn relu_backward(y: &[f64], dy: &[f64]) -> Vec<f64> {
    y.iter().zip(dy).map(|(y, d)| if *y > 0.0 { *d } else { 0.0 }).collect()
}

/// y + s * x.
pub fn accumulate(x: &[f64], s: f64, y: &[f64]) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| y + s * x).collect()
}

/// s * x.
pub fn scaled_copy(x: &[f64], s: f64) -> Vec<f64> {
    x.iter().map(|x| s * x).collect()
}

/// x [pixels, c] where the last channel of the mask [pixels, m] is at least `least`, else 0.
pub fn keep_where(mask: &[f64], m: usize, least: f64, x: &[f64], c: usize) -> Vec<f64> {
    x.iter().enumerate().map(|(i, v)| if mask[(i / c + 1) * m - 1] >= least { *v } else { 0.0 }).collect()
}

/// min(max(y, -most), most); a NaN stays one.
pub fn clamp(y: &[f64], most: f64) -> Vec<f64> {
    y.iter().map(|y| y.clamp(-most, most)).collect()
}

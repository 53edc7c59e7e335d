//! Twin of `shaders/bias.wgsl`.

/// y = x * scale\[c\] + bias\[c\], max(.., 0) of it with `relu`.
pub fn forward(x: &[f64], scale: Option<&[f64]>, bias: &[f64], relu: bool) -> Vec<f64> {
    let c = bias.len();
    let affine = |(i, v): (usize, &f64)| v * scale.map_or(1.0, |s| s[i % c]) + bias[i % c];
    x.iter().enumerate().map(affine).map(|v| if relu { v.max(0.0) } else { v }).collect()
}

/// dx, dscale and dbias; `y` is the output where there was a ReLU.
pub fn backward(x: &[f64], scale: Option<&[f64]>, c: usize, y: Option<&[f64]>, dy: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut dx, mut dscale, mut dbias) = (vec![0.0; dy.len()], vec![0.0; c], vec![0.0; c]);
    for (i, d) in dy.iter().enumerate() {
        let g = if y.is_none_or(|y| y[i] > 0.0) { *d } else { 0.0 };
        dx[i] = g * scale.map_or(1.0, |s| s[i % c]);
        dscale[i % c] += g * x[i];
        dbias[i % c] += g;
    }
    (dx, dscale, dbias)
}

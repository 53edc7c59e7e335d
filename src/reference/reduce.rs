//! Twin of `shaders/reduce.wgsl`.

/// y\[c\] = scale * sum over r of x[r, c].
pub fn columns(x: &[f64], c: usize, scale: f64) -> Vec<f64> {
    batched(x, 1, c, scale)
}

/// y[n, c] = scale * sum over r of x[n, r, c].
pub fn batched(x: &[f64], batch: usize, c: usize, scale: f64) -> Vec<f64> {
    let mut y = vec![0.0; batch * c];
    let size = x.len() / batch;
    for (i, v) in x.iter().enumerate() {
        y[i / size * c + i % c] += scale * v;
    }
    y
}

/// dx[n, r, c] = scale * dy[n, c], with `rows` rows.
pub fn backward(dy: &[f64], batch: usize, rows: usize, scale: f64) -> Vec<f64> {
    let c = dy.len() / batch;
    (0..batch * rows * c).map(|i| scale * dy[i / (rows * c) * c + i % c]).collect()
}

//! Twin of `shaders/center.wgsl`.

/// x [n, rows, c] less its mean over the rows; also its own gradient.
pub fn forward(x: &[f64], n: usize, c: usize) -> Vec<f64> {
    let size = x.len() / n;
    let mut mean = vec![0.0; n * c];
    x.iter().enumerate().for_each(|(i, v)| mean[i / size * c + i % c] += v * c as f64 / size as f64);
    x.iter().enumerate().map(|(i, v)| v - mean[i / size * c + i % c]).collect()
}

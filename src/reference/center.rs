//! Twin of `shaders/center.wgsl`.

/// x [n, rows, c] less its mean over the rows; also its own gradient.
pub fn forward(x: &[f64], n: usize, c: usize) -> Vec<f64> {
    let size = x.len() / n;
    let mut mean = vec![0.0; n * c];
    x.iter().enumerate().for_each(|(i, v)| mean[i / size * c + i % c] += v * c as f64 / size as f64);
    x.iter().enumerate().map(|(i, v)| v - mean[i / size * c + i % c]).collect()
}

/// The same over valid pixels alone: `planes` [n, rows, 2] with the validity, 0 or 1, in their second channel; x is 0 where they are.
pub fn masked(x: &[f64], planes: &[f64], n: usize, c: usize) -> Vec<f64> {
    let size = x.len() / n;
    let rows = size / c;
    let valid = |i: usize| planes[i / c * 2 + 1];
    let count = |image: usize| (0..rows).map(|r| planes[(image * rows + r) * 2 + 1]).sum::<f64>().max(1.0);
    let counts: Vec<f64> = (0..n).map(count).collect();
    let mut sum = vec![0.0; n * c];
    x.iter().enumerate().for_each(|(i, v)| sum[i / size * c + i % c] += v);
    x.iter().enumerate().map(|(i, v)| (v - sum[i / size * c + i % c] / counts[i / size]) * valid(i)).collect()
}

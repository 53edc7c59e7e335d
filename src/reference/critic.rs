//! Twin of `shaders/critic.wgsl`.

/// x_i = e_i a_i + (1 - e_i) b_i for rows of `d`.
pub fn interpolate(a: &[f64], b: &[f64], e: &[f64], d: usize) -> Vec<f64> {
    a.iter().zip(b).enumerate().map(|(i, (a, b))| e[i / d] * a + (1.0 - e[i / d]) * b).collect()
}

/// Gradients in a, b and e.
pub fn interpolate_backward(a: &[f64], b: &[f64], e: &[f64], dx: &[f64], d: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let scaled = |share: &dyn Fn(f64) -> f64| dx.iter().enumerate().map(|(i, v)| share(e[i / d]) * v).collect();
    let mut de = vec![0.0; e.len()];
    dx.iter().enumerate().for_each(|(i, v)| de[i / d] += v * (a[i] - b[i]));
    (scaled(&|e| e), scaled(&|e| 1.0 - e), de)
}

/// How far a length is from what it should be.
fn excess(length: f64, one_sided: bool) -> f64 {
    if one_sided && length < 1.0 { 0.0 } else { length - 1.0 }
}

/// Mean over rows of `d` of (|g| - 1)^2 or max(|g| - 1, 0)^2, and the lengths.
pub fn penalty(g: &[f64], d: usize, one_sided: bool) -> (f64, Vec<f64>) {
    let lengths: Vec<f64> = g.chunks(d).map(|r| r.iter().map(|v| v * v).sum::<f64>().sqrt()).collect();
    (lengths.iter().map(|l| excess(*l, one_sided).powi(2)).sum::<f64>() / lengths.len() as f64, lengths)
}

/// Its gradient; 0 for rows of length 0.
pub fn penalty_backward(g: &[f64], d: usize, one_sided: bool) -> Vec<f64> {
    let lengths = penalty(g, d, one_sided).1;
    let pull = |l: f64| if l == 0.0 { 0.0 } else { 2.0 / lengths.len() as f64 * excess(l, one_sided) / l };
    g.iter().enumerate().map(|(i, v)| pull(lengths[i / d]) * v).collect()
}

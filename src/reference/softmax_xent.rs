//! Twin of `shaders/softmax_xent.wgsl`.

/// Dense weights of labels; `None` does not count.
pub fn one_hot(labels: &[Option<usize>], k: usize) -> Vec<f64> {
    labels.iter().flat_map(|l| (0..k).map(move |c| f64::from(u8::from(*l == Some(c))))).collect()
}

/// Loss and its gradient in x, `k` columns.
pub fn run(x: &[f64], target: &[f64], k: usize, smoothing: f64) -> (f64, Vec<f64>) {
    let counted = target.chunks(k).filter(|t| t.iter().sum::<f64>() != 0.0).count().max(1) as f64;
    let (mut loss, mut dx) = (0.0, Vec::with_capacity(x.len()));
    for (x, t) in x.chunks(k).zip(target.chunks(k)) {
        let sum: f64 = t.iter().sum();
        let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = top + x.iter().map(|v| (v - top).exp()).sum::<f64>().ln();
        for (x, t) in x.iter().zip(t) {
            let q = (1.0 - smoothing) * t + smoothing * sum / k as f64;
            loss += q * (lse - x);
            dx.push((sum * (x - lse).exp() - q) / counted);
        }
    }
    (loss / counted, dx)
}

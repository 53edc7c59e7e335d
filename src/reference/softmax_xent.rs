//! Twin of `shaders/softmax_xent.wgsl`.

/// Dense weights of labels; `None` does not count.
pub fn one_hot(labels: &[Option<usize>], k: usize) -> Vec<f64> {
    labels.iter().flat_map(|l| (0..k).map(move |c| f64::from(u8::from(*l == Some(c))))).collect()
}

/// Loss and its gradient in x, `k` columns; a row whose target adds up to 0 does not count. The sum is divided by the number of rows
/// that count, or by `divisor`, taken for 1 below 1.
pub fn run(x: &[f64], target: &[f64], k: usize, smoothing: f64, divisor: Option<f64>) -> (f64, Vec<f64>) {
    let counted = target.chunks(k).filter(|t| t.iter().sum::<f64>() != 0.0).count() as f64;
    let over = divisor.unwrap_or(counted).max(1.0);
    let (mut loss, mut dx) = (0.0, Vec::with_capacity(x.len()));
    for (x, t) in x.chunks(k).zip(target.chunks(k)) {
        let sum: f64 = t.iter().sum();
        if sum == 0.0 {
            dx.extend(vec![0.0; k]);
            continue;
        }
        let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = top + x.iter().map(|v| (v - top).exp()).sum::<f64>().ln();
        for (x, t) in x.iter().zip(t) {
            let q = (1.0 - smoothing) * t + smoothing * sum / k as f64;
            loss += q * (lse - x);
            dx.push((sum * (x - lse).exp() - q) / over);
        }
    }
    (loss / over, dx)
}

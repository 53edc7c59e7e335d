//! Twin of `shaders/style.wgsl`.

/// Of each of `n` images of channels `c` the mean, then sqrt(variance + eps), of each channel: [n, 2, c].
pub fn statistics(x: &[f64], n: usize, c: usize, eps: f64) -> Vec<f64> {
    let of = |image: &[f64]| {
        let (mean, var) = super::norm::statistics(image, c);
        mean.into_iter().chain(var.into_iter().map(|v| (v + eps).sqrt())).collect::<Vec<_>>()
    };
    x.chunks(x.len() / n).flat_map(of).collect()
}

/// What the values of an image's channel are multiplied by, and where its mean comes to lie: (s / sigma, mu, m).
fn change(own: &[f64], other: &[f64], t: f64, at: usize, c: usize) -> (f64, f64, f64) {
    let mixed = |at: usize| t * own[at] + (1.0 - t) * other[at];
    (mixed(at + c) / own[at + c], own[at], mixed(at))
}

/// y = s (x - mu) / sigma + m for images of channels `c` with statistics [n, 2, c] and shares \[n\].
pub fn mix(x: &[f64], own: &[f64], other: &[f64], share: &[f64], c: usize) -> Vec<f64> {
    let size = x.len() / share.len();
    let one = |(i, v): (usize, &f64)| {
        let (scale, mu, m) = change(own, other, share[i / size], i / size * 2 * c + i % c, c);
        scale * (v - mu) + m
    };
    x.iter().enumerate().map(one).collect()
}

/// dx = dy s / sigma: its gradient where the statistics are constants.
pub fn mix_backward(own: &[f64], other: &[f64], share: &[f64], dy: &[f64], c: usize) -> Vec<f64> {
    let size = dy.len() / share.len();
    let one = |(i, g): (usize, &f64)| change(own, other, share[i / size], i / size * 2 * c + i % c, c).0 * g;
    dy.iter().enumerate().map(one).collect()
}

//! Twin of `shaders/bridge.wgsl`.

use crate::kernels::bridge::Bridge;

/// Loss, distances [n, 1 + negatives], and the loss's gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The loss.
    pub loss: f64,
    /// Of each pair, then of its negatives.
    pub distances: Vec<f64>,
    /// In f [n, c].
    pub df: Vec<f64>,
    /// In h [n, c].
    pub dh: Vec<f64>,
}

/// Over rows f and h of `c` values and the partners of each row.
pub fn run(bridge: Bridge, f: &[f64], h: &[f64], partners: &[usize], c: usize) -> Run {
    let (n, k) = (f.len() / c, bridge.negatives);
    let alpha = f64::from(bridge.alpha);
    let mut run = Run { loss: 0.0, distances: Vec::with_capacity(n * (1 + k)), df: vec![0.0; f.len()], dh: vec![0.0; h.len()] };
    for i in 0..n {
        for (j, other) in std::iter::once(&i).chain(&partners[i * k..][..k]).enumerate() {
            let apart: Vec<f64> = (0..c).map(|x| f[i * c + x] - h[other * c + x]).collect();
            let d = (apart.iter().map(|a| a * a).sum::<f64>() / c as f64 + f64::from(bridge.eps)).sqrt();
            let (target, share) = if j == 0 { (0.0, 1.0) } else { (1.0, alpha / k as f64) };
            let weight = share / (n as f64 * (1.0 + alpha));
            run.distances.push(d);
            run.loss += weight * (d - target).powi(2);
            // d(d)/d(apart) = apart / (c d).
            for (x, a) in apart.iter().enumerate() {
                let pull = 2.0 * weight * (d - target) / d * a / c as f64;
                run.df[i * c + x] += pull;
                run.dh[other * c + x] -= pull;
            }
        }
    }
    run
}

//! Twin of `shaders/structure.wgsl`.

use crate::kernels::structure::turn;

/// Grey values of the sampler's pixels [P, 4].
pub fn grey(x: &[f64], weights: [f32; 3]) -> Vec<f64> {
    let sum = |v: &[f64]| (0..3).map(|b| f64::from(weights[b]) * v[b]).sum();
    x.chunks(4).map(|v| if v[3] > 0.0 { sum(v) } else { 0.0 }).collect()
}

/// Which pixels count: the last of M channels above 0 and at least `least`.
fn valid(validity: &[f64], m: usize, least: f32) -> Vec<bool> {
    validity.chunks(m).map(|v| v[m - 1] > 0.0 && v[m - 1] >= f64::from(least)).collect()
}

/// Oriented gradients [N, H, W, K] of grey of `shape` [N, H, W], with a validity of `m` channels.
pub fn oriented(grey: &[f64], [n, h, w]: [usize; 3], validity: &[f64], m: usize, least: f32, k: usize, power: f32) -> Vec<f64> {
    let valid = valid(validity, m, least);
    let mut out = vec![0.0; n * h * w * k];
    for (b, y, x) in (0..n).flat_map(|b| (1..h.max(2) - 1).flat_map(move |y| (1..w.max(2) - 1).map(move |x| (b, y, x)))) {
        let i = (b * h + y) * w + x;
        if [i - 1, i + 1, i - w, i + w].iter().all(|p| valid[*p]) {
            let (gx, gy) = ((grey[i + 1] - grey[i - 1]) / 2.0, (grey[i + w] - grey[i - w]) / 2.0);
            for t in 0..k {
                let (cos, sin) = turn(t, k);
                out[i * k + t] = (gx * cos + gy * sin).abs().powf(f64::from(power));
            }
        }
    }
    out
}

/// Features where valid, and the planes (energy, validity), of [P, C].
pub fn finish(features: &[f64], c: usize, validity: &[f64], m: usize, least: f32) -> (Vec<f64>, Vec<f64>) {
    let valid = valid(validity, m, least);
    let value = |i: usize| if valid[i / c] { features[i] } else { 0.0 };
    let out: Vec<f64> = (0..features.len()).map(value).collect();
    let planes = out.chunks(c).zip(&valid).flat_map(|(v, ok)| [v.iter().map(|a| a * a).sum(), f64::from(u8::from(*ok))]).collect();
    (out, planes)
}

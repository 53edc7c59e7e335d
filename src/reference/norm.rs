//! Twin of `shaders/norm.wgsl`.

/// Mean and biased variance of each channel, two passes.
pub fn statistics(x: &[f64], c: usize) -> (Vec<f64>, Vec<f64>) {
    let rows = (x.len() / c) as f64;
    let (mut mean, mut var) = (vec![0.0; c], vec![0.0; c]);
    x.iter().enumerate().for_each(|(i, v)| mean[i % c] += v / rows);
    x.iter().enumerate().for_each(|(i, v)| var[i % c] += (v - mean[i % c]).powi(2) / rows);
    (mean, var)
}

/// y = (x - mean) / sqrt(var + eps) * gamma + beta, max(.., 0) of it with `relu`.
pub fn apply(x: &[f64], mean: &[f64], var: &[f64], eps: f64, gamma: &[f64], beta: &[f64], relu: bool) -> Vec<f64> {
    let c = gamma.len();
    let one = |(i, v): (usize, &f64)| (v - mean[i % c]) / (var[i % c] + eps).sqrt() * gamma[i % c] + beta[i % c];
    x.iter().enumerate().map(one).map(|v| if relu { v.max(0.0) } else { v }).collect()
}

/// dx, dgamma and dbeta; `frozen` takes mean and variance as constants.
pub fn backward(
    x: &[f64],
    (mean, var): (&[f64], &[f64]),
    eps: f64,
    (gamma, beta): (&[f64], &[f64]),
    relu: bool,
    frozen: bool,
    dy: &[f64],
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let c = gamma.len();
    let rows = (x.len() / c) as f64;
    let hat = |i: usize| (x[i] - mean[i % c]) / (var[i % c] + eps).sqrt();
    let grad = |i: usize| if relu && hat(i) * gamma[i % c] + beta[i % c] <= 0.0 { 0.0 } else { dy[i] };
    let (mut dgamma, mut dbeta) = (vec![0.0; c], vec![0.0; c]);
    for i in 0..x.len() {
        dgamma[i % c] += grad(i) * hat(i);
        dbeta[i % c] += grad(i);
    }
    let through = |i: usize| if frozen { 0.0 } else { (dbeta[i % c] + hat(i) * dgamma[i % c]) / rows };
    let dx = (0..x.len()).map(|i| gamma[i % c] / (var[i % c] + eps).sqrt() * (grad(i) - through(i))).collect();
    (dx, dgamma, dbeta)
}

//! Twin of `shaders/sinkhorn_small.wgsl`.

use crate::kernels::sinkhorn_small::Settings;
use rayon::prelude::*;

/// Potentials and what is known of them.
#[derive(Debug, Clone)]
pub struct Solution {
    /// Of the rows.
    pub f: Vec<f64>,
    /// Of the columns; f itself for a symmetric problem.
    pub g: Vec<f64>,
    /// <a, f> + <b, g>.
    pub value: f64,
    /// Marginal error before the last whole step.
    pub error: f64,
    /// Iterations before it.
    pub iterations: u32,
    /// Whether they ended because of the tolerance, or the last step reached it.
    pub converged: bool,
}

/// c [n, m] from points of `d` dimensions.
pub fn cost(cosine: bool, x: &[f64], y: &[f64], d: usize) -> Vec<f64> {
    let pair = |x: &[f64], y: &[f64]| {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        match cosine {
            true if dot(x, x) > 0.0 && dot(y, y) > 0.0 => 1.0 - dot(x, y) / (dot(x, x).sqrt() * dot(y, y).sqrt()),
            true => 1.0,
            false => x.iter().zip(y).map(|(a, b)| (a - b) * (a - b)).sum(),
        }
    };
    x.par_chunks(d).flat_map_iter(|x| y.chunks(d).map(move |y| pair(x, y))).collect()
}

/// -eps log sum_j b_j exp((g_j - C_ij) / eps) for every row i of `rows`, with C_ij = `cost(i, j)`.
pub fn half(rows: usize, b: &[f64], g: &[f64], eps: f64, cost: impl Fn(usize, usize) -> f64 + Sync) -> Vec<f64> {
    let row = |i: usize| {
        let v: Vec<f64> =
            b.iter().zip(g).enumerate().filter(|(_, (b, _))| **b > 0.0).map(|(j, (b, g))| b.ln() + (g - cost(i, j)) / eps).collect();
        let top = v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        -eps * (top + v.iter().map(|v| (v - top).exp()).sum::<f64>().ln())
    };
    (0..rows).into_par_iter().map(row).collect()
}

/// f <- f + omega (next - f); the marginal error before it.
fn step(f: &mut [f64], next: &[f64], a: &[f64], eps: f64, omega: f64) -> f64 {
    let mut error = 0.0;
    for ((f, next), a) in f.iter_mut().zip(next).zip(a) {
        error += a * (((*f - next) / eps).min(60.0 * std::f64::consts::LN_2).exp() - 1.0).abs();
        *f += omega * (next - *f);
    }
    error
}

/// `shaders/lib/relax.wgsl`.
struct Relax {
    omega: f64,
    trust: f64,
    from: f64,
    count: u32,
}

impl Relax {
    fn see(&mut self, error: f64) {
        self.count += 1;
        if self.count == 4 {
            self.from = error;
        }
        if self.count < 10 {
            return;
        }
        self.count = 0;
        if error >= self.from {
            self.omega = if error < 0.5 { 1.0 + 0.5 * (self.omega - 1.0) } else { 1.0 };
            self.trust *= 0.8;
        } else if error < 0.5 {
            let rate = (error.max(1e-30) / self.from).powf(1.0 / 6.0).max(self.omega - 1.0 + 1e-6);
            let s = ((rate + self.omega - 1.0).powi(2) / (rate * self.omega * self.omega)).min(0.9999);
            self.omega = 1.0 + self.trust * (2.0 / (1.0 + (1.0 - s).sqrt()) - 1.0).max(0.0);
            self.trust = (self.trust * 1.1).min(0.98);
        }
    }
}

/// One problem: c [n, m] with n and m the weights' counts; without `b` it is symmetric.
pub fn solve(c: &[f64], a: &[f64], b: Option<&[f64]>, settings: &Settings) -> Solution {
    let (n, m) = (a.len(), b.unwrap_or(a).len());
    let c: Vec<f64> = c.iter().map(|c| f64::from(settings.base) + f64::from(settings.slope) * c).collect();
    let (last, scaling) = (f64::from(settings.eps), f64::from(settings.scaling));
    let mut eps = c.iter().fold(last, |e, c| e.max(c.abs()));
    let (mut f, mut g) = (vec![0.0; n], vec![0.0; m]);
    let mut r = Relax { omega: 1.0, trust: 0.98, from: 0.0, count: 0 };
    let iterate = |f: &mut Vec<f64>, g: &mut Vec<f64>, eps: f64, omega: f64, whole: bool| match b {
        Some(b) => {
            let first = step(f, &half(n, b, g, eps, |i, j| c[i * m + j]), a, eps, omega);
            let second = step(g, &half(m, a, f, eps, |j, i| c[i * m + j]), b, eps, omega);
            if whole { second } else { first + second }
        }
        None => {
            let next = half(n, a, f, eps, |i, j| c[i * m + j]);
            step(f, &next, a, eps, 0.5)
        }
    };
    let (mut iterations, mut converged) = (0, false);
    while iterations < settings.most && !converged {
        let error = iterate(&mut f, &mut g, eps, r.omega, false);
        iterations += 1;
        if eps > last {
            eps = (eps * scaling).max(last);
        } else {
            converged = error <= f64::from(settings.tolerance);
            r.see(error);
        }
    }
    let error = iterate(&mut f, &mut g, last, 1.0, true);
    if b.is_none() {
        g = f.clone();
    }
    let dot = |a: &[f64], f: &[f64]| a.iter().zip(f).map(|(a, f)| a * f).sum::<f64>();
    let value = dot(a, &f) + dot(b.unwrap_or(a), &g);
    converged |= error <= f64::from(settings.tolerance);
    Solution { f, g, value, error, iterations, converged }
}

/// a_i b_j exp((f_i + g_j - C_ij) / eps); `g` and `b` are f and a of a symmetric problem.
pub fn plan(c: &[f64], [a, b]: [&[f64]; 2], [f, g]: [&[f64]; 2], settings: &Settings) -> Vec<f64> {
    let entry = |i: usize, j: usize| {
        let c = f64::from(settings.base) + f64::from(settings.slope) * c[i * b.len() + j];
        a[i] * b[j] * ((f[i] + g[j] - c) / f64::from(settings.eps)).exp()
    };
    (0..a.len()).flat_map(|i| (0..b.len()).map(move |j| (i, j))).map(|(i, j)| entry(i, j)).collect()
}

//! Twin of `shaders/triplet.wgsl`.

use crate::kernels::triplet::Triplet;

/// Loss and its gradient in s [b, m].
pub fn run(f: Triplet, s: &[f64], b: usize, m: usize) -> (f64, Vec<f64>) {
    let (margin, eps) = (f64::from(f.margin), f64::from(f.eps));
    let distance = |v: f64| (2.0 - 2.0 * v).max(eps).sqrt();
    let slope = |v: f64| if 2.0 - 2.0 * v > eps { -1.0 / distance(v) } else { 0.0 };
    let (mut loss, mut ds) = (0.0, vec![0.0; b * m]);
    let mut term = |positive: usize, others: &mut dyn Iterator<Item = usize>| {
        let Some(negative) = others.reduce(|a, at| if s[at] > s[a] { at } else { a }) else { return };
        let u = distance(s[positive]) - distance(s[negative]) + margin;
        let (value, pull) = if f.soft {
            (u.max(0.0) + (-u.abs()).exp().ln_1p(), 1.0 / (1.0 + (-u).exp()))
        } else {
            (u.max(0.0), f64::from(u8::from(u > 0.0)))
        };
        loss += value;
        ds[positive] += pull * slope(s[positive]);
        ds[negative] -= pull * slope(s[negative]);
    };
    for i in 0..b {
        term(i * m + i, &mut (0..m).filter(|j| *j != i).map(|j| i * m + j));
    }
    for j in 0..b {
        term(j * m + j, &mut (0..b).filter(|i| *i != j).map(|i| i * m + j));
    }
    let n = 2.0 * b as f64;
    (loss / n, ds.iter().map(|d| d / n).collect())
}

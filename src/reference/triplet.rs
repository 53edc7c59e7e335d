//! Twin of `shaders/triplet.wgsl`.

use crate::kernels::triplet::{Directions, Mining, Triplet};

/// Loss, accuracy of rows, and the loss's gradient in s [b, m]; `mask` [b, b], or the identity.
pub fn run(f: Triplet, s: &[f64], mask: Option<&[f64]>, b: usize, m: usize) -> (f64, f64, Vec<f64>) {
    let slope = |v: f64| if 2.0 - 2.0 * v > f64::from(f.eps) { -1.0 / distance(f, v) } else { 0.0 };
    let (mut loss, mut terms, mut ds) = (0.0, 0usize, vec![0.0; b * m]);
    let mut add = |p: usize, n: usize| {
        let u = distance(f, s[p]) - distance(f, s[n]) + f64::from(f.margin);
        let (value, pull) = if f.soft {
            (u.max(0.0) + (-u.abs()).exp().ln_1p(), 1.0 / (1.0 + (-u).exp()))
        } else {
            (u.max(0.0), f64::from(u8::from(u > 0.0)))
        };
        loss += value;
        terms += usize::from(f.soft || u > 0.0);
        ds[p] += pull * slope(s[p]);
        ds[n] -= pull * slope(s[n]);
    };
    let anchors = anchors(f, mask, b, m);
    for (positives, negatives) in &anchors {
        match f.mining {
            Mining::Hard => {
                let hardest = |of: &[usize], sign: f64| of.iter().copied().reduce(|a, e| if sign * s[e] > sign * s[a] { e } else { a });
                if let (Some(p), Some(n)) = (hardest(positives, -1.0), hardest(negatives, 1.0)) {
                    add(p, n);
                }
            }
            Mining::All => positives.iter().for_each(|p| negatives.iter().for_each(|n| add(*p, *n))),
        }
    }
    let hit = |(positives, negatives): &(Vec<usize>, Vec<usize>)| {
        let top = |of: &[usize]| of.iter().copied().reduce(|a, e| if s[e] > s[a] { e } else { a });
        top(positives).is_some_and(|p| top(negatives).is_none_or(|n| s[p] > s[n] || (s[p] == s[n] && p < n)))
    };
    let hits = anchors[..b].iter().filter(|a| hit(a)).count();
    let n = match f.mining {
        Mining::Hard => anchors.len(),
        Mining::All => terms.max(1),
    } as f64;
    (loss / n, hits as f64 / b as f64, ds.iter().map(|d| d / n).collect())
}

/// How near the hinge of a batch-all triplet comes to its kink: the least |d_positive - d_negative + margin|. On the other side of it a
/// triplet counts, or does not, so the loss jumps.
pub fn nearest_kink(f: Triplet, s: &[f64], mask: Option<&[f64]>, b: usize, m: usize) -> f64 {
    let d: Vec<f64> = s.iter().map(|v| distance(f, *v)).collect();
    let mut nearest = f64::INFINITY;
    for (positives, negatives) in anchors(f, mask, b, m) {
        for p in positives {
            nearest = negatives.iter().fold(nearest, |least, n| least.min((d[p] - d[*n] + f64::from(f.margin)).abs()));
        }
    }
    nearest
}

fn distance(f: Triplet, v: f64) -> f64 {
    (2.0 - 2.0 * v).max(f64::from(f.eps)).sqrt()
}

/// Where in s the positives and the negatives of each anchor lie, rows first, in ascending order.
fn anchors(f: Triplet, mask: Option<&[f64]>, b: usize, m: usize) -> Vec<(Vec<usize>, Vec<usize>)> {
    let mask = |i: usize, j: usize| match mask {
        _ if j >= b => 0.0,
        Some(w) => w[i * b + j],
        None => f64::from(u8::from(i == j)),
    };
    let split = |pairs: &mut dyn Iterator<Item = (usize, usize)>| {
        let (mut positives, mut negatives) = (Vec::new(), Vec::new());
        for (i, j) in pairs {
            match mask(i, j) {
                w if w > 0.0 => positives.push(i * m + j),
                0.0 => negatives.push(i * m + j),
                _ => {}
            }
        }
        (positives, negatives)
    };
    let rows = (0..b).map(|i| split(&mut (0..m).map(|j| (i, j))));
    let columns = (0..b).map(|j| split(&mut (0..b).map(|i| (i, j))));
    match f.directions {
        Directions::Both => rows.chain(columns).collect(),
        Directions::Rows => rows.collect(),
    }
}

//! Twin of `shaders/message.wgsl`. Rows have `f` values; slots of the device without an edge do not exist here.

use crate::kernels::edges::{Csr, EMPTY, End};
use crate::kernels::message::Reduce;

/// Calls `g(edge, source, target)` for each edge in order.
fn each(csr: &Csr, mut g: impl FnMut(usize, usize, usize)) {
    csr.sources().iter().zip(csr.targets()).enumerate().for_each(|(e, (s, t))| g(e, *s as usize, *t as usize));
}

/// y [N, F] from x [M, F], and for a maximum the edges that won.
pub fn forward(kind: Reduce, csr: &Csr, x: &[f64], f: usize) -> (Vec<f64>, Vec<u32>) {
    let n = csr.counts()[0];
    let (mut y, mut winner) = (vec![0.0; n * f], vec![EMPTY; n * f]);
    each(csr, |e, s, t| {
        for k in 0..f {
            let (at, v) = (t * f + k, x[s * f + k]);
            if kind != Reduce::Max {
                y[at] += v;
            } else if winner[at] == EMPTY || v > y[at] || (v.is_nan() && !y[at].is_nan()) {
                (y[at], winner[at]) = (v, e as u32);
            }
        }
    });
    if kind == Reduce::Mean {
        y.iter_mut().enumerate().for_each(|(i, v)| *v /= degree(csr, i / f));
    }
    (y, winner)
}

/// Edges into a target, 1 where there is none.
fn degree(csr: &Csr, t: usize) -> f64 {
    f64::from((csr.offsets()[t + 1] - csr.offsets()[t]).max(1))
}

/// dx [M, F] from dy [N, F] and the edges that won.
pub fn backward(kind: Reduce, csr: &Csr, dy: &[f64], f: usize, winner: &[u32]) -> Vec<f64> {
    let mut dx = vec![0.0; csr.counts()[1] * f];
    each(csr, |e, s, t| {
        for k in 0..f {
            dx[s * f + k] += match kind {
                Reduce::Sum => dy[t * f + k],
                Reduce::Mean => dy[t * f + k] / degree(csr, t),
                Reduce::Max if winner[t * f + k] == e as u32 => dy[t * f + k],
                Reduce::Max => 0.0,
            };
        }
    });
    dx
}

/// y [N, F] from x [M, F], weights [E, H] and features of edges [E, F].
pub fn attend(csr: &Csr, x: &[f64], w: &[f64], z: Option<&[f64]>, f: usize, heads: usize) -> Vec<f64> {
    let mut y = vec![0.0; csr.counts()[0] * f];
    each(csr, |e, s, t| {
        for k in 0..f {
            y[t * f + k] += w[e * heads + k * heads / f] * (x[s * f + k] + z.map_or(0.0, |z| z[e * f + k]));
        }
    });
    y
}

/// dx [M, F], dw [E, H] and dz [E, F] of [`attend`].
pub fn attend_backward(
    csr: &Csr,
    x: &[f64],
    w: &[f64],
    z: Option<&[f64]>,
    dy: &[f64],
    f: usize,
    heads: usize,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let [_, m, edges] = csr.counts();
    let (mut dx, mut dw, mut dz) = (vec![0.0; m * f], vec![0.0; edges * heads], vec![0.0; edges * f]);
    each(csr, |e, s, t| {
        for k in 0..f {
            let (h, g) = (e * heads + k * heads / f, dy[t * f + k]);
            dx[s * f + k] += w[h] * g;
            dw[h] += g * (x[s * f + k] + z.map_or(0.0, |z| z[e * f + k]));
            dz[e * f + k] = w[h] * g;
        }
    });
    (dx, dw, dz)
}

/// y [E, F]: the row of x at one end of each edge.
pub fn gather(csr: &Csr, end: End, x: &[f64], f: usize) -> Vec<f64> {
    rows(csr, end).0.iter().flat_map(|r| &x[*r as usize * f..][..f]).copied().collect()
}

/// dx from dy [E, F].
pub fn gather_backward(csr: &Csr, end: End, dy: &[f64], f: usize) -> Vec<f64> {
    let (index, n) = rows(csr, end);
    let mut dx = vec![0.0; n * f];
    for (e, r) in index.iter().enumerate() {
        (0..f).for_each(|k| dx[*r as usize * f + k] += dy[e * f + k]);
    }
    dx
}

/// y [E, F] = LeakyReLU(to + x + z) along each edge.
pub fn edge_sum(csr: &Csr, to: &[f64], x: &[f64], z: &[f64], slope: f64, f: usize) -> Vec<f64> {
    let (to, x) = (gather(csr, End::Target, to, f), gather(csr, End::Source, x, f));
    let leaky = |s: f64| if s > 0.0 { s } else { slope * s };
    to.iter().zip(&x).zip(z).map(|((a, b), c)| leaky(a + b + c)).collect()
}

/// dz of dy.
pub fn edge_sum_backward(y: &[f64], dy: &[f64], slope: f64) -> Vec<f64> {
    y.iter().zip(dy).map(|(y, dy)| if *y > 0.0 { *dy } else { slope * dy }).collect()
}

fn rows(csr: &Csr, end: End) -> (&[u32], usize) {
    match end {
        End::Source => (csr.sources(), csr.counts()[1]),
        End::Target => (csr.targets(), csr.counts()[0]),
    }
}

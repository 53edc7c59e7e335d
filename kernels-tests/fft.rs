use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder, Result, Tensor};
use echogrid::kernels::fft::{self as kernel, half_shape};
use echogrid::reference::fft as twin;
use half::f16;
use std::f64::consts::PI;

/// Images [b, h, w, c] and the grid.
const CASES: [([usize; 4], [usize; 2]); 12] = [
    ([1, 16, 16, 2], [16, 16]),
    ([3, 5, 7, 2], [16, 32]),
    ([2, 32, 1, 6], [32, 16]),
    ([1, 33, 64, 4], [64, 64]),
    ([2, 20, 50, 10], [32, 128]),
    ([1, 100, 17, 2], [128, 32]),
    ([1, 48, 200, 4], [256, 256]),
    ([1, 129, 16, 2], [512, 16]),
    ([1, 1, 413, 2], [16, 512]),
    ([1, 700, 3, 2], [1024, 16]),
    ([1, 2, 2048, 2], [16, 2048]),
    ([1, 4000, 1, 2], [4096, 16]),
];

/// The error of a transform of numbers up to `size` by the first norm over a line of log2(h w) radix-2 levels: a level adds, to each of the
/// two numbers it makes, one rounding, and multiplies one by a rounded factor of modulus 1: 2 products and a sum of rounded cosines and sines,
/// each part at most 4 roundings of the modulus; so 5 sqrt 2 < 8 of what a level's results can be, sum |x|. Unpacking and
/// scaling: 3 more.
fn bound(sum: f64, [h, w]: [usize; 2]) -> f64 {
    (8.0 * ((h * w) as f64).log2() + 3.0) * EPS * sum
}

/// The largest sum of moduli over one channel of one image of [b, pixels, c].
fn most(x: &[f64], b: usize, c: usize) -> f64 {
    let n = x.len() / b;
    (0..b * c).map(|i| x[i / c * n..][..n].iter().skip(i % c).step_by(c).map(|v| v.abs()).sum::<f64>()).fold(0.0, f64::max)
}

fn spectrum_bound(s: &[f64], [b, _, _, c]: [usize; 4], size: [usize; 2]) -> f64 {
    // Twice the half's moduli, at most sqrt 2 times the sum of a part's.
    let parts: Vec<f64> = s.chunks(2).map(|z| z[0].hypot(z[1])).collect();
    bound(2.0 * most(&parts, b, c), size)
}

#[test]
fn twin_equals_the_definition() {
    let (shape @ [b, h, w, c], size @ [bh, bw]) = ([1, 5, 3, 2], [8, 4]);
    let x = f64s(&random(b * h * w * c, 1));
    let got = twin::forward(&x, shape, size, 0.5);
    let angle = |ky: usize, kx: usize, y: usize, x: usize| 2.0 * PI * (ky as f64 * y as f64 / bh as f64 + kx as f64 * x as f64 / bw as f64);
    let pixels = || (0..h).flat_map(|y| (0..w).map(move |x| (y, x)));
    for (ky, kx, k) in (0..=bh / 2).flat_map(|ky| (0..bw).flat_map(move |kx| (0..c).map(move |k| (ky, kx, k)))) {
        let part = |f: fn(f64) -> f64| pixels().map(|(y, col)| 0.5 * x[(y * w + col) * c + k] * f(-angle(ky, kx, y, col))).sum::<f64>();
        let at = ((ky * bw + kx) * c + k) * 2;
        assert!((got[at] - part(f64::cos)).abs() < 1e-14 && (got[at + 1] - part(f64::sin)).abs() < 1e-14, "{ky} {kx} {k}");
    }
    // Any spectrum, not only of an image: the rows in between count twice, by their real part.
    let s = f64s(&random((bh / 2 + 1) * bw * c * 2, 2));
    let got = twin::inverse(&s, shape, size, 0.5);
    for ((y, col), k) in pixels().flat_map(|p| (0..c).map(move |k| (p, k))) {
        let mut want = 0.0;
        for (ky, kx) in (0..=bh / 2).flat_map(|ky| (0..bw).map(move |kx| (ky, kx))) {
            let (at, a) = (((ky * bw + kx) * c + k) * 2, angle(ky, kx, y, col));
            let twice = if ky == 0 || ky == bh / 2 { 0.5 } else { 1.0 };
            // Row H / 2 is real along y before it is turned: cos(pi y) is real too, so the real part of the product it is.
            want += twice * (s[at] * a.cos() - s[at + 1] * a.sin());
        }
        let i = (y * w + col) * c + k;
        assert!((got[i] - want).abs() < 1e-13, "{y} {col} {k}: {} {want}", got[i]);
    }
}

/// Runs a plan that writes a tensor of f16 and reads it.
fn run_f16(e: &Engine, t: &Tensor, build: impl Fn(&mut PlanBuilder<'_>) -> Result<()>) -> Vec<f32> {
    plan(e, build).submit(e).unwrap();
    e.read::<f16>(t).unwrap().iter().map(|v| v.to_f32()).collect()
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (i, (shape @ [b, h, w, c], size)) in CASES.into_iter().enumerate() {
            let half = half_shape(b, size, c);
            let (x, s) = (random(b * h * w * c, 1), random(half.iter().product(), 2));
            let (tx, ty, ts, tx_hat) = (up(e, &shape, &x), out(e, &shape), up(e, &half, &s), out(e, &half));
            let scale = [1.0, 0.5, 1.0 / 64.0][i % 3];
            let want = twin::forward(&f64s(&x), shape, size, scale.into());
            let abs = f64::from(scale) * bound(most(&f64s(&x), b, c), size);
            close(&run_twice(e, &tx_hat, |p| kernel::forward(p, &tx, &tx_hat, scale)), &want, abs, 0.0);
            // f16: half a unit of 11 bits more, and below 2^-14 half the least step.
            let small = e.tensor("f16", &half, DType::F16).unwrap();
            let got = run_f16(e, &small, |p| kernel::forward(p, &tx, &small, scale));
            close(&got, &want, abs * 1.01 + 2f64.powi(-25), 2f64.powi(-11) * 1.001);

            let want = twin::inverse(&f64s(&s), shape, size, scale.into());
            let abs = f64::from(scale) * spectrum_bound(&f64s(&s), shape, size);
            close(&run_twice(e, &ty, |p| kernel::inverse(p, &ts, &ty, scale)), &want, abs, 0.0);
            let rounded: Vec<f16> = s.iter().map(|v| f16::from_f32(*v)).collect();
            let small = e.upload("f16", &half, DType::F16, &rounded).unwrap();
            let rounded: Vec<f64> = rounded.iter().map(|v| v.to_f64()).collect();
            let want = twin::inverse(&rounded, shape, size, scale.into());
            close(&run_twice(e, &ty, |p| kernel::inverse(p, &small, &ty, scale)), &want, abs * 1.01, 0.0);
        }
    }
}

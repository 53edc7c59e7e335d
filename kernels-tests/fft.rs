use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder, Result, Tensor};
use echogrid::kernels::fft::{self as kernel, Scratch, half_shape};
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

/// The error of a transform at `size` whose complex inputs' moduli add up to `sum`. It is log2(H W) levels of a + t b with |t| = 1:
/// t rounded (1 unit of |b|), two products and their sum (at most 2 sqrt 2), the last sum (1 unit of |a| + |b|): 5 units of |a| + |b|,
/// 8 with terms of higher order and to spare. Every result of a level sums inputs with factors of modulus 1, and what enters one
/// result of the last level are sums of distinct inputs: each level adds at most 8 units of `sum`. Unpacking and scaling add 3.
fn bound(sum: f64, [h, w]: [usize; 2]) -> f64 {
    (8.0 * ((h * w) as f64).log2() + 3.0) * EPS * sum
}

/// The largest sum of moduli of one image's pair of channels, the parts of one complex number: of x [b, pixels, c].
fn most(x: &[f64], b: usize, c: usize) -> f64 {
    let n = x.len() / b;
    let pair = |image: usize, p: usize| x[image * n..][..n].iter().enumerate().filter(move |(i, _)| i % c / 2 == p).map(|(_, v)| v.abs());
    (0..b).flat_map(|i| (0..c / 2).map(move |p| (i, p))).map(|(i, p)| pair(i, p).sum::<f64>()).fold(0.0, f64::max)
}

/// The same of a half spectrum, whose elements stand for two each.
fn most_of_half(s: &[f64], b: usize, c: usize) -> f64 {
    2.0 * most(&s.chunks(2).map(|z| z[0].hypot(z[1])).collect::<Vec<_>>(), b, c)
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
    // Any spectrum, not only of an image: the real part, the rows in between twice.
    let s = f64s(&random((bh / 2 + 1) * bw * c * 2, 2));
    let got = twin::inverse(&s, shape, size, 0.5);
    for ((y, col), k) in pixels().flat_map(|p| (0..c).map(move |k| (p, k))) {
        let mut want = 0.0;
        for (ky, kx) in (0..=bh / 2).flat_map(|ky| (0..bw).map(move |kx| (ky, kx))) {
            let (at, a) = (((ky * bw + kx) * c + k) * 2, angle(ky, kx, y, col));
            let weight = 0.5 * weight(ky, bh);
            want += weight * (s[at] * a.cos() - s[at + 1] * a.sin());
        }
        let i = (y * w + col) * c + k;
        assert!((got[i] - want).abs() < 1e-13, "{y} {col} {k}: {} {want}", got[i]);
    }
}

/// How often a row of a half spectrum stands in the whole one.
fn weight(ky: usize, h: usize) -> f64 {
    if ky == 0 || ky == h / 2 { 1.0 } else { 2.0 }
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
            // f16: a unit of 11 bits more (drivers may round either way), and below 2^-14 the least step.
            let small = e.tensor("f16", &half, DType::F16).unwrap();
            let got = run_f16(e, &small, |p| kernel::forward(p, &tx, &small, scale));
            close(&got, &want, abs * 1.01 + 2f64.powi(-24), 2f64.powi(-10));

            let want = twin::inverse(&f64s(&s), shape, size, scale.into());
            let abs = f64::from(scale) * bound(most_of_half(&f64s(&s), b, c), size);
            close(&run_twice(e, &ty, |p| kernel::inverse(p, &ts, &ty, scale)), &want, abs, 0.0);
            let rounded: Vec<f16> = s.iter().map(|v| f16::from_f32(*v)).collect();
            let small = e.upload("f16", &half, DType::F16, &rounded).unwrap();
            let rounded: Vec<f64> = rounded.iter().map(|v| v.to_f64()).collect();
            let want = twin::inverse(&rounded, shape, size, scale.into());
            close(&run_twice(e, &ty, |p| kernel::inverse(p, &small, &ty, scale)), &want, abs * 1.01, 0.0);
        }
    }
}

/// One pixel: every factor of its spectrum has modulus 1, so the tables' own errors show, at the longest lines too.
#[test]
fn a_point_has_a_flat_spectrum() {
    let (e, _lock) = engine();
    for (n, size) in [(4096, [4096, 16]), (2048, [16, 2048]), (1024, [1024, 16]), (512, [16, 512])] {
        let (h, w) = if size[0] == n { (n, 1) } else { (1, n) };
        let mut x = vec![0.0; n * 2];
        x[2 * (n - 3)] = 1.0;
        let (tx, ts) = (up(e, &[1, h, w, 2], &x), out(e, &half_shape(1, size, 2)));
        let got = run_twice(e, &ts, |p| kernel::forward(p, &tx, &ts, 1.0));
        close(&got, &twin::forward(&f64s(&x), [1, h, w, 2], size, 1.0), bound(1.0, size), 0.0);
    }
}

/// <S, X(x)> = <y(S), x>, where a half spectrum's inner product counts the rows in between twice; for any S.
#[test]
fn adjoint() {
    let (engines, _lock) = engines();
    for e in engines {
        let (shape @ [b, h, w, c], size) = ([2, 19, 23, 6], [32, 64]);
        let half @ [_, rows, ..] = half_shape(b, size, c);
        let (x, s) = (random(b * h * w * c, 1), random(half.iter().product(), 2));
        let (tx, ty, ts, tx_hat) = (up(e, &shape, &x), out(e, &shape), up(e, &half, &s), out(e, &half));
        let x_hat = run_twice(e, &tx_hat, |p| kernel::forward(p, &tx, &tx_hat, 1.0));
        let y = run_twice(e, &ty, |p| kernel::inverse(p, &ts, &ty, 1.0));
        let row = size[1] * c * 2;
        let weighted: Vec<f32> = s.iter().enumerate().map(|(i, v)| v * weight(i / row % rows, size[0]) as f32).collect();
        // Every factor is at most 1 on either side, and twice that where rows count twice.
        let off = 2.0 * s.len() as f64 * bound(most(&f64s(&x), b, c), size) + x.len() as f64 * bound(most_of_half(&f64s(&s), b, c), size);
        assert!((dot(&weighted, &x_hat) - dot(&y, &x)).abs() < off);
    }
}

/// There and back, with the factors that belong together, also split among both ways.
#[test]
fn inverse_undoes_forward() {
    let (e, _lock) = engine();
    for (shape @ [b, h, w, c], size @ [bh, bw]) in [([2, 64, 128, 4], [64, 128]), ([1, 77, 40, 2], [128, 64])] {
        let x = random(b * h * w * c, 3);
        let (tx, ty, ts) = (up(e, &shape, &x), out(e, &shape), out(e, &half_shape(b, size, c)));
        let n = (bh * bw) as f32;
        for (there, back) in [(1.0, 1.0 / n), (1.0 / n.sqrt(), 1.0 / n.sqrt())] {
            let got = run_twice(e, &ty, |p| {
                kernel::forward(p, &tx, &ts, there)?;
                kernel::inverse(p, &ts, &ty, back)
            });
            // A transform's error in the root of the sum of squares is 8 log2(H W) units of its input's (the levels keep that norm but for
            // a factor), so both together are off by twice that of the norm of a pair of channels, sqrt(2 h w).
            close(&got, &f64s(&x), 2.0 * bound((2.0 * (h * w) as f64).sqrt(), size), 0.0);
        }
    }
}

/// Images in turns through scratch for one give the bits of all at once; scratch may be made for more channels.
#[test]
fn images_in_turns() {
    let (engines, _lock) = engines();
    for e in engines {
        let (shape, size) = ([5, 20, 30, 6], [32, 32]);
        let half = half_shape(5, size, 6);
        let tx = up(e, &shape, &random(shape.iter().product(), 4));
        let (one, more) = (Scratch::new(e, size, 6, 1).unwrap(), Scratch::new(e, size, 10, 2).unwrap());
        let (ts, ty) = (out(e, &half), out(e, &shape));
        let whole = run_twice(e, &ts, |p| kernel::forward(p, &tx, &ts, 0.5));
        let back = run_twice(e, &ty, |p| kernel::inverse(p, &ts, &ty, 0.5));
        for scratch in [&one, &more] {
            assert!(run_twice(e, &ts, |p| kernel::forward_with(p, scratch, &tx, &ts, 0.5)) == whole);
            assert!(run_twice(e, &ty, |p| kernel::inverse_with(p, scratch, &ts, &ty, 0.5)) == back);
        }
    }
}

/// NaN and infinity spoil their own image's pair of channels alone; a mean of 300, 76,800 in the sum, fits f16 with the scale of noise.
#[test]
fn odd_floats() {
    let (engines, _lock) = engines();
    for e in engines {
        let mut x = random(2 * 16 * 16 * 6, 5);
        (x[2], x[6 * 40 + 3]) = (f32::NAN, f32::INFINITY);
        let (tx, ts) = (up(e, &[2, 16, 16, 6], &x), out(e, &half_shape(2, [16, 16], 6)));
        let got = run_twice(e, &ts, |p| kernel::forward(p, &tx, &ts, 1.0));
        for (i, v) in got.iter().enumerate() {
            let (channel, image) = (i / 2 % 6, i / (9 * 16 * 6 * 2));
            assert_eq!(v.is_finite(), image == 1 || channel / 2 != 1, "element {i}");
        }
        let (big, small) = (up(e, &[1, 16, 16, 2], &[300.0; 512]), e.tensor("f16", &half_shape(1, [16, 16], 2), DType::F16).unwrap());
        assert_eq!(run_f16(e, &small, |p| kernel::forward(p, &big, &small, 1.0 / 16.0))[0], 4800.0);
    }
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let mut says = |image: &[usize], half: &[usize], what: &str| {
        let err = kernel::forward(&mut p, &out(e, image), &out(e, half), 1.0).unwrap_err().to_string();
        assert!(err.contains(what), "{err}");
        let err = kernel::inverse(&mut p, &out(e, half), &out(e, image), 1.0).unwrap_err().to_string();
        assert!(err.contains(what), "{err}");
    };
    says(&[1, 8, 8, 2], &[1, 13, 16, 2, 2], "powers of two from 16 to 4096, not [24, 16]");
    says(&[1, 8, 8, 2], &[1, 5, 16, 2, 2], "powers of two");
    says(&[1, 8, 8, 3], &[1, 9, 16, 3, 2], "even and above 0, not 3");
    says(&[1, 17, 8, 2], &[1, 9, 16, 2, 2], "17 x 8 does not fit into a transform of 16 x 16");
    says(&[2, 8, 8, 2], &[1, 9, 16, 2, 2], "`spectrum` must be F32 [2, 9, 16, 2, 2]");
    says(&[1, 8, 8, 2], &[9, 16, 2, 2], "a half spectrum is");
    let scratch = Scratch::new(e, [16, 16], 2, 1).unwrap();
    let (x, half) = (out(e, &[1, 8, 8, 4]), out(e, &[1, 9, 16, 4, 2]));
    let err = kernel::forward_with(&mut p, &scratch, &x, &half, 1.0).unwrap_err().to_string();
    assert!(err.contains("the transform has 4 channels"), "{err}");
}

use crate::common::*;
use echogrid::gpu::{Engine, PlanBuilder};
use echogrid::kernels::infonce::{self as kernel, InfoNce};
use echogrid::reference::infonce::InfoNce as Twin;

const SHAPES: [(usize, usize); 7] = [(1, 1), (1, 5), (2, 2), (7, 7), (8, 17), (65, 65), (63, 130)];

/// Overlap weights: mostly the diagonal, some neighbours; row 2 and column 3 have none.
fn weights(b: usize) -> Vec<f32> {
    let noise = random(b * b, 9);
    (0..b * b)
        .map(|at| match (at / b, at % b) {
            (2, _) | (_, 3) => 0.0,
            (i, j) if i == j => 1.0,
            (i, j) if i.abs_diff(j) < 3 => noise[at].max(0.0),
            _ => 0.0,
        })
        .collect()
}

fn case(b: usize, m: usize, t: f32, weighted: bool, smoothing: f32) -> Twin {
    let w = weighted.then(|| f64s(&weights(b)));
    Twin { s: f64s(&random(b * m, 1)), b, m, t: t.into(), w, smoothing: smoothing.into() }
}

struct Got {
    loss: f32,
    accuracy: f32,
    ds: Vec<f32>,
    dt: f32,
}

fn run(e: &Engine, x: &Twin, dloss: f32) -> Got {
    let (b, m) = (x.b, x.m);
    let f32s = |v: &[f64]| v.iter().map(|v| *v as f32).collect::<Vec<_>>();
    let (s, t) = (up(e, &[b, m], &f32s(&x.s)), up(e, &[1], &[x.t as f32]));
    let w = x.w.as_ref().map(|w| up(e, &[b, b], &f32s(w)));
    let input = InfoNce { similarity: &s, log_scale: &t, weights: w.as_ref(), smoothing: x.smoothing as f32 };
    let (stats, loss, accuracy) = (out(e, &kernel::stats_shape(b)), out(e, &[1]), out(e, &[1]));
    let (dl, ds, partial, dt) = (up(e, &[1], &[dloss]), out(e, &[b, m]), out(e, &[b]), out(e, &[1]));
    let l = run_twice(e, &loss, |p| kernel::forward(p, input, &stats, &loss, &accuracy));
    let d = run_twice(e, &ds, |p| kernel::backward(p, input, &stats, &dl, &ds, &partial, &dt));
    Got { loss: l[0], accuracy: e.read(&accuracy).unwrap()[0], ds: d, dt: e.read(&dt).unwrap()[0] }
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (b, m) in SHAPES {
            for (t, weighted, smoothing) in [(0.0, false, 0.0), (2.66, true, 0.1), (4.0, false, 0.1), (5.0, true, 0.0)] {
                let x = case(b, m, t, weighted, smoothing);
                let got = run(e, &x, -3.0);
                let (loss, accuracy, ds, dt) = x.run();
                // exp(t) is allowed 3 + 2|t| <= 13 ulp = 26 EPS, so z, at most k, is off by 30 k EPS; exp(z - peak), |z - peak| <= 2k,
                // by as much and its own 2 (3 + 4k) EPS; sums of M positive terms by M EPS; log by 3 ulp or, near 1, 2^-21.
                let k = f64::from(t).exp().min(100.0);
                let rel = (80.0 * k + (b + m) as f64 + 20.0) * EPS;
                close(&[got.loss], &[loss], rel + 4.8e-7, 8.0 * EPS);
                assert!((f64::from(got.accuracy) - accuracy).abs() < 1e-6, "{} {accuracy}", got.accuracy);
                // Each dz is a difference of terms at most 1 whose errors are relative; times 3 k / 2B.
                let share = 3.0 / (2.0 * b as f64);
                close(&got.ds, &ds.iter().map(|d| -3.0 * d).collect::<Vec<_>>(), 4.0 * rel * k * share, 8.0 * EPS);
                // dt sums, over 2B distributions, terms of sum at most 2 in |dz| times |z - peak| <= 2k.
                close(&[got.dt], &[-3.0 * dt], 3.0 * 4.0 * 2.0 * k * rel, 8.0 * EPS);
            }
        }
    }
}

/// The twin's gradients against central differences in f64, with the loss inside a sine.
#[test]
fn twin_gradient_equals_finite_differences() {
    for (b, m, weighted) in [(5, 8, false), (5, 5, true), (1, 3, false)] {
        let x = case(b, m, 1.5, weighted, 0.1);
        let (loss, _, ds, dt) = x.run();
        let outer = 2.0 * (2.0 * loss).cos();
        let at = |f: &dyn Fn(&mut Twin, f64), h: f64| {
            let mut x = x.clone();
            f(&mut x, h);
            (2.0 * x.run().0).sin()
        };
        let slope = |f: &dyn Fn(&mut Twin, f64)| (at(f, 1e-5) - at(f, -1e-5)) / 2e-5;
        for (i, d) in ds.iter().enumerate() {
            let want = slope(&|x, h| x.s[i] += h);
            assert!((outer * d - want).abs() < 1e-8, "s[{i}]: {} against {want}", outer * d);
        }
        let want = slope(&|x, h| x.t += h);
        assert!((outer * dt - want).abs() < 1e-8, "t: {} against {want}", outer * dt);
    }
}

/// Golden values: equal similarities give ln B and accuracy 1 / B (the first of equals); a perfect match at a large scale, 0 and 1.
#[test]
fn golden() {
    let (engines, _lock) = engines();
    for e in engines {
        let b = 16;
        let mut x = Twin { s: vec![0.5; b * b], b, m: b, t: 2.0, w: None, smoothing: 0.0 };
        let got = run(e, &x, 1.0);
        close(&[got.loss, got.accuracy], &[(b as f64).ln(), 1.0 / b as f64], 0.0, 1e-6);
        (0..b * b).for_each(|i| x.s[i] = if i / b == i % b { 1.0 } else { -1.0 });
        x.t = 90.0;
        let got = run(e, &x, 1.0);
        assert_eq!((got.loss, got.accuracy, got.dt), (0.0, 1.0, 0.0));
        assert!(got.ds.iter().all(|d| d.abs() < 1e-20));
    }
}

/// A NaN similarity or temperature makes the loss NaN instead of vanishing.
#[test]
fn nan_shows() {
    let (engines, _lock) = engines();
    for e in engines {
        let mut x = case(9, 9, 1.0, false, 0.0);
        x.s[40] = f64::NAN;
        assert!(run(e, &x, 1.0).loss.is_nan());
        let mut x = case(9, 9, 1.0, false, 0.0);
        x.t = f64::NAN;
        assert!(run(e, &x, 1.0).loss.is_nan() || !keeps_nan(e));
    }
}

#[test]
fn refuses_with_the_reason() {
    let (e, _lock) = engine();
    let (s, t, stats) = (out(e, &[4, 3]), out(e, &[1]), out(e, &[2, 4, 5]));
    let (loss, acc) = (out(e, &[1]), out(e, &[1]));
    let try_ = |s: &echogrid::gpu::Tensor, smoothing: f32| {
        let x = InfoNce { similarity: s, log_scale: &t, weights: None, smoothing };
        kernel::forward(&mut PlanBuilder::new(e), x, &stats, &loss, &acc).unwrap_err().to_string()
    };
    assert!(try_(&s, 0.0).contains("fewer columns than rows"));
    assert!(try_(&out(e, &[4, 4]), 1.5).contains("outside 0 to 1"));
    assert!(try_(&out(e, &[3, 4]), 0.0).contains("`stats` must be F32 [2, 3, 5], not F32 [2, 4, 5]"));
}

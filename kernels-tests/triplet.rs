use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder, Tensor};
use echogrid::kernels::triplet::{self as kernel, Triplet};
use echogrid::reference::triplet as twin;

const SHAPES: [(usize, usize); 8] = [(1, 1), (1, 4), (2, 2), (3, 3), (7, 9), (8, 8), (65, 65), (63, 131)];

fn records(e: &Engine, b: usize) -> Tensor {
    e.tensor("records", &kernel::records_shape(b), DType::U32).unwrap()
}

/// Loss and gradient for an upstream gradient of 2.
fn run(e: &Engine, f: Triplet, s: &[f32], b: usize, m: usize) -> (f32, Vec<f32>) {
    let (ts, rec, loss) = (up(e, &[b, m], s), records(e, b), out(e, &[1]));
    let (dloss, ds) = (up(e, &[1], &[2.0]), out(e, &[b, m]));
    let l = run_twice(e, &loss, |p| kernel::forward(p, f, &ts, &rec, &loss));
    let d = run_twice(e, &ds, |p| kernel::backward(p, f, &rec, &dloss, &ds));
    (l[0], d)
}

fn check(e: &Engine, f: Triplet, s: &[f32], b: usize, m: usize) {
    let (loss, ds) = run(e, f, s, b, m);
    let (want, dwant) = twin::run(f, &f64s(s), b, m);
    // Distances are at most 2 and off by 4 roundings (root 3 ulp, 2 - 2s exact to one rounding where s is far enough from 1, as here);
    // softplus adds exp and log, each a few ulp or 2^-21 near 1; the mean of 2B terms below 3 at most (B / 4 + 10) EPS.
    close(&[loss], &[want], 2e-6 + (b as f64 / 4.0 + 10.0) * EPS * 3.0, 0.0);
    // Slopes 1/d: |s| <= 0.99 here, so d >= 0.14 and 2 - 2s keeps a relative error of 1 / 0.02 EPS. A column meets up to B anchors.
    close(&ds, &dwant.iter().map(|d| 2.0 * d).collect::<Vec<_>>(), 100.0 * EPS / 0.14 * (1.0 + 1.0 / b as f64), 100.0 * EPS);
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (b, m) in SHAPES {
            let s: Vec<f32> = random(b * m, 1).iter().map(|v| v * 0.99).collect();
            for f in [Triplet::default(), Triplet { margin: 0.05, soft: true, ..Triplet::default() }] {
                check(e, f, &s, b, m);
            }
        }
    }
}

/// Few distinct values: the lower index wins every tie, on the device as in the twin.
#[test]
fn ties_go_to_the_lower_index() {
    let (engines, _lock) = engines();
    for e in engines {
        for (b, m) in [(5, 5), (33, 70)] {
            let s: Vec<f32> = random(b * m, 1).iter().map(|v| (v * 2.0).round() * 0.25).collect();
            check(e, Triplet { margin: 2.0, ..Triplet::default() }, &s, b, m);
            check(e, Triplet { margin: 2.0, ..Triplet::default() }, &vec![0.25; b * m], b, m);
        }
    }
}

/// The twin's gradient against central differences in f64, with the loss inside a sine.
#[test]
fn twin_gradient_equals_finite_differences() {
    let (b, m) = (5, 7);
    let s: Vec<f64> = f64s(&random(b * m, 3)).iter().map(|v| v * 0.9).collect();
    for f in [Triplet::default(), Triplet { soft: true, ..Triplet::default() }] {
        let (loss, ds) = twin::run(f, &s, b, m);
        for (i, d) in ds.iter().enumerate() {
            let at = |h: f64| {
                let mut s = s.clone();
                s[i] += h;
                (2.0 * twin::run(f, &s, b, m).0).sin()
            };
            let (got, want) = (2.0 * (2.0 * loss).cos() * d, (at(1e-6) - at(-1e-6)) / 2e-6);
            assert!((got - want).abs() < 1e-7, "at {i}: {got} against {want}");
        }
    }
}

/// Equal and nearly equal rows (s = 1 and just beyond by rounding) give finite gradients; no negative gives zero.
#[test]
fn degenerate_inputs() {
    let (engines, _lock) = engines();
    for e in engines {
        for soft in [false, true] {
            let f = Triplet { soft, ..Triplet::default() };
            let (loss, ds) = run(e, f, &[1.000_001; 9], 3, 3);
            let want = if soft { (1.0 + 0.5f64.exp()).ln() } else { 0.5 };
            close(&[loss], &[want], 2e-6, 0.0);
            assert_eq!(ds, [0.0; 9]);
            assert_eq!(run(e, f, &[0.3], 1, 1), (0.0, vec![0.0]));
        }
    }
}

#[test]
fn refuses_with_the_reason() {
    let (e, _lock) = engine();
    let (s, rec, loss) = (out(e, &[4, 3]), records(e, 4), out(e, &[1]));
    let try_ = |f, s: &Tensor, rec: &Tensor| kernel::forward(&mut PlanBuilder::new(e), f, s, rec, &loss).unwrap_err().to_string();
    assert!(try_(Triplet::default(), &s, &rec).contains("fewer columns than rows"));
    let s = out(e, &[4, 4]);
    assert!(try_(Triplet { eps: 0.0, ..Triplet::default() }, &s, &rec).contains("eps 0 is not above 0"));
    assert!(try_(Triplet::default(), &s, &records(e, 5)).contains("`records` must be U32 [2, 4, 4], not U32 [2, 5, 4]"));
    assert!(try_(Triplet::default(), &s, &out(e, &[2, 4, 4])).contains("`records` must be U32 [2, 4, 4], not F32 [2, 4, 4]"));
}

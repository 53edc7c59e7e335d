use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder, Tensor};
use echogrid::kernels::triplet::{self as kernel, Directions, Mining, Triplet};
use echogrid::reference::triplet as twin;

const SHAPES: [(usize, usize); 8] = [(1, 1), (1, 4), (2, 2), (3, 3), (7, 9), (8, 8), (65, 65), (63, 131)];

/// Every way the loss can be taken.
fn all(margin: f32) -> impl Iterator<Item = Triplet> {
    (0..8).map(move |bits| Triplet {
        margin,
        soft: bits & 1 > 0,
        mining: if bits & 2 > 0 { Mining::All } else { Mining::Hard },
        directions: if bits & 4 > 0 { Directions::Rows } else { Directions::Both },
        ..Triplet::default()
    })
}

/// The diagonal and some others are positive, some ignored. Row 2 and column 3 have no positive, row 4 and column 1 no negative within B.
fn mask(b: usize) -> Vec<f32> {
    let noise = random(b * b, 9);
    (0..b * b)
        .map(|at| match (at / b, at % b) {
            (2, _) | (_, 3) => noise[at].min(0.0),
            (4, _) | (_, 1) => noise[at],
            (i, j) if i == j => 0.3,
            _ if noise[at].abs() > 0.7 => noise[at],
            _ => 0.0,
        })
        .collect()
}

struct Got {
    loss: f32,
    accuracy: f32,
    ds: Vec<f32>,
}

/// Loss, accuracy, and the gradient for an upstream gradient of 2.
fn run(e: &Engine, f: Triplet, s: &[f32], mask: Option<&[f32]>, b: usize, m: usize) -> Got {
    let (ts, tw) = (up(e, &[b, m], s), mask.map(|w| up(e, &[b, b], w)));
    let (rec, loss, accuracy) = (out(e, &kernel::records_shape(f, b, m)), out(e, &[1]), out(e, &[1]));
    let (dloss, ds) = (up(e, &[1], &[2.0]), out(e, &[b, m]));
    let l = run_twice(e, &loss, |p| kernel::forward(p, f, &ts, tw.as_ref(), &rec, &loss, &accuracy));
    let d = run_twice(e, &ds, |p| kernel::backward(p, f, &rec, &dloss, &ds));
    Got { loss: l[0], accuracy: e.read(&accuracy).unwrap()[0], ds: d }
}

/// Of the anchor that has most.
fn positives(mask: Option<&[f32]>, b: usize) -> usize {
    let of = |w: &[f32], first: usize, step: usize| w.iter().skip(first).step_by(step).take(b).filter(|w| **w > 0.0).count();
    mask.map_or(1, |w| (0..b).map(|a| of(w, a * b, 1).max(of(w, a, b))).max().unwrap_or(0))
}

fn check(e: &Engine, f: Triplet, s: &[f32], mask: Option<&[f32]>, b: usize, m: usize) {
    let got = run(e, f, s, mask, b, m);
    let wide = mask.map(f64s);
    let (loss, accuracy, ds) = twin::run(f, &f64s(s), wide.as_deref(), b, m);
    assert!((f64::from(got.accuracy) - accuracy).abs() < 1e-6, "{f:?}: accuracy {} and {accuracy}", got.accuracy);
    let ds: Vec<f64> = ds.iter().map(|d| 2.0 * d).collect();
    // Distances are at most 2 and off by 4 roundings (root 3 ulp, 2 - 2s exact to one rounding where s is far enough from 1, as here);
    // softplus adds exp and log, each a few ulp or 2^-21 near 1; the mean of terms below 3 by as much for each time one is added to others.
    let (adds, abs, rel) = match f.mining {
        // The mean of 2B terms. Slopes 1/d: |s| <= 0.99 here, so d >= 0.14 and 2 - 2s keeps a relative error of 1 / 0.02 EPS. A column
        // meets up to B anchors.
        Mining::Hard => (b / 4 + 10, 100.0 * EPS / 0.14 * (1.0 + 1.0 / b as f64), 100.0 * EPS),
        // Chunks of 64 elements or more for each of an anchor's positives, then the anchors. What an element's gradient sums has one sign:
        // slopes as above, with a pull whose exponent (a difference of distances) is off by 16 EPS, and which is added up to B + M times.
        Mining::All => (positives(mask, b) * (m / 64 + 1) + b / 4 + 30, 0.0, (150.0 + (b + m) as f64) * EPS),
    };
    close(&[got.loss], &[loss], 2e-6 + adds as f64 * EPS * 3.0, 0.0);
    close(&got.ds, &ds, abs, rel);
}

/// Similarities of which no hinge comes within reach of rounding of its kink, where the loss of all jumps.
fn similarities(f: Triplet, mask: Option<&[f32]>, b: usize, m: usize) -> Vec<f32> {
    let wide = mask.map(f64s);
    let draws = (1..50).map(|seed| random(b * m, seed).iter().map(|v| v * 0.99).collect::<Vec<f32>>());
    let mut clear = draws.filter(|s| f.soft || twin::nearest_kink(f, &f64s(s), wide.as_deref(), b, m) > 2e-6);
    clear.next().expect("a draw far from every kink")
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (b, m) in SHAPES {
            let mask = mask(b);
            for f in all(0.5).chain(all(0.05)) {
                for mask in [None, Some(mask.as_slice())] {
                    check(e, f, &similarities(f, mask, b, m), mask, b, m);
                }
            }
        }
    }
}

/// Distances 1, 1.5, 0.5 of the first row and 1.5, 2, 1 of the second, by hand: what counts, and over how many it is divided.
#[test]
fn golden() {
    let (engines, _lock) = engines();
    for e in engines {
        let s = [1.0f32, 1.5, 0.5, 1.5, 2.0, 1.0].map(|d| 1.0 - d * d / 2.0);
        let loss = |mining, directions, mask: Option<&[f32]>| {
            run(e, Triplet { margin: 0.25, mining, directions, ..Triplet::default() }, &s, mask, 2, 3).loss
        };
        // The first row and column are positive with both of the others; the last pair of all is neither.
        let some: Option<&[f32]> = Some(&[1.0, 0.0, 0.5, -1.0]);
        let got = [
            loss(Mining::Hard, Directions::Both, None),
            loss(Mining::Hard, Directions::Rows, None),
            loss(Mining::All, Directions::Both, None),
            loss(Mining::All, Directions::Rows, None),
            loss(Mining::Hard, Directions::Both, some),
            loss(Mining::Hard, Directions::Rows, some),
            loss(Mining::All, Directions::Both, some),
        ];
        let rows = 0.75 + 1.25;
        let want = [(rows + 0.75) / 4.0, rows / 2.0, (rows + 1.5) / 4.0, (rows + 0.75) / 3.0, 1.5 / 4.0, 1.5 / 2.0, 1.5 / 2.0];
        close(&got, &want, 1e-6, 0.0);
    }
}

/// Few distinct values: the lower index wins every tie, on the device as in the twin.
#[test]
fn ties_go_to_the_lower_index() {
    let (engines, _lock) = engines();
    for e in engines {
        for (b, m) in [(5, 5), (33, 70)] {
            let s: Vec<f32> = random(b * m, 1).iter().map(|v| (v * 2.0).round() * 0.25).collect();
            let mask = mask(b);
            for f in all(2.0).filter(|f| !f.soft) {
                for mask in [None, Some(mask.as_slice())] {
                    check(e, f, &s, mask, b, m);
                    check(e, f, &vec![0.25; b * m], mask, b, m);
                }
            }
        }
    }
}

/// The twin's gradient against central differences in f64, with the loss inside a sine.
#[test]
fn twin_gradient_equals_finite_differences() {
    let (b, m) = (5, 7);
    let wide = f64s(&mask(b));
    for f in all(0.5) {
        for mask in [None, Some(wide.as_slice())] {
            let s: Vec<f64> = f64s(&random(b * m, 3)).iter().map(|v| v * 0.9).collect();
            assert!(twin::nearest_kink(f, &s, mask, b, m) > 1e-4);
            let (loss, _, ds) = twin::run(f, &s, mask, b, m);
            assert!(ds.iter().any(|d| *d != 0.0));
            for (i, d) in ds.iter().enumerate() {
                let at = |h: f64| {
                    let mut s = s.clone();
                    s[i] += h;
                    (2.0 * twin::run(f, &s, mask, b, m).0).sin()
                };
                let (got, want) = (2.0 * (2.0 * loss).cos() * d, (at(1e-6) - at(-1e-6)) / 2e-6);
                assert!((got - want).abs() < 1e-7, "{f:?} at {i}: {got} against {want}");
            }
        }
    }
}

/// Equal and nearly equal rows (s = 1 and just beyond by rounding) give finite gradients; nothing that counts gives zero.
#[test]
fn degenerate_inputs() {
    let (engines, _lock) = engines();
    for e in engines {
        for f in all(0.5) {
            let got = run(e, f, &[1.000_001; 9], None, 3, 3);
            let want = if f.soft { (1.0 + 0.5f64.exp()).ln() } else { 0.5 };
            // The first row's greatest, the first of equals, is its positive; the others' is not.
            close(&[got.loss, got.accuracy], &[want, 1.0 / 3.0], 2e-6, 0.0);
            assert_eq!(got.ds, [0.0; 9]);
            let got = run(e, f, &[0.3], None, 1, 1);
            assert_eq!((got.loss, got.accuracy, got.ds), (0.0, 1.0, vec![0.0]));
            for (w, accuracy) in [(1.0, 1.0), (0.0, 0.0), (-1.0, 0.0), (f32::NAN, 0.0)] {
                let got = run(e, f, &random(81, 1), Some(&[w; 81]), 9, 9);
                assert_eq!((got.loss, got.accuracy, got.ds), (0.0, accuracy, vec![0.0; 81]), "{f:?}, all {w}");
            }
            // Every negative is farther than the margin.
            if !f.soft {
                let s: Vec<f32> = (0..81).map(|at| if at / 9 == at % 9 { 0.9 } else { -0.9 }).collect();
                let got = run(e, f, &s, None, 9, 9);
                assert_eq!((got.loss, got.accuracy, got.ds), (0.0, 1.0, vec![0.0; 81]));
            }
        }
    }
}

/// A NaN similarity makes the loss NaN instead of vanishing, but where it is ignored.
#[test]
fn nan_shows() {
    let (engines, _lock) = engines();
    for e in engines {
        let (b, m) = (9, 11);
        let mut mask = vec![0.0; b * b];
        (0..b).for_each(|i| [0, 1].iter().for_each(|d| mask[i * b + (i + d) % b] = 1.0));
        mask[4 * b + 7] = -1.0;
        for f in all(2.5) {
            let with = |i: usize, j: usize, v: f32| {
                let mut s: Vec<f32> = random(b * m, 1).iter().map(|v| v * 0.9).collect();
                s[i * m + j] = v;
                run(e, f, &s, Some(&mask), b, m)
            };
            for (i, j) in [(3, 3), (3, 4), (3, 0), (8, 10)] {
                assert!(with(i, j, f32::NAN).loss.is_nan() || !keeps_nan(e), "{f:?} at {i}, {j}");
            }
            let (nan, none) = (with(4, 7, f32::NAN), with(4, 7, 0.0));
            assert_eq!((nan.loss, nan.accuracy), (none.loss, none.accuracy));
        }
    }
}

/// More columns than a software adapter's loops go over in one dispatch, with a mask of many rows.
#[test]
fn long_rows() {
    let (engines, _lock) = engines();
    for e in engines {
        let (b, m) = (500usize, 9001);
        let mask: Vec<f32> = (0..b * b).map(|at| if (at / b).abs_diff(at % b) < 2 { 1.0 } else { 0.0 }).collect();
        let s: Vec<f32> = random(b * m, 1).iter().map(|v| v * 0.99).collect();
        for soft in [false, true] {
            check(e, Triplet { soft, ..Triplet::default() }, &s, Some(&mask), b, m);
        }
        check(e, Triplet { soft: true, mining: Mining::All, ..Triplet::default() }, &s, Some(&mask), b, m);
    }
}

#[test]
fn reads_its_settings() {
    let f: Triplet = serde_json::from_str(r#"{"soft": true, "mining": "all", "directions": "rows"}"#).unwrap();
    assert_eq!(f, Triplet { soft: true, mining: Mining::All, directions: Directions::Rows, ..Triplet::default() });
    for f in all(0.1) {
        assert_eq!(serde_json::from_str::<Triplet>(&serde_json::to_string(&f).unwrap()).unwrap(), f);
    }
    let err = serde_json::from_str::<Triplet>(r#"{"minning": "all"}"#).unwrap_err().to_string();
    assert!(err.contains("minning"), "{err}");
}

#[test]
fn refuses_with_the_reason() {
    let (e, _lock) = engine();
    let f = Triplet::default();
    let (loss, accuracy) = (out(e, &[1]), out(e, &[1]));
    let try_ = |f, s: &Tensor, mask: Option<&Tensor>, rec: &Tensor| {
        kernel::forward(&mut PlanBuilder::new(e), f, s, mask, rec, &loss, &accuracy).unwrap_err().to_string()
    };
    let (s, rec) = (out(e, &[4, 4]), out(e, &kernel::records_shape(f, 4, 4)));
    assert!(try_(f, &out(e, &[4, 3]), None, &rec).contains("fewer columns than rows"));
    assert!(try_(Triplet { eps: 0.0, ..f }, &s, None, &rec).contains("eps 0 is not above 0"));
    assert!(try_(Triplet { margin: f32::NAN, ..f }, &s, None, &rec).contains("margin NaN is not finite"));
    assert!(try_(f, &s, Some(&out(e, &[4, 5])), &rec).contains("`mask` must be F32 [4, 4], not F32 [4, 5]"));
    assert!(try_(f, &s, None, &out(e, &[65])).contains("`records` must be F32 [64], not F32 [65]"));
    let rows = Triplet { directions: Directions::Rows, ..f };
    assert!(try_(rows, &s, None, &rec).contains("`records` must be F32 [32], not F32 [64]"));
    assert!(try_(Triplet { mining: Mining::All, ..f }, &s, None, &rec).contains("`records` must be F32 [48], not F32 [64]"));
    let wrong = e.tensor("records", &[64], DType::U32).unwrap();
    assert!(try_(f, &s, None, &wrong).contains("`records` must be F32 [64], not U32 [64]"));
    let (ds, dloss) = (out(e, &[4, 4]), out(e, &[2]));
    says(kernel::backward(&mut PlanBuilder::new(e), f, &rec, &dloss, &ds), "`dloss` must be F32 [1], not F32 [2]");
    if e.caps().software {
        let wide = out(e, &[1, 440_001]);
        assert!(try_(f, &wide, None, &rec).contains("software adapters stop long loops"));
    }
}

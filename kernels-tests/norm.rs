use crate::common::*;
use echogrid::gpu::{Engine, PlanBuilder, Tensor};
use echogrid::kernels::norm::{self as kernel, Backward, Norm, Running, Stats};
use echogrid::reference::norm as twin;

const SHAPES: [[usize; 4]; 8] =
    [[2, 1, 1, 1], [1, 3, 5, 7], [2, 9, 7, 64], [1, 8, 8, 63], [3, 4, 5, 65], [1, 31, 33, 4], [2, 47, 43, 3], [4, 64, 64, 8]];
const STEP: f32 = 1e-3;

struct Case {
    x: Vec<f32>,
    dy: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    mean: Vec<f64>,
    var: Vec<f64>,
    /// Relative error allowed to what is normalised: see `case`.
    unit: f64,
}

/// Data of deviation `1/sqrt(3)` about `offset`.
///
/// The mean of a channel passes through blocks of at most R/4 updates, each rounding at most u times the largest |x|, and
/// chunks keep the chain near 64 + log R; the loads themselves are exact. So |mean error| <= 100 u max|x|, which the division by
/// the deviation turns into 100 u max|x| / sigma; the deviation itself has a relative error of the same order.
fn case(shape: &[usize; 4], offset: f32) -> Case {
    let (c, n): (usize, usize) = (shape[3], shape.iter().product());
    let x: Vec<f32> = random(n, 1).iter().map(|v| v + offset).collect();
    let gamma: Vec<f32> = random(c, 3).iter().map(|v| v + 1.5).collect();
    let (mean, var) = twin::statistics(&f64s(&x), c);
    let sigma = var.iter().fold(f64::INFINITY, |a, v| a.min((v + f64::from(STEP)).sqrt()));
    let unit = 100.0 * EPS * (f64::from(offset) + 1.0) / sigma;
    Case { dy: random(n, 2), beta: random(c, 4), gamma, mean, var, unit, x }
}

fn params(e: &Engine, c: &Case) -> [Tensor; 4] {
    let n = c.gamma.len();
    [up(e, &[n], &c.gamma), up(e, &[n], &c.beta), up(e, &[n], &random(n, 5)), up(e, &[n], &vec![2.0; n])]
}

#[test]
fn batch_statistics_equal_the_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for shape in SHAPES {
            for offset in [0.0, 1000.0] {
                let k = case(&shape, offset);
                let c = shape[3];
                let [gamma, beta, rm, rv] = params(e, &k);
                let (x, y, saved) = (up(e, &shape, &k.x), out(e, &shape), out(e, &[2, c]));
                let norm = Norm { gamma: &gamma, beta: &beta, eps: STEP, relu: false };
                let run = Running { mean: &rm, var: &rv };
                plan(e, |p| kernel::forward_batch(p, &norm, &run, 0.1, &x, &y, &saved)).submit(e).unwrap();
                let s: Vec<f32> = e.read(&saved).unwrap();
                close(&s[..c], &k.mean, 100.0 * EPS * f64::from(offset + 1.0), 0.0);
                let rstd: Vec<f64> = k.var.iter().map(|v| 1.0 / (v + f64::from(STEP)).sqrt()).collect();
                close(&s[c..], &rstd, 0.0, k.unit);
                let rows = (k.x.len() / c) as f64;
                let m: Vec<f64> = random(c, 5).iter().zip(&k.mean).map(|(r, m)| 0.9 * f64::from(*r) + 0.1 * m).collect();
                close(&e.read(&rm).unwrap(), &m, 100.0 * EPS * f64::from(offset + 1.0), 0.0);
                let v: Vec<f64> = k.var.iter().map(|v| 1.8 + 0.1 * v * rows / (rows - 1.0)).collect();
                close(&e.read(&rv).unwrap(), &v, 0.0, k.unit);
                for relu in [false, true] {
                    let norm = Norm { relu, ..norm };
                    let got = run_twice(e, &y, |p| kernel::forward_batch(p, &norm, &run, 0.1, &x, &y, &saved));
                    let want = twin::apply(&f64s(&k.x), &k.mean, &k.var, STEP.into(), &f64s(&k.gamma), &f64s(&k.beta), relu);
                    // |gamma| <= 2.5, |xh| <= 2: two errors of k.unit at most each.
                    close(&got, &want, 10.0 * k.unit, 0.0);
                }
            }
        }
    }
}

#[test]
fn frozen_statistics_equal_the_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for shape in SHAPES {
            let k = case(&shape, 0.0);
            let c = shape[3];
            let [gamma, beta, rm, rv] = params(e, &k);
            let (x, y, saved) = (up(e, &shape, &k.x), out(e, &shape), out(e, &[2, c]));
            for relu in [false, true] {
                let norm = Norm { gamma: &gamma, beta: &beta, eps: STEP, relu };
                let got = run_twice(e, &y, |p| kernel::forward_frozen(p, &norm, &Running { mean: &rm, var: &rv }, &x, &y, &saved));
                let (mean, var) = (f64s(&random(c, 5)), vec![2.0; c]);
                let want = twin::apply(&f64s(&k.x), &mean, &var, STEP.into(), &f64s(&k.gamma), &f64s(&k.beta), relu);
                // About eight roundings of numbers up to 2.5 * 2 + 1.
                close(&got, &want, 50.0 * EPS, 0.0);
            }
        }
    }
}

#[test]
fn backward_equals_the_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (shape, relu, stats) in SHAPES.iter().flat_map(|s| {
            [(false, Stats::Batch), (true, Stats::Batch), (false, Stats::Frozen), (true, Stats::Frozen)].map(|(r, f)| (*s, r, f))
        }) {
            let mut k = case(&shape, 0.0);
            let c = shape[3];
            // No gradient where rounding decides the ReLU.
            let pre = twin::apply(&f64s(&k.x), &k.mean, &k.var, STEP.into(), &f64s(&k.gamma), &f64s(&k.beta), false);
            k.dy.iter_mut().zip(&pre).filter(|(_, p)| p.abs() < 1e-3).for_each(|(d, _)| *d = 0.0);
            let [gamma, beta, ..] = params(e, &k);
            let rstd = k.var.iter().map(|v| 1.0 / (v + f64::from(STEP)).sqrt());
            let saved: Vec<f32> = k.mean.iter().copied().chain(rstd).map(|v| v as f32).collect();
            let (x, dy, saved) = (up(e, &shape, &k.x), up(e, &shape, &k.dy), up(e, &[2, c], &saved));
            let (dx, dgamma, dbeta) = (out(e, &shape), out(e, &[c]), out(e, &[c]));
            let norm = Norm { gamma: &gamma, beta: &beta, eps: STEP, relu };
            let b = Backward { x: &x, saved: &saved, dy: &dy, dx: &dx, dgamma: &dgamma, dbeta: &dbeta, accumulate: false };
            let got = run_twice(e, &dx, |p| kernel::backward(p, &norm, stats, &b));
            let (wx, wg, wb) = twin::backward(
                &f64s(&k.x),
                (&k.mean, &k.var),
                STEP.into(),
                (&f64s(&k.gamma), &f64s(&k.beta)),
                relu,
                stats == Stats::Frozen,
                &f64s(&k.dy),
            );
            // Sums over R rows of numbers up to 2: chains of about 100 roundings of partial sums up to 2 R; dx divides them by
            // R again and multiplies by gamma / sigma <= 2.5 / sigma.
            let rows = (k.x.len() / c) as f64;
            let sum = 100.0 * EPS * 2.0 * rows;
            close(&e.read(&dgamma).unwrap(), &wg, sum, 0.0);
            close(&e.read(&dbeta).unwrap(), &wb, sum, 0.0);
            let sigma = k.var.iter().fold(f64::INFINITY, |a, v| a.min((v + f64::from(STEP)).sqrt()));
            close(&got, &wx, 100.0 * EPS * 2.0 * 2.0 * 2.5 / sigma, 0.0);
            if stats == Stats::Frozen {
                let alone = out(e, &shape);
                let alone = run_twice(e, &alone, |p| kernel::backward_constant(p, &norm, &x, &saved, &dy, &alone));
                close(&alone, &wx, 100.0 * EPS * 2.0 * 2.0 * 2.5 / sigma, 0.0);
            }
            plan(e, |p| kernel::backward(p, &norm, stats, &Backward { accumulate: true, ..b })).submit(e).unwrap();
            close(&e.read(&dx).unwrap(), &f64s(&got), 0.0, 0.0);
            close(&e.read(&dgamma).unwrap(), &wg.iter().map(|v| 2.0 * v).collect::<Vec<_>>(), 3.0 * sum, 0.0);
        }
    }
}

/// The sum of sin(norm(x)) against central differences in f64, both modes, with ReLU.
#[test]
fn twin_gradient_equals_finite_differences() {
    let (x, gamma, beta) = (f64s(&random(35, 6)), f64s(&random(5, 7)), f64s(&random(5, 8)));
    let fixed = (f64s(&random(5, 9)), vec![0.7; 5]);
    for frozen in [false, true] {
        let stats = |x: &[f64]| if frozen { fixed.clone() } else { twin::statistics(x, 5) };
        let forward = |x: &[f64], g: &[f64], b: &[f64]| twin::apply(x, &stats(x).0, &stats(x).1, 1e-3, g, b, true);
        let loss = |x: &[f64], g: &[f64], b: &[f64]| forward(x, g, b).iter().map(|v| v.sin()).sum::<f64>();
        let dy: Vec<f64> = forward(&x, &gamma, &beta).iter().map(|v| v.cos()).collect();
        let (mean, var) = stats(&x);
        let (dx, dg, db) = twin::backward(&x, (&mean, &var), 1e-3, (&gamma, &beta), true, frozen, &dy);
        let nudge = |v: &[f64], i: usize, d: f64| v.iter().enumerate().map(|(k, a)| if k == i { a + d } else { *a }).collect::<Vec<_>>();
        let h = 1e-6;
        for (i, g) in dx.iter().enumerate() {
            let want = (loss(&nudge(&x, i, h), &gamma, &beta) - loss(&nudge(&x, i, -h), &gamma, &beta)) / (2.0 * h);
            assert!((g - want).abs() < 1e-6, "dx[{i}]: {g} against {want}");
        }
        for i in 0..5 {
            let want = (loss(&x, &nudge(&gamma, i, h), &beta) - loss(&x, &nudge(&gamma, i, -h), &beta)) / (2.0 * h);
            assert!((dg[i] - want).abs() < 1e-6, "dgamma[{i}]");
            let want = (loss(&x, &gamma, &nudge(&beta, i, h)) - loss(&x, &gamma, &nudge(&beta, i, -h))) / (2.0 * h);
            assert!((db[i] - want).abs() < 1e-6, "dbeta[{i}]");
        }
    }
}

/// A constant channel has variance 0 and gives beta; a tiny one does not turn into NaN.
#[test]
fn odd_floats() {
    let (e, _lock) = engine();
    let x: Vec<f32> = (0..200).flat_map(|i| [7.25, 1e-40 * i as f32, 1e15 * (i % 2) as f32]).collect();
    let (x, y, saved) = (up(e, &[200, 3], &x), out(e, &[200, 3]), out(e, &[2, 3]));
    let (gamma, beta) = (up(e, &[3], &[1.0; 3]), up(e, &[3], &[0.5; 3]));
    let (rm, rv) = (up(e, &[3], &[0.0; 3]), up(e, &[3], &[1.0; 3]));
    let norm = Norm { gamma: &gamma, beta: &beta, eps: 1e-5, relu: false };
    let y = run_twice(e, &y, |p| kernel::forward_batch(p, &norm, &Running { mean: &rm, var: &rv }, 0.1, &x, &y, &saved));
    for row in y.chunks(3) {
        assert_eq!(row[0], 0.5);
        assert!((row[1] - 0.5).abs() < 1e-6 && (row[2].abs() - 1.0).abs() < 0.6, "{row:?}");
    }
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let c = || out(e, &[3]);
    let (g, b, m, v) = (c(), c(), c(), c());
    let norm = Norm { gamma: &g, beta: &b, eps: STEP, relu: false };
    let run = Running { mean: &m, var: &v };
    let saved = out(e, &[2, 3]);
    let err = kernel::forward_batch(&mut p, &norm, &run, 0.1, &out(e, &[1, 3]), &out(e, &[1, 3]), &saved).unwrap_err();
    assert!(err.to_string().contains("statistics of 1 values a channel"), "{err}");
    let err = kernel::forward_frozen(&mut p, &norm, &run, &out(e, &[2, 4]), &out(e, &[2, 4]), &saved).unwrap_err();
    assert!(err.to_string().contains("`running mean` must be F32 [4]"), "{err}");
    let (x, dx) = (out(e, &[2, 3]), out(e, &[3, 3]));
    says(kernel::backward_constant(&mut p, &norm, &x, &saved, &x, &dx), "`dx` must be F32 [2, 3]");
}

#[test]
fn stored_as_f16() {
    for (shape, relu) in [([1, 3, 5, 7], true), ([2, 9, 7, 64], false), ([2, 47, 43, 3], false), ([1, 31, 33, 4], true)] {
        let (n, c) = (shape.iter().product(), shape[3]);
        let (x, dy) = (halves(n, 1), halves(n, 2));
        let own = |p: &PlanBuilder<'_>, add: f32, seed: u64| {
            up(p.engine(), &[c], &random(c, seed).iter().map(|v| v * 0.5 + add).collect::<Vec<_>>())
        };
        let forward = |p: &mut PlanBuilder<'_>, batch: bool, x: &Tensor, y: &Tensor| {
            let (gamma, beta, mean, var) = (own(p, 1.5, 3), own(p, 0.0, 4), own(p, 0.0, 5), own(p, 2.0, 6));
            let (norm, run) = (Norm { gamma: &gamma, beta: &beta, eps: STEP, relu }, Running { mean: &mean, var: &var });
            let saved = out(p.engine(), &[2, c]);
            match batch {
                true => kernel::forward_batch(p, &norm, &run, 0.1, x, y, &saved),
                false => kernel::forward_frozen(p, &norm, &run, x, y, &saved),
            }
        };
        for batch in [true, false] {
            stored_either_way(&[(&shape, &x)], &shape, None, |p, t, y| forward(p, batch, &t[0], y));
        }
        for stats in [Stats::Batch, Stats::Frozen] {
            stored_either_way(&[(&shape, &x), (&shape, &dy)], &shape, Some(0), |p, t, dx| {
                let (gamma, beta) = (own(p, 1.5, 3), own(p, 0.0, 4));
                let saved: Vec<f32> = [vec![0.01; c], vec![1.7; c]].concat();
                let (saved, dgamma, dbeta) = (up(p.engine(), &[2, c], &saved), out(p.engine(), &[c]), out(p.engine(), &[c]));
                let norm = Norm { gamma: &gamma, beta: &beta, eps: STEP, relu };
                let b = Backward { x: &t[0], saved: &saved, dy: &t[1], dx, dgamma: &dgamma, dbeta: &dbeta, accumulate: false };
                kernel::backward(p, &norm, stats, &b)
            });
        }
        stored_either_way(&[(&shape, &x), (&shape, &dy)], &shape, Some(0), |p, t, dx| {
            let (gamma, beta) = (own(p, 1.5, 3), own(p, 0.0, 4));
            let saved = up(p.engine(), &[2, c], &[vec![0.01; c], vec![1.7; c]].concat());
            kernel::backward_constant(p, &Norm { gamma: &gamma, beta: &beta, eps: STEP, relu }, &t[0], &saved, &t[1], dx)
        });
    }
}

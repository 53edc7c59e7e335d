//! The library's optimal transport: golden values, properties, and what is said when it did not converge.

use crate::common::*;
use echogrid::align::{Cost, Sinkhorn, Solution, Weights, mean_cost};
use echogrid::gpu::Engine;
use echogrid::kernels::sinkhorn_small as small;
use echogrid::reference::sinkhorn_small as twin;

const SQ: Cost = Cost::SquaredEuclidean;

/// Solves for points on the host.
fn solve(e: &Engine, s: &Sinkhorn, d: usize, x: &[f32], y: &[f32], w: Weights<'_>) -> Solution {
    s.divergence(e, &up(e, &[x.len() / d, d], x), &up(e, &[y.len() / d, d], y), w).unwrap()
}

fn plain(e: &Engine, s: &Sinkhorn, d: usize, x: &[f32], y: &[f32]) -> f64 {
    let t = solve(e, s, d, x, y, Weights::default()).transport;
    assert!(t.converged && t.marginal_error <= s.tolerance * 1.5, "{t:?}");
    t.divergence.unwrap()
}

/// A normal distribution on `n` points out to `reach` standard deviations.
fn gauss(n: usize, mean: f64, sd: f64, reach: f64) -> (Vec<f32>, Vec<f32>) {
    let t = |i: usize| reach * (2.0 * i as f64 / (n - 1) as f64 - 1.0);
    ((0..n).map(|i| (mean + sd * t(i)) as f32).collect(), (0..n).map(|i| (-0.5 * t(i) * t(i)).exp() as f32).collect())
}

/// Closed forms for normal distributions.
///
/// On points h apart a sum of smooth, decaying functions misses their integral by exp(-2 pi^2 s^2 / h^2), s the width of the narrowest: the
/// plan's conditionals, whose variance is eps / 2 less at least: with h <= 0.08 at sigma 0.1 (s = 0.1 or above 0.07) 1e-7 at most, nothing at larger
/// ones. What lies beyond 5.5 deviations weighs 4e-8 and changes second moments, and so the values, by 1e-6.
#[test]
fn golden_normal_distributions() {
    let (engines, _lock) = engines();
    for e in engines {
        for (mean, sd, sigma, ot, s) in [
            (3.0, 2.0, 1.0, 11.817508, 9.970579),
            (3.0, 2.0, 0.5, 10.777670, 9.998055),
            (1.0, 1.0, 0.5, 1.612178, 1.000000),
            (0.0, 2.0, 0.1, 1.062996, 0.999997),
        ] {
            // Whole in one workgroup, then online.
            for (n, m) in [(200, 256), (301, 520)] {
                let ((x, a), (y, b)) = (gauss(n, 0.0, 1.0, 5.5), gauss(m, mean, sd, 5.5));
                let w = Weights { a: Some(&a), b: Some(&b) };
                let t = solve(e, &Sinkhorn::new(SQ, 2.0 * sigma * sigma), 1, &x, &y, w).transport;
                println!("N({mean}, {sd}^2), sigma {sigma}, {n} x {m}: {t:?}");
                assert!(t.converged, "{t:?}");
                let off = [(t.cost - ot) / ot, (t.divergence.unwrap() - s) / s];
                assert!(off.iter().all(|o| o.abs() < 1e-4), "{t:?}: off by {off:?} of {ot} and {s}");
            }
        }
    }
}

/// Clouds of `n` points; larger than 256 they go the online way.
fn clouds(n: usize, d: usize) -> (Vec<f32>, Vec<f32>) {
    (random(n * d, 1), random((n - 7) * d, 2).iter().map(|v| 0.7 * v + 0.4).collect())
}

/// Order, place and direction of the clouds do not matter; a cloud is at 0 from itself; a displaced one at the square of the displacement.
#[test]
fn properties() {
    let (engines, _lock) = engines();
    for e in engines {
        for (n, d) in [(60, 2), (300, 3), (280, 64)] {
            let (x, y) = clouds(n, d);
            for cost in [SQ, Cost::Cosine] {
                let mean = mean_cost(cost, &x, &y, d);
                let s = Sinkhorn::new(cost, 0.1 * mean);
                let at = plain(e, &s, d, &x, &y);
                assert!(at > 0.0);
                // Values agree within the marginal error, 1e-4, times the spread of the cost, a few times its mean; in truth, the error being of
                // second order, within far less.
                let same = |what: &str, v: f64| assert!((v - at).abs() < 2e-4 * mean, "{what}, {n} x {d}, {cost:?}: {v}, not {at}");
                same("swapped", plain(e, &s, d, &y, &x));
                let turned: Vec<f32> = x.chunks(d).rev().flatten().copied().collect();
                same("in reverse order", plain(e, &s, d, &turned, &y));
                let zero = solve(e, &s, d, &x, &x, Weights::default()).transport;
                assert!(zero.converged && (0.0..1e-5 * mean).contains(&zero.divergence.unwrap()), "{n} x {d}, {cost:?}, itself: {zero:?}");
                match cost {
                    Cost::SquaredEuclidean => {
                        let by = |v: &[f32], by: f32| v.iter().map(|v| v + by).collect::<Vec<_>>();
                        // Points are rounded at 8: 5e-7 of them.
                        same("elsewhere", plain(e, &s, d, &by(&x, 7.0), &by(&y, 7.0)));
                        let moved = plain(e, &s, d, &x, &by(&x, 1.5));
                        let want = 2.25 * d as f64;
                        assert!((moved - want).abs() < 1e-4 * want, "moved by 1.5 in {d} dimensions: {moved}, not {want}");
                    }
                    Cost::Cosine => {
                        same("of other lengths", plain(e, &s, d, &x.iter().map(|v| 5.0 * v).collect::<Vec<_>>(), &y));
                    }
                }
                // Points of no weight are as if they were not there.
                let more: Vec<f32> = y.iter().copied().chain([9.0f32; 3].into_iter().cycle().take(d)).collect();
                let mut b = vec![2.0; more.len() / d];
                *b.last_mut().unwrap() = 0.0;
                let t = solve(e, &s, d, &x, &more, Weights { a: None, b: Some(&b) }).transport;
                assert!(t.converged);
                same("with a point of no weight", t.divergence.unwrap());
            }
        }
    }
}

/// Exact transport from above as eps falls: OT <= OT_eps <= OT + eps log n, for n points of equal weight (the optimal plan is a
/// permutation, whose divergence from the product is log n).
#[test]
fn converges_to_exact_transport() {
    let (e, _lock) = engine();
    // Sorted, in one dimension: W2^2 is the mean of the squares; the small and the online way.
    let sorted = |n: usize| {
        let (mut x, mut y) = (random(n, 1), random(n, 2).iter().map(|v| 2.0 * v + 1.0).collect::<Vec<_>>());
        x.sort_by(f32::total_cmp);
        y.sort_by(f32::total_cmp);
        let exact = x.iter().zip(&y).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / n as f64;
        (x, y, 1, exact)
    };
    // Every assignment of six points in three dimensions.
    let (x, y) = (random(18, 3), random(18, 4));
    let c = twin::cost(false, &f64s(&x), &f64s(&y), 3);
    fn best(c: &[f64], row: usize, used: u32) -> f64 {
        let free = (0..6).filter(|j| used & (1 << j) == 0);
        free.map(|j| c[row * 6 + j] + if row == 5 { 0.0 } else { best(c, row + 1, used | (1 << j)) }).fold(f64::INFINITY, f64::min)
    }
    let exact = best(&c, 0, 0) / 6.0;
    let golden = (vec![0.0, 1.0, 3.0], vec![5.0, 6.0, 8.0], 1, 25.0);
    for (x, y, d, exact) in [golden, sorted(40), sorted(300), (x, y, 3, exact)] {
        let n = x.len() / d;
        let mut last = f64::INFINITY;
        for share in [0.3, 0.1, 0.03, 0.01] {
            let eps = share * mean_cost(SQ, &x, &y, d);
            let s = Sinkhorn { max_iterations: 5000, ..Sinkhorn::new(SQ, eps) };
            let t = s.cost(e, &up(e, &[n, d], &x), &up(e, &[n, d], &y), Weights::default()).unwrap().transport;
            assert!(t.converged && t.divergence.is_none(), "{t:?}");
            // The dual's value is below the optimum by no more than the marginal error times the spread of the cost.
            let slack = 2e-4 * mean_cost(SQ, &x, &y, d) * 4.0;
            assert!((exact - slack..=exact + eps * (n as f64).ln() + slack).contains(&t.cost), "eps {eps}: {} for {exact}", t.cost);
            assert!(t.cost <= last + slack, "falls with eps");
            last = t.cost;
        }
    }
}

/// Gradients of both ways' values: against differences of the twin's divergence, whose own gradient is held in sinkhorn_online's tests.
#[test]
fn gradients() {
    let (engines, _lock) = engines();
    for e in engines {
        for cost in [SQ, Cost::Cosine] {
            let (n, d) = (20, 3);
            let (x, y) = clouds(n, d);
            let m = y.len() / d;
            let a: Vec<f32> = (0..n).map(|i| (i % 4) as f32).collect();
            let s = Sinkhorn { tolerance: 1e-5, ..Sinkhorn::new(cost, 0.2 * mean_cost(cost, &x, &y, d)) };
            let got = s.gradients(e, &up(e, &[n, d], &x), &up(e, &[m, d], &y), Weights { a: Some(&a), b: None }).unwrap();
            assert!(got.transport.converged);
            let settings = small::Settings { tolerance: 1e-12, most: 10_000, ..small::Settings::new(s.eps as f32) };
            let (wa, wb): (Vec<f64>, Vec<f64>) =
                (a.iter().map(|v| f64::from(*v) / a.iter().sum::<f32>() as f64).collect(), vec![1.0 / m as f64; m]);
            let value = |x: &[f64], y: &[f64]| {
                let c = |x: &[f64], y: &[f64]| twin::cost(cost == Cost::Cosine, x, y, d);
                let own = |x: &[f64], w: &[f64]| twin::solve(&c(x, x), w, None, &settings).value;
                twin::solve(&c(x, y), &wa, Some(&wb), &settings).value - 0.5 * (own(x, &wa) + own(y, &wb))
            };
            let (x, y) = (f64s(&x), f64s(&y));
            let nudge =
                |v: &[f64], i: usize, by: f64| v.iter().enumerate().map(|(k, v)| if k == i { v + by } else { *v }).collect::<Vec<_>>();
            let want_x: Vec<f64> =
                (0..n * d).step_by(5).map(|i| (value(&nudge(&x, i, 1e-5), &y) - value(&nudge(&x, i, -1e-5), &y)) / 2e-5).collect();
            let want_y: Vec<f64> =
                (0..m * d).step_by(5).map(|i| (value(&x, &nudge(&y, i, 1e-5)) - value(&x, &nudge(&y, i, -1e-5))) / 2e-5).collect();
            for (got, want) in [(&got.dx, want_x), (&got.dy, want_y)] {
                let got: Vec<f32> = e.read::<f32>(got).unwrap().into_iter().step_by(5).collect();
                let size = want.iter().fold(0.0f64, |t, v| t.max(v.abs()));
                // Plans within 1e-5 of their marginals are a few times that from the optimum here; 2e-7 is the differences' own error.
                close(&got, &want, 5e-4 * size + 2e-7, 0.0);
            }
        }
    }
}

/// Too few iterations are said by the answer; senseless input by an error.
#[test]
fn says_what_is_wrong() {
    let (e, _lock) = engine();
    for n in [40, 300] {
        let (x, y) = clouds(n, 2);
        let s = Sinkhorn { max_iterations: 6, ..Sinkhorn::new(SQ, 1e-3) };
        let t = solve(e, &s, 2, &x, &y, Weights::default()).transport;
        assert!(!t.converged && t.marginal_error > 1e-4 && t.iterations == 6, "{t:?}");
        let mut bad = x.clone();
        bad[5] = f32::NAN;
        let s = Sinkhorn::new(SQ, 0.1);
        let err = |x: &[f32], y: &[f32], w: Weights<'_>| {
            s.divergence(e, &up(e, &[x.len() / 2, 2], x), &up(e, &[y.len() / 2, 2], y), w).unwrap_err().to_string()
        };
        assert!(err(&bad, &y, Weights::default()).contains("not finite"));
        assert!(err(&x, &y, Weights { a: Some(&[1.0]), b: None }).contains("1 weights"));
        assert!(err(&x, &y, Weights { a: Some(&vec![0.0; n]), b: None }).contains("not all 0"));
    }
    let (x, y) = (up(e, &[2, 3], &[0.0; 6]), up(e, &[3, 2], &[0.0; 6]));
    let err = Sinkhorn::new(SQ, 1.0).divergence(e, &x, &y, Weights::default()).unwrap_err().to_string();
    assert!(err.contains("points of 3 dimensions"), "{err}");
    let err = Sinkhorn::new(SQ, 0.0).divergence(e, &x, &x, Weights::default()).unwrap_err().to_string();
    assert!(err.contains("eps must be above 0"), "{err}");
}

use crate::common::*;
use echogrid::gpu::{Engine, PlanBuilder};
use echogrid::kernels::box_loss::{self as kernel, BoxDistance, BoxLoss};
use echogrid::reference::box_loss as twin;

const SIZES: [usize; 7] = [1, 3, 63, 64, 65, 1009, 20_011];

const DISTANCES: [BoxDistance; 5] = [
    BoxDistance::SmoothL1 { beta: 1.0 },
    BoxDistance::SmoothL1 { beta: 0.11 },
    BoxDistance::SmoothL1 { beta: 0.0 },
    BoxDistance::Squares,
    BoxDistance::Giou,
];

/// Boxes with sides of 1 to 3 about places within 2 of the origin; some of their corners stand the other way round.
fn boxes(n: usize, seed: u64) -> Vec<f32> {
    let r = random(4 * n, seed);
    let side = |r: f32| 1.0 + 0.5 * (r + 1.0);
    let mut all: Vec<f32> = r
        .chunks(4)
        .flat_map(|r| [2.0 * r[0], 2.0 * r[1], 2.0 * r[0] + 2.0 * side(r[2]) - 1.0, 2.0 * r[1] + 2.0 * side(r[3]) - 1.0])
        .collect();
    all.chunks_mut(4).step_by(7).for_each(|b| b.swap(0, 2));
    all.chunks_mut(4).step_by(5).for_each(|b| b.swap(1, 3));
    all
}

/// Loss and gradient, for an upstream gradient of -2.
fn run(e: &Engine, x: &[f32], t: &[f32], w: Option<&[f32]>, distance: BoxDistance, divisor: Option<f32>) -> (f32, Vec<f32>) {
    let n = x.len() / 4;
    let (boxes, targets, weights) = (up(e, &[n, 4], x), up(e, &[4 * n], t), w.map(|w| up(e, &[n, 1], w)));
    let (divisor, loss) = (divisor.map(|d| up(e, &[1], &[d])), out(e, &[1]));
    let (dloss, dx) = (up(e, &[1], &[-2.0]), out(e, &[n, 4]));
    let call = BoxLoss { boxes: &boxes, targets: &targets, weights: weights.as_ref(), distance, divisor: divisor.as_ref() };
    let l = run_twice(e, &loss, |p| kernel::forward(p, call, &loss));
    (l[0], run_twice(e, &dx, |p| kernel::backward(p, call, &dloss, &dx)))
}

fn run_twin(x: &[f32], t: &[f32], w: Option<&[f32]>, distance: BoxDistance, divisor: Option<f32>) -> (f64, Vec<f64>) {
    let weights = w.map(f64s);
    let call = twin::BoxLoss { boxes: &f64s(x), targets: &f64s(t), weights: weights.as_deref(), distance, divisor: divisor.map(f64::from) };
    let (loss, dx) = call.run();
    (loss, dx.iter().map(|d| -2.0 * d).collect())
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for n in SIZES {
            let (x, t) = (boxes(n, 1), boxes(n, 2));
            let w: Vec<f32> = random(n, 3).iter().enumerate().map(|(i, v)| if i % 4 == 2 { 0.0 } else { v + 1.0 }).collect();
            for distance in DISTANCES {
                for (w, divisor) in [(None, None), (Some(&w[..]), Some(7.5)), (Some(&w[..]), Some(0.25)), (None, Some(3.0))] {
                    let (loss, dx) = run(e, &x, &t, w, distance, divisor);
                    let (want, dwant) = run_twin(&x, &t, w, distance, divisor);
                    // A term is off by 8 roundings of its size (|d| - beta / 2 is at least a third of the two together). That of GIoU, up to 2,
                    // by 30 of 1: I / U and (C - U) / C, where U, at least half of both areas, is of five roundings of them. Sums of terms
                    // that are not negative: below 180 roundings for these sizes, over chunks and in stages.
                    let giou = distance == BoxDistance::Giou;
                    let share = divisor.map_or(n as f64, |d| f64::from(d.max(1.0)));
                    let weights = w.map_or(n as f64, |w| w.iter().map(|w| f64::from(*w)).sum());
                    close(&[loss], &[want], if giou { 30.0 * EPS * weights / share } else { 0.0 }, 190.0 * EPS);
                    // Four quotients of at most 1 each, as no side is shorter than 1, off by 20 roundings; times up to 2, and 2.
                    close(&dx, &dwant, if giou { 4.0 * 80.0 * EPS / share } else { 0.0 }, 16.0 * EPS);
                }
            }
        }
    }
}

/// The twin's gradient against central differences in f64, on each side of the kink of smooth L1 and of every side of the target.
#[test]
fn twin_gradient_equals_finite_differences() {
    let n = 40;
    let (x, t) = (f64s(&boxes(n, 4)), f64s(&boxes(n, 5)));
    let weights = f64s(&random(n, 6));
    for distance in DISTANCES {
        let run = |x: &[f64]| twin::BoxLoss { boxes: x, targets: &t, weights: Some(&weights), distance, divisor: Some(2.0) }.run();
        let (loss, dx) = run(&x);
        for (i, d) in dx.iter().enumerate() {
            let at = |h: f64| {
                let mut x = x.clone();
                x[i] += h;
                (0.3 * run(&x).0).sin()
            };
            let (got, want) = (0.3 * (0.3 * loss).cos() * d, (at(1e-6) - at(-1e-6)) / 2e-6);
            assert!((got - want).abs() < 1e-7, "{distance:?}, at {i}: {got} against {want}");
        }
    }
}

/// Golden GIoU by hand. Two unit squares a step apart along one axis share a half: I = 1/2, U = 3/2, C = 3/2. A step along both: I = 1/4,
/// U = 7/4, C = 9/4. A unit square and one three away: U = 2, C = 4. Corners in another order are the same box.
#[test]
fn golden_giou() {
    let (engines, _lock) = engines();
    for e in engines {
        let unit = [0.0, 0.0, 1.0, 1.0];
        for (other, want) in [
            ([0.0, 0.0, 1.0, 1.0], 0.0),
            ([0.5, 0.0, 1.5, 1.0], 1.0 - 1.0 / 3.0),
            ([0.5, 0.5, 1.5, 1.5], 1.0 - 1.0 / 7.0 + 2.0 / 9.0),
            ([3.0, 0.0, 4.0, 1.0], 1.0 + 0.5),
            ([1.5, 1.5, 0.5, 0.5], 1.0 - 1.0 / 7.0 + 2.0 / 9.0),
            ([0.5, 1.5, 1.5, 0.5], 1.0 - 1.0 / 7.0 + 2.0 / 9.0),
        ] {
            for [a, b] in [[unit, other], [other, unit]] {
                close(&[run(e, &a, &b, None, BoxDistance::Giou, None).0], &[want], 8.0 * EPS, 0.0);
            }
        }
        // Equal boxes are at rest.
        let (_, d) = run(e, &[3.0, 1.0, 10.0, 4.0], &[3.0, 1.0, 10.0, 4.0], None, BoxDistance::Giou, None);
        close(&d, &[0.0; 4], 8.0 * EPS, 0.0);
    }
}

/// Boxes without area, points, a box in itself, and such as targets: all is finite, and a line grows towards the box it lies in.
#[test]
fn degenerate_boxes() {
    let (engines, _lock) = engines();
    for e in engines {
        let odd = [
            [0.0; 4],
            [2.0, 2.0, 2.0, 2.0],
            [2.0, 1.0, 2.0, 5.0],
            [1.0, 3.0, 9.0, 3.0],
            [5.0, 5.0, 1.0, 1.0],
            [1e-20, 0.0, 2e-20, 1e-20],
            [-1e4, -1e4, 1e4, 1e4],
            [1.0, 1.0, 5.0, 5.0],
        ];
        for a in odd {
            for b in odd {
                for distance in DISTANCES {
                    let (l, d) = run(e, &a, &b, None, distance, None);
                    assert!(l.is_finite() && d.iter().all(|d| d.is_finite()), "{a:?} {b:?} {distance:?}: {l} {d:?}");
                    let (want, _) = run_twin(&a, &b, None, distance, None);
                    close(&[l], &[want], 30.0 * EPS, 8.0 * EPS);
                }
            }
        }
        let (l, d) = run(e, &[2.0, 1.0, 2.0, 5.0], &[1.0, 1.0, 5.0, 5.0], None, BoxDistance::Giou, None);
        // It covers nothing; a step of 1 to either side covers a quarter of the box. (The gradient comes back from -2.)
        close(&[l], &[1.0], 8.0 * EPS, 0.0);
        close(&d, &[-0.5, 0.0, 0.5, 0.0], 8.0 * EPS, 8.0 * EPS);
    }
}

/// A weight of 0 masks whatever is there; without, a NaN shows in its row alone. A divisor below 1 is 1.
#[test]
fn masks() {
    let (engines, _lock) = engines();
    for e in engines.into_iter().filter(|e| keeps_nan(e)) {
        for distance in DISTANCES {
            let x = [f32::NAN, 0.0, 1.0, 1.0, 0.0, 0.0, 2.0, 2.0, 0.0, 0.0, 1.0, 1.0];
            let t = [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, f32::INFINITY, 1.0];
            let (l, d) = run(e, &x, &t, Some(&[0.0, 1.0, 0.0]), distance, Some(0.5));
            let (alone, dalone) = run(e, &x[4..8], &t[4..8], None, distance, None);
            assert_eq!((l, &d[4..8]), (alone, &dalone[..]));
            assert!(d[..4].iter().chain(&d[8..]).all(|d| *d == 0.0), "{d:?}");
            let (l, d) = run(e, &x, &t, Some(&[1.0, 1.0, 0.0]), distance, None);
            assert!(l.is_nan() && d[0].is_nan() && d[4..8].iter().all(|d| d.is_finite()), "{distance:?}: {l} {d:?}");
        }
    }
}

/// A million boxes: many chunks, and many groups.
#[test]
fn many_boxes() {
    let (e, _lock) = engine();
    let n = 1 << 20;
    let (x, t) = (vec![0.75f32; 4 * n], vec![0.5f32; 4 * n]);
    let (l, d) = run(e, &x, &t, None, BoxDistance::Squares, Some(n as f32));
    // Powers of two: exact.
    assert_eq!(l, 0.25);
    assert!(d.iter().all(|d| *d == -1.0 / n as f32));
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let (boxes, five, one) = (out(e, &[3, 4]), out(e, &[5]), out(e, &[1]));
    let call = BoxLoss { boxes: &boxes, targets: &boxes, weights: None, distance: BoxDistance::Giou, divisor: None };
    let forward = |call: BoxLoss<'_>| kernel::forward(&mut PlanBuilder::new(e), call, &one);
    says(forward(BoxLoss { boxes: &five, ..call }), "`boxes` [5] are not rows of four");
    says(forward(BoxLoss { boxes: &out(e, &[0, 4]), ..call }), "not empty");
    says(forward(BoxLoss { targets: &five, ..call }), "`targets` [5] for 3 boxes");
    says(forward(BoxLoss { weights: Some(&five), ..call }), "`weights` [5] for 3 boxes");
    says(forward(BoxLoss { divisor: Some(&five), ..call }), "`divisor` must be F32 [1]");
    says(forward(BoxLoss { distance: BoxDistance::SmoothL1 { beta: -0.5 }, ..call }), "beta must be 0 or more, not -0.5");
    says(kernel::backward(&mut PlanBuilder::new(e), call, &one, &five), "[3, 4] against [5]");
}

use crate::common::*;
use echogrid::gpu::{AdapterChoice, Engine, Error, Measured, PlanBuilder, Precision, Tuning};
use echogrid::kernels::conv::{self as kernel, Conv, Pass, Way};
use echogrid::kernels::winograd::{POINTS, convolve, inputs, outputs, weights};
use echogrid::reference::conv::{Sizes, backward_input, forward};
use echogrid::reference::winograd as twin;

/// Sums of at most nine numbers below 2, each rounded.
const BOUND: f64 = 36.0 * EPS;

#[test]
fn transforms_equal_their_twins() {
    let (engines, _lock) = engines();
    for e in engines {
        for flip in [false, true] {
            let (ci, co) = (12, 20);
            let w = random(9 * ci * co, 1);
            let (tw, u) = (up(e, &[9, ci, co], &w), out(e, &if flip { [POINTS, co, ci] } else { [POINTS, ci, co] }));
            let want = twin::weights(&f64s(&w), ci, co, flip);
            close(&run_twice(e, &u, |p| weights(p, &tw, flip, &u)), &want, BOUND, 0.0);
        }
        for (n, h, w, c, pad) in [(2, 7, 9, 8, [1, 1]), (1, 4, 3, 4, [0, 2]), (3, 1, 1, 4, [1, 1]), (1, 2, 5, 132, [2, 1])] {
            let [oh, ow]: [usize; 2] = [h + 2 * pad[0] - 2, w + 2 * pad[1] - 2];
            let tiles = n * oh.div_ceil(2) * ow.div_ceil(2);
            let x = random(n * h * w * c, 2);
            let (tx, v) = (up(e, &[n, h, w, c], &x), out(e, &[POINTS, tiles, c]));
            let want = twin::inputs(&f64s(&x), [n, h, w, c], pad, [oh, ow]);
            close(&run_twice(e, &v, |p| inputs(p, &tx, pad, [oh, ow], 0..tiles, &v)), &want, BOUND, 0.0);
            let (m, bias) = (random(POINTS * tiles * c, 3), random(c, 4));
            let (tm, tb, y) = (up(e, &[POINTS, tiles, c], &m), up(e, &[c], &bias), out(e, &[n, oh, ow, c]));
            for (with, relu) in [(false, false), (true, false), (true, true)] {
                let want = twin::outputs(&f64s(&m), [n, oh, ow, c], with.then_some(&f64s(&bias)), relu);
                let got = run_twice(e, &y, |p| outputs(p, &tm, with.then_some(&tb), relu, 0..tiles, &y));
                close(&got, &want, BOUND, 0.0);
            }
        }
    }
}

/// Tiles in parts: rows of a part begin anew, and what lies behind the last stays as it was.
#[test]
fn parts_make_the_whole() {
    let (e, _lock) = engine();
    let (n, h, w, c) = (2, 6, 10, 4);
    let tiles = n * 3 * 5;
    let x = random(n * h * w * c, 5);
    let (tx, v) = (up(e, &[n, h, w, c], &x), out(e, &[POINTS, 16, c]));
    let want = twin::inputs(&f64s(&x), [n, h, w, c], [1, 1], [h, w]);
    for part in [0..16, 16..30] {
        let got = run_twice(e, &v, |p| inputs(p, &tx, [1, 1], [h, w], part.clone(), &v));
        for point in 0..POINTS {
            let want = &want[(point * tiles + part.start) * c..(point * tiles + part.end) * c];
            close(&got[point * 16 * c..][..part.len() * c], want, BOUND, 0.0);
            assert!(got[(point * 16 + part.len()) * c..(point + 1) * 16 * c].iter().all(|v| *v == -777.0));
        }
        e.write(&v, &vec![-777.0f32; v.len()]).unwrap();
    }
}

/// The whole, the second case in two parts, against the convolution's own twin, to the bound that the direct
/// kernels are held to.
#[test]
fn convolves() {
    let (engines, _lock) = engines();
    for e in engines {
        for (xs, co, pad) in [([2, 9, 7, 12], 68, [1, 1]), ([1, 40, 42, 516], 8, [1, 1]), ([1, 5, 5, 8], 4, [0, 0])] {
            let conv = Conv { pad, ..Conv::square(3, 1, 1) };
            let s = Sizes::new(&conv, xs, co).unwrap();
            let (x, w, dy) = (random(xs.iter().product(), 1), random(9 * xs[3] * co, 2), random(s.y.iter().product(), 3));
            let bias = random(co, 4);
            let (tx, tw, tb, y) = (up(e, &xs, &x), up(e, &[9, xs[3], co], &w), up(e, &[co], &bias), out(e, &s.y));
            let (tdy, dx) = (up(e, &s.y, &dy), out(e, &xs));
            let bound = |inner: usize| 4.0 * EPS * (inner as f64).powf(1.5);
            let want: Vec<f64> = forward(&conv, s, &f64s(&x), &f64s(&w), Some(&f64s(&bias))).iter().map(|v| v.max(0.0)).collect();
            close(&run_twice(e, &y, |p| convolve(p, [&tx, &tw, &y], false, pad, Some(&tb), true)), &want, bound(9 * xs[3]), 0.0);
            let want = backward_input(&conv, s, &f64s(&dy), &f64s(&w));
            let turned = pad.map(|p| 2 - p);
            close(&run_twice(e, &dx, |p| convolve(p, [&tdy, &tw, &dx], true, turned, None, false)), &want, bound(9 * co), 0.0);
        }
    }
}

/// As a pass of convolutions, on both tiers: it takes what it says and nothing else.
#[test]
fn takes_what_it_can() {
    let (engines, _lock) = engines();
    let square = Conv::square(3, 1, 1);
    // Geometry, input, output channels; whether the forward pass goes, and that of the input.
    let cases = [
        (square, [5, 13, 11, 8], 12, [true, true]),
        (Conv { pad: [0, 2], ..square }, [1, 23, 22, 8], 20, [true, true]),
        // No fours; zeros beyond two; tiles in whole 128s that are mostly none; another kernel, stride, dilation, groups.
        (square, [2, 16, 17, 5], 8, [false, false]),
        (square, [2, 16, 17, 8], 7, [false, false]),
        (Conv { pad: [3, 1], ..square }, [2, 16, 15, 4], 8, [true, false]),
        (square, [1, 1, 200, 4], 8, [false, false]),
        (Conv::square(5, 1, 1), [2, 16, 16, 4], 4, [false, false]),
        (Conv::square(3, 2, 1), [2, 32, 32, 4], 4, [false, false]),
        (Conv::square(3, 1, 2), [2, 16, 16, 4], 4, [false, false]),
        (Conv { groups: 2, ..square }, [2, 16, 16, 8], 8, [false, false]),
    ];
    for (e, (conv, xs, co, takes)) in engines.into_iter().flat_map(|e| cases.map(|c| (e, c))) {
        let (s, ws) = (Sizes::new(&conv, xs, co).unwrap(), conv.weights(xs[3], co));
        let (x, w, dy) = (random(xs.iter().product(), 1), random(ws.iter().product(), 2), random(s.y.iter().product(), 3));
        let (tx, tw, tdy) = (up(e, &xs, &x), up(e, &ws, &w), up(e, &s.y, &dy));
        let (y, dx) = (out(e, &s.y), out(e, &xs));
        let forward = forward(&conv, s, &f64s(&x), &f64s(&w), None);
        let back = backward_input(&conv, s, &f64s(&dy), &f64s(&w));
        let passes = [(Pass::Forward, [&tx, &tw, &y], forward, 9 * xs[3]), (Pass::Input, [&tdy, &tw, &dx], back, 9 * co)];
        for ((pass, tensors, want, inner), taken) in passes.into_iter().zip(takes) {
            let build = |p: &mut PlanBuilder<'_>| kernel::pass_by(p, Way::Winograd, pass, &conv, tensors);
            if taken {
                close(&run_twice(e, tensors[2], build), &want, 4.0 * EPS * (inner as f64).powf(1.5), 0.0);
            } else {
                assert!(matches!(build(&mut PlanBuilder::new(e)), Err(Error::Shape { .. })), "{pass:?} {conv:?} {xs:?} {co}");
            }
        }
        let mut mixed = PlanBuilder::new(e);
        mixed.set_precision(Precision::Mixed);
        assert!(kernel::pass_by(&mut mixed, Way::Winograd, Pass::Forward, &conv, [&tx, &tw, &y]).is_err());
        let dw = out(e, &ws);
        assert!(kernel::pass_by(&mut PlanBuilder::new(e), Way::Winograd, Pass::Weights, &conv, [&tx, &tdy, &dw]).is_err());
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let (e, _lock) = engine();
    let (x, v, w, u) = (out(e, &[1, 4, 4, 6]), out(e, &[POINTS, 4, 6]), out(e, &[9, 4, 4]), out(e, &[POINTS, 4, 8]));
    let mut plan = PlanBuilder::new(e);
    assert!(inputs(&mut plan, &x, [1, 1], [4, 4], 0..4, &v).unwrap_err().to_string().contains("C in fours"));
    assert!(matches!(weights(&mut plan, &w, false, &u), Err(Error::Shape { .. })));
    let (x, y) = (out(e, &[1, 4, 4, 4]), out(e, &[1, 4, 4, 4]));
    let (v, m) = (out(e, &[POINTS, 3, 4]), out(e, &[POINTS, 4, 4]));
    assert!(inputs(&mut plan, &x, [1, 1], [4, 4], 0..4, &v).unwrap_err().to_string().contains("tiles 0..4 of 4"));
    assert!(matches!(outputs(&mut plan, &m, Some(&v), false, 0..4, &y), Err(Error::Shape { .. })));
    assert!(matches!(outputs(&mut plan, &m, None, false, 1..5, &y), Err(Error::Shape { .. })));
    plan.set_precision(Precision::Mixed);
    let err = convolve(&mut plan, [&x, &w, &y], false, [1, 1], None, false).unwrap_err().to_string();
    assert!(err.contains("mixed precision"), "{err}");
    assert!(plan.finish().is_empty());
}

/// By what was measured: the layer as a network has it, with bias and ReLU, weights and bias in other shapes of as many elements.
#[test]
fn is_chosen_by_measurements() {
    let engine = |kernel: &str| {
        let measured = |family: &str| Measured { family: family.into(), sizes: vec![64; 3], seconds: [(kernel.into(), 1.0)].into() };
        let tuning = Tuning { measured: vec![measured("conv"), measured("conv dx")] };
        pollster::block_on(Engine::new(&AdapterChoice::from_option(None))).unwrap().with_tuning(tuning)
    };
    let (winograd, direct) = (engine("winograd"), engine("tiled-32"));
    let (_, _lock) = self::engine();
    let conv = Conv::square(3, 1, 1);
    // The second has too few tiles to be worth it, the third no fours.
    for (xs, co, taken) in [([2, 16, 16, 12], 8, true), ([1, 8, 8, 12], 8, false), ([2, 16, 16, 6], 8, false)] {
        let (ci, ys) = (xs[3], [xs[0], xs[1], xs[2], co]);
        let (x, w, b) = (random(xs.iter().product(), 1), random(9 * ci * co, 2), random(co, 3));
        let s = Sizes::new(&conv, xs, co).unwrap();
        let want: Vec<f64> = forward(&conv, s, &f64s(&x), &f64s(&w), Some(&f64s(&b))).iter().map(|v| v.max(0.0)).collect();
        for e in [&winograd, &direct] {
            let (tx, tw, tb, y) = (up(e, &xs, &x), up(e, &[3, 3, ci, co], &w), up(e, &[1, co], &b), out(e, &ys));
            let dx = out(e, &xs);
            let build = |p: &mut PlanBuilder<'_>| kernel::forward(p, &conv, &tx, &tw, Some(&tb), true, &y);
            let back = |p: &mut PlanBuilder<'_>| kernel::backward_input(p, &conv, &y, &tw, &dx);
            let bound = 4.0 * EPS * ((9 * ci) as f64).powf(1.5);
            close(&run_twice(e, &y, build), &want, bound, 0.0);
            // The direct kernels tried here take one dispatch, or one more for transposed weights.
            let by_winograd = taken && std::ptr::eq(e, &winograd);
            assert!([plan(e, build), plan(e, back)].iter().all(|p| (p.len() > 2) == by_winograd), "{xs:?}");
        }
    }
}

use crate::common::*;
use echogrid::gpu::{Error, PlanBuilder, Precision, Tensor};
use echogrid::kernels::conv::{self as kernel, Conv, Pass, Way};
use echogrid::kernels::elementwise;
use echogrid::kernels::tiling::Tiling;
use echogrid::reference::conv as twin;

/// (geometry, input, output channels): lanes and tiles, odd sizes, every parameter off its default at least once.
fn cases() -> Vec<(Conv, [usize; 4], usize)> {
    let c = |k: [usize; 2], stride, pad: [usize; 2], dilation, groups| Conv { kernel: k, stride, pad, dilation, groups };
    vec![
        (c([1, 1], 1, [0, 0], 1, 1), [1, 1, 1, 1], 1),
        (c([3, 3], 1, [1, 1], 1, 1), [2, 7, 9, 4], 8),
        (c([3, 3], 1, [1, 1], 1, 1), [1, 16, 17, 32], 36),
        (c([3, 3], 2, [1, 1], 1, 1), [3, 9, 12, 8], 32),
        (c([3, 3], 2, [1, 1], 1, 1), [1, 8, 8, 5], 7),
        (c([5, 3], 1, [2, 0], 2, 1), [1, 13, 11, 4], 4),
        (c([7, 7], 2, [3, 3], 1, 1), [1, 23, 19, 4], 64),
        (c([3, 3], 3, [0, 1], 1, 1), [2, 11, 10, 12], 20),
        (c([1, 1], 2, [0, 0], 1, 1), [2, 9, 9, 16], 32),
        (c([2, 2], 2, [0, 0], 1, 1), [1, 6, 1 + 1, 8], 8),
        (c([3, 3], 1, [4, 4], 4, 1), [1, 10, 10, 64], 64),
        (c([3, 3], 1, [1, 1], 1, 6), [1, 7, 7, 6], 6),
        (c([3, 3], 2, [1, 1], 1, 3), [2, 8, 9, 12], 9),
        (c([1, 5], 1, [0, 2], 1, 2), [1, 65, 3, 66], 130),
    ]
}

/// A sum of n products of numbers below 1, each rounded: |error| <= n * eps * sum |a b|, and the sum is below n; the
/// typical error is far smaller, so sqrt(n) of the worst case is asked for with a factor of 4.
fn bound(n: usize) -> f64 {
    4.0 * EPS * (n as f64).powf(1.5).max(1.0)
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (conv, xs, co) in cases() {
            let s = twin::Sizes::new(&conv, xs, co).unwrap();
            let ws = conv.weights(xs[3], co);
            let (x, w, b) = (random(xs.iter().product(), 1), random(ws.iter().product(), 2), random(co, 3));
            let dy = random(s.y.iter().product(), 4);
            let (tx, tw, tb, tdy) = (up(e, &xs, &x), up(e, &ws, &w), up(e, &[co], &b), up(e, &s.y, &dy));
            let (ty, tdx, tdw) = (out(e, &s.y), out(e, &xs), out(e, &ws));
            let (x, w, b, dy) = (f64s(&x), f64s(&w), f64s(&b), f64s(&dy));
            let inner = ws[0] * ws[1] + 1;
            let mut want = twin::forward(&conv, s, &x, &w, Some(&b));
            close(&run_twice(e, &ty, |p| kernel::forward(p, &conv, &tx, &tw, Some(&tb), false, &ty)), &want, bound(inner), 0.0);
            want.iter_mut().for_each(|v| *v = v.max(0.0));
            close(&run_twice(e, &ty, |p| kernel::forward(p, &conv, &tx, &tw, Some(&tb), true, &ty)), &want, bound(inner), 0.0);
            let want = twin::forward(&conv, s, &x, &w, None);
            close(&run_twice(e, &ty, |p| kernel::forward(p, &conv, &tx, &tw, None, false, &ty)), &want, bound(inner), 0.0);
            let want = twin::backward_input(&conv, s, &dy, &w);
            close(&run_twice(e, &tdx, |p| kernel::backward_input(p, &conv, &tdy, &tw, &tdx)), &want, bound(ws[0] * co / conv.groups), 0.0);
            let want = twin::backward_weights(&conv, s, &x, &dy);
            close(
                &run_twice(e, &tdw, |p| kernel::backward_weights(p, &conv, &tx, &tdy, &tdw)),
                &want,
                bound(s.y[0] * s.y[1] * s.y[2]),
                0.0,
            );
        }
    }
}

/// Every tiling that the device and the shapes allow, against its twin; tiles must take any.
fn every_tiling(conv: Conv, xs: [usize; 4], co: usize, precision: Precision) {
    let (engines, _lock) = engines();
    let random = if precision == Precision::Mixed { halves } else { random };
    for e in engines {
        let s = twin::Sizes::new(&conv, xs, co).unwrap();
        let ws = conv.weights(xs[3], co);
        let (x, w, dy) = (random(xs.iter().product(), 1), random(ws.iter().product(), 2), random(s.y.iter().product(), 4));
        let (tx, tw, tdy) = (up(e, &xs, &x), up(e, &ws, &w), up(e, &s.y, &dy));
        let (x, w, dy) = (f64s(&x), f64s(&w), f64s(&dy));
        let passes = [
            (Pass::Forward, [&tx, &tw], out(e, &s.y), twin::forward(&conv, s, &x, &w, None), ws[0] * ws[1]),
            (Pass::Input, [&tdy, &tw], out(e, &xs), twin::backward_input(&conv, s, &dy, &w), ws[0] * co / conv.groups),
            (Pass::Weights, [&tx, &tdy], out(e, &ws), twin::backward_weights(&conv, s, &x, &dy), s.y[0] * s.y[1] * s.y[2]),
        ];
        for (tiling, (pass, [a, b], z, want, inner)) in Tiling::ALL.iter().flat_map(|t| passes.iter().map(move |p| (t, p))) {
            let build = |p: &mut PlanBuilder<'_>| {
                p.set_precision(precision);
                kernel::pass_by(p, Way::Direct(*tiling), *pass, &conv, [a, b, z])
            };
            let fits = match (*tiling, e.caps().lanes()) {
                (Tiling::Lanes { rows, .. }, Some(lanes)) => conv.groups == 1 && rows % lanes == 0 && (rows == 16 || lanes != 4),
                (Tiling::Lanes { .. }, None) | (Tiling::Narrow, _) => false,
                (Tiling::Cooperative, _) => precision == Precision::Mixed && e.caps().cooperative > 0,
                _ => true,
            };
            match build(&mut PlanBuilder::new(e)) {
                Err(Error::Shape { .. }) if !fits => continue,
                other => other.unwrap(),
            }
            assert!(fits, "{tiling}");
            e.write(z, &vec![-777.0f32; z.len()]).unwrap();
            close(&run_twice(e, z, build), want, bound(*inner), 0.0);
        }
    }
}

/// A test a geometry and precision. Mixed precision rounds in the loads, of which three geometries have all kinds.
macro_rules! every_tiling {
    ($($name:ident: $kernel:expr, $stride:expr, $pad:expr, $dilation:expr, $groups:expr; $x:expr => $co:expr, $precision:ident;)*) => { $(
        #[test]
        fn $name() {
            let conv = Conv { kernel: $kernel, stride: $stride, pad: $pad, dilation: $dilation, groups: $groups };
            every_tiling(conv, $x, $co, Precision::$precision);
        }
    )* };
}

every_tiling! {
    every_tiling_equals_its_twin: [3, 3], 1, [1, 1], 1, 1; [2, 9, 7, 12] => 68, Full;
    every_tiling_with_a_stride: [3, 3], 2, [1, 1], 1, 1; [3, 9, 12, 8] => 32, Full;
    every_tiling_with_a_stride_mixed: [3, 3], 2, [1, 1], 1, 1; [3, 9, 12, 8] => 32, Mixed;
    every_tiling_dilated: [5, 3], 1, [2, 0], 2, 1; [1, 13, 11, 20] => 20, Full;
    every_tiling_dilated_mixed: [5, 3], 1, [2, 0], 2, 1; [1, 13, 11, 20] => 20, Mixed;
    every_tiling_in_groups: [3, 3], 2, [1, 1], 1, 3; [2, 8, 9, 12] => 9, Full;
    every_tiling_in_groups_mixed: [3, 3], 2, [1, 1], 1, 3; [2, 8, 9, 12] => 9, Mixed;
    every_tiling_with_weights_in_slices: [3, 3], 1, [1, 1], 1, 1; [5, 13, 11, 8] => 12, Full;
}

/// <dy, A x> = <A' dy, x> = <dw, w> on the device's own results.
#[test]
fn adjoint() {
    let (e, _lock) = engine();
    for (conv, xs, co) in cases() {
        let ys = conv.output(&xs, co).unwrap();
        let ws = conv.weights(xs[3], co);
        let (x, w, dy) = (random(xs.iter().product(), 5), random(ws.iter().product(), 6), random(ys.iter().product(), 7));
        let (tx, tw, tdy) = (up(e, &xs, &x), up(e, &ws, &w), up(e, &ys, &dy));
        let (ty, tdx, tdw) = (out(e, &ys), out(e, &xs), out(e, &ws));
        let y = run_twice(e, &ty, |p| kernel::forward(p, &conv, &tx, &tw, None, false, &ty));
        let dx = run_twice(e, &tdx, |p| kernel::backward_input(p, &conv, &tdy, &tw, &tdx));
        let dw = run_twice(e, &tdw, |p| kernel::backward_weights(p, &conv, &tx, &tdy, &tdw));
        let (a, b, c) = (dot(&dy, &y), dot(&dx, &x), dot(&dw, &w));
        let scale = dot(&dy, &dy).sqrt() * dot(&y, &y).sqrt() * 1e-5;
        assert!((a - b).abs() <= scale && (a - c).abs() <= scale, "{conv:?}: {a} {b} {c}");
    }
}

/// The twin's gradients against central differences in f64, with the op in the middle: L = sum sin(conv(x^2, w)).
#[test]
fn twin_gradients_equal_finite_differences() {
    let conv = Conv { kernel: [3, 2], stride: 2, pad: [1, 1], dilation: 2, groups: 2 };
    let s = twin::Sizes::new(&conv, [2, 6, 5, 4], 6).unwrap();
    let (x, w) = (f64s(&random(240, 1)), f64s(&random(72, 2)));
    let squares = |x: &[f64]| x.iter().map(|v| v * v).collect::<Vec<_>>();
    let loss = |x: &[f64], w: &[f64]| twin::forward(&conv, s, &squares(x), w, None).iter().map(|v| v.sin()).sum::<f64>();
    let dy: Vec<f64> = twin::forward(&conv, s, &squares(&x), &w, None).iter().map(|v| v.cos()).collect();
    let dx = twin::backward_input(&conv, s, &dy, &w);
    let dw = twin::backward_weights(&conv, s, &squares(&x), &dy);
    let h = 1e-5;
    for i in (0..240).step_by(7) {
        let (mut a, mut b) = (x.clone(), x.clone());
        a[i] += h;
        b[i] -= h;
        let want = (loss(&a, &w) - loss(&b, &w)) / (2.0 * h);
        assert!((dx[i] * 2.0 * x[i] - want).abs() < 1e-7, "dx[{i}]");
    }
    for i in (0..72).step_by(5) {
        let (mut a, mut b) = (w.clone(), w.clone());
        a[i] += h;
        b[i] -= h;
        let want = (loss(&x, &a) - loss(&x, &b)) / (2.0 * h);
        assert!((dw[i] - want).abs() < 1e-7, "dw[{i}]");
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let (e, _lock) = engine();
    let (x, w, y) = (out(e, &[1, 4, 4, 3]), out(e, &[9, 3, 8]), out(e, &[1, 4, 4, 7]));
    let err = kernel::forward(&mut PlanBuilder::new(e), &Conv::square(3, 1, 1), &x, &w, None, false, &y).unwrap_err();
    assert!(err.to_string().contains("expected weights [9, 3, 7]"), "{err}");
    let err = Conv { pad: [0, 0], ..Conv::square(7, 1, 1) }.output(&[1, 4, 4, 3], 8).unwrap_err();
    assert!(err.to_string().contains("larger than the padded input"), "{err}");
}

/// Every tiling with x and y stored as f32 and f16 in turn; Winograd's takes f32 alone.
#[test]
fn stored_as_f16() {
    let c = |k: [usize; 2], stride, pad: [usize; 2], dilation, groups| Conv { kernel: k, stride, pad, dilation, groups };
    let cases = [
        (c([3, 3], 2, [1, 1], 1, 1), [2, 9, 12, 8], 32),
        (c([5, 3], 1, [2, 0], 2, 1), [1, 13, 11, 5], 7),
        (c([3, 3], 1, [1, 1], 1, 3), [2, 8, 9, 12], 9),
    ];
    for (conv, xs, co) in cases {
        let (ys, ws) = (conv.output(&xs, co).unwrap(), conv.weights(xs[3], co));
        let (x, w, dy) = (halves(xs.iter().product(), 1), halves(ws.iter().product(), 2), halves(ys.iter().product(), 4));
        let usable: Vec<Way> = {
            let (e, _lock) = engine();
            let (tx, tw, ty) = (up(e, &xs, &x), up(e, &ws, &w), out(e, &ys));
            let fits = |way: &Way| {
                let mut p = PlanBuilder::new(e);
                p.set_precision(Precision::Mixed);
                kernel::pass_by(&mut p, *way, Pass::Forward, &conv, [&tx, &tw, &ty]).is_ok()
            };
            // Pipelines take long to compile: every tiling once, the odd shapes with one.
            let tilings = if conv.stride == 2 && conv.groups == 1 { &Tiling::ALL[..] } else { &[Tiling::PLAIN] };
            tilings.iter().map(|t| Way::Direct(*t)).filter(fits).collect()
        };
        assert!(!usable.is_empty());
        for way in usable {
            let weights = |p: &PlanBuilder<'_>| up(p.engine(), &ws, &w);
            let pass = |p: &mut PlanBuilder<'_>, pass: Pass, tensors: [&Tensor; 3]| {
                p.set_precision(Precision::Mixed);
                // Of the ways of this device the other may have none.
                let way = if p.engine().caps().f16 { way } else { Way::Direct(Tiling::PLAIN) };
                kernel::pass_by(p, way, pass, &conv, tensors)
            };
            stored_either_way(&[(&xs, &x)], &ys, None, |p, t, y| pass(p, Pass::Forward, [&t[0], &weights(p), y]));
            stored_either_way(&[(&ys, &dy)], &xs, None, |p, t, dx| pass(p, Pass::Input, [&t[0], &weights(p), dx]));
            // The gradient of the weights is f32: its bits alone are read, through a copy that may be stored either way.
            stored_either_way(&[(&xs, &x), (&ys, &dy)], &ws, None, |p, t, dw| {
                let full = out(p.engine(), &ws);
                pass(p, Pass::Weights, [&t[0], &t[1], &full])?;
                elementwise::scaled_copy(p, &full, 1.0, dw)
            });
        }
    }
    let (e, _lock) = engine();
    let (x, y) = (up_f16(e, &[1, 16, 16, 64], &halves(16384, 1)).0, out(e, &[1, 16, 16, 64]));
    let w = out(e, &[9, 64, 64]);
    let mut p = PlanBuilder::new(e);
    says(kernel::pass_by(&mut p, Way::Winograd, Pass::Forward, &Conv::square(3, 1, 1), [&x, &w, &y]), "winograd does not take");
}

use crate::common::*;
use echogrid::gpu::PlanBuilder;
use echogrid::kernels::upsample::{self as kernel, Upsample};
use echogrid::reference::upsample as twin;

const MODES: [Upsample; 2] = [Upsample::Nearest, Upsample::Bilinear];
const CASES: [([usize; 4], usize); 8] = [
    ([1, 1, 1, 1], 1),
    ([1, 1, 1, 3], 4),
    ([2, 7, 5, 3], 2),
    ([1, 9, 4, 64], 2),
    ([2, 3, 1, 65], 3),
    ([1, 1, 6, 8], 5),
    ([3, 5, 6, 4], 4),
    ([1, 8, 8, 63], 1),
];

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (shape, f) in CASES {
            let large = [shape[0], shape[1] * f, shape[2] * f, shape[3]];
            let (x, dy) = (random(shape.iter().product(), 1), random(large.iter().product(), 2));
            let (tx, tdy, ty, tdx) = (up(e, &shape, &x), up(e, &large, &dy), out(e, &large), out(e, &shape));
            for mode in MODES {
                // Two interpolations of numbers up to 1, three roundings and the weight's own each.
                let want = twin::forward(mode, f, &f64s(&x), shape);
                close(&run_twice(e, &ty, |p| kernel::forward(p, mode, f, &tx, &ty)), &want, 10.0 * EPS, 0.0);
                // At most 2 F x 2 F terms up to 1, whose weights sum to F x F.
                let want = twin::backward(mode, f, &f64s(&dy), shape);
                let bound = (4 * f * f + 8) as f64 * (f * f) as f64 * EPS;
                close(&run_twice(e, &tdx, |p| kernel::backward(p, mode, f, &tdy, &tdx)), &want, bound, 0.0);
            }
        }
    }
}

/// <dy, A x> = <A' dy, x>.
#[test]
fn adjoint() {
    let (e, _lock) = engine();
    for mode in MODES {
        let (x, dy) = (random(2 * 7 * 5 * 3, 3), random(2 * 21 * 15 * 3, 4));
        let (tx, tdy) = (up(e, &[2, 7, 5, 3], &x), up(e, &[2, 21, 15, 3], &dy));
        let (ty, tdx) = (out(e, &[2, 21, 15, 3]), out(e, &[2, 7, 5, 3]));
        let y = run_twice(e, &ty, |p| kernel::forward(p, mode, 3, &tx, &ty));
        let dx = run_twice(e, &tdx, |p| kernel::backward(p, mode, 3, &tdy, &tdx));
        // Every one of the 1,890 + 210 products is within the bounds above.
        assert!((dot(&y, &dy) - dot(&dx, &x)).abs() < (1890.0 * 10.0 + 210.0 * 44.0 * 9.0) * EPS);
    }
}

/// sin of the enlarged image against central differences in f64.
#[test]
fn twin_gradient_equals_finite_differences() {
    let shape = [1, 4, 3, 2];
    let x = f64s(&random(24, 5));
    for mode in MODES {
        let loss = |x: &[f64]| twin::forward(mode, 3, x, shape).iter().map(|v| v.sin()).sum::<f64>();
        let dy: Vec<f64> = twin::forward(mode, 3, &x, shape).iter().map(|v| v.cos()).collect();
        let nudge = |i: usize, d: f64| x.iter().enumerate().map(|(k, a)| if k == i { a + d } else { *a }).collect::<Vec<_>>();
        for (i, g) in twin::backward(mode, 3, &dy, shape).iter().enumerate() {
            assert!((g - (loss(&nudge(i, 1e-6)) - loss(&nudge(i, -1e-6))) / 2e-6).abs() < 1e-7, "{mode:?} dx[{i}]");
        }
    }
}

/// More than 65,535 groups of 64 in both directions.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let shape = [1, 65_536 * 64 + 1, 1, 1];
    let x = random(shape[1], 6);
    let (tx, ty) = (up(e, &shape, &x), out(e, &shape));
    assert!(run_twice(e, &ty, |p| kernel::forward(p, Upsample::Nearest, 1, &tx, &ty)) == x);
    let (tdy, tdx) = (tx, ty);
    assert!(run_twice(e, &tdx, |p| kernel::backward(p, Upsample::Bilinear, 1, &tdy, &tdx)) == x);
}

/// An infinity does not spread beyond its neighbours.
#[test]
fn odd_floats() {
    let (e, _lock) = engine();
    let (x, y) = (up(e, &[1, 1, 3, 1], &[f32::INFINITY, 1.0, 1e-40]), out(e, &[1, 2, 6, 1]));
    let got = run_twice(e, &y, |p| kernel::forward(p, Upsample::Nearest, 2, &x, &y));
    assert_eq!(got[..4], [f32::INFINITY, f32::INFINITY, 1.0, 1.0]);
    let got = run_twice(e, &y, |p| kernel::forward(p, Upsample::Bilinear, 2, &x, &y));
    assert!(got[3..6].iter().all(|v| v.is_finite()), "{got:?}");
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let err = kernel::forward(&mut p, Upsample::Nearest, 2, &out(e, &[1, 2, 2, 1]), &out(e, &[1, 4, 5, 1])).unwrap_err();
    assert!(err.to_string().contains("`y` must be F32 [1, 4, 4, 1]"), "{err}");
    let err = kernel::forward(&mut p, Upsample::Nearest, 0, &out(e, &[1, 2, 2, 1]), &out(e, &[1, 4, 4, 1])).unwrap_err();
    assert!(err.to_string().contains("factor must be"), "{err}");
    says(kernel::resize(&mut p, &out(e, &[1, 2, 2, 1]), &out(e, &[1, 4, 4, 2])), "batch and channels stay");
    says(kernel::resize_backward(&mut p, &out(e, &[1, 65_536, 1, 1]), &out(e, &[1, 2, 2, 1])), "below 65,536");
}

/// To sizes that are larger and smaller, multiples and not; nothing is rounded but the sums of the way back.
#[test]
fn resized_equals_its_twin() {
    let sizes = [
        ([1, 1, 1, 1], [1, 1]),
        ([2, 7, 5, 3], [13, 10]),
        ([1, 9, 4, 64], [18, 7]),
        ([1, 13, 25, 4], [25, 50]),
        ([2, 8, 9, 65], [3, 17]),
        ([1, 3, 2, 8], [100, 200]),
    ];
    let (engines, _lock) = engines();
    for e in engines {
        for (shape, to) in sizes {
            let large = [shape[0], to[0], to[1], shape[3]];
            let (x, dy) = (random(shape.iter().product(), 1), random(large.iter().product(), 2));
            let (tx, tdy, ty, tdx) = (up(e, &shape, &x), up(e, &large, &dy), out(e, &large), out(e, &shape));
            close(&run_twice(e, &ty, |p| kernel::resize(p, &tx, &ty)), &twin::resize(&f64s(&x), shape, to), 0.0, 0.0);
            let terms = (to[0].div_ceil(shape[1]) * to[1].div_ceil(shape[2])) as f64;
            let want = twin::resize_backward(&f64s(&dy), shape, to);
            close(&run_twice(e, &tdx, |p| kernel::resize_backward(p, &tdy, &tdx)), &want, terms * terms * EPS, 0.0);
        }
        // A whole factor either way.
        let (x, [y, z]) = (up(e, &[2, 5, 3, 4], &random(120, 3)), [0; 2].map(|_| out(e, &[2, 10, 6, 4])));
        let factor = run_twice(e, &y, |p| kernel::forward(p, Upsample::Nearest, 2, &x, &y));
        assert!(run_twice(e, &z, |p| kernel::resize(p, &x, &z)) == factor);
    }
}

/// One element that becomes many: as many turns of loops as a software adapter may take, and a refusal where it would take more.
#[test]
fn large_factors() {
    let (e, _lock) = engine();
    for factor in [100, 200] {
        let (tdy, tdx) = (up(e, &[1, factor, 20 * factor, 1], &vec![1.0; 20 * factor * factor]), out(e, &[1, 1, 20, 1]));
        let whole = vec![(factor * factor) as f32; 20];
        assert!(run_twice(e, &tdx, |p| kernel::backward(p, Upsample::Nearest, factor, &tdy, &tdx)) == whole);
        assert!(run_twice(e, &tdx, |p| kernel::resize_backward(p, &tdy, &tdx)) == whole);
    }
    if e.caps().software {
        let (tdy, tdx) = (out(e, &[1, 300, 300, 1]), out(e, &[1, 1, 1, 1]));
        says(kernel::resize_backward(&mut PlanBuilder::new(e), &tdy, &tdx), "elements that one becomes");
        says(kernel::backward(&mut PlanBuilder::new(e), Upsample::Bilinear, 300, &tdy, &tdx), "elements that one becomes");
    }
}

#[test]
fn stored_as_f16() {
    for (shape, f, mode) in CASES.into_iter().flat_map(|(shape, f)| MODES.map(|m| (shape, f, m))) {
        let large = [shape[0], shape[1] * f, shape[2] * f, shape[3]];
        let (x, dy) = (halves(shape.iter().product(), 1), halves(large.iter().product(), 2));
        stored_either_way(&[(&shape, &x)], &large, None, |p, t, y| kernel::forward(p, mode, f, &t[0], y));
        stored_either_way(&[(&large, &dy)], &shape, None, |p, t, dx| kernel::backward(p, mode, f, &t[0], dx));
    }
    let (x, dy) = (halves(2 * 7 * 5 * 8, 1), halves(2 * 13 * 10 * 8, 2));
    stored_either_way(&[(&[2, 7, 5, 8], &x)], &[2, 13, 10, 8], None, |p, t, y| kernel::resize(p, &t[0], y));
    stored_either_way(&[(&[2, 13, 10, 8], &dy)], &[2, 7, 5, 8], None, |p, t, dx| kernel::resize_backward(p, &t[0], dx));
}

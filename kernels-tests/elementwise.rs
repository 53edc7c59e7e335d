use crate::common::*;
use echogrid::gpu::PlanBuilder;
use echogrid::kernels::elementwise as kernel;
use echogrid::reference::elementwise as twin;

const SIZES: [usize; 8] = [1, 3, 4, 63, 64, 65, 1009, 4100];

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for n in SIZES {
            let (a, b) = (random(n, 1), random(n, 2));
            let (ta, tb, ty) = (up(e, &[n], &a), up(e, &[n], &b), out(e, &[n]));
            // One rounding (two for s * x + y, of terms up to 2).
            for relu in [false, true] {
                let want = twin::add(&f64s(&a), &f64s(&b), relu);
                close(&run_twice(e, &ty, |p| kernel::add(p, &ta, &tb, relu, &ty)), &want, 0.0, EPS);
            }
            let want = twin::relu_backward(&f64s(&a), &f64s(&b));
            close(&run_twice(e, &ty, |p| kernel::relu_backward(p, &ta, &tb, &ty)), &want, 0.0, 0.0);
            let want = twin::scaled_copy(&f64s(&a), 0.3f32.into());
            close(&run_twice(e, &ty, |p| kernel::scaled_copy(p, &ta, 0.3, &ty)), &want, 0.0, EPS);
            plan(e, |p| kernel::accumulate(p, &ta, 1.5, &tb)).submit(e).unwrap();
            close(&e.read(&tb).unwrap(), &twin::accumulate(&f64s(&a), 1.5, &f64s(&b)), 4.0 * EPS, 0.0);
            // Two roundings: the factors' product, and that times x.
            let want = twin::scaled_copy(&f64s(&a), -0.7 * f64::from(0.3f32));
            let factor = up(e, &[1], &[0.3]);
            close(&run_twice(e, &ty, |p| kernel::scaled_by(p, &ta, &factor, -0.7, &ty)), &want, 0.0, 4.0 * EPS);
            assert!(run_twice(e, &ty, |p| kernel::fill(p, 2.5, &ty)).iter().all(|v| *v == 2.5));
            // Nothing is rounded.
            let got = run_twice(e, &ta, |p| kernel::clamp(p, &ta, 0.25));
            assert_eq!(f64s(&got), twin::clamp(&f64s(&a), 0.25));
        }
    }
}

/// A pixel's channels stay or go together, whatever they hold; a NaN in the mask is no validity. Nothing is rounded.
#[test]
fn keeps_what_is_valid() {
    let (engines, _lock) = engines();
    for e in engines {
        for (shape, m) in [([2, 3, 5, 16], 4), ([1, 1, 1, 1], 1), ([3, 7, 9, 5], 4), ([1, 64, 65, 12], 2)] {
            let pixels: usize = shape[..3].iter().product();
            let (mut x, mut mask) = (random(pixels * shape[3], 7), random(pixels * m, 8));
            mask[m - 1] = f32::NAN;
            x[0] = f32::INFINITY;
            let (tx, tm, ty) = (up(e, &shape, &x), up(e, &[shape[0], shape[1], shape[2], m], &mask), out(e, &shape));
            let want = twin::keep_where(&f64s(&mask), m, 0.25, &f64s(&x), shape[3]);
            let got = run_twice(e, &ty, |p| kernel::keep_where(p, &tm, 0.25, &tx, &ty));
            assert_eq!(f64s(&got), want);
            assert_eq!(got[0], 0.0);
        }
        let mut p = PlanBuilder::new(e);
        let err = kernel::keep_where(&mut p, &out(e, &[2, 3, 1]), 0.5, &out(e, &[3, 2, 4]), &out(e, &[3, 2, 4])).unwrap_err();
        assert!(err.to_string().contains("a mask [2, 3, 1] for [3, 2, 4]"), "{err}");
    }
}

/// Infinities go to the borders, a NaN stays, in both widths; the factor is read at each run.
#[test]
fn clamps_and_scales_what_is_odd() {
    let (engines, _lock) = engines();
    for e in engines {
        for n in [7, 8] {
            let mut x = vec![0.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.01, 0.01, 1e-40];
            x.resize(n, -3.0);
            let y = up(e, &[n], &x);
            let got = run_twice(e, &y, |p| kernel::clamp(p, &y, 0.01));
            assert!(got[1].is_nan(), "{got:?}");
            assert_eq!([got[0], got[2], got[3], got[4], got[5]], [0.01, 0.01, -0.01, -0.01, 0.01]);
            assert!(got[6].abs() <= 1e-40 && got[7..].iter().all(|v| *v == -0.01), "{got:?}");
            let got = run_twice(e, &y, |p| kernel::clamp(p, &y, 0.0));
            // A denormal number may count as 0, which is not above it.
            assert!(got[1].is_nan() && (0..n).all(|i| i == 1 || got[i].abs() < f32::MIN_POSITIVE), "{got:?}");
            let (x, factor, y) = (up(e, &[n], &vec![3.0; n]), up(e, &[1], &[0.5]), out(e, &[n]));
            let plan = plan(e, |p| kernel::scaled_by(p, &x, &factor, -1.0, &y));
            for f in [0.5, 0.0, -2.0] {
                e.write(&factor, &[f]).unwrap();
                plan.submit(e).unwrap();
                assert!(e.read::<f32>(&y).unwrap().iter().all(|v| *v == -3.0 * f));
            }
        }
    }
}

/// d sin(relu(a + b)) against central differences of the twin in f64.
#[test]
fn twin_gradient_equals_finite_differences() {
    let (a, b) = (f64s(&random(97, 3)), f64s(&random(97, 4)));
    let y = twin::add(&a, &b, true);
    let got = twin::relu_backward(&y, &y.iter().map(|v| v.cos()).collect::<Vec<_>>());
    for i in (0..97).filter(|i| (a[*i] + b[*i]).abs() > 1e-3) {
        let at = |d: f64| twin::add(&[a[i] + d], &[b[i]], true)[0].sin();
        assert!((got[i] - (at(1e-5) - at(-1e-5)) / 2e-5).abs() < 1e-8);
    }
}

/// More than 65,535 groups of 64 where an invocation has four elements (a software adapter, with 16, stays below: it would
/// take more than its largest binding).
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    // An odd count keeps the loads scalar; 64 MiB.
    let y = out(e, &[65_535 * 64 * 4 + 1]);
    assert!(run_twice(e, &y, |p| kernel::fill(p, 3.0, &y)).iter().all(|v| *v == 3.0));
}

#[test]
fn odd_floats() {
    let (e, _lock) = engine();
    let x = [f32::INFINITY, f32::NEG_INFINITY, 1e-40, -1e-40, 0.0, -0.0, 3e38, -3e38];
    let (tx, ty) = (up(e, &[8], &x), out(e, &[8]));
    let y = run_twice(e, &ty, |p| kernel::scaled_copy(p, &tx, 2.0, &ty));
    assert!(y.iter().all(|v| !v.is_nan()) && y[0] == f32::INFINITY && y[6] == f32::INFINITY, "{y:?}");
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let err = kernel::add(&mut p, &out(e, &[4]), &out(e, &[5]), false, &out(e, &[4])).unwrap_err();
    assert!(err.to_string().contains("[4] against [5]"), "{err}");
    for most in [-1.0, f32::NAN] {
        let err = kernel::clamp(&mut p, &out(e, &[4]), most).unwrap_err();
        assert!(err.to_string().contains("must be 0 or more"), "{err}");
    }
    let err = kernel::scaled_by(&mut p, &out(e, &[4]), &out(e, &[2]), 1.0, &out(e, &[4])).unwrap_err();
    assert!(err.to_string().contains("`factor` must be F32 [1]"), "{err}");
    let x = out(e, &[4]);
    let err = kernel::accumulate(&mut p, &x, 1.0, &x).unwrap_err();
    assert!(err.to_string().contains("share a buffer"), "{err}");
}

#[test]
fn stored_as_f16() {
    for n in [3, 64, 1009, 4100] {
        let (a, b) = (halves(n, 1), halves(n, 2));
        let [a, b] = [(&[n][..], &a[..]), (&[n][..], &b[..])];
        for relu in [false, true] {
            stored_either_way(&[a, b], &[n], None, |p, t, y| kernel::add(p, &t[0], &t[1], relu, y));
        }
        stored_either_way(&[a, b], &[n], None, |p, t, y| kernel::relu_backward(p, &t[0], &t[1], y));
        stored_either_way(&[a], &[n], None, |p, t, y| kernel::scaled_copy(p, &t[0], 0.3, y));
        stored_either_way(&[a], &[n], None, |p, t, y| {
            kernel::scaled_copy(p, &t[0], 2.0, y)?;
            kernel::accumulate(p, &t[0], 0.7, y)
        });
    }
}

use crate::common::*;
use echogrid::gpu::PlanBuilder;
use echogrid::kernels::l2norm as kernel;
use echogrid::reference::l2norm as twin;

const SHAPES: [(usize, usize); 7] = [(1, 1), (3, 7), (5, 8), (17, 63), (4, 65), (2, 1009), (65_537, 3)];
const GUARD: f64 = kernel::EPS as f64;

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (n, d) in SHAPES {
            let (x, dy) = (random(n * d, 1), random(n * d, 2));
            let (tx, tdy) = (up(e, &[n, d], &x), up(e, &[n, d], &dy));
            let (ty, tn, tdx) = (out(e, &[n, d]), out(e, &[n]), out(e, &[n, d]));
            let y = run_twice(e, &ty, |p| kernel::forward(p, kernel::EPS, &tx, &ty, &tn));
            let (want, norm) = twin::forward(&f64s(&x), d, GUARD);
            // A sum of d non-negative terms is off by at most d roundings relatively, its root by half that; sqrt, the
            // reciprocal (2.5 ulp) and the product add a handful.
            let rel = (d as f64 / 2.0 + 8.0) * EPS;
            close(&y, &want, 0.0, rel);
            close(&e.read::<f32>(&tn).unwrap(), &norm, 0.0, rel);
            // The gradient of the kernel's own y and norm: <y, dy> is off by d roundings of sum |y dy| <= |dy| <= sqrt(d),
            // |y| <= 1, and all of it is divided by the norm.
            let got = run_twice(e, &tdx, |p| kernel::backward(p, kernel::EPS, &ty, &tdy, &tn, &tdx));
            let norm = f64s(&e.read::<f32>(&tn).unwrap());
            let want = twin::backward(&f64s(&y), &f64s(&dy), &norm, d, GUARD);
            for (r, l) in norm.iter().enumerate() {
                let bound = (d as f64 + 8.0) * EPS * (1.0 + (d as f64).sqrt()) / l;
                close(&got[r * d..][..d], &want[r * d..][..d], bound, 8.0 * EPS);
            }
        }
    }
}

/// The twin's gradient against central differences in f64, with the op in the middle of sum(sin(3 y(x))).
#[test]
fn twin_gradient_equals_finite_differences() {
    let d = 7;
    let x = f64s(&random(5 * d, 3));
    let after = |x: &[f64]| twin::forward(x, d, GUARD).0.iter().map(|v| (3.0 * v).sin()).sum::<f64>();
    let (y, norm) = twin::forward(&x, d, GUARD);
    let dy: Vec<f64> = y.iter().map(|v| 3.0 * (3.0 * v).cos()).collect();
    for (i, g) in twin::backward(&y, &dy, &norm, d, GUARD).iter().enumerate() {
        let at = |h: f64| {
            let mut x = x.clone();
            x[i] += h;
            after(&x)
        };
        let want = (at(1e-5) - at(-1e-5)) / 2e-5;
        assert!((g - want).abs() < 1e-7, "at {i}: {g} against {want}");
    }
}

/// Zero and denormal rows: finite output, zero gradient. Infinite length gives zeros for finite elements. NaN stays in its row.
#[test]
fn odd_floats() {
    let (engines, _lock) = engines();
    for e in engines {
        let x = [0.0, 0.0, 1e-40, -1e-40, 1e30, 1e30, f32::NAN, 1.0, 3.0, 4.0];
        let (tx, tdy) = (up(e, &[5, 2], &x), up(e, &[5, 2], &[1.0; 10]));
        let (ty, tn, tdx) = (out(e, &[5, 2]), out(e, &[5]), out(e, &[5, 2]));
        let plan = plan(e, |p| {
            kernel::forward(p, kernel::EPS, &tx, &ty, &tn)?;
            kernel::backward(p, kernel::EPS, &ty, &tdy, &tn, &tdx)
        });
        plan.submit(e).unwrap();
        let (y, dx): (Vec<f32>, Vec<f32>) = (e.read(&ty).unwrap(), e.read(&tdx).unwrap());
        assert!(y[..4].iter().all(|v| v.abs() < 1e-20), "{y:?}");
        assert_eq!(dx[..4], [0.0; 4]);
        assert_eq!(y[4..6], [0.0; 2]);
        assert!(y[6].is_nan());
        close(&y[8..], &[0.6, 0.8], 0.0, 4.0 * EPS);
        close(&dx[8..], &[(1.0 - 0.6 * 1.4) / 5.0, (1.0 - 0.8 * 1.4) / 5.0], 1e-7, 0.0);
    }
}

#[test]
fn refuses_other_shapes() {
    let (e, _lock) = engine();
    let (x, y, n) = (out(e, &[4, 3]), out(e, &[4, 3]), out(e, &[3]));
    let err = kernel::forward(&mut PlanBuilder::new(e), kernel::EPS, &x, &y, &n).unwrap_err();
    assert!(err.to_string().contains("`norm` must be F32 [4], not F32 [3]"), "{err}");
    let err = kernel::forward(&mut PlanBuilder::new(e), kernel::EPS, &n, &y, &n).unwrap_err();
    assert!(err.to_string().contains("expected two extents"), "{err}");
}

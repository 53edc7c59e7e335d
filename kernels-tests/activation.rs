use crate::common::*;
use echogrid::kernels::activation::{self as kernel, Activation};
use echogrid::reference::activation as twin;

const KINDS: [Activation; 4] = [Activation::Relu, Activation::LeakyRelu(0.1), Activation::Silu, Activation::Sigmoid];
const SIZES: [usize; 7] = [1, 3, 63, 64, 65, 1009, 4100];

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for f in KINDS {
            for n in SIZES {
                let x: Vec<f32> = random(n, 1).iter().map(|v| v * 8.0).collect();
                let dy = random(n, 2);
                let (tx, tdy, ty, tdx) = (up(e, &[n], &x), up(e, &[n], &dy), out(e, &[n]), out(e, &[n]));
                // exp is allowed 3 + 2|x| ulp by WGSL; |x| <= 8; a few roundings follow.
                close(&run_twice(e, &ty, |p| kernel::forward(p, f, &tx, &ty)), &twin::forward(f, &f64s(&x)), 0.0, 30.0 * EPS);
                let want = twin::backward(f, &f64s(&x), &f64s(&dy));
                close(&run_twice(e, &tdx, |p| kernel::backward(p, f, &tx, &tdy, &tdx)), &want, 60.0 * EPS, 30.0 * EPS);
            }
        }
    }
}

/// The twin's gradient against central differences in f64, with the op in the middle of sin(f(x)).
#[test]
fn twin_gradient_equals_finite_differences() {
    for f in KINDS {
        let x: Vec<f64> = f64s(&random(97, 3)).iter().map(|v| v * 4.0).filter(|v| v.abs() > 1e-3).collect();
        let y = twin::forward(f, &x);
        let got = twin::backward(f, &x, &y.iter().map(|v| v.cos()).collect::<Vec<_>>());
        for (i, g) in got.iter().enumerate() {
            let at = |d: f64| twin::forward(f, &[x[i] + d])[0].sin();
            let want = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((g - want).abs() < 1e-8, "{f:?} at {}: {g} against {want}", x[i]);
        }
    }
}

/// NaN stays NaN or is cut by max as IEEE allows, infinities and denormals do not turn into NaN.
#[test]
fn odd_floats() {
    let (e, _lock) = engine();
    let x = [f32::INFINITY, -1e30, 1e-40, -1e-40, 0.0, -0.0, 100.0, -100.0];
    for f in KINDS {
        let (tx, ty) = (up(e, &[8], &x), out(e, &[8]));
        let y = run_twice(e, &ty, |p| kernel::forward(p, f, &tx, &ty));
        assert!(y.iter().all(|v| !v.is_nan()), "{f:?}: {y:?}");
        assert_eq!(y[0], if f == Activation::Sigmoid { 1.0 } else { f32::INFINITY });
    }
}

#[test]
fn refuses_other_lengths() {
    let (e, _lock) = engine();
    let (x, y) = (out(e, &[4]), out(e, &[5]));
    let err = kernel::forward(&mut echogrid::gpu::PlanBuilder::new(e), Activation::Relu, &x, &y).unwrap_err();
    assert!(err.to_string().contains("[4] against [5]"), "{err}");
}

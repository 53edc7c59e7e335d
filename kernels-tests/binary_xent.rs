use crate::common::*;
use echogrid::gpu::PlanBuilder;
use echogrid::kernels::binary_xent as kernel;
use echogrid::reference::binary_xent as twin;

const SIZES: [usize; 8] = [1, 3, 8, 63, 64, 65, 1009, 20_011];

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for n in SIZES {
            let z: Vec<f32> = random(n, 1).iter().map(|v| 10.0 * v).collect();
            let (tz, loss, accuracy) = (up(e, &[n, 1], &z), out(e, &[1]), out(e, &[1]));
            let (dloss, dz) = (up(e, &[1], &[-2.0]), out(e, &[n, 1]));
            for target in [false, true] {
                let (want, share, dwant) = twin::run(target, &f64s(&z));
                let got = run_twice(e, &loss, |p| kernel::forward(p, target, &tz, &loss, &accuracy));
                // exp of -x is off by (3 + 2 x) ulp, at most 6 EPS of 1; 1 + exp rounds once; log of 1 to 2 is off by 2^-21 = 4.8e-7,
                // or 3 ulp, and moves no more than its argument; the sum of non-negative terms by n / 8 + 8 roundings, and a few more.
                close(&got, &[want], 4.8e-7 + 14.0 * EPS, (n as f64 / 8.0 + 16.0) * EPS);
                close(&e.read(&accuracy).unwrap(), &[share], 0.0, 6.0 * EPS);
                let got = run_twice(e, &dz, |p| kernel::backward(p, target, &tz, &dloss, &dz));
                // exp (23 ulp at 10, twice as many EPS), a division (2.5 ulp), four products and 1 / n.
                close(&got, &dwant.iter().map(|d| -2.0 * d).collect::<Vec<_>>(), 0.0, 60.0 * EPS);
            }
        }
    }
}

/// The twin's gradient against central differences in f64.
#[test]
fn twin_gradient_equals_finite_differences() {
    let z: Vec<f64> = f64s(&random(7, 2)).iter().map(|v| 4.0 * v).collect();
    for target in [false, true] {
        let (loss, _, dz) = twin::run(target, &z);
        for (i, d) in dz.iter().enumerate() {
            let at = |h: f64| {
                let mut z = z.clone();
                z[i] += h;
                (3.0 * twin::run(target, &z).0).sin()
            };
            let (got, want) = (3.0 * (3.0 * loss).cos() * d, (at(1e-5) - at(-1e-5)) / 2e-5);
            assert!((got - want).abs() < 1e-8, "at {i}: {got} against {want}");
        }
    }
}

/// Golden: ln 2 at 0, which counts as wrong; huge logits neither overflow nor stop learning; infinities and NaN show.
#[test]
fn odd_logits() {
    let (engines, _lock) = engines();
    for e in engines {
        let (loss, accuracy, dloss, dz) = (out(e, &[1]), out(e, &[1]), up(e, &[1], &[1.0]), out(e, &[2]));
        let run = |target: bool, z: [f32; 2]| {
            let tz = up(e, &[2], &z);
            let l = run_twice(e, &loss, |p| kernel::forward(p, target, &tz, &loss, &accuracy))[0];
            let d = run_twice(e, &dz, |p| kernel::backward(p, target, &tz, &dloss, &dz));
            (l, e.read::<f32>(&accuracy).unwrap()[0], [d[0], d[1]])
        };
        let (l, a, d) = run(true, [0.0, -0.0]);
        assert!((l - std::f32::consts::LN_2).abs() < 1e-6 && a == 0.0, "{l} {a}");
        close(&d, &[-0.25; 2], 0.0, 4.0 * EPS);
        let (l, a, d) = run(true, [1e30, -1e30]);
        assert!((l / 5e29 - 1.0).abs() < 1e-6 && a == 0.5, "{l} {a}");
        assert_eq!(d, [0.0, -0.5]);
        let (l, a, d) = run(false, [-50.0, 80.0]);
        assert!((l - 40.0).abs() < 1e-5 && a == 0.5, "{l} {a}");
        // exp(-50) / 2.
        assert!((f64::from(d[0]) / 9.643_749_239_819_588e-23 - 1.0).abs() < 220.0 * EPS && d[1] == 0.5, "{d:?}");
        let (l, a, d) = run(false, [f32::NEG_INFINITY, f32::NEG_INFINITY]);
        assert_eq!((l, a, d), (0.0, 1.0, [0.0; 2]));
        assert_eq!(run(false, [f32::INFINITY, 0.0]).0, f32::INFINITY);
        let (l, a, d) = run(true, [f32::NAN, 3.0]);
        assert!(l.is_nan() && a == 0.5 && d[0].is_nan() && d[1].is_finite(), "{l} {a} {d:?}");
    }
}

/// More than 65,535 groups of 64 in the backward pass.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let n = 65_536 * 64 + 1;
    let (z, dloss, dz) = (up(e, &[n], &vec![0.0; n]), up(e, &[1], &[n as f32]), out(e, &[n]));
    let got = run_twice(e, &dz, |p| kernel::backward(p, false, &z, &dloss, &dz));
    assert!(got.iter().all(|v| (v - 0.5).abs() < 1e-6));
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let (z, one) = (out(e, &[4, 1]), out(e, &[1]));
    let err = kernel::forward(&mut p, true, &z, &out(e, &[2]), &one).unwrap_err();
    assert!(err.to_string().contains("`loss` must be F32 [1]"), "{err}");
    let err = kernel::forward(&mut p, true, &out(e, &[0, 1]), &one, &out(e, &[1])).unwrap_err();
    assert!(err.to_string().contains("not empty"), "{err}");
    let err = kernel::backward(&mut p, true, &z, &one, &out(e, &[5])).unwrap_err();
    assert!(err.to_string().contains("[4, 1] against [5]"), "{err}");
}

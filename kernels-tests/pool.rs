use crate::common::*;
use echogrid::gpu::PlanBuilder;
use echogrid::kernels::pool::{self as kernel, Pool, Window};
use echogrid::reference::pool as twin;

fn cases() -> Vec<([usize; 4], Window)> {
    let odd = Window { kernel: (2, 5), stride: (3, 1), padding: (0, 4) };
    vec![
        ([1, 1, 1, 1], Window::square(1, 1, 0)),
        ([2, 7, 9, 3], Window::square(3, 2, 1)),
        ([1, 13, 8, 64], Window::square(3, 2, 1)),
        ([2, 8, 8, 63], Window::square(2, 2, 0)),
        ([1, 9, 11, 65], Window::square(3, 1, 1)),
        ([1, 10, 7, 4], Window::square(2, 3, 0)),
        ([3, 5, 6, 2], odd),
        ([2, 11, 13, 8], Window::square(5, 2, 4)),
        ([2, 9, 17, 8], Window { kernel: (9, 17), stride: (1, 1), padding: (0, 0) }),
    ]
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (shape, window) in cases() {
            let n = shape.iter().product();
            // Few values, so that windows hold ties.
            let x: Vec<f32> = random(n, 1).iter().map(|v| (v * 3.0).round()).collect();
            let (oh, ow) = window.output(shape[1], shape[2]).unwrap();
            let oshape = [shape[0], oh, ow, shape[3]];
            let dy = random(oshape.iter().product(), 2);
            let (tx, tdy, ty, tdx) = (up(e, &shape, &x), up(e, &oshape, &dy), out(e, &oshape), out(e, &shape));
            for pool in [Pool::Max, Pool::Average] {
                // Windows of K elements: K - 1 additions of sums up to 3 K, then a division; backward: at most K terms up to 1.
                let k = (window.kernel.0 * window.kernel.1) as f64;
                let exact = pool == Pool::Max;
                let want = twin::forward(pool, &window, &f64s(&x), shape);
                let got = run_twice(e, &ty, |p| kernel::forward(p, pool, &window, &tx, &ty));
                close(&got, &want, if exact { 0.0 } else { 3.0 * (k + 2.0) * EPS }, 0.0);
                let want = twin::backward(pool, &window, &f64s(&x), shape, &f64s(&dy));
                let got = run_twice(e, &tdx, |p| kernel::backward(p, pool, &window, &tx, &tdy, &tdx));
                close(&got, &want, k * (k + 2.0) * EPS, 0.0);
            }
        }
    }
}

#[test]
fn generalised_mean_equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (shape, power) in [([1, 1, 1, 1], 3.0), ([2, 7, 9, 3], 3.0), ([3, 8, 8, 64], 1.0), ([2, 13, 11, 5], 4.5), ([1, 33, 31, 8], 2.0)]
        {
            let (n, c) = (shape[0], shape[3]);
            let x: Vec<f32> = random(shape.iter().product(), 1).iter().map(|v| v * 2.0 + 1.0).collect();
            let dy = random(n * c, 2);
            let (tx, tp, ty) = (up(e, &shape, &x), up(e, &[1], &[power]), out(e, &[n, c]));
            let want = twin::generalised_mean(&f64s(&x), n, c, power.into(), 1e-3f32.into());
            let got = run_twice(e, &ty, |p| kernel::generalised_mean(p, &tx, &tp, 1e-3, &ty));
            // WGSL allows log2 an absolute error of 2^-21 near 1 (3 ulp elsewhere) and exp2 3 + 2|x| ulp with |x| = |p log2 v|
            // up to 45: p 2^-21 + 100 u for a power, the same again for the root, and R u for the sum.
            let rows = (shape[1] * shape[2]) as f64;
            let rel = 2.0 * (f64::from(power) * 4.8e-7 + 100.0 * EPS) + rows.min(100.0) * EPS;
            close(&got, &want, 0.0, rel);
            let (tdy, tdx, tdp) = (up(e, &[n, c], &dy), out(e, &shape), out(e, &[1]));
            let back = |p: &mut PlanBuilder<'_>| kernel::generalised_mean_backward(p, &tx, &ty, &tp, 1e-3, &tdy, &tdx, &tdp, false);
            let (wx, wp) = twin::generalised_mean_backward(&f64s(&x), n, c, power.into(), 1e-3f32.into(), &f64s(&dy));
            // w = (v / y)^p multiplies the error of y and of two logarithms by p.
            let rel = rel * (2.0 + f64::from(power));
            close(&run_twice(e, &tdx, back), &wx, 0.0, rel);
            // Each of N C terms is at most y |w (ln v - ln y)| / p, about 8 in all.
            close(&e.read(&tdp).unwrap(), &[wp], 8.0 * rel * (n * c) as f64, 0.0);
        }
    }
}

/// sin of the generalised mean, in x and in p, against central differences in f64.
#[test]
fn twin_gradient_equals_finite_differences() {
    let x: Vec<f64> = f64s(&random(2 * 6 * 3, 3)).iter().map(|v| v + 0.8).filter(|v| (v - 0.1).abs() > 1e-3).collect();
    assert_eq!(x.len(), 36);
    let y = |x: &[f64], p: f64| twin::generalised_mean(x, 2, 3, p, 0.1);
    let loss = |x: &[f64], p: f64| y(x, p).iter().map(|v| v.sin()).sum::<f64>();
    let dy: Vec<f64> = y(&x, 3.0).iter().map(|v| v.cos()).collect();
    let (dx, dp) = twin::generalised_mean_backward(&x, 2, 3, 3.0, 0.1, &dy);
    let nudge = |i: usize, d: f64| x.iter().enumerate().map(|(k, a)| if k == i { a + d } else { *a }).collect::<Vec<_>>();
    for (i, g) in dx.iter().enumerate() {
        let want = (loss(&nudge(i, 1e-6), 3.0) - loss(&nudge(i, -1e-6), 3.0)) / 2e-6;
        assert!((g - want).abs() < 1e-8, "dx[{i}]: {g} against {want}");
    }
    let want = (loss(&x, 3.0 + 1e-6) - loss(&x, 3.0 - 1e-6)) / 2e-6;
    assert!((dp - want).abs() < 1e-8, "dp: {dp} against {want}");
    let window = Window { kernel: (3, 2), stride: (2, 1), padding: (1, 0) };
    for pool in [Pool::Max, Pool::Average] {
        let shape = [1, 4, 3, 3];
        let loss = |x: &[f64]| twin::forward(pool, &window, x, shape).iter().map(|v| v.sin()).sum::<f64>();
        let dy: Vec<f64> = twin::forward(pool, &window, &x, shape).iter().map(|v| v.cos()).collect();
        for (i, g) in twin::backward(pool, &window, &x, shape, &dy).iter().enumerate() {
            assert!((g - (loss(&nudge(i, 1e-6)) - loss(&nudge(i, -1e-6))) / 2e-6).abs() < 1e-8, "{pool:?} dx[{i}]");
        }
    }
}

/// <dy, A x> = <A' dy, x> for the average.
#[test]
fn adjoint() {
    let (e, _lock) = engine();
    let (shape, window) = ([2, 9, 7, 5], Window::square(3, 2, 1));
    let oshape = [2, 5, 4, 5];
    let (x, dy) = (random(630, 4), random(200, 5));
    let (tx, tdy, ty, tdx) = (up(e, &shape, &x), up(e, &oshape, &dy), out(e, &oshape), out(e, &shape));
    let y = run_twice(e, &ty, |p| kernel::forward(p, Pool::Average, &window, &tx, &ty));
    let dx = run_twice(e, &tdx, |p| kernel::backward(p, Pool::Average, &window, &tx, &tdy, &tdx));
    assert!((dot(&y, &dy) - dot(&dx, &x)).abs() < 830.0 * 11.0 * EPS);
}

#[test]
fn global_average_backward_is_its_adjoint() {
    let (e, _lock) = engine();
    let (x, dy) = (random(2 * 90 * 6, 6), random(12, 7));
    let (tx, tdy, ty, tdx) = (up(e, &[2, 9, 10, 6], &x), up(e, &[2, 6], &dy), out(e, &[2, 6]), out(e, &[2, 9, 10, 6]));
    let y = run_twice(e, &ty, |p| kernel::global_average(p, &tx, &ty));
    let dx = run_twice(e, &tdx, |p| kernel::global_average_backward(p, &tdy, &tdx));
    assert!((dot(&y, &dy) - dot(&dx, &x)).abs() < 12.0 * 92.0 * EPS);
}

/// More than 65,535 groups of 64 in both directions (one column, so that no adapter joins pixels of a row).
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let (rows, window) = (65_536 * 64 + 2, Window { kernel: (2, 1), stride: (1, 1), padding: (0, 0) });
    let x = random(rows, 8);
    let (tx, ty, tdx) = (up(e, &[1, rows, 1, 1], &x), out(e, &[1, rows - 1, 1, 1]), out(e, &[1, rows, 1, 1]));
    let y = run_twice(e, &ty, |p| kernel::forward(p, Pool::Max, &window, &tx, &ty));
    assert!(y.iter().zip(x.windows(2)).all(|(y, x)| *y == x[0].max(x[1])));
    e.write(&ty, &vec![1.0f32; rows - 1]).unwrap();
    let dx = run_twice(e, &tdx, |p| kernel::backward(p, Pool::Average, &window, &tx, &ty, &tdx));
    assert!(dx[0] == 0.5 && dx[rows - 1] == 0.5 && dx[1..rows - 1].iter().all(|v| *v == 1.0));
}

/// Windows of minus infinity stay so; zero and negative elements of a generalised mean count as eps.
#[test]
fn odd_floats() {
    let (e, _lock) = engine();
    let (x, y) = (up(e, &[1, 2, 2, 1], &[f32::NEG_INFINITY; 4]), out(e, &[1, 1, 1, 1]));
    assert_eq!(run_twice(e, &y, |p| kernel::forward(p, Pool::Max, &Window::square(2, 2, 0), &x, &y)), [f32::NEG_INFINITY]);
    let (x, p) = (up(e, &[1, 2, 2, 1], &[0.0, -3.0, -0.0, 1e-40]), up(e, &[1], &[3.0]));
    let (y, dy, dx, dp) = (out(e, &[1, 1]), up(e, &[1, 1], &[1.0]), out(e, &[1, 2, 2, 1]), out(e, &[1]));
    let got = run_twice(e, &y, |b| kernel::generalised_mean(b, &x, &p, 1e-6, &y));
    assert!((got[0] - 1e-6).abs() < 1e-10, "{got:?}");
    assert_eq!(run_twice(e, &dx, |b| kernel::generalised_mean_backward(b, &x, &y, &p, 1e-6, &dy, &dx, &dp, false)), [0.0; 4]);
    assert!(e.read::<f32>(&dp).unwrap()[0].abs() < 1e-10);
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let (x, y) = (out(e, &[1, 4, 4, 1]), out(e, &[1, 2, 2, 1]));
    let err = kernel::forward(&mut p, Pool::Max, &Window::square(2, 2, 2), &x, &y).unwrap_err();
    assert!(err.to_string().contains("does not fit an image of 4 x 4"), "{err}");
    let err = kernel::forward(&mut p, Pool::Max, &Window::square(3, 1, 1), &x, &y).unwrap_err();
    assert!(err.to_string().contains("`y` must be F32 [1, 4, 4, 1]"), "{err}");
    let err = kernel::generalised_mean(&mut p, &x, &out(e, &[1]), 0.0, &out(e, &[1, 1])).unwrap_err();
    assert!(err.to_string().contains("eps must be"), "{err}");
}

#[test]
fn stored_as_f16() {
    for ((shape, window), pool) in cases().into_iter().flat_map(|c| [Pool::Max, Pool::Average].map(|p| (c, p))) {
        let (oh, ow) = window.output(shape[1], shape[2]).unwrap();
        // The mean of the whole image is another kernel's, and in f32.
        if pool == Pool::Average && (oh, ow) == (1, 1) {
            continue;
        }
        let small = [shape[0], oh, ow, shape[3]];
        let (x, dy) = (halves(shape.iter().product(), 1), halves(small.iter().product(), 2));
        stored_either_way(&[(&shape, &x)], &small, None, |p, t, y| kernel::forward(p, pool, &window, &t[0], y));
        stored_either_way(&[(&shape, &x), (&small, &dy)], &shape, Some(0), |p, t, dx| kernel::backward(p, pool, &window, &t[0], &t[1], dx));
    }
}

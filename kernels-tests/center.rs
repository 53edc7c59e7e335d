use crate::common::*;
use echogrid::gpu::PlanBuilder;
use echogrid::kernels::center as kernel;
use echogrid::reference::center as twin;

const SHAPES: [[usize; 4]; 7] = [[1, 1, 1, 1], [2, 7, 9, 3], [3, 8, 8, 64], [1, 5, 13, 63], [2, 9, 7, 65], [5, 16, 17, 4], [2, 40, 41, 5]];

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for shape in SHAPES {
            let x: Vec<f32> = random(shape.iter().product(), 1).iter().map(|v| v + 10.0).collect();
            let (tx, ty) = (up(e, &shape, &x), out(e, &shape));
            // The mean: chains of at most 100 additions of partial sums, relative to it at most 100 u each; up to 11.
            let want = twin::forward(&f64s(&x), shape[0], shape[3]);
            close(&run_twice(e, &ty, |p| kernel::forward(p, &tx, &ty)), &want, 102.0 * 11.0 * EPS, 0.0);
        }
    }
}

/// The mean of the valid pixels alone; an image without any stays 0.
#[test]
fn masked_equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for shape in SHAPES {
            let [n, h, w, c] = shape;
            let planes: Vec<f32> = random(n * h * w, 7)
                .iter()
                .enumerate()
                .flat_map(|(i, v)| [9.0, f32::from(u8::from(*v > 0.0 && i / (h * w) != 1))])
                .collect();
            let x: Vec<f32> = random(n * h * w * c, 1).iter().enumerate().map(|(i, v)| (v + 10.0) * planes[i / c * 2 + 1]).collect();
            let (tx, tp, ty) = (up(e, &shape, &x), up(e, &[n, h, w, 2], &planes), out(e, &shape));
            let want = twin::masked(&f64s(&x), &f64s(&planes), n, c);
            // As above; the sum is divided, and multiplied by 0 or 1.
            close(&run_twice(e, &ty, |p| kernel::masked(p, &tx, &tp, &ty)), &want, 104.0 * 11.0 * EPS, 0.0);
        }
    }
}

/// <dy, A x> = <A dy, x>.
#[test]
fn is_its_own_adjoint() {
    let (e, _lock) = engine();
    let shape = [2, 9, 10, 6];
    let (x, dy) = (random(1080, 2), random(1080, 3));
    let (tx, tdy, ty, tdx) = (up(e, &shape, &x), up(e, &shape, &dy), out(e, &shape), out(e, &shape));
    let y = run_twice(e, &ty, |p| kernel::forward(p, &tx, &ty));
    let dx = run_twice(e, &tdx, |p| kernel::backward(p, &tdy, &tdx));
    assert!((dot(&y, &dy) - dot(&dx, &x)).abs() < 2.0 * 1080.0 * 102.0 * EPS);
}

/// sin of the result against central differences in f64.
#[test]
fn twin_gradient_equals_finite_differences() {
    let x = f64s(&random(2 * 6 * 3, 4));
    let loss = |x: &[f64]| twin::forward(x, 2, 3).iter().map(|v| v.sin()).sum::<f64>();
    let dy: Vec<f64> = twin::forward(&x, 2, 3).iter().map(|v| v.cos()).collect();
    let nudge = |i: usize, d: f64| x.iter().enumerate().map(|(k, a)| if k == i { a + d } else { *a }).collect::<Vec<_>>();
    for (i, g) in twin::forward(&dy, 2, 3).iter().enumerate() {
        assert!((g - (loss(&nudge(i, 1e-6)) - loss(&nudge(i, -1e-6))) / 2e-6).abs() < 1e-8, "dx[{i}]");
    }
}

/// More than 65,535 groups of 64 (one row an image, so every invocation has one element): all zeros.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let shape = [65_536, 1, 1, 65];
    let (x, y) = (up(e, &shape, &random(65_536 * 65, 5)), out(e, &shape));
    assert!(run_twice(e, &y, |p| kernel::forward(p, &x, &y)).iter().all(|v| *v == 0.0));
}

/// A NaN or an infinity stays within its image and channel.
#[test]
fn odd_floats() {
    let (e, _lock) = engine();
    let x = [f32::NAN, 1.0, 2.0, 3.0, 1.0, f32::INFINITY, 3.0, 1e-40];
    let (tx, ty) = (up(e, &[2, 2, 1, 2], &x), out(e, &[2, 2, 1, 2]));
    let y = run_twice(e, &ty, |p| kernel::forward(p, &tx, &ty));
    assert!(y[0].is_nan() && y[2].is_nan() && y[1] == -1.0 && y[3] == 1.0 && y[4] == -1.0 && y[6] == 1.0, "{y:?}");
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let err = kernel::forward(&mut p, &out(e, &[2, 3, 4]), &out(e, &[2, 3, 4])).unwrap_err();
    assert!(err.to_string().contains("must be [N, H, W, C]"), "{err}");
    let err = kernel::forward(&mut p, &out(e, &[2, 3, 4, 1]), &out(e, &[2, 3, 4, 2])).unwrap_err();
    assert!(err.to_string().contains("`y` must be F32 [2, 3, 4, 1]"), "{err}");
}

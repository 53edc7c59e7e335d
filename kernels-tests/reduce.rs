use crate::common::*;
use echogrid::gpu::PlanBuilder;
use echogrid::kernels::reduce as kernel;
use echogrid::reference::reduce as twin;

/// Rows and columns: one stage and several, widths in fours and not, few long slices, many short rows.
const SHAPES: [(usize, usize); 12] =
    [(1, 1), (3, 5), (64, 64), (65, 63), (1009, 7), (4096, 3), (4100, 1), (2049, 64), (8, 4099), (16, 8192), (70, 65), (5000, 12)];

/// Sums in any order differ from the exact one by at most (R + 2) u sum |x|: R - 1 additions, the scale, the accumulation.
fn bound(x: &[f32], c: usize, scale: f64) -> f64 {
    let rows = x.len() / c;
    let abs: Vec<f64> = x.iter().map(|v| f64::from(v.abs())).collect();
    let most = twin::columns(&abs, c, scale.abs()).into_iter().fold(1.0, f64::max);
    (rows + 2) as f64 * EPS * most
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (r, c) in SHAPES {
            let x = random(r * c, 1);
            let (tx, ty) = (up(e, &[r, c], &x), out(e, &[c]));
            let want = twin::columns(&f64s(&x), c, 0.25);
            close(&run_twice(e, &ty, |p| kernel::columns(p, &tx, &ty, 0.25, false)), &want, bound(&x, c, 0.25), 0.0);
            let ty = out(e, &[c]);
            close(&run_twice(e, &ty, |p| kernel::sum_slices(p, &tx, &ty, 0.25, false)), &want, bound(&x, c, 0.25), 0.0);
            let tdx = out(e, &[r, c]);
            let dy = random(c, 2);
            let tdy = up(e, &[c], &dy);
            let want = twin::backward(&f64s(&dy), 1, r, 0.25);
            close(&run_twice(e, &tdx, |p| kernel::backward(p, &tdy, &tdx, 0.25)), &want, 0.0, 0.0);
        }
    }
}

#[test]
fn batched_and_pairs_equal_the_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (n, r, c) in [(1, 1, 1), (3, 65, 5), (5, 130, 8), (2, 1024, 3), (7, 300, 64)] {
            let x = random(n * r * c, 3);
            let (tx, ty) = (up(e, &[n, r, c], &x), out(e, &[n, c]));
            let want = twin::batched(&f64s(&x), n, c, 0.5);
            close(&run_twice(e, &ty, |p| kernel::batched(p, &tx, &ty, 0.5, false)), &want, (r * r) as f64 * EPS, 0.0);
            let dy = random(n * c, 4);
            let (tdy, tdx) = (up(e, &[n, c], &dy), out(e, &[n, r, c]));
            let want = twin::backward(&f64s(&dy), n, r, 0.5);
            close(&run_twice(e, &tdx, |p| kernel::backward(p, &tdy, &tdx, 0.5)), &want, 0.0, 0.0);
        }
        for (r, c) in [(1, 1), (65, 6), (200, 2), (1009, 64), (1024, 3)] {
            let x = random(r * 2 * c, 5);
            let (tx, a, b) = (up(e, &[r, 2, c], &x), out(e, &[c]), out(e, &[c]));
            let want = twin::columns(&f64s(&x), 2 * c, 1.0);
            let bound = bound(&x, 2 * c, 1.0);
            close(&run_twice(e, &a, |p| kernel::pairs(p, &tx, &a, &b, false)), &want[..c], bound, 0.0);
            close(&run_twice(e, &b, |p| kernel::pairs(p, &tx, &a, &b, false)), &want[c..], bound, 0.0);
        }
    }
}

#[test]
fn accumulates() {
    let (e, _lock) = engine();
    for (r, c) in [(1009, 7), (1009, 8), (4, 12)] {
        let (x, y) = (random(r * c, 6), random(c, 7));
        let (tx, ty) = (up(e, &[r, c], &x), up(e, &[c], &y));
        plan(e, |p| kernel::columns(p, &tx, &ty, 2.0, true)).submit(e).unwrap();
        let want: Vec<f64> = twin::columns(&f64s(&x), c, 2.0).iter().zip(&y).map(|(s, y)| s + f64::from(*y)).collect();
        close(&e.read(&ty).unwrap(), &want, bound(&x, c, 2.0), EPS);
    }
}

/// <dy, A x> = <A' dy, x>.
#[test]
fn adjoint() {
    let (e, _lock) = engine();
    for (n, r, c) in [(3, 130, 5), (2, 64, 8)] {
        let (x, dy) = (random(n * r * c, 8), random(n * c, 9));
        let (tx, ty) = (up(e, &[n, r, c], &x), out(e, &[n, c]));
        let (tdy, tdx) = (up(e, &[n, c], &dy), out(e, &[n, r, c]));
        let y = run_twice(e, &ty, |p| kernel::batched(p, &tx, &ty, 0.5, false));
        let dx = run_twice(e, &tdx, |p| kernel::backward(p, &tdy, &tdx, 0.5));
        // Each of the n c sums is within r^2 u of the exact one.
        assert!((dot(&y, &dy) - dot(&dx, &x)).abs() < (n * c * r * r) as f64 * EPS);
    }
}

/// More than 65,535 groups of 64: the fold into two dimensions.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let n = 65_536 * 64 + 3;
    let x = random(2 * n, 10);
    let (tx, ty) = (up(e, &[2, n], &x), out(e, &[n]));
    let y = run_twice(e, &ty, |p| kernel::sum_slices(p, &tx, &ty, 1.0, false));
    assert!((0..n).all(|i| y[i] == x[i] + x[n + i]));
}

#[test]
fn odd_floats() {
    let (e, _lock) = engine();
    let (x, y) = (up(e, &[3, 2], &[1e30, f32::INFINITY, 1e-30, 1.0, -1e30, 2.0]), out(e, &[2]));
    assert_eq!(run_twice(e, &y, |p| kernel::columns(p, &x, &y, 1.0, false))[1], f32::INFINITY);
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let err = kernel::columns(&mut p, &out(e, &[4, 3]), &out(e, &[5]), 1.0, false).unwrap_err();
    assert!(err.to_string().contains("[4, 3] does not sum to [5]"), "{err}");
    let err = kernel::batched(&mut p, &out(e, &[4, 2, 3]), &out(e, &[3, 3]), 1.0, false).unwrap_err();
    assert!(err.to_string().contains("`y` must be F32 [4, 3]"), "{err}");
    let err = kernel::columns(&mut p, &out(e, &[0, 3]), &out(e, &[3]), 1.0, false).unwrap_err();
    assert!(err.to_string().contains("not empty"), "{err}");
}

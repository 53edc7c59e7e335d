use crate::common::*;
use echogrid::gpu::PlanBuilder;
use echogrid::kernels::bias::{self as kernel, Backward};
use echogrid::reference::bias as twin;

const SHAPES: [[usize; 4]; 7] = [[1, 1, 1, 1], [1, 3, 5, 7], [2, 9, 7, 64], [1, 8, 8, 63], [3, 4, 5, 65], [1, 31, 33, 4], [2, 32, 32, 3]];

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (shape, case) in SHAPES.iter().flat_map(|s| (0..4).map(move |i| (s, i))) {
            let (scaled, relu) = (case & 1 == 1, case & 2 == 2);
            let (c, n): (usize, usize) = (shape[3], shape.iter().product());
            let (x, s, b, dy) = (random(n, 1), random(c, 2), random(c, 3), random(n, 4));
            let (tx, ts, tb, tdy) = (up(e, shape, &x), up(e, &[c], &s), up(e, &[c], &b), up(e, shape, &dy));
            let (ty, tdx, tds, tdb) = (out(e, shape), out(e, shape), out(e, &[c]), out(e, &[c]));
            let s64 = f64s(&s);
            let scale = scaled.then_some(s64.as_slice());
            let ts = scaled.then_some(&ts);
            // Two roundings of numbers up to 2.
            let y = run_twice(e, &ty, |p| kernel::forward(p, &tx, ts, &tb, relu, &ty));
            close(&y, &twin::forward(&f64s(&x), scale, &f64s(&b), relu), 4.0 * EPS, 0.0);
            // The mask is the device's own y. Sums: (rows + 1) roundings of at most `rows` in all.
            let y64 = f64s(&y);
            let (dx, ds, db) = twin::backward(&f64s(&x), scale, c, relu.then_some(&y64), &f64s(&dy));
            let bound = ((n / c + 2) * (n / c)) as f64 * EPS;
            let back = Backward {
                x: scaled.then_some(&tx),
                y: relu.then_some(&ty),
                scale: ts,
                dy: &tdy,
                dx: Some(&tdx),
                dscale: scaled.then_some(&tds),
                dbias: &tdb,
                accumulate: false,
            };
            close(&run_twice(e, &tdx, |p| kernel::backward(p, &back)), &dx, 0.0, EPS);
            close(&e.read(&tdb).unwrap(), &db, bound, 0.0);
            if scaled {
                close(&e.read(&tds).unwrap(), &ds, bound, 0.0);
            }
            // Without dx, added to what is there: twice the sums.
            plan(e, |p| kernel::backward(p, &Backward { dx: None, accumulate: true, ..back })).submit(e).unwrap();
            let twice: Vec<f64> = db.iter().map(|v| 2.0 * v).collect();
            close(&e.read(&tdb).unwrap(), &twice, 2.0 * bound + EPS, EPS);
        }
    }
}

/// The sum of sin(f) against central differences in f64.
#[test]
fn twin_gradient_equals_finite_differences() {
    let (x, s, b) = (f64s(&random(30, 5)), f64s(&random(5, 6)), f64s(&random(5, 7)));
    let y = twin::forward(&x, Some(&s), &b, true);
    let dy: Vec<f64> = y.iter().map(|v| v.cos()).collect();
    let (dx, ds, db) = twin::backward(&x, Some(&s), 5, Some(&y), &dy);
    let loss = |x: &[f64], s: &[f64], b: &[f64]| twin::forward(x, Some(s), b, true).iter().map(|v| v.sin()).sum::<f64>();
    let nudge = |v: &[f64], i: usize, d: f64| v.iter().enumerate().map(|(k, a)| if k == i { a + d } else { *a }).collect::<Vec<_>>();
    for (i, g) in dx.iter().enumerate() {
        let want = (loss(&nudge(&x, i, 1e-6), &s, &b) - loss(&nudge(&x, i, -1e-6), &s, &b)) / 2e-6;
        assert!((g - want).abs() < 1e-7, "dx[{i}]: {g} against {want}");
    }
    for i in 0..5 {
        let want = (loss(&x, &nudge(&s, i, 1e-6), &b) - loss(&x, &nudge(&s, i, -1e-6), &b)) / 2e-6;
        assert!((ds[i] - want).abs() < 1e-7, "dscale[{i}]");
        let want = (loss(&x, &s, &nudge(&b, i, 1e-6)) - loss(&x, &s, &nudge(&b, i, -1e-6))) / 2e-6;
        assert!((db[i] - want).abs() < 1e-7, "dbias[{i}]");
    }
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let (x, c) = (out(e, &[2, 3]), out(e, &[3]));
    let err = kernel::forward(&mut p, &x, None, &out(e, &[4]), false, &out(e, &[2, 3])).unwrap_err();
    assert!(err.to_string().contains("`bias` must be F32 [3]"), "{err}");
    let back = Backward { x: None, y: None, scale: Some(&c), dy: &x, dx: None, dscale: None, dbias: &c, accumulate: false };
    let err = kernel::backward(&mut p, &back).unwrap_err();
    assert!(err.to_string().contains("a scale needs x"), "{err}");
}

use crate::common::*;
use echogrid::gpu::PlanBuilder;
use echogrid::kernels::critic as kernel;
use echogrid::reference::critic as twin;

/// More than 65,535 rows are as many groups: folded into two dimensions.
const SHAPES: [(usize, usize); 8] = [(1, 1), (3, 7), (5, 8), (17, 63), (4, 65), (64, 256), (2, 1009), (65_537, 4)];

#[test]
fn interpolates_like_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (n, d) in SHAPES {
            let (a, b, dx) = (random(n * d, 1), random(n * d, 2), random(n * d, 3));
            let t: Vec<f32> = random(n, 4).iter().map(|v| 0.5 * v + 0.5).collect();
            let [ta, tb, tdx] = [&a, &b, &dx].map(|v| up(e, &[n, d], v));
            let (tt, tx, tde) = (up(e, &[n], &t), out(e, &[n, d]), out(e, &[n]));
            let (tda, tdb) = (out(e, &[n, d]), out(e, &[n, d]));
            // 1 - e, two products, a sum: each rounds numbers of at most 1.
            let want = twin::interpolate(&f64s(&a), &f64s(&b), &f64s(&t), d);
            close(&run_twice(e, &tx, |p| kernel::interpolate(p, &ta, &tb, &tt, &tx)), &want, 4.0 * EPS, 0.0);
            let (da, db, de) = twin::interpolate_backward(&f64s(&a), &f64s(&b), &f64s(&t), &f64s(&dx), d);
            let got = run_twice(e, &tda, |p| kernel::interpolate_backward(p, &tt, &tdx, Some(&tda), Some(&tdb)));
            // One rounding, and two.
            close(&got, &da, 0.0, 1.01 * EPS);
            close(&e.read(&tdb).unwrap(), &db, 0.0, 2.01 * EPS);
            // Alone, each writes the same.
            let alone = run_twice(e, &tx, |p| kernel::interpolate_backward(p, &tt, &tdx, None, Some(&tx)));
            assert_eq!(alone, e.read::<f32>(&tdb).unwrap());
            // d products of at most 2, each of a rounded difference; their sum adds at most d roundings of its terms.
            let got = run_twice(e, &tde, |p| kernel::interpolate_backward_e(p, &ta, &tb, &tdx, &tde));
            close(&got, &de, 2.0 * (d as f64 + 3.0) * d as f64 * EPS, 0.0);
        }
    }
}

/// <dx, A (a, b)> = <A' dx, (a, b)>: for fixed shares the op is linear in both rows.
#[test]
fn adjoint() {
    let (e, _lock) = engine();
    let (n, d) = (9, 37);
    let (a, b, dx) = (random(n * d, 5), random(n * d, 6), random(n * d, 7));
    let t = up(e, &[n], &random(n, 8));
    let [ta, tb, tdx] = [&a, &b, &dx].map(|v| up(e, &[n, d], v));
    let [tx, tda, tdb] = [0; 3].map(|_| out(e, &[n, d]));
    let x = run_twice(e, &tx, |p| kernel::interpolate(p, &ta, &tb, &t, &tx));
    let da = run_twice(e, &tda, |p| kernel::interpolate_backward(p, &t, &tdx, Some(&tda), Some(&tdb)));
    let db: Vec<f32> = e.read(&tdb).unwrap();
    // Shares of -1 to 1: each of the 3 n d elements of x, da and db is within 8 roundings of 1.
    assert!((dot(&x, &dx) - dot(&da, &a) - dot(&db, &b)).abs() < (3 * n * d) as f64 * 8.0 * EPS);
}

/// Rows about length 1, shorter and longer; and, one-sided, rows of which only some are too long.
#[test]
fn penalises_like_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (n, d) in SHAPES {
            // Lengths of 0.2 to 2.
            let scale = |i: usize| (0.2 + 1.8 * (i / d * 7 % 11) as f32 / 10.0) * (3.0 / d as f32).sqrt();
            let g: Vec<f32> = random(n * d, 9).iter().enumerate().map(|(i, v)| v * scale(i)).collect();
            let (tg, tl, tloss) = (up(e, &[n, d], &g), out(e, &[n]), out(e, &[1]));
            let (tdloss, tdg) = (up(e, &[1], &[-2.0]), out(e, &[n, d]));
            for one_sided in [false, true] {
                let got = run_twice(e, &tloss, |p| kernel::penalty(p, one_sided, &tg, &tl, &tloss));
                let (want, lengths) = twin::penalty(&f64s(&g), d, one_sided);
                // A sum of d squares is off by at most d roundings relatively, its root by half that and a handful.
                let rel = (d as f64 / 2.0 + 8.0) * EPS;
                close(&e.read::<f32>(&tl).unwrap(), &lengths, 0.0, rel);
                // (l - 1)^2 moves by 2 |l - 1| times the error of l and, by itself, two roundings; the mean adds n / 8 + 8 at most.
                let most = lengths.iter().fold(1.0f64, |m, l| m.max(*l));
                close(&got, &[want], 2.0 * most * most * rel, (n as f64 / 8.0 + 16.0) * EPS);
                // g (1 - 1 / l): the error of l and three roundings, relative to 1 / l, and two more of the product.
                let got = run_twice(e, &tdg, |p| kernel::penalty_backward(p, one_sided, &tg, &tl, &tdloss, &tdg));
                let want: Vec<f64> = twin::penalty_backward(&f64s(&g), d, one_sided).iter().map(|v| -2.0 * v).collect();
                for (r, l) in lengths.iter().enumerate() {
                    // Beside 1, the kernel's and the twin's lengths may fall on different sides of the kink: both slopes are near 0 there.
                    let most = g[r * d..][..d].iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
                    let bound = 4.0 / n as f64 * most * (1.0 + 1.0 / l) * (rel + 8.0 * EPS);
                    close(&got[r * d..][..d], &want[r * d..][..d], bound, 8.0 * EPS);
                }
            }
        }
    }
}

/// Both twins' gradients against central differences in f64.
#[test]
fn twin_gradients_equal_finite_differences() {
    let (n, d) = (5, 6);
    let nudge = |x: &[f64], i: usize, h: f64| x.iter().enumerate().map(|(k, v)| if k == i { v + h } else { *v }).collect::<Vec<_>>();
    let (a, b, t) = (f64s(&random(n * d, 10)), f64s(&random(n * d, 11)), f64s(&random(n, 12)));
    let loss = |a: &[f64], b: &[f64], t: &[f64]| twin::interpolate(a, b, t, d).iter().map(|v| v.sin()).sum::<f64>();
    let dx: Vec<f64> = twin::interpolate(&a, &b, &t, d).iter().map(|v| v.cos()).collect();
    let (da, db, de) = twin::interpolate_backward(&a, &b, &t, &dx, d);
    let near = |got: f64, at: &dyn Fn(f64) -> f64| {
        let want = (at(1e-5) - at(-1e-5)) / 2e-5;
        assert!((got - want).abs() < 1e-8, "{got} against {want}");
    };
    for i in 0..n * d {
        near(da[i], &|h| loss(&nudge(&a, i, h), &b, &t));
        near(db[i], &|h| loss(&a, &nudge(&b, i, h), &t));
    }
    (0..n).for_each(|i| near(de[i], &|h| loss(&a, &b, &nudge(&t, i, h))));
    // Lengths of about sqrt(2): above and below 1.
    for one_sided in [false, true] {
        let g: Vec<f64> = a.iter().enumerate().map(|(i, v)| v * (0.3 + 0.4 * (i / d) as f64)).collect();
        let dg = twin::penalty_backward(&g, d, one_sided);
        let lengths = twin::penalty(&g, d, one_sided).1;
        assert!(lengths.iter().any(|l| *l < 0.9) && lengths.iter().any(|l| *l > 1.1), "{lengths:?}");
        (0..n * d).for_each(|i| near(dg[i], &|h| twin::penalty(&nudge(&g, i, h), d, one_sided).0));
    }
}

/// A row of zeros, a denormal one, one whose squares overflow: the gradient is finite. A NaN shows in the loss and stays in its row.
#[test]
fn odd_rows() {
    let (engines, _lock) = engines();
    for e in engines {
        for d in [3, 4] {
            let row = |v: f32| vec![v; d];
            let g: Vec<f32> = [0.0, 1e-40, 1e-18, 1e25, 2.0].into_iter().flat_map(row).collect();
            let (tg, tl, tloss) = (up(e, &[5, d], &g), out(e, &[5]), out(e, &[1]));
            let (tdloss, tdg) = (up(e, &[1], &[1.0]), out(e, &[5, d]));
            for one_sided in [false, true] {
                let loss = run_twice(e, &tloss, |p| kernel::penalty(p, one_sided, &tg, &tl, &tloss));
                assert_eq!(loss, [f32::INFINITY]);
                let dg = run_twice(e, &tdg, |p| kernel::penalty_backward(p, one_sided, &tg, &tl, &tdloss, &tdg));
                assert!(dg.iter().all(|v| v.is_finite()), "{dg:?}");
                assert!(dg[..d].iter().all(|v| *v == 0.0) && dg[3 * d] > 1e24 && dg[4 * d] > 0.1, "{dg:?}");
            }
            let bad: Vec<f32> = [f32::NAN, 0.5].into_iter().flat_map(row).collect();
            let (tg, tl, tdg) = (up(e, &[2, d], &bad), out(e, &[2]), out(e, &[2, d]));
            for one_sided in [false, true] {
                plan(e, |p| {
                    kernel::penalty(p, one_sided, &tg, &tl, &tloss)?;
                    kernel::penalty_backward(p, one_sided, &tg, &tl, &tdloss, &tdg)
                })
                .submit(e)
                .unwrap();
                assert!(e.read::<f32>(&tloss).unwrap()[0].is_nan() || !keeps_nan(e));
                let dg: Vec<f32> = e.read(&tdg).unwrap();
                assert!(dg[..d].iter().all(|v| v.is_nan()) && dg[d..].iter().all(|v| v.is_finite()), "{dg:?}");
            }
        }
    }
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let (x, y, t) = (out(e, &[4, 3]), out(e, &[4, 2]), out(e, &[4]));
    let err = kernel::interpolate(&mut p, &x, &y, &t, &out(e, &[4, 3])).unwrap_err();
    assert!(err.to_string().contains("`b` must be F32 [4, 3]"), "{err}");
    let err = kernel::interpolate_backward(&mut p, &out(e, &[3]), &x, Some(&out(e, &[4, 3])), None).unwrap_err();
    assert!(err.to_string().contains("`e` must be F32 [4]"), "{err}");
    let err = kernel::interpolate_backward_e(&mut p, &x, &out(e, &[4, 3]), &y, &t).unwrap_err();
    assert!(err.to_string().contains("`dx` must be F32 [4, 3]"), "{err}");
    let err = kernel::penalty(&mut p, false, &t, &t, &out(e, &[1])).unwrap_err();
    assert!(err.to_string().contains("expected two extents"), "{err}");
    let err = kernel::penalty_backward(&mut p, false, &x, &t, &out(e, &[2]), &out(e, &[4, 3])).unwrap_err();
    assert!(err.to_string().contains("`dloss` must be F32 [1]"), "{err}");
}

use crate::common::*;
use echogrid::gpu::{Engine, Error, PlanBuilder, Precision};
use echogrid::kernels::elementwise;
use echogrid::kernels::matmul::{BATCHED_ROWS, Op, batched, linear, linear_by, matmul, matmul_by};
use echogrid::kernels::tiling::Tiling;
use echogrid::reference::matmul as twin;

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (m, k, n) in [
            (1, 1, 1),
            (17, 4, 4),
            (64, 64, 64),
            (63, 65, 67),
            (3, 129, 2),
            (130, 20, 36),
            (16, 8, 32),
            (20, 12, 8),
            (132, 64, 68),
            (700, 40, 1),
            (1, 33, 90),
            (90, 5, 33),
        ] {
            let (a, b) = (random(m * k, 1), random(k * n, 2));
            let want = twin::matmul(&f64s(&a), &f64s(&b), m, k, n);
            for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
                let stored = |v: &[f32], r: usize, c: usize, t: bool| match t {
                    true => up(e, &[c, r], &twin::transpose(&f64s(v), r, c).iter().map(|x| *x as f32).collect::<Vec<_>>()),
                    false => up(e, &[r, c], v),
                };
                let op = |t| if t { Op::Transposed } else { Op::Plain };
                let (x, y, z) = (stored(&a, m, k, ta), stored(&b, k, n, tb), out(e, &[m, n]));
                // k products below 1 and their sum, each rounded once: see conv.rs.
                let bound = 4.0 * EPS * (k as f64).powf(1.5);
                close(&run_twice(e, &z, |p| matmul(p, &x, op(ta), &y, op(tb), &z)), &want, bound, 0.0);
            }
        }
    }
}

/// Whether a tiling takes products of these sizes on this device.
fn takes(e: &Engine, tiling: Tiling, precision: Precision, [m, k, n]: [usize; 3], transposed: bool) -> bool {
    match (tiling, e.caps().lanes()) {
        (Tiling::Lanes { rows, .. }, Some(lanes)) => {
            [k, n].iter().all(|v| v % 4 == 0) && rows % lanes == 0 && (!transposed || m % 4 == 0 && lanes <= 16)
        }
        (Tiling::Lanes { .. }, None) => false,
        (Tiling::Cooperative, _) => precision == Precision::Mixed && e.caps().cooperative > 0,
        _ => true,
    }
}

/// Every tiling that the device and the sizes allow, in both precisions; those for any size must be among them.
#[test]
fn every_tiling_equals_its_twin() {
    let (engines, _lock) = engines();
    for (e, precision) in engines.into_iter().flat_map(|e| [(e, Precision::Full), (e, Precision::Mixed)]) {
        for (m, k, n) in [(76, 44, 148), (140, 36, 88), (33, 17, 130)] {
            let random = if precision == Precision::Mixed { halves } else { random };
            let (a, b) = (random(m * k, 1), random(k * n, 2));
            let want = twin::matmul(&f64s(&a), &f64s(&b), m, k, n);
            let flipped = |v: &[f32], r: usize, c: usize| {
                up(e, &[c, r], &twin::transpose(&f64s(v), r, c).iter().map(|x| *x as f32).collect::<Vec<_>>())
            };
            let operands = [(up(e, &[m, k], &a), Op::Plain), (flipped(&a, m, k), Op::Transposed)];
            let others = [(up(e, &[k, n], &b), Op::Plain), (flipped(&b, k, n), Op::Transposed)];
            let z = out(e, &[m, n]);
            for tiling in Tiling::ALL {
                for ((x, op_x), (y, op_y)) in operands.iter().flat_map(|x| others.iter().map(move |y| (x, y))) {
                    let build = |p: &mut PlanBuilder<'_>| {
                        p.set_precision(precision);
                        matmul_by(p, tiling, x, *op_x, y, *op_y, &z)
                    };
                    let fits = takes(e, tiling, precision, [m, k, n], *op_x == Op::Transposed);
                    match build(&mut PlanBuilder::new(e)) {
                        Err(Error::Shape { .. }) if !fits => continue,
                        other => other.unwrap(),
                    }
                    assert!(fits, "{tiling}");
                    e.write(&z, &vec![-777.0f32; m * n]).unwrap();
                    close(&run_twice(e, &z, build), &want, 4.0 * EPS * (k as f64).powf(1.5), 0.0);
                }
            }
        }
    }
}

/// A bias is added once, by every tiling, and also where a product is summed in several dispatches.
#[test]
fn a_bias_is_added_to_each_row() {
    let (engines, _lock) = engines();
    for (e, precision) in engines.into_iter().flat_map(|e| [(e, Precision::Full), (e, Precision::Mixed)]) {
        for (m, k, n) in [(76, 44, 148), (76, 44, 88), (33, 17, 130), (5, 1, 1), (12, (1 << 17) + 8, 4)] {
            let random = if precision == Precision::Mixed { halves } else { random };
            let (a, b, bias) = (random(m * k, 1), random(k * n, 2), random(n, 3));
            let product = twin::matmul(&f64s(&a), &f64s(&b), m, k, n);
            let want: Vec<f64> = product.iter().enumerate().map(|(i, v)| v + f64::from(bias[i % n])).collect();
            let (x, w, shift, y) = (up(e, &[m, k], &a), up(e, &[k, n], &b), up(e, &[n], &bias), out(e, &[m, n]));
            // One more rounding than the product, of a sum that may be larger by the bias.
            let bound = 4.0 * EPS * ((k + 1) as f64).powf(1.5);
            // One of each kind where there is much to sum.
            let deep = |t: &Tiling| [Tiling::PLAIN, Tiling::Narrow, Tiling::Lanes { rows: 16, columns: 1 }].contains(t);
            for tiling in Tiling::ALL.into_iter().filter(|t| k < 1000 || deep(t)).map(Some).chain([None]) {
                let build = |p: &mut PlanBuilder<'_>| {
                    p.set_precision(precision);
                    match tiling {
                        Some(tiling) => linear_by(p, tiling, &x, &w, &shift, &y),
                        None => linear(p, &x, &w, &shift, &y),
                    }
                };
                match build(&mut PlanBuilder::new(e)) {
                    Err(Error::Shape { .. }) if tiling.is_some_and(|t| !takes(e, t, precision, [m, k, n], false)) => continue,
                    other => other.unwrap(),
                }
                e.write(&y, &vec![-777.0f32; m * n]).unwrap();
                close(&run_twice(e, &y, build), &want, bound, 0.0);
            }
        }
        let [x, w, y] = [[3, 4], [4, 2], [3, 2]].map(|s| out(e, &s));
        let err = linear(&mut PlanBuilder::new(e), &x, &w, &out(e, &[3]), &y).unwrap_err().to_string();
        assert!(err.contains("bias") && err.contains("[2]"), "{err}");
    }
}

/// Each matrix of a batch times its own, in fours and not.
#[test]
fn batches_equal_their_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (count, runs, k, n) in [(3, 1, 8, 4), (2, 3, 37, 29), (5, 1, 64, 68), (1, 1, 3, 2)] {
            let m = runs * BATCHED_ROWS;
            let (a, b) = (random(count * m * k, 1), random(count * k * n, 2));
            let each = |i: usize| twin::matmul(&f64s(&a[i * m * k..][..m * k]), &f64s(&b[i * k * n..][..k * n]), m, k, n);
            let want: Vec<f64> = (0..count).flat_map(each).collect();
            let (x, y, z) = (up(e, &[count, m, k], &a), up(e, &[count, k, n], &b), out(e, &[count, m, n]));
            close(&run_twice(e, &z, |p| batched(p, &x, &y, &z)), &want, 4.0 * EPS * (k as f64).powf(1.5), 0.0);
        }
        let (x, y, z) = (out(e, &[2, 64, 4]), out(e, &[2, 4, 4]), out(e, &[2, 64, 4]));
        let err = batched(&mut PlanBuilder::new(e), &x, &y, &z).unwrap_err().to_string();
        assert!(err.contains("a multiple of 128"), "{err}");
    }
}

/// Under mixed precision both factors are rounded to f16, whatever the kernel, and sums are not: 1 + 2^-12 is 1 in f16, 1 + 2^-10 is itself, and
/// 4,096 of its squares sum to more digits than f16 has. What is below f16's normal numbers is 0.
#[test]
fn mixed_precision_rounds_factors_and_not_sums() {
    let (engines, _lock) = engines();
    for e in engines {
        let (m, k, n) = (64, 4096, 64);
        let z = out(e, &[m, n]);
        let (a, b) = (1.0 + 1.0 / 4096.0, 1.0 + 1.0 / 1024.0);
        for (f, g, full, mixed) in
            [(a, a, 4098.0, 4096.0), (b, b, 4104.0, 4104.0), (6e-5, 1000.0, 245.76, 0.0), (1000.0, -3e-8, -0.12288, 0.0)]
        {
            let (x, y) = (up(e, &[m, k], &vec![f; m * k]), up(e, &[k, n], &vec![g; k * n]));
            for (precision, want) in [(Precision::Full, full), (Precision::Mixed, mixed)] {
                for tiling in Tiling::ALL {
                    let mut plan = PlanBuilder::new(e);
                    plan.set_precision(precision);
                    match matmul_by(&mut plan, tiling, &x, Op::Plain, &y, Op::Plain, &z) {
                        Err(Error::Shape { .. }) => continue,
                        other => other.unwrap(),
                    }
                    plan.finish().submit(e).unwrap();
                    let got: Vec<f32> = e.read(&z).unwrap();
                    assert!(got.iter().all(|v| (v - want).abs() < 0.01), "{tiling} {precision:?} {f} by {g}: {} for {want}", got[0]);
                }
            }
        }
    }
}

/// More inner indices than a software adapter's loops have turns: small whole numbers, so that every sum is exact.
#[test]
fn deep() {
    let (engines, _lock) = engines();
    for e in engines {
        for (m, k, n) in [(4, 1 << 15, 8), (4, 300_004, 8), (2, 300_007, 3), (17, 70_001, 18)] {
            let whole = |n: usize, seed| random(n, seed).iter().map(|v| (v * 2.0).round()).collect::<Vec<f32>>();
            let (a, b) = (whole(m * k, 1), whole(k * n, 2));
            let want = twin::matmul(&f64s(&a), &f64s(&b), m, k, n);
            let at: Vec<f32> = twin::transpose(&f64s(&a), m, k).iter().map(|v| *v as f32).collect();
            let (x, xt, y, z) = (up(e, &[m, k], &a), up(e, &[k, m], &at), up(e, &[k, n], &b), out(e, &[m, n]));
            assert_eq!(f64s(&run_twice(e, &z, |p| matmul(p, &x, Op::Plain, &y, Op::Plain, &z))), want, "{k}");
            assert_eq!(f64s(&run_twice(e, &z, |p| matmul(p, &xt, Op::Transposed, &y, Op::Plain, &z))), want, "{k} transposed");
        }
    }
}

/// <dy, x w> = <dy w', x> = <x' dy, w>: the gradients are products too.
#[test]
fn adjoint() {
    let (e, _lock) = engine();
    let (m, k, n) = (37, 52, 44);
    let (x, w, dy) = (random(m * k, 3), random(k * n, 4), random(m * n, 5));
    let (tx, tw, tdy) = (up(e, &[m, k], &x), up(e, &[k, n], &w), up(e, &[m, n], &dy));
    let (ty, tdx, tdw) = (out(e, &[m, n]), out(e, &[m, k]), out(e, &[k, n]));
    let y = run_twice(e, &ty, |p| matmul(p, &tx, Op::Plain, &tw, Op::Plain, &ty));
    let dx = run_twice(e, &tdx, |p| matmul(p, &tdy, Op::Plain, &tw, Op::Transposed, &tdx));
    let dw = run_twice(e, &tdw, |p| matmul(p, &tx, Op::Transposed, &tdy, Op::Plain, &tdw));
    let (a, b, c) = (dot(&dy, &y), dot(&dx, &x), dot(&dw, &w));
    assert!((a - b).abs() < 1e-3 && (a - c).abs() < 1e-3, "{a} {b} {c}");
}

#[test]
fn refuses_what_does_not_fit() {
    let (e, _lock) = engine();
    let (a, b, c) = (out(e, &[2, 3]), out(e, &[4, 5]), out(e, &[2, 5]));
    let err = matmul(&mut PlanBuilder::new(e), &a, Op::Plain, &b, Op::Plain, &c).unwrap_err();
    assert!(err.to_string().contains("[2, 3] times [4, 5]"), "{err}");
}

/// Every tiling, and every transposition in those with loads of their own for it, with a and b stored as f32 and f16 in turn.
#[test]
fn stored_as_f16() {
    let (m, k, n) = (76, 44, 148);
    let (a, b) = (halves(m * k, 1), halves(k * n, 2));
    let some = [Tiling::PLAIN, Tiling::Lanes { rows: 16, columns: 1 }, Tiling::Narrow];
    for (tiling, (ta, tb)) in Tiling::ALL.iter().flat_map(|t| [(false, false), (true, false), (false, true)].map(|o| (*t, o))) {
        let op = |t| if t { Op::Transposed } else { Op::Plain };
        let (x, y) = (if ta { [k, m] } else { [m, k] }, if tb { [n, k] } else { [k, n] });
        let usable = {
            let (e, _lock) = engine();
            matmul_by(&mut PlanBuilder::new(e), tiling, &out(e, &x), op(ta), &out(e, &y), op(tb), &out(e, &[m, n])).is_ok()
        };
        if !usable || (ta || tb) && !some.contains(&tiling) {
            continue;
        }
        // The product is f32; a copy of it may be stored either way.
        stored_either_way(&[(&x, &a), (&y, &b)], &[m, n], None, |p, t, z| {
            let full = out(p.engine(), &[m, n]);
            let tiling = if p.engine().caps().f16 { tiling } else { Tiling::PLAIN };
            matmul_by(p, tiling, &t[0], op(ta), &t[1], op(tb), &full)?;
            elementwise::scaled_copy(p, &full, 1.0, z)
        });
    }
}

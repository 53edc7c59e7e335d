use crate::common::*;
use echogrid::gpu::PlanBuilder;
use echogrid::kernels::structure as kernel;
use echogrid::reference::structure as twin;

/// [P, m], the last channel 0, 0.25 or 1, the others something else.
fn validity(pixels: usize, m: usize, seed: u64) -> Vec<f32> {
    let noise = random(pixels, seed);
    let share = |p: usize| match noise[p] {
        v if v < -0.9 => 0.0,
        v if v < -0.8 => 0.25,
        _ => 1.0,
    };
    (0..pixels * m).map(|i| if i % m < m - 1 { 9.0 } else { share(i / m) }).collect()
}

#[test]
fn grey_equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for shape in [[1, 1, 1, 4], [2, 7, 5, 4], [1, 33, 65, 4]] {
            let pixels: usize = shape[..3].iter().product();
            let mut x = random(4 * pixels, 1);
            x.iter_mut().skip(3).step_by(4).for_each(|v| *v = v.max(0.0));
            // Not valid: whatever it holds.
            x[0] = f32::NAN;
            x[3] = 0.0;
            let (tx, ty) = (up(e, &shape, &x), out(e, &[shape[0], shape[1], shape[2], 1]));
            for weights in [[1.0, 0.0, 0.0], [0.3, 0.59, 0.11]] {
                let got = run_twice(e, &ty, |p| kernel::grey(p, &tx, weights, &ty));
                // Three products up to 1 and two additions of at most 1: five roundings.
                close(&got, &twin::grey(&f64s(&x), weights), 5.0 * EPS, 0.0);
            }
        }
    }
}

#[test]
fn oriented_equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (shape, k, m) in
            [([1, 1, 1], 4, 1), ([1, 2, 9], 8, 4), ([2, 7, 5], 8, 4), ([1, 33, 18], 16, 1), ([3, 4, 3], 4, 4), ([1, 40, 41], 8, 1)]
        {
            let [n, h, w] = shape;
            let (g, v) = (random(n * h * w, 1), validity(n * h * w, m, 2));
            let (tg, tv, to) = (up(e, &[n, h, w, 1], &g), up(e, &[n, h, w, m], &v), out(e, &[n, h, w, k]));
            for least in [0.0, 0.5] {
                let base = twin::oriented(&f64s(&g), shape, &f64s(&v), m, least, k, 1.0);
                let got = run_twice(e, &to, |p| kernel::oriented(p, &tg, &tv, least, 1.0, &to));
                // |gx|, |gy| <= 1, each with one rounding; two products with a rounded factor and one sum up to sqrt 2: under 8 roundings of 1.
                let bound = 8.0 * EPS;
                close(&got, &base, bound, 0.0);
                // Where the magnitude is off by at most b, its root is by at most the root of b (worst at 0) or b over it; and 2.5 ulp of its own.
                let want = twin::oriented(&f64s(&g), shape, &f64s(&v), m, least, k, 0.5);
                let got = run_twice(e, &to, |p| kernel::oriented(p, &tg, &tv, least, 0.5, &to));
                for (i, (a, b)) in got.iter().zip(&want).enumerate() {
                    let slack = bound.sqrt().min(bound / b.max(1e-30)) + 6.0 * EPS * b;
                    assert!((f64::from(*a) - b).abs() <= slack, "{i}: {a} against {b}");
                }
                // a^1.5 = exp2(1.5 log2 a), as WGSL bounds it. log2: 3 ulp, or 2^-21 for a in [0.5, 2]; times 1.5 with a rounding; that moves the
                // result by ln 2 of itself; exp2 has 3 + 2 |t| ulp for an argument t, and an ulp is 2 EPS. The slope of a^1.5 is at most 1.5 * 1.2.
                let want = twin::oriented(&f64s(&g), shape, &f64s(&v), m, least, k, 1.5);
                let got = run_twice(e, &to, |p| kernel::oriented(p, &tg, &tv, least, 1.5, &to));
                for (i, ((a, b), base)) in got.iter().zip(&want).zip(&base).enumerate() {
                    let log = base.max(1e-30).log2().abs();
                    let rel = 0.694 * 1.5 * (2f64.powi(-21) + 7.0 * EPS * log) + (6.0 + 6.0 * log) * EPS;
                    assert!((f64::from(*a) - b).abs() <= 1.8 * bound + rel * b, "{i}: {a} against {b}");
                }
            }
        }
    }
}

/// A step in the data gives structure along the gradient; the same step where the data ends gives none.
#[test]
fn no_structure_at_the_datas_edge() {
    let (e, _lock) = engine();
    let (h, w) = (8, 16);
    let g: Vec<f32> = (0..h * w).map(|i| if i % w < 8 { 1.0 } else { 0.0 }).collect();
    let to = out(e, &[1, h, w, 4]);
    for ends in [false, true] {
        let v: Vec<f32> = g.iter().map(|g| if ends { *g } else { 1.0 }).collect();
        let (tg, tv) = (up(e, &[1, h, w, 1], &g), up(e, &[1, h, w, 1], &v));
        let got = run_twice(e, &to, |p| kernel::oriented(p, &tg, &tv, 0.5, 1.0, &to));
        assert_eq!(got.iter().any(|v| *v > 0.0), !ends);
        if !ends {
            let at = (3 * w + 8) * 4;
            assert_eq!([got[at], got[at + 2]], [0.5, 0.0]);
            close(&got[at + 1..][..1], &[0.5 * 0.5f64.sqrt()], 2.0 * EPS, 0.0);
        }
    }
}

/// The values of a not valid neighbour may be anything.
#[test]
fn odd_floats() {
    let (e, _lock) = engine();
    let mut g = random(25, 3);
    let mut v = vec![1.0; 25];
    (g[12], v[12]) = (f32::NAN, 0.0);
    (g[3], v[3]) = (f32::INFINITY, f32::NAN);
    let (tg, tv, to) = (up(e, &[1, 5, 5, 1], &g), up(e, &[1, 5, 5, 1], &v), out(e, &[1, 5, 5, 4]));
    let got = run_twice(e, &to, |p| kernel::oriented(p, &tg, &tv, 0.5, 1.0, &to));
    // Of the nine inner pixels the four about the middle and the one below index 3 have a neighbour that is not valid.
    let structure: Vec<usize> = (0..25).filter(|i| got[4 * i..][..4].iter().any(|v| *v != 0.0)).collect();
    assert!(got.iter().all(|v| v.is_finite()));
    assert_eq!(structure, [6, 12, 16, 18]);
}

#[test]
fn finish_equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (shape, m) in [([1, 1, 1, 1], 1), ([2, 7, 5, 3], 4), ([1, 33, 18, 8], 4), ([1, 40, 41, 16], 1), ([2, 20, 26, 4], 4)] {
            let [n, h, w, c] = shape;
            let pixels = n * h * w;
            let (mut f, v) = (random(pixels * c, 1), validity(pixels, m, 2));
            // What is not valid may hold anything.
            f.chunks_mut(c).zip(v.chunks(m)).filter(|(_, v)| v[m - 1] == 0.0).for_each(|(f, _)| f.fill(f32::NAN));
            let (tf, tv) = (up(e, &shape, &f), up(e, &[n, h, w, m], &v));
            let (to, tp) = (out(e, &shape), out(e, &[n, h, w, 2]));
            let (want, planes) = twin::finish(&f64s(&f), c, &f64s(&v), m, 0.5);
            // A copy.
            close(&run_twice(e, &to, |p| kernel::finish(p, &tf, &tv, 0.5, &to, &tp)), &want, 0.0, 0.0);
            // C squares up to 1, each rounded, in sums up to C.
            let bound = c as f64 * (1.0 + c as f64) * EPS;
            close(&run_twice(e, &tp, |p| kernel::finish(p, &tf, &tv, 0.5, &to, &tp)), &planes, bound, 0.0);
        }
    }
}

/// The middle of an image is that of the whole.
#[test]
fn finish_crops() {
    let (engines, _lock) = engines();
    for e in engines {
        let (h, w, c) = (21, 16, 8);
        let (f, v) = (random(2 * h * w * c, 1), validity(2 * h * w, 4, 2));
        let (tf, tv) = (up(e, &[2, h, w, c], &f), up(e, &[2, h, w, 4], &v));
        let whole = (out(e, &[2, h, w, c]), out(e, &[2, h, w, 2]));
        let middle = (out(e, &[2, h - 6, w - 4, c]), out(e, &[2, h - 6, w - 4, 2]));
        let crop = |x: &[f32], c: usize| -> Vec<f32> {
            let row = |n: usize, y: usize| ((n * h + y) * w + 2) * c;
            (0..2).flat_map(|n| (3..h - 3).map(move |y| (n, y))).flat_map(|(n, y)| x[row(n, y)..][..(w - 4) * c].to_vec()).collect()
        };
        let all = run_twice(e, &whole.0, |p| kernel::finish(p, &tf, &tv, 0.5, &whole.0, &whole.1));
        let got = run_twice(e, &middle.0, |p| kernel::finish(p, &tf, &tv, 0.5, &middle.0, &middle.1));
        assert!(got == crop(&all, c));
        let all = run_twice(e, &whole.1, |p| kernel::finish(p, &tf, &tv, 0.5, &whole.0, &whole.1));
        let got = run_twice(e, &middle.1, |p| kernel::finish(p, &tf, &tv, 0.5, &middle.0, &middle.1));
        assert!(got == crop(&all, 2));
    }
}

/// More than 65,535 groups of 64. `finish` takes 256 pixels a group: its planes reach 128 MiB before it folds.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let pixels = 65_536 * 64 + 1;
    let x: Vec<f32> = (0..4 * pixels).map(|i| if i % 4 == 3 { 1.0 } else { (i % 251) as f32 }).collect();
    let (tx, ty) = (up(e, &[1, 1, pixels, 4], &x), out(e, &[1, 1, pixels, 1]));
    let got = run_twice(e, &ty, |p| kernel::grey(p, &tx, [0.0, 1.0, 0.0], &ty));
    assert!(got.iter().zip(x.chunks(4)).all(|(g, x)| *g == x[1]));
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let (g, v) = (out(e, &[1, 4, 4, 1]), out(e, &[1, 4, 4, 4]));
    let err = kernel::grey(&mut p, &g, [1.0; 3], &out(e, &[1, 4, 4, 1])).unwrap_err();
    assert!(err.to_string().contains("`x` must be F32 [1, 4, 4, 4]"), "{err}");
    let err = kernel::oriented(&mut p, &g, &v, 0.5, 1.0, &out(e, &[1, 4, 4, 6])).unwrap_err();
    assert!(err.to_string().contains("4, 8 or 16"), "{err}");
    let err = kernel::oriented(&mut p, &g, &v, 0.5, 0.0, &out(e, &[1, 4, 4, 8])).unwrap_err();
    assert!(err.to_string().contains("power must be"), "{err}");
    let err = kernel::oriented(&mut p, &g, &v, f32::NAN, 1.0, &out(e, &[1, 4, 4, 8])).unwrap_err();
    assert!(err.to_string().contains("validity must be 0 to 1"), "{err}");
    let err = kernel::finish(&mut p, &v, &v, 0.5, &out(e, &[1, 3, 4, 4]), &out(e, &[1, 3, 4, 2])).unwrap_err();
    assert!(err.to_string().contains("not the middle"), "{err}");
}

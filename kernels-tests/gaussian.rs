use crate::common::*;
use echogrid::gpu::PlanBuilder;
use echogrid::kernels::gaussian::{self as kernel, MAX_SIGMA};
use echogrid::reference::gaussian as twin;

const CASES: [([usize; 4], f32); 9] = [
    ([1, 1, 1, 1], 0.3),
    ([2, 7, 5, 3], 1.0),
    ([1, 9, 33, 4], 2.5),
    ([3, 17, 8, 1], 0.01),
    ([1, 40, 23, 8], 4.0),
    ([1, 100, 7, 1], 16.0),
    ([1, 3, 130, 2], 16.0),
    ([2, 8, 16, 12], 1.7),
    ([1, 24, 31, 5], 7.9),
];

/// A validity with holes, shares and a whole empty corner.
fn validity(pixels: usize, m: usize, seed: u64) -> Vec<f32> {
    let noise = random(pixels, seed);
    (0..pixels * m)
        .map(|i| match i / m {
            _ if i % m < m - 1 => 99.0,
            p if p < pixels / 3 || noise[p] < -0.3 => 0.0,
            p if noise[p] < 0.3 => 0.25,
            _ => 1.0,
        })
        .collect()
}

/// A sum of t = 2 radius + 1 products of a rounded weight, a value and a sum so far: t + 2 roundings of at most the sum of |w x| (with the mask's
/// own product one more), twice; the quotient adds those of G * m and its own. All relative to max |x| <= 1, as both sums have weights >= 0.
/// A quotient may be off by 2.5 ulp.
fn bound(sigma: f32, masked: bool) -> f64 {
    let one = 2.0 * (2.0 * f64::from((3.0 * sigma).ceil()) + 4.0);
    (if masked { 2.0 * one + 6.0 } else { one }) * EPS * 1.01
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (shape, sigma) in CASES {
            let [n, h, w, _] = shape;
            let x = random(shape.iter().product(), 1);
            let (tx, ty) = (up(e, &shape, &x), out(e, &shape));
            let want = twin::blur(&f64s(&x), shape, None, sigma);
            close(&run_twice(e, &ty, |p| kernel::blur(p, &tx, None, sigma, &ty)), &want, bound(sigma, false), 0.0);
            for m in [1, 4] {
                let mask = validity(n * h * w, m, 2);
                let (tm, ty) = (up(e, &[n, h, w, m], &mask), out(e, &shape));
                let want = twin::blur(&f64s(&x), shape, Some((&f64s(&mask), m)), sigma);
                let got = run_twice(e, &ty, |p| kernel::blur(p, &tx, Some(&tm), sigma, &ty));
                close(&got, &want, bound(sigma, true), 0.0);
            }
        }
    }
}

/// The sampler's output as image and mask at once; constant bands stay constant wherever data is near, and are 0 elsewhere.
#[test]
fn a_mask_does_not_darken() {
    let (engines, _lock) = engines();
    for e in engines {
        let (h, w) = (24, 40);
        let x: Vec<f32> = (0..h * w).flat_map(|i| if i % w < 10 { [3.0, -2.0, 0.5, 1.0] } else { [0.0; 4] }).collect();
        let (tx, ty) = (up(e, &[1, h, w, 4], &x), out(e, &[1, h, w, 4]));
        let got = run_twice(e, &ty, |p| kernel::blur(p, &tx, Some(&tx), 2.0, &ty));
        for (i, v) in got.chunks(4).enumerate() {
            // The last column with data is 9, the radius 6.
            let want = if i % w < 16 { [3.0, -2.0, 0.5, 1.0] } else { [0.0; 4] };
            close(v, &want, 3.0 * bound(2.0, true), 0.0);
        }
    }
}

/// Without a mask the blur is symmetric: <z, G x> = <G z, x>.
#[test]
fn adjoint() {
    let (e, _lock) = engine();
    let shape = [2, 19, 13, 4];
    let (x, z) = (random(2 * 19 * 13 * 4, 3), random(2 * 19 * 13 * 4, 4));
    let (tx, tz, ty) = (up(e, &shape, &x), up(e, &shape, &z), out(e, &shape));
    let gx = run_twice(e, &ty, |p| kernel::blur(p, &tx, None, 3.0, &ty));
    let gz = run_twice(e, &ty, |p| kernel::blur(p, &tz, None, 3.0, &ty));
    // Both sides sum products with a factor up to 1 and the bound above.
    assert!((dot(&gx, &z) - dot(&gz, &x)).abs() < 2.0 * x.len() as f64 * bound(3.0, false));
}

/// The output may be the input.
#[test]
fn in_place() {
    let (e, _lock) = engine();
    let shape = [1, 20, 30, 4];
    let x = random(20 * 30 * 4, 7);
    let t = up(e, &shape, &x);
    plan(e, |p| kernel::blur(p, &t, None, 2.0, &t)).submit(e).unwrap();
    close(&e.read(&t).unwrap(), &twin::blur(&f64s(&x), shape, None, 2.0), bound(2.0, false), 0.0);
}

/// What is not valid may hold anything; a validity that is not a number is none.
#[test]
fn odd_floats() {
    let (engines, _lock) = engines();
    for e in engines {
        let x = [1.0, f32::NAN, f32::INFINITY, 3.0, 7.0];
        let (tx, tm, ty) = (up(e, &[1, 1, 5, 1], &x), up(e, &[1, 1, 5, 1], &[1.0, 0.0, 0.0, 1.0, f32::NAN]), out(e, &[1, 1, 5, 1]));
        let got = run_twice(e, &ty, |p| kernel::blur(p, &tx, Some(&tm), 1.0, &ty));
        let want = twin::blur(&[1.0, 0.0, 0.0, 3.0, 0.0], [1, 1, 5, 1], Some((&[1.0, 0.0, 0.0, 1.0, 0.0], 1)), 1.0);
        close(&got, &want, 3.0 * bound(1.0, true), 0.0);
        // A lone share far below 1 at the window's rim still divides out.
        let (tx, tm) = (up(e, &[1, 1, 5, 1], &[5.0, 0.0, 0.0, 0.0, 0.0]), up(e, &[1, 1, 5, 1], &[1.0 / 64.0, 0.0, 0.0, 0.0, 0.0]));
        let got = run_twice(e, &ty, |p| kernel::blur(p, &tx, Some(&tm), 1.0, &ty));
        close(&got, &[5.0, 5.0, 5.0, 5.0, 0.0], 5.0 * bound(1.0, true), 0.0);
    }
}

/// More than 65,535 groups of 64 in both passes.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let shape = [65_536 * 64 + 1, 1, 1, 1];
    let x = random(shape[0], 6);
    let (tx, ty) = (up(e, &shape, &x), out(e, &shape));
    // The neighbours' weight is below f32's smallest number, so the kernel is the single 1.
    assert!(run_twice(e, &ty, |p| kernel::blur(p, &tx, None, 0.01, &ty)) == x);
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let x = out(e, &[1, 4, 5, 2]);
    for sigma in [0.0, -1.0, f32::NAN, MAX_SIGMA * 1.01] {
        let err = kernel::blur(&mut p, &x, None, sigma, &out(e, &[1, 4, 5, 2])).unwrap_err();
        assert!(err.to_string().contains("sigma must be"), "{err}");
    }
    let err = kernel::blur(&mut p, &x, Some(&out(e, &[1, 5, 4, 1])), 1.0, &out(e, &[1, 4, 5, 2])).unwrap_err();
    assert!(err.to_string().contains("`mask` must be F32 [1, 4, 5, 1]"), "{err}");
    let err = kernel::blur(&mut p, &x, None, 1.0, &out(e, &[1, 4, 5, 1])).unwrap_err();
    assert!(err.to_string().contains("`y` must be"), "{err}");
}

use crate::common::*;
use echogrid::gpu::PlanBuilder;
use echogrid::kernels::style as kernel;
use echogrid::reference::style as twin;

const SHAPES: [[usize; 4]; 7] = [[1, 1, 1, 1], [2, 7, 9, 3], [3, 8, 8, 64], [1, 5, 13, 63], [2, 9, 7, 65], [5, 16, 17, 4], [2, 40, 41, 5]];

/// Statistics with means of -1 to 1 and deviations of 0.5 to 1.5.
fn some_statistics(n: usize, c: usize, seed: u64) -> Vec<f32> {
    random(n * 2 * c, seed).iter().enumerate().map(|(i, v)| if (i / c).is_multiple_of(2) { *v } else { 1.0 + 0.5 * v }).collect()
}

/// Shares of 0 to 1, every third of them 1.
fn shares(n: usize, seed: u64) -> Vec<f32> {
    random(n, seed).iter().enumerate().map(|(i, v)| if i % 3 == 1 { 1.0 } else { 0.5 * v + 0.5 }).collect()
}

/// About 10 and of size 1; and about 100 and of size 0.01, where a mean of squares less a squared mean would be rounding alone.
#[test]
fn statistics_are_the_twins() {
    let (engines, _lock) = engines();
    for e in engines {
        for (shape, (offset, size)) in SHAPES.iter().flat_map(|s| [(s, (10.0f32, 1.0f32)), (s, (100.0, 0.01))]) {
            let [n, _, _, c] = *shape;
            let x: Vec<f32> = random(shape.iter().product(), 1).iter().map(|v| v * size + offset).collect();
            let (tx, ts) = (up(e, shape, &x), out(e, &[n, 2, c]));
            let got = run_twice(e, &ts, |p| kernel::statistics(p, &tx, &ts));
            let want = twin::statistics(&f64s(&x), n, c, f64::from(kernel::EPS));
            // The mean: chains of at most 100 additions of partial sums, relative to it at most 100 u each. The mean square about that mean
            // is larger than the variance by the square of its error; a difference, a square, as long a chain, and the root, which
            // halves all that and may be off by 10 u by itself.
            let off = 102.0 * 1.1 * f64::from(offset) * EPS;
            for (image, (got, want)) in got.chunks(2 * c).zip(want.chunks(2 * c)).enumerate() {
                close(&got[..c], &want[..c], off, 0.0);
                for k in c..2 * c {
                    let bound = (106.0 / 2.0 + 10.0) * EPS + off * off / (2.0 * want[k] * want[k]);
                    let error = (f64::from(got[k]) / want[k] - 1.0).abs();
                    assert!(error <= bound, "{shape:?}, image {image}, {k}: {} for {}, bound {bound:e}", got[k], want[k]);
                }
            }
        }
    }
}

#[test]
fn mixes_like_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for shape in SHAPES {
            let ([n, h, w, c], len) = (shape, shape.iter().product());
            let (x, dy, t) = (random(len, 2), random(len, 3), shares(n, 4));
            let (own, other) = (some_statistics(n, c, 5), some_statistics(n, c, 6));
            let [tx, tdy] = [&x, &dy].map(|v| up(e, &shape, v));
            let [to, tother] = [&own, &other].map(|v| up(e, &[n, 2, c], v));
            let (tt, ty, tdx) = (up(e, &[n], &t), out(e, &shape), out(e, &shape));
            let (own, other, share) = (f64s(&own), f64s(&other), f64s(&t));
            let y = run_twice(e, &ty, |p| kernel::mix(p, &tx, &to, &tother, &tt, &ty));
            // The scale, up to 3: a quotient (5 u), 1 - t, a product, a sum. Times a difference of at most 2 that rounds, like the product:
            // 10 u of 6. The mean: four roundings of numbers up to 1, twice. And their sum.
            close(&y, &twin::mix(&f64s(&x), &own, &other, &share, c), 80.0 * EPS, 0.0);
            let dx = run_twice(e, &tdx, |p| kernel::mix_backward(p, &to, &tother, &tt, &tdy, &tdx));
            close(&dx, &twin::mix_backward(&own, &other, &share, &f64s(&dy), c), 0.0, 10.0 * EPS);
            // An image that keeps its own statistics is left as it is.
            for i in (0..n).filter(|i| t[*i] == 1.0) {
                let image = i * h * w * c..(i + 1) * h * w * c;
                assert!(y[image.clone()] == x[image.clone()] && dx[image.clone()] == dy[image]);
            }
        }
    }
}

/// <dy, A x> = <A' dy, x>: for fixed statistics the image depends on x as A x + b.
#[test]
fn adjoint() {
    let (e, _lock) = engine();
    let shape = [3, 9, 10, 6];
    let (x, dy) = (random(1620, 7), random(1620, 8));
    let (tx, tdy, zero) = (up(e, &shape, &x), up(e, &shape, &dy), up(e, &shape, &[0.0; 1620]));
    let (own, other) = (up(e, &[3, 2, 6], &some_statistics(3, 6, 9)), up(e, &[3, 2, 6], &some_statistics(3, 6, 10)));
    let (t, ty, tb, tdx) = (up(e, &[3], &shares(3, 11)), out(e, &shape), out(e, &shape), out(e, &shape));
    let y = run_twice(e, &ty, |p| kernel::mix(p, &tx, &own, &other, &t, &ty));
    let b = run_twice(e, &tb, |p| kernel::mix(p, &zero, &own, &other, &t, &tb));
    let dx = run_twice(e, &tdx, |p| kernel::mix_backward(p, &own, &other, &t, &tdy, &tdx));
    // As above, for y and for b; and 10 u of up to 3.
    assert!((dot(&y, &dy) - dot(&b, &dy) - dot(&dx, &x)).abs() < 1620.0 * (80.0 + 80.0 + 30.0) * EPS);
}

/// sin of the result against central differences in f64, the statistics held where they are.
#[test]
fn twin_gradient_equals_finite_differences() {
    let (n, c) = (3, 4);
    let x = f64s(&random(n * 6 * c, 12));
    let (own, other, t) = (twin::statistics(&x, n, c, 1e-6), f64s(&some_statistics(n, c, 13)), f64s(&shares(n, 14)));
    let loss = |x: &[f64]| twin::mix(x, &own, &other, &t, c).iter().map(|v| v.sin()).sum::<f64>();
    let dy: Vec<f64> = twin::mix(&x, &own, &other, &t, c).iter().map(|v| v.cos()).collect();
    let nudge = |i: usize, d: f64| x.iter().enumerate().map(|(k, a)| if k == i { a + d } else { *a }).collect::<Vec<_>>();
    for (i, g) in twin::mix_backward(&own, &other, &t, &dy, c).iter().enumerate() {
        assert!((g - (loss(&nudge(i, 1e-6)) - loss(&nudge(i, -1e-6))) / 2e-6).abs() < 1e-8, "dx[{i}]");
    }
}

/// An image in another's style has the other's statistics; halfway, those in between.
#[test]
fn the_style_is_the_others() {
    let (n, c) = (2, 3);
    let x = f64s(&random(n * 50 * c, 15));
    let (own, other) = (twin::statistics(&x, n, c, 1e-6), f64s(&some_statistics(n, c, 16)));
    let got = twin::statistics(&twin::mix(&x, &own, &other, &[0.0, 0.5], c), n, c, 0.0);
    for (i, (got, (own, other))) in got.iter().zip(own.iter().zip(&other)).enumerate() {
        let want = if i < 2 * c { *other } else { 0.5 * (own + other) };
        // The scale was made with 1e-6 below the root, of variances of about 1 / 3.
        assert!((got - want).abs() < 4e-6, "{i}: {got} for {want}");
    }
}

/// More than 65,535 groups of 64. One pixel an image: its mean is itself, and it stays itself.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let (n, c) = (65_536, 65);
    let x = random(n * c, 17);
    let (tx, ts, ty) = (up(e, &[n, 1, 1, c], &x), out(e, &[n, 2, c]), out(e, &[n, 1, 1, c]));
    let stats = run_twice(e, &ts, |p| kernel::statistics(p, &tx, &ts));
    for (stats, x) in stats.chunks(2 * c).zip(x.chunks(c)) {
        assert!(stats[..c] == *x && stats[c..].iter().all(|s| (s - 1e-3).abs() < 1e-8));
    }
    let half = up(e, &[n], &vec![0.5; n]);
    assert!(run_twice(e, &ty, |p| kernel::mix(p, &tx, &ts, &ts, &half, &ty)) == x);
    assert!(run_twice(e, &ty, |p| kernel::mix_backward(p, &ts, &ts, &half, &tx, &ty)).iter().zip(&x).all(|(y, x)| (y - x).abs() < 1e-6));
}

/// A NaN or an infinity stays within its image and channel, and reaches an image that takes its statistics, no other one. A flat image has
/// finite values.
#[test]
fn odd_floats() {
    let (e, _lock) = engine();
    let shape = [3, 2, 1, 2];
    let x = [f32::NAN, 1.0, 2.0, 3.0, 5.0, f32::INFINITY, 5.0, 1e-40, 0.0, 7.0, 0.0, 7.0];
    let (tx, ts, ty) = (up(e, &shape, &x), out(e, &[3, 2, 2]), out(e, &shape));
    let s = run_twice(e, &ts, |p| kernel::statistics(p, &tx, &ts));
    assert!(s[0].is_nan() && s[2].is_nan() && s[1] == 2.0 && (s[3] - 1.0).abs() < 1e-5, "{s:?}");
    assert!(s[4] == 5.0 && (s[6] - 1e-3).abs() < 1e-8 && s[5] == f32::INFINITY, "{s:?}");
    assert!(s[8..10] == [0.0, 7.0] && s[10..].iter().all(|v| (v - 1e-3).abs() < 1e-8), "{s:?}");
    // Each takes half of the next one's style, but the first, which keeps its own.
    let others: Vec<f32> = (0..12).map(|i| s[(i + 4) % 12]).collect();
    let (to, t) = (up(e, &[3, 2, 2], &others), up(e, &[3], &[1.0, 0.5, 0.5]));
    let y = run_twice(e, &ty, |p| kernel::mix(p, &tx, &ts, &to, &t, &ty));
    assert!(y[0].is_nan() && y[1..4] == x[1..4], "{y:?}");
    assert!(y[4] == 2.5 && y[6] == 2.5 && !y[5].is_finite(), "{y:?}");
    assert!(y[8].is_nan() && y[10].is_nan() && y[9] == 4.5 && y[11] == 4.5, "{y:?}");
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let (x, s, t) = (out(e, &[4, 2, 2, 3]), out(e, &[4, 2, 3]), out(e, &[4]));
    let err = kernel::statistics(&mut p, &s, &s).unwrap_err();
    assert!(err.to_string().contains("`x` must be [N, H, W, C]"), "{err}");
    let err = kernel::statistics(&mut p, &x, &t).unwrap_err();
    assert!(err.to_string().contains("`stats` must be F32 [4, 2, 3]"), "{err}");
    let err = kernel::mix(&mut p, &x, &s, &s, &s, &out(e, &[4, 2, 2, 3])).unwrap_err();
    assert!(err.to_string().contains("`share` must be F32 [4]"), "{err}");
    let err = kernel::mix_backward(&mut p, &s, &t, &t, &x, &out(e, &[4, 2, 2, 3])).unwrap_err();
    assert!(err.to_string().contains("`other` must be F32 [4, 2, 3]"), "{err}");
}

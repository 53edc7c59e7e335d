use crate::common::*;
use echogrid::gpu::{DType, PlanBuilder};
use echogrid::kernels::{fft, spectrum as kernel};
use echogrid::reference::spectrum::{self as twin, Sizes};
use half::f16;

const CASES: [[usize; 4]; 7] =
    [[1, 2, 1, 2], [1, 14, 63, 16], [2, 8, 65, 6], [3, 10, 129, 4], [4, 4, 64, 8], [9, 6, 200, 2], [5, 2, 130, 18]];

/// A sum of n complex products of parts up to 1: 2 n products and 2 n additions of partial sums up to 2 n.
fn bound(n: usize) -> f64 {
    (2 * n + 1) as f64 * (2 * n) as f64 * EPS
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for [q, w, f, c] in CASES {
            let sizes = Sizes { q, w, f, c };
            let (sa, sb, sd) = ([q, f, c, 2], [w, f, c, 2], [q, f, w, 2]);
            let [a, b, d] = [(sa, 1), (sb, 2), (sd, 3)].map(|(s, seed)| random(s.iter().product(), seed));
            let [ta, tb, td] = [(sa, &a), (sb, &b), (sd, &d)].map(|(s, v)| up(e, &s, v));
            let [oa, ob, od] = [sa, sb, sd].map(|s| out(e, &s));
            let [a, b, d] = [a, b, d].map(|v| f64s(&v));
            close(&run_twice(e, &od, |p| kernel::correlate(p, &ta, &tb, &od)), &twin::correlate(&a, &b, sizes), bound(c), 0.0);
            close(&run_twice(e, &ob, |p| kernel::gradient_b(p, &ta, &td, &ob)), &twin::gradient_b(&a, &d, sizes), bound(q), 0.0);
            close(&run_twice(e, &oa, |p| kernel::gradient_a(p, &tb, &td, &oa)), &twin::gradient_a(&b, &d, sizes), bound(w), 0.0);
            // f16 to f32 is exact.
            let half: Vec<f16> = b.iter().map(|v| f16::from_f64(*v)).collect();
            let tb = e.upload("b", &sb, DType::F16, &half).unwrap();
            let b: Vec<f64> = half.iter().map(|v| v.to_f64()).collect();
            close(&run_twice(e, &od, |p| kernel::correlate(p, &ta, &tb, &od)), &twin::correlate(&a, &b, sizes), bound(c), 0.0);
        }
    }
}

/// The gradients are the adjoints of the real bilinear map: with <x, y> the sum over parts, <d, conj(a) b> = <a d, b> = <conj(d) b, a>.
#[test]
fn twin_gradients_are_adjoints() {
    let sizes = Sizes { q: 3, w: 2, f: 5, c: 4 };
    let [a, b, d] = [3 * 5 * 4 * 2, 2 * 5 * 4 * 2, 3 * 5 * 2 * 2].map(|n| f64s(&random(n, n as u64)));
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(p, q)| p * q).sum::<f64>();
    let want = dot(&d, &twin::correlate(&a, &b, sizes));
    assert!((dot(&twin::gradient_b(&a, &d, sizes), &b) - want).abs() < 1e-12);
    assert!((dot(&twin::gradient_a(&b, &d, sizes), &a) - want).abs() < 1e-12);
}

/// Through the transforms: the correlation of images by its definition, and <g, s(a, b)> = <s_b'(a) g, b> = <s_a'(b) g, a> in the images' own
/// inner product, although a half spectrum holds most frequencies once.
#[test]
fn correlates_images() {
    let (engines, _lock) = engines();
    let ([q, w, c], [h, wide], [sh, sw]) = ([3, 4, 6], [16, 32], [6, 9]);
    let (oh, ow) = (h - sh + 1, wide - sw + 1);
    let [a, b, g] = [q * sh * sw * c, w * h * wide * c, q * oh * ow * w].map(|n| random(n, n as u64));
    let want = twin::correlate_images(&f64s(&a), [q, sh, sw, c], &f64s(&b), [w, h, wide, c]);
    for e in engines {
        let (ta, tb, tg) = (up(e, &[q, sh, sw, c], &a), up(e, &[w, h, wide, c], &b), up(e, &[q, oh, ow, w], &g));
        let spectrum = |n: usize, c: usize| out(e, &fft::half_shape(n, [h, wide], c));
        let (fa, fb, fs) = (spectrum(q, c), spectrum(w, c), spectrum(q, w));
        let (ts, da, db) = (out(e, &[q, oh, ow, w]), out(e, &[q, sh, sw, c]), out(e, &[w, h, wide, c]));
        let scale = 1.0 / (h * wide) as f32;
        let s = run_twice(e, &ts, |p| {
            fft::forward(p, &ta, &fa, 1.0)?;
            fft::forward(p, &tb, &fb, 1.0)?;
            kernel::correlate(p, &fa, &fb, &fs)?;
            fft::inverse(p, &fs, &ts, scale)
        });
        // A result is within some units of round-off (four transforms of 9 levels and sums of 6 products, 8 each: 40 x 8) of the product of the two norms,
        // which are at most sqrt(54 x 6) and sqrt(512 x 6).
        let bound = 320.0 * EPS * (324.0f64 * 3072.0).sqrt();
        close(&s, &want, bound, 0.0);
        let (ga, gb, fg) = (spectrum(q, c), spectrum(w, c), spectrum(q, w));
        plan(e, |p| {
            fft::forward(p, &tg, &fg, 1.0)?;
            kernel::gradient_a(p, &fb, &fg, &ga)?;
            fft::inverse(p, &ga, &da, scale)?;
            kernel::gradient_b(p, &fa, &fg, &gb)?;
            fft::inverse(p, &gb, &db, scale)
        })
        .submit(e)
        .unwrap();
        let all = dot(&g, &s);
        // Each of the products g s is off by the bound at most, and as much on the other side.
        let off = 2.0 * bound * g.len() as f64;
        assert!((dot(&e.read(&da).unwrap(), &a) - all).abs() < off);
        assert!((dot(&e.read(&db).unwrap(), &b) - all).abs() < off);
    }
}

/// More than 65,535 groups: 260 x 260 tiles.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let [q, w] = [4 * 260, 8 * 260];
    let (a, b) = (random(q * 4, 1), random(w * 4, 2));
    let (ta, tb, to) = (up(e, &[q, 1, 2, 2], &a), up(e, &[w, 1, 2, 2], &b), out(e, &[q, 1, w, 2]));
    let got = run_twice(e, &to, |p| kernel::correlate(p, &ta, &tb, &to));
    let want = twin::correlate(&f64s(&a), &f64s(&b), Sizes { q, w, f: 1, c: 2 });
    close(&got, &want, bound(2), 0.0);
}

#[test]
fn twin_of_images_equals_the_definition() {
    let (sa @ [q, h, w, c], sb @ [n, bh, bw, _]) = ([2, 2, 3, 2], [2, 4, 5, 2]);
    let [a, b] = [sa, sb].map(|s| f64s(&random(s.iter().product(), s[1] as u64)));
    let got = twin::correlate_images(&a, sa, &b, sb);
    let (rows, columns) = (bh - h + 1, bw - w + 1);
    for (at, got) in got.iter().enumerate() {
        let (j, x, y, i) = (at % n, at / n % columns, at / n / columns % rows, at / n / columns / rows);
        let mut want = 0.0;
        for (k, v, u) in (0..c).flat_map(|k| (0..w).flat_map(move |v| (0..h).map(move |u| (k, v, u)))) {
            want += a[((i * h + u) * w + v) * c + k] * b[((j * bh + y + u) * bw + x + v) * c + k];
        }
        assert!(i < q && (got - want).abs() < 1e-13);
    }
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let t = |s: &[usize]| out(e, s);
    let err = kernel::correlate(&mut p, &t(&[1, 9, 4, 2]), &t(&[3, 9, 4, 2]), &t(&[1, 9, 3, 2])).unwrap_err();
    assert!(err.to_string().contains("the number of maps must be even, not 3"), "{err}");
    let err = kernel::correlate(&mut p, &t(&[1, 9, 4, 2]), &t(&[2, 8, 4, 2]), &t(&[1, 9, 2, 2])).unwrap_err();
    assert!(err.to_string().contains("`b` must be F32 [2, 9, 4, 2]"), "{err}");
    let err = kernel::gradient_a(&mut p, &t(&[2, 9, 3, 2]), &t(&[1, 9, 2, 2]), &t(&[1, 9, 3, 2])).unwrap_err();
    assert!(err.to_string().contains("the number of channels must be even"), "{err}");
}

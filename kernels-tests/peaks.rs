use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder, Tensor};
use echogrid::kernels::peaks::{self as kernel, NONE, NOWHERE, REFINED, TILE};
use echogrid::reference::peaks as twin;

const SHAPES: [[usize; 4]; 9] = [
    [1, 1, 1, 1],
    [1, 16, 16, 4],
    [2, 17, 15, 3],
    [3, 5, 33, 2],
    [2, 40, 41, 8],
    [1, 100, 83, 1],
    [2, 33, 16, 17],
    [1, 48, 50, 16],
    [4, 2, 2, 5],
];

fn ids(e: &Engine, shape: &[usize]) -> Tensor {
    e.upload("ids", shape, DType::U32, &vec![777u32; shape.iter().product()]).unwrap()
}

/// Surface, norm (with places that are not valid, a whole tile of them too) and scale whose products f32 holds exactly, and whose
/// sums as well: eighths up to 1 times 1, 2 or 4 times a half or 1. Ties are frequent.
fn exact(shape: [usize; 4], shared: bool) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let [q, v, u, w] = shape;
    let surface = random(q * v * u * w, 1).iter().map(|s| (s * 8.0).round() / 8.0).collect();
    let norm = random(if shared { 1 } else { q } * v * u * w, 2)
        .iter()
        .enumerate()
        .map(|(i, n)| match n {
            _ if i / w % (v * u) / u < TILE && i / w % u >= TILE && i % w == 0 => 0.0,
            n if *n < -0.5 => 0.0,
            n if *n < 0.0 => 1.0,
            n if *n < 0.5 => 2.0,
            _ => 4.0,
        })
        .collect();
    (surface, norm, (0..q).map(|q| if q % 2 == 0 { 0.5 } else { 1.0 }).collect())
}

#[test]
fn tiles_are_exact() {
    let (engines, _lock) = engines();
    for e in engines {
        for shape in SHAPES {
            for shared in [false, true] {
                let [q, v, u, w] = shape;
                let (surface, norm, scale) = exact(shape, shared);
                let (ts, tn) = (up(e, &shape, &surface), up(e, &[if shared { 1 } else { q }, v, u, w], &norm));
                let tiles = [q, w, v.div_ceil(TILE), u.div_ceil(TILE)];
                let (tc, tb, tp, tm) = (up(e, &[q], &scale), out(e, &tiles), ids(e, &tiles), out(e, &[q, w, 3]));
                let scores = twin::scores(&f64s(&surface), &f64s(&norm), &f64s(&scale), shape);
                let (best, position, sums) = twin::tiles(&scores, shape);
                let got = run_twice(e, &tb, |p| kernel::tiles(p, &ts, &tn, &tc, &tb, &tp, &tm));
                // Exact but for -1e30, which is rounded.
                close(&got, &best, 0.0, EPS);
                assert_eq!(e.read::<u32>(&tp).unwrap(), position, "{shape:?}");
                close(&e.read(&tm).unwrap(), &sums, 0.0, 0.0);
            }
        }
    }
}

/// Values that round: the best within three roundings of the twin's, the sums within those of n additions.
#[test]
fn tiles_of_any_values() {
    let (engines, _lock) = engines();
    for e in engines {
        for w in [3, 12] {
            let shape = [2, 37, 50, w];
            let n = 37 * 50;
            let (surface, norm) = (random(2 * n * w, 1), random(n * w, 2));
            let scale = [0.3, 1.7];
            let (ts, tn, tc) = (up(e, &shape, &surface), up(e, &[1, 37, 50, w], &norm), up(e, &[2], &scale));
            let (tb, tp, tm) = (out(e, &[2, w, 3, 4]), ids(e, &[2, w, 3, 4]), out(e, &[2, w, 3]));
            let scores = twin::scores(&f64s(&surface), &f64s(&norm), &f64s(&scale), shape);
            let (best, _, sums) = twin::tiles(&scores, shape);
            let got = run_twice(e, &tb, |p| kernel::tiles(p, &ts, &tn, &tc, &tb, &tp, &tm));
            close(&got, &best, 0.0, 3.0 * EPS);
            for (i, (p, s)) in e.read::<u32>(&tp).unwrap().iter().zip(&got).enumerate() {
                let (q, w_at) = (i / 12 / w, i / 12 % w);
                close(&[*s], &[scores[(q * n + *p as usize) * w + w_at].unwrap()], 0.0, 3.0 * EPS);
            }
            // Up to n values up to 1.7 with 2 roundings each (4 when squared, with one more), and n additions of partial sums up to n 1.7^2.
            close(&e.read(&tm).unwrap(), &sums, n as f64 * (n as f64 + 5.0) * 2.9 * EPS, 0.0);
        }
    }
}

/// What is not a number never wins, nor does it spoil a sum.
#[test]
fn odd_floats() {
    let (engines, _lock) = engines();
    for e in engines {
        let surface = [f32::NAN, f32::INFINITY, -3.0, f32::NEG_INFINITY, 5.0, 1.0];
        let norm = [1.0, 1.0, 1.0, 1.0, 0.0, f32::NAN];
        let (ts, tn, tc) = (up(e, &[1, 1, 6, 1], &surface), up(e, &[1, 1, 6, 1], &norm), up(e, &[1], &[2.0]));
        let (tb, tp, tm) = (out(e, &[1, 1, 1, 1]), ids(e, &[1, 1, 1, 1]), out(e, &[1, 1, 3]));
        assert_eq!(run_twice(e, &tb, |p| kernel::tiles(p, &ts, &tn, &tc, &tb, &tp, &tm)), [-6.0]);
        assert_eq!(e.read::<u32>(&tp).unwrap(), [2]);
        assert_eq!(e.read::<f32>(&tm).unwrap(), [1.0, -6.0, 36.0]);

        let energy = [f32::NAN, -1e-6, 0.0, 1e-35, f32::INFINITY, 4.0, 4.0, 4.0, 4.0, 0.01, 1e-20, 16.0];
        let valid = [9.0, 9.0, 9.0, 9.0, 9.0, f32::NAN, -1e-6, 4.9, 5.0, 200.0, 5.0, f32::INFINITY];
        let (te, tv, to) = (up(e, &[1, 3, 4, 1], &energy), up(e, &[1, 3, 4, 1], &valid), out(e, &[1, 3, 4, 1]));
        for (count, at_8, at_7, at_6) in [(10.0, 0.5, 0.0, 0.0), (0.0, 0.5, 0.5, 0.0)] {
            let tc = up(e, &[1], &[count]);
            let got = run_twice(e, &to, |p| kernel::inverse_norm(p, &te, &tv, &tc, 0.5, 1e-4, &to));
            close(&got, &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, at_6, at_7, at_8, 0.0, 0.0, 0.0], 2.0 * EPS, 0.0);
        }
    }
}

#[test]
fn inverse_norm_equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for shape in [[1, 1, 1, 1], [2, 17, 15, 3], [3, 40, 41, 4], [2, 23, 9, 8]] {
            let n = shape.iter().product();
            let (energy, valid) = (random(n, 1), random(n, 2).iter().map(|v| (50.0 * v).round()).collect::<Vec<_>>());
            let count: Vec<f32> = (0..shape[0]).map(|q| 40.0 + q as f32).collect();
            let (te, tv) = (up(e, &shape, &energy), up(e, &shape, &valid));
            let (tc, to) = (up(e, &[shape[0]], &count), out(e, &shape));
            // Half of 40 to 42 and whole counts: f32 decides as the twin does. The energy's limit is rounded once, so the twin has f32's.
            let got = run_twice(e, &to, |p| kernel::inverse_norm(p, &te, &tv, &tc, 0.5, 0.0, &to));
            // WGSL bounds inverseSqrt by 2 ulp, 4 roundings.
            close(&got, &twin::inverse_norm(&f64s(&energy), &f64s(&valid), &f64s(&count), 0.5, 0.0), 0.0, 4.0 * EPS);
        }
    }
}

/// Exactly the host's greedy choice, with many ties, empty tiles, every radius and more peaks than there are.
#[test]
fn selection_is_exact() {
    let (engines, _lock) = engines();
    for e in engines {
        for [q, v, u, w] in SHAPES.into_iter().chain([[1, 413, 413, 2]]) {
            let (down, across) = (v.div_ceil(TILE), u.div_ceil(TILE));
            let (tiles, shape) = (down * across, [q, w, down, across]);
            let noise = random(3 * q * w * tiles, 7);
            let mut best = vec![NONE; q * w * tiles];
            let mut position = vec![NOWHERE; best.len()];
            for i in (0..best.len()).filter(|i| noise[3 * i] > -0.6) {
                // Anywhere in the tile, scores in few steps.
                let (y0, x0) = (i % tiles / across * TILE, i % tiles % across * TILE);
                let inside = |from: usize, end: usize, r: f32| from + (((r + 1.0) / 2.0) * (end - from).min(TILE) as f32) as usize;
                best[i] = (noise[3 * i] * 6.0).round();
                position[i] = (inside(y0, v, noise[3 * i + 1]) * u + inside(x0, u, noise[3 * i + 2])) as u32;
            }
            let (tb, tp) = (up(e, &shape, &best), e.upload("p", &shape, DType::U32, &position).unwrap());
            for (k, radius) in [(1, 0), (5, 12), (16, 20), (16, 0), (7, 1000)] {
                let (ts, ti) = (out(e, &[q, w, k]), ids(e, &[q, w, k]));
                let got = run_twice(e, &ts, |p| kernel::select(p, &tb, &tp, u, radius, &ts, &ti));
                let (scores, places) = twin::select(&best, &position, q * w, u, radius, k);
                assert_eq!(got, scores, "{q} {v} {u} {w}, k = {k}, radius {radius}");
                assert_eq!(e.read::<u32>(&ti).unwrap(), places, "{q} {v} {u} {w}, k = {k}, radius {radius}");
            }
        }
    }
}

/// Every place as a peak: borders, neighbours that are not valid, tops, hollows and slopes.
#[test]
fn refinement_equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for shape in SHAPES {
            for shared in [false, true] {
                let [q, v, u, w] = shape;
                let (surface, norm, scale) = exact(shape, shared);
                let k = v * u + 1;
                let place: Vec<u32> = (0..q * w * k).map(|i| if i % k < v * u { (i % k) as u32 } else { NOWHERE }).collect();
                let (ts, tn) = (up(e, &shape, &surface), up(e, &[if shared { 1 } else { q }, v, u, w], &norm));
                let (tc, ti) = (up(e, &[q], &scale), e.upload("p", &[q, w, k], DType::U32, &place).unwrap());
                let to = out(e, &[q, w, k, REFINED]);
                let scores = twin::scores(&f64s(&surface), &f64s(&norm), &f64s(&scale), shape);
                let got = run_twice(e, &to, |p| kernel::refine(p, &ts, &tn, &tc, &ti, &to));
                // Slope and bend are exact. The offset, at most 1, is a quotient (2.5 ulp = 5 roundings); with slope and bend up to 4 and 16, the
                // height moves by at most (4 + 16) * 5 for that and by under 40 for its own roundings.
                close(&got, &twin::refine(&scores, shape, &place, k), 150.0 * EPS, EPS);
            }
        }
    }
}

/// The top of a parabola between the pixels is found where it was put.
#[test]
fn finds_a_planted_peak() {
    let (engines, _lock) = engines();
    for e in engines {
        let (v, u, w) = (30, 37, 3);
        let (y, x) = (17.3f64, 20.6f64);
        // Through 0 on the peak's row and column: the parabolas there stay as they are.
        let tilt = |p: usize| ((p / u) as f64 - 17.0) * ((p % u) as f64 - 21.0);
        let f = |p: usize| 1.0 - 0.01 * ((p / u) as f64 - y).powi(2) - 0.02 * ((p % u) as f64 - x).powi(2) + 0.006 * tilt(p);
        let surface: Vec<f32> = (0..v * u * w).map(|i| f(i / w) as f32).collect();
        let (ts, tn, tc) = (up(e, &[1, v, u, w], &surface), up(e, &[1, v, u, w], &vec![1.0; surface.len()]), up(e, &[1], &[1.0]));
        let (tb, tp, tm) = (out(e, &[1, w, 2, 3]), ids(e, &[1, w, 2, 3]), out(e, &[1, w, 3]));
        let (tk, ti, to) = (out(e, &[1, w, 2]), ids(e, &[1, w, 2]), out(e, &[1, w, 2, REFINED]));
        let got = run_twice(e, &to, |p| {
            kernel::tiles(p, &ts, &tn, &tc, &tb, &tp, &tm)?;
            kernel::select(p, &tb, &tp, u, 40, &tk, &ti)?;
            kernel::refine(p, &ts, &tn, &tc, &ti, &to)
        });
        assert_eq!(e.read::<u32>(&ti).unwrap(), [17 * u as u32 + 21, NOWHERE].repeat(w));
        for peak in got.chunks(2 * REFINED) {
            // Scores near 1 have a rounding each; slope and bend up to 4 of them, over a bend of 0.02 or more.
            close(&peak[..2], &[0.3, -0.4], 8.0 * EPS / 0.02, 0.0);
            close(&peak[2..5], &[1.0, -0.02, -0.04], 8.0 * EPS, 0.0);
            close(&peak[5..6], &[0.006], 8.0 * EPS, 0.0);
            assert_eq!(peak[6..], [0.0, 0.0, NONE, 0.0, 0.0, 0.0]);
        }
    }
}

/// More than 65,535 groups in every dispatch.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    // Blocks of one place: 64 a group for the tiles, a group each for the sums. One run: this is the suite's largest number of groups.
    let w = 65_536 * 64 + 1;
    let surface = random(w, 8);
    let (ts, tn, tc) = (up(e, &[1, 1, 1, w], &surface), up(e, &[1, 1, 1, w], &vec![1.0; w]), up(e, &[1], &[1.0]));
    let (tb, tp, tm) = (out(e, &[1, w, 1, 1]), ids(e, &[1, w, 1, 1]), out(e, &[1, w, 3]));
    plan(e, |p| kernel::tiles(p, &ts, &tn, &tc, &tb, &tp, &tm)).submit(e).unwrap();
    assert!(e.read::<f32>(&tb).unwrap() == surface);
    let sums: Vec<f32> = e.read(&tm).unwrap();
    assert!(sums.chunks(3).zip(&surface).all(|(m, s)| m[0] == 1.0 && m[1] == *s));
    // A group a query and block.
    let w = 65_537;
    let (tb, tp) = (up(e, &[1, w, 1, 1], &surface[..w]), e.upload("p", &[1, w, 1, 1], DType::U32, &vec![0u32; w]).unwrap());
    let (tk, ti) = (out(e, &[1, w, 1]), ids(e, &[1, w, 1]));
    assert!(run_twice(e, &tk, |p| kernel::select(p, &tb, &tp, 1, 3, &tk, &ti)) == surface[..w]);
    // 64 peaks a group.
    let w = 65_536 * 4 + 1;
    let (ts, tn) = (up(e, &[1, 1, 1, w], &surface[..w]), up(e, &[1, 1, 1, w], &vec![1.0; w]));
    let ti = e.upload("p", &[1, w, 16], DType::U32, &vec![0u32; 16 * w]).unwrap();
    let to = out(e, &[1, w, 16, REFINED]);
    let got = run_twice(e, &to, |p| kernel::refine(p, &ts, &tn, &tc, &ti, &to));
    assert!(got.chunks(REFINED).enumerate().all(|(i, r)| r[2] == surface[i / 16]));
    // A group a query.
    let q = 65_537;
    let (te, tq, to) = (up(e, &[q, 1, 1, 1], &vec![4.0; q]), up(e, &[q], &vec![1.0; q]), out(e, &[q, 1, 1, 1]));
    let got = run_twice(e, &to, |p| kernel::inverse_norm(p, &te, &te, &tq, 0.5, 0.0, &to));
    close(&got, &vec![0.5; q], 0.0, 4.0 * EPS);
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let (s, c) = (out(e, &[2, 20, 20, 3]), out(e, &[2]));
    let (b, i, m) = (out(e, &[2, 3, 2, 2]), ids(e, &[2, 3, 2, 2]), out(e, &[2, 3, 3]));
    let err = kernel::tiles(&mut p, &s, &out(e, &[2, 20, 20, 4]), &c, &b, &i, &m).unwrap_err();
    assert!(err.to_string().contains("`norm` must be F32 [2, 20, 20, 3]"), "{err}");
    let err = kernel::tiles(&mut p, &s, &s, &c, &b, &b, &m).unwrap_err();
    assert!(err.to_string().contains("`position` must be U32"), "{err}");
    let err = kernel::select(&mut p, &b, &i, 20, 5, &out(e, &[2, 3, 17]), &ids(e, &[2, 3, 17])).unwrap_err();
    assert!(err.to_string().contains("1 to 16"), "{err}");
    let err = kernel::select(&mut p, &b, &i, 40, 5, &out(e, &[2, 3, 4]), &ids(e, &[2, 3, 4])).unwrap_err();
    assert!(err.to_string().contains("40 places wide"), "{err}");
    let err = kernel::refine(&mut p, &s, &s, &c, &ids(e, &[2, 3, 4]), &out(e, &[2, 3, 4, 5])).unwrap_err();
    assert!(err.to_string().contains("`out` must be F32 [2, 3, 4, 6]"), "{err}");
    let err = kernel::inverse_norm(&mut p, &s, &s, &c, f32::NAN, 0.0, &out(e, &[2, 20, 20, 3])).unwrap_err();
    assert!(err.to_string().contains("must be 0 or more"), "{err}");
}

/// What channels' means make of a window's energy; the energy is read and written, so each run starts from a fresh copy.
#[test]
fn remove_means_equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (n, shape) in [(1, [1, 1, 1, 1]), (3, [1, 7, 5, 3]), (8, [1, 9, 9, 4]), (2, [1, 33, 17, 6])] {
            let [_, v, u, w] = shape;
            let places = v * u * w;
            let sums = random(n * places, 1);
            let valid: Vec<f32> = random(places, 2).iter().map(|x| (x + 1.0) * 2.0).collect();
            let energy = random(places, 3);
            let (ts, tv) = (up(e, &[n, v, u, w], &sums), up(e, &shape, &valid));
            let run = || {
                let te = up(e, &shape, &energy);
                let mut plan = PlanBuilder::new(e);
                kernel::remove_means(&mut plan, &ts, &tv, &te).unwrap();
                plan.finish().submit(e).unwrap();
                e.read::<f32>(&te).unwrap()
            };
            let got = run();
            assert!(got == run());
            // n squares up to 1 with two roundings each, a division (2.5 units) and a difference.
            let want = twin::remove_means(&f64s(&sums), &f64s(&valid), &f64s(&energy));
            close(&got, &want, (n * (n + 5)) as f64 * EPS + 2.0 * EPS, 0.0);
        }
    }
}

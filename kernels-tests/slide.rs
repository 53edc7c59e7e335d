use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder, Tensor};
use echogrid::kernels::slide::{self as kernel, Slide};
use echogrid::reference::slide as twin;

/// Squares a side, reach, channels, queries, rows of each.
const CASES: [(usize, usize, usize, usize, usize); 7] =
    [(1, 0, 1, 1, 1), (1, 0, 8, 3, 2), (2, 1, 3, 2, 5), (8, 2, 16, 3, 7), (5, 4, 4, 2, 3), (8, 1, 5, 1, 20), (3, 2, 64, 9, 1)];

/// `top` rows in turn for each query.
fn owners(e: &Engine, rows: usize, top: usize) -> (Vec<usize>, Tensor) {
    let list: Vec<usize> = (0..rows).map(|r| r / top).collect();
    let tensor = e.upload("owners", &[rows], DType::U32, &list.iter().map(|o| *o as u32).collect::<Vec<_>>()).unwrap();
    (list, tensor)
}

fn shifts(e: &Engine, slide: Slide, rows: usize) -> (Vec<usize>, Tensor) {
    // Beyond the last: no shift.
    let list: Vec<usize> = (0..rows).map(|r| r * 7 % (slide.shifts() + 1)).collect();
    let u32s: Vec<u32> = list.iter().map(|s| if *s < slide.shifts() { *s as u32 } else { u32::MAX }).collect();
    (list, e.upload("shifts", &[rows], DType::U32, &u32s).unwrap())
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (i, (side, reach, channels, queries, top)) in CASES.into_iter().enumerate() {
            let (slide, dim, rows) = (Slide { side, reach }, side * side * channels, queries * top);
            let (q, c) = (random(queries * dim, i as u64), random(rows * dim, 50 + i as u64));
            let (tq, tc, ts) = (up(e, &[queries, dim], &q), up(e, &[rows, dim], &c), out(e, &[rows, slide.shifts()]));
            let (list, to) = owners(e, rows, top);
            let want = twin::correlate(slide, &f64s(&q), &f64s(&c), dim, &list);
            // n products below 1 in a chain, then a factor of at most side^2 / n: n u sqrt(n) side^2 / n with n at most dim.
            let bound = EPS * (dim as f64).sqrt() * dim as f64;
            close(&run_twice(e, &ts, |p| kernel::correlate(p, slide, &tq, &tc, &to, &ts)), &want, bound, 4.0 * EPS);

            let (list, ts) = shifts(e, slide, rows);
            let ty = out(e, &[queries + rows, dim]);
            let y = run_twice(e, &ty, |p| kernel::common(p, slide, &tq, &tc, &ts, &ty));
            close(&y, &twin::common(slide, &f64s(&q), &f64s(&c), &list), 0.0, 6.0 * EPS);
            let dy = random((queries + rows) * dim, 90 + i as u64);
            let tdy = up(e, &[queries + rows, dim], &dy);
            let [dq, dc] = twin::common_backward(slide, &f64s(&q), &f64s(&c), &list, &f64s(&dy));
            let (tdq, tdc) = (out(e, &[queries, dim]), out(e, &[rows, dim]));
            // A sum over the query's rows, each term below side^2 and rounded a few times.
            let bound = EPS * ((top + 6) * top * side * side) as f64;
            close(&run_twice(e, &tdq, |p| kernel::common_backward_q(p, slide, &tc, &tdy, &ts, &tdq)), &dq, bound, 0.0);
            close(&run_twice(e, &tdc, |p| kernel::common_backward_c(p, slide, &tq, &tdy, &ts, &tdc)), &dc, 0.0, 6.0 * EPS);
        }
    }
}

/// y is linear in q and in c: <dy, y> = <dq, q> = <dc, c>; and the sum of what a query and a row have in common is that shift's score.
#[test]
fn what_is_common_agrees_with_scores_and_with_its_gradients() {
    let (e, _lock) = engine();
    let (slide, dim, rows) = (Slide { side: 4, reach: 2 }, 64, 25);
    let (q, x) = (random(dim, 1), random(rows * dim, 2));
    let all: Vec<u32> = (0..25).collect();
    let (tq, tx, tl) = (up(e, &[1, dim], &q), up(e, &[rows, dim], &x), e.upload("shifts", &[rows], DType::U32, &all).unwrap());
    let (ts, ty, to) = (out(e, &[rows, 25]), out(e, &[rows + 1, dim]), owners(e, rows, rows).1);
    let scores = run_twice(e, &ts, |p| kernel::correlate(p, slide, &tq, &tx, &to, &ts));
    let y = run_twice(e, &ty, |p| kernel::common(p, slide, &tq, &tx, &tl, &ty));
    for r in 0..rows {
        // Sums of 64 numbers below 4.
        let sum: f64 = f64s(&y[r * dim..][..dim]).iter().sum();
        assert!((sum - f64::from(scores[r * 25 + r])).abs() < 256.0 * 64.0 * EPS, "row {r}");
    }
    assert!(y[rows * dim..].iter().all(|v| *v == 0.0), "the row of none");
    let dy = random((rows + 1) * dim, 3);
    let (tdy, tdq, tdx) = (up(e, &[rows + 1, dim], &dy), out(e, &[1, dim]), out(e, &[rows, dim]));
    let dq = run_twice(e, &tdq, |p| kernel::common_backward_q(p, slide, &tx, &tdy, &tl, &tdq));
    let dx = run_twice(e, &tdx, |p| kernel::common_backward_c(p, slide, &tq, &tdy, &tl, &tdx));
    let (all, bound) = (dot(&y, &dy), 16.0 * (rows * dim) as f64 * 4.0 * EPS);
    assert!((all - dot(&dx, &x)).abs() < bound && (all - dot(&dq, &q)).abs() < bound);
}

/// A query cut from a candidate's own grid, one square down and two to the left, is found there with the cosine of what it kept.
#[test]
fn finds_where_a_grid_was_cut() {
    let (e, _lock) = engine();
    let (slide, side) = (Slide { side: 8, reach: 2 }, 8i64);
    let c = random(64, 9);
    let q: Vec<f32> = (0..64i64)
        .map(|p| (p % side - 2, p / side + 1))
        .map(|(x, y)| if (0..side).contains(&x) && y < side { c[(y * side + x) as usize] } else { 0.0 })
        .collect();
    let (tq, tc, ts, to) = (up(e, &[1, 64], &q), up(e, &[1, 64], &c), out(e, &[1, 25]), owners(e, 1, 1).1);
    let scores = run_twice(e, &ts, |p| kernel::correlate(p, slide, &tq, &tc, &to, &ts));
    let best = (0..25).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
    assert_eq!(slide.shift(best), [-2, 1], "{scores:?}");
    let kept = f64s(&q).iter().map(|v| v * v).sum::<f64>();
    assert!((f64::from(scores[best]) - kept * 64.0 / 42.0).abs() < 64.0 * EPS * kept);
}

/// A NaN stays with the shifts that lay a value on it, and with its row.
#[test]
fn odd_floats() {
    let (e, _lock) = engine();
    let slide = Slide { side: 2, reach: 1 };
    let (q, c) = ([1.0f32; 4], [f32::NAN, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, f32::MAX]);
    let to = e.upload("owners", &[3], DType::U32, &[0u32, 0, 9]).unwrap();
    let (tq, tc, ts) = (up(e, &[1, 4], &q), up(e, &[3, 4], &[&c[..], &c[..4]].concat()), out(e, &[3, 9]));
    let s = run_twice(e, &ts, |p| kernel::correlate(p, slide, &tq, &tc, &to, &ts));
    // Shifts to the right or down leave square 0 behind.
    let with: Vec<usize> = (0..9).filter(|i| s[*i].is_nan()).collect();
    assert_eq!(with, [0, 1, 3, 4], "{s:?}");
    assert!(s[9..].iter().all(|v| !v.is_nan()));
    assert!(s[18..].iter().all(|v| *v == 0.0), "nobody's: {s:?}");
}

/// More than 65,535 groups of 64.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let (slide, rows) = (Slide { side: 1, reach: 0 }, 65_536 * 65 - 1);
    let x = random(rows, 5);
    let (tx, tl) = (up(e, &[rows, 1], &x), e.upload("shifts", &[rows], DType::U32, &vec![0u32; rows]).unwrap());
    let (ty, tq, ts, to) = (out(e, &[rows + 1, 1]), up(e, &[1, 1], &[2.0]), out(e, &[rows, 1]), owners(e, rows, rows).1);
    let common = run_twice(e, &ty, |p| kernel::common(p, slide, &tq, &tx, &tl, &ty));
    assert!(common[..rows].iter().zip(&x).all(|(d, v)| *d == 2.0 * v) && common[rows] == 0.0);
    let doubled = run_twice(e, &ts, |p| kernel::correlate(p, slide, &tq, &tx, &to, &ts));
    assert!(doubled.iter().zip(&x).all(|(d, v)| *d == 2.0 * v));
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let slide = Slide { side: 2, reach: 1 };
    let (q, c) = (out(e, &[2, 8]), out(e, &[5, 8]));
    let mut says = |slide: Slide, q: &Tensor, c: &Tensor, scores: &[usize], word: &str| {
        let err = kernel::correlate(&mut p, slide, q, c, &owners(e, 5, 3).1, &out(e, scores)).unwrap_err().to_string();
        assert!(err.contains(word), "{err}");
    };
    says(slide, &q, &out(e, &[5, 4]), &[5, 9], "`c` must be F32 [5, 8]");
    says(Slide { side: 2, reach: 2 }, &q, &c, &[5, 25], "rows of 8 as 2 x 2 squares that slide by up to 2");
    says(Slide { side: 3, reach: 1 }, &q, &c, &[5, 9], "rows of 8 as 3 x 3 squares");
    says(slide, &q, &out(e, &[4, 8]), &[4, 9], "`owners` must be U32 [4]");
    says(slide, &q, &c, &[5, 8], "`scores` must be F32 [5, 9]");
    let mut says = |c: &Tensor, y: &[usize], word: &str| {
        let err = kernel::common(&mut p, slide, &q, c, &out(e, &[4]), &out(e, y)).unwrap_err().to_string();
        assert!(err.contains(word), "{err}");
    };
    says(&c, &[7, 8], "5 x 8 candidates of 2 x 8 queries");
    says(&out(e, &[4, 8]), &[4, 8], "`y` must be F32 [6, 8]");
    says(&out(e, &[4, 8]), &[6, 8], "`shifts` must be U32 [4]");
}

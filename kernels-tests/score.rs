use crate::common::*;
use crate::topk::{check_lists, hard_scores};
use echogrid::gpu::{DType, PlanBuilder};
use echogrid::kernels::score::score_block;
use echogrid::kernels::topk::{Scratch, TopK, clear, search_block};
use echogrid::reference::score as twin;

/// Scores of blocks at offsets against the twin, every tile (1 to 3, 4 to 8, more queries), any number of columns, both types.
#[test]
fn scores_equal_the_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (nq, n, d) in [(1, 1, 1), (1, 33, 4), (2, 257, 7), (5, 31, 64), (8, 9, 13), (17, 65, 36), (33, 100, 3), (40, 70, 256)] {
            let (q, x) = (random(nq * d, 1), random(n * d, 2));
            let tq = up(e, &[nq, d], &q);
            let (half, rounded) = up_f16(e, &[n, d], &x);
            for (tx, x) in [(up(e, &[n, d], &x), &x), (half, &rounded)] {
                let all = twin::scores(&f64s(&q), &f64s(x), d);
                for (q0, x0) in [(0, 0), (nq / 2, n / 3)] {
                    let (rows, cols) = (nq - q0, n - x0);
                    let ts = out(e, &[rows, cols]);
                    let got = run_twice(e, &ts, |p| score_block(p, &tq, &tx, q0..nq, x0..n, &ts));
                    let want: Vec<f64> = (0..rows * cols).map(|i| all[(q0 + i / cols) * n + x0 + i % cols]).collect();
                    // f16 to f32 is exact; d products of at most 1 and d additions, each partial sum at most d: (d + 1) roundings of sum |q x| <= d.
                    close(&got, &want, (d as f64 + 1.0) * d as f64 * EPS, 0.0);
                }
            }
        }
    }
}

/// Scores with ties, NaN, infinities, in the worst orders, without a matrix of them: exactly the stable host sort of the kernel's own scores.
#[test]
fn fused_selection_is_exact() {
    let (engines, _lock) = engines();
    for e in engines {
        let (nq, d, n) = (35, 4, 5003);
        let queries: Vec<f32> = (0..nq).flat_map(|i| [1.0 + (i % 3) as f32, 0.0, 0.0, 0.0]).collect();
        let q = up(e, &[nq, d], &queries);
        let ramp = |f: f32| (0..n).map(|i| i as f32 * f).collect::<Vec<f32>>();
        for (name, scores) in [("hard", hard_scores(n, 3)), ("equal", ramp(0.0)), ("ascending", ramp(1.0)), ("descending", ramp(-1.0))] {
            let x = up(e, &[n, d], &scores.iter().flat_map(|s| [*s, 0.0, 0.0, 0.0]).collect::<Vec<f32>>());
            let ts = out(e, &[nq, n]);
            plan(e, |p| score_block(p, &q, &x, 0..nq, 0..n, &ts)).submit(e).unwrap();
            let all: Vec<f32> = e.read(&ts).unwrap();
            for k in [1, 10, 16, 32] {
                let scratch = Scratch::fused(e, nq, k).unwrap();
                let (ls, li) = (out(e, &[nq, k]), e.tensor("ids", &[nq, k], DType::U32).unwrap());
                let got = run_twice(e, &ls, |p| {
                    clear(p, &ls, &li)?;
                    // In two parts, the later rows first.
                    search_block(p, &q, &x, 0..nq, n / 3..n, (n / 3) as u32, &ls, &li, &scratch)?;
                    search_block(p, &q, &x, 0..nq, 0..n / 3, 0, &ls, &li, &scratch)
                });
                check_lists(&got, &e.read::<u32>(&li).unwrap(), &all, k, n, &format!("{name}, k = {k}"));
            }
        }
    }
}

/// Segments as long as they get, of narrow rows and of such as only go one column at a time, where the turns of loops are what bounds them; each
/// row reaches every list, and the last segment, where the best are, is a whole one.
#[test]
fn the_longest_segments_are_searched_to_their_ends() {
    let (engines, _lock) = engines();
    for e in engines {
        for (d, n) in [(4, 37_888), (1_501, 15_360)] {
            let (nq, k) = (32, 8);
            // Only the last column counts, so that scores are exact and a loop that ended early shows.
            let q = up(e, &[nq, d], &(0..nq * d).map(|i| f32::from(i % d == d - 1)).collect::<Vec<_>>());
            // Ascending, the last row the best.
            let x = up(e, &[n, d], &(0..n * d).map(|i| (i / d) as f32).collect::<Vec<_>>());
            let top = TopK::new(e, nq, k, n).unwrap();
            plan(e, |p| {
                top.begin(p)?;
                top.add_shard(p, &q, &x, 0, n)
            })
            .submit(e)
            .unwrap();
            let want: Vec<u32> = (0..k).map(|i| (n - 1 - i) as u32).collect();
            for ids in e.read::<u32>(top.ids()).unwrap().chunks(k) {
                assert_eq!(ids, want, "{d} columns");
            }
        }
    }
}

#[test]
fn refuses_with_the_reason() {
    let (e, _lock) = engine();
    let (q, x, s) = (out(e, &[4, 8]), out(e, &[10, 8]), out(e, &[4, 10]));
    let mut p = PlanBuilder::new(e);
    says(score_block(&mut p, &q, &out(e, &[10, 7]), 0..4, 0..10, &s), "queries have 8 columns, the database 7");
    says(score_block(&mut p, &q, &x, 0..4, 1..11, &s), "rows 1..11 of 10");
    says(score_block(&mut p, &q, &x, 0..4, 0..10, &out(e, &[39])), "hold no 4 x 10");
}

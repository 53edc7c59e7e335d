use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder};
use echogrid::kernels::score::score_block;
use echogrid::kernels::topk::{self as kernel, EMPTY, Scratch, TopK};
use echogrid::reference::topk as twin;

/// Scores with many ties, NaN, infinities, both zeros and denormals.
pub fn hard_scores(n: usize, seed: u64) -> Vec<f32> {
    let noise = random(n, seed);
    let odd = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-40, -1e-40, 1.0, 1.0];
    (0..n)
        .map(|i| match i % 7 {
            0 => odd[i / 7 % odd.len()],
            1..4 => (noise[i] * 8.0).round() / 8.0,
            _ => noise[i],
        })
        .collect()
}

#[track_caller]
pub fn check_lists(got_scores: &[f32], got_ids: &[u32], scores: &[f32], k: usize, n: usize, name: &str) {
    for (r, row) in scores.chunks(n).enumerate() {
        let want = twin::best(row, k);
        let (gs, gi) = (&got_scores[r * k..][..k], &got_ids[r * k..][..k]);
        assert_eq!(&gi[..want.len()], want, "{name}, query {r}");
        for (s, id) in gs.iter().zip(&want) {
            let w = row[*id as usize];
            assert!(s.is_nan() && w.is_nan() || *s == w && (w == 0.0 || s.to_bits() == w.to_bits()), "{name}: {s} against {w} at {id}");
        }
        assert!(
            gi[want.len()..].iter().all(|i| *i == EMPTY) && gs[want.len()..].iter().all(|s| *s == f32::NEG_INFINITY),
            "{name}: empty slots"
        );
    }
}

/// Holds what is selected of hard scores [nq, n], in one block and in two of which the later comes first, against the stable host sort of them.
pub fn check_selection(e: &Engine, nq: usize, n: usize, k: usize) {
    let scores: Vec<f32> = (0..nq).flat_map(|r| hard_scores(n, r as u64)).collect();
    let cut = n / 3;
    let part = |from: usize, to: usize| -> Vec<f32> { scores.chunks(n).flat_map(|r| r[from..to].to_vec()).collect() };
    let scratch = Scratch::new(e, nq, n, k).unwrap();
    let (ls, li) = (out(e, &[nq, k]), e.tensor("ids", &[nq, k], DType::U32).unwrap());
    for parts in [vec![(0, n)], vec![(cut, n), (0, cut)]] {
        let blocks: Vec<_> = parts.iter().filter(|(a, b)| a < b).map(|(a, b)| (up(e, &[nq, b - a], &part(*a, *b)), *a, b - a)).collect();
        let got = run_twice(e, &ls, |p| {
            kernel::clear(p, &ls, &li)?;
            blocks.iter().try_for_each(|(t, first, rows)| kernel::select_block(p, t, nq, *rows, *first as u32, 0, &ls, &li, &scratch))
        });
        check_lists(&got, &e.read::<u32>(&li).unwrap(), &scores, k, n, &format!("{nq} x {n}, k = {k}, {} parts", parts.len()));
    }
}

/// The same of n scores that are all equal, ascending (every score displaces the list) and descending.
pub fn check_orders(e: &Engine, n: usize, k: usize) {
    for (name, f) in [("equal", 0i32), ("ascending", 1), ("descending", -1)] {
        let scores: Vec<f32> = (0..n as i32).map(|i| (i * f) as f32).collect();
        let (t, scratch) = (up(e, &[1, n], &scores), Scratch::new(e, 1, n, k).unwrap());
        let (ls, li) = (out(e, &[1, k]), e.tensor("ids", &[1, k], DType::U32).unwrap());
        let got = run_twice(e, &ls, |p| {
            kernel::clear(p, &ls, &li)?;
            kernel::select_block(p, &t, 1, n, 0, 0, &ls, &li, &scratch)
        });
        check_lists(&got, &e.read::<u32>(&li).unwrap(), &scores, k, n, name);
    }
}

/// Every k around the internal sizes.
#[test]
fn selection_is_exact() {
    let (engines, _lock) = engines();
    for e in engines {
        let ks = [1, 2, 31, 32, 33, 127, 128];
        let small = ks.iter().flat_map(|k| [(3, 1, *k), (3, 777, *k), (2, 5003, *k)]);
        small.chain([(1, 9001, 10), (1, 20_011, 128), (1, 16_384, 1), (1, 100, 100)]).for_each(|(nq, n, k)| check_selection(e, nq, n, k));
    }
}

#[test]
fn worst_orders() {
    let (engines, _lock) = engines();
    for e in engines {
        [1, 100].into_iter().for_each(|k| check_orders(e, 10_007, k));
    }
}

/// More lists than 65,535 groups in one dimension.
#[test]
fn folds_many_queries() {
    let (engines, _lock) = engines();
    for e in engines {
        let (nq, n, k) = (65_537, 3, 2);
        let scores = random(nq * n, 5);
        let (t, scratch) = (up(e, &[nq, n], &scores), Scratch::new(e, nq, n, k).unwrap());
        let (ls, li) = (out(e, &[nq, k]), e.tensor("ids", &[nq, k], DType::U32).unwrap());
        plan(e, |p| {
            kernel::clear(p, &ls, &li)?;
            kernel::select_block(p, &t, nq, n, 0, 0, &ls, &li, &scratch)
        })
        .submit(e)
        .unwrap();
        check_lists(&e.read::<f32>(&ls).unwrap(), &e.read::<u32>(&li).unwrap(), &scores, k, n, "folded");
    }
}

/// The whole search over shards with duplicated rows and id offsets: exact given the kernel's own scores.
#[test]
fn searches_shards() {
    let (engines, _lock) = engines();
    for e in engines {
        // The last: several blocks of 128 queries; and k so large that queries and rows are cut.
        for (nq, shards, d, k) in [
            (1, vec![50], 8, 60),
            (5, vec![1000, 1, 500], 16, 10),
            (130, vec![300, 200], 7, 129),
            (3, vec![70_000], 4, 5),
            (2, vec![150_000], 4, 100_000),
            // Without a matrix of scores: tiles that are not full, columns that are no fours, more queries and lists than go at once.
            (17, vec![1000, 1, 500], 7, 1),
            (40, vec![33, 20_000], 16, 17),
            (1030, vec![2000], 4, 16),
            (20, vec![150_000], 4, 32),
        ] {
            let n: usize = shards.iter().sum();
            let q = random(nq * d, 1);
            let mut x = random(n * d, 2);
            // Every third row repeats an earlier one.
            (3..n).step_by(3).for_each(|r| x.copy_within((r / 2) * d..(r / 2 + 1) * d, r * d));
            let tq = up(e, &[nq, d], &q);
            let (all, _) = up_f16(e, &[n, d], &x);
            let ts = out(e, &[nq, n]);
            plan(e, |p| score_block(p, &tq, &all, 0..nq, 0..n, &ts)).submit(e).unwrap();
            let scores: Vec<f32> = e.read(&ts).unwrap();
            let top = TopK::new(e, nq, k, *shards.iter().max().unwrap()).unwrap();
            let mut first = 0;
            let tensors: Vec<_> = shards
                .iter()
                .map(|rows| {
                    let from = first;
                    first += rows;
                    (up_f16(e, &[*rows, d], &x[from * d..first * d]).0, from as u32, *rows)
                })
                .collect();
            let got = run_twice(e, top.scores(), |p| {
                top.begin(p)?;
                tensors.iter().rev().try_for_each(|(t, first, rows)| top.add_shard(p, &tq, t, *first, *rows))
            });
            check_lists(&got, &e.read::<u32>(top.ids()).unwrap(), &scores, k, n, &format!("{nq} queries, {shards:?}, k = {k}"));
        }
    }
}

#[test]
fn refuses_with_the_reason() {
    let (e, _lock) = engine();
    let (q, x, s) = (out(e, &[4, 8]), out(e, &[10, 8]), out(e, &[4, 10]));
    let mut p = PlanBuilder::new(e);
    let top = TopK::new(e, 4, 3, 10).unwrap();
    says(top.add_shard(&mut p, &x, &x, 0, 10), "lists for 4");
    says(top.add_shard(&mut p, &q, &x, u32::MAX - 5, 10), "marks empty slots");
    let scratch = Scratch::new(e, 4, 10, 3).unwrap();
    says(kernel::select_block(&mut p, &s, 4, 11, 0, 0, top.scores(), top.ids(), &scratch), "with scratch for 4 x 10");
    says(kernel::clear(&mut p, top.ids(), top.ids()), "expected F32 and U32");
    let fused = TopK::new(e, 17, 3, 10).unwrap();
    let starts = e.upload("starts", &[2], DType::U32, &[0u32, 10]).unwrap();
    says(fused.add_grouped_shard(&mut p, &out(e, &[17, 8]), &x, 0, 10, &starts), "TopK::grouped");
    says(kernel::search_block(&mut p, &q, &x, 0..4, 0..10, 0, top.scores(), top.ids(), &scratch), "Scratch::fused");
    // As many rows as are split over segments, which take longer lists.
    let long = TopK::new(e, 1, 100, 1 << 20).unwrap();
    let scratch = Scratch::new(e, 1, 1 << 20, 100).unwrap();
    says(kernel::search_block(&mut p, &q, &x, 0..1, 0..10, 0, long.scores(), long.ids(), &scratch), "Scratch::fused");
    assert!(Scratch::fused(e, 4, 33).unwrap_err().to_string().contains("at most 32"));
    assert!(TopK::new(e, 4, 0, 10).unwrap_err().to_string().contains("must be above 0"));
    assert!(TopK::new(e, 1 << 20, 1 << 10, 10).unwrap_err().to_string().contains("fewer queries"));
}

use crate::common::*;
use crate::topk::{check_orders, check_selection, hard_scores};
use echogrid::gpu::DType;
use echogrid::kernels::topk::{Scratch, clear, select_block};
use echogrid::reference::topk_long as twin;

/// Lists after each of several blocks, of which the first does not fill them and ids do not ascend.
#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (k, blocks) in [(129, vec![(5000, 70), (0, 3001), (9000, 600)]), (1000, vec![(0, 999), (2000, 1), (1000, 1000), (4000, 5003)])]
        {
            let most = blocks.iter().map(|(_, rows)| *rows).max().unwrap();
            let scratch = Scratch::new(e, 1, most, k).unwrap();
            let (ls, li) = (out(e, &[1, k]), e.tensor("ids", &[1, k], DType::U32).unwrap());
            plan(e, |p| clear(p, &ls, &li)).submit(e).unwrap();
            let mut want = Vec::new();
            for (first, rows) in blocks {
                let scores = hard_scores(rows, u64::from(first));
                let t = up(e, &[1, rows], &scores);
                plan(e, |p| select_block(p, &t, 1, rows, first, 0, &ls, &li, &scratch)).submit(e).unwrap();
                want = twin::merge(&want, &scores, first, k);
                let (got, ids): (Vec<f32>, Vec<u32>) = (e.read(&ls).unwrap(), e.read(&li).unwrap());
                assert!(ids.iter().zip(&want).all(|(a, b)| *a == b.1), "k = {k}, from {first} on");
                assert!(got.iter().zip(&want).all(|(a, b)| *a == b.0 || a.is_nan() && b.0.is_nan()), "k = {k}, from {first} on");
            }
        }
    }
}

/// Every k around the internal sizes, and lists longer than what there is.
#[test]
fn selection_is_exact() {
    let (engines, _lock) = engines();
    for e in engines {
        let small = [129, 300, 512, 1000].into_iter().flat_map(|k| [(3, 1, k), (3, 777, k), (2, 5003, k)]);
        small
            .chain([(1, 777, 777), (1, 4097, 4096), (1, 3001, 20_000), (1, 50_000, 100_000)])
            .for_each(|(nq, n, k)| check_selection(e, nq, n, k));
    }
}

/// The longer is as long as the selection by radix may be on a software adapter, whose loops end after 65,535 turns.
#[test]
fn worst_orders() {
    let (engines, _lock) = engines();
    for e in engines {
        [(10_007, 200), (263_000, 1000)].into_iter().for_each(|(n, k)| check_orders(e, n, k));
    }
}

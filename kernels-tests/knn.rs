use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder, Tensor};
use echogrid::kernels::edges::{Csr, EMPTY, Edges};
use echogrid::kernels::knn::{self as kernel, relative};
use echogrid::reference::knn as twin;

struct Got {
    /// Offsets, sources, targets, offsets by source, edges by source.
    lists: [Vec<u32>; 5],
    delta: Vec<f32>,
}

fn run(e: &Engine, positions: &[f32], counts: &[u32], k: usize, near: usize) -> Got {
    let (batch, nodes) = (counts.len(), counts.len() * k);
    let edges = Edges::new(e, nodes, nodes, nodes * near).unwrap();
    let lists = [edges.offsets(), edges.sources(), edges.targets(), edges.back_offsets(), edges.back_edges()];
    lists.iter().for_each(|t| e.write(t, &vec![77u32; t.len()]).unwrap());
    let (tp, tc) = (up(e, &[batch, k, 2], positions), e.upload("counts", &[batch], DType::U32, counts).unwrap());
    let td = out(e, &[nodes * near, 2]);
    let delta = run_twice(e, &td, |p| kernel::knn(p, &tp, &tc, near, &edges, &td));
    Got { lists: lists.map(|t: &Tensor| e.read(t).unwrap()), delta }
}

/// The device's lists are those of `csr`, and empty behind them.
#[track_caller]
fn same(got: &Got, csr: &Csr) {
    let count = csr.counts()[2];
    let want = [csr.offsets(), csr.sources(), csr.targets(), csr.back_offsets(), csr.back_edges()];
    for (i, (got, want)) in got.lists.iter().zip(want).enumerate() {
        assert_eq!(&got[..want.len()], want, "list {i}");
        assert!(got[want.len()..].iter().all(|v| *v == EMPTY), "list {i}: slots without an edge");
    }
    assert!(got.delta[2 * count..].iter().all(|v| *v == 0.0), "slots without an edge");
}

/// Whole metres within 1 km, where squares are exact and many distances equal: the twin's edges, one for one. Moved by whole
/// metres that f32 holds, the same bits.
#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for (counts, k, near, reach) in [
        (vec![1], 1, 1, 9.0),
        (vec![5], 5, 2, 3.0),
        (vec![20, 7, 0, 1, 2, 20], 20, 5, 4.0),
        (vec![70, 33], 70, 9, 500.0),
        (vec![90, 4], 90, 20, 6.0),
        (vec![3; 130], 3, 5, 2.0),
        (vec![12], 12, 11, 0.4),
        (vec![1000], 1024, 8, 900.0),
        // As many edges as a graph may have.
        (vec![4096], 4096, 32, 900.0),
    ] {
        let places: Vec<f32> = random(counts.len() * k * 2, 5).iter().map(|v| (v * reach).round()).collect();
        let moved: Vec<f32> = places.chunks(2).flat_map(|p| [p[0] + 4_000_000.0, p[1] - 300_000.0]).collect();
        let csr = twin::knn(&f64s(&places), &counts, k, near);
        for e in engines {
            let got = run(e, &places, &counts, k, near);
            same(&got, &csr);
            for (slot, (s, t)) in csr.sources().iter().zip(csr.targets()).enumerate() {
                for axis in 0..2 {
                    assert_eq!(got.delta[2 * slot + axis], places[*s as usize * 2 + axis] - places[*t as usize * 2 + axis]);
                }
            }
            let again = run(e, &moved, &counts, k, near);
            assert!(again.lists == got.lists && again.delta == got.delta, "moved");
        }
    }
}

/// Anywhere: neighbours come in the order of their distances, and nobody nearer is left out, but for 3 roundings of squared distances.
#[test]
fn nearest_of_any_places() {
    let (e, _lock) = engine();
    let (k, near) = (200, 6);
    let places: Vec<f32> = random(2 * k, 8).iter().map(|v| v * 1e4).collect();
    let got = run(e, &places, &[k as u32], k, near);
    let squared =
        |a: usize, b: usize| (0..2).map(|x| f64::from(places[2 * a + x]) - f64::from(places[2 * b + x])).map(|d| d * d).sum::<f64>();
    for i in 0..k {
        let mine: Vec<usize> = got.lists[1][i * near..][..near].iter().map(|s| *s as usize).collect();
        let last = squared(i, mine[near - 1]);
        assert!(mine.windows(2).all(|w| squared(i, w[0]) <= squared(i, w[1]) * (1.0 + 6.0 * EPS)));
        assert!((0..k).filter(|j| *j != i && !mine.contains(j)).all(|j| squared(i, j) >= last * (1.0 - 6.0 * EPS)));
    }
}

/// All in one place: the lower numbers win, and are the source of nearly every edge. A place that is no number comes last.
#[test]
fn ties_and_odd_floats() {
    let (engines, _lock) = engines();
    for e in engines {
        let got = run(e, &vec![3.5; 600], &[300], 300, 4);
        same(&got, &twin::knn(&vec![3.5; 600], &[300], 300, 4));
        let mut places: Vec<f32> = (0..20).map(|i| (i * i) as f32).collect();
        (places[6], places[11]) = (f32::NAN, f32::INFINITY);
        let got = run(e, &places, &[10], 10, 7);
        same(&got, &twin::knn(&f64s(&places), &[10], 10, 7));
    }
}

/// More than 65,535 groups of 8 nodes of a graph, and of 64 nodes of any: graphs of two, each the other's neighbour.
#[test]
fn folded_groups() {
    let (engines, _lock) = engines();
    for (e, batch) in engines.into_iter().zip([65_537, 32 * 65_536 + 1]) {
        let got = run(e, &random(batch * 4, 1), &vec![2; batch], 2, 1);
        let other = |i: u32| i ^ 1;
        let numbered = |list: &[u32], f: &dyn Fn(u32) -> u32| list.iter().enumerate().all(|(i, v)| *v == f(i as u32));
        assert!(numbered(&got.lists[0], &|i| i) && numbered(&got.lists[1], &other) && numbered(&got.lists[2], &|i| i));
        assert!(numbered(&got.lists[3], &|i| i) && numbered(&got.lists[4], &other));
    }
}

/// Map coordinates lose nothing that matters once they are relative to a graph's first place.
#[test]
fn relative_places() {
    let graph: Vec<[f64; 2]> = (0..4).map(|i| [412_345.678 + 10.24 * f64::from(i), 5_123_456.789 - 5_000.0 * f64::from(i)]).collect();
    let (places, counts) = relative(&[&graph, &graph[..1]], 4).unwrap();
    assert_eq!(counts, [4, 1]);
    for i in 0..4 {
        assert!(
            (f64::from(places[2 * i]) - 10.24 * i as f64).abs() < 5e-4 && (f64::from(places[2 * i + 1]) + 5_000.0 * i as f64).abs() < 5e-4
        );
    }
    assert!(places[8..].iter().all(|v| *v == 0.0));
    assert!(relative(&[&graph], 3).unwrap_err().to_string().contains("4 positions, room for 3"));
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let counts = e.upload("counts", &[2], DType::U32, &[3u32; 2]).unwrap();
    let edges = Edges::new(e, 6, 6, 12).unwrap();
    let mut says = |places: &[usize], near: usize, delta: usize, word: &str| {
        let text = kernel::knn(&mut p, &out(e, places), &counts, near, &edges, &out(e, &[delta, 2])).unwrap_err().to_string();
        assert!(text.contains(word), "{text}");
    };
    says(&[2, 3], 2, 12, "must be [B, K, 2]");
    says(&[2, 3, 2], 0, 12, "0 neighbours");
    says(&[2, 3, 2], 3, 18, "18 edges of 6 nodes, room for 12");
    says(&[2, 3, 2], 2, 11, "`delta` must be F32 [12, 2]");
    says(&[3, 3, 2], 2, 12, "`counts` must be U32 [3]");
    says(&[2, 4096, 2], 33, 12, "is 135168, over this device's limit of 131072");
}

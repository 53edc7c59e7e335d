use crate::common::*;
use crate::message::{graph, graphs, most, spare};
use echogrid::gpu::PlanBuilder;
use echogrid::kernels::edges::Csr;
use echogrid::kernels::message::SLICE;
use echogrid::kernels::segment_softmax as kernel;
use echogrid::reference::segment_softmax as twin;

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for csr in graphs() {
            let ([_, _, count], edges) = (csr.counts(), spare(e, &csr));
            let slots = count + 7;
            // Terms and partial sums that one sum walks.
            let walk = most(&csr).min(SLICE as f64) + (count / SLICE + 2) as f64;
            for heads in [1, 3, 4] {
                let all = |v: Vec<f32>| [v, vec![50.0; 7 * heads]].concat();
                let s: Vec<f32> = random(count * heads, 1).iter().map(|v| v * 4.0).collect();
                let dw = random(count * heads, 2);
                let (ts, tdw) = (up(e, &[slots, heads], &all(s.clone())), up(e, &[slots, heads], &all(dw.clone())));
                let (tw, tds) = (out(e, &[slots, heads]), out(e, &[slots, heads]));
                // exp of -8 to 0: WGSL allows 3 + 2 * 8 units in the last place, the difference's rounding is 8 more: 46 roundings in the
                // term, in the terms of the sum and in a slice's factor, then the sum's own, the inverse (5) and two products.
                let w = run_twice(e, &tw, |p| kernel::forward(p, &edges, &ts, &tw));
                close(&w[..count * heads], &twin::forward(&csr, &f64s(&s), heads), 0.0, (3.0 * 46.0 + walk + 7.0) * EPS);
                assert!(w[count * heads..].iter().all(|v| *v == 0.0), "slots without an edge");
                // The sum of w dw, at most 1 and a little in magnitude, as is that of its terms; then a difference of at most 2 and a product.
                let ds = run_twice(e, &tds, |p| kernel::backward(p, &edges, &tw, &tdw, &tds));
                let want = twin::backward(&csr, &f64s(&w[..count * heads]), &f64s(&dw), heads);
                close(&ds[..count * heads], &want, (walk + 8.0) * EPS, 0.0);
                assert!(ds[count * heads..].iter().all(|v| *v == 0.0), "slots without an edge");
            }
        }
    }
}

/// A weighted sum of sines against central differences in f64.
#[test]
fn twin_gradient_equals_finite_differences() {
    let csr = graph(&[3, 0, 1, 4], 5, 2);
    let (s, c) = (f64s(&random(16, 3)), f64s(&random(16, 4)));
    let loss = |s: &[f64]| twin::forward(&csr, s, 2).iter().zip(&c).map(|(w, c)| (w * c).sin()).sum::<f64>();
    let w = twin::forward(&csr, &s, 2);
    let dw: Vec<f64> = w.iter().zip(&c).map(|(w, c)| (w * c).cos() * c).collect();
    let nudge = |i: usize, d: f64| s.iter().enumerate().map(|(k, a)| if k == i { a + d } else { *a }).collect::<Vec<_>>();
    for (i, g) in twin::backward(&csr, &w, &dw, 2).iter().enumerate() {
        assert!((g - (loss(&nudge(i, 1e-6)) - loss(&nudge(i, -1e-6))) / 2e-6).abs() < 1e-8, "ds[{i}]");
    }
}

/// -infinity masks an edge, all edges of a target too; large scores do not overflow.
#[test]
fn odd_floats() {
    let (engines, _lock) = engines();
    for e in engines {
        let edges = Csr::new(3, 1, &[[0, 0], [0, 0], [0, 1], [0, 1], [0, 2], [0, 2]]).unwrap().upload(e).unwrap();
        let low = f32::NEG_INFINITY;
        let (s, w) = (up(e, &[6, 1], &[low, 1.0, low, low, 3e38, -3e38]), out(e, &[6, 1]));
        assert_eq!(run_twice(e, &w, |p| kernel::forward(p, &edges, &s, &w)), [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
    }
}

/// Nine million edges into one target: they weigh the same.
#[test]
fn a_target_of_all() {
    let (engines, _lock) = engines();
    let count = 9_000_001;
    let csr = Csr::new(2, 1, &vec![[0, 1]; count]).unwrap();
    for e in engines {
        let edges = csr.upload(e).unwrap();
        let (s, w) = (up(e, &[count, 1], &vec![0.5; count]), out(e, &[count, 1]));
        // exp of 0, in the term, in the slices' sums and in their factors: 3 units in the last place each; ones add up exactly.
        let want = vec![1.0 / count as f64; count];
        close(&run_twice(e, &w, |p| kernel::forward(p, &edges, &s, &w)), &want, 0.0, (3.0 * 6.0 + 7.0) * EPS);
    }
}

/// More than 65,535 groups of 64 segments and edges: alone, every edge weighs 1.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let n = 65_536 * 64 + 1;
    let edges = Csr::new(n, 1, &(0..n as u32).map(|i| [0, i]).collect::<Vec<_>>()).unwrap().upload(e).unwrap();
    let (s, w, ds) = (up(e, &[n, 1], &random(n, 6)), out(e, &[n, 1]), out(e, &[n, 1]));
    assert!(run_twice(e, &w, |p| kernel::forward(p, &edges, &s, &w)).iter().all(|v| (v - 1.0).abs() < 1e-6));
    assert!(run_twice(e, &ds, |p| kernel::backward(p, &edges, &w, &s, &ds)).iter().all(|v| v.abs() < 1e-6));
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let edges = Csr::new(2, 3, &[[0, 1], [2, 1]]).unwrap().upload(e).unwrap();
    let err = kernel::forward(&mut p, &edges, &out(e, &[3, 2]), &out(e, &[3, 2])).unwrap_err();
    assert!(err.to_string().contains("3 rows for 2 slots"), "{err}");
    let err = kernel::forward(&mut p, &edges, &out(e, &[2, 2]), &out(e, &[2, 3])).unwrap_err();
    assert!(err.to_string().contains("`weights` must be F32 [2, 2]"), "{err}");
}

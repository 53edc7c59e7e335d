use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder, Tensor};
use echogrid::kernels::edges::{Csr, EMPTY, Edges, End};
use echogrid::kernels::message::{self as kernel, AttendBackward, Reduce, SLICE};
use echogrid::reference::message as twin;

const REDUCES: [Reduce; 3] = [Reduce::Sum, Reduce::Mean, Reduce::Max];

/// Edges with these numbers into each target, in a shuffled list, from sources drawn at random.
pub fn graph(degrees: &[usize], sources: usize, seed: u64) -> Csr {
    let total = degrees.iter().sum();
    let pick: Vec<u32> = random(total, seed).iter().map(|v| (((v + 1.0) / 2.0) * sources as f32) as u32).collect();
    let mut edges: Vec<[u32; 2]> = degrees.iter().enumerate().flat_map(|(t, d)| vec![[0, t as u32]; *d]).collect();
    edges.iter_mut().zip(pick).for_each(|(e, s)| e[0] = s.min(sources as u32 - 1));
    let keys = random(total, seed + 1);
    let mut order: Vec<usize> = (0..total).collect();
    order.sort_by(|a, b| keys[*a].total_cmp(&keys[*b]));
    Csr::new(degrees.len(), sources, &order.iter().map(|i| edges[*i]).collect::<Vec<_>>()).unwrap()
}

/// The same edges the other way round.
pub fn mirror(csr: &Csr) -> Csr {
    let [n, m, _] = csr.counts();
    Csr::new(m, n, &csr.sources().iter().zip(csr.targets()).map(|(s, t)| [*t, *s]).collect::<Vec<_>>()).unwrap()
}

/// No edge, one, a few, rows on both sides of the length of a slice, several hubs in one slice, and the same with hubs for sources.
pub fn graphs() -> Vec<Csr> {
    let hubs = graph(&[0, 3, SLICE, SLICE + 1, 5, 0, 2 * SLICE, 700, 1, 515, 513], 37, 3);
    let big = graph(&[4 * SLICE, 0, 1], 7, 4);
    vec![
        graph(&[0], 1, 1),
        graph(&[1], 1, 1),
        graph(&[3, 0, 1, 7, 0, 2, 5], 5, 2),
        graph(&[2; 70], 9, 5),
        Csr::union(&[graph(&[1, 2], 3, 6), graph(&[0, 4, 1], 2, 7)]).unwrap(),
        mirror(&hubs),
        hubs,
        mirror(&big),
        big,
    ]
}

/// Most edges at one target or source.
pub fn most(csr: &Csr) -> f64 {
    let widest = |offsets: &[u32]| offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap();
    f64::from(widest(csr.offsets()).max(widest(csr.back_offsets())))
}

/// The edges on the device with free slots behind them.
pub fn spare(e: &Engine, csr: &Csr) -> Edges {
    let [n, m, edges] = csr.counts();
    let device = Edges::new(e, n, m, edges + 7).unwrap();
    device.write(e, csr).unwrap();
    device
}

/// Values for all slots: random where there are edges, and behind them what would show if it were used.
fn with_spare(values: &[f32], width: usize) -> Vec<f32> {
    [values, &vec![1e30; 7 * width]].concat()
}

/// A sum of n terms of at most 1: n roundings of partial sums, which as sums of n random terms stay below 4 sqrt(n).
fn sum_bound(n: f64) -> f64 {
    4.0 * EPS * n.max(1.0).powf(1.5)
}

fn winners(e: &Engine, shape: &[usize]) -> Tensor {
    e.tensor("winner", shape, DType::U32).unwrap()
}

#[test]
fn reductions_equal_their_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for csr in graphs() {
            let ([n, m, _], d, edges) = (csr.counts(), most(&csr), spare(e, &csr));
            for f in [1, 4, 7, 20, 65, 72] {
                let (x, dy) = (random(m * f, 1), random(n * f, 2));
                let (tx, tdy) = (up(e, &[m, f], &x), up(e, &[n, f], &dy));
                let (ty, tdx, tw) = (out(e, &[n, f]), out(e, &[m, f]), winners(e, &[n, f]));
                for kind in REDUCES {
                    let w = (kind == Reduce::Max).then_some(&tw);
                    let (want, won) = twin::forward(kind, &csr, &f64s(&x), f);
                    // The mean is a sum over its number, and a division is off by 2.5 units in the last place.
                    let bound = match kind {
                        Reduce::Sum => sum_bound(d),
                        Reduce::Mean => 4.0 * EPS * d.sqrt() + 5.0 * EPS,
                        Reduce::Max => 0.0,
                    };
                    close(&run_twice(e, &ty, |p| kernel::forward(p, kind, &edges, &tx, &ty, w)), &want, bound, 0.0);
                    if kind == Reduce::Max {
                        assert_eq!(e.read::<u32>(&tw).unwrap(), won);
                    }
                    // Shares of a mean are off by 5 roundings, and one more for the product.
                    let bound = if kind == Reduce::Mean { sum_bound(d) + 6.0 * d * EPS } else { sum_bound(d) };
                    let want = twin::backward(kind, &csr, &f64s(&dy), f, &won);
                    close(&run_twice(e, &tdx, |p| kernel::backward(p, kind, &edges, &tdy, w, &tdx)), &want, bound, 0.0);
                }
            }
        }
    }
}

#[test]
fn attention_equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for csr in graphs() {
            let ([n, m, count], d, edges) = (csr.counts(), most(&csr), spare(e, &csr));
            let slots = count + 7;
            for (heads, head) in [(1, 1), (3, 5), (1, 65), (4, 4), (2, 8), (5, 16)] {
                let f = heads * head;
                let (x, w, z, dy) = (random(m * f, 1), random(count * heads, 2), random(count * f, 3), random(n * f, 4));
                let (tx, tdy) = (up(e, &[m, heads, head], &x), up(e, &[n, heads, head], &dy));
                let (tw, tz) = (up(e, &[slots, heads], &with_spare(&w, heads)), up(e, &[slots, f], &with_spare(&z, f)));
                let (ty, tdx, tdw, tdz) =
                    (out(e, &[n, heads, head]), out(e, &[m, f]), out(e, &[slots, heads]), out(e, &[slots, heads, head]));
                let (x, w, z, dy) = (f64s(&x), f64s(&w), f64s(&z), f64s(&dy));
                for with in [false, true] {
                    let (z, tz) = (with.then_some(z.as_slice()), with.then_some(&tz));
                    // Terms of at most 2, two roundings each.
                    let bound = 2.0 * sum_bound(d) + 4.0 * d * EPS;
                    let want = twin::attend(&csr, &x, &w, z, f, heads);
                    close(&run_twice(e, &ty, |p| kernel::attend(p, &edges, &tx, &tw, tz, &ty)), &want, bound, 0.0);
                    let (dx, dw, dz) = twin::attend_backward(&csr, &x, &w, z, &dy, f, heads);
                    let io = AttendBackward { x: &tx, w: &tw, z: tz, dy: &tdy, dx: Some(&tdx), dw: Some(&tdw), dz: with.then_some(&tdz) };
                    close(&run_twice(e, &tdx, |p| kernel::attend_backward(p, &edges, &io)), &dx, bound, 0.0);
                    let got = run_twice(e, &tdw, |p| kernel::attend_backward(p, &edges, &io));
                    // D terms of at most 2, two roundings each.
                    let h = head as f64;
                    close(&got[..count * heads], &dw, 2.0 * sum_bound(h) + 4.0 * h * EPS, 0.0);
                    assert!(got[count * heads..].iter().all(|v| *v == 0.0), "slots without an edge");
                    if with {
                        let got = run_twice(e, &tdz, |p| kernel::attend_backward(p, &edges, &io));
                        close(&got[..count * f], &dz, EPS, 0.0);
                        assert!(got[count * f..].iter().all(|v| *v == 0.0), "slots without an edge");
                    }
                }
            }
        }
    }
}

#[test]
fn sums_along_edges_equal_their_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for csr in graphs() {
            let ([n, m, count], edges) = (csr.counts(), spare(e, &csr));
            for f in [1, 4, 20, 65] {
                let (to, x, z, dy) = (random(n * f, 1), random(m * f, 2), random(count * f, 3), random(count * f, 4));
                let wide = |v: &[f32]| up(e, &[count + 7, f], &with_spare(v, f));
                let (tt, tx, tz, tdy) = (up(e, &[n, f], &to), up(e, &[m, f], &x), wide(&z), wide(&dy));
                let ty = out(e, &[count + 7, f]);
                let y = run_twice(e, &ty, |p| kernel::edge_sum(p, &edges, &tt, &tx, &tz, 0.25, &ty));
                // Two sums of three numbers below 1.
                close(&y[..count * f], &twin::edge_sum(&csr, &f64s(&to), &f64s(&x), &f64s(&z), 0.25, f), 5.0 * EPS, 0.0);
                let tdz = out(e, &[count + 7, f]);
                let dz = run_twice(e, &tdz, |p| kernel::edge_sum_backward(p, &edges, &ty, &tdy, 0.25, &tdz));
                // A quarter is exact.
                close(&dz[..count * f], &twin::edge_sum_backward(&f64s(&y), &f64s(&dy), 0.25), 0.0, 0.0);
                assert!([y, dz].iter().all(|v| v[count * f..].iter().all(|v| *v == 0.0)), "slots without an edge");
            }
        }
    }
}

#[test]
fn gathering_equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for csr in graphs() {
            let ([n, m, count], d, edges) = (csr.counts(), most(&csr), spare(e, &csr));
            for (end, rows) in [(End::Source, m), (End::Target, n)] {
                for f in [1, 4, 20, 65] {
                    let (x, dy) = (random(rows * f, 1), random(count * f, 2));
                    let (tx, tdy) = (up(e, &[rows, f], &x), up(e, &[count + 7, f], &with_spare(&dy, f)));
                    let (ty, tdx) = (out(e, &[count + 7, f]), out(e, &[rows, f]));
                    let got = run_twice(e, &ty, |p| kernel::gather(p, &edges, end, &tx, &ty));
                    close(&got[..count * f], &twin::gather(&csr, end, &f64s(&x), f), 0.0, 0.0);
                    assert!(got[count * f..].iter().all(|v| *v == 0.0), "slots without an edge");
                    let want = twin::gather_backward(&csr, end, &f64s(&dy), f);
                    close(&run_twice(e, &tdx, |p| kernel::gather_backward(p, &edges, end, &tdy, &tdx)), &want, sum_bound(d), 0.0);
                }
            }
        }
    }
}

/// <dy, A x> = <A' dy, x> for all that is linear in x: 11 rows by 37 of 8 features, at most 2,049 edges a row.
#[test]
fn adjoint() {
    let (e, _lock) = engine();
    let csr = graphs().remove(6);
    let ([n, m, count], d, f, heads) = (csr.counts(), most(&csr), 8, 2);
    let edges = csr.upload(e).unwrap();
    let (x, dy, de, w) = (random(m * f, 1), random(n * f, 2), random(count * f, 3), random(count * heads, 4));
    let (tx, tdy, tde, tw) = (up(e, &[m, f], &x), up(e, &[n, f], &dy), up(e, &[count, f], &de), up(e, &[count, heads], &w));
    let (ty, tdx, te) = (out(e, &[n, f]), out(e, &[m, f]), out(e, &[count, f]));
    // Every product of a value within the bounds above with one of at most 1; scaled by how many there are.
    let bound = ((n + m) * f) as f64 * (2.0 * sum_bound(d) + 6.0 * d * EPS);
    for kind in [Reduce::Sum, Reduce::Mean] {
        let y = run_twice(e, &ty, |p| kernel::forward(p, kind, &edges, &tx, &ty, None));
        let dx = run_twice(e, &tdx, |p| kernel::backward(p, kind, &edges, &tdy, None, &tdx));
        assert!((dot(&y, &dy) - dot(&dx, &x)).abs() < bound, "{kind:?}");
    }
    let y = run_twice(e, &ty, |p| kernel::attend(p, &edges, &tx, &tw, None, &ty));
    let io = AttendBackward { x: &tx, w: &tw, z: None, dy: &tdy, dx: Some(&tdx), dw: None, dz: None };
    let dx = run_twice(e, &tdx, |p| kernel::attend_backward(p, &edges, &io));
    assert!((dot(&y, &dy) - dot(&dx, &x)).abs() < bound);
    let y = run_twice(e, &te, |p| kernel::gather(p, &edges, End::Source, &tx, &te));
    let dx = run_twice(e, &tdx, |p| kernel::gather_backward(p, &edges, End::Source, &tde, &tdx));
    assert!((dot(&y, &de) - dot(&dx, &x)).abs() < bound);
}

/// sin of the result against central differences in f64.
#[test]
fn twin_gradients_equal_finite_differences() {
    let csr = graph(&[3, 0, 1, 4], 5, 2);
    let ([_, m, count], f, heads) = (csr.counts(), 4, 2);
    let (x, w, z) = (f64s(&random(m * f, 1)), f64s(&random(count * heads, 2)), f64s(&random(count * f, 3)));
    let check = |name: &str, at: &[f64], gradient: &[f64], y: &dyn Fn(&[f64]) -> Vec<f64>| {
        let loss = |v: &[f64]| y(v).iter().map(|v| v.sin()).sum::<f64>();
        let nudge = |i: usize, d: f64| at.iter().enumerate().map(|(k, a)| if k == i { a + d } else { *a }).collect::<Vec<_>>();
        for (i, g) in gradient.iter().enumerate() {
            assert!((g - (loss(&nudge(i, 1e-6)) - loss(&nudge(i, -1e-6))) / 2e-6).abs() < 1e-7, "{name}[{i}]");
        }
    };
    let cos = |y: Vec<f64>| y.iter().map(|v| v.cos()).collect::<Vec<f64>>();
    for kind in REDUCES {
        let (y, won) = twin::forward(kind, &csr, &x, f);
        let dx = twin::backward(kind, &csr, &cos(y), f, &won);
        check(&format!("{kind:?} dx"), &x, &dx, &|x| twin::forward(kind, &csr, x, f).0);
    }
    let (dx, dw, dz) = twin::attend_backward(&csr, &x, &w, Some(&z), &cos(twin::attend(&csr, &x, &w, Some(&z), f, heads)), f, heads);
    check("attend dx", &x, &dx, &|x| twin::attend(&csr, x, &w, Some(&z), f, heads));
    check("attend dw", &w, &dw, &|w| twin::attend(&csr, &x, w, Some(&z), f, heads));
    check("attend dz", &z, &dz, &|z| twin::attend(&csr, &x, &w, Some(z), f, heads));
    let to = f64s(&random(4 * f, 4));
    let y = twin::edge_sum(&csr, &to, &x, &z, 0.2, f);
    let dz = twin::edge_sum_backward(&y, &cos(y.clone()), 0.2);
    check("edge sum dz", &z, &dz, &|z| twin::edge_sum(&csr, &to, &x, z, 0.2, f));
    check("edge sum dto", &to, &twin::gather_backward(&csr, End::Target, &dz, f), &|to| twin::edge_sum(&csr, to, &x, &z, 0.2, f));
    check("edge sum dx", &x, &twin::gather_backward(&csr, End::Source, &dz, f), &|x| twin::edge_sum(&csr, &to, x, &z, 0.2, f));
    for end in [End::Source, End::Target] {
        let x = &x[..if end == End::Source { m } else { 4 } * f];
        let dx = twin::gather_backward(&csr, end, &cos(twin::gather(&csr, end, x, f)), f);
        check("gather dx", x, &dx, &|x| twin::gather(&csr, end, x, f));
    }
}

/// More than 65,535 groups of 64 rows, edges and slices' rows: every node hears from the one opposite.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let n = 65_536 * 64 + 1;
    let csr = Csr::new(n, n, &(0..n as u32).map(|i| [n as u32 - 1 - i, i]).collect::<Vec<_>>()).unwrap();
    let edges = csr.upload(e).unwrap();
    let x = random(n, 6);
    let turned: Vec<f32> = x.iter().rev().copied().collect();
    let (tx, ty, ones) = (up(e, &[n, 1], &x), out(e, &[n, 1]), up(e, &[n, 1], &vec![1.0; n]));
    assert!(run_twice(e, &ty, |p| kernel::forward(p, Reduce::Sum, &edges, &tx, &ty, None)) == turned);
    assert!(run_twice(e, &ty, |p| kernel::gather(p, &edges, End::Source, &tx, &ty)) == turned);
    // 1 + x + 1: all above 0.
    let sums = run_twice(e, &ty, |p| kernel::edge_sum(p, &edges, &ones, &tx, &ones, 0.5, &ty));
    assert!(sums.iter().zip(&turned).all(|(s, x)| *s == 1.0 + x + 1.0));
    let io = AttendBackward { x: &tx, w: &ones, z: None, dy: &ones, dx: None, dw: Some(&ty), dz: None };
    assert!(run_twice(e, &ty, |p| kernel::attend_backward(p, &edges, &io)) == turned);
}

/// Nine million edges into one row: slices longer than `SLICE`, many of them, and no loop that turns too often for a software adapter.
#[test]
fn a_row_that_hears_all() {
    let (engines, _lock) = engines();
    let count = 9_000_001;
    let csr = Csr::new(3, 2, &(0..count).map(|i| [i % 2, 1]).collect::<Vec<_>>()).unwrap();
    for e in engines {
        let edges = csr.upload(e).unwrap();
        let (tx, ty, tdy, tdx) = (up(e, &[2, 1], &[1.0, 2.0]), out(e, &[3, 1]), up(e, &[3, 1], &[5.0, 1.0, 5.0]), out(e, &[2, 1]));
        // Whole numbers below 2^24: every sum is exact.
        assert_eq!(run_twice(e, &ty, |p| kernel::forward(p, Reduce::Sum, &edges, &tx, &ty, None)), [0.0, 13_500_001.0, 0.0]);
        assert_eq!(run_twice(e, &tdx, |p| kernel::backward(p, Reduce::Sum, &edges, &tdy, None, &tdx)), [4_500_001.0, 4_500_000.0]);
    }
}

/// Infinities and NaN stay with the rows that hear them; NaN is the greatest; -0 and 0 are equal, so the first wins.
#[test]
fn odd_floats() {
    let (e, _lock) = engine();
    let csr = Csr::new(4, 5, &[[0, 0], [1, 0], [2, 1], [3, 1], [4, 2], [0, 2]]).unwrap();
    let edges = csr.upload(e).unwrap();
    let x = [1.0, f32::NAN, -0.0, 0.0, f32::NEG_INFINITY];
    let (tx, ty, tw) = (up(e, &[5, 1], &x), out(e, &[4, 1]), winners(e, &[4, 1]));
    let y = run_twice(e, &ty, |p| kernel::forward(p, Reduce::Max, &edges, &tx, &ty, Some(&tw)));
    assert!(y[0].is_nan() && y[1..] == [0.0, 1.0, 0.0], "{y:?}");
    assert_eq!(e.read::<u32>(&tw).unwrap(), [1, 2, 5, EMPTY]);
    let y = run_twice(e, &ty, |p| kernel::forward(p, Reduce::Sum, &edges, &tx, &ty, None));
    assert!(y[0].is_nan() && y[1..] == [0.0, f32::NEG_INFINITY, 0.0], "{y:?}");
}

/// The edges change, the plan stays.
#[test]
fn rewritten_edges() {
    let (e, _lock) = engine();
    let edges = Edges::new(e, 2, 3, 4).unwrap();
    let (tx, ty) = (up(e, &[3, 1], &[1.0, 2.0, 4.0]), out(e, &[2, 1]));
    let plan = plan(e, |p| kernel::forward(p, Reduce::Sum, &edges, &tx, &ty, None));
    for (list, want) in [(vec![], [0.0, 0.0]), (vec![[0, 1], [2, 1], [1, 0]], [2.0, 5.0]), (vec![[2, 0]], [4.0, 0.0])] {
        edges.write(e, &Csr::new(2, 3, &list).unwrap()).unwrap();
        plan.submit(e).unwrap();
        assert_eq!(e.read::<f32>(&ty).unwrap(), want);
    }
    let err = edges.write(e, &Csr::new(2, 3, &[[0, 0]; 5]).unwrap()).unwrap_err().to_string();
    assert!(err.contains("5 edges from 3 to 2 rows, room for 4 edges"), "{err}");
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let edges = Csr::new(2, 3, &[[0, 1], [2, 1]]).unwrap().upload(e).unwrap();
    let (x, y, w) = (out(e, &[3, 6]), out(e, &[2, 6]), out(e, &[2, 4]));
    says(kernel::forward(&mut p, Reduce::Sum, &edges, &y, &y, None), "`x` is [2, 6], expected 3 rows");
    says(kernel::forward(&mut p, Reduce::Sum, &edges, &x, &w, None), "rows of `x` have 6 values, those of `y` 4");
    says(kernel::forward(&mut p, Reduce::Max, &edges, &x, &y, None), "winners of a maximum must be U32 [2, 6], not None");
    says(kernel::forward(&mut p, Reduce::Mean, &edges, &x, &y, Some(&winners(e, &[2, 6]))), "only a maximum has winners");
    says(kernel::attend(&mut p, &edges, &x, &w, None, &y), "rows of 6 values do not divide into 4 heads");
    says(kernel::gather(&mut p, &edges, End::Target, &x, &y), "`x` is [3, 6], expected 2 rows");
    let z = out(e, &[2, 6]);
    says(kernel::edge_sum(&mut p, &edges, &x, &x, &z, 0.2, &out(e, &[2, 6])), "`to` is [3, 6], expected 2 rows");
    says(kernel::edge_sum(&mut p, &edges, &y, &x, &z, 0.0, &out(e, &[2, 6])), "the slope must be above 0, not 0");
    says(kernel::forward(&mut p, Reduce::Sum, &edges, &winners(e, &[3, 6]), &y, None), "expected F32");
    let short = Edges::from_tensors(
        [edges.offsets(), edges.sources(), edges.offsets(), edges.back_offsets(), edges.back_edges()].map(Clone::clone),
    );
    assert!(short.unwrap_err().to_string().contains("`targets` must be U32 [2]"));
}

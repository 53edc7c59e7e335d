use crate::common::*;
use echogrid::gpu::{Engine, PlanBuilder, Tensor};
use echogrid::kernels::quantize::{CANDIDATES, Quantized, TwoPass, bounds_block, quantize};
use echogrid::kernels::topk::{EMPTY, TopK};
use echogrid::reference::quantize as twin;

/// Rows on the device in both types, with what they hold.
fn both(e: &Engine, n: usize, d: usize, rows: &[f32]) -> [(Tensor, Vec<f32>); 2] {
    [(up(e, &[n, d], rows), rows.to_vec()), up_f16(e, &[n, d], rows)]
}

/// The whole numbers of a row, out of the shader's order.
fn unpacked(words: &[u32], d: usize, row: usize) -> Vec<i32> {
    let chunks = d.div_ceil(16);
    let at = |c: usize| ((row / 8 * chunks + c / 16) * 8 + row % 8) * 4 + c % 16 / 4;
    (0..d).map(|c| i32::from((words[at(c)] >> (8 * (c % 4))) as u8 as i8)).collect()
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (n, d) in [(1, 1), (3, 16), (65, 17), (130, 100), (7, 256)] {
            let mut rows = random(n * d, 1);
            // A row of zeros, one of numbers whose squares are nothing in f32, and one with a single value.
            for (row, factor) in [(0, 0.0), (1, 1e-35), (2, 1e4)].into_iter().filter(|(r, _)| *r < n) {
                rows[row * d..(row + 1) * d].iter_mut().for_each(|v| *v *= factor);
            }
            for (x, rows) in both(e, n, d, &rows) {
                let q = Quantized::new(e, n, d).unwrap();
                let stats = run_twice(e, q.stats(), |p| quantize(p, &x, &q));
                let words: Vec<u32> = e.read(q.packed()).unwrap();
                for (r, (row, stats)) in rows.chunks(d).zip(stats.chunks(4)).enumerate() {
                    let row = f64s(row);
                    // What lies in the middle between two whole numbers may go either way.
                    let (want, own) = (twin::quantize(&row), unpacked(&words, d, r));
                    let scale = f64::from(stats[0]);
                    assert!((scale - want.scale).abs() <= 2.0 * EPS * want.scale, "row {r} of {n} x {d}: {scale} for {}", want.scale);
                    for ((v, w), got) in row.iter().zip(&want.whole).zip(&own) {
                        assert!(got == w || (got - w).abs() == 1 && ((v / want.scale).fract().abs() - 0.5).abs() < 1e-4, "{v}: {got}, {w}");
                    }
                    let own = twin::of(&row, own, scale);
                    let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
                    assert!((f64::from(stats[2]) - own.norm).abs() <= 1e-5 * length, "{} for {}", stats[2], own.norm);
                    // Never below but for rounding; of what is tiny its greatest value is taken for all.
                    let error = f64::from(stats[1]);
                    let most = if length < 1e-20 { length * (d as f64).sqrt() * 1.01 } else { own.error + 1e-5 * length };
                    assert!(error >= own.error - 1e-6 * length && error <= most, "{error} for {}", own.error);
                }
            }
        }
    }
}

/// No product is above its bound, and no bound further above it than twice what quantisation can do.
#[test]
fn bounds_hold() {
    let (engines, _lock) = engines();
    for e in engines {
        for (nq, n, d) in [(1, 70, 256), (3, 129, 33), (9, 64, 16), (70, 5, 7)] {
            let (q, mut x) = (random(nq * d, 1), random(n * d, 2));
            // A copy of a query, and its opposite: the greatest and the least that a product can be.
            x[..d].copy_from_slice(&q[..d]);
            x[d..2 * d].iter_mut().zip(&q).for_each(|(v, w)| *v = -w);
            let tq = up(e, &[nq, d], &q);
            // Numbers whose squares are too small or too large for f32, as f16 does not have them.
            let far = [1e-25, 1e-18, 1e19, 1e30].map(|factor| {
                let x: Vec<f32> = x.iter().map(|v| v * factor).collect();
                (up(e, &[n, d], &x), x)
            });
            for (tx, x) in both(e, n, d, &x).into_iter().chain(far) {
                let (pq, px) = (Quantized::new(e, nq, d).unwrap(), Quantized::new(e, n, d).unwrap());
                for (q0, x0) in [(0, 0), (nq / 2, n / 3)] {
                    let scores = out(e, &[nq - q0, n - x0]);
                    let got = run_twice(e, &scores, |p| {
                        quantize(p, &tq, &pq)?;
                        quantize(p, &tx, &px)?;
                        bounds_block(p, &pq, &px, q0..nq, x0..n, &scores)
                    });
                    for (i, bound) in got.iter().enumerate() {
                        let (a, b) = (&q[(q0 + i / (n - x0)) * d..][..d], &x[(x0 + i % (n - x0)) * d..][..d]);
                        let (bound, product) = (f64::from(*bound), dot(a, b));
                        let (a, b) = (twin::quantize(&f64s(a)), twin::quantize(&f64s(b)));
                        let off = a.norm * b.error + a.error * b.norm + a.error * b.error;
                        assert!(bound >= product, "{bound} below {product}");
                        assert!(bound <= product + 2.0 * off + 1e-3 * a.norm * b.norm, "{bound} for {product}, {off} lost");
                    }
                }
            }
        }
    }
}

/// Unit rows as a database has them.
fn units(n: usize, d: usize, seed: u64) -> Vec<f32> {
    let mut all = random(n * d, seed);
    for row in all.chunks_mut(d) {
        let length = dot(row, row).sqrt() as f32;
        row.iter_mut().for_each(|v| *v /= length);
    }
    all
}

/// Over several shards in both types: where a list is said to be whole it is that of one pass; and where rows lie too close together for bytes to
/// tell them apart, it is not said.
#[test]
fn what_is_said_to_be_whole_is() {
    let (engines, _lock) = engines();
    for e in engines {
        for (nq, k, shards, close) in [
            (1, 10, vec![3000, 1], false),
            (5, 64, vec![700, 2100, 64], false),
            (3, 5, vec![9], false),
            (4, 10, vec![2000, 2000], true),
            (2, 1, vec![CANDIDATES], true),
        ] {
            let (d, n) = (72, shards.iter().sum::<usize>());
            let (q, mut x) = (units(nq, d, 3), units(n, d, 4));
            if close {
                // All but the same row.
                let one = x[..d].to_vec();
                x.iter_mut().enumerate().for_each(|(i, v)| *v = 1e-5 * *v + one[i % d]);
            }
            let tq = up(e, &[nq, d], &q);
            for half in [0, 1] {
                let mut first = 0;
                let parts: Vec<(u32, Tensor, Quantized)> = shards
                    .iter()
                    .map(|rows| {
                        // Room for more rows, which do not count.
                        let mut own = x[first * d..(first + rows) * d].to_vec();
                        own.resize((rows + 70) * d, 9.0);
                        let [full, halves] = both(e, rows + 70, d, &own);
                        first += rows;
                        let x = if half == 1 { halves.0 } else { full.0 };
                        let packed = Quantized::new(e, *rows, d).unwrap();
                        plan(e, |p| quantize(p, &x, &packed)).submit(e).unwrap();
                        ((first - rows) as u32, x, packed)
                    })
                    .collect();
                let (one, two) = (TopK::new(e, nq, k, 1000).unwrap(), TwoPass::new(e, nq, d, k, 1000).unwrap());
                let got = run_twice(e, two.scores(), |p| {
                    two.begin(p, &tq)?;
                    parts.iter().rev().try_for_each(|(first, _, packed)| two.first_pass(p, packed, *first))?;
                    parts.iter().zip(&shards).rev().try_for_each(|((first, x, _), rows)| two.second_pass(p, &tq, x, *first, *rows))?;
                    two.finish(p)
                });
                plan(e, |p| {
                    one.begin(p)?;
                    parts.iter().zip(&shards).try_for_each(|((first, x, _), rows)| one.add_shard(p, &tq, x, *first, *rows))
                })
                .submit(e)
                .unwrap();
                let (ids, whole): (Vec<u32>, Vec<u32>) = (e.read(two.ids()).unwrap(), e.read(two.whole()).unwrap());
                let (want, want_ids): (Vec<f32>, Vec<u32>) = (e.read(one.scores()).unwrap(), e.read(one.ids()).unwrap());
                for i in 0..nq {
                    let name = format!("query {i} of {nq}, k = {k}, {shards:?}");
                    assert_eq!(whole[i], u32::from(!close || n < CANDIDATES), "{name}");
                    if close {
                        continue;
                    }
                    for j in i * k..(i + 1) * k {
                        let same = (got[j] - want[j]).abs() <= 1e-5 || got[j] == want[j];
                        // Sums in another order may part what is equal but for rounding.
                        let near = |a: usize| (want[a] - want[j]).abs() <= 1e-6;
                        let swapped = (i * k..(i + 1) * k).any(|a| near(a) && want_ids[a] == ids[j]);
                        assert!(same && swapped, "{name}, place {j}: {} {} for {} {}", got[j], ids[j], want[j], want_ids[j]);
                    }
                    assert!(n >= k || ids[i * k + n..(i + 1) * k].iter().all(|id| *id == EMPTY), "{name}");
                }
            }
        }
    }
}

/// A row with an infinite value is a candidate of every query, and so is found.
#[test]
fn what_cannot_be_bounded_is_a_candidate() {
    let (e, _lock) = engine();
    let (n, d) = (1000, 32);
    let (q, mut x) = (units(1, d, 3), units(n, d, 4));
    x[500 * d] = if q[0] > 0.0 { f32::INFINITY } else { f32::NEG_INFINITY };
    let (tq, tx) = (up(e, &[1, d], &q), up(e, &[n, d], &x));
    let (packed, two) = (Quantized::new(e, n, d).unwrap(), TwoPass::new(e, 1, d, 3, n).unwrap());
    let plan = plan(e, |p| {
        quantize(p, &tx, &packed)?;
        two.begin(p, &tq)?;
        two.first_pass(p, &packed, 0)?;
        two.second_pass(p, &tq, &tx, 0, n)?;
        two.finish(p)
    });
    plan.submit(e).unwrap();
    assert_eq!(e.read::<u32>(two.ids()).unwrap()[0], 500);
    assert_eq!(e.read::<u32>(two.whole()).unwrap(), [1]);
    // Of more such rows than there are candidates nothing can be said.
    x.chunks_mut(d).step_by(3).for_each(|row| row[0] = q[0].signum() * f32::INFINITY);
    e.write(&tx, &x).unwrap();
    plan.submit(e).unwrap();
    assert_eq!(e.read::<u32>(two.whole()).unwrap(), [0]);
}

#[test]
fn refuses_with_the_reason() {
    let (e, _lock) = engine();
    let (x, rows) = (out(e, &[10, 8]), Quantized::new(e, 10, 8).unwrap());
    let mut p = PlanBuilder::new(e);
    says(Quantized::new(e, 1, 70_000).map(|_| ()), "1 to 32768 columns");
    says(quantize(&mut p, &x, &Quantized::new(e, 11, 8).unwrap()), "x [10, 8] of F32 into [11, 8]");
    says(bounds_block(&mut p, &rows, &rows, 0..5, 8..11, &out(e, &[5, 3])), "rows 8..11 of [10, 8]");
    says(TwoPass::new(e, 1, 8, 65, 10).map(|_| ()), "k at most 64");
    let two = TwoPass::new(e, 2, 8, 4, 10).unwrap();
    says(two.begin(&mut p, &x), "`queries` must be F32 [2, 8]");
    says(two.second_pass(&mut p, &out(e, &[2, 8]), &out(e, &[10, 9]), 0, 10), "10 rows of 8 columns wanted");
}

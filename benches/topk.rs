use super::common::{Bench, noise};
use crate::Result;
use crate::gpu::DType;
use crate::kernels::matmul::{Op, matmul};
use crate::kernels::topk::{Scratch, TopK, clear, score_block, select_block};
use half::f16;

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let (n, d) = (100_000, 256);
    let half: Vec<f16> = noise(n * d).iter().map(|v| f16::from_f32(*v)).collect();
    let x = bench.engine.upload("x", &[n, d], DType::F16, &half)?;
    for (nq, rows) in [(1, n), (8, n), (128, 16_384)] {
        let (q, scores) = (bench.engine.upload_f32("q", &[nq, d], &noise(nq * d))?, bench.tensor(&[nq, rows])?);
        bench.time(&format!("topk score {nq} x {rows} x {d} f16"), |p| score_block(p, &q, &x, 0, nq, 0, rows, &scores))?;
        for k in if nq == 1 { vec![10, 100, 1000] } else { vec![10, 100] } {
            let (ls, li) = (bench.tensor(&[nq, k])?, bench.engine.tensor("ids", &[nq, k], DType::U32)?);
            let scratch = Scratch::new(bench.engine, nq, rows, k)?;
            bench.time(&format!("topk select {nq} x {rows} k={k}"), |p| {
                clear(p, &ls, &li)?;
                select_block(p, &scores, nq, rows, 0, 0, &ls, &li, &scratch)
            })?;
        }
    }
    // What there would be without selection: a product, and a sort of its scores (the best 65,536 of them, in runs of as many).
    let (nq, rows) = (16, 100_000);
    let (q, x32) = (bench.engine.upload_f32("q", &[nq, d], &noise(nq * d))?, bench.engine.upload_f32("x", &[n, d], &noise(n * d))?);
    let scores = bench.tensor(&[nq, rows])?;
    let (ls, li) = (bench.tensor(&[nq, 65_536])?, bench.engine.tensor("ids", &[nq, 65_536], DType::U32)?);
    let scratch = Scratch::new(bench.engine, nq, rows, 65_536)?;
    bench.time(&format!("topk by product and sort {nq} queries x {rows} x {d}"), |p| {
        matmul(p, &q, Op::Plain, &x32, Op::Transposed, &scores)?;
        clear(p, &ls, &li)?;
        select_block(p, &scores, nq, rows, 0, 0, &ls, &li, &scratch)
    })?;
    // With a matrix of scores what is done without.
    let q = bench.engine.upload_f32("q", &[1000, d], &noise(1000 * d))?;
    let top = TopK::grouped(bench.engine, 1000, 10, n)?;
    bench.time(&format!("topk with scores 1000 queries x {n} x {d} f16 k=10"), |p| {
        top.begin(p)?;
        top.add_shard(p, &q, &x, 0, n)
    })?;
    for (nq, k) in [(1, 10), (1, 100), (1, 50_000), (64, 10), (1000, 10), (1000, 32), (1000, 100)] {
        let q = bench.engine.upload_f32("q", &[nq, d], &noise(nq * d))?;
        let top = TopK::new(bench.engine, nq, k, n)?;
        bench.time(&format!("topk {nq} queries x {n} x {d} f16 k={k}"), |p| {
            top.begin(p)?;
            top.add_shard(p, &q, &x, 0, n)
        })?;
    }
    Ok(())
}

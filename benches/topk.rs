use super::common::{Bench, noise};
use crate::Result;
use crate::gpu::DType;
use crate::kernels::topk::{Scratch, TopK, clear, select_block};
use half::f16;

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (nq, rows, k) in [(1, 100_000, 10), (1, 100_000, 100), (8, 100_000, 10), (8, 100_000, 100), (128, 16_384, 10), (128, 16_384, 100)] {
        select(bench, nq, rows, k)?;
    }
    let (n, d) = (100_000, 256);
    let half: Vec<f16> = noise(n * d).iter().map(|v| f16::from_f32(*v)).collect();
    let x = bench.engine.upload("x", &[n, d], DType::F16, &half)?;
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

/// Times the choice of the k best among scores without structure.
pub fn select(bench: &mut Bench<'_>, nq: usize, rows: usize, k: usize) -> Result<()> {
    let scores = bench.engine.upload_f32("scores", &[nq, rows], &noise(nq * rows))?;
    let (ls, li) = (bench.tensor(&[nq, k])?, bench.engine.tensor("ids", &[nq, k], DType::U32)?);
    let scratch = Scratch::new(bench.engine, nq, rows, k)?;
    bench.time(&format!("topk select {nq} x {rows} k={k}"), |p| {
        clear(p, &ls, &li)?;
        select_block(p, &scores, nq, rows, 0, 0, &ls, &li, &scratch)
    })
}

use super::common::{Bench, noise};
use crate::Result;
use crate::gpu::{DType, Tensor};
use crate::kernels::quantize::{Quantized, TwoPass, bounds_block, quantize};
use crate::kernels::topk::TopK;
use half::f16;

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let (n, d, k) = (100_000, 256, 10);
    let rows = |seed: u64| -> Vec<f16> { crate::random::signed(n * d, seed).into_iter().map(f16::from_f32).collect() };
    let x = bench.engine.upload("x", &[n, d], DType::F16, &rows(2))?;
    let packed = Quantized::new(bench.engine, n, d)?;
    bench.time(&format!("quantize {n} x {d} f16"), |p| quantize(p, &x, &packed))?;
    let q = bench.engine.upload_f32("q", &[1, d], &noise(d))?;
    let (one, scores) = (Quantized::new(bench.engine, 1, d)?, bench.tensor(&[1, n])?);
    bench.time(&format!("quantized bounds 1 x {n} x {d}"), |p| {
        quantize(p, &q, &one)?;
        bounds_block(p, &one, &packed, 0..1, 0..n, &scores)
    })?;
    // A database that no cache holds, searched whole and in two passes, in turn.
    let mut shards: Vec<(u32, Tensor, Quantized)> = Vec::new();
    for i in 0..10u32 {
        let x = bench.engine.upload("x", &[n, d], DType::F16, &rows(2 + u64::from(i)))?;
        let packed = Quantized::new(bench.engine, n, d)?;
        let mut plan = crate::gpu::PlanBuilder::new(bench.engine);
        quantize(&mut plan, &x, &packed)?;
        plan.finish().submit(bench.engine)?;
        shards.push((i * n as u32, x, packed));
    }
    for nq in [1, 8] {
        let q = bench.engine.upload_f32("q", &[nq, d], &noise(nq * d))?;
        let (whole, two) = (TopK::new(bench.engine, nq, k, n)?, TwoPass::new(bench.engine, nq, d, k, n)?);
        bench.time_items(&format!("search in one pass, {nq} x {} x {d} f16 k={k}", 10 * n), nq, "queries", |p| {
            whole.begin(p)?;
            shards.iter().try_for_each(|(first, x, _)| whole.add_shard(p, &q, x, *first, n))
        })?;
        bench.time_items(&format!("search in two passes, {nq} x {} x {d} f16 k={k}", 10 * n), nq, "queries", |p| {
            two.begin(p, &q)?;
            shards.iter().try_for_each(|(first, _, packed)| two.first_pass(p, packed, *first))?;
            shards.iter().try_for_each(|(first, x, _)| two.second_pass(p, &q, x, *first, n))?;
            two.finish(p)
        })?;
    }
    Ok(())
}

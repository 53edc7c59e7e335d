use super::common::{Bench, noise};
use crate::Result;
use crate::gpu::DType;
use crate::kernels::score::score_block;
use half::f16;

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let (n, d) = (100_000, 256);
    let half: Vec<f16> = noise(n * d).iter().map(|v| f16::from_f32(*v)).collect();
    let x = bench.engine.upload("x", &[n, d], DType::F16, &half)?;
    for (nq, rows) in [(1, n), (8, n), (128, 16_384)] {
        let (q, scores) = (bench.engine.upload_f32("q", &[nq, d], &noise(nq * d))?, bench.tensor(&[nq, rows])?);
        bench.time(&format!("score {nq} x {rows} x {d} f16"), |p| score_block(p, &q, &x, 0..nq, 0..rows, &scores))?;
    }
    Ok(())
}

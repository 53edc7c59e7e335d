use super::common::Bench;
use crate::Result;
use crate::gpu::DType;
use crate::kernels::suppress::suppress;

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let (nq, groups, views) = (128, 250, 49);
    let scores = bench.tensor(&[nq, groups * views])?;
    let words: Vec<u32> = (0..=groups as u32).map(|g| g * views as u32).collect();
    let starts = bench.engine.upload("starts", &[words.len()], DType::U32, &words)?;
    bench.time("suppress 128 x 12,250 in groups of 49", |p| suppress(p, &starts, &scores, nq, groups * views))?;
    Ok(())
}

use super::common::Bench;
use crate::Result;
use crate::gpu::DType;
use crate::kernels::peaks::{REFINED, TILE, inverse_norm, refine, select, tiles};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (q, side, w) in [(1, 413, 2), (1, 413, 16), (4, 413, 8)] {
        let shape = [q, side, side, w];
        let name = shape.map(|v| v.to_string()).join("x");
        let surface = bench.tensor(&shape)?;
        let norm = bench.engine.upload_f32("norm", &shape, &vec![1.0; surface.len()])?;
        let (scale, out) = (bench.engine.upload_f32("scale", &[q], &vec![1.0; q])?, bench.tensor(&shape)?);
        let t = side.div_ceil(TILE);
        let (best, sums) = (bench.tensor(&[q, w, t, t])?, bench.tensor(&[q, w, 3])?);
        let position = bench.engine.tensor("position", &[q, w, t, t], DType::U32)?;
        bench.time(&format!("peaks inverse norm {name}"), |p| inverse_norm(p, &norm, &norm, &scale, 0.5, 1e-4, &out))?;
        bench.time(&format!("peaks tiles {name}"), |p| tiles(p, &surface, &norm, &scale, &best, &position, &sums))?;
        for k in [1, 16] {
            let (score, fine) = (bench.tensor(&[q, w, k])?, bench.tensor(&[q, w, k, REFINED])?);
            let place = bench.engine.tensor("place", &[q, w, k], DType::U32)?;
            bench.time(&format!("peaks select {k} {name}"), |p| select(p, &best, &position, side, 10, &score, &place))?;
            bench.time(&format!("peaks refine {k} {name}"), |p| refine(p, &surface, &norm, &scale, &place, &fine))?;
        }
    }
    Ok(())
}

use super::common::Bench;
use crate::Result;
use crate::gpu::DType;
use crate::kernels::edges::Edges;
use crate::kernels::knn::knn;

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (batch, k, near) in [(64, 20, 5), (64, 256, 5), (1, 4096, 5), (1, 4096, 20)] {
        let nodes = batch * k;
        let (positions, delta) = (bench.tensor(&[batch, k, 2])?, bench.tensor(&[nodes * near, 2])?);
        let places: Vec<f32> = (0..nodes * 2).map(|i| (i as u32).wrapping_mul(2_654_435_761) as f32 / 1e6).collect();
        bench.engine.write(&positions, &places)?;
        let counts = bench.engine.upload("counts", &[batch], DType::U32, &vec![k as u32; batch])?;
        let edges = Edges::new(bench.engine, nodes, nodes, nodes * near)?;
        bench.time(&format!("knn {batch} graphs x {k} nodes, {near} nearest"), |p| knn(p, &positions, &counts, near, &edges, &delta))?;
    }
    Ok(())
}

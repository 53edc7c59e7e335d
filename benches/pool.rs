use super::common::Bench;
use crate::Result;
use crate::kernels::pool::{Pool, Window, backward, forward, generalised_mean, generalised_mean_backward, global_average};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for shape in [[8, 32, 32, 64], [64, 64, 64, 32]] {
        let name = shape.map(|v| v.to_string()).join("x");
        let (x, dx) = (bench.tensor(&shape)?, bench.tensor(&shape)?);
        for (pool, window) in [(Pool::Max, Window::square(3, 2, 1)), (Pool::Average, Window::square(2, 2, 0))] {
            let y = bench.tensor(&[shape[0], shape[1] / 2, shape[2] / 2, shape[3]])?;
            bench.time(&format!("{pool:?} pool {name}"), |p| forward(p, pool, &window, &x, &y))?;
            bench.time(&format!("{pool:?} pool backward {name}"), |p| backward(p, pool, &window, &x, &y, &dx))?;
        }
        let (y, dy, p, dp) =
            (bench.tensor(&[shape[0], shape[3]])?, bench.tensor(&[shape[0], shape[3]])?, bench.tensor(&[1])?, bench.tensor(&[1])?);
        bench.engine.write(&p, &[3.0f32])?;
        bench.time(&format!("global average {name}"), |b| global_average(b, &x, &y))?;
        bench.time(&format!("generalised mean {name}"), |b| generalised_mean(b, &x, &p, 1e-6, &y))?;
        let back = |b: &mut crate::gpu::PlanBuilder<'_>| generalised_mean_backward(b, &x, &y, &p, 1e-6, &dy, &dx, &dp, false);
        bench.time(&format!("generalised mean backward {name}"), back)?;
    }
    Ok(())
}

use super::common::Bench;
use crate::Result;
use crate::kernels::sinkhorn_online::{Cloud, Ground, Problem, Settings, Side, gradient, points};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (n, d) in [(1024, 64), (4096, 64), (4096, 2)] {
        let w = bench.engine.upload_f32("w", &[n], &vec![1.0 / n as f32; n])?;
        let (x, mean) = (bench.tensor(&[n, d])?, bench.tensor(&[d])?);
        let cloud = Cloud::new(bench.engine, Ground::SquaredEuclidean, n, d)?;
        let name = format!("{n}x{n}, {d} dimensions");
        bench.time(&format!("sinkhorn points {name}"), |p| points(p, &x, &w, Some([&mean, &mean]), &cloud))?;
        // Never met, so that no iteration leaves early.
        let settings = Settings { eps: 1.0, scaling: 0.25, tolerance: 0.0, most: u32::MAX };
        let pair = Problem::new(bench.engine, &cloud, Some(&cloud), settings)?;
        let own = Problem::new(bench.engine, &cloud, None, settings)?;
        bench.time(&format!("sinkhorn start {name}"), |p| pair.start(p))?;
        bench.time(&format!("sinkhorn iteration {name}"), |p| pair.iteration(p))?;
        bench.time(&format!("sinkhorn iteration with itself {name}"), |p| own.iteration(p))?;
        let padded = cloud.rows.shape();
        let (u, v, dx) = (bench.tensor(padded)?, bench.tensor(padded)?, bench.tensor(&[n, d])?);
        bench.time(&format!("sinkhorn barycentres {name}"), |p| pair.barycentres(p, Side::X, &u))?;
        bench.time(&format!("sinkhorn gradient {name}"), |p| gradient(p, Ground::SquaredEuclidean, &x, &w, &u, &v, &dx))?;
    }
    Ok(())
}

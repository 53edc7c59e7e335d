use super::common::Bench;
use crate::Result;
use crate::kernels::sinkhorn_small::{Other, Problems, Settings, cost, divergence, solve, transport_plan};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (p, n) in [(1, 64), (64, 64), (16, 256)] {
        let weights = bench.engine.upload_f32("w", &[p, n], &vec![1.0 / n as f32; p * n])?;
        let (x, c, f, g) = (bench.tensor(&[p, n, 32])?, bench.tensor(&[p, n, n])?, bench.tensor(&[p, n])?, bench.tensor(&[p, n])?);
        let (stats, pi, dy) = (bench.tensor(&[p, 8])?, bench.tensor(&[p, n, n])?, bench.tensor(&[1])?);
        let problems = Problems { c: &c, a: &weights, f: &f, other: Some(Other { b: &weights, g: &g }) };
        let name = format!("{p}x{n}x{n}");
        // A tolerance of 0 is never met: 20 iterations and the last.
        let settings = Settings { tolerance: 0.0, most: 20, ..Settings::new(0.1) };
        bench.time(&format!("sinkhorn cost {name}, 32 dimensions"), |p| cost(p, false, &x, &x, &c))?;
        bench.time(&format!("sinkhorn 20 iterations {name}"), |p| solve(p, &problems, &settings, &stats))?;
        let own = Problems { other: None, ..problems };
        bench.time(&format!("sinkhorn 20 iterations with itself {name}"), |p| solve(p, &own, &settings, &stats))?;
        bench.time(&format!("sinkhorn plan {name}"), |p| transport_plan(p, &problems, &settings, 1.0, &dy, &pi))?;
    }
    let (stats, all, y) = (bench.tensor(&[64, 8])?, bench.tensor(&[64, 4])?, bench.tensor(&[64])?);
    bench.time("sinkhorn debias 64", |p| divergence(p, [&stats, &stats, &stats], &all, &y))?;
    Ok(())
}

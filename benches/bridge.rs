use super::common::Bench;
use crate::Result;
use crate::gpu::DType;
use crate::kernels::bridge::{Bridge, Gradients, backward, forward, links_shape};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (n, negatives) in [(64, 1), (1024, 1), (1024, 8)] {
        let bridge = Bridge { negatives, ..Bridge::default() };
        let ([f, h, df, dh], [loss, dloss]) = (bench.tensors(&[n, 64])?, bench.tensors(&[1])?);
        let list: Vec<u32> = (0..n * negatives).map(|e| ((e / negatives + 1 + e * 37 % (n - 1)) % n) as u32).collect();
        let partners = bench.engine.upload("partners", &[n * negatives], DType::U32, &list)?;
        let (distances, terms) = (bench.tensor(&[n, 1 + negatives])?, bench.tensor(&[n])?);
        let links = bench.engine.tensor("links", &links_shape(bridge, n), DType::U32)?;
        let name = format!("{n} x 64, {negatives} negatives");
        bench.time(&format!("bridge {name}"), |p| forward(p, bridge, &f, &h, &partners, &distances, &terms, &loss))?;
        bench.time(&format!("bridge backward {name}"), |p| {
            let g = Gradients { distances: &distances, links: &links, dloss: &dloss, df: Some(&df), dh: Some(&dh) };
            backward(p, bridge, &f, &h, &partners, g)
        })?;
    }
    Ok(())
}

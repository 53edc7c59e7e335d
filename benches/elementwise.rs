use super::common::Bench;
use crate::Result;
use crate::kernels::elementwise::{accumulate, add, clamp, fill, keep_where, relu_backward, scaled_by, scaled_copy};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for shape in [[8, 32, 32, 64], [64, 64, 64, 32]] {
        let name = shape.map(|v| v.to_string()).join("x");
        let (a, b, y) = (bench.tensor(&shape)?, bench.tensor(&shape)?, bench.tensor(&shape)?);
        bench.time(&format!("add relu {name}"), |p| add(p, &a, &b, true, &y))?;
        bench.time(&format!("relu backward {name}"), |p| relu_backward(p, &a, &b, &y))?;
        bench.time(&format!("accumulate {name}"), |p| accumulate(p, &a, 0.0, &y))?;
        bench.time(&format!("scaled copy {name}"), |p| scaled_copy(p, &a, 2.0, &y))?;
        if bench.engine.caps().f16 {
            let (a, b, y) = (bench.half(&shape)?, bench.half(&shape)?, bench.half(&shape)?);
            bench.time(&format!("add relu {name} f16"), |p| add(p, &a, &b, true, &y))?;
        }
        let factor = bench.tensor(&[1])?;
        bench.time(&format!("scaled by {name}"), |p| scaled_by(p, &a, &factor, -1.0, &y))?;
        bench.time(&format!("clamp {name}"), |p| clamp(p, &y, 0.5))?;
        bench.time(&format!("fill {name}"), |p| fill(p, 1.0, &y))?;
        let mask = bench.tensor(&[shape[0], shape[1], shape[2], 4])?;
        bench.time(&format!("keep where {name}"), |p| keep_where(p, &mask, 0.5, &a, &y))?;
    }
    Ok(())
}

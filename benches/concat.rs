use super::common::Bench;
use crate::Result;
use crate::kernels::concat::{backward, forward};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for shape in [[8, 32, 32, 64], [64, 64, 64, 32]] {
        let name = shape.map(|v| v.to_string()).join("x");
        let half = [shape[0], shape[1], shape[2], shape[3] / 2];
        let (a, b, y) = (bench.tensor(&half)?, bench.tensor(&half)?, bench.tensor(&shape)?);
        bench.time(&format!("concat 2 to {name}"), |p| forward(p, &[&a, &b], &y))?;
        bench.time(&format!("concat backward 2 from {name}"), |p| backward(p, &y, &[&a, &b]))?;
    }
    Ok(())
}

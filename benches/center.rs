use super::common::Bench;
use crate::Result;
use crate::kernels::center::forward;

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for shape in [[8, 32, 32, 64], [64, 64, 64, 32]] {
        let name = shape.map(|v| v.to_string()).join("x");
        let (x, y) = (bench.tensor(&shape)?, bench.tensor(&shape)?);
        bench.time(&format!("center {name}"), |p| forward(p, &x, &y))?;
    }
    Ok(())
}

use super::common::Bench;
use crate::Result;
use crate::kernels::activation::{Activation, backward, forward};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let shape = [8, 32, 32, 64];
    let (x, dy, y) = (bench.tensor(&shape)?, bench.tensor(&shape)?, bench.tensor(&shape)?);
    for f in [Activation::Relu, Activation::Silu, Activation::Sigmoid] {
        bench.time(&format!("activation {f:?} 8x32x32x64"), |p| forward(p, f, &x, &y))?;
        bench.time(&format!("activation backward {f:?} 8x32x32x64"), |p| backward(p, f, &x, &dy, &y))?;
    }
    Ok(())
}

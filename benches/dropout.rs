use super::common::Bench;
use crate::Result;
use crate::gpu::DType;
use crate::kernels::dropout::{Dropout, STATE, backward, forward};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let state = bench.engine.upload("state", &[STATE], DType::U32, &[1u32, 0])?;
    let dropout = Dropout { rate: 0.1, stream: 0 };
    // A width that takes four elements at a time, and one that takes them singly.
    for shape in [[8, 32, 32, 64], [1, 517, 1013, 1]] {
        let name = shape.map(|v| v.to_string()).join("x");
        let (x, y) = (bench.tensor(&shape)?, bench.tensor(&shape)?);
        bench.time(&format!("dropout {name}"), |p| forward(p, dropout, &x, &state, &y))?;
        bench.time(&format!("dropout backward {name}"), |p| backward(p, dropout, &y, &state, &x))?;
    }
    Ok(())
}

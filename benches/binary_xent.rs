use super::common::Bench;
use crate::Result;
use crate::kernels::binary_xent::{backward, forward};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for n in [256, 65_536] {
        let (z, dz, loss, accuracy) = (bench.tensor(&[n, 1])?, bench.tensor(&[n, 1])?, bench.tensor(&[1])?, bench.tensor(&[1])?);
        bench.time(&format!("binary_xent {n}"), |p| forward(p, true, &z, &loss, &accuracy))?;
        bench.time(&format!("binary_xent backward {n}"), |p| backward(p, true, &z, &loss, &dz))?;
    }
    Ok(())
}

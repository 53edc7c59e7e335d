use super::common::Bench;
use crate::Result;
use crate::kernels::l2norm::{EPS, backward, forward};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (n, d) in [(256, 256), (10_000, 256)] {
        let (x, y, dy, dx, norm) =
            (bench.tensor(&[n, d])?, bench.tensor(&[n, d])?, bench.tensor(&[n, d])?, bench.tensor(&[n, d])?, bench.tensor(&[n])?);
        bench.time(&format!("l2norm {n}x{d}"), |p| forward(p, EPS, &x, &y, &norm))?;
        bench.time(&format!("l2norm backward {n}x{d}"), |p| backward(p, EPS, &y, &dy, &norm, &dx))?;
    }
    Ok(())
}

use super::common::Bench;
use crate::Result;
use crate::kernels::critic::{interpolate, interpolate_backward, interpolate_backward_e, penalty, penalty_backward};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (n, d) in [(64, 1024), (4096, 256)] {
        let [a, b, x, dx] = bench.tensors(&[n, d])?;
        let (t, lengths, loss) = (bench.tensor(&[n])?, bench.tensor(&[n])?, bench.tensor(&[1])?);
        bench.time(&format!("interpolate {n}x{d}"), |p| interpolate(p, &a, &b, &t, &x))?;
        bench.time(&format!("interpolate backward {n}x{d}"), |p| interpolate_backward(p, &t, &dx, Some(&a), Some(&b)))?;
        bench.time(&format!("interpolate backward e {n}x{d}"), |p| interpolate_backward_e(p, &a, &b, &dx, &t))?;
        bench.time(&format!("gradient penalty {n}x{d}"), |p| penalty(p, false, &x, &lengths, &loss))?;
        bench.time(&format!("gradient penalty backward {n}x{d}"), |p| penalty_backward(p, false, &x, &lengths, &loss, &dx))?;
    }
    Ok(())
}

use super::common::Bench;
use crate::Result;
use crate::kernels::reduce::{columns, sum_slices};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for shape in [[8 * 32 * 32, 64], [64 * 64 * 64, 32], [64 * 64 * 64, 3]] {
        let (x, y) = (bench.tensor(&shape)?, bench.tensor(&shape[1..])?);
        bench.time(&format!("reduce columns {}x{}", shape[0], shape[1]), |p| columns(p, &x, &y, 1.0, false))?;
    }
    let (x, y) = (bench.tensor(&[16, 147_456])?, bench.tensor(&[147_456])?);
    bench.time("sum slices 16x147456", |p| sum_slices(p, &x, &y, 1.0, false))?;
    Ok(())
}

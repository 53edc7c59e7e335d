use super::common::Bench;
use crate::Result;
use crate::kernels::style::{mix, mix_backward, statistics};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for shape in [[8, 32, 32, 64], [64, 48, 48, 32]] {
        let name = shape.map(|v| v.to_string()).join("x");
        let [n, _, _, c] = shape;
        let (x, y, share) = (bench.tensor(&shape)?, bench.tensor(&shape)?, bench.tensor(&[n])?);
        let (own, other) = (bench.tensor(&[n, 2, c])?, bench.tensor(&[n, 2, c])?);
        bench.time(&format!("image statistics {name}"), |p| statistics(p, &x, &own))?;
        bench.time(&format!("mix statistics {name}"), |p| mix(p, &x, &own, &other, &share, &y))?;
        bench.time(&format!("mix statistics backward {name}"), |p| mix_backward(p, &own, &other, &share, &y, &x))?;
    }
    Ok(())
}

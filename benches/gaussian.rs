use super::common::Bench;
use crate::Result;
use crate::kernels::gaussian::blur;

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (side, c) in [(413, 1), (413, 8), (413, 16)] {
        let (x, y) = (bench.tensor(&[1, side, side, c])?, bench.tensor(&[1, side, side, c])?);
        let mask = bench.engine.upload_f32("mask", &[1, side, side, 4], &vec![1.0; side * side * 4])?;
        for sigma in [1.0, 4.0, 16.0] {
            bench.time(&format!("gaussian sigma {sigma} {side}x{side}x{c}"), |p| blur(p, &x, None, sigma, &y))?;
            bench.time(&format!("gaussian masked sigma {sigma} {side}x{side}x{c}"), |p| blur(p, &x, Some(&mask), sigma, &y))?;
        }
    }
    Ok(())
}

use super::common::Bench;
use crate::Result;
use crate::kernels::upsample::{Upsample, backward, forward, resize, resize_backward};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for shape in [[8, 16, 16, 64], [64, 32, 32, 32]] {
        let name = shape.map(|v| v.to_string()).join("x");
        let (x, y) = (bench.tensor(&shape)?, bench.tensor(&[shape[0], 2 * shape[1], 2 * shape[2], shape[3]])?);
        for mode in [Upsample::Nearest, Upsample::Bilinear] {
            bench.time(&format!("upsample {mode:?} x2 {name}"), |p| forward(p, mode, 2, &x, &y))?;
            bench.time(&format!("upsample backward {mode:?} x2 {name}"), |p| backward(p, mode, 2, &y, &x))?;
        }
        bench.time(&format!("resize to twice the size {name}"), |p| resize(p, &x, &y))?;
        bench.time(&format!("resize backward to twice the size {name}"), |p| resize_backward(p, &y, &x))?;
    }
    Ok(())
}

use super::common::Bench;
use crate::Result;
use crate::kernels::structure::{finish, grey, oriented};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let side = 413;
    let x = bench.engine.upload_f32("bench", &[1, side, side, 4], &vec![1.0; side * side * 4])?;
    let g = bench.tensor(&[1, side, side, 1])?;
    bench.time(&format!("structure grey {side}x{side}"), |p| grey(p, &x, [0.3, 0.6, 0.1], &g))?;
    for k in [4, 8, 16] {
        let (f, out) = (bench.tensor(&[1, side, side, k])?, bench.tensor(&[1, side, side, k])?);
        for power in [1.0, 0.5, 0.7] {
            bench.time(&format!("structure oriented {side}x{side}x{k} ^{power}"), |p| oriented(p, &g, &x, 0.5, power, &f))?;
        }
        let planes = bench.tensor(&[1, side, side, 2])?;
        bench.time(&format!("structure finish {side}x{side}x{k}"), |p| finish(p, &f, &x, 0.5, &out, &planes))?;
    }
    Ok(())
}

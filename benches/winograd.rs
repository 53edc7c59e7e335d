use super::common::Bench;
use crate::Result;
use crate::kernels::conv::{Conv, Pass, Way, pass_by};
use crate::kernels::winograd::{POINTS, inputs, outputs, weights};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let (n, size, c) = (8, 16, 256);
    let tiles = n * (size / 2) * (size / 2);
    let (x, v, w, u) =
        (bench.tensor(&[n, size, size, c])?, bench.tensor(&[POINTS, tiles, c])?, bench.tensor(&[9, c, c])?, bench.tensor(&[POINTS, c, c])?);
    bench.time("winograd weights 256->256", |p| weights(p, &w, false, &u))?;
    bench.time("winograd inputs 8x16x16x256", |p| inputs(p, &x, [1, 1], [size, size], 0..tiles, &v))?;
    bench.time("winograd outputs 8x16x16x256", |p| outputs(p, &v, None, false, 0..tiles, &x))?;
    // The same in the way that the device's measurements choose: `conv`.
    let conv = Conv::square(3, 1, 1);
    for (n, size, c) in [(32, 32, 32), (32, 16, 64), (32, 8, 128), (8, 16, 256), (8, 8, 512)] {
        let (x, y, w) = (bench.tensor(&[n, size, size, c])?, bench.tensor(&[n, size, size, c])?, bench.tensor(&conv.weights(c, c))?);
        let name = format!("winograd conv 3x3/1 {c}->{c} {n}x{size}x{size}");
        bench.time(&name, |p| pass_by(p, Way::Winograd, Pass::Forward, &conv, [&x, &w, &y]))?;
    }
    Ok(())
}

use super::common::Bench;
use crate::Result;
use crate::gpu::Precision;
use crate::kernels::conv::{Conv, backward_input, backward_weights, forward};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (n, size, ci, co, k, stride) in [
        (8, 32, 64, 64, 3, 1),
        (32, 64, 4, 32, 3, 1),
        (32, 64, 4, 32, 7, 2),
        (32, 32, 32, 32, 3, 1),
        (32, 32, 32, 64, 3, 2),
        (32, 16, 64, 64, 3, 1),
        (32, 8, 128, 128, 3, 1),
        (8, 16, 256, 256, 3, 1),
        (8, 8, 512, 512, 3, 1),
        (32, 16, 64, 16, 1, 1),
    ] {
        let conv = Conv::square(k, stride, 1);
        let xs = [n, size, size, ci];
        let ys = conv.output(&xs, co)?;
        let (x, w, y, dx, dw) = (
            bench.tensor(&xs)?,
            bench.tensor(&conv.weights(ci, co))?,
            bench.tensor(&ys)?,
            bench.tensor(&xs)?,
            bench.tensor(&conv.weights(ci, co))?,
        );
        let name = format!("{k}x{k}/{stride} {ci}->{co} {n}x{size}x{size}");
        bench.time(&format!("conv {name}"), |p| forward(p, &conv, &x, &w, None, false, &y))?;
        bench.time(&format!("conv dx {name}"), |p| backward_input(p, &conv, &y, &w, &dx))?;
        bench.time(&format!("conv dw {name}"), |p| backward_weights(p, &conv, &x, &y, &dw))?;
        bench.time(&format!("conv all three {name}"), |p| {
            forward(p, &conv, &x, &w, None, false, &y)?;
            backward_input(p, &conv, &y, &w, &dx)?;
            backward_weights(p, &conv, &x, &y, &dw)
        })?;
        if size != 32 || stride != 1 {
            continue;
        }
        // As networks run it: images stored as f16 where the device has it.
        let (x, y, dx) = (bench.half(&xs)?, bench.half(&ys)?, bench.half(&xs)?);
        bench.time(&format!("conv {name} mixed"), |p| {
            p.set_precision(Precision::Mixed);
            forward(p, &conv, &x, &w, None, false, &y)
        })?;
        bench.time(&format!("conv all three {name} mixed"), |p| {
            p.set_precision(Precision::Mixed);
            forward(p, &conv, &x, &w, None, false, &y)?;
            backward_input(p, &conv, &y, &w, &dx)?;
            backward_weights(p, &conv, &x, &y, &dw)
        })?;
    }
    Ok(())
}

use super::common::Bench;
use crate::Result;
use crate::gpu::DType;
use crate::kernels::fft::{forward, half_shape, inverse};

/// GFLOP/s count 5 N log2 N a complex line: channels go in pairs along y, each alone over half the rows along x.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (n, b, c, crop) in [(128, 16, 16, 81), (512, 8, 16, 413), (1024, 1, 16, 925)] {
        let x = bench.tensor(&[b, n, n, c])?;
        let y = bench.engine.tensor("y", &[b, crop, crop, c], DType::F32)?;
        let small = bench.tensor(&[b, n - crop + 1, n - crop + 1, c])?;
        let name = format!("{b}x{n}x{n}x{c}");
        // Spectra of 8 large images in f32 are over the least binding.
        for dtype in if n == 128 { vec![DType::F32, DType::F16] } else { vec![DType::F16] } {
            let spectrum = bench.engine.tensor("spectrum", &half_shape(b, [n, n], c), dtype)?;
            bench.time(&format!("fft {dtype:?} {name}"), |p| forward(p, &x, &spectrum, 1.0 / n as f32))?;
            bench.time(&format!("fft {dtype:?} {name} of {0}x{0}", n - crop + 1), |p| forward(p, &small, &spectrum, 1.0 / n as f32))?;
            bench.time(&format!("inverse fft {dtype:?} {name} to {crop}x{crop}"), |p| inverse(p, &spectrum, &y, 1.0 / n as f32))?;
        }
    }
    Ok(())
}

use super::common::Bench;
use crate::Result;
use crate::gpu::DType;
use crate::kernels::fft::{self, Scratch, half_shape};
use crate::kernels::spectrum::{correlate, gradient_a, gradient_b};
use crate::nn::ops::{Backward, Correlate, Forward, Op};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (n, q, w) in [(128, 16, 8), (512, 1, 8), (512, 4, 8), (1024, 1, 2)] {
        for c in [8, 16] {
            let (a, d) = (bench.tensor(&half_shape(q, [n, n], c))?, bench.half_spectra(q, n, w, DType::F32)?);
            let name = format!("{q} x {w} of {n}x{n}x{c}");
            for dtype in if n == 128 { vec![DType::F32, DType::F16] } else { vec![DType::F16] } {
                let b = bench.half_spectra(w, n, c, dtype)?;
                bench.time(&format!("correlate {dtype:?} {name}"), |p| correlate(p, &a, &b, &d))?;
            }
            if n == 128 {
                let (b, ga) = (bench.half_spectra(w, n, c, DType::F32)?, bench.half_spectra(q, n, c, DType::F32)?);
                bench.time(&format!("correlate gradient a {name}"), |p| gradient_a(p, &b, &d, &ga))?;
                bench.time(&format!("correlate gradient b {name}"), |p| gradient_b(p, &a, &d, &b))?;
            }
        }
    }
    // The op in training: images of 48 x 48 over maps of 128 x 128.
    let shapes: [&[usize]; 2] = [&[16, 48, 48, 16], &[8, 128, 128, 16]];
    let [a, da] = bench.tensors(shapes[0])?;
    let [b, db] = bench.tensors(shapes[1])?;
    let [s, ds] = bench.tensors(&Correlate.shape(&shapes)?)?;
    let saved = Correlate.saved(&shapes).iter().map(|s| bench.tensor(s)).collect::<Result<Vec<_>>>()?;
    let (inputs, dx) = ([&a, &b], [Some(da), Some(db)]);
    bench.time("correlate op, 16 of 48x48 over 8 of 128x128x16", |p| {
        Correlate.forward(p, &Forward { inputs: &inputs, params: &[], saved: &saved, output: &s, training: true })
    })?;
    bench.time("correlate op forward and backward", |p| {
        Correlate.forward(p, &Forward { inputs: &inputs, params: &[], saved: &saved, output: &s, training: true })?;
        Correlate.backward(p, &Backward { inputs: &inputs, params: &[], saved: &saved, output: &s, dy: &ds, dx: &dx, dparams: &[] })
    })?;
    // One query over a map of 60 blocks whose spectra lie on the device: products and inverse transforms.
    for c in [8, 16] {
        let (n, crop) = (512, 413);
        let size = [n, n];
        let query = bench.tensor(&[1, n - crop + 1, n - crop + 1, c])?;
        let a = bench.half_spectra(1, n, c, DType::F32)?;
        let parts = [14, 14, 14, 14, 4].into_iter().map(|w| {
            let s = bench.engine.tensor("scores", &[1, crop, crop, w], DType::F32)?;
            Ok((
                bench.half_spectra(w, n, c, DType::F16)?,
                bench.half_spectra(1, n, w, DType::F32)?,
                s,
                Scratch::new(bench.engine, size, w, 1)?,
            ))
        });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        bench.time(&format!("query of 60 blocks {n}x{n}x{c} to {crop}x{crop}"), |p| {
            fft::forward(p, &query, &a, 1.0 / n as f32)?;
            for (b, d, s, scratch) in &parts {
                correlate(p, &a, b, d)?;
                fft::inverse_with(p, scratch, d, s, 1.0 / n as f32)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

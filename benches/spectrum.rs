use crate::common::{tensor, time};
use echogrid::gpu::{DType, Engine, Tensor};
use echogrid::kernels::fft::{self, Scratch, half_shape};
use echogrid::kernels::spectrum::{correlate, gradient_a, gradient_b};
use echogrid::nn::ops::{Backward, Correlate, Forward, Op};

/// A tensor of half spectra; zeros.
fn half(e: &Engine, batch: usize, n: usize, c: usize, dtype: DType) -> Tensor {
    e.tensor("half", &half_shape(batch, [n, n], c), dtype).unwrap()
}

pub fn run(e: &Engine) {
    for (n, q, w) in [(128, 16, 8), (512, 1, 8), (512, 4, 8), (1024, 1, 2)] {
        for c in [8, 16] {
            let (a, d) = (tensor(e, &half_shape(q, [n, n], c)), half(e, q, n, w, DType::F32));
            let name = format!("{q} x {w} of {n}x{n}x{c}");
            for dtype in if n == 128 { vec![DType::F32, DType::F16] } else { vec![DType::F16] } {
                let b = half(e, w, n, c, dtype);
                time(e, &format!("correlate {dtype:?} {name}"), |p| correlate(p, &a, &b, &d));
            }
            if n == 128 {
                let (b, ga) = (half(e, w, n, c, DType::F32), half(e, q, n, c, DType::F32));
                time(e, &format!("correlate gradient a {name}"), |p| gradient_a(p, &b, &d, &ga));
                time(e, &format!("correlate gradient b {name}"), |p| gradient_b(p, &a, &d, &b));
            }
        }
    }
    // The op in training: images of 48 x 48 over maps of 128 x 128.
    let shapes: [&[usize]; 2] = [&[16, 48, 48, 16], &[8, 128, 128, 16]];
    let [a, b, da, db] = [0, 1, 0, 1].map(|i| tensor(e, shapes[i]));
    let [s, ds] = [0, 1].map(|_| tensor(e, &Correlate.shape(&shapes).unwrap()));
    let saved: Vec<Tensor> = Correlate.saved(&shapes).iter().map(|s| e.tensor("saved", s, DType::F32).unwrap()).collect();
    let (inputs, dx) = ([&a, &b], [Some(da), Some(db)]);
    time(e, "correlate op, 16 of 48x48 over 8 of 128x128x16", |p| {
        Correlate.forward(p, &Forward { inputs: &inputs, params: &[], saved: &saved, output: &s, training: true })
    });
    time(e, "correlate op forward and backward", |p| {
        Correlate.forward(p, &Forward { inputs: &inputs, params: &[], saved: &saved, output: &s, training: true })?;
        Correlate.backward(p, &Backward { inputs: &inputs, params: &[], saved: &saved, output: &s, dy: &ds, dx: &dx, dparams: &[] })
    });
    // One query over a map of 60 blocks whose spectra lie on the device: products and inverse transforms.
    for c in [8, 16] {
        let (n, crop) = (512, 413);
        let size = [n, n];
        let query = tensor(e, &[1, n - crop + 1, n - crop + 1, c]);
        let a = half(e, 1, n, c, DType::F32);
        let parts = [14, 14, 14, 14, 4].map(|w| {
            let s = e.tensor("scores", &[1, crop, crop, w], DType::F32).unwrap();
            (half(e, w, n, c, DType::F16), half(e, 1, n, w, DType::F32), s, Scratch::new(e, size, w, 1).unwrap())
        });
        time(e, &format!("query of 60 blocks {n}x{n}x{c} to {crop}x{crop}"), |p| {
            fft::forward(p, &query, &a, 1.0 / n as f32)?;
            for (b, d, s, scratch) in &parts {
                correlate(p, &a, b, d)?;
                fft::inverse_with(p, scratch, d, s, 1.0 / n as f32)?;
            }
            Ok(())
        });
    }
}

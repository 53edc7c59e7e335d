use crate::common::{tensor, time};
use echogrid::gpu::{DType, Engine, Tensor};
use echogrid::kernels::fft::{self, Scratch, half_shape};
use echogrid::kernels::spectrum::{correlate, gradient_a, gradient_b};

/// A tensor of half spectra; zeros.
fn half(e: &Engine, batch: usize, n: usize, c: usize, dtype: DType) -> Tensor {
    e.tensor("half", &half_shape(batch, [n, n], c), dtype).unwrap()
}

pub fn run(e: &Engine) {
    for (n, q, w) in [(128, 16, 8), (512, 1, 8), (512, 4, 8), (1024, 1, 2)] {
        for c in [8, 16] {
            let (a, d) = (tensor(e, &half_shape(q, [n, n], c)), half(e, q, n, w, DType::F32));
            let name = format!("{q} x {w} of {n}x{n}x{c}");
            for dtype in [DType::F32, DType::F16] {
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

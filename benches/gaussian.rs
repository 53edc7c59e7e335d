use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::gaussian::blur;

pub fn run(e: &Engine) {
    for (side, c) in [(413, 1), (413, 8), (413, 16)] {
        let (x, y) = (tensor(e, &[1, side, side, c]), tensor(e, &[1, side, side, c]));
        let mask = e.upload_f32("mask", &[1, side, side, 4], &vec![1.0; side * side * 4]).unwrap();
        for sigma in [1.0, 4.0, 16.0] {
            time(e, &format!("gaussian sigma {sigma} {side}x{side}x{c}"), |p| blur(p, &x, None, sigma, &y));
            time(e, &format!("gaussian masked sigma {sigma} {side}x{side}x{c}"), |p| blur(p, &x, Some(&mask), sigma, &y));
        }
    }
}

use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::upsample::{Upsample, backward, forward};

pub fn run(e: &Engine) {
    for shape in [[8, 16, 16, 64], [64, 32, 32, 32]] {
        let name = shape.map(|v| v.to_string()).join("x");
        let (x, y) = (tensor(e, &shape), tensor(e, &[shape[0], 2 * shape[1], 2 * shape[2], shape[3]]));
        for mode in [Upsample::Nearest, Upsample::Bilinear] {
            time(e, &format!("upsample {mode:?} x2 {name}"), |p| forward(p, mode, 2, &x, &y));
            time(e, &format!("upsample backward {mode:?} x2 {name}"), |p| backward(p, mode, 2, &y, &x));
        }
    }
}

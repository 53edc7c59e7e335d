use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::l2norm::{EPS, backward, forward};

pub fn run(e: &Engine) {
    for (n, d) in [(256, 256), (10_000, 256)] {
        let (x, y, dy, dx, norm) = (tensor(e, &[n, d]), tensor(e, &[n, d]), tensor(e, &[n, d]), tensor(e, &[n, d]), tensor(e, &[n]));
        time(e, &format!("l2norm {n}x{d}"), |p| forward(p, EPS, &x, &y, &norm));
        time(e, &format!("l2norm backward {n}x{d}"), |p| backward(p, EPS, &y, &dy, &norm, &dx));
    }
}

use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::activation::{Activation, backward, forward};

pub fn run(e: &Engine) {
    let shape = [8, 32, 32, 64];
    let (x, dy, y) = (tensor(e, &shape), tensor(e, &shape), tensor(e, &shape));
    for f in [Activation::Relu, Activation::Silu] {
        time(e, &format!("activation {f:?} 8x32x32x64"), |p| forward(p, f, &x, &y));
        time(e, &format!("activation backward {f:?} 8x32x32x64"), |p| backward(p, f, &x, &dy, &y));
    }
}

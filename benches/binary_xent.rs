use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::binary_xent::{backward, forward};

pub fn run(e: &Engine) {
    for n in [256, 65_536] {
        let (z, dz, loss, accuracy) = (tensor(e, &[n, 1]), tensor(e, &[n, 1]), tensor(e, &[1]), tensor(e, &[1]));
        time(e, &format!("binary_xent {n}"), |p| forward(p, true, &z, &loss, &accuracy));
        time(e, &format!("binary_xent backward {n}"), |p| backward(p, true, &z, &loss, &dz));
    }
}

use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::concat::{backward, forward};

pub fn run(e: &Engine) {
    for shape in [[8, 32, 32, 64], [64, 64, 64, 32]] {
        let name = shape.map(|v| v.to_string()).join("x");
        let half = [shape[0], shape[1], shape[2], shape[3] / 2];
        let (a, b, y) = (tensor(e, &half), tensor(e, &half), tensor(e, &shape));
        time(e, &format!("concat 2 to {name}"), |p| forward(p, &[&a, &b], &y));
        time(e, &format!("concat backward 2 from {name}"), |p| backward(p, &y, &[&a, &b]));
    }
}

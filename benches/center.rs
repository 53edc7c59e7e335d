use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::center::forward;

pub fn run(e: &Engine) {
    for shape in [[8, 32, 32, 64], [64, 64, 64, 32]] {
        let name = shape.map(|v| v.to_string()).join("x");
        let (x, y) = (tensor(e, &shape), tensor(e, &shape));
        time(e, &format!("center {name}"), |p| forward(p, &x, &y));
    }
}

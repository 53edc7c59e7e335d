use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::elementwise::{accumulate, add, clamp, fill, keep_where, relu_backward, scaled_by, scaled_copy};

pub fn run(e: &Engine) {
    for shape in [[8, 32, 32, 64], [64, 64, 64, 32]] {
        let name = shape.map(|v| v.to_string()).join("x");
        let (a, b, y) = (tensor(e, &shape), tensor(e, &shape), tensor(e, &shape));
        time(e, &format!("add relu {name}"), |p| add(p, &a, &b, true, &y));
        time(e, &format!("relu backward {name}"), |p| relu_backward(p, &a, &b, &y));
        time(e, &format!("accumulate {name}"), |p| accumulate(p, &a, 0.0, &y));
        time(e, &format!("scaled copy {name}"), |p| scaled_copy(p, &a, 2.0, &y));
        let factor = tensor(e, &[1]);
        time(e, &format!("scaled by {name}"), |p| scaled_by(p, &a, &factor, -1.0, &y));
        time(e, &format!("clamp {name}"), |p| clamp(p, &y, 0.5));
        time(e, &format!("fill {name}"), |p| fill(p, 1.0, &y));
        let mask = tensor(e, &[shape[0], shape[1], shape[2], 4]);
        time(e, &format!("keep where {name}"), |p| keep_where(p, &mask, 0.5, &a, &y));
    }
}

use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::style::{mix, mix_backward, statistics};

pub fn run(e: &Engine) {
    for shape in [[8, 32, 32, 64], [64, 48, 48, 32]] {
        let name = shape.map(|v| v.to_string()).join("x");
        let [n, _, _, c] = shape;
        let (x, y, share) = (tensor(e, &shape), tensor(e, &shape), tensor(e, &[n]));
        let (own, other) = (tensor(e, &[n, 2, c]), tensor(e, &[n, 2, c]));
        time(e, &format!("image statistics {name}"), |p| statistics(p, &x, &own));
        time(e, &format!("mix statistics {name}"), |p| mix(p, &x, &own, &other, &share, &y));
        time(e, &format!("mix statistics backward {name}"), |p| mix_backward(p, &own, &other, &share, &y, &x));
    }
}

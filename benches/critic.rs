use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::critic::{interpolate, interpolate_backward, interpolate_backward_e, penalty, penalty_backward};

pub fn run(e: &Engine) {
    for (n, d) in [(64, 1024), (4096, 256)] {
        let [a, b, x, dx] = [0; 4].map(|_| tensor(e, &[n, d]));
        let (t, lengths, loss) = (tensor(e, &[n]), tensor(e, &[n]), tensor(e, &[1]));
        time(e, &format!("interpolate {n}x{d}"), |p| interpolate(p, &a, &b, &t, &x));
        time(e, &format!("interpolate backward {n}x{d}"), |p| interpolate_backward(p, &t, &dx, Some(&a), Some(&b)));
        time(e, &format!("interpolate backward e {n}x{d}"), |p| interpolate_backward_e(p, &a, &b, &dx, &t));
        time(e, &format!("gradient penalty {n}x{d}"), |p| penalty(p, false, &x, &lengths, &loss));
        time(e, &format!("gradient penalty backward {n}x{d}"), |p| penalty_backward(p, false, &x, &lengths, &loss, &dx));
    }
}

use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::reduce::{columns, sum_slices};

pub fn run(e: &Engine) {
    for shape in [[8 * 32 * 32, 64], [64 * 64 * 64, 32], [64 * 64 * 64, 3]] {
        let (x, y) = (tensor(e, &shape), tensor(e, &shape[1..]));
        time(e, &format!("reduce columns {}x{}", shape[0], shape[1]), |p| columns(p, &x, &y, 1.0, false));
    }
    let (x, y) = (tensor(e, &[16, 147_456]), tensor(e, &[147_456]));
    time(e, "sum slices 16x147456", |p| sum_slices(p, &x, &y, 1.0, false));
}

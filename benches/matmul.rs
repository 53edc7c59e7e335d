use crate::common::{tensor, time};
use echogrid::gpu::Engine;
use echogrid::kernels::matmul::{Op, matmul};

pub fn run(e: &Engine) {
    for (m, k, n) in [(1024, 1024, 1024), (64, 1024, 64)] {
        let (a, b, c) = (tensor(e, &[m, k]), tensor(e, &[k, n]), tensor(e, &[m, n]));
        time(e, &format!("matmul {m}x{k}x{n}"), |p| matmul(p, &a, Op::Plain, &b, Op::Plain, &c));
    }
    let (a, b, c) = (tensor(e, &[64, 1024]), tensor(e, &[64, 1024]), tensor(e, &[64, 64]));
    time(e, "matmul 64x1024x64, b transposed", |p| matmul(p, &a, Op::Plain, &b, Op::Transposed, &c));
    let d = tensor(e, &[1024, 1024]);
    time(e, "matmul 1024x64x1024, a transposed", |p| matmul(p, &a, Op::Transposed, &b, Op::Plain, &d));
    let (a, b, c) = (tensor(e, &[1024, 1024]), tensor(e, &[1, 1024]), tensor(e, &[1024, 1]));
    time(e, "matmul 1024x1024x1, b transposed", |p| matmul(p, &a, Op::Plain, &b, Op::Transposed, &c));
}

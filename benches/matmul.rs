use super::common::Bench;
use crate::Result;
use crate::gpu::Precision;
use crate::kernels::matmul::{Op, linear, matmul};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (m, k, n) in [(1024, 1024, 1024), (64, 1024, 64)] {
        let (a, b, c) = (bench.tensor(&[m, k])?, bench.tensor(&[k, n])?, bench.tensor(&[m, n])?);
        bench.time(&format!("matmul {m}x{k}x{n}"), |p| matmul(p, &a, Op::Plain, &b, Op::Plain, &c))?;
    }
    let (a, b, bias, c) = (bench.tensor(&[7040, 32])?, bench.tensor(&[32, 32])?, bench.tensor(&[32])?, bench.tensor(&[7040, 32])?);
    bench.time("matmul 7040x32x32", |p| matmul(p, &a, Op::Plain, &b, Op::Plain, &c))?;
    bench.time("linear 7040x32x32", |p| linear(p, &a, &b, &bias, &c))?;
    let [a, b, c] = bench.tensors(&[1024, 1024])?;
    bench.time("matmul 1024x1024x1024 mixed", |p| {
        p.set_precision(Precision::Mixed);
        matmul(p, &a, Op::Plain, &b, Op::Plain, &c)
    })?;
    let (a, b, c) = (bench.tensor(&[64, 1024])?, bench.tensor(&[64, 1024])?, bench.tensor(&[64, 64])?);
    bench.time("matmul 64x1024x64, b transposed", |p| matmul(p, &a, Op::Plain, &b, Op::Transposed, &c))?;
    let d = bench.tensor(&[1024, 1024])?;
    bench.time("matmul 1024x64x1024, a transposed", |p| matmul(p, &a, Op::Transposed, &b, Op::Plain, &d))?;
    let (a, b, c) = (bench.tensor(&[1024, 1024])?, bench.tensor(&[1, 1024])?, bench.tensor(&[1024, 1])?);
    bench.time("matmul 1024x1024x1, b transposed", |p| matmul(p, &a, Op::Plain, &b, Op::Transposed, &c))?;
    Ok(())
}

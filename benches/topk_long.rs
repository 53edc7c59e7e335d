use super::common::{Bench, noise};
use super::topk::select;
use crate::Result;
use crate::gpu::DType;
use crate::kernels::matmul::{Op, matmul};
use crate::kernels::topk::{Scratch, clear, select_block};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    [1000, 50_000].into_iter().try_for_each(|k| select(bench, 1, 100_000, k))?;
    // What there would be without selection: a product, and a sort of its scores (the best 65,536 of them).
    let (nq, rows, d, k) = (16, 100_000, 256, 65_536);
    let (q, x) = (bench.engine.upload_f32("q", &[nq, d], &noise(nq * d))?, bench.engine.upload_f32("x", &[rows, d], &noise(rows * d))?);
    let scores = bench.tensor(&[nq, rows])?;
    let (ls, li) = (bench.tensor(&[nq, k])?, bench.engine.tensor("ids", &[nq, k], DType::U32)?);
    let scratch = Scratch::new(bench.engine, nq, rows, k)?;
    bench.time(&format!("topk by product and sort {nq} queries x {rows} x {d}"), |p| {
        matmul(p, &q, Op::Plain, &x, Op::Transposed, &scores)?;
        clear(p, &ls, &li)?;
        select_block(p, &scores, nq, rows, 0, 0, &ls, &li, &scratch)
    })
}

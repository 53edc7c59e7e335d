use super::common::Bench;
use crate::Result;
use crate::gpu::DType;
use crate::kernels::triplet::{Triplet, backward, forward, records_shape};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for b in [64, 256] {
        let (s, ds, loss, dloss) = (bench.tensor(&[b, b])?, bench.tensor(&[b, b])?, bench.tensor(&[1])?, bench.tensor(&[1])?);
        let records = bench.engine.tensor("records", &records_shape(b), DType::U32)?;
        bench.time(&format!("triplet B={b}"), |p| forward(p, Triplet::default(), &s, &records, &loss))?;
        bench.time(&format!("triplet backward B={b}"), |p| backward(p, Triplet::default(), &records, &dloss, &ds))?;
    }
    Ok(())
}

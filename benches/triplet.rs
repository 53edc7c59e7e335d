use super::common::{Bench, noise};
use crate::Result;
use crate::kernels::matmul::{Op, matmul};
use crate::kernels::triplet::{Mining, Triplet, backward, forward, records_shape};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for b in [64, 256, 1024] {
        let (d, (loss, accuracy, dloss)) = (512, (bench.tensor(&[1])?, bench.tensor(&[1])?, bench.tensor(&[1])?));
        let (s, ds) = (bench.engine.upload_f32("s", &[b, b], &noise(b * b))?, bench.tensor(&[b, b])?);
        // Each place with its neighbours to either side; what is farther off, up to four places, is partly the same ground.
        let kind = |i: usize| match (i / b).abs_diff(i % b) {
            0..=1 => 1.0,
            2..=4 => -1.0,
            _ => 0.0,
        };
        let w = bench.engine.upload_f32("w", &[b, b], &(0..b * b).map(kind).collect::<Vec<_>>())?;
        for (name, mining, mask) in [
            ("", Mining::Hard, None),
            ("masked ", Mining::Hard, Some(&w)),
            ("all ", Mining::All, None),
            ("all masked ", Mining::All, Some(&w)),
        ] {
            let f = Triplet { mining, ..Triplet::default() };
            let records = bench.tensor(&records_shape(f, b, b))?;
            bench.time(&format!("triplet {name}B={b}"), |p| forward(p, f, &s, mask, &records, &loss, &accuracy))?;
            // Of the records that the forward pass left.
            bench.time(&format!("triplet backward {name}B={b}"), |p| backward(p, f, &records, &dloss, &ds))?;
        }
        if b < 1024 {
            continue;
        }
        // The loss of embeddings, with the products before and behind it.
        let f = Triplet::default();
        let ([x, y, dx, dy], records) = (bench.tensors(&[b, d])?, bench.tensor(&records_shape(f, b, b))?);
        let s = bench.tensor(&[b, b])?;
        bench.time(&format!("triplet of embeddings B={b} D={d}"), |p| {
            matmul(p, &x, Op::Plain, &y, Op::Transposed, &s)?;
            forward(p, f, &s, None, &records, &loss, &accuracy)
        })?;
        bench.time(&format!("triplet of embeddings backward B={b} D={d}"), |p| {
            backward(p, f, &records, &dloss, &ds)?;
            matmul(p, &ds, Op::Plain, &y, Op::Plain, &dx)?;
            matmul(p, &ds, Op::Transposed, &x, Op::Plain, &dy)
        })?;
    }
    Ok(())
}

use super::common::Bench;
use crate::Result;
use crate::kernels::discrepancy::{Measure, backward, forward, parts_shape};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (name, measure) in [("mmd", Measure::Mmd { bandwidths: [0.25, 0.5, 1.0, 2.0, 4.0] }), ("coral", Measure::Coral { dim: 256 })] {
        for n in [64, 512] {
            let [ab, aa, bb, dab, daa, dbb] = bench.tensors(&[n, n])?;
            let (parts, loss) = (bench.tensor(&parts_shape(n, n))?, bench.tensor(&[1])?);
            bench.time(&format!("discrepancy {name} {n}"), |p| forward(p, measure, [&ab, &aa, &bb], &parts, &loss))?;
            let gradients = [Some(&dab), Some(&daa), Some(&dbb)];
            bench.time(&format!("discrepancy {name} backward {n}"), |p| backward(p, measure, [&ab, &aa, &bb], &loss, gradients))?;
        }
    }
    Ok(())
}

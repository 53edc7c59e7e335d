use super::common::Bench;
use crate::Result;
use crate::kernels::norm::{Backward, Norm, Running, Stats, backward, backward_constant, forward_batch, forward_frozen};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (shape, half) in [[8, 32, 32, 64], [64, 64, 64, 32]].into_iter().flat_map(|s| [(s, false), (s, true)]) {
        let mut name = shape.map(|v| v.to_string()).join("x");
        if half && !bench.engine.caps().f16 {
            continue;
        }
        let [x, y, dy, dx] = if half {
            name += " f16";
            [bench.half(&shape)?, bench.half(&shape)?, bench.half(&shape)?, bench.half(&shape)?]
        } else {
            bench.tensors(&shape)?
        };
        let c = shape[3];
        let t = || bench.engine.upload_f32("bench", &[c], &vec![1.0; c]);
        let (gamma, beta, mean, var, dgamma, dbeta, saved) = (t()?, t()?, t()?, t()?, t()?, t()?, bench.tensor(&[2, c])?);
        let norm = Norm { gamma: &gamma, beta: &beta, eps: 1e-5, relu: true };
        let run = Running { mean: &mean, var: &var };
        bench.time(&format!("norm relu {name}"), |p| forward_batch(p, &norm, &run, 0.1, &x, &y, &saved))?;
        bench.time(&format!("norm frozen relu {name}"), |p| forward_frozen(p, &norm, &run, &x, &y, &saved))?;
        let b = Backward { x: &x, saved: &saved, dy: &dy, dx: &dx, dgamma: &dgamma, dbeta: &dbeta, accumulate: false };
        bench.time(&format!("norm relu backward {name}"), |p| backward(p, &norm, Stats::Batch, &b))?;
        bench.time(&format!("norm frozen relu backward {name}"), |p| backward(p, &norm, Stats::Frozen, &b))?;
        bench.time(&format!("norm constant relu backward {name}"), |p| backward_constant(p, &norm, &x, &saved, &dy, &dx))?;
    }
    Ok(())
}

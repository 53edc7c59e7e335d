use super::common::Bench;
use crate::Result;
use crate::kernels::infonce::{InfoNce, backward, forward, stats_shape};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for b in [64, 256] {
        let (s, ds, w) =
            (bench.tensor(&[b, b])?, bench.tensor(&[b, b])?, bench.engine.upload_f32("w", &[b, b], &vec![1.0 / b as f32; b * b])?);
        let (t, stats, loss, acc) = (bench.tensor(&[1])?, bench.tensor(&stats_shape(b))?, bench.tensor(&[1])?, bench.tensor(&[1])?);
        let (dloss, partial, dt) = (bench.tensor(&[1])?, bench.tensor(&[b])?, bench.tensor(&[1])?);
        for weights in [None, Some(&w)] {
            let x = InfoNce { similarity: &s, log_scale: &t, weights, smoothing: 0.1 };
            let name = if weights.is_some() { "weighted " } else { "" };
            bench.time(&format!("infonce {name}B={b}"), |p| forward(p, x, &stats, &loss, &acc))?;
            bench.time(&format!("infonce backward {name}B={b}"), |p| backward(p, x, &stats, &dloss, &ds, &partial, &dt))?;
        }
    }
    Ok(())
}

use super::common::Bench;
use crate::Result;
use crate::gpu::DType;
use crate::kernels::softmax_xent::{SoftmaxXent, Target, backward, forward};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (n, k) in [(64, 10), (256, 1024)] {
        let (x, dx, stats) = (bench.tensor(&[n, k])?, bench.tensor(&[n, k])?, bench.tensor(&[n, 4])?);
        let (share, loss, dloss) = (bench.tensor(&[1])?, bench.tensor(&[1])?, bench.tensor(&[1])?);
        let labels = bench.engine.upload("labels", &[n], DType::U32, &vec![1u32; n])?;
        let call = SoftmaxXent { x: &x, target: Target::Labels(&labels), smoothing: 0.1, weights: None, divisor: None };
        bench.time(&format!("softmax_xent {n}x{k}"), |p| forward(p, call, &stats, &share, &loss))?;
        bench.time(&format!("softmax_xent backward {n}x{k}"), |p| backward(p, call, &stats, &share, &dloss, &dx))?;
    }
    Ok(())
}

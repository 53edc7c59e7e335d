use super::common::Bench;
use crate::Result;
use crate::kernels::offset_xent::{OffsetXent, backward, forward, parts_shape, stats_shape};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    // Patches of 48 in 8 windows of 128, and a validation's 50 in 16 of 256.
    for shape in [[16, 81, 81, 8], [16, 207, 207, 16]] {
        let (s, ds, p) = (bench.tensor(&shape)?, bench.tensor(&shape)?, shape[0]);
        let target: Vec<f32> = (0..p).flat_map(|i| [(i * 5) as f32, (i * 3) as f32, (i % shape[3]) as f32, 0.0]).collect();
        let target = bench.engine.upload_f32("target", &[p, 4], &target)?;
        let (t, parts, stats) = (bench.tensor(&[1])?, bench.tensor(&parts_shape(&shape))?, bench.tensor(&stats_shape(p))?);
        let (loss, acc, dloss, dt) = (bench.tensor(&[1])?, bench.tensor(&[1])?, bench.tensor(&[1])?, bench.tensor(&[1])?);
        let x = OffsetXent { scores: &s, target: &target, log_scale: &t, factor: 1.0, radius: 1.5, most: 100.0 };
        let name = shape.map(|v| v.to_string()).join("x");
        bench.time(&format!("offset_xent {name}"), |b| forward(b, x, &parts, &stats, &loss, &acc))?;
        bench.time(&format!("offset_xent backward {name}"), |b| backward(b, x, &stats, &dloss, &ds, &dt))?;
    }
    Ok(())
}

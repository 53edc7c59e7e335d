use super::common::{Bench, noise};
use crate::Result;
use crate::gpu::DType;
use crate::kernels::nms::{Nms, nms};

/// Boxes of 8 to 128 px in 1,024 x 1,024 px: benches/peers/boxes.py draws the same.
pub fn boxes(n: usize) -> Vec<f32> {
    let one = |r: &[f32]| {
        let [x, y] = [r[0], r[1]].map(|v| 512.0 + 512.0 * v);
        let [w, h] = [r[2], r[3]].map(|v| 68.0 + 60.0 * v);
        [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0]
    };
    noise(4 * n).chunks(4).flat_map(one).collect()
}

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let e = bench.engine;
    for (batch, n, kinds) in [(1, 1000, 1), (1, 10_000, 1), (1, 10_000, 20), (16, 2000, 1), (1, 100_000, 1)] {
        let all = batch * n;
        let (places, scores) =
            (e.upload_f32("boxes", &[batch, n, 4], &boxes(all))?, e.upload_f32("scores", &[batch, n], &noise(5 * all)[4 * all..])?);
        let groups: Vec<u32> = (0..all).map(|i| (i % kinds) as u32).collect();
        let groups = e.upload("groups", &[batch, n], DType::U32, &groups)?;
        let (kept, count) = (e.tensor("kept", &[batch, n], DType::U32)?, e.tensor("count", &[batch], DType::U32)?);
        let config = Nms { iou: 0.5, score: f32::NEG_INFINITY };
        bench.time(&format!("nms {batch} x {n} boxes, {kinds} groups"), |p| nms(p, config, &places, &scores, &groups, &kept, &count))?;
    }
    Ok(())
}

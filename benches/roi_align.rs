use super::common::Bench;
use super::nms::boxes;
use crate::Result;
use crate::gpu::{DType, Tensor};
use crate::kernels::roi_align::{Regions, RoiAlign, backward, forward, fpn_level};

/// A thousand regions of the pyramid of an image of 1,024 x 1,024 px: benches/peers/boxes.py draws the same, four times as large as for `nms`.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let e = bench.engine;
    let c = 256;
    let scales = [1.0 / 4.0, 1.0 / 8.0, 1.0 / 16.0, 1.0 / 32.0];
    let maps: Vec<Tensor> = [256, 128, 64, 32].into_iter().map(|n| bench.tensor(&[1, n, n, c])).collect::<Result<_>>()?;
    let larger = |b: &[f32]| {
        let ([x, y], [w, h]) = ([b[0] + b[2], b[1] + b[3]].map(|v| v / 2.0), [b[2] - b[0], b[3] - b[1]].map(|v| 2.0 * v));
        [x - w, y - h, x + w, y + h].map(|v| v.clamp(0.0, 1024.0))
    };
    // 14 bins of a thousand regions would be more than the smallest bindings hold.
    for (bins, samples, rows) in [(7, Some(2), 1000), (7, None, 1000), (14, Some(2), 500)] {
        let places: Vec<[f32; 4]> = boxes(rows).chunks(4).map(larger).collect();
        let levels: Vec<u32> = places.iter().flat_map(|b| [0, fpn_level(*b, 2, 5) as u32 - 2]).collect();
        let places = e.upload_f32("boxes", &[rows, 4], &places.concat())?;
        let levels = e.upload("places", &[rows, 2], DType::U32, &levels)?;
        let regions = Regions { boxes: &places, places: &levels };
        let align = RoiAlign { bins, samples };
        let y = bench.tensor(&[rows, bins, bins, c])?;
        let how = samples.map_or_else(|| "adaptive".into(), |s| format!("{s} samples"));
        let name = format!("{rows} regions of 4 levels x {c}, {bins} bins, {how}");
        let from: Vec<(&Tensor, f32)> = maps.iter().zip(scales).collect();
        bench.time(&format!("roi align {name}"), |p| forward(p, align, &from, &regions, &y))?;
        let to: Vec<(Option<&Tensor>, f32)> = from.iter().map(|(x, s)| (Some(*x), *s)).collect();
        bench.time(&format!("roi align backward {name}"), |p| backward(p, align, &regions, &y, &to))?;
    }
    Ok(())
}

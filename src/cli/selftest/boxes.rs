//! Kernels of detectors against their twins.

use crate::Result;
use crate::gpu::{DType, Engine, PlanBuilder};
use crate::kernels::nms::{Nms, nms};
use crate::kernels::roi_align::{Regions, RoiAlign, forward};
use crate::random::signed as random;
use crate::reference;

/// Unit round-off of f32.
const EPS: f64 = 5.96e-8;

/// Boxes of whole pixels, of which f32 is certain, among 200 x 200.
fn boxes(n: usize) -> Vec<f32> {
    let one = |r: &[f32]| {
        let ([x, y], [w, h]) = ([r[0], r[1]].map(|v| (100.0 * v).round()), [r[2], r[3]].map(|v| (30.0 * v.abs()).round() + 1.0));
        [x, y, x + w, y + h]
    };
    random(4 * n, 11).chunks(4).flat_map(one).collect()
}

/// Whether a thousand boxes and more of two groups are kept as by the twin.
pub(super) fn suppression(e: &Engine) -> Result<(bool, String)> {
    let (n, config) = (1100, Nms { iou: 0.5, score: -0.9 });
    let (boxes, scores) = (boxes(n), random(n, 12));
    let groups: Vec<u32> = (0..n as u32).map(|i| i % 2).collect();
    let (tb, ts) = (e.upload_f32("boxes", &[1, n, 4], &boxes)?, e.upload_f32("scores", &[1, n], &scores)?);
    let tg = e.upload("groups", &[1, n], DType::U32, &groups)?;
    let (kept, count) = (e.tensor("kept", &[1, n], DType::U32)?, e.tensor("count", &[1], DType::U32)?);
    let mut plan = PlanBuilder::new(e);
    nms(&mut plan, config, &tb, &ts, &tg, &kept, &count)?;
    plan.finish().submit(e)?;
    let wide: Vec<f64> = boxes.iter().map(|v| f64::from(*v)).collect();
    let want = reference::nms::nms(config, &wide, &scores, &groups, n);
    let (got, count) = (e.read::<u32>(&kept)?, e.read::<u32>(&count)?[0] as usize);
    let same = got.iter().zip(&want).filter(|(a, b)| a == b).count();
    Ok((count == want.len() && same == count, format!("{count} boxes kept, {same} of the twin's {} in their places", want.len())))
}

/// The features of regions, sampled twice a bin.
pub(super) fn regions(e: &Engine) -> Result<(bool, String)> {
    let (rows, shape, align) = (30, [1, 40, 36, 8], RoiAlign { bins: 7, samples: Some(2) });
    let (boxes, x) = (boxes(rows), random(shape.iter().product(), 13));
    let (tb, tx) = (e.upload_f32("boxes", &[rows, 4], &boxes)?, e.upload_f32("x", &shape, &x)?);
    let places = e.upload("places", &[rows, 2], DType::U32, &vec![0u32; 2 * rows])?;
    let y = e.tensor("y", &[rows, 7, 7, 8], DType::F32)?;
    let mut plan = PlanBuilder::new(e);
    forward(&mut plan, align, &[(&tx, 0.25)], &Regions { boxes: &tb, places: &places }, &y)?;
    plan.finish().submit(e)?;
    let wide: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
    let regions: Vec<_> = boxes.chunks(4).map(|b| ([0, 1, 2, 3].map(|i| f64::from(b[i])), 0, 0)).collect();
    let want = reference::roi_align::forward(align, &[(&wide, shape, 0.25)], &regions);
    // Places of up to 32 pixels in a few roundings, along both axes: see kernels-tests/roi_align.rs.
    let (off, bound) = (reference::furthest(&e.read::<f32>(&y)?, &want), 400.0 * EPS);
    Ok((off <= bound, format!("off by {off:.1e} at most, {bound:.1e} allowed")))
}

use super::common::Bench;
use super::nms::boxes;
use crate::Result;
use crate::gpu::DType;
use crate::kernels::box_match::{Match, Matched, Truth, assign, overlaps};

/// Boxes of the same kind as for `nms`; the first of them are the ones to be found: benches/peers/boxes.py draws the same.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let e = bench.engine;
    for (images, anchors, each) in [(1, 100_000, 100), (8, 20_000, 20), (1, 100_000, 1000)] {
        let slots = images * each;
        let places = e.upload_f32("anchors", &[anchors, 4], &boxes(slots + anchors)[4 * slots..])?;
        let truth = e.upload_f32("boxes", &[slots, 4], &boxes(slots))?;
        let starts: Vec<u32> = (0..=images).map(|i| (i * each) as u32).collect();
        let starts = e.upload("starts", &[images + 1], DType::U32, &starts)?;
        let ignored = e.tensor("ignored", &[slots], DType::U32)?;
        let make = |dtype| e.tensor("matched", &[images, anchors], dtype);
        let (rows, shares, labels) = (make(DType::U32)?, make(DType::F32)?, make(DType::U32)?);
        let truth = Truth { boxes: &truth, starts: &starts, ignored: &ignored };
        let to = Matched { rows: &rows, overlaps: &shares, labels: &labels };
        for low_quality in [Some(0.0), None] {
            let by = Match { high: 0.7, low: 0.3, low_quality, cover: 0.5 };
            let how = if low_quality.is_some() { ", best of each box" } else { "" };
            let name = format!("box match {images} x {anchors} anchors x {each} boxes{how}");
            bench.time(&name, |p| assign(p, by, &places, &truth, &to))?;
        }
    }
    let (n, m) = (1000, 1000);
    let (a, b, out) = (e.upload_f32("a", &[n, 4], &boxes(n))?, e.upload_f32("b", &[m, 4], &boxes(m))?, bench.tensor(&[n, m])?);
    bench.time(&format!("overlaps of {n} x {m} boxes"), |p| overlaps(p, &a, &b, &out))
}

use super::common::Bench;
use crate::Result;
use crate::kernels::box_loss::{BoxDistance, BoxLoss, backward, forward};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let [loss, divisor] = bench.tensors(&[1])?;
    let distances = [("smooth L1", BoxDistance::SmoothL1 { beta: 1.0 }), ("squares", BoxDistance::Squares), ("GIoU", BoxDistance::Giou)];
    // The sampled boxes of a batch; all boxes of a YOLOv3 of eight images of 416 px.
    for n in [1_024, 8 * 10_647] {
        let [boxes, targets, dboxes] = bench.tensors(&[n, 4])?;
        let weights = bench.tensor(&[n])?;
        for (name, distance) in distances {
            let call = BoxLoss { boxes: &boxes, targets: &targets, weights: Some(&weights), distance, divisor: Some(&divisor) };
            bench.time(&format!("box_loss {name} {n}"), |p| forward(p, call, &loss))?;
            bench.time(&format!("box_loss {name} backward {n}"), |p| backward(p, call, &loss, &dboxes))?;
        }
    }
    Ok(())
}

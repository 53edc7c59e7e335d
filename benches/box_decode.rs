use super::common::Bench;
use crate::Result;
use crate::kernels::box_decode::{Deltas, Yolo, deltas, deltas_backward, yolo, yolo_backward};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    // The proposals of an image at 512 px: five strides of three anchors.
    let n = 65_472;
    let ([d, y, dd], config) = (bench.tensors(&[n, 4])?, Deltas::PLAIN);
    let anchors = bench.tensor(&[n, 4])?;
    bench.time(&format!("box_decode deltas {n}"), |p| deltas(p, &config, &d, &anchors, &y))?;
    bench.time(&format!("box_decode deltas backward {n}"), |p| deltas_backward(p, &config, &d, &anchors, &y, &dd))?;
    // The finest scale of a YOLOv3 of eight images of 416 px and one class.
    let config = Yolo { grid: [52, 52], stride: [8.0, 8.0], classes: 1 };
    let ([x, y, dx], anchors) = (bench.tensors(&[8, 52, 52, 3 * config.width()])?, bench.tensor(&[3, 2])?);
    bench.time("box_decode yolo 8 x 52 x 52 x 3", |p| yolo(p, &config, &x, &anchors, &y))?;
    bench.time("box_decode yolo backward 8 x 52 x 52 x 3", |p| yolo_backward(p, &config, &x, &anchors, &y, &dx))?;
    Ok(())
}

use super::common::Bench;
use crate::Result;
use crate::kernels::binary_xent::{BinaryXent, Focal, Target, backward, forward};

pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let [loss, accuracy, divisor] = bench.tensors(&[1])?;
    for n in [256, 65_536] {
        let [z, dz] = bench.tensors(&[n, 1])?;
        let call = BinaryXent::all(&z, true);
        bench.time(&format!("binary_xent {n}"), |p| forward(p, call, &loss, &accuracy))?;
        bench.time(&format!("binary_xent backward {n}"), |p| backward(p, call, &loss, &dz))?;
    }
    // What a YOLOv3 of one class says of eight images of 416 px: 10,647 boxes of 6 numbers each.
    let n = 8 * 10_647 * 6;
    let [z, dz, targets, weights] = bench.tensors(&[n])?;
    let plain =
        BinaryXent { target: Target::Each(&targets), weights: Some(&weights), divisor: Some(&divisor), ..BinaryXent::all(&z, true) };
    let focal = BinaryXent { focal: Focal { gamma: 2.0, alpha: Some(0.25) }, ..plain };
    for (name, call) in [("weighted", plain), ("focal", focal)] {
        bench.time(&format!("binary_xent {name} {n}"), |p| forward(p, call, &loss, &accuracy))?;
        bench.time(&format!("binary_xent {name} backward {n}"), |p| backward(p, call, &loss, &dz))?;
    }
    Ok(())
}

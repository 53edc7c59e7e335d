//! Boxes x0 y0 x1 y1: from a detector's numbers, and how far they are from their targets.

use super::{Backward, Forward, Host, Keeps, Op, nothing};
use crate::gpu::{Error, PlanBuilder, Result, Tensor};
use crate::kernels::box_decode::{self, Deltas, Yolo};
use crate::kernels::box_loss::{self, BoxDistance};
use crate::reference as twin;

/// The sum \[1\] of the distances of boxes, elements that are read as rows of four whatever their shape, from their targets. Inputs, of which
/// the boxes alone get a gradient: boxes; as many targets; where given, a weight a row, of which 0 masks; and where given after these,
/// what the sum is divided by, \[1\], taken for 1 below 1. Without that the sum is divided by the number of rows, masked or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxLoss {
    /// How far a box is from its target.
    pub distance: BoxDistance,
}

impl BoxLoss {
    fn call<'a>(&self, inputs: &[&'a Tensor]) -> box_loss::BoxLoss<'a> {
        box_loss::BoxLoss {
            boxes: inputs[0],
            targets: inputs[1],
            weights: inputs.get(2).copied(),
            distance: self.distance,
            divisor: inputs.get(3).copied(),
        }
    }
}

impl Op for BoxLoss {
    fn name(&self) -> &'static str {
        "box loss"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let len = |t: &[usize]| t.iter().product::<usize>();
        let fits = match inputs {
            [boxes, targets, rest @ ..] if len(boxes) % 4 == 0 && len(targets) == len(boxes) => match rest {
                [] => true,
                [weights] | [weights, [1]] => 4 * len(weights) == len(boxes),
                _ => false,
            },
            _ => false,
        };
        match fits {
            true => Ok(vec![1]),
            false => Err(Error::shape(
                "box loss",
                format!("{inputs:?}, expected rows of four, as many targets, and perhaps a weight a row and after these a divisor [1]"),
            )),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        box_loss::forward(plan, self.call(io.inputs), io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let loss = twin::box_loss::BoxLoss {
            boxes: inputs[0].1,
            targets: inputs[1].1,
            weights: inputs.get(2).map(|w| w.1),
            distance: self.distance,
            divisor: inputs.get(3).map(|d| d.1[0]),
        };
        vec![loss.run().0]
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        for constant in &io.dx[1..] {
            nothing(plan, constant.as_ref())?;
        }
        match &io.dx[0] {
            Some(dboxes) => box_loss::backward(plan, self.call(io.inputs), io.dy, dboxes),
            None => Ok(()),
        }
    }
}

/// Boxes [rows, 4] from differences, elements that are read as rows of four whatever their shape, and anchors [M, 4], which get no
/// gradient ([`box_decode::deltas`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecodeDeltas(pub Deltas);

impl Op for DecodeDeltas {
    fn name(&self) -> &'static str {
        "decode deltas"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs {
            [d, [m, 4]] if d.iter().product::<usize>() % 4 == 0 => {
                let n = d.iter().product::<usize>() / 4;
                self.0.check_rows("decode deltas", n, *m)?;
                Ok(vec![n, 4])
            }
            other => Err(Error::shape("decode deltas", format!("{other:?}, expected rows of four and anchors [M, 4]"))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        box_decode::deltas(plan, &self.0, io.inputs[0], io.inputs[1], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        twin::box_decode::deltas(&self.0, inputs[0].1, inputs[1].1)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        nothing(plan, io.dx[1].as_ref())?;
        match &io.dx[0] {
            Some(dd) => box_decode::deltas_backward(plan, &self.0, io.inputs[0], io.inputs[1], io.dy, dd),
            None => Ok(()),
        }
    }
}

/// Rows [rows, 5 + classes] with boxes in the first four and logits behind them, from a feature map, elements that are read as such rows
/// whatever their shape, and anchors [M, 2], which get no gradient ([`box_decode::yolo`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecodeYolo(pub Yolo);

impl Op for DecodeYolo {
    fn name(&self) -> &'static str {
        "decode yolo"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs {
            [x, [m, 2]] => Ok(vec![self.0.rows("decode yolo", x.iter().product(), *m)?, self.0.width()]),
            other => Err(Error::shape("decode yolo", format!("{other:?}, expected a feature map and anchors [M, 2]"))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        box_decode::yolo(plan, &self.0, io.inputs[0], io.inputs[1], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        twin::box_decode::yolo(&self.0, inputs[0].1, inputs[1].1)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        nothing(plan, io.dx[1].as_ref())?;
        match &io.dx[0] {
            Some(dx) => box_decode::yolo_backward(plan, &self.0, io.inputs[0], io.inputs[1], io.dy, dx),
            None => Ok(()),
        }
    }
}

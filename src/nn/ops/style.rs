//! Statistics of images, and images in another's style.

use super::{Backward, Forward, Host, Keeps, Op, image};
use crate::gpu::{Error, PlanBuilder, Result};
use crate::kernels::{elementwise, style};
use crate::reference as twin;

/// Of each image and channel of [N, H, W, C] the mean and the standard deviation, [N, 2, C]; constants to the backward pass.
#[derive(Debug, Clone, Copy)]
pub struct ImageStatistics;

impl Op for ImageStatistics {
    fn name(&self) -> &'static str {
        "image statistics"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs {
            [[n, _, _, c]] => Ok(vec![*n, 2, *c]),
            other => Err(Error::shape("image statistics", format!("of {other:?}, expected one [N, H, W, C]"))),
        }
    }

    fn detaches(&self) -> bool {
        true
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        style::statistics(plan, io.inputs[0], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let [n, _, _, c] = image(inputs[0].0);
        twin::style::statistics(inputs[0].1, n, c, f64::from(style::EPS))
    }

    fn backward(&self, _: &mut PlanBuilder<'_>, _: &Backward<'_>) -> Result<()> {
        unreachable!("no gradient is asked of what detaches")
    }
}

/// Images in a mixture of their own style and another's (Zhou, Yang, Qiao, Xiang, "Domain generalization with MixStyle", 2021): x
/// [N, H, W, C], its own [`ImageStatistics`], those of the others [N, 2, C], and each image's share of its own \[N\], usually numbers that
/// the host writes; 1 leaves an image as it is. The gradient goes to x alone: statistics are constants.
#[derive(Debug, Clone, Copy)]
pub struct MixStatistics;

impl Op for MixStatistics {
    fn name(&self) -> &'static str {
        "mix statistics"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs {
            [x @ [n, _, _, c], own, other, share] if *own == [*n, 2, *c] && own == other && *share == [*n] => Ok(x.to_vec()),
            other => Err(Error::shape("mix statistics", format!("{other:?}, expected [N, H, W, C], [N, 2, C] twice and [N]"))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        style::mix(plan, io.inputs[0], io.inputs[1], io.inputs[2], io.inputs[3], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        twin::style::mix(inputs[0].1, inputs[1].1, inputs[2].1, inputs[3].1, image(inputs[0].0)[3])
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        for constant in io.dx[1..].iter().flatten() {
            elementwise::fill(plan, 0.0, constant)?;
        }
        match &io.dx[0] {
            Some(dx) => style::mix_backward(plan, io.inputs[1], io.inputs[2], io.inputs[3], io.dy, dx),
            None => Ok(()),
        }
    }
}

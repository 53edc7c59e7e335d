//! Feature grids that slide.

use super::{Backward, Forward, Host, Keeps, Op};
use crate::gpu::{Error, PlanBuilder, Result};
use crate::kernels::slide;
use crate::reference as twin;

/// Rows [R, D] that are grids of squares, each moved by its shift, an input of indices \[R\] (see [`slide::forward`]).
#[derive(Debug, Clone, Copy)]
pub struct Slide(pub slide::Slide);

impl Op for Slide {
    fn name(&self) -> &'static str {
        "slide"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs {
            [x @ [rows, _], [shifts]] if rows == shifts => Ok(x.to_vec()),
            other => Err(Error::shape("slide", format!("{other:?}, expected [R, D] and [R]"))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        slide::forward(plan, self.0, io.inputs[0], io.inputs[1], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let shifts: Vec<usize> = inputs[1].1.iter().map(|s| *s as usize).collect();
        twin::slide::forward(self.0, inputs[0].1, &shifts)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        match &io.dx[0] {
            Some(dx) => slide::backward(plan, self.0, io.dy, io.inputs[1], dx),
            None => Ok(()),
        }
    }
}

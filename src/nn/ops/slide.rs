//! Feature grids that slide.

use super::{Backward, Forward, Host, Keeps, Op};
use crate::gpu::{Error, PlanBuilder, Result};
use crate::kernels::slide::{self, Slide};
use crate::reference as twin;

/// What queries [Q, D] and their candidates [Q T, D], each moved by its shift, an input of indices \[Q T\], have in common:
/// [Q (T + 1), D], with a row of zeros behind each query's (see [`slide::common`]).
#[derive(Debug, Clone, Copy)]
pub struct Common(pub Slide);

impl Op for Common {
    fn name(&self) -> &'static str {
        "common"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs {
            [[queries, dim], [rows, wide], [shifts]] if dim == wide && rows == shifts && rows.is_multiple_of(*queries) => {
                Ok(vec![queries + rows, *dim])
            }
            other => Err(Error::shape("common", format!("{other:?}, expected [Q, D], [Q T, D] and [Q T]"))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        slide::common(plan, self.0, io.inputs[0], io.inputs[1], io.inputs[2], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let shifts: Vec<usize> = inputs[2].1.iter().map(|s| *s as usize).collect();
        twin::slide::common(self.0, inputs[0].1, inputs[1].1, &shifts)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        if let Some(dq) = &io.dx[0] {
            slide::common_backward_q(plan, self.0, io.inputs[1], io.dy, io.inputs[2], dq)?;
        }
        if let Some(dc) = &io.dx[1] {
            slide::common_backward_c(plan, self.0, io.inputs[0], io.dy, io.inputs[2], dc)?;
        }
        Ok(())
    }
}

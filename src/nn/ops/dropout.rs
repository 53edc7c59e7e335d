//! Values left out at random in training.

use super::{Backward, Forward, Host, Keeps, Op};
use crate::gpu::{Error, PlanBuilder, Result};
use crate::kernels::{dropout, elementwise};
use crate::reference as twin;

/// Drop-out (Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014), inverted: in
/// training elements of x, of any shape, are 0 at random and the others 1 / (1 - rate) times as large; in inference y = x.
///
/// The second input is the state: an input of two indices ([`Graph::indices`](crate::nn::Graph::indices)), seed and counter, which the
/// host writes before each step, a step's number as the counter for instance. Several ops may share it if their streams differ. The
/// same state gives the same masks on any machine, so a run can be repeated, and goes on after a break with the bits it would have had.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    /// The share dropped, from 0 to below 1.
    pub rate: f32,
    /// A number of its own for each op that reads one state.
    pub stream: u32,
}

impl Dropout {
    fn call(self) -> dropout::Dropout {
        dropout::Dropout { rate: self.rate, stream: self.stream }
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        self.call().check("dropout")?;
        match inputs {
            [x, [dropout::STATE]] => Ok(x.to_vec()),
            other => Err(Error::shape("dropout", format!("{other:?}, expected x and a state of {} indices", dropout::STATE))),
        }
    }

    /// Nothing: the mask is made again, from a state that is an input of the network and lives as long as the plan.
    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        match io.training {
            true => dropout::forward(plan, self.call(), io.inputs[0], io.inputs[1], io.output),
            false => elementwise::scaled_copy(plan, io.inputs[0], 1.0, io.output),
        }
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], training: bool) -> Vec<f64> {
        match training {
            true => twin::dropout::forward(self.call(), inputs[0].1, [0, 1].map(|i| inputs[1].1[i] as u32)),
            false => inputs[0].1.to_vec(),
        }
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        match &io.dx[0] {
            Some(dx) => dropout::backward(plan, self.call(), io.dy, io.inputs[1], dx),
            None => Ok(()),
        }
    }
}

//! Cross-entropies of logits with what they should say.

use super::{Backward, Forward, Host, Keeps, Op, nothing};
use crate::gpu::{Error, PlanBuilder, Result, Tensor};
use crate::kernels::binary_xent::{self, Focal, Target};
use crate::kernels::softmax_xent;
use crate::reference as twin;

/// Binary cross-entropy \[1\] of logits of any shape, or focal loss. Inputs, of which the logits alone get a gradient: the logits; where
/// `target` is none, as many targets of 0 to 1; where given, as many weights, of which 0 masks; and where given after these, what the sum
/// is divided by, \[1\], taken for 1 below 1. Without that the sum is divided by the number of logits, masked or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BinaryXent {
    /// What all logits should say; none where an input says it of each.
    pub target: Option<bool>,
    /// Which terms count less.
    pub focal: Focal,
}

impl BinaryXent {
    /// Which of the tensors it saves holds the accuracy \[1\] ([`binary_xent::forward`]).
    /// [`TrainingPlan::saved`](super::super::TrainingPlan::saved) has it where the graph's loss is this op itself.
    pub const ACCURACY: usize = 0;

    /// Plain cross-entropy of logits that all should say the same.
    pub fn all(target: bool) -> Self {
        Self { target: Some(target), focal: Focal::default() }
    }

    /// Of logits each with a target of its own.
    pub fn each(focal: Focal) -> Self {
        Self { target: None, focal }
    }

    /// Logits and targets, which come before weights and divisor.
    fn own(&self) -> usize {
        1 + usize::from(self.target.is_none())
    }

    fn call<'a>(&self, inputs: &[&'a Tensor]) -> binary_xent::BinaryXent<'a> {
        let beside = &inputs[self.own()..];
        binary_xent::BinaryXent {
            z: inputs[0],
            target: self.target.map_or_else(|| Target::Each(inputs[1]), Target::All),
            weights: beside.first().copied(),
            focal: self.focal,
            divisor: beside.get(1).copied(),
        }
    }
}

impl Op for BinaryXent {
    fn name(&self) -> &'static str {
        "binary xent"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let own = self.own();
        let as_many = |t: &[usize]| t.iter().product::<usize>() == inputs[0].iter().product::<usize>();
        let fits = match inputs.get(own..) {
            Some([] | [_]) => inputs[1..].iter().all(|t| as_many(t)),
            Some([_, [1]]) => inputs[1..=own].iter().all(|t| as_many(t)),
            _ => false,
        };
        let expected = if own == 1 { "logits" } else { "logits, as many targets" };
        match fits {
            true => Ok(vec![1]),
            false => Err(Error::shape(
                "binary xent",
                format!("{inputs:?}, expected {expected}, and perhaps as many weights and after these a divisor [1]"),
            )),
        }
    }

    fn saved(&self, _: &[&[usize]]) -> Vec<Vec<usize>> {
        vec![vec![1]]
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        binary_xent::forward(plan, self.call(io.inputs), io.output, &io.saved[Self::ACCURACY])
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let z = inputs[0].1;
        let same = self.target.map(|t| vec![f64::from(u8::from(t)); z.len()]);
        let beside = &inputs[self.own()..];
        let loss = twin::binary_xent::BinaryXent {
            z,
            targets: same.as_deref().unwrap_or_else(|| inputs[1].1),
            weights: beside.first().map(|w| w.1),
            focal: self.focal,
            divisor: beside.get(1).map(|d| d.1[0]),
        };
        vec![loss.run().0]
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        for constant in &io.dx[1..] {
            nothing(plan, constant.as_ref())?;
        }
        match &io.dx[0] {
            Some(dz) => binary_xent::backward(plan, self.call(io.inputs), io.dy, dz),
            None => Ok(()),
        }
    }
}

/// Cross-entropy \[1\] of scores against labels, an input of indices \[N\]: the scores, whatever their shape, are read as N rows of
/// `columns`. A row of label [`softmax_xent::IGNORE`] does not count. A third input, where given, has as many weights of rows, of which 0 masks;
/// a fourth, after it, is what the sum over the rows is divided by, \[1\], taken for 1 below 1. Without that it is the number of rows that
/// count. The scores alone get a gradient.
#[derive(Debug, Clone, Copy)]
pub struct SoftmaxXent {
    /// Classes.
    pub columns: usize,
    /// Label smoothing, 0 to 1.
    pub smoothing: f32,
}

impl SoftmaxXent {
    /// What the loss reads, where `x` are the scores as rows.
    fn call<'a>(&self, x: &'a Tensor, inputs: &[&'a Tensor]) -> softmax_xent::SoftmaxXent<'a> {
        softmax_xent::SoftmaxXent {
            x,
            target: softmax_xent::Target::Labels(inputs[1]),
            smoothing: self.smoothing,
            weights: inputs.get(2).copied(),
            divisor: inputs.get(3).copied(),
        }
    }
}

impl Op for SoftmaxXent {
    fn name(&self) -> &'static str {
        "softmax xent"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let rows = |x: &[usize], n: usize| self.columns > 0 && x.iter().product::<usize>() == n * self.columns;
        match inputs {
            [x, [n]] if rows(x, *n) => Ok(vec![1]),
            [x, [n], w] | [x, [n], w, [1]] if rows(x, *n) && w.iter().product::<usize>() == *n => Ok(vec![1]),
            other => Err(Error::shape(
                "softmax xent",
                format!("{other:?} are not N x {} scores and N labels, perhaps N weights and after these a divisor [1]", self.columns),
            )),
        }
    }

    fn saved(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        vec![vec![inputs[1][0], 4], vec![1]]
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let x = io.inputs[0].reshape(&[io.inputs[1].len(), self.columns])?;
        softmax_xent::forward(plan, self.call(&x, io.inputs), &io.saved[0], &io.saved[1], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let ignore = f64::from(softmax_xent::IGNORE as f32);
        let labels: Vec<Option<usize>> = inputs[1].1.iter().map(|v| (*v != ignore).then_some(*v as usize)).collect();
        let mut target = twin::softmax_xent::one_hot(&labels, self.columns);
        if let Some((_, weights)) = inputs.get(2) {
            target.iter_mut().enumerate().for_each(|(i, t)| *t *= weights[i / self.columns]);
        }
        let divisor = inputs.get(3).map(|d| d.1[0]);
        vec![twin::softmax_xent::run(inputs[0].1, &target, self.columns, f64::from(self.smoothing), divisor).0]
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        for constant in &io.dx[1..] {
            nothing(plan, constant.as_ref())?;
        }
        let Some(dx) = &io.dx[0] else { return Ok(()) };
        let shape = [io.inputs[1].len(), self.columns];
        let (x, dx) = (io.inputs[0].reshape(&shape)?, dx.reshape(&shape)?);
        softmax_xent::backward(plan, self.call(&x, io.inputs), &io.saved[0], &io.saved[1], io.dy, &dx)
    }
}

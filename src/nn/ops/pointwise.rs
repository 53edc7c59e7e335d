//! Values taken one by one: sums, activations, masks, channels side by side.

use super::{Backward, Forward, Halves, Host, Keeps, Op, channels};
use crate::gpu::{Error, PlanBuilder, Result, Tensor};
use crate::kernels::activation::{self, Activation};
use crate::kernels::{concat, elementwise, reduce};
use crate::reference as twin;

/// Sum of two tensors, with an optional ReLU fused.
#[derive(Debug, Clone, Copy)]
pub struct Add {
    /// Ends in a ReLU.
    pub relu: bool,
}

impl Op for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        if inputs[0] != inputs[1] {
            return Err(Error::shape("add", format!("{:?} and {:?}", inputs[0], inputs[1])));
        }
        Ok(inputs[0].to_vec())
    }

    fn stores_half(&self) -> Halves {
        Halves::ALL
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: false, output: self.relu }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        elementwise::add(plan, io.inputs[0], io.inputs[1], self.relu, io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        twin::elementwise::add(inputs[0].1, inputs[1].1, self.relu)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        for dx in io.dx.iter().flatten() {
            match self.relu {
                true => elementwise::relu_backward(plan, io.output, io.dy, dx)?,
                false => elementwise::scaled_copy(plan, io.dy, 1.0, dx)?,
            }
        }
        Ok(())
    }
}

/// A pointwise activation.
#[derive(Debug, Clone, Copy)]
pub struct Pointwise(pub Activation);

impl Op for Pointwise {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        activation::forward(plan, self.0, io.inputs[0], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        twin::activation::forward(self.0, inputs[0].1)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        match &io.dx[0] {
            Some(dx) => activation::backward(plan, self.0, io.inputs[0], io.dy, dx),
            None => Ok(()),
        }
    }
}

/// Channels of several tensors side by side.
#[derive(Debug, Clone, Copy)]
pub struct Concat;

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let (last, front) = inputs[0].split_last().ok_or_else(|| Error::shape("concat", "scalar input"))?;
        let mut sum = *last;
        for other in &inputs[1..] {
            match other.split_last() {
                Some((c, f)) if f == front => sum += c,
                _ => return Err(Error::shape("concat", format!("{:?} beside {other:?}", inputs[0]))),
            }
        }
        Ok(front.iter().copied().chain([sum]).collect())
    }

    fn stores_half(&self) -> Halves {
        Halves::ALL
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        concat::forward(plan, io.inputs, io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let width = |shape: &[usize]| shape[shape.len() - 1];
        let all: usize = inputs.iter().map(|i| width(i.0)).sum();
        let mut y = vec![0.0; inputs[0].1.len() / width(inputs[0].0) * all];
        let mut offset = 0;
        for (shape, x) in inputs {
            twin::concat::copy_channels(x, width(shape), 0, &mut y, all, offset, width(shape));
            offset += width(shape);
        }
        y
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let mut offset = 0;
        for (x, dx) in io.inputs.iter().zip(io.dx) {
            let c = channels("concat", x.shape())?;
            if let Some(dx) = dx {
                concat::copy_channels(plan, io.dy, offset, dx, 0, c)?;
            }
            offset += c;
        }
        Ok(())
    }
}

/// A whole tensor as one row, so that rows below each other are channels side by side.
fn flat(t: &Tensor) -> Result<Tensor> {
    t.reshape(&[1, t.len()])
}

/// Several tensors below each other along their first extent: [N1, ..], [N2, ..], .. to [N1 + N2 + .., ..].
#[derive(Debug, Clone, Copy)]
pub struct Stack;

impl Op for Stack {
    fn name(&self) -> &'static str {
        "stack"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let (first, inner) = inputs[0].split_first().ok_or_else(|| Error::shape("stack", "scalar input"))?;
        let mut sum = *first;
        for other in &inputs[1..] {
            match other.split_first() {
                Some((n, i)) if i == inner => sum += n,
                _ => return Err(Error::shape("stack", format!("{other:?} below {:?}", inputs[0]))),
            }
        }
        Ok([sum].into_iter().chain(inner.iter().copied()).collect())
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let parts = io.inputs.iter().map(|x| flat(x)).collect::<Result<Vec<_>>>()?;
        concat::forward(plan, &parts.iter().collect::<Vec<_>>(), &flat(io.output)?)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        inputs.iter().flat_map(|(_, x)| x.iter().copied()).collect()
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let dy = flat(io.dy)?;
        let mut offset = 0;
        for (x, dx) in io.inputs.iter().zip(io.dx) {
            if let Some(dx) = dx {
                concat::copy_channels(plan, &dy, offset, &flat(dx)?, 0, x.len())?;
            }
            offset += x.len();
        }
        Ok(())
    }
}

/// Some of a tensor's entries along its first extent: [N, ..] to [count, ..].
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// The first of them.
    pub from: usize,
    /// How many.
    pub count: usize,
}

impl Op for Rows {
    fn name(&self) -> &'static str {
        "rows"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs[0].split_first() {
            Some((n, inner)) if self.count > 0 && self.from + self.count <= *n => {
                Ok([self.count].into_iter().chain(inner.iter().copied()).collect())
            }
            _ => Err(Error::shape("rows", format!("{} from {} on of {:?}", self.count, self.from, inputs[0]))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let row = io.output.len() / self.count;
        concat::copy_channels(plan, &flat(io.inputs[0])?, self.from * row, &flat(io.output)?, 0, io.output.len())
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let (shape, x) = inputs[0];
        let row = x.len() / shape[0];
        x[self.from * row..][..self.count * row].to_vec()
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let Some(dx) = &io.dx[0] else { return Ok(()) };
        elementwise::fill(plan, 0.0, dx)?;
        let row = io.dy.len() / self.count;
        concat::copy_channels(plan, &flat(io.dy)?, 0, &flat(dx)?, self.from * row, io.dy.len())
    }
}

/// Some of a tensor's channels: [.., C] to [.., count].
#[derive(Debug, Clone, Copy)]
pub struct Channels {
    /// The first of them.
    pub from: usize,
    /// How many.
    pub count: usize,
}

impl Op for Channels {
    fn name(&self) -> &'static str {
        "channels"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs[0].split_last() {
            Some((c, outer)) if self.count > 0 && self.from + self.count <= *c => Ok([outer, &[self.count]].concat()),
            _ => Err(Error::shape("channels", format!("{} from {} on of {:?}", self.count, self.from, inputs[0]))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        concat::copy_channels(plan, io.inputs[0], self.from, io.output, 0, self.count)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let (shape, x) = inputs[0];
        x.chunks(shape[shape.len() - 1]).flat_map(|row| &row[self.from..][..self.count]).copied().collect()
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let Some(dx) = &io.dx[0] else { return Ok(()) };
        elementwise::fill(plan, 0.0, dx)?;
        concat::copy_channels(plan, io.dy, 0, dx, self.from, self.count)
    }
}

/// Features of the second input's valid pixels: x [N, H, W, C] where the last channel of a patch [N, H, W, M] is at least `least`,
/// else 0. The patch gets no gradient.
#[derive(Debug, Clone, Copy)]
pub struct KeepValid {
    /// Smallest share of valid pixels that counts.
    pub least: f32,
}

impl Op for KeepValid {
    fn name(&self) -> &'static str {
        "keep valid"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match (inputs[0].split_last(), inputs[1].split_last()) {
            (Some((_, a)), Some((_, b))) if a == b => Ok(inputs[0].to_vec()),
            _ => Err(Error::shape("keep valid", format!("{:?} by the validity of {:?}", inputs[0], inputs[1]))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        elementwise::keep_where(plan, io.inputs[1], self.least, io.inputs[0], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let last = |i: usize| inputs[i].0[inputs[i].0.len() - 1];
        twin::elementwise::keep_where(inputs[1].1, last(1), f64::from(self.least), inputs[0].1, last(0))
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        match &io.dx[0] {
            Some(dx) => elementwise::keep_where(plan, io.inputs[1], self.least, io.dy, dx),
            None => Ok(()),
        }
    }
}

/// Sum of tensors of one shape, each times its weight.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedSum {
    /// A factor for each input.
    pub weights: Vec<f32>,
}

impl Op for WeightedSum {
    fn name(&self) -> &'static str {
        "weighted sum"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs.first() {
            Some(first) if inputs.len() == self.weights.len() && inputs.iter().all(|s| s == first) => Ok(first.to_vec()),
            _ => Err(Error::shape(self.name(), format!("{} weights for {inputs:?}", self.weights.len()))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        elementwise::scaled_copy(plan, io.inputs[0], self.weights[0], io.output)?;
        for (x, w) in io.inputs.iter().zip(&self.weights).skip(1) {
            elementwise::accumulate(plan, x, *w, io.output)?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let zero = vec![0.0; inputs[0].1.len()];
        inputs.iter().zip(&self.weights).fold(zero, |sum, ((_, x), w)| twin::elementwise::accumulate(x, f64::from(*w), &sum))
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        for (dx, w) in io.dx.iter().zip(&self.weights) {
            if let Some(dx) = dx {
                elementwise::scaled_copy(plan, io.dy, *w, dx)?;
            }
        }
        Ok(())
    }
}

/// The sum of each row: [R, C] to [R, 1].
#[derive(Debug, Clone, Copy)]
pub struct RowSum;

impl RowSum {
    /// A row as a column, as `reduce` sums.
    fn standing(x: &Tensor) -> Result<Tensor> {
        x.reshape(&[x.shape()[0], x.shape()[1], 1])
    }
}

impl Op for RowSum {
    fn name(&self) -> &'static str {
        "row sum"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs {
            [[rows, _]] => Ok(vec![*rows, 1]),
            _ => Err(Error::shape(self.name(), format!("{inputs:?} is not one [R, C]"))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        reduce::batched(plan, &Self::standing(io.inputs[0])?, io.output, 1.0, false)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        twin::reduce::batched(inputs[0].1, inputs[0].0[0], 1, 1.0)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        match &io.dx[0] {
            Some(dx) => reduce::backward(plan, io.dy, &Self::standing(dx)?, 1.0),
            None => Ok(()),
        }
    }
}

/// The input, whose gradient stops here.
#[derive(Debug, Clone, Copy)]
pub struct Detach;

impl Op for Detach {
    fn name(&self) -> &'static str {
        "detach"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }

    fn detaches(&self) -> bool {
        true
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        elementwise::scaled_copy(plan, io.inputs[0], 1.0, io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        inputs[0].1.to_vec()
    }

    fn backward(&self, _: &mut PlanBuilder<'_>, _: &Backward<'_>) -> Result<()> {
        unreachable!("no gradient is asked of what detaches")
    }
}

//! What losses that align two modalities are made of: products and discrepancies of clouds of rows, a critic with its gradient
//! penalty, adversaries behind a reversed gradient, and sums of losses.
//!
//! A critic of LeakyReLU layers is piecewise linear: its gradient in its input is a product of its weights and of its slopes, which
//! [`LinearTransposed`] and [`Slope`] spell out as nodes of the graph. So the penalty on that gradient needs no differentiation
//! twice; the ordinary backward pass through those nodes is its exact gradient in the weights.

use super::{Backward, Forward, Host, Init, Keeps, Op, ParamKind, ParamSpec, nothing, rows, spec};
use crate::gpu::{Error, PlanBuilder, Result, Tensor};
use crate::kernels::activation::{self, Activation};
use crate::kernels::{center, critic, discrepancy, elementwise, matmul, reduce};
use crate::reference as twin;

pub use crate::kernels::discrepancy::Measure;

/// The two extents of a matrix.
fn matrix(op: &str, shape: &[usize]) -> Result<[usize; 2]> {
    shape.try_into().map_err(|_| Error::shape(op, format!("{shape:?} is not a matrix")))
}

/// Refuses another number of inputs than `N`.
fn take<'a, const N: usize>(op: &str, inputs: &[&'a [usize]]) -> Result<[&'a [usize]; N]> {
    inputs.try_into().map_err(|_| Error::shape(op, format!("takes {N} inputs, not {}", inputs.len())))
}

/// All products of the rows of a [N, D] with those of b [M, D]: a b^T [N, M]. Both may be the same node.
#[derive(Debug, Clone, Copy)]
pub struct Product;

impl Op for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match take("product", inputs)? {
            [[n, d], [m, e]] if d == e => Ok(vec![*n, *m]),
            [a, b] => Err(Error::shape("product", format!("rows of {a:?} with those of {b:?}"))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        matmul::matmul(plan, io.inputs[0], matmul::Op::Plain, io.inputs[1], matmul::Op::Transposed, io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let ([n, d], [m, _]) = (inputs[0].0, inputs[1].0) else { unreachable!("shape() accepted it") };
        twin::matmul::matmul(inputs[0].1, &twin::matmul::transpose(inputs[1].1, *m, *d), *n, *d, *m)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        if let Some(da) = &io.dx[0] {
            matmul::matmul(plan, io.dy, matmul::Op::Plain, io.inputs[1], matmul::Op::Plain, da)?;
        }
        match &io.dx[1] {
            Some(db) => matmul::matmul(plan, io.dy, matmul::Op::Transposed, io.inputs[0], matmul::Op::Plain, db),
            None => Ok(()),
        }
    }
}

/// y [B, d] = x w^T for x [B, out], with the `weight` [d, out] of a [`Linear`](super::Linear) of the same name: how a gradient goes back
/// through that layer. There is no bias. Which of the two is added first makes no difference.
#[derive(Debug, Clone, Copy)]
pub struct LinearTransposed {
    /// Length d of that layer's input.
    pub inputs: usize,
}

impl Op for LinearTransposed {
    fn name(&self) -> &'static str {
        "linear transposed"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [x] = take(self.name(), inputs)?;
        Ok(vec![matrix(self.name(), x)?[0], self.inputs])
    }

    fn params(&self, inputs: &[&[usize]]) -> Vec<ParamSpec> {
        let d = self.inputs;
        // As Linear asks for it.
        vec![spec("weight", &[d, inputs[0][1]], Init::HeNormal { fan_in: 2 * d }, ParamKind::Weight)]
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        matmul::matmul(plan, io.inputs[0], matmul::Op::Plain, io.params[0], matmul::Op::Transposed, io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], params: &[&[f64]], _: bool) -> Vec<f64> {
        let [b, out] = [inputs[0].0[0], inputs[0].0[1]];
        twin::matmul::matmul(inputs[0].1, &twin::matmul::transpose(params[0], self.inputs, out), b, out, self.inputs)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        if let Some(dw) = &io.dparams[0] {
            matmul::matmul(plan, io.dy, matmul::Op::Transposed, io.inputs[0], matmul::Op::Plain, dw)?;
        }
        match &io.dx[0] {
            Some(dx) => matmul::matmul(plan, io.dy, matmul::Op::Plain, io.params[0], matmul::Op::Plain, dx),
            None => Ok(()),
        }
    }
}

/// The second input v times the derivative of a LeakyReLU at the first, h: v where h > 0, else slope v; both of one shape.
///
/// The derivative is piecewise constant, so the exact gradient in h is 0 wherever it exists: h gets zeros, and v alone learns.
#[derive(Debug, Clone, Copy)]
pub struct Slope {
    /// Slope of the LeakyReLU below 0.
    pub slope: f32,
}

impl Op for Slope {
    fn name(&self) -> &'static str {
        "slope"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match take("slope", inputs)? {
            [h, v] if h == v => Ok(h.to_vec()),
            [h, v] => Err(Error::shape("slope", format!("{v:?} at {h:?}"))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    // Linear in v and its own adjoint: both passes are the activation's gradient at h.
    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        activation::backward(plan, Activation::LeakyRelu(self.slope), io.inputs[0], io.inputs[1], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        twin::activation::backward(Activation::LeakyRelu(self.slope), inputs[0].1, inputs[1].1)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        nothing(plan, io.dx[0].as_ref())?;
        match &io.dx[1] {
            Some(dv) => activation::backward(plan, Activation::LeakyRelu(self.slope), io.inputs[0], io.dy, dv),
            None => Ok(()),
        }
    }
}

/// How far the rows of g [B, D] are from length 1: \[1\], the mean of (|g| - 1)^2 (Gulrajani et al., "Improved training of Wasserstein
/// GANs", 2017), or of max(|g| - 1, 0)^2 (Petzka et al., "On the regularization of Wasserstein GANs", 2018). A row of length 0 has no
/// direction and gets no gradient.
#[derive(Debug, Clone, Copy)]
pub struct GradientPenalty {
    /// Only lengths above 1 cost.
    pub one_sided: bool,
}

impl Op for GradientPenalty {
    fn name(&self) -> &'static str {
        "gradient penalty"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [g] = take(self.name(), inputs)?;
        matrix(self.name(), g)?;
        Ok(vec![1])
    }

    /// The rows' lengths.
    fn saved(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        vec![vec![inputs[0][0]]]
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        critic::penalty(plan, self.one_sided, io.inputs[0], &io.saved[0], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        vec![twin::critic::penalty(inputs[0].1, inputs[0].0[1], self.one_sided).0]
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        match &io.dx[0] {
            Some(dg) => critic::penalty_backward(plan, self.one_sided, io.inputs[0], &io.saved[0], io.dy, dg),
            None => Ok(()),
        }
    }
}

/// Places between the rows of a [B, D] and b [B, D]: e_i a_i + (1 - e_i) b_i, with the shares e \[B\] or [B, 1], usually random
/// numbers that the host writes. All three get their gradients.
#[derive(Debug, Clone, Copy)]
pub struct Interpolate;

impl Op for Interpolate {
    fn name(&self) -> &'static str {
        "interpolate"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match take("interpolate", inputs)? {
            [[n, d], b, [m] | [m, 1]] if *b == [*n, *d] && m == n => Ok(b.to_vec()),
            [a, b, e] => Err(Error::shape("interpolate", format!("between {a:?} and {b:?} with shares {e:?}"))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let e = io.inputs[2].reshape(&[io.inputs[2].len()])?;
        critic::interpolate(plan, io.inputs[0], io.inputs[1], &e, io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        twin::critic::interpolate(inputs[0].1, inputs[1].1, inputs[2].1, inputs[0].0[1])
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let e = io.inputs[2].reshape(&[io.inputs[2].len()])?;
        critic::interpolate_backward(plan, &e, io.dy, io.dx[0].as_ref(), io.dx[1].as_ref())?;
        match &io.dx[2] {
            Some(de) => critic::interpolate_backward_e(plan, io.inputs[0], io.inputs[1], io.dy, &de.reshape(e.shape())?),
            None => Ok(()),
        }
    }
}

/// \[1\], the sum over the inputs of a weight times the input's mean: losses put together, or the difference of a critic's mean
/// scores. The inputs may have any shapes.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedMeans {
    /// A factor for each input.
    pub weights: Vec<f32>,
}

impl Op for WeightedMeans {
    fn name(&self) -> &'static str {
        "weighted means"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        if inputs.is_empty() || inputs.len() != self.weights.len() {
            return Err(Error::shape(self.name(), format!("{} weights for {} inputs", self.weights.len(), inputs.len())));
        }
        match inputs.iter().find(|s| s.iter().product::<usize>() == 0) {
            Some(s) => Err(Error::shape(self.name(), format!("{s:?} has no mean"))),
            None => Ok(vec![1]),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        for (k, (x, w)) in io.inputs.iter().zip(&self.weights).enumerate() {
            reduce::columns(plan, x, io.output, w / x.len() as f32, k > 0)?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let each = inputs.iter().zip(&self.weights).map(|((_, x), w)| twin::reduce::columns(x, 1, f64::from(*w) / x.len() as f64)[0]);
        vec![each.sum()]
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        for (dx, w) in io.dx.iter().zip(&self.weights) {
            if let Some(dx) = dx {
                reduce::backward(plan, io.dy, dx, w / dx.len() as f32)?;
            }
        }
        Ok(())
    }
}

/// The first input x unchanged; its gradient is -factor dy (Ganin and Lempitsky, "Unsupervised domain adaptation by
/// backpropagation", 2015), so what lies before learns to make the loss behind it larger. The second input, factor \[1\], is one of
/// the graph's inputs, which the host rewrites from step to step; it gets no gradient.
#[derive(Debug, Clone, Copy)]
pub struct ReverseGradient;

impl Op for ReverseGradient {
    fn name(&self) -> &'static str {
        "reverse gradient"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match take("reverse gradient", inputs)? {
            [x, [1]] => Ok(x.to_vec()),
            [x, factor] => Err(Error::shape("reverse gradient", format!("{x:?} with a factor {factor:?}, expected [1]"))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        elementwise::scaled_copy(plan, io.inputs[0], 1.0, io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        inputs[0].1.to_vec()
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        nothing(plan, io.dx[1].as_ref())?;
        match &io.dx[0] {
            Some(dx) => elementwise::scaled_by(plan, io.dy, io.inputs[1], -1.0, dx),
            None => Ok(()),
        }
    }
}

/// How far apart two clouds of rows lie: \[1\], from their [`Product`]s ab [N, M], aa [N, N] and bb [M, M].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Discrepancy {
    /// What is measured, and of which rows.
    pub measure: Measure,
}

impl Op for Discrepancy {
    fn name(&self) -> &'static str {
        "discrepancy"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match take("discrepancy", inputs)? {
            [&[n, m], aa, bb] if aa == [n, n] && bb == [m, m] => self.measure.weights(n, m).map(|_| vec![1]),
            [ab, aa, bb] => {
                Err(Error::shape("discrepancy", format!("products {ab:?}, {aa:?} and {bb:?}, expected [N, M], [N, N] and [M, M]")))
            }
        }
    }

    fn saved(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        vec![discrepancy::parts_shape(inputs[0][0], inputs[0][1]).to_vec()]
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let &[ab, aa, bb] = io.inputs else { unreachable!("shape() accepted it") };
        discrepancy::forward(plan, self.measure, [ab, aa, bb], &io.saved[0], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let [n, m] = [inputs[0].0[0], inputs[0].0[1]];
        vec![twin::discrepancy::run(self.measure, n, m, [inputs[0].1, inputs[1].1, inputs[2].1]).0]
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let (&[ab, aa, bb], [dab, daa, dbb]) = (io.inputs, io.dx) else { unreachable!("shape() accepted it") };
        discrepancy::backward(plan, self.measure, [ab, aa, bb], io.dy, [dab.as_ref(), daa.as_ref(), dbb.as_ref()])
    }
}

/// The rows of x [N, ..] less their mean: a cloud about 0, as [`Measure::Coral`] wants it.
#[derive(Debug, Clone, Copy)]
pub struct CenterRows;

/// The whole batch as one image, each row a pixel.
fn cloud(t: &Tensor) -> Result<Tensor> {
    let t = rows(t)?;
    t.reshape(&[1, t.shape()[0], 1, t.shape()[1]])
}

impl Op for CenterRows {
    fn name(&self) -> &'static str {
        "center rows"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match take("center rows", inputs)? {
            [x] if x.iter().product::<usize>() > 0 && x.len() > 1 => Ok(x.to_vec()),
            [x] => Err(Error::shape("center rows", format!("{x:?} has no rows"))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        center::forward(plan, &cloud(io.inputs[0])?, &cloud(io.output)?)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let (shape, x) = inputs[0];
        twin::center::forward(x, 1, x.len() / shape[0])
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        match &io.dx[0] {
            Some(dx) => center::backward(plan, &cloud(io.dy)?, &cloud(dx)?),
            None => Ok(()),
        }
    }
}

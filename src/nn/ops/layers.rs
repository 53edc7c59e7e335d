//! Layers: each an [`Op`] over one kernel family.

use super::{Backward, Forward, Host, Init, Keeps, Op, ParamKind, ParamSpec};
use crate::gpu::{DType, Error, PlanBuilder, Result, Tensor};
use crate::kernels::activation::{self, Activation};
use crate::kernels::conv::{self, Conv};
use crate::kernels::{bias, center, concat, elementwise, l2norm, matmul, norm, pool, upsample};
use crate::reference as twin;

pub(super) fn spec(name: &'static str, shape: &[usize], init: Init, kind: ParamKind) -> ParamSpec {
    ParamSpec { name, shape: shape.to_vec(), init, kind }
}

fn channels(op: &str, shape: &[usize]) -> Result<usize> {
    shape.last().copied().ok_or_else(|| Error::shape(op, "scalar input"))
}

/// The extents of an image batch that [`Op::shape`] has accepted.
fn image(shape: &[usize]) -> [usize; 4] {
    shape.try_into().expect("[N, H, W, C]")
}

/// The rows of a tensor: the first extent against all the others.
pub(super) fn rows(t: &Tensor) -> Result<Tensor> {
    let n = t.shape()[0];
    t.reshape(&[n, t.len() / n.max(1)])
}

/// 2-D convolution with an optional bias and ReLU in its epilogue.
#[derive(Debug, Clone, Copy)]
pub struct Conv2d {
    /// Kernel, stride, padding, dilation, groups.
    pub geometry: Conv,
    /// Output channels.
    pub channels: usize,
    /// Adds a bias.
    pub bias: bool,
    /// Ends in a ReLU.
    pub relu: bool,
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(self.geometry.output(inputs[0], self.channels)?.to_vec())
    }

    fn params(&self, inputs: &[&[usize]]) -> Vec<ParamSpec> {
        let shape = self.geometry.weights(inputs[0][3], self.channels);
        let mut all = vec![spec("weight", &shape, Init::HeNormal { fan_in: shape[0] * shape[1] }, ParamKind::Weight)];
        if self.bias {
            all.push(spec("bias", &[self.channels], Init::Constant(0.0), ParamKind::Free));
        }
        all
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: self.relu }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        conv::forward(plan, &self.geometry, io.inputs[0], io.params[0], io.params.get(1).copied(), self.relu, io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], params: &[&[f64]], _: bool) -> Vec<f64> {
        let (shape, x) = inputs[0];
        let s = twin::conv::Sizes::new(&self.geometry, image(shape), self.channels).expect("shape() accepted it");
        let mut y = twin::conv::forward(&self.geometry, s, x, params[0], params.get(1).copied());
        if self.relu {
            y.iter_mut().for_each(|v| *v = v.max(0.0));
        }
        y
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let masked;
        let mut dy = io.dy;
        if self.relu {
            masked = plan.engine().tensor("masked gradient", dy.shape(), DType::F32)?;
            elementwise::relu_backward(plan, io.output, dy, &masked)?;
            dy = &masked;
        }
        if let Some(db) = io.dparams.get(1).and_then(Option::as_ref) {
            crate::kernels::reduce::columns(plan, dy, db, 1.0, false)?;
        }
        if let Some(dw) = &io.dparams[0] {
            conv::backward_weights(plan, &self.geometry, io.inputs[0], dy, dw)?;
        }
        match &io.dx[0] {
            Some(dx) => conv::backward_input(plan, &self.geometry, dy, io.params[0], dx),
            None => Ok(()),
        }
    }
}

/// Batch normalisation, with an optional ReLU fused.
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm {
    /// Ends in a ReLU.
    pub relu: bool,
    /// Added to the variance.
    pub eps: f32,
    /// Weight of the batch in the running statistics.
    pub momentum: f32,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self { relu: false, eps: 1e-5, momentum: 0.1 }
    }
}

impl BatchNorm {
    fn norm<'a>(&self, params: &[&'a Tensor]) -> norm::Norm<'a> {
        norm::Norm { gamma: params[0], beta: params[1], eps: self.eps, relu: self.relu }
    }
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }

    fn params(&self, inputs: &[&[usize]]) -> Vec<ParamSpec> {
        let c = [*inputs[0].last().unwrap_or(&0)];
        vec![
            spec("weight", &c, Init::Constant(1.0), ParamKind::Free),
            spec("bias", &c, Init::Constant(0.0), ParamKind::Free),
            spec("running_mean", &c, Init::Constant(0.0), ParamKind::Statistic),
            spec("running_var", &c, Init::Constant(1.0), ParamKind::Statistic),
        ]
    }

    fn saved(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        vec![vec![2, *inputs[0].last().unwrap_or(&0)]]
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let running = norm::Running { mean: io.params[2], var: io.params[3] };
        match io.training {
            true => norm::forward_batch(plan, &self.norm(io.params), &running, self.momentum, io.inputs[0], io.output, &io.saved[0]),
            false => norm::forward_frozen(plan, &self.norm(io.params), &running, io.inputs[0], io.output, &io.saved[0]),
        }
    }

    fn reference(&self, inputs: &[Host<'_>], params: &[&[f64]], training: bool) -> Vec<f64> {
        let (shape, x) = inputs[0];
        let (mean, var) = match training {
            true => twin::norm::statistics(x, shape[shape.len() - 1]),
            false => (params[2].to_vec(), params[3].to_vec()),
        };
        twin::norm::apply(x, &mean, &var, f64::from(self.eps), params[0], params[1], self.relu)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let scratch;
        let dx = match &io.dx[0] {
            Some(dx) => dx,
            None => {
                scratch = plan.engine().tensor("unused gradient", io.dy.shape(), DType::F32)?;
                &scratch
            }
        };
        let (Some(dgamma), Some(dbeta)) = (&io.dparams[0], &io.dparams[1]) else { unreachable!("both are trained") };
        let b = norm::Backward { x: io.inputs[0], saved: &io.saved[0], dy: io.dy, dx, dgamma, dbeta, accumulate: false };
        norm::backward(plan, &self.norm(io.params), norm::Stats::Batch, &b)
    }
}

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

/// Largest value of each window.
#[derive(Debug, Clone, Copy)]
pub struct MaxPool {
    /// Window side.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Border that no value comes from.
    pub pad: usize,
}

/// Mean of each window over the pixels inside the image.
#[derive(Debug, Clone, Copy)]
pub struct AvgPool {
    /// Window side.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Border that no value comes from.
    pub pad: usize,
}

macro_rules! pool_op {
    ($op:ident, $name:literal, $kind:expr, $keeps:literal) => {
        impl $op {
            fn window(&self) -> pool::Window {
                pool::Window { kernel: (self.kernel, self.kernel), stride: (self.stride, self.stride), padding: (self.pad, self.pad) }
            }
        }

        impl Op for $op {
            fn name(&self) -> &'static str {
                $name
            }

            fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
                let [n, h, w, c] = inputs[0] else { return Err(Error::shape($name, format!("{:?} is not [N, H, W, C]", inputs[0]))) };
                let (oh, ow) = self.window().output(*h, *w)?;
                Ok(vec![*n, oh, ow, *c])
            }

            fn keeps(&self) -> Keeps {
                Keeps { inputs: $keeps, output: false }
            }

            fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
                pool::forward(plan, $kind, &self.window(), io.inputs[0], io.output)
            }

            fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
                twin::pool::forward($kind, &self.window(), inputs[0].1, image(inputs[0].0))
            }

            fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
                match &io.dx[0] {
                    Some(dx) => pool::backward(plan, $kind, &self.window(), io.inputs[0], io.dy, dx),
                    None => Ok(()),
                }
            }
        }
    };
}

pool_op!(MaxPool, "max pool", pool::Pool::Max, true);
pool_op!(AvgPool, "average pool", pool::Pool::Average, false);

/// Generalised mean over the whole image: [N, H, W, C] to [N, C], with a learned exponent.
#[derive(Debug, Clone, Copy)]
pub struct Gem {
    /// Exponent at the start.
    pub p: f32,
    /// Smallest value that enters the power.
    pub eps: f32,
}

impl Op for Gem {
    fn name(&self) -> &'static str {
        "generalised mean"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs[0] {
            [n, _, _, c] => Ok(vec![*n, *c]),
            other => Err(Error::shape("generalised mean", format!("{other:?} is not [N, H, W, C]"))),
        }
    }

    fn params(&self, _: &[&[usize]]) -> Vec<ParamSpec> {
        vec![spec("p", &[1], Init::Constant(self.p), ParamKind::Free)]
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: true }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        pool::generalised_mean(plan, io.inputs[0], io.params[0], self.eps, io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], params: &[&[f64]], _: bool) -> Vec<f64> {
        let [n, _, _, c] = image(inputs[0].0);
        twin::pool::generalised_mean(inputs[0].1, n, c, params[0][0], f64::from(self.eps))
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let scratch;
        let dx = match &io.dx[0] {
            Some(dx) => dx,
            None => {
                scratch = plan.engine().tensor("unused gradient", io.inputs[0].shape(), DType::F32)?;
                &scratch
            }
        };
        let Some(dp) = &io.dparams[0] else { unreachable!("the exponent is trained") };
        pool::generalised_mean_backward(plan, io.inputs[0], io.output, io.params[0], self.eps, io.dy, dx, dp, false)
    }
}

/// y = x w + bias over rows: everything after the first extent is one vector.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    /// Length of the output vector.
    pub out: usize,
    /// Adds a bias.
    pub bias: bool,
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(vec![inputs[0][0], self.out])
    }

    fn params(&self, inputs: &[&[usize]]) -> Vec<ParamSpec> {
        let d = inputs[0][1..].iter().product();
        let mut all = vec![spec("weight", &[d, self.out], Init::HeNormal { fan_in: 2 * d }, ParamKind::Weight)];
        if self.bias {
            all.push(spec("bias", &[self.out], Init::Constant(0.0), ParamKind::Free));
        }
        all
    }

    fn saved(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        if self.bias { vec![vec![inputs[0][0], self.out]] } else { Vec::new() }
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let x = rows(io.inputs[0])?;
        let product = io.saved.first().unwrap_or(io.output);
        matmul::matmul(plan, &x, matmul::Op::Plain, io.params[0], matmul::Op::Plain, product)?;
        match io.params.get(1) {
            Some(b) => bias::forward(plan, product, None, b, false, io.output),
            None => Ok(()),
        }
    }

    fn reference(&self, inputs: &[Host<'_>], params: &[&[f64]], _: bool) -> Vec<f64> {
        let (shape, x) = inputs[0];
        let mut y = twin::matmul::matmul(x, params[0], shape[0], x.len() / shape[0], self.out);
        if let Some(b) = params.get(1) {
            y.iter_mut().enumerate().for_each(|(i, v)| *v += b[i % self.out]);
        }
        y
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let x = rows(io.inputs[0])?;
        if let Some(dw) = &io.dparams[0] {
            matmul::matmul(plan, &x, matmul::Op::Transposed, io.dy, matmul::Op::Plain, dw)?;
        }
        if let Some(db) = io.dparams.get(1).and_then(Option::as_ref) {
            crate::kernels::reduce::columns(plan, io.dy, db, 1.0, false)?;
        }
        match &io.dx[0] {
            Some(dx) => matmul::matmul(plan, io.dy, matmul::Op::Plain, io.params[0], matmul::Op::Transposed, &rows(dx)?),
            None => Ok(()),
        }
    }
}

/// Each channel less its mean over the image.
#[derive(Debug, Clone, Copy)]
pub struct Center;

impl Op for Center {
    fn name(&self) -> &'static str {
        "center"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        channels("center", inputs[0])?;
        Ok(inputs[0].to_vec())
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        center::forward(plan, io.inputs[0], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let [n, _, _, c] = image(inputs[0].0);
        twin::center::forward(inputs[0].1, n, c)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        match &io.dx[0] {
            Some(dx) => center::backward(plan, io.dy, dx),
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

/// What a vector of unit length is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Everything after the first extent: one vector an image, [N, D].
    Image,
    /// The same, but the shape stays.
    Whole,
    /// The channels of each pixel; the shape stays.
    Pixel,
}

/// Vectors scaled to unit length.
#[derive(Debug, Clone, Copy)]
pub struct L2Norm {
    /// What one vector is.
    pub span: Span,
    /// Smallest length divided by.
    pub eps: f32,
}

impl L2Norm {
    fn rows(&self, t: &Tensor) -> Result<Tensor> {
        match self.span {
            Span::Image | Span::Whole => rows(t),
            Span::Pixel => {
                let c = channels("unit length", t.shape())?;
                t.reshape(&[t.len() / c.max(1), c])
            }
        }
    }
}

impl Op for L2Norm {
    fn name(&self) -> &'static str {
        "unit length"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(match self.span {
            Span::Image => vec![inputs[0][0], inputs[0][1..].iter().product()],
            Span::Pixel | Span::Whole => inputs[0].to_vec(),
        })
    }

    fn saved(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        let all: usize = inputs[0].iter().product();
        vec![vec![match self.span {
            Span::Image | Span::Whole => inputs[0][0],
            Span::Pixel => all / inputs[0].last().copied().unwrap_or(1).max(1),
        }]]
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: false, output: true }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        l2norm::forward(plan, self.eps, &self.rows(io.inputs[0])?, &self.rows(io.output)?, &io.saved[0])
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let (shape, x) = inputs[0];
        let d = match self.span {
            Span::Image | Span::Whole => x.len() / shape[0],
            Span::Pixel => shape[shape.len() - 1],
        };
        twin::l2norm::forward(x, d, f64::from(self.eps)).0
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        match &io.dx[0] {
            Some(dx) => l2norm::backward(plan, self.eps, &self.rows(io.output)?, &self.rows(io.dy)?, &io.saved[0], &self.rows(dx)?),
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

/// Enlarges an image by a whole factor.
#[derive(Debug, Clone, Copy)]
pub struct Upsample {
    /// Factor along both sides.
    pub factor: usize,
    /// Bilinear, else the nearest pixel.
    pub bilinear: bool,
}

impl Upsample {
    fn mode(&self) -> upsample::Upsample {
        if self.bilinear { upsample::Upsample::Bilinear } else { upsample::Upsample::Nearest }
    }
}

impl Op for Upsample {
    fn name(&self) -> &'static str {
        "upsample"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs[0] {
            [n, h, w, c] => Ok(vec![*n, h * self.factor, w * self.factor, *c]),
            other => Err(Error::shape("upsample", format!("{other:?} is not [N, H, W, C]"))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        upsample::forward(plan, self.mode(), self.factor, io.inputs[0], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        twin::upsample::forward(self.mode(), self.factor, inputs[0].1, image(inputs[0].0))
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        match &io.dx[0] {
            Some(dx) => upsample::backward(plan, self.mode(), self.factor, io.dy, dx),
            None => Ok(()),
        }
    }
}

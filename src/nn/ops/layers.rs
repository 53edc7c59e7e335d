//! Products with weights: convolution and linear layers.

use super::{Backward, Forward, Halves, Host, Init, Keeps, Op, ParamKind, ParamSpec, image, rows, spec};
use crate::gpu::{PlanBuilder, Result};
use crate::kernels::conv::{self, Conv};
use crate::kernels::{elementwise, matmul};
use crate::reference as twin;

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

    fn mixes(&self) -> bool {
        true
    }

    fn stores_half(&self) -> Halves {
        // A bias's gradient is summed from dy, and a ReLU's masked copy of it made, in f32.
        Halves { inputs: true, output: !self.bias && !self.relu }
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
            masked = plan.engine().tensor("masked gradient", dy.shape(), dy.dtype())?;
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

    fn mixes(&self) -> bool {
        true
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let x = rows(io.inputs[0])?;
        match io.params.get(1) {
            Some(bias) => matmul::linear(plan, &x, io.params[0], bias, io.output),
            None => matmul::matmul(plan, &x, matmul::Op::Plain, io.params[0], matmul::Op::Plain, io.output),
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

//! Normalisation: batch statistics, means removed, unit length.

use super::{Backward, Forward, Halves, Host, Init, Keeps, Op, ParamKind, ParamSpec, channels, image, rows, spec};
use crate::gpu::{PlanBuilder, Result, Tensor};
use crate::kernels::{center, l2norm, norm};
use crate::reference as twin;

/// What of a batch normalisation training leaves as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Frozen {
    /// Nothing: the batch is normalised by its own statistics, and the running ones follow.
    #[default]
    Nothing,
    /// The running statistics, which normalise the batch: where batches are too small to have statistics of their own, detectors' for instance.
    Statistics,
    /// The scale and the offset too: y = s x + t with constants (torchvision's `FrozenBatchNorm2d`).
    All,
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
    /// What is not trained.
    pub frozen: Frozen,
    /// What the scale starts from.
    pub scale: f32,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self { relu: false, eps: 1e-5, momentum: 0.1, frozen: Frozen::Nothing, scale: 1.0 }
    }
}

impl BatchNorm {
    fn norm<'a>(&self, params: &[&'a Tensor]) -> norm::Norm<'a> {
        norm::Norm { gamma: params[0], beta: params[1], eps: self.eps, relu: self.relu }
    }

    /// Whether it is the batch's own statistics that count.
    fn own_statistics(&self, training: bool) -> bool {
        training && self.frozen == Frozen::Nothing
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
        let own = if self.frozen == Frozen::All { ParamKind::Statistic } else { ParamKind::Free };
        vec![
            spec("weight", &c, Init::Constant(self.scale), own),
            spec("bias", &c, Init::Constant(0.0), own),
            spec("running_mean", &c, Init::Constant(0.0), ParamKind::Statistic),
            spec("running_var", &c, Init::Constant(1.0), ParamKind::Statistic),
        ]
    }

    fn saved(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        vec![vec![2, *inputs[0].last().unwrap_or(&0)]]
    }

    fn stores_half(&self) -> Halves {
        Halves::ALL
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let running = norm::Running { mean: io.params[2], var: io.params[3] };
        match self.own_statistics(io.training) {
            true => norm::forward_batch(plan, &self.norm(io.params), &running, self.momentum, io.inputs[0], io.output, &io.saved[0]),
            false => norm::forward_frozen(plan, &self.norm(io.params), &running, io.inputs[0], io.output, &io.saved[0]),
        }
    }

    fn reference(&self, inputs: &[Host<'_>], params: &[&[f64]], training: bool) -> Vec<f64> {
        let (shape, x) = inputs[0];
        let (mean, var) = match self.own_statistics(training) {
            true => twin::norm::statistics(x, shape[shape.len() - 1]),
            false => (params[2].to_vec(), params[3].to_vec()),
        };
        twin::norm::apply(x, &mean, &var, f64::from(self.eps), params[0], params[1], self.relu)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let (x, saved, norm) = (io.inputs[0], &io.saved[0], self.norm(io.params));
        let stats = if self.own_statistics(true) { norm::Stats::Batch } else { norm::Stats::Frozen };
        if let ([Some(dx)], [None, None, ..], norm::Stats::Frozen) = (io.dx, io.dparams, stats) {
            return norm::backward_constant(plan, &norm, x, saved, io.dy, dx);
        }
        // Whoever is frozen takes none.
        let unused = |like: &Tensor| plan.engine().tensor("unused gradient", like.shape(), like.dtype());
        let or_unused = |gradient: &Option<Tensor>, like: &Tensor| gradient.clone().map_or_else(|| unused(like), Ok);
        let dx = or_unused(&io.dx[0], x)?;
        let [dgamma, dbeta] = [or_unused(&io.dparams[0], norm.gamma)?, or_unused(&io.dparams[1], norm.beta)?];
        let b = norm::Backward { x, saved, dy: io.dy, dx: &dx, dgamma: &dgamma, dbeta: &dbeta, accumulate: false };
        norm::backward(plan, &norm, stats, &b)
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

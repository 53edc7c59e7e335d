//! The ops a network is made of. An op is one implementation of [`Op`]: shape rule, forward, gradient. Adding one touches
//! nothing else.

mod align;
mod bands;
mod boxes;
mod correlate;
mod dropout;
mod graph;
mod layers;
mod losses;
mod norm;
mod pointwise;
mod pool;
mod regions;
mod row_list;
mod slide;
mod style;
mod transport;
mod xent;

pub use align::{
    CenterRows, Discrepancy, GradientPenalty, Interpolate, LinearTransposed, Measure, Product, ReverseGradient, Slope, WeightedMeans,
};
pub use bands::RepeatBand;
pub use boxes::{BoxLoss, DecodeDeltas, DecodeYolo};
pub use correlate::Correlate;
pub use dropout::Dropout;
pub use graph::{Attend, EdgeInputs, EdgeSum, Gather, Message, SegmentSoftmax};
pub use layers::{Conv2d, Linear};
pub use losses::{BridgeLoss, InfoNce, OffsetXent, Triplet};
pub use norm::{BatchNorm, Center, Frozen, L2Norm, Span};
pub use pointwise::{Add, Channels, Concat, Detach, KeepValid, Pointwise, RowSum, Rows, Stack, WeightedSum};
pub use pool::{AvgPool, Gem, MaxPool, Resize, Upsample};
pub use regions::RoiAlign;
pub use row_list::{GatherRows, RowListInputs, ScatterRows};
pub use slide::Common;
pub use style::{ImageStatistics, MixStatistics};
pub use transport::SinkhornDivergence;
pub use xent::{BinaryXent, SoftmaxXent};

use crate::gpu::{Error, PlanBuilder, Result, Tensor};
use crate::kernels::elementwise;
use std::fmt::Debug;

/// How a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Normal with variance 2 / fan-in (He et al., "Delving deep into rectifiers", 2015).
    HeNormal {
        /// Inputs that feed one output.
        fan_in: usize,
    },
    /// Normal with this standard deviation.
    Normal {
        /// The deviation.
        deviation: f32,
    },
    /// One value everywhere.
    Constant(f32),
}

/// What a parameter is to the optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamKind {
    /// Trained, with weight decay.
    Weight,
    /// Trained, without weight decay (biases, normalisation, temperatures).
    Free,
    /// Not trained: running statistics, or frozen ([`crate::nn::Graph::freeze`]).
    Statistic,
}

/// A parameter that an op asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamSpec {
    /// Name within the op, `weight` for instance.
    pub name: &'static str,
    /// Extents.
    pub shape: Vec<usize>,
    /// Start values.
    pub init: Init,
    /// Role.
    pub kind: ParamKind,
}

/// Which tensors of the forward pass an op's backward pass reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keeps {
    /// The inputs.
    pub inputs: bool,
    /// The output.
    pub output: bool,
}

/// Which of an op's tensors it takes as f16 as well as f32, each by itself; their gradients are stored alike.
#[derive(Debug, Clone, Copy, Default)]
pub struct Halves {
    /// The inputs.
    pub inputs: bool,
    /// The output.
    pub output: bool,
}

impl Halves {
    /// All of them.
    pub const ALL: Self = Self { inputs: true, output: true };
}

/// What an op's forward pass is given.
#[derive(Debug)]
pub struct Forward<'a> {
    /// Inputs in order.
    pub inputs: &'a [&'a Tensor],
    /// Parameters in the order of [`Op::params`].
    pub params: &'a [&'a Tensor],
    /// Scratch that lives until the backward pass, in the order of [`Op::saved`].
    pub saved: &'a [Tensor],
    /// To be written whole.
    pub output: &'a Tensor,
    /// Training (batch statistics) or inference (running ones).
    pub training: bool,
}

/// What an op's backward pass is given.
#[derive(Debug)]
pub struct Backward<'a> {
    /// Inputs in order; valid only where [`Keeps::inputs`].
    pub inputs: &'a [&'a Tensor],
    /// Parameters.
    pub params: &'a [&'a Tensor],
    /// Scratch of the forward pass.
    pub saved: &'a [Tensor],
    /// Output of the forward pass; valid only where [`Keeps::output`].
    pub output: &'a Tensor,
    /// Gradient of the output.
    pub dy: &'a Tensor,
    /// Gradients of the inputs to be written whole; none where nobody needs it.
    pub dx: &'a [Option<Tensor>],
    /// Gradients of the parameters to be written whole; statistics have none.
    pub dparams: &'a [Option<Tensor>],
}

/// Extents and values of a tensor on the host.
pub type Host<'a> = (&'a [usize], &'a [f64]);

/// One kind of node.
pub trait Op: Debug + Send + Sync {
    /// For profiles and messages.
    fn name(&self) -> &'static str;
    /// Output extents for the inputs' extents.
    ///
    /// # Errors
    /// Inputs that do not fit.
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>>;
    /// The parameters needed for these inputs.
    fn params(&self, _inputs: &[&[usize]]) -> Vec<ParamSpec> {
        Vec::new()
    }
    /// Scratch tensors that forward leaves for backward.
    fn saved(&self, _inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        Vec::new()
    }
    /// Whether no gradient passes: what comes before is left as it is.
    fn detaches(&self) -> bool {
        false
    }
    /// Whether its products may take factors in f16, under mixed precision.
    fn mixes(&self) -> bool {
        false
    }
    /// Which of its tensors, and their gradients, may be stored as f16, under mixed precision.
    fn stores_half(&self) -> Halves {
        Halves::default()
    }
    /// What backward reads.
    fn keeps(&self) -> Keeps;
    /// The forward pass on the host in f64, from the CPU twins: extents and values of the inputs, values of the parameters.
    fn reference(&self, inputs: &[Host<'_>], params: &[&[f64]], training: bool) -> Vec<f64>;
    /// Appends the forward pass.
    ///
    /// # Errors
    /// Shapes or limits.
    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()>;
    /// Appends the backward pass.
    ///
    /// # Errors
    /// Shapes or limits.
    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()>;
}

fn spec(name: &'static str, shape: &[usize], init: Init, kind: ParamKind) -> ParamSpec {
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
fn rows(t: &Tensor) -> Result<Tensor> {
    let n = t.shape()[0];
    t.reshape(&[n, t.len() / n.max(1)])
}

/// The gradient that does not exist: zeros.
fn nothing(plan: &mut PlanBuilder<'_>, dx: Option<&Tensor>) -> Result<()> {
    match dx {
        Some(dx) => elementwise::fill(plan, 0.0, dx),
        None => Ok(()),
    }
}

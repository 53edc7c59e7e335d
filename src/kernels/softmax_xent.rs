//! Softmax cross-entropy: host side of `shaders/softmax_xent.wgsl`.

use super::{LANES, expect, expect_shape, f32s, lanes, matrix_f32};
use crate::gpu::{Binding, Cost, DType, Engine, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("softmax_xent");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// The label of a row that does not count.
pub const IGNORE: u32 = u32::MAX;

/// What the rows should be.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// u32 \[N\]: the right column, or [`IGNORE`]. Any other label of K or more makes loss and gradient NaN.
    Labels(&'a Tensor),
    /// f32 [N, K]: weights, usually a distribution; a row whose weights add up to 0 does not count.
    Dense(&'a Tensor),
}

/// The loss: what it reads.
#[derive(Debug, Clone, Copy)]
pub struct SoftmaxXent<'a> {
    /// Logits [N, K], f32.
    pub x: &'a Tensor,
    /// What the rows should be.
    pub target: Target<'a>,
    /// 0 to 1: what share of a row's weight is spread over all columns.
    pub smoothing: f32,
    /// A factor of each row's weights, N. 0 masks a row: whatever it and its target hold, it does not count and gets no gradient.
    pub weights: Option<&'a Tensor>,
    /// \[1\], what the sum over the rows is divided by where it is above 1, else by 1. Without it, by the number of rows that count.
    pub divisor: Option<&'a Tensor>,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    cols: u32,
    smoothing: f32,
    nan: u32,
}

/// Flags that a kind does not read must be false, so that variants that are the same have one name.
fn variant(kind: i64, dense: bool, weighted: bool, divisor: bool, lanes: i64) -> Variant {
    let v = Variant::new().int("KIND", kind).flag("DENSE", dense).flag("WEIGHTED", weighted);
    v.flag("DIVISOR", divisor).int("LANES", lanes)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let both = [false, true];
    let rows =
        [0, 2].into_iter().flat_map(|kind| both.into_iter().flat_map(move |dense| both.map(|weighted| (kind, dense, weighted, false))));
    let kinds: Vec<_> = rows.chain(both.map(|divisor| (1, false, false, divisor))).collect();
    LANES.into_iter().flat_map(|l| kinds.iter().map(move |(k, t, w, d)| variant(*k, *t, *w, *d, l)).collect::<Vec<_>>()).collect()
}

impl<'a> SoftmaxXent<'a> {
    fn check(&self, op: &str, stats: &Tensor, share: &Tensor) -> Result<Params> {
        let (n, k) = matrix_f32(op, "x", self.x)?;
        match self.target {
            Target::Labels(t) => expect(op, "labels", t, &[n], DType::U32)?,
            Target::Dense(t) => expect(op, "target", t, &[n, k], DType::F32)?,
        }
        if !(0.0..=1.0).contains(&self.smoothing) {
            return Err(Error::shape(op, format!("smoothing {} is outside 0 to 1", self.smoothing)));
        }
        if let Some(weights) = self.weights {
            f32s(op, &[weights])?;
            if weights.len() != n {
                return Err(Error::shape(op, format!("`weights` {:?} for {n} rows", weights.shape())));
            }
        }
        if let Some(divisor) = self.divisor {
            expect_shape(op, "divisor", divisor, &[1])?;
        }
        expect_shape(op, "stats", stats, &[n, 4])?;
        expect_shape(op, "share", share, &[1])?;
        Ok(Params { rows: n as u32, cols: k as u32, smoothing: self.smoothing, nan: f32::NAN.to_bits() })
    }

    fn variant(&self, kind: i64, engine: &Engine) -> Variant {
        variant(kind, matches!(self.target, Target::Dense(_)), self.weights.is_some(), false, lanes(engine))
    }

    /// Logits, and what there is of each row.
    fn rows(&self) -> Vec<&'a Tensor> {
        let (Target::Labels(t) | Target::Dense(t)) = self.target;
        [self.x, t].into_iter().chain(self.weights).collect()
    }
}

/// Appends loss \[1\], the sum over the rows of -sum_j q_j log softmax(x)_j over the divisor, with
/// q = weight ((1 - smoothing) target + smoothing sum(target) / K) and x [N, K]; 0 where no row counts.
/// `stats` [N, 4] and `share` \[1\] are kept for the backward pass.
///
/// # Errors
/// Shapes or types other than said; smoothing outside 0 to 1.
pub fn forward(plan: &mut PlanBuilder<'_>, call: SoftmaxXent<'_>, stats: &Tensor, share: &Tensor, loss: &Tensor) -> Result<()> {
    let op = "softmax_xent";
    let params = call.check(op, stats, share)?;
    expect_shape(op, "loss", loss, &[1])?;
    let engine = plan.engine();
    let n = u64::from(params.rows);
    let cost = Cost::bytes(call.rows().iter().map(|t| t.bytes()).sum());
    let bindings: Vec<Binding<'_>> = call.rows().into_iter().chain([stats]).map(Binding::from).collect();
    plan.dispatch(op, &SHADER, &call.variant(0, engine), &bindings, &params, Groups::Linear(n), cost)?;
    let variant = variant(1, false, false, call.divisor.is_some(), lanes(engine));
    let bindings: Vec<Binding<'_>> = [stats].into_iter().chain(call.divisor).chain([loss, share]).map(Binding::from).collect();
    plan.dispatch("softmax_xent total", &SHADER, &variant, &bindings, &params, Groups::Linear(1), Cost::bytes(16 * n))
}

/// Appends dx [N, K], the gradient of the loss times dloss \[1\]; rows that do not count get 0.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    plan: &mut PlanBuilder<'_>,
    call: SoftmaxXent<'_>,
    stats: &Tensor,
    share: &Tensor,
    dloss: &Tensor,
    dx: &Tensor,
) -> Result<()> {
    let op = "softmax_xent backward";
    let params = call.check(op, stats, share)?;
    expect_shape(op, "dloss", dloss, &[1])?;
    expect_shape(op, "dx", dx, call.x.shape())?;
    let cost = Cost::bytes(call.x.bytes() + call.rows().iter().map(|t| t.bytes()).sum::<u64>());
    let bindings: Vec<Binding<'_>> = call.rows().into_iter().chain([stats, share, dloss, dx]).map(Binding::from).collect();
    plan.dispatch(op, &SHADER, &call.variant(2, plan.engine()), &bindings, &params, Groups::Linear(params.rows.into()), cost)
}

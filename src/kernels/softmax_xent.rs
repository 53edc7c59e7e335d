//! Softmax cross-entropy: host side of `shaders/softmax_xent.wgsl`.

use super::{LANES, expect, expect_shape, lanes, matrix_f32};
use crate::gpu::{Cost, DType, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
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

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    cols: u32,
    smoothing: f32,
    nan: u32,
}

fn variant(kind: i64, dense: bool, lanes: i64) -> Variant {
    Variant::new().int("KIND", kind).flag("DENSE", dense).int("LANES", lanes)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let kinds = [(0, false), (0, true), (1, false), (2, false), (2, true)];
    LANES.into_iter().flat_map(|l| kinds.map(|(k, d)| variant(k, d, l))).collect()
}

fn check<'a>(op: &str, x: &Tensor, target: Target<'a>, smoothing: f32, stats: &Tensor, share: &Tensor) -> Result<(Params, &'a Tensor)> {
    let (n, k) = matrix_f32(op, "x", x)?;
    let (name, t, shape, dtype) = match target {
        Target::Labels(t) => ("labels", t, vec![n], DType::U32),
        Target::Dense(t) => ("target", t, vec![n, k], DType::F32),
    };
    expect(op, name, t, &shape, dtype)?;
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(Error::shape(op, format!("smoothing {smoothing} is outside 0 to 1")));
    }
    expect_shape(op, "stats", stats, &[n, 4])?;
    expect_shape(op, "share", share, &[1])?;
    Ok((Params { rows: n as u32, cols: k as u32, smoothing, nan: f32::NAN.to_bits() }, t))
}

/// Appends loss \[1\] = mean over the rows that count of -sum_j q_j log softmax(x)_j, with
/// q = (1 - smoothing) target + smoothing sum(target) / K and x [N, K]; 0 where no row counts.
/// `stats` [N, 4] and `share` \[1\] are kept for the backward pass.
///
/// # Errors
/// Shapes or types other than said; smoothing outside 0 to 1.
pub fn forward(
    plan: &mut PlanBuilder<'_>,
    x: &Tensor,
    target: Target<'_>,
    smoothing: f32,
    stats: &Tensor,
    share: &Tensor,
    loss: &Tensor,
) -> Result<()> {
    let op = "softmax_xent";
    let (params, t) = check(op, x, target, smoothing, stats, share)?;
    expect_shape(op, "loss", loss, &[1])?;
    let lanes = lanes(plan.engine());
    let n = u64::from(params.rows);
    let dense = matches!(target, Target::Dense(_));
    let bindings = [x.into(), t.into(), stats.into()];
    plan.dispatch(op, &SHADER, &variant(0, dense, lanes), &bindings, &params, Groups::Linear(n), Cost::bytes(x.bytes() + t.bytes()))?;
    let bindings = [stats.into(), loss.into(), share.into()];
    plan.dispatch("softmax_xent total", &SHADER, &variant(1, false, lanes), &bindings, &params, Groups::Linear(1), Cost::bytes(16 * n))
}

/// Appends dx [N, K], the gradient of the loss times dloss \[1\]; rows that do not count get 0.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    plan: &mut PlanBuilder<'_>,
    x: &Tensor,
    target: Target<'_>,
    smoothing: f32,
    stats: &Tensor,
    share: &Tensor,
    dloss: &Tensor,
    dx: &Tensor,
) -> Result<()> {
    let op = "softmax_xent backward";
    let (params, t) = check(op, x, target, smoothing, stats, share)?;
    expect_shape(op, "dloss", dloss, &[1])?;
    expect_shape(op, "dx", dx, x.shape())?;
    let variant = variant(2, matches!(target, Target::Dense(_)), lanes(plan.engine()));
    let bindings = [x.into(), t.into(), stats.into(), share.into(), dloss.into(), dx.into()];
    let cost = Cost::bytes(2 * x.bytes() + t.bytes());
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::Linear(params.rows.into()), cost)
}

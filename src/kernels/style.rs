//! Statistics of images and images in another's style: host side of `shaders/style.wgsl`.

use super::{Walk, both_widths, chunks, expect_shape, nhwc, reduce, spread, vectorised};
use crate::gpu::{Cost, DType, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("style");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Added to the variance under the root.
pub const EPS: f32 = 1e-6;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    walk: Walk,
    eps: f32,
}

fn variant(kind: i64) -> Variant {
    Variant::new().int("KIND", kind)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    both_widths((0..4).map(variant))
}

/// Appends stats [N, 2, C] of x [N, H, W, C]: of each image and channel the mean over H and W, and the standard deviation
/// sqrt(var + [`EPS`]), where var is the mean square about that mean (a second pass, so that no large squares cancel).
///
/// # Errors
/// x is not [N, H, W, C], or stats of another shape; out of memory.
pub fn statistics(plan: &mut PlanBuilder<'_>, x: &Tensor, stats: &Tensor) -> Result<()> {
    let op = "image statistics";
    let [n, h, w, c] = nhwc(op, "x", x)?;
    expect_shape(op, "stats", stats, &[n, 2, c])?;
    let rows = h * w;
    let scratch = |name: &str, shape: &[usize]| plan.engine().tensor(name, shape, DType::F32);
    let (squares, vec) = vectorised(variant(0), &[c]);
    let walk = Walk::new(plan.engine(), n, rows * c / vec, c / vec, chunks(plan.engine(), rows, n * c / vec));
    let (mean, var) = (scratch("image means", &[n, c])?, scratch("image variances", &[n, c])?);
    let partial = scratch("image squares", &[n, walk.chunks(), c])?;
    let share = 1.0 / rows as f32;
    reduce::batched(plan, x, &mean, share, false)?;
    let params = Params { walk, eps: EPS };
    let cost = Cost { flops: 3.0 * x.len() as f64, bytes: x.bytes() as f64 };
    plan.dispatch(op, &SHADER, &squares, &[x.into(), (&mean).into(), (&partial).into()], &params, walk.groups(), cost)?;
    reduce::batched(plan, &partial, &var, share, false)?;
    let walk = Walk::new(plan.engine(), n, c / vec, c / vec, 1);
    let params = Params { walk, eps: EPS };
    let bindings = [(&mean).into(), (&var).into(), stats.into()];
    plan.dispatch(op, &SHADER, &vectorised(variant(1), &[c]).0, &bindings, &params, walk.groups(), Cost::bytes(2 * stats.bytes()))
}

/// Appends y = s (x - mu) / sigma + m for each image and channel of x [N, H, W, C]: (mu, sigma) are its `own` statistics [N, 2, C], (mu',
/// sigma') those of the `other` image, and with the image's `share` t \[N\] s = t sigma + (1 - t) sigma' and m = t mu + (1 - t) mu'. Where
/// t is 1, y is x to the bit.
///
/// # Errors
/// x is not [N, H, W, C], or another tensor of another shape.
pub fn mix(plan: &mut PlanBuilder<'_>, x: &Tensor, own: &Tensor, other: &Tensor, share: &Tensor, y: &Tensor) -> Result<()> {
    apply(plan, "mix statistics", 2, ["x", "y"], [x, own, other, share, y])
}

/// Appends dx = dy s / sigma, the gradient of [`mix`] in x where all statistics are constants.
///
/// # Errors
/// dy is not [N, H, W, C], or another tensor of another shape.
pub fn mix_backward(plan: &mut PlanBuilder<'_>, own: &Tensor, other: &Tensor, share: &Tensor, dy: &Tensor, dx: &Tensor) -> Result<()> {
    apply(plan, "mix statistics backward", 3, ["dy", "dx"], [dy, own, other, share, dx])
}

fn apply(plan: &mut PlanBuilder<'_>, op: &str, kind: i64, [from, to]: [&str; 2], tensors: [&Tensor; 5]) -> Result<()> {
    let [x, own, other, share, y] = tensors;
    let [n, h, w, c] = nhwc(op, from, x)?;
    expect_shape(op, "own", own, &[n, 2, c])?;
    expect_shape(op, "other", other, &[n, 2, c])?;
    expect_shape(op, "share", share, &[n])?;
    expect_shape(op, to, y, x.shape())?;
    let (variant, vec) = vectorised(variant(kind), &[c]);
    let walk = Walk::new(plan.engine(), n, h * w * c / vec, c / vec, spread(plan.engine(), h * w));
    let params = Params { walk, eps: EPS };
    let cost = Cost { flops: 3.0 * x.len() as f64, bytes: (x.bytes() + y.bytes()) as f64 };
    plan.dispatch(op, &SHADER, &variant, &tensors.map(Into::into), &params, walk.groups(), cost)
}

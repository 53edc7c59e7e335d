//! Images less their mean: host side of `shaders/center.wgsl`.

use super::{Walk, both_widths, expect_shape, nhwc, reduce, spread, vectorised};
use crate::gpu::{Cost, DType, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("center");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Walk>()];

fn variant(masked: bool) -> Variant {
    Variant::new().flag("MASK", masked)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    both_widths([false, true].map(variant))
}

/// Appends y\[n, h, w, c\] = x\[n, h, w, c\] - mean over H and W of x\[n, .., c\].
///
/// # Errors
/// x is not \[N, H, W, C\], or y has not its shape.
pub fn forward(plan: &mut PlanBuilder<'_>, x: &Tensor, y: &Tensor) -> Result<()> {
    let op = "center";
    let [n, h, w, c] = nhwc(op, "x", x)?;
    expect_shape(op, "y", y, x.shape())?;
    let mean = plan.engine().tensor("center scratch", &[n, c], DType::F32)?;
    reduce::batched(plan, x, &mean, 1.0 / (h * w) as f32, false)?;
    let (variant, vec) = vectorised(variant(false), &[c]);
    let walk = Walk::new(plan.engine(), n, h * w * c / vec, c / vec, spread(plan.engine(), h * w));
    let bindings = [x.into(), (&mean).into(), y.into()];
    plan.dispatch(op, &SHADER, &variant, &bindings, &walk, walk.groups(), Cost::bytes(x.bytes() + y.bytes()))
}

/// Appends dx = dy less its mean: the operation is a symmetric projection, so it is its own gradient.
///
/// # Errors
/// As [`forward`].
pub fn backward(plan: &mut PlanBuilder<'_>, dy: &Tensor, dx: &Tensor) -> Result<()> {
    forward(plan, dy, dx)
}

/// Appends the same over valid pixels alone: y\[n, h, w, c\] = (x - mean of x\[n, .., c\] where valid) where valid, else 0. `planes` \[N, H, W, 2\] hold
/// the validity, 0 or 1, in their second channel; x is 0 where they are.
///
/// # Errors
/// x is not \[N, H, W, C\], or y or the planes have not their shape.
pub fn masked(plan: &mut PlanBuilder<'_>, x: &Tensor, planes: &Tensor, y: &Tensor) -> Result<()> {
    let op = "masked center";
    let [n, h, w, c] = nhwc(op, "x", x)?;
    expect_shape(op, "y", y, x.shape())?;
    expect_shape(op, "planes", planes, &[n, h, w, 2])?;
    let sums = plan.engine().tensor("center scratch", &[n, c], DType::F32)?;
    let totals = plan.engine().tensor("center totals", &[n, 2], DType::F32)?;
    reduce::batched(plan, x, &sums, 1.0, false)?;
    reduce::batched(plan, planes, &totals, 1.0, false)?;
    let (variant, vec) = vectorised(variant(true), &[c]);
    let walk = Walk::new(plan.engine(), n, h * w * c / vec, c / vec, spread(plan.engine(), h * w));
    let bindings = [x.into(), (&sums).into(), planes.into(), (&totals).into(), y.into()];
    plan.dispatch(op, &SHADER, &variant, &bindings, &walk, walk.groups(), Cost::bytes(x.bytes() + y.bytes()))
}

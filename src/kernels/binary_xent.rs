//! Binary cross-entropy of logits that all have the same target: host side of `shaders/binary_xent.wgsl`.

use super::{LANES, expect_shape, lanes, rows_cols, same_len};
use crate::gpu::{Cost, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("binary_xent");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    sign: f32,
    share: f32,
}

fn variant(backward: bool, lanes: i64) -> Variant {
    Variant::new().flag("BACKWARD", backward).int("LANES", lanes)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    LANES.map(|l| variant(false, l)).into_iter().chain([variant(true, 64)]).collect()
}

fn params(op: &str, target: bool, z: &Tensor) -> Result<Params> {
    rows_cols(op, "z", z)?;
    Ok(Params { n: z.len() as u32, sign: if target { -1.0 } else { 1.0 }, share: 1.0 / z.len() as f32 })
}

/// Appends loss \[1\] = mean of softplus(-z) over all logits z where the `target` is true, of softplus(z) where it is false, and
/// accuracy \[1\] = the share of logits on the right side of 0 (0 itself is wrong, and so is a NaN). One group of invocations does it:
/// made for thousands of logits, not for millions. The loss is exact to about 1e-6, not relatively: beyond a logit of 17 it is 0.
///
/// # Errors
/// z is empty or not f32; loss or accuracy is not \[1\].
pub fn forward(plan: &mut PlanBuilder<'_>, target: bool, z: &Tensor, loss: &Tensor, accuracy: &Tensor) -> Result<()> {
    let op = "binary_xent";
    let params = params(op, target, z)?;
    expect_shape(op, "loss", loss, &[1])?;
    expect_shape(op, "accuracy", accuracy, &[1])?;
    let variant = variant(false, lanes(plan.engine()));
    let bindings = [z.into(), loss.into(), accuracy.into()];
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::Linear(1), Cost::bytes(z.bytes()))
}

/// Appends dz, the gradient of the loss times dloss \[1\]; accurate relatively, for confident logits too.
///
/// # Errors
/// z is empty or not f32; dloss is not \[1\]; dz has another number of elements than z.
pub fn backward(plan: &mut PlanBuilder<'_>, target: bool, z: &Tensor, dloss: &Tensor, dz: &Tensor) -> Result<()> {
    let op = "binary_xent backward";
    let params = params(op, target, z)?;
    let n = same_len(op, &[z, dz])?;
    expect_shape(op, "dloss", dloss, &[1])?;
    let bindings = [z.into(), dloss.into(), dz.into()];
    plan.dispatch(op, &SHADER, &variant(true, 64), &bindings, &params, Groups::for_items(n, 64), Cost::bytes(2 * z.bytes()))
}

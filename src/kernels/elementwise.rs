//! Elementwise sums, copies and masks: host side of `shaders/elementwise.wgsl`.

use super::{Walk, both_widths, rows_cols, same_len, spread, vectorised};
use crate::gpu::{Binding, Cost, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("elementwise");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    walk: Walk,
    s: f32,
}

fn variant(kind: i64, relu: bool) -> Variant {
    Variant::new().int("KIND", kind).flag("RELU", relu)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    both_widths([(0, false), (0, true), (1, false), (2, false), (3, false), (4, false)].map(|(k, r)| variant(k, r)))
}

fn each(plan: &mut PlanBuilder<'_>, op: &str, kind: i64, relu: bool, tensors: &[&Tensor], s: f32) -> Result<()> {
    let n = same_len(op, tensors)?;
    for t in tensors {
        rows_cols(op, "tensor", t)?;
    }
    let (variant, vec) = vectorised(variant(kind, relu), &[n]);
    let rows = (n / vec).div_ceil(64);
    let walk = Walk::new(plan.engine(), 1, n / vec, 64, spread(plan.engine(), rows));
    let params = Params { walk, s };
    let bindings: Vec<Binding<'_>> = tensors.iter().map(|t| Binding::from(*t)).collect();
    let moved = tensors.len() + usize::from(kind == 2);
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, walk.groups(), Cost::bytes(4 * (n * moved) as u64))
}

/// Appends y = a + b, or max(a + b, 0) with `relu`.
///
/// # Errors
/// Element counts differ, or are zero.
pub fn add(plan: &mut PlanBuilder<'_>, a: &Tensor, b: &Tensor, relu: bool, y: &Tensor) -> Result<()> {
    each(plan, "add", 0, relu, &[a, b, y], 0.0)
}

/// Appends dx = dy where y > 0, else 0: the gradient of both inputs of [`add`] with ReLU, or of a ReLU from its output.
///
/// # Errors
/// Element counts differ, or are zero.
pub fn relu_backward(plan: &mut PlanBuilder<'_>, y: &Tensor, dy: &Tensor, dx: &Tensor) -> Result<()> {
    each(plan, "relu backward", 1, false, &[y, dy, dx], 0.0)
}

/// Appends y = y + s * x.
///
/// # Errors
/// Element counts differ, or are zero.
pub fn accumulate(plan: &mut PlanBuilder<'_>, x: &Tensor, s: f32, y: &Tensor) -> Result<()> {
    each(plan, "accumulate", 2, false, &[x, y], s)
}

/// Appends y = s * x; its gradient is the same op on dy.
///
/// # Errors
/// Element counts differ, or are zero.
pub fn scaled_copy(plan: &mut PlanBuilder<'_>, x: &Tensor, s: f32, y: &Tensor) -> Result<()> {
    each(plan, "scaled copy", 3, false, &[x, y], s)
}

/// Appends y = s.
///
/// # Errors
/// y is empty or not f32.
pub fn fill(plan: &mut PlanBuilder<'_>, s: f32, y: &Tensor) -> Result<()> {
    each(plan, "fill", 4, false, &[y], s)
}

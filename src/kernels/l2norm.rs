//! Rows scaled to unit length: host side of `shaders/l2norm.wgsl`.

use super::{LANES, expect_shape, lanes, matrix_f32};
use crate::gpu::{Cost, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("l2norm");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// The usual guard against rows without length.
pub const EPS: f32 = 1e-12;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
}

fn variant(backward: bool, lanes: i64) -> Variant {
    Variant::new().flag("BACKWARD", backward).int("LANES", lanes)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    LANES.into_iter().flat_map(|l| [false, true].map(|b| variant(b, l))).collect()
}

/// Appends y = x / max(|x|, eps) for each row of x [N, D], and the lengths |x| into norm \[N\].
///
/// A row whose squares overflow f32 (elements beyond 1e19) has infinite length and becomes 0.
///
/// # Errors
/// x not a matrix, y or norm of another shape.
pub fn forward(plan: &mut PlanBuilder<'_>, eps: f32, x: &Tensor, y: &Tensor, norm: &Tensor) -> Result<()> {
    let op = "l2norm";
    let (n, d) = matrix_f32(op, "x", x)?;
    expect_shape(op, "y", y, x.shape())?;
    expect_shape(op, "norm", norm, &[n])?;
    let params = Params { rows: n as u32, cols: d as u32, eps };
    let cost = Cost { flops: 3.0 * (n * d) as f64, bytes: (8 * n * d + 4 * n) as f64 };
    let variant = variant(false, lanes(plan.engine()));
    plan.dispatch(op, &SHADER, &variant, &[x.into(), y.into(), norm.into()], &params, Groups::Linear(n as u64), cost)
}

/// Appends dx = (dy - y <y, dy>) / norm for each row, with y and norm the forward pass's outputs.
///
/// Rows with norm <= eps get a gradient of zero, not dy / eps: they carry no direction.
///
/// # Errors
/// y not a matrix, another tensor of another shape.
pub fn backward(plan: &mut PlanBuilder<'_>, eps: f32, y: &Tensor, dy: &Tensor, norm: &Tensor, dx: &Tensor) -> Result<()> {
    let op = "l2norm backward";
    let (n, d) = matrix_f32(op, "y", y)?;
    expect_shape(op, "dy", dy, y.shape())?;
    expect_shape(op, "dx", dx, y.shape())?;
    expect_shape(op, "norm", norm, &[n])?;
    let params = Params { rows: n as u32, cols: d as u32, eps };
    let cost = Cost { flops: 5.0 * (n * d) as f64, bytes: (12 * n * d + 4 * n) as f64 };
    let variant = variant(true, lanes(plan.engine()));
    let bindings = [y.into(), dy.into(), norm.into(), dx.into()];
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::Linear(n as u64), cost)
}

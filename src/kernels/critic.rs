//! Rows between two clouds and the penalty on a critic's gradients: host side of `shaders/critic.wgsl`.

use super::{LANES, expect_shape, lanes, matrix_f32, vectorised, with_vec};
use crate::gpu::{Binding, Cost, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("critic");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    columns: u32,
    share: f32,
}

/// `flag` is OF_B of kind 1 and ONE_SIDED of kinds 4 and 5.
fn variant(kind: i64, flag: bool, lanes: i64) -> Variant {
    Variant::new().int("KIND", kind).flag("OF_B", flag && kind == 1).flag("ONE_SIDED", flag && kind > 1).int("LANES", lanes)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let wide = [(0, false), (1, false), (1, true), (2, false), (3, false), (5, false), (5, true)];
    let all = LANES.into_iter().flat_map(|l| wide.map(|(k, f)| variant(k, f, l)));
    let totals = LANES.into_iter().flat_map(|l| [false, true].map(|f| with_vec(variant(4, f, l), 1)));
    super::both_widths(all).into_iter().chain(totals).collect()
}

/// Appends a kind that works on each row of [rows, d]; `moved` counts tensors of that size.
fn each_row(
    plan: &mut PlanBuilder<'_>,
    op: &str,
    (kind, flag): (i64, bool),
    (rows, d): (usize, usize),
    bindings: &[&Tensor],
    moved: usize,
) -> Result<()> {
    let (variant, vec) = vectorised(variant(kind, flag, lanes(plan.engine())), &[d]);
    let params = Params { rows: rows as u32, columns: (d / vec) as u32, share: 1.0 / rows as f32 };
    let bindings: Vec<Binding<'_>> = bindings.iter().map(|t| Binding::from(*t)).collect();
    let cost = Cost { flops: 3.0 * (rows * d) as f64, bytes: (4 * moved * rows * d) as f64 };
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::Linear(rows as u64), cost)
}

/// Appends x_i = e_i a_i + (1 - e_i) b_i for the rows of a, b and x [B, D], with e \[B\].
///
/// # Errors
/// a is not a matrix, or another tensor of another shape.
pub fn interpolate(plan: &mut PlanBuilder<'_>, a: &Tensor, b: &Tensor, e: &Tensor, x: &Tensor) -> Result<()> {
    let op = "interpolate";
    let shape = matrix_f32(op, "a", a)?;
    expect_shape(op, "b", b, a.shape())?;
    expect_shape(op, "e", e, &[shape.0])?;
    expect_shape(op, "x", x, a.shape())?;
    each_row(plan, op, (0, false), shape, &[a, b, e, x], 3)
}

/// Appends the gradients of [`interpolate`] in a and b, those that are asked for: da_i = e_i dx_i, db_i = (1 - e_i) dx_i.
///
/// # Errors
/// dx is not a matrix, or another tensor of another shape.
pub fn interpolate_backward(plan: &mut PlanBuilder<'_>, e: &Tensor, dx: &Tensor, da: Option<&Tensor>, db: Option<&Tensor>) -> Result<()> {
    let op = "interpolate backward";
    let shape = matrix_f32(op, "dx", dx)?;
    expect_shape(op, "e", e, &[shape.0])?;
    for (name, of_b, d) in [("da", false, da), ("db", true, db)] {
        if let Some(d) = d {
            expect_shape(op, name, d, dx.shape())?;
            each_row(plan, op, (1, of_b), shape, &[dx, e, d], 2)?;
        }
    }
    Ok(())
}

/// Appends the gradient of [`interpolate`] in e \[B\]: de_i = <dx_i, a_i - b_i>.
///
/// # Errors
/// a is not a matrix, or another tensor of another shape.
pub fn interpolate_backward_e(plan: &mut PlanBuilder<'_>, a: &Tensor, b: &Tensor, dx: &Tensor, de: &Tensor) -> Result<()> {
    let op = "interpolate backward e";
    let shape = matrix_f32(op, "a", a)?;
    expect_shape(op, "b", b, a.shape())?;
    expect_shape(op, "dx", dx, a.shape())?;
    expect_shape(op, "de", de, &[shape.0])?;
    each_row(plan, op, (2, false), shape, &[a, b, dx, de], 3)
}

/// Appends loss \[1\] = mean over the rows of g [B, D] of (|g| - 1)^2 (Gulrajani et al., "Improved training of Wasserstein GANs", 2017), or
/// of max(|g| - 1, 0)^2 where `one_sided` (Petzka et al., "On the regularization of Wasserstein GANs", 2018). The lengths \[B\] are kept
/// for the backward pass.
///
/// A row whose squares overflow f32 (elements beyond 1e19) has infinite length and makes the loss infinite.
///
/// # Errors
/// g is not a matrix, or another tensor of another shape.
pub fn penalty(plan: &mut PlanBuilder<'_>, one_sided: bool, g: &Tensor, lengths: &Tensor, loss: &Tensor) -> Result<()> {
    let op = "gradient penalty";
    let (rows, d) = matrix_f32(op, "g", g)?;
    expect_shape(op, "lengths", lengths, &[rows])?;
    expect_shape(op, "loss", loss, &[1])?;
    each_row(plan, op, (3, false), (rows, d), &[g, lengths], 1)?;
    let params = Params { rows: rows as u32, columns: 0, share: 1.0 / rows as f32 };
    let variant = with_vec(variant(4, one_sided, lanes(plan.engine())), 1);
    let op = "gradient penalty total";
    plan.dispatch(op, &SHADER, &variant, &[lengths.into(), loss.into()], &params, Groups::Linear(1), Cost::bytes(lengths.bytes()))
}

/// Appends dg [B, D], the gradient of [`penalty`] times dloss \[1\]: dloss 2 / B (|g| - 1) g / |g|, 0 for a row of length 0 (and, where
/// `one_sided`, of length up to 1); finite for all finite g.
///
/// # Errors
/// g is not a matrix, or another tensor of another shape.
pub fn penalty_backward(
    plan: &mut PlanBuilder<'_>,
    one_sided: bool,
    g: &Tensor,
    lengths: &Tensor,
    dloss: &Tensor,
    dg: &Tensor,
) -> Result<()> {
    let op = "gradient penalty backward";
    let (rows, d) = matrix_f32(op, "g", g)?;
    expect_shape(op, "lengths", lengths, &[rows])?;
    expect_shape(op, "dloss", dloss, &[1])?;
    expect_shape(op, "dg", dg, g.shape())?;
    each_row(plan, op, (5, one_sided), (rows, d), &[g, lengths, dloss, dg], 2)
}

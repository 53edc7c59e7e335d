//! Elementwise sums, products, copies and masks: host side of `shaders/elementwise.wgsl`. [`add`], [`relu_backward`], [`accumulate`] and
//! [`scaled_copy`] take each of their tensors as f32 or f16.

use super::{Walk, both_widths, expect_shape, rows_cols, spread, stored, stored_both_ways, stored_rows_cols, vectorised};
use crate::gpu::{Binding, Cost, Error, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("elementwise");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>(), size_of::<MaskParams>()];

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    walk: Walk,
    s: f32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct MaskParams {
    walk: Walk,
    s: f32,
    inner: u32,
    outer: u32,
}

fn variant(kind: i64, relu: bool) -> Variant {
    Variant::new().int("KIND", kind).flag("RELU", relu)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let mut all = stored_both_ways([variant(0, true), variant(0, false), variant(1, false)], stored_names(0));
    all.extend(stored_both_ways([2, 3].map(|k| variant(k, false)), stored_names(2)));
    all.extend(both_widths((4..8).map(|k| variant(k, false))));
    all
}

/// What the tensors are called that a kind takes as f32 or as f16.
fn stored_names(kind: i64) -> &'static [&'static str] {
    match kind {
        0 | 1 => &["A", "B", "Y"],
        2 | 3 => &["A", "Y"],
        _ => &[],
    }
}

fn each(plan: &mut PlanBuilder<'_>, op: &str, kind: i64, relu: bool, tensors: &[&Tensor], s: f32) -> Result<()> {
    let n = tensors[0].len();
    let names = stored_names(kind);
    for t in tensors {
        if names.is_empty() { rows_cols(op, "tensor", t) } else { stored_rows_cols(op, "tensor", t) }?;
        if t.len() != n {
            return Err(Error::shape(op, format!("{:?} against {:?}", tensors[0].shape(), t.shape())));
        }
    }
    let (variant, vec) = vectorised(variant(kind, relu), &[n]);
    let types: Vec<_> = names.iter().zip(tensors).map(|(name, t)| (*name, t.dtype())).collect();
    let variant = stored(variant, vec, &types);
    let rows = (n / vec).div_ceil(64);
    let walk = Walk::new(plan.engine(), 1, n / vec, 64, spread(plan.engine(), rows));
    let params = Params { walk, s };
    let bindings: Vec<Binding<'_>> = tensors.iter().map(|t| Binding::from(*t)).collect();
    let again = if kind == 2 || kind == 6 { tensors[tensors.len() - 1].bytes() } else { 0 };
    let moved = tensors.iter().map(|t| t.bytes()).sum::<u64>() + again;
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, walk.groups(), Cost::bytes(moved))
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

/// Appends y = min(max(y, -most), most) in place; a NaN stays one. Clips a critic's weights, for instance.
///
/// # Errors
/// y is empty or not f32; `most` is negative or NaN.
pub fn clamp(plan: &mut PlanBuilder<'_>, y: &Tensor, most: f32) -> Result<()> {
    if most.is_nan() || most < 0.0 {
        return Err(Error::shape("clamp", format!("the largest size must be 0 or more, not {most}")));
    }
    each(plan, "clamp", 6, false, &[y], most)
}

/// Appends y = s * factor * x, with factor \[1\] on the device, so that the host can change it between runs; its gradient in x is the
/// same op on dy.
///
/// # Errors
/// Element counts of x and y differ, or are zero; factor is not \[1\].
pub fn scaled_by(plan: &mut PlanBuilder<'_>, x: &Tensor, factor: &Tensor, s: f32, y: &Tensor) -> Result<()> {
    let op = "scaled by";
    let n = super::same_len(op, &[x, y])?;
    rows_cols(op, "x", x)?;
    expect_shape(op, "factor", factor, &[1])?;
    let (variant, vec) = vectorised(variant(7, false), &[n]);
    let walk = Walk::new(plan.engine(), 1, n / vec, 64, spread(plan.engine(), (n / vec).div_ceil(64)));
    let bindings = [x, factor, y].map(Binding::from);
    plan.dispatch(op, &SHADER, &variant, &bindings, &Params { walk, s }, walk.groups(), Cost::bytes(2 * x.bytes()))
}

/// Appends y [.., C] = x where the last channel of the pixel's mask [.., M] is at least `least`, else 0; its gradient is the same op
/// on dy. The mask has as many pixels as x: the sampler's patches, whose last channel is the share of valid pixels, for instance.
///
/// # Errors
/// x and y differ in shape, or the mask's leading extents from theirs.
pub fn keep_where(plan: &mut PlanBuilder<'_>, mask: &Tensor, least: f32, x: &Tensor, y: &Tensor) -> Result<()> {
    let op = "keep where";
    let (pixels, c) = rows_cols(op, "x", x)?;
    let (_, m) = rows_cols(op, "mask", mask)?;
    expect_shape(op, "y", y, x.shape())?;
    if mask.shape().split_last().map(|s| s.1) != x.shape().split_last().map(|s| s.1) {
        return Err(Error::shape(op, format!("a mask {:?} for {:?}", mask.shape(), x.shape())));
    }
    let (variant, vec) = vectorised(variant(5, false), &[c]);
    let n = pixels * c / vec;
    let walk = Walk::new(plan.engine(), 1, n, 64, spread(plan.engine(), n.div_ceil(64)));
    let params = MaskParams { walk, s: least, inner: (c / vec) as u32, outer: m as u32 };
    let bindings = [x, mask, y].map(Binding::from);
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, walk.groups(), Cost::bytes(2 * x.bytes() + mask.bytes()))
}

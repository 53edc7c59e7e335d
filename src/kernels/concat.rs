//! Copies of slices of channels: host side of `shaders/concat.wgsl`.

use super::{Walk, spread, stored, stored_both_ways, stored_rows_cols, vectorised};
use crate::gpu::{Cost, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("concat");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    total: u32,
    rows: u32,
    chunk_rows: u32,
    row_step: u32,
    row_span: u32,
    count: u32,
    src_off: u32,
    src_stride: u32,
    dst_off: u32,
    dst_stride: u32,
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    stored_both_ways([Variant::new()], &["S", "D"])
}

/// Appends dst\[r, dst_off + k\] = src\[r, src_off + k\] for k < count, over all rows r (all extents but the last); the other
/// channels of dst stay as they are. Either may be stored as f16. Its gradient is the same copy the other way.
///
/// # Errors
/// Leading extents differ, a slice reaches beyond its tensor, or count is 0.
pub fn copy_channels(plan: &mut PlanBuilder<'_>, src: &Tensor, src_off: usize, dst: &Tensor, dst_off: usize, count: usize) -> Result<()> {
    let op = "copy channels";
    let ((rows, cs), (_, cd)) = (stored_rows_cols(op, "src", src)?, stored_rows_cols(op, "dst", dst)?);
    let lead = |t: &Tensor| t.shape()[..t.shape().len() - 1].to_vec();
    if lead(src) != lead(dst) {
        return Err(Error::shape(op, format!("{:?} against {:?}: all extents but the last must be equal", src.shape(), dst.shape())));
    }
    if count == 0 || src_off + count > cs || dst_off + count > cd {
        let reason = format!("{count} channels from {src_off} of {:?} to {dst_off} of {:?} do not fit", src.shape(), dst.shape());
        return Err(Error::shape(op, reason));
    }
    let (variant, vec) = vectorised(Variant::new(), &[cs, cd, src_off, dst_off, count]);
    let variant = stored(variant, vec, &[("S", src.dtype()), ("D", dst.dtype())]);
    let walk = Walk::new(plan.engine(), 1, rows, 1, spread(plan.engine(), rows));
    let chunks = walk.chunks();
    let u = |v: usize| (v / vec) as u32;
    let total = chunks * count / vec;
    let params = Params {
        total: total as u32,
        rows: rows as u32,
        chunk_rows: rows.div_ceil(chunks) as u32,
        row_step: walk.step,
        row_span: walk.span,
        count: u(count),
        src_off: u(src_off),
        src_stride: u(cs),
        dst_off: u(dst_off),
        dst_stride: u(cd),
    };
    let cost = Cost::bytes((rows * count * (src.dtype().bytes() + dst.dtype().bytes())) as u64);
    plan.dispatch(op, &SHADER, &variant, &[src.into(), dst.into()], &params, Groups::for_items(total, 64), cost)
}

/// Offsets of the parts in the whole's channels.
fn offsets(op: &str, parts: &[&Tensor], whole: &Tensor) -> Result<Vec<usize>> {
    let mut at = 0;
    let mut all = Vec::with_capacity(parts.len());
    for t in parts {
        all.push(at);
        at += stored_rows_cols(op, "part", t)?.1;
    }
    let (_, c) = stored_rows_cols(op, "whole", whole)?;
    if at != c {
        return Err(Error::shape(op, format!("parts of {at} channels in all against {:?}", whole.shape())));
    }
    Ok(all)
}

/// Appends y = the inputs side by side along the channels, one dispatch an input.
///
/// # Errors
/// The channels do not sum to y's, or other extents differ.
pub fn forward(plan: &mut PlanBuilder<'_>, inputs: &[&Tensor], y: &Tensor) -> Result<()> {
    for (x, at) in inputs.iter().zip(offsets("concat", inputs, y)?) {
        copy_channels(plan, x, 0, y, at, x.shape()[x.shape().len() - 1])?;
    }
    Ok(())
}

/// Appends each gradient = its slice of dy, one dispatch an input.
///
/// # Errors
/// As [`forward`].
pub fn backward(plan: &mut PlanBuilder<'_>, dy: &Tensor, grads: &[&Tensor]) -> Result<()> {
    for (dx, at) in grads.iter().zip(offsets("concat backward", grads, dy)?) {
        copy_channels(plan, dy, at, dx, 0, dx.shape()[dx.shape().len() - 1])?;
    }
    Ok(())
}

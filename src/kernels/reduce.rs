//! Sums over rows: host side of `shaders/reduce.wgsl`.

use super::{Walk, both_widths, chunks, expect_shape, rows_cols, spread, vectorised};
use crate::gpu::{Cost, DType, Error, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("reduce");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    walk: Walk,
    half: u32,
    scale: f32,
}

fn variant(kind: i64, accumulate: bool) -> Variant {
    Variant::new().int("KIND", kind).flag("ACC", accumulate)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    both_widths([variant(0, false), variant(0, true), variant(1, false), variant(1, true), variant(2, false)])
}

/// Appends y\[c\] = scale * sum over r of x[r, c], added to y where `accumulate`. x is any tensor whose last extents make up
/// y: [R, C] for a bias gradient. Deterministic: stages of strided sums through scratch, no atomics.
///
/// # Errors
/// y's element count does not divide x's, or either is empty.
pub fn columns(plan: &mut PlanBuilder<'_>, x: &Tensor, y: &Tensor, scale: f32, accumulate: bool) -> Result<()> {
    let (_, c) = columns_of("reduce columns", x, y)?;
    stages(plan, "reduce columns", x, 1, c, &[y], scale, accumulate)
}

/// Appends y\[n\] = scale * sum over s of x[s, n], added to y where `accumulate`: the second half of a product split over K.
/// The same as [`columns`]; a few long slices take one dispatch.
///
/// # Errors
/// As [`columns`].
pub fn sum_slices(plan: &mut PlanBuilder<'_>, x: &Tensor, y: &Tensor, scale: f32, accumulate: bool) -> Result<()> {
    let (_, n) = columns_of("sum slices", x, y)?;
    stages(plan, "sum slices", x, 1, n, &[y], scale, accumulate)
}

/// Appends y[n, c] = scale * sum over everything between of x[n, .., c], added to y where `accumulate`.
///
/// # Errors
/// y is not [N, C] with x's first and last extent.
pub fn batched(plan: &mut PlanBuilder<'_>, x: &Tensor, y: &Tensor, scale: f32, accumulate: bool) -> Result<()> {
    let op = "reduce batched";
    let (_, c) = rows_cols(op, "x", x)?;
    let n = x.shape()[0];
    expect_shape(op, "y", y, &[n, c])?;
    stages(plan, op, x, n, c, &[y], scale, accumulate)
}

/// Appends a\[c\] = sum over r of x[r, 0, c] and b\[c\] = sum over r of x[r, 1, c], added where `accumulate`.
///
/// # Errors
/// x is not [R, 2, C].
pub fn pairs(plan: &mut PlanBuilder<'_>, x: &Tensor, a: &Tensor, b: &Tensor, accumulate: bool) -> Result<()> {
    let op = "reduce pairs";
    let (rows, c) = rows_cols(op, "x", x)?;
    expect_shape(op, "x", x, &[rows / 2, 2, c])?;
    expect_shape(op, "a", a, &[c])?;
    expect_shape(op, "b", b, &[c])?;
    stages(plan, op, x, 1, 2 * c, &[a, b], 1.0, accumulate)
}

/// Appends dx[n, .., c] = scale * dy[n, c], the gradient of [`batched`]; dy of \[C\] (or any shape that x's last extents make
/// up, seen as one row) is that of [`columns`] and [`sum_slices`].
///
/// # Errors
/// dy is neither [N, C] of dx nor one row of it.
pub fn backward(plan: &mut PlanBuilder<'_>, dy: &Tensor, dx: &Tensor, scale: f32) -> Result<()> {
    let op = "reduce backward";
    let (_, last) = rows_cols(op, "dx", dx)?;
    let (batch, c) = if dy.shape() == [dx.shape()[0], last] && dx.shape().len() > 2 {
        expect_shape(op, "dy", dy, &[dx.shape()[0], last])?;
        (dx.shape()[0], last)
    } else {
        (1, columns_of(op, dx, dy)?.1)
    };
    let (variant, vec) = vectorised(variant(2, false), &[c]);
    let n = dx.len() / batch / vec;
    let columns = c / vec;
    let walk = Walk::new(plan.engine(), batch, n, columns, spread(plan.engine(), n / columns));
    let params = Params { walk, half: 0, scale };
    let cost = Cost::bytes(dx.bytes() + dy.bytes());
    plan.dispatch(op, &SHADER, &variant, &[dy.into(), dx.into()], &params, walk.groups(), cost)
}

fn columns_of(op: &str, x: &Tensor, y: &Tensor) -> Result<(usize, usize)> {
    rows_cols(op, "x", x)?;
    rows_cols(op, "y", y)?;
    if !x.len().is_multiple_of(y.len()) {
        return Err(Error::shape(op, format!("{:?} does not sum to {:?}", x.shape(), y.shape())));
    }
    Ok((x.len() / y.len(), y.len()))
}

/// The stages from x [batch, R, c] to one or two outputs.
fn stages(
    plan: &mut PlanBuilder<'_>,
    op: &str,
    x: &Tensor,
    batch: usize,
    c: usize,
    outputs: &[&Tensor],
    scale: f32,
    accumulate: bool,
) -> Result<()> {
    let engine = plan.engine();
    let mut from = x.clone();
    let mut rows = x.len() / batch / c;
    // Columns that do not come in fours: four rows at once make wider ones, and the last stage sums the four.
    let half = outputs[0].len() / batch;
    let mut wide = if half.is_multiple_of(4) || !rows.is_multiple_of(4) || rows <= 64 { c } else { 4 * c };
    rows = rows * c / wide;
    loop {
        let last = wide == c && chunks(engine, rows, batch * c.div_ceil(4)) == 1;
        let (v, vec) =
            vectorised(variant(if last { outputs.len() as i64 - 1 } else { 0 }, last && accumulate), &[wide, if last { half } else { 4 }]);
        let split = if last { 1 } else { chunks(engine, rows, batch * wide.div_ceil(vec)) };
        let walk = Walk::new(engine, batch, rows * wide / vec, wide / vec, split);
        let split = walk.chunks();
        let params = Params { walk, half: (half / vec) as u32, scale: if last { scale } else { 1.0 } };
        let groups = walk.groups();
        let cost = Cost { flops: from.len() as f64, bytes: (from.bytes() + 4 * (batch * split * wide) as u64) as f64 };
        if last {
            let mut bindings = vec![(&from).into()];
            bindings.extend(outputs.iter().map(|t| crate::gpu::Binding::from(*t)));
            return plan.dispatch(op, &SHADER, &v, &bindings, &params, groups, cost);
        }
        let to = engine.tensor("reduce scratch", &[batch, split, wide], DType::F32)?;
        plan.dispatch(op, &SHADER, &v, &[(&from).into(), (&to).into()], &params, groups, cost)?;
        from = to;
        rows = split;
        if split == 1 && wide != c {
            (rows, wide) = (wide / c, c);
        }
    }
}

//! Scale and bias of channels: host side of `shaders/bias.wgsl`.

use super::{Walk, both_widths, chunks, expect_shape, reduce, rows_cols, spread, vectorised};
use crate::gpu::{Binding, Cost, DType, Error, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("bias");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Walk>()];

fn variant(backward: bool, scale: bool, relu: bool, dx: bool) -> Variant {
    Variant::new().flag("BACKWARD", backward).flag("SCALE", scale).flag("RELU", relu).flag("DX", dx)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let bits = |i: u32| [0, 1, 2].map(|b| i >> b & 1 == 1);
    let all = (0..8).map(bits).flat_map(|[s, r, d]| (!d).then(|| variant(false, s, r, false)).into_iter().chain([variant(true, s, r, d)]));
    both_widths(all)
}

/// Appends y = x * scale\[c\] + bias\[c\] over the last extent, max(.., 0) of it with `relu`; without `scale` a plain bias.
///
/// # Errors
/// y has not x's shape, or scale or bias are not \[C\].
pub fn forward(plan: &mut PlanBuilder<'_>, x: &Tensor, scale: Option<&Tensor>, bias: &Tensor, relu: bool, y: &Tensor) -> Result<()> {
    let op = "bias";
    let (rows, c) = rows_cols(op, "x", x)?;
    expect_shape(op, "y", y, x.shape())?;
    expect_shape(op, "bias", bias, &[c])?;
    let mut bindings: Vec<Binding<'_>> = vec![x.into(), bias.into()];
    if let Some(scale) = scale {
        expect_shape(op, "scale", scale, &[c])?;
        bindings.push(scale.into());
    }
    bindings.push(y.into());
    let (variant, vec) = vectorised(variant(false, scale.is_some(), relu, false), &[c]);
    let walk = Walk::new(plan.engine(), 1, x.len() / vec, c / vec, spread(plan.engine(), rows));
    plan.dispatch(op, &SHADER, &variant, &bindings, &walk, walk.groups(), Cost::bytes(x.bytes() + y.bytes()))
}

/// What [`backward`] reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct Backward<'a> {
    /// The forward pass's input; needed where there is a scale.
    pub x: Option<&'a Tensor>,
    /// The forward pass's output, which masks dy; given exactly where the forward pass had a ReLU.
    pub y: Option<&'a Tensor>,
    /// The forward pass's scale.
    pub scale: Option<&'a Tensor>,
    /// Gradient of the output.
    pub dy: &'a Tensor,
    /// Gradient of the input to write; none to skip it.
    pub dx: Option<&'a Tensor>,
    /// Gradient of the scale to write; given exactly where there is a scale.
    pub dscale: Option<&'a Tensor>,
    /// Gradient of the bias to write.
    pub dbias: &'a Tensor,
    /// Add to dscale and dbias instead of overwriting them (dx is always overwritten).
    pub accumulate: bool,
}

/// Appends g = dy (where y > 0 after a ReLU), dx = g * scale\[c\], dscale = sum of g * x, dbias = sum of g over the rows.
/// One pass over the data, then the sums of partial sums.
///
/// # Errors
/// Shapes differ from dy's or from \[C\]; x or dscale is missing where there is a scale.
pub fn backward(plan: &mut PlanBuilder<'_>, b: &Backward<'_>) -> Result<()> {
    let op = "bias backward";
    let (rows, c) = rows_cols(op, "dy", b.dy)?;
    for (name, t) in [("x", b.x), ("y", b.y), ("dx", b.dx)] {
        if let Some(t) = t {
            expect_shape(op, name, t, b.dy.shape())?;
        }
    }
    for (name, t) in [("scale", b.scale), ("dscale", b.dscale), ("dbias", Some(b.dbias))] {
        if let Some(t) = t {
            expect_shape(op, name, t, &[c])?;
        }
    }
    let mut bindings: Vec<Binding<'_>> = vec![b.dy.into()];
    match (b.scale, b.x, b.dscale) {
        (Some(scale), Some(x), Some(_)) => bindings.extend([Binding::from(x), scale.into()]),
        (None, _, None) => {}
        _ => return Err(Error::shape(op, "a scale needs x and dscale, and dscale needs a scale")),
    }
    if b.scale.is_none() && b.y.is_none() && b.dx.is_none() {
        return reduce::columns(plan, b.dy, b.dbias, 1.0, b.accumulate);
    }
    bindings.extend(b.y.iter().chain(&b.dx).map(|t| Binding::from(*t)));
    let (variant, vec) = vectorised(variant(true, b.scale.is_some(), b.y.is_some(), b.dx.is_some()), &[c]);
    let walk = Walk::new(plan.engine(), 1, b.dy.len() / vec, c / vec, chunks(plan.engine(), rows, c / vec));
    let sums = 1 + usize::from(b.scale.is_some());
    let partial = plan.engine().tensor("bias scratch", &[walk.chunks(), sums, c], DType::F32)?;
    bindings.push((&partial).into());
    let tensors = 1 + usize::from(b.scale.is_some()) + usize::from(b.y.is_some()) + usize::from(b.dx.is_some());
    let cost = Cost::bytes(b.dy.bytes() * tensors as u64);
    plan.dispatch(op, &SHADER, &variant, &bindings, &walk, walk.groups(), cost)?;
    match b.dscale {
        Some(dscale) => reduce::pairs(plan, &partial, b.dbias, dscale, b.accumulate),
        None => reduce::columns(plan, &partial, b.dbias, 1.0, b.accumulate),
    }
}

//! Enlarging images by a whole factor: host side of `shaders/upsample.wgsl`.

use super::{expect_stored, stored, stored_both_ways, stored_nhwc, vectorised};
use crate::gpu::{Cost, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("upsample");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// How the new elements are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upsample {
    /// The element whose cell they lie in.
    Nearest,
    /// Bilinear between cell centres (corners not aligned), the border repeated.
    Bilinear,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    total: u32,
    columns: u32,
    h: u32,
    w: u32,
    factor: u32,
    run: u32,
}

fn variant(backward: bool, mode: Upsample, factor: usize) -> Variant {
    let factor = if factor == 2 || factor == 4 { factor as i64 } else { 0 };
    Variant::new().int("FACTOR", factor).flag("BACKWARD", backward).flag("LINEAR", mode == Upsample::Bilinear)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let modes = [Upsample::Nearest, Upsample::Bilinear].into_iter();
    stored_both_ways(modes.flat_map(|m| [0, 2, 4].into_iter().flat_map(move |f| [variant(false, m, f), variant(true, m, f)])), &["X", "Y"])
}

fn params(op: &str, small: &Tensor, large: &Tensor, factor: usize) -> Result<[usize; 4]> {
    let shape = stored_nhwc(op, "x", small)?;
    if factor == 0 || factor > 1 << 12 {
        return Err(Error::shape(op, format!("the factor must be 1 to 4096, not {factor}")));
    }
    expect_stored(op, "y", large, &[shape[0], shape[1] * factor, shape[2] * factor, shape[3]])?;
    Ok(shape)
}

/// Columns an invocation: a CPU divides slowly, so it finds its place once for several.
fn run(plan: &PlanBuilder<'_>, w: usize) -> usize {
    if plan.engine().caps().software { w.min(16) } else { 1 }
}

/// Appends y \[N, factor H, factor W, C\] from x \[N, H, W, C\]; either may be stored as f16.
///
/// # Errors
/// Shapes differ from these, or the factor is 0 or over 4096.
pub fn forward(plan: &mut PlanBuilder<'_>, mode: Upsample, factor: usize, x: &Tensor, y: &Tensor) -> Result<()> {
    let op = "upsample";
    let [n, h, w, c] = params(op, x, y, factor)?;
    let (variant, vec) = vectorised(variant(false, mode, factor), &[c]);
    let variant = stored(variant, vec, &[("X", x.dtype()), ("Y", y.dtype())]);
    let run = run(plan, w * factor);
    let total = n * h * (w * factor).div_ceil(run) * c / vec;
    let params =
        Params { total: total as u32, columns: (c / vec) as u32, h: h as u32, w: w as u32, factor: factor as u32, run: run as u32 };
    let cost = Cost::bytes(x.bytes() + y.bytes());
    plan.dispatch(op, &SHADER, &variant, &[x.into(), y.into()], &params, Groups::for_items(total, 64), cost)
}

/// Appends dx \[N, H, W, C\] from dy \[N, factor H, factor W, C\].
///
/// # Errors
/// As [`forward`].
pub fn backward(plan: &mut PlanBuilder<'_>, mode: Upsample, factor: usize, dy: &Tensor, dx: &Tensor) -> Result<()> {
    let op = "upsample backward";
    let [n, h, w, c] = params(op, dx, dy, factor)?;
    let (variant, vec) = vectorised(variant(true, mode, factor), &[c]);
    let variant = stored(variant, vec, &[("X", dx.dtype()), ("Y", dy.dtype())]);
    let run = run(plan, w);
    let total = n * h * w.div_ceil(run) * c / vec;
    let params =
        Params { total: total as u32, columns: (c / vec) as u32, h: h as u32, w: w as u32, factor: factor as u32, run: run as u32 };
    let cost = Cost::bytes(dx.bytes() + dy.bytes());
    plan.dispatch(op, &SHADER, &variant, &[dy.into(), dx.into()], &params, Groups::for_items(total, 64), cost)
}

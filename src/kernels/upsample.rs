//! Enlarging images by a whole factor, or to a size: host side of `shaders/upsample.wgsl`.

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
    oh: u32,
    ow: u32,
}

fn variant(backward: bool, mode: Upsample, factor: usize) -> Variant {
    let factor = if factor == 2 || factor == 4 { factor as i64 } else { 0 };
    let linear = mode == Upsample::Bilinear;
    Variant::new().int("FACTOR", factor).flag("BACKWARD", backward).flag("LINEAR", linear).flag("SIZED", false)
}

fn sized_variant(backward: bool) -> Variant {
    Variant::new().int("FACTOR", 0).flag("BACKWARD", backward).flag("LINEAR", false).flag("SIZED", true)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let modes = [Upsample::Nearest, Upsample::Bilinear].into_iter();
    let factors = modes.flat_map(|m| [0, 2, 4].into_iter().flat_map(move |f| [variant(false, m, f), variant(true, m, f)]));
    stored_both_ways(factors.chain([false, true].map(sized_variant)), &["X", "Y"])
}

fn params(op: &str, small: &Tensor, large: &Tensor, factor: usize) -> Result<[usize; 4]> {
    let shape = stored_nhwc(op, "x", small)?;
    if factor == 0 || factor > 1 << 12 {
        return Err(Error::shape(op, format!("the factor must be 1 to 4096, not {factor}")));
    }
    expect_stored(op, "y", large, &[shape[0], shape[1] * factor, shape[2] * factor, shape[3]])?;
    Ok(shape)
}

/// Turns of loops an invocation takes on a software adapter, at most: llvmpipe ends all loops at 65,535 together, and silently.
const TURNS: usize = 60_000;

/// Columns an invocation, each of which takes so many turns of loops: a CPU divides slowly, so it finds its place once for several.
fn run(plan: &PlanBuilder<'_>, op: &str, w: usize, turns: usize) -> Result<usize> {
    match plan.engine().caps().software {
        true if turns > TURNS => Err(Error::Limit {
            op: op.into(),
            what: "elements that one becomes".into(),
            need: turns as u64,
            limit: TURNS as u64,
            advice: "enlarge in several steps".into(),
        }),
        true => Ok(w.min(16).min(TURNS / turns)),
        false => Ok(1),
    }
}

/// Appends y \[N, factor H, factor W, C\] from x \[N, H, W, C\]; either may be stored as f16.
///
/// # Errors
/// Shapes differ from these, or the factor is 0 or over 4096.
pub fn forward(plan: &mut PlanBuilder<'_>, mode: Upsample, factor: usize, x: &Tensor, y: &Tensor) -> Result<()> {
    let op = "upsample";
    let [n, h, w, c] = params(op, x, y, factor)?;
    let run = run(plan, op, w * factor, factor + 2)?;
    let strips = n * h * (w * factor).div_ceil(run);
    let of = Params { h: h as u32, w: w as u32, factor: factor as u32, run: run as u32, ..Params::zeroed() };
    strip(plan, op, variant(false, mode, factor), of, strips * c, [x, y], [x, y])
}

/// Appends dx \[N, H, W, C\] from dy \[N, factor H, factor W, C\].
///
/// # Errors
/// As [`forward`]; on a software adapter a factor over 243, bilinear over 121: its loops would be cut short.
pub fn backward(plan: &mut PlanBuilder<'_>, mode: Upsample, factor: usize, dy: &Tensor, dx: &Tensor) -> Result<()> {
    let op = "upsample backward";
    let [n, h, w, c] = params(op, dx, dy, factor)?;
    let side = if mode == Upsample::Nearest { factor } else { 2 * factor + 1 };
    let run = run(plan, op, w, side * (side + 2) + 2)?;
    let of = Params { h: h as u32, w: w as u32, factor: factor as u32, run: run as u32, ..Params::zeroed() };
    strip(plan, op, variant(true, mode, factor), of, n * h * w.div_ceil(run) * c, [dx, dy], [dy, dx])
}

/// One dispatch of so many strips times channels; `images` are the smaller and the larger.
fn strip(
    plan: &mut PlanBuilder<'_>,
    op: &str,
    variant: Variant,
    of: Params,
    items: usize,
    images: [&Tensor; 2],
    bindings: [&Tensor; 2],
) -> Result<()> {
    let c = images[0].shape()[3];
    let (variant, vec) = vectorised(variant, &[c]);
    let variant = stored(variant, vec, &[("X", images[0].dtype()), ("Y", images[1].dtype())]);
    let total = items / vec;
    let params = Params { total: total as u32, columns: (c / vec) as u32, ..of };
    let cost = Cost::bytes(images[0].bytes() + images[1].bytes());
    plan.dispatch(op, &SHADER, &variant, &bindings.map(Into::into), &params, Groups::for_items(total, 64), cost)
}

/// Both extents of the smaller and of the larger image of [`resize`], beside the batch and the channels.
fn sizes(op: &str, x: &Tensor, y: &Tensor) -> Result<([usize; 4], [usize; 2])> {
    let (shape @ [n, h, w, c], [images, oh, ow, channels]) = (stored_nhwc(op, "x", x)?, stored_nhwc(op, "y", y)?);
    if (n, c) != (images, channels) || [h, w, oh, ow].iter().any(|v| *v >= 1 << 16) {
        return Err(Error::shape(op, format!("{:?} to {:?}: batch and channels stay, extents are below 65,536", x.shape(), y.shape())));
    }
    Ok((shape, [oh, ow]))
}

/// Appends y \[N, OH, OW, C\] from x \[N, H, W, C\], of any extents: element o of a line of OH is element floor(o H / OH) of one of H, by whole
/// numbers (PyTorch's `interpolate(mode="nearest")` up to its rounding). Either may be stored as f16.
///
/// # Errors
/// Batch or channels differ, or an extent of 65,536 or more.
pub fn resize(plan: &mut PlanBuilder<'_>, x: &Tensor, y: &Tensor) -> Result<()> {
    let op = "resize";
    let ([n, h, w, c], [oh, ow]) = sizes(op, x, y)?;
    let run = run(plan, op, ow, 1)?;
    let [h, w, run_of, tall, wide] = [h, w, run, oh, ow].map(|v| v as u32);
    let of = Params { h, w, run: run_of, oh: tall, ow: wide, ..Params::zeroed() };
    strip(plan, op, sized_variant(false), of, n * oh * ow.div_ceil(run) * c, [x, y], [x, y])
}

/// Appends dx \[N, H, W, C\] of [`resize`] from dy \[N, OH, OW, C\]: the sum of the elements that each became, 0 where there is none.
///
/// # Errors
/// As [`resize`]; on a software adapter an enlargement of over 243 times along both sides: its loops would be cut short.
pub fn resize_backward(plan: &mut PlanBuilder<'_>, dy: &Tensor, dx: &Tensor) -> Result<()> {
    let op = "resize backward";
    let ([n, h, w, c], [oh, ow]) = sizes(op, dx, dy)?;
    let run = run(plan, op, w, oh.div_ceil(h) * (ow.div_ceil(w) + 2) + 2)?;
    let items = n * h * w.div_ceil(run) * c;
    let [h, w, run_of, tall, wide] = [h, w, run, oh, ow].map(|v| v as u32);
    let of = Params { h, w, run: run_of, oh: tall, ow: wide, ..Params::zeroed() };
    strip(plan, op, sized_variant(true), of, items, [dx, dy], [dy, dx])
}

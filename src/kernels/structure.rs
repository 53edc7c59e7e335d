//! Plain structure of an image, and the last step of any features before a correlation: host side of `shaders/structure.wgsl`.
//!
//! The order of plain structure: [`grey`], [`gaussian::blur`](super::gaussian::blur), [`oriented`], the blur again, unit length a pixel
//! ([`l2norm`](super::l2norm)), [`finish`].

use super::{both_widths, expect_shape, nhwc, vectorised};
use crate::gpu::{Cost, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("structure");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<GreyParams>(), size_of::<OrientedParams>(), size_of::<FinishParams>()];

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct GreyParams {
    total: u32,
    weights: [f32; 3],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct OrientedParams {
    total: u32,
    h: u32,
    w: u32,
    mask: u32,
    least: f32,
    power: f32,
    turns: [f32; 32],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct FinishParams {
    pixels: u32,
    columns: u32,
    mask: u32,
    least: f32,
    out: [u32; 2],
    source: [u32; 2],
}

fn oriented_variant(k: usize, power: i64) -> Variant {
    Variant::new().int("KIND", 1).int("K", k as i64).int("POWER", power)
}

fn finish_variant() -> Variant {
    Variant::new().int("KIND", 2)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let mut all = both_widths([finish_variant()]);
    all.push(Variant::new().int("KIND", 0));
    all.extend([4, 8, 16].into_iter().flat_map(|k| (0..3).map(move |p| oriented_variant(k, p))));
    all
}

/// Channels of a validity plane over `shape` of [N, H, W].
fn planes(op: &str, validity: &Tensor, [n, h, w]: [usize; 3]) -> Result<usize> {
    let channels = nhwc(op, "validity", validity)?[3];
    expect_shape(op, "validity", validity, &[n, h, w, channels])?;
    Ok(channels)
}

/// A validity share: a number of 0 to 1.
fn share(op: &str, least: f32) -> Result<()> {
    if (0.0..=1.0).contains(&least) { Ok(()) } else { Err(Error::shape(op, format!("the least validity must be 0 to 1, not {least}"))) }
}

/// Appends grey \[N, H, W, 1\] = the sum of the bands times `weights`, from the sampler's x \[N, H, W, 4\] (three bands, validity share);
/// 0 where nothing is valid. Optical: weights that sum to 1, for instance; SAR: \[1, 0, 0\].
///
/// # Errors
/// Shapes differ from these.
pub fn grey(plan: &mut PlanBuilder<'_>, x: &Tensor, weights: [f32; 3], grey: &Tensor) -> Result<()> {
    let op = "grey";
    let [n, h, w, _] = nhwc(op, "x", x)?;
    expect_shape(op, "x", x, &[n, h, w, 4])?;
    expect_shape(op, "grey", grey, &[n, h, w, 1])?;
    let total = n * h * w;
    let params = GreyParams { total: total as u32, weights };
    let cost = Cost { flops: 5.0 * total as f64, bytes: 20.0 * total as f64 };
    plan.dispatch(op, &SHADER, &Variant::new().int("KIND", 0), &[x.into(), grey.into()], &params, Groups::for_items(total, 64), cost)
}

/// Appends out \[N, H, W, K\], K of 4, 8 or 16: |gx cos t + gy sin t|^power for the angles t = pi k / K, with the gradient (gx, gy) of grey
/// \[N, H, W, 1\] by central differences, in grey values a pixel, x to the right and y down. `power` is above 0; 1 leaves the magnitudes as they are.
///
/// Where one of the four neighbours lies outside the image or is not valid the output is 0, so that an edge of the data is no structure: validity
/// \[N, H, W, M\], whose last channel must be above 0 and at least `min_validity` (the sampler's output \[N, S, S, 4\] as it is, or a plane).
///
/// # Errors
/// Shapes differ from these; a power that is not above 0 and finite, a `min_validity` that is not 0 to 1.
pub fn oriented(plan: &mut PlanBuilder<'_>, grey: &Tensor, validity: &Tensor, min_validity: f32, power: f32, out: &Tensor) -> Result<()> {
    let op = "oriented";
    let [n, h, w, k] = nhwc(op, "out", out)?;
    expect_shape(op, "grey", grey, &[n, h, w, 1])?;
    let mask = planes(op, validity, [n, h, w])?;
    share(op, min_validity)?;
    if !(power > 0.0 && power.is_finite()) {
        return Err(Error::shape(op, format!("the power must be above 0 and finite, not {power}")));
    }
    if ![4, 8, 16].contains(&k) {
        return Err(Error::shape(op, format!("`out` must have 4, 8 or 16 channels, not {k}")));
    }
    let mut turns = [0.0; 32];
    for (t, pair) in turns.chunks_exact_mut(2).take(k).enumerate() {
        let (cos, sin) = turn(t, k);
        (pair[0], pair[1]) = (cos as f32, sin as f32);
    }
    let total = n * h * w;
    let params = OrientedParams { total: total as u32, h: h as u32, w: w as u32, mask: mask as u32, least: min_validity, power, turns };
    let kind = match power {
        1.0 => 0,
        0.5 => 2,
        _ => 1,
    };
    let cost = Cost { flops: (4 * k * total) as f64, bytes: ((8 + 4 * k) * total) as f64 };
    let bindings = [grey.into(), validity.into(), out.into()];
    plan.dispatch(op, &SHADER, &oriented_variant(k, kind), &bindings, &params, Groups::for_items(total, 64), cost)
}

/// Cosine and sine of angle pi k / n; exactly 0 and 1 on the axes.
pub(crate) fn turn(k: usize, n: usize) -> (f64, f64) {
    if 2 * k == n {
        return (0.0, 1.0);
    }
    let (sin, cos) = (std::f64::consts::PI * k as f64 / n as f64).sin_cos();
    (cos, sin)
}

/// Appends the last step before a correlation: out \[N, h, w, C\] = the middle of features \[N, H, W, C\] where valid, else 0;
/// and planes \[N, h, w, 2\] = (sum over the channels of out^2, 1 where valid or 0). Valid is a pixel whose last channel of validity \[N, H, W, M\] (the sampler's output
/// \[N, S, S, 4\] as it is, or a plane) is above 0 and at least `min_validity`. Features may hold anything where nothing is valid.
///
/// # Errors
/// Shapes differ from these (the margins even); a `min_validity` that is not 0 to 1.
pub fn finish(
    plan: &mut PlanBuilder<'_>,
    features: &Tensor,
    validity: &Tensor,
    min_validity: f32,
    out: &Tensor,
    planes: &Tensor,
) -> Result<()> {
    let op = "finish";
    let [n, h, w, c] = nhwc(op, "features", features)?;
    let mask = self::planes(op, validity, [n, h, w])?;
    let [_, rows, wide, _] = nhwc(op, "out", out)?;
    if rows > h || wide > w || (h - rows) % 2 + (w - wide) % 2 > 0 {
        return Err(Error::shape(op, format!("{rows} x {wide} pixels are not the middle of {h} x {w}")));
    }
    expect_shape(op, "out", out, &[n, rows, wide, c])?;
    expect_shape(op, "planes", planes, &[n, rows, wide, 2])?;
    share(op, min_validity)?;
    let (variant, vec) = vectorised(finish_variant(), &[c]);
    let pixels = n * rows * wide;
    let params = FinishParams {
        pixels: pixels as u32,
        columns: (c / vec) as u32,
        mask: mask as u32,
        least: min_validity,
        out: [rows as u32, wide as u32],
        source: [h as u32, w as u32],
    };
    let bindings = [features.into(), validity.into(), out.into(), planes.into()];
    let cost = Cost { flops: 2.0 * out.len() as f64, bytes: (2 * out.bytes() + planes.bytes()) as f64 + 4.0 * pixels as f64 };
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::for_items(pixels, 256), cost)
}

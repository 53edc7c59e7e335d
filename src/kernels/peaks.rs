//! Peaks of correlation surfaces: host side of `shaders/peaks.wgsl`.
//!
//! A surface is \[Q, V, U, W\] F32: Q queries, V x U places of each of W blocks, the block innermost. Its score at a place is
//! surface * norm * scale\[q\]; the place is valid where norm is above 0 (and the score a number under 1e30 in size). A place is told by its
//! position v U + u.
//!
//! The order: the host gives scale and count of each query, [`inverse_norm`] the norm, [`tiles`] the best of each tile,
//! [`select`] the best of those, apart from each other, [`refine`] their places between the pixels.

use super::{LANES, both_widths, expect, expect_shape, lanes, nhwc, vectorised};
use crate::gpu::{Cost, DType, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("peaks");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[
    size_of::<NormParams>(),
    size_of::<TileParams>(),
    size_of::<SumParams>(),
    size_of::<SelectParams>(),
    size_of::<RefineParams>(),
    size_of::<VarianceParams>(),
];

/// Side of a tile, places.
pub const TILE: usize = 16;

/// The score that stands for no valid place.
pub const NONE: f32 = -1e30;

/// The position that stands for no valid place.
pub const NOWHERE: u32 = u32::MAX;

/// Most peaks of one [`select`].
pub const MAX_PEAKS: usize = 16;

/// Numbers a peak that [`refine`] writes.
pub const REFINED: usize = 6;

/// Longest side of a surface.
const MAX_SIDE: usize = 65_535;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct NormParams {
    groups: u32,
    each: u32,
    per: u32,
    least_share: f32,
    least_energy: f32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct TileParams {
    total: u32,
    v: u32,
    u: u32,
    w: u32,
    columns: u32,
    across: u32,
    tiles: u32,
    one_norm: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct SumParams {
    rows: u32,
    tiles: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct SelectParams {
    rows: u32,
    tiles: u32,
    u: u32,
    k: u32,
    radius: i32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct RefineParams {
    total: u32,
    v: u32,
    u: u32,
    w: u32,
    k: u32,
    one_norm: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct VarianceParams {
    per: u32,
    count: u32,
}

/// Blocks of a group of the tiled variant.
const BLOCKS: [i64; 2] = [4, 16];

fn variant(kind: i64) -> Variant {
    Variant::new().int("KIND", kind)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let mut all = both_widths([variant(0), variant(1), variant(6)]);
    all.extend(BLOCKS.map(|b| variant(2).int("BLOCKS", b)));
    all.extend([3, 4].into_iter().flat_map(|kind| LANES.map(|l| variant(kind).int("LANES", l))));
    all.push(variant(5));
    all
}

/// Appends out = 1 / sqrt(energy), all \[Q, V, U, W\], for windows of the map with enough data: valid (the window's count of valid pixels) is at least
/// `min_share` of the query's count \[Q\] and at least half a pixel, and the energy is above `min_energy` a valid pixel; else 0. Energy and count may carry
/// the rounding of an FFT, small negative numbers included: the result is finite, never NaN, and 0 where either is NaN.
///
/// `min_energy` is in the features' units: for features of unit length less a mean, 1e-4 keeps windows that are flat but for rounding from winning.
///
/// # Errors
/// Shapes differ from these; a limit that is negative or not a number.
pub fn inverse_norm(
    plan: &mut PlanBuilder<'_>,
    energy: &Tensor,
    valid: &Tensor,
    count: &Tensor,
    min_share: f32,
    min_energy: f32,
    out: &Tensor,
) -> Result<()> {
    let op = "inverse norm";
    let shape = nhwc(op, "energy", energy)?;
    expect_shape(op, "valid", valid, &shape)?;
    expect_shape(op, "count", count, &shape[..1])?;
    expect_shape(op, "out", out, &shape)?;
    if !(min_share >= 0.0 && min_energy >= 0.0) {
        return Err(Error::shape(op, format!("the least share and energy must be 0 or more, not {min_share} and {min_energy}")));
    }
    let (variant, vec) = vectorised(variant(0), &[energy.len() / shape[0]]);
    let per = energy.len() / shape[0] / vec;
    let each = per.div_ceil(512);
    let groups = shape[0] * each;
    let params = NormParams { groups: groups as u32, each: each as u32, per: per as u32, least_share: min_share, least_energy: min_energy };
    let cost = Cost { flops: 4.0 * energy.len() as f64, bytes: 3.0 * energy.bytes() as f64 };
    let bindings = [energy.into(), valid.into(), count.into(), out.into()];
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::Linear(groups as u64), cost)
}

/// Takes from the energy \[1, V, U, W\] of windows what their channels' means make of it: the sum over N of sums \[N, V, U, W\]^2 / valid \[1, V, U, W\], the sums
/// being those of some channels over the window's valid pixels. With all channels, in one call or several, the variance remains (times the
/// count), but for rounding, which may leave a little less than nothing.
///
/// # Errors
/// Shapes differ from these.
pub fn remove_means(plan: &mut PlanBuilder<'_>, sums: &Tensor, valid: &Tensor, energy: &Tensor) -> Result<()> {
    let op = "window variance";
    let [n, v, u, w] = nhwc(op, "sums", sums)?;
    expect_shape(op, "valid", valid, &[1, v, u, w])?;
    expect_shape(op, "energy", energy, &[1, v, u, w])?;
    let (variant, vec) = vectorised(variant(6), &[energy.len()]);
    let params = VarianceParams { per: (energy.len() / vec) as u32, count: n as u32 };
    let cost = Cost { flops: 2.0 * sums.len() as f64, bytes: (sums.bytes() + 3 * energy.bytes()) as f64 };
    let bindings = [sums.into(), valid.into(), energy.into()];
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::for_items(energy.len() / vec, 64), cost)
}

/// Extents of a surface, and whether all queries share the norm, [Q, V, U, W] or [1, V, U, W].
fn surfaces(op: &str, surface: &Tensor, norm: &Tensor, scale: &Tensor) -> Result<([usize; 4], bool)> {
    let shape = nhwc(op, "surface", surface)?;
    let [q, v, u, w] = shape;
    if v.max(u) > MAX_SIDE {
        return Err(Error::shape(op, format!("`surface` is {v} x {u}, at most {MAX_SIDE} a side")));
    }
    let shared = norm.shape().first() == Some(&1);
    expect_shape(op, "norm", norm, &[if shared { 1 } else { q }, v, u, w])?;
    expect_shape(op, "scale", scale, &[q])?;
    Ok((shape, shared))
}

/// Appends, from surface \[Q, V, U, W\], norm (the same, or \[1, V, U, W\] for all queries) and scale \[Q\]: the best score of each tile of [`TILE`] x
/// [`TILE`] places into best \[Q, W, TY, TX\] F32 and its position v U + u into position \[Q, W, TY, TX\] U32, with TY = ceil(V / 16), TX = ceil(U / 16);
/// and (count, sum, sum of squares) of all valid scores of a query and block into sums \[Q, W, 3\].
///
/// Of equal scores the lower position wins. A tile without a valid place has score [`NONE`] and position [`NOWHERE`].
///
/// # Errors
/// Shapes differ from these; V or U over 65,535; out of memory for the tiles' sums.
pub fn tiles(
    plan: &mut PlanBuilder<'_>,
    surface: &Tensor,
    norm: &Tensor,
    scale: &Tensor,
    best: &Tensor,
    position: &Tensor,
    sums: &Tensor,
) -> Result<()> {
    let op = "peak tiles";
    let ([q, v, u, w], shared) = surfaces(op, surface, norm, scale)?;
    let (down, across) = (v.div_ceil(TILE), u.div_ceil(TILE));
    expect_shape(op, "best", best, &[q, w, down, across])?;
    expect(op, "position", position, &[q, w, down, across], DType::U32)?;
    expect_shape(op, "sums", sums, &[q, w, 3])?;
    let tiles = down * across;
    let partial = plan.engine().tensor("peak tiles' sums", &[q, w, tiles, 3], DType::F32)?;
    let (variant_, columns, groups, total) = if plan.engine().caps().software {
        // No workgroup memory: barriers and its loads cost a CPU more than anything here.
        let (variant, vec) = vectorised(variant(1), &[w]);
        let total = q * tiles * (w / vec);
        (variant, w / vec, Groups::for_items(total, 64), total)
    } else {
        let blocks = BLOCKS[usize::from(w > BLOCKS[0] as usize)];
        let columns = w.div_ceil(blocks as usize);
        let total = q * tiles * columns;
        (variant(2).int("BLOCKS", blocks), columns, Groups::Linear(total as u64), total)
    };
    let [total, v, u, blocks, columns, across, tiles_u] = [total, v, u, w, columns, across, tiles].map(|n| n as u32);
    let params = TileParams { total, v, u, w: blocks, columns, across, tiles: tiles_u, one_norm: shared.into() };
    let cost = Cost { flops: 6.0 * surface.len() as f64, bytes: (surface.bytes() + norm.bytes()) as f64 };
    let bindings = [surface.into(), norm.into(), scale.into(), best.into(), position.into(), (&partial).into()];
    plan.dispatch(op, &SHADER, &variant_, &bindings, &params, groups, cost)?;
    let params = SumParams { rows: (q * w) as u32, tiles: tiles_u };
    let variant = variant(3).int("LANES", lanes(plan.engine()));
    let bindings = [(&partial).into(), sums.into()];
    plan.dispatch("peak sums", &SHADER, &variant, &bindings, &params, Groups::Linear((q * w) as u64), Cost::bytes(partial.bytes()))
}

/// Appends, from the tiles of [`tiles`] of surfaces `u` places wide: the K best of each query and block, best first, of those that are more than `radius`
/// places apart along one axis at least, into score \[Q, W, K\] F32 and place \[Q, W, K\] U32, K at most [`MAX_PEAKS`]. Exact and greedy: each is the best
/// tile that no better one has put out; of equal scores the lower position is better. Lists are filled up with [`NONE`] and [`NOWHERE`].
///
/// # Errors
/// Shapes differ from these; K 0 or too large; `u` not of TX tiles; out of memory for the scratch.
pub fn select(
    plan: &mut PlanBuilder<'_>,
    best: &Tensor,
    position: &Tensor,
    u: usize,
    radius: usize,
    score: &Tensor,
    place: &Tensor,
) -> Result<()> {
    let op = "peak select";
    let [q, w, down, across] = nhwc(op, "best", best)?;
    expect(op, "position", position, best.shape(), DType::U32)?;
    if u.div_ceil(TILE) != across || u.max(down * TILE) > MAX_SIDE + TILE {
        return Err(Error::shape(op, format!("surfaces {u} places wide with tiles {:?}", best.shape())));
    }
    let &[_, _, k] = score.shape() else { return Err(Error::shape(op, format!("`score` is {:?}, expected [Q, W, K]", score.shape()))) };
    if k == 0 || k > MAX_PEAKS {
        return Err(Error::shape(op, format!("{k} peaks, expected 1 to {MAX_PEAKS}")));
    }
    expect_shape(op, "score", score, &[q, w, k])?;
    expect(op, "place", place, &[q, w, k], DType::U32)?;
    let (rows, tiles) = (q * w, down * across);
    let work = plan.engine().tensor("peak select", &[rows, tiles, 2], DType::U32)?;
    let params = SelectParams { rows: rows as u32, tiles: tiles as u32, u: u as u32, k: k as u32, radius: radius.min(MAX_SIDE) as i32 };
    let variant = variant(4).int("LANES", lanes(plan.engine()));
    let bindings = [best.into(), position.into(), (&work).into(), score.into(), place.into()];
    let cost = Cost::bytes(8 * (rows * tiles * (k + 1)) as u64);
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::Linear(rows as u64), cost)
}

/// Appends out \[Q, W, K, 6\] for the places of [`select`], from the surfaces it looked at: (dy, dx, height, second derivatives along y, along x, mixed) of
/// the peak between the pixels. Along each axis a parabola goes through the score and its two neighbours; the offset, in places, is its top, at most
/// 1 either way, and height the score with what both parabolas add there.
///
/// An axis at the surface's border, beside a place that is not valid, or along which the scores do not curve down is left alone: offset 0
/// (second derivative 0 in the first two cases). The mixed derivative comes from the four places at the corners, 0 where one is missing. A list's empty end has height [`NONE`] and zeros.
///
/// # Errors
/// Shapes differ from these; V or U over 65,535.
pub fn refine(plan: &mut PlanBuilder<'_>, surface: &Tensor, norm: &Tensor, scale: &Tensor, place: &Tensor, out: &Tensor) -> Result<()> {
    let op = "peak refine";
    let ([q, v, u, w], shared) = surfaces(op, surface, norm, scale)?;
    let &[_, _, k] = place.shape() else { return Err(Error::shape(op, format!("`place` is {:?}, expected [Q, W, K]", place.shape()))) };
    expect(op, "place", place, &[q, w, k], DType::U32)?;
    expect_shape(op, "out", out, &[q, w, k, REFINED])?;
    let total = q * w * k;
    let [total_u, v, u, w, k] = [total, v, u, w, k].map(|n| n as u32);
    let params = RefineParams { total: total_u, v, u, w, k, one_norm: shared.into() };
    let bindings = [surface.into(), norm.into(), scale.into(), place.into(), out.into()];
    plan.dispatch(op, &SHADER, &variant(5), &bindings, &params, Groups::for_items(total, 64), Cost::bytes(64 * total as u64))
}

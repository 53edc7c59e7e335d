//! 3 x 3 convolutions of stride 1 by sixteen products: host side of `shaders/winograd.wgsl`.

use super::{expect_shape, matmul, nhwc};
use crate::gpu::{Caps, Cost, DType, Error, Groups, PlanBuilder, Precision, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};
use std::ops::Range;

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("winograd");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Products a tile.
pub const POINTS: usize = 16;

/// Outputs of a tile along either axis.
const TILE: usize = 2;

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
struct Params {
    h: u32,
    w: u32,
    c4: u32,
    pad_y: u32,
    pad_x: u32,
    tiles_y: u32,
    tiles_x: u32,
    first: u32,
    count: u32,
    run: u32,
}

fn variant(kind: i64, [flip, bias, relu]: [bool; 3]) -> Variant {
    Variant::new().int("KIND", kind).flag("FLIP", flip).flag("BIAS", bias).flag("RELU", relu)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let weights = [false, true].map(|flip| variant(0, [flip, false, false]));
    let outputs = [(false, false), (false, true), (true, false), (true, true)].map(|(bias, relu)| variant(2, [false, bias, relu]));
    weights.into_iter().chain([variant(1, [false; 3])]).chain(outputs).collect()
}

/// Tiles along y and x for an image of so many outputs.
fn tiles(h: usize, w: usize) -> [usize; 2] {
    [h, w].map(|size| size.div_ceil(TILE))
}

/// Appends u [16, I, O], the transformed weights w [9, CI, CO]: I = CI and O = CO, or, where `flip`, O = CI and I = CO with the taps turned by
/// 180 degrees: a convolution with those is the gradient with respect to the input.
///
/// # Errors
/// Tensors that do not fit.
pub fn weights(plan: &mut PlanBuilder<'_>, w: &Tensor, flip: bool, u: &Tensor) -> Result<()> {
    let op = "winograd weights";
    let [_, ci, co] = w.shape()[..] else { return Err(Error::shape(op, format!("weights {:?} are not [9, CI, CO]", w.shape()))) };
    expect_shape(op, "w", w, &[9, ci, co])?;
    expect_shape(op, "u", u, &if flip { [POINTS, co, ci] } else { [POINTS, ci, co] })?;
    // Here they are the channels.
    let params = Params { h: ci as u32, w: co as u32, ..Params::default() };
    let (groups, cost) = (Groups::for_items(ci * co, 64), Cost::bytes(w.bytes() + u.bytes()));
    plan.dispatch(op, &SHADER, &variant(0, [flip, false, false]), &[w.into(), u.into()], &params, groups, cost)
}

/// What is checked alike for both transforms of images: channels in fours, tiles that are there, and their rows.
fn params(op: &str, [n, h, w, c]: [usize; 4], [tiles_y, tiles_x]: [usize; 2], part: &Range<usize>, rows: &Tensor) -> Result<Params> {
    let [points, run, channels] = rows.shape()[..] else { return Err(Error::shape(op, format!("{:?} is not [16, T, C]", rows.shape()))) };
    super::f32s(op, &[rows])?;
    if !c.is_multiple_of(4) || [points, channels] != [POINTS, c] || part.len() > run || part.end > n * tiles_y * tiles_x {
        let what = format!("tiles {part:?} of {} of [{n}, {h}, {w}, {c}] against {:?}; C in fours", n * tiles_y * tiles_x, rows.shape());
        return Err(Error::shape(op, what));
    }
    let [h, w, c4, tiles_y, tiles_x, first, count, run] = [h, w, c / 4, tiles_y, tiles_x, part.start, part.len(), run].map(|v| v as u32);
    Ok(Params { h, w, c4, pad_y: 0, pad_x: 0, tiles_y, tiles_x, first, count, run })
}

/// Appends v [16, T, C], the transformed inputs of the tiles `part`, in their order, from x [N, H, W, C] with `pad` zeros above and left. `out` is
/// [OH, OW], the outputs that the tiles cover: tile t is the t-th of [N, ceil(OH / 2), ceil(OW / 2)]. C is a multiple of 4.
///
/// # Errors
/// Tensors that do not fit.
pub fn inputs(plan: &mut PlanBuilder<'_>, x: &Tensor, pad: [usize; 2], out: [usize; 2], part: Range<usize>, v: &Tensor) -> Result<()> {
    let op = "winograd inputs";
    let own = params(op, nhwc(op, "x", x)?, tiles(out[0], out[1]), &part, v)?;
    let params = Params { pad_y: pad[0] as u32, pad_x: pad[1] as u32, ..own };
    // Every input lies in four tiles.
    let cost = Cost::bytes((part.len() * x.shape()[3] * 4 * (POINTS + TILE * TILE)) as u64);
    let groups = Groups::for_items(part.len() * x.shape()[3] / 4, 64);
    plan.dispatch(op, &SHADER, &variant(1, [false; 3]), &[x.into(), v.into()], &params, groups, cost)
}

/// Appends the outputs of the tiles `part` to y [N, OH, OW, C], from their products m [16, T, C], with bias \[C\] or none and ReLU where `relu`. C is
/// a multiple of 4.
///
/// # Errors
/// Tensors that do not fit.
pub fn outputs(plan: &mut PlanBuilder<'_>, m: &Tensor, bias: Option<&Tensor>, relu: bool, part: Range<usize>, y: &Tensor) -> Result<()> {
    let op = "winograd outputs";
    let [n, h, w, c] = nhwc(op, "y", y)?;
    let params = params(op, [n, h, w, c], tiles(h, w), &part, m)?;
    bias.map_or(Ok(()), |b| expect_shape(op, "bias", b, &[c]))?;
    let cost = Cost::bytes((part.len() * c * 4 * (POINTS + TILE * TILE)) as u64);
    // Without a bias the products stand in for the slot: read-only twice is allowed, and it is not read.
    let bindings = [m.into(), bias.unwrap_or(m).into(), y.into()];
    let variant = variant(2, [false, bias.is_some(), relu]);
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::for_items(part.len() * c / 4, 64), cost)
}

/// Whether [`convolve`] multiplies less than a direct kernel for outputs [N, H, W], whose tiles it fills up, and its weights [I, O] can be bound.
pub(super) fn takes(caps: &Caps, [n, h, w]: [usize; 3], [i, o]: [usize; 2]) -> bool {
    let [tiles_y, tiles_x] = tiles(h, w);
    let rows = (n * tiles_y * tiles_x).next_multiple_of(matmul::BATCHED_ROWS);
    POINTS * rows < 9 * n * h * w && (4 * POINTS * i * o) as u64 <= caps.max_binding
}

/// Bytes of transformed inputs or of products at a time: they should stay in a device's cache, and be enough rows to keep it busy.
const AT_A_TIME: usize = 16 << 20;

/// Appends y [N, OH, OW, O] = act(x [N, H, W, I] convolved with w + bias) at stride 1, with `pad` zeros above and left; w [9, I, O], or where `flip`
/// [9, O, I] turned as [`weights`] says; act is ReLU where `relu`, else nothing. I and O are multiples of 4. What is not
/// finite reaches the same outputs as in the direct kernels; an infinity may become NaN.
///
/// # Errors
/// Tensors that do not fit, device memory; a plan in mixed precision, which rounds other factors than these.
pub fn convolve(
    plan: &mut PlanBuilder<'_>,
    [x, w, y]: [&Tensor; 3],
    flip: bool,
    pad: [usize; 2],
    bias: Option<&Tensor>,
    relu: bool,
) -> Result<()> {
    let ([.., i], [n, oh, ow, o]) = (nhwc("winograd", "x", x)?, nhwc("winograd", "y", y)?);
    if plan.precision() != Precision::Full {
        return Err(Error::shape("winograd", "mixed precision rounds inputs and weights, not what they are transformed to"));
    }
    let [tiles_y, tiles_x] = tiles(oh, ow);
    let all = n * tiles_y * tiles_x;
    let rows = matmul::BATCHED_ROWS;
    let most = (AT_A_TIME / (4 * POINTS * i.max(o)) / rows * rows).max(rows);
    // Parts of one size: the last is multiplied whole.
    let run = all.div_ceil(all.div_ceil(most)).next_multiple_of(rows);
    let mut scratch = |label, shape: [usize; 3]| plan.scratch(label, &shape, DType::F32);
    let u = scratch("winograd weights", [POINTS, i, o])?;
    let (v, m) = (scratch("winograd inputs", [POINTS, run, i])?, scratch("winograd products", [POINTS, run, o])?);
    weights(plan, w, flip, &u)?;
    for first in (0..all).step_by(run) {
        let part = first..(first + run).min(all);
        inputs(plan, x, pad, [oh, ow], part.clone(), &v)?;
        matmul::batched(plan, &v, &u, &m)?;
        outputs(plan, &m, bias, relu, part, y)?;
    }
    Ok(())
}

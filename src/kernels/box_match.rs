//! Anchors assigned to the boxes of images, and overlaps of boxes: host side of `shaders/box_match.wgsl`.

use super::{by_eights, eights, expect, expect_shape, softmax_xent};
use crate::gpu::{Binding, Cost, DType, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("box_match");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// The label of an anchor that has a box.
pub const POSITIVE: u32 = 1;
/// The label of an anchor on background.
pub const NEGATIVE: u32 = 0;
/// The label of an anchor that is neither, and the row of an anchor of an image without boxes.
pub const IGNORE: u32 = softmax_xent::IGNORE;

/// Most boxes of all images, because of the loops of software adapters (see the shader).
pub const MOST: usize = 1 << 18;

/// Fewest anchors of a chunk, and most chunks.
const CHUNK: usize = 1024;

/// Turns of a loop that are safe on a software adapter.
const TURNS: usize = 60_000;

/// Floating-point operations that a pair of boxes takes.
const FLOPS: f64 = 20.0;

/// When an anchor has a box (Ren, He, Girshick, Sun, "Faster R-CNN", 2015, section 3.1.2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Positive from this IoU on.
    pub high: f32,
    /// Negative below this IoU; at most `high`. What lies between is neither.
    pub low: f32,
    /// Of each box, the anchors whose IoU is its greatest are positive too, if that is above this; from 0. Each such anchor keeps the box that is best for it.
    pub low_quality: Option<f32>,
    /// No negative is an anchor of which a box to be ignored covers more than this share; from 0 to 1.
    pub cover: f32,
}

/// The boxes of B images, in one list of G places, not all of which must be used.
#[derive(Debug, Clone, Copy)]
pub struct Truth<'a> {
    /// \[G, 4\]: x0, y0, x1, y1; finite, with areas within f32, as the anchors are to be.
    pub boxes: &'a Tensor,
    /// u32 \[B + 1\]: image b's boxes are starts\[b\] .. starts\[b + 1\]; rising from 0 to at most G.
    pub starts: &'a Tensor,
    /// u32 \[G\]: 1 for a box to be ignored (a crowd, say), of which no anchor is positive; else 0.
    pub ignored: &'a Tensor,
}

/// What becomes of the anchors, \[B, A\] each.
#[derive(Debug, Clone, Copy)]
pub struct Matched<'a> {
    /// u32: the row of `boxes` of the greatest IoU, whatever the label, the first of equals; [`IGNORE`] in an image without boxes but those to be ignored.
    pub rows: &'a Tensor,
    /// f32: that IoU, 0 where there is none.
    pub overlaps: &'a Tensor,
    /// u32: [`POSITIVE`], [`NEGATIVE`] or [`IGNORE`].
    pub labels: &'a Tensor,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
struct Params {
    images: u32,
    anchors: u32,
    boxes: u32,
    chunk: u32,
    chunks: u32,
    high: f32,
    low: f32,
    least: f32,
    cover: f32,
    ones: u32,
}

fn variant(kind: i64, lanes: bool, shared: bool, best: bool) -> Variant {
    Variant::new().int("KIND", kind).flag("LANES", lanes).flag("SHARED", shared).flag("BEST", best)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let ways = [(false, false), (false, true), (true, false), (true, true)];
    let pairs = [0, 2].into_iter().flat_map(|kind| ways.map(|(lanes, shared)| variant(kind, lanes, shared, false)));
    pairs.chain([false, true].map(|best| variant(1, false, false, best))).chain([variant(3, false, false, false)]).collect()
}

impl Match {
    fn check(&self, op: &str) -> Result<()> {
        let share = 0.0..=1.0;
        let shares = [self.high, self.low, self.cover, self.low_quality.unwrap_or(0.0)];
        match shares.iter().all(|v| share.contains(v)) && self.low <= self.high {
            true => Ok(()),
            false => Err(Error::shape(op, format!("shares from 0 to 1, `low` not above `high`, not {self:?}"))),
        }
    }
}

/// Appends the assignment of anchors \[A, 4\], the same for B images, or \[B, A, 4\], their own (proposals, say), to the boxes of their images by
/// intersection over union; as torchvision's `Matcher`, but that a box which overlaps no anchor makes none positive. A box or anchor without area
/// overlaps nothing. No matrix is written: memory grows with A and G.
///
/// # Errors
/// Shapes differ from these, thresholds outside 0 to 1 or out of order, more than [`MOST`] boxes.
pub fn assign(plan: &mut PlanBuilder<'_>, by: Match, anchors: &Tensor, truth: &Truth<'_>, to: &Matched<'_>) -> Result<()> {
    let op = "box match";
    by.check(op)?;
    let &[images, count] = to.rows.shape() else {
        return Err(Error::shape(op, format!("`rows` must be [B, A], not {:?}", to.rows.shape())));
    };
    let shared = anchors.shape().len() == 2;
    expect_shape(op, "anchors", anchors, &[&[images][usize::from(shared)..], &[count, 4]].concat())?;
    let slots = truth.ignored.len();
    if images * count * slots == 0 {
        return Err(Error::shape(op, format!("{count} anchors of {images} images, room for {slots} boxes: all must be above 0")));
    }
    expect_shape(op, "boxes", truth.boxes, &[slots, 4])?;
    expect(op, "starts", truth.starts, &[images + 1], DType::U32)?;
    expect(op, "ignored", truth.ignored, &[slots], DType::U32)?;
    expect(op, "rows", to.rows, &[images, count], DType::U32)?;
    expect_shape(op, "overlaps", to.overlaps, &[images, count])?;
    expect(op, "labels", to.labels, &[images, count], DType::U32)?;
    if slots > MOST {
        let (op, what, advice) = (op.into(), "boxes of a batch".into(), "use fewer images at a time".into());
        return Err(Error::Limit { op, what, need: slots as u64, limit: MOST as u64, advice });
    }
    let engine = plan.engine();
    let chunk = CHUNK.max(count.div_ceil(CHUNK));
    // Eight boxes of as many images go over the anchors of each: too many turns for a software adapter, which ends loops without a word.
    let within = shared || images * (chunk.min(count).div_ceil(8) + 2) <= TURNS;
    let lanes = by_eights(engine) && within;
    let chunks = count.div_ceil(chunk);
    let params = Params {
        images: images as u32,
        anchors: count as u32,
        boxes: slots as u32,
        chunk: chunk as u32,
        chunks: chunks as u32,
        high: by.high,
        low: by.low,
        least: by.low_quality.unwrap_or(0.0),
        cover: by.cover,
        ones: u32::MAX,
    };
    let reach = engine.tensor("reach of boxes", &[slots], DType::F32)?;
    // Boxes are those of one image or another: each meets all anchors of its own alone.
    let pairs = Cost::flops(FLOPS * (slots * count) as f64);
    let parts = match by.low_quality {
        Some(_) => {
            let parts = engine.tensor("overlaps of chunks", &[slots, chunks], DType::F32)?;
            let bindings = [anchors, truth.boxes, truth.starts, &parts].map(Into::into);
            let variant = variant(0, lanes, shared, false);
            plan.dispatch("box match best", &SHADER, &variant, &bindings, &params, eights(lanes, chunks, slots), pairs)?;
            Some(parts)
        }
        None => None,
    };
    let bindings: Vec<Binding<'_>> = parts.iter().chain([truth.ignored, &reach]).map(Into::into).collect();
    let variant_of_reach = variant(1, false, false, parts.is_some());
    let cost = Cost::bytes(4 * (slots * chunks) as u64);
    plan.dispatch("box match reach", &SHADER, &variant_of_reach, &bindings, &params, Groups::for_items(slots, 64), cost)?;
    let bindings = [anchors, truth.boxes, truth.starts, &reach, to.rows, to.overlaps, to.labels].map(Into::into);
    plan.dispatch(op, &SHADER, &variant(2, lanes, shared, false), &bindings, &params, eights(lanes, images, count), pairs)
}

/// Appends out \[N, M\] = intersection over union of boxes a \[N, 4\] and b \[M, 4\]; 0 of two boxes without area.
///
/// # Errors
/// Shapes differ from these, or there is no box.
pub fn overlaps(plan: &mut PlanBuilder<'_>, a: &Tensor, b: &Tensor, out: &Tensor) -> Result<()> {
    let op = "overlaps of boxes";
    let (&[n, 4], &[m, 4]) = (a.shape(), b.shape()) else {
        return Err(Error::shape(op, format!("{:?} and {:?}, expected [N, 4] and [M, 4]", a.shape(), b.shape())));
    };
    if n * m == 0 {
        return Err(Error::shape(op, format!("{n} boxes against {m}")));
    }
    expect_shape(op, "a", a, &[n, 4])?;
    expect_shape(op, "b", b, &[m, 4])?;
    expect_shape(op, "out", out, &[n, m])?;
    let params = Params { images: n as u32, anchors: m as u32, ones: u32::MAX, ..Params::default() };
    let cost = Cost { flops: FLOPS * (n * m) as f64, bytes: out.bytes() as f64 };
    let groups = Groups::for_items(n.div_ceil(16) * m, 64);
    plan.dispatch(op, &SHADER, &variant(3, false, false, false), &[a.into(), b.into(), out.into()], &params, groups, cost)
}

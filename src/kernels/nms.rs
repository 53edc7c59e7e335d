//! Non-maximum suppression of boxes: host side of `shaders/nms.wgsl`.

use super::{by_eights, eights, expect, expect_shape, lanes, topk};
use crate::gpu::{Cost, DType, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("nms");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// What stands in slots of a list that no box fills.
pub const EMPTY: u32 = u32::MAX;

/// Boxes of a block, and the words of a row of its overlaps.
const BLOCK: usize = 1024;
const WORDS: usize = BLOCK / 32;

/// Floating-point operations that a pair of boxes takes.
const FLOPS: f64 = 16.0;

/// Which boxes stay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nms {
    /// A box goes where its intersection over union with a box that stays is above this; from 0 to 1.
    pub iou: f32,
    /// A box goes where its score is not above this; f32's negative infinity asks for a number alone.
    pub score: f32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    batch: u32,
    n: u32,
    k: u32,
    start: u32,
    size: u32,
    iou: f32,
    least: f32,
    ones: u32,
}

/// What a dispatch does; its number is the shader's KIND.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Order = 0,
    Overlaps = 1,
    Walk = 2,
    Strike = 3,
}

fn variant(kind: Kind, lanes: bool, walkers: i64) -> Variant {
    Variant::new().int("KIND", kind as i64).flag("LANES", lanes).int("WALKERS", walkers)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let walks = super::LANES.map(|l| variant(Kind::Walk, false, l));
    let pairs = [Kind::Overlaps, Kind::Strike].into_iter().flat_map(|k| [false, true].map(|l| variant(k, l, 0)));
    [variant(Kind::Order, false, 0)].into_iter().chain(walks).chain(pairs).collect()
}

/// Appends greedy non-maximum suppression of B independent rows of N boxes: kept \[B, K\] u32 gets the indices (0 to N - 1) of each row's boxes
/// that stay, in order of falling score, of equal scores the lower index first, then [`EMPTY`]; count \[B\] u32 how many they are. Beyond K nothing
/// is kept. A box goes where its intersection over union with one that stays is above the threshold, if both are of the same group.
///
/// boxes \[B, N, 4\] are x0, y0, x1, y1, scores \[B, N\] any numbers, groups \[B, N\] u32 any numbers (a class, or a level of a pyramid). Never kept
/// are a score of NaN, and a box with a coordinate that is not finite. A box without area (x1 <= x0 or y1 <= y0) overlaps nothing: it
/// suppresses no box and none suppresses it, not even its like, as in torchvision, where 0 / 0 is not above a threshold. Areas must be within
/// f32. The comparison is that of the rounded products, common > iou (a + b - common): where that is a tie but for rounding, another
/// implementation may decide otherwise.
///
/// # Errors
/// Shapes differ from these, an extent is 0, a threshold outside 0 to 1 or a least score of NaN; sorting takes more than a binding holds.
pub fn nms(
    plan: &mut PlanBuilder<'_>,
    nms: Nms,
    boxes: &Tensor,
    scores: &Tensor,
    groups: &Tensor,
    kept: &Tensor,
    count: &Tensor,
) -> Result<()> {
    let op = "nms";
    let (&[batch, n], &[rows, k]) = (scores.shape(), kept.shape()) else {
        let reason = format!("`scores` must be [B, N] and `kept` [B, K], not {:?} and {:?}", scores.shape(), kept.shape());
        return Err(Error::shape(op, reason));
    };
    if batch * n * k == 0 || rows != batch {
        return Err(Error::shape(op, format!("{batch} rows of {n} boxes, {rows} lists of {k}")));
    }
    expect_shape(op, "boxes", boxes, &[batch, n, 4])?;
    expect_shape(op, "scores", scores, &[batch, n])?;
    expect(op, "groups", groups, &[batch, n], DType::U32)?;
    expect(op, "kept", kept, &[batch, k], DType::U32)?;
    expect(op, "count", count, &[batch], DType::U32)?;
    if !(0.0..=1.0).contains(&nms.iou) || nms.score.is_nan() {
        return Err(Error::shape(op, format!("the threshold must be from 0 to 1 and the least score a number, not {nms:?}")));
    }
    let engine = plan.engine();
    let make = |name: &str, shape: &[usize], dtype| engine.tensor(name, shape, dtype);
    let (sorted_scores, ids) = (make("nms scores", &[batch, n], DType::F32)?, make("nms order", &[batch, n], DType::U32)?);
    let scratch = topk::Scratch::new(engine, batch, n, n)?;
    topk::clear(plan, &sorted_scores, &ids)?;
    topk::select_block(plan, scores, batch, n, 0, 0, &sorted_scores, &ids, &scratch)?;

    let (sorted, marks) = (make("nms boxes", &[batch, n, 4], DType::F32)?, make("nms marks", &[batch, n, 2], DType::U32)?);
    let bits = make("nms overlaps", &[batch, BLOCK, WORDS], DType::U32)?;
    let (list, list_groups) = (make("nms block", &[batch, BLOCK, 4], DType::F32)?, make("nms block", &[batch, BLOCK + 1], DType::U32)?);
    let [b, boxes_of, most] = [batch, n, k].map(|v| v as u32);
    let base = Params { batch: b, n: boxes_of, k: most, start: 0, size: 0, iou: nms.iou, least: nms.score, ones: u32::MAX };
    let bindings = [boxes, groups, &sorted_scores, &ids, &sorted, &marks, kept, count].map(Into::into);
    let cost = Cost::bytes(2 * boxes.bytes() + kept.bytes());
    plan.dispatch("nms order", &SHADER, &variant(Kind::Order, false, 0), &bindings, &base, Groups::for_items(batch * n.max(k), 64), cost)?;

    let spread = by_eights(engine);
    for start in (0..n).step_by(BLOCK) {
        let size = (n - start).min(BLOCK).next_multiple_of(32);
        let params = Params { start: start as u32, size: size as u32, ..base };
        let bindings = [&sorted, &marks, &bits].map(Into::into);
        let cost = Cost::flops(FLOPS * (batch * size * size / 2) as f64);
        plan.dispatch(
            "nms overlaps",
            &SHADER,
            &variant(Kind::Overlaps, spread, 0),
            &bindings,
            &params,
            eights(spread, 1, batch * size * size / 32),
            cost,
        )?;
        let bindings = [&sorted, &marks, &ids, &bits, kept, count, &list, &list_groups].map(Into::into);
        let walk = variant(Kind::Walk, false, lanes(engine));
        plan.dispatch("nms walk", &SHADER, &walk, &bindings, &params, Groups::Linear(batch as u64), Cost::bytes(bits.bytes()))?;
        let behind = start + BLOCK;
        if behind < n {
            let params = Params { start: behind as u32, size: (n - behind) as u32, ..base };
            let bindings = [&sorted, &list, &list_groups, &marks].map(Into::into);
            let groups = eights(spread, batch, n - behind);
            let cost = Cost::flops(FLOPS * (batch * BLOCK * (n - behind)) as f64);
            plan.dispatch("nms strike", &SHADER, &variant(Kind::Strike, spread, 0), &bindings, &params, groups, cost)?;
        }
    }
    Ok(())
}

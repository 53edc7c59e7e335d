//! Triplet losses, batch-hard and batch-all: host side of `shaders/triplet.wgsl`.

use super::{LANES, expect_shape, lanes, matrix_f32};
use crate::gpu::{Binding, Cost, Engine, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("triplet");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Invocations that share eight columns: on a processor one each, else what fills a device.
const COLUMN_LANES: [i64; 2] = [8, 256];

/// Elements that an invocation has of a chunk.
const ELEMENTS: usize = 8;

/// Rows that an invocation of the backward pass goes over.
const WALK: usize = 16;

/// Turns of loops an invocation takes in a dispatch on a software adapter, at most: llvmpipe ends all loops at 65,535 together, and
/// silently. Chunks get so many; what else there is takes a tenth.
const TURNS: usize = 55_000;

/// Which triplets of an anchor count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mining {
    /// The hardest positive with the hardest negative.
    #[default]
    Hard,
    /// Every positive with every negative.
    All,
}

/// What an anchor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Directions {
    /// Rows against columns, and columns against rows.
    #[default]
    Both,
    /// Rows alone.
    Rows,
}

/// The loss's constants (Hermans, Beyer, Leibe, "In defense of the triplet loss for person re-identification", 2017: batch hard, batch
/// all, soft margin).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Triplet {
    /// How much farther a negative must be than a positive.
    pub margin: f32,
    /// log(1 + exp(u)) in the place of max(u, 0).
    pub soft: bool,
    /// Least squared distance: keeps the root's slope finite.
    pub eps: f32,
    /// Which triplets.
    pub mining: Mining,
    /// Of which anchors.
    pub directions: Directions,
}

impl Default for Triplet {
    fn default() -> Self {
        Self { margin: 0.5, soft: false, eps: 1e-6, mining: Mining::Hard, directions: Directions::Both }
    }
}

impl Triplet {
    fn all(self) -> bool {
        self.mining == Mining::All
    }

    fn both(self) -> bool {
        self.directions == Directions::Both
    }

    fn anchors(self, b: usize) -> usize {
        if self.both() { 2 * b } else { b }
    }

    /// Where [`records_shape`]'s gradient begins.
    fn head(self, b: usize) -> usize {
        (1 + self.anchors(b) * if self.all() { 3 } else { 6 }).next_multiple_of(16)
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    cols: u32,
    anchors: u32,
    head: u32,
    first: u32,
    last: u32,
    margin: f32,
    eps: f32,
}

fn variant(kind: i64, all: bool, columns: bool, mask: bool, soft: bool, lanes: i64) -> Variant {
    let v = Variant::new().int("KIND", kind).flag("ALL", all).flag("COLUMNS", columns);
    v.flag("MASK", mask).flag("SOFT", soft).int("LANES", lanes)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let both = [false, true];
    let mut v = Vec::new();
    for (lanes, column_lanes) in LANES.into_iter().zip(COLUMN_LANES) {
        for mask in both {
            v.push(variant(0, true, false, mask, false, lanes));
            for soft in both {
                v.push(variant(0, false, false, mask, soft, lanes));
                v.push(variant(0, false, true, mask, soft, column_lanes));
                v.extend(both.map(|columns| variant(1, true, columns, mask, soft, lanes)));
            }
        }
        v.extend(both.map(|all| variant(2, all, false, false, false, lanes)));
    }
    v.extend(both.map(|all| variant(3, all, false, false, false, 64)));
    v
}

/// Shape of the `records` tensor for similarities [b, m]: what the forward pass leaves for the backward pass, a few numbers an anchor
/// and, of [`Mining::All`], as many again as similarities.
pub fn records_shape(f: Triplet, b: usize, m: usize) -> [usize; 1] {
    [f.head(b) + if f.all() { b * m } else { 0 }]
}

fn check(engine: &Engine, op: &str, f: Triplet, (b, m): (usize, usize), records: &Tensor) -> Result<Params> {
    if m < b {
        return Err(Error::shape(op, format!("similarities [{b}, {m}]: fewer columns than rows")));
    }
    if m >= 1 << 24 {
        return Err(Error::shape(op, format!("similarities [{b}, {m}]: 2^24 columns or more")));
    }
    // Lanes share a row; a column of the first B, and in the worst case as many positives of an anchor, is one invocation's.
    let turns = b.max(m.div_ceil(LANES[0] as usize));
    if engine.caps().software && turns > TURNS {
        return Err(Error::Limit {
            op: op.into(),
            what: format!("turns of a loop over similarities [{b}, {m}]"),
            need: turns as u64,
            limit: TURNS as u64,
            advice: "software adapters stop long loops: use a smaller batch or a GPU".into(),
        });
    }
    if f.eps.is_nan() || f.eps <= 0.0 {
        return Err(Error::shape(op, format!("eps {} is not above 0", f.eps)));
    }
    if !f.margin.is_finite() {
        return Err(Error::shape(op, format!("margin {} is not finite", f.margin)));
    }
    expect_shape(op, "records", records, &records_shape(f, b, m))?;
    let [rows, cols, anchors, head] = [b, m, f.anchors(b), f.head(b)].map(|v| v as u32);
    Ok(Params { rows, cols, anchors, head, first: 0, last: 0, margin: f.margin, eps: f.eps })
}

/// Appends loss \[1\] and accuracy \[1\] over similarities s [B, M] of unit rows, M >= B. Anchors are the rows, over all M columns, and,
/// with [`Directions::Both`], the first B columns over all B rows. `mask` [B, B] says what pair (row, column) is: above 0 positive, 0
/// negative, below 0 (or NaN) neither; without it row i and column i are positive and all else is negative. Columns from B on are
/// always negatives.
///
/// With d = sqrt(max(2 - 2 s, eps)) a triplet's term is f(d_positive - d_negative + margin), f of [`Triplet::soft`].
/// [`Mining::Hard`]: the terms of each anchor's hardest positive (the least s) and hardest negative (the greatest s), the lowest index of
/// equals, summed, over the number of anchors; an anchor without a positive or without a negative adds 0.
/// [`Mining::All`]: the mean over all triplets of all anchors; of the hinge, over those whose term is above 0 alone. 0 without any.
///
/// The accuracy is the share of rows whose greatest s that is not ignored, the first of equals, is a positive.
/// `records` ([`records_shape`]) is for [`backward`]. A NaN among what counts makes the loss NaN.
///
/// # Errors
/// Shapes other than said; fewer columns than rows; eps not above 0; a margin that is not finite; over 440,000 columns or 55,000 rows
/// on a software adapter.
pub fn forward<'a>(
    plan: &mut PlanBuilder<'_>,
    f: Triplet,
    s: &'a Tensor,
    mask: Option<&'a Tensor>,
    records: &'a Tensor,
    loss: &'a Tensor,
    accuracy: &'a Tensor,
) -> Result<()> {
    let op = "triplet";
    let engine = plan.engine();
    let (b, m) = matrix_f32(op, "s", s)?;
    let params = check(engine, op, f, (b, m), records)?;
    if let Some(w) = mask {
        expect_shape(op, "mask", w, &[b, b])?;
    }
    expect_shape(op, "loss", loss, &[1])?;
    expect_shape(op, "accuracy", accuracy, &[1])?;
    let lanes = lanes(engine);
    let masked = mask.is_some();
    let bindings: Vec<Binding<'a>> = [s].into_iter().chain(mask).chain([records]).map(Binding::from).collect();
    let groups = Groups::Linear(b as u64);
    let hardest = variant(0, f.all(), false, masked, f.soft && !f.all(), lanes);
    plan.dispatch("triplet rows", &SHADER, &hardest, &bindings, &params, groups, Cost::bytes(s.bytes()))?;
    if f.all() {
        for (columns, len) in [(false, m), (true, b)].into_iter().take(if f.both() { 2 } else { 1 }) {
            let variant = variant(1, true, columns, masked, f.soft, lanes);
            let chunks = len.div_ceil(ELEMENTS * lanes as usize);
            // A chunk takes a turn; with a mask one for each positive, one for each stretch without, and one to leave them.
            let most = if engine.caps().software { (TURNS / (if masked { b + b / 64 + 3 } else { 1 })).max(1) } else { chunks };
            for first in (0..chunks).step_by(most) {
                let last = (first + most).min(chunks);
                let params = Params { first: first as u32, last: last as u32, ..params };
                let cost = Cost::bytes((12 * b * len) as u64 * (last - first) as u64 / chunks as u64);
                plan.dispatch(
                    if columns { "triplet all columns" } else { "triplet all rows" },
                    &SHADER,
                    &variant,
                    &bindings,
                    &params,
                    groups,
                    cost,
                )?;
            }
        }
    } else if f.both() {
        let lanes = COLUMN_LANES[usize::from(lanes > LANES[0])];
        let variant = variant(0, false, true, masked, f.soft, lanes);
        let cost = Cost::bytes((4 * b * b) as u64);
        plan.dispatch("triplet columns", &SHADER, &variant, &bindings, &params, Groups::for_items(b, 8), cost)?;
    }
    let bindings = [records.into(), loss.into(), accuracy.into()];
    let variant = variant(2, f.all(), false, false, false, lanes);
    let cost = Cost::bytes(4 * f.head(b) as u64);
    plan.dispatch("triplet total", &SHADER, &variant, &bindings, &params, Groups::Linear(1), cost)
}

/// Appends ds [B, M], the gradient of the loss times dloss \[1\], from the forward pass's `records`. A distance at its least has slope 0.
///
/// # Errors
/// As [`forward`].
pub fn backward(plan: &mut PlanBuilder<'_>, f: Triplet, records: &Tensor, dloss: &Tensor, ds: &Tensor) -> Result<()> {
    let op = "triplet backward";
    let params = check(plan.engine(), op, f, matrix_f32(op, "ds", ds)?, records)?;
    expect_shape(op, "dloss", dloss, &[1])?;
    let bindings = [records.into(), dloss.into(), ds.into()];
    let variant = variant(3, f.all(), false, false, false, 64);
    let groups = params.cols.div_ceil(64) as u64 * (params.rows as usize).div_ceil(WALK) as u64;
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::Linear(groups), Cost::bytes(ds.bytes()))
}

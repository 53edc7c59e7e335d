//! Products of queries with the rows of a database, written or the best of them kept: host side of `shaders/score.wgsl`.

use super::matrix;
use crate::gpu::{Caps, Cost, DType, Engine, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};
use std::ops::Range;

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("score");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// The longest lists that can be kept while scores are made, so that these are never written.
pub(super) const BEST: usize = 32;

/// Queries, and rows, of a tile of the kernel that keeps them.
pub(super) const TILE: usize = 32;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable, Default)]
struct Params {
    nq: u32,
    n: u32,
    d: u32,
    q0: u32,
    x0: u32,
    k: u32,
    segments: u32,
    length: u32,
    first_id: u32,
}

/// How the rows of a database are read, so many columns at once, and whether a subgroup shares its queries.
#[derive(Debug, Clone, Copy)]
struct Reading {
    f16: bool,
    width: usize,
    broadcast: bool,
}

impl Reading {
    fn of(engine: &Engine, x: &Tensor, d: usize) -> Self {
        let width = width(engine.caps(), d);
        Self { f16: x.dtype() == DType::F16, width, broadcast: width > 1 && shares(engine.caps()) }
    }

    fn variant(self, kind: i64, [queries, rows]: [i64; 2]) -> Variant {
        let v = Variant::new().int("KIND", kind).flag("F16", self.f16).int("WIDTH", self.width as i64).flag("BROADCAST", self.broadcast);
        v.int("QT", queries).int("RT", rows)
    }

    fn best(self, k: usize) -> Variant {
        let (queries, lanes) = if self.broadcast { (32, 8) } else { (4, 64) };
        self.variant(1, [queries, 4]).int("KP", if k <= 16 { 16 } else { BEST as i64 }).int("LANES", lanes)
    }
}

/// Whether a subgroup shares its queries, if it reads several columns at once.
fn shares(caps: &Caps) -> bool {
    caps.software && caps.subgroup_is(8)
}

/// Columns of `d` that are read at once.
fn width(caps: &Caps, d: usize) -> usize {
    let most = if shares(caps) && caps.int64 { 8 } else { 4 };
    [8, 4].into_iter().find(|w| *w <= most && d.is_multiple_of(*w)).unwrap_or(1)
}

/// Queries and rows of a tile a lane, with broadcast, then without.
const BROADCAST_TILES: [[i64; 2]; 4] = [[1, 4], [8, 4], [16, 4], [32, 4]];
const PLAIN_TILES: [[i64; 2]; 2] = [[4, 4], [1, 1]];

/// Every variant, for validation and translation tests. Those with BROADCAST need subgroups.
pub fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    for f16 in [false, true] {
        for (width, broadcast) in [(8, true), (4, true), (4, false), (1, false)] {
            let reading = Reading { f16, width, broadcast };
            let tiles: &[[i64; 2]] = if broadcast { &BROADCAST_TILES } else { &PLAIN_TILES };
            all.extend(tiles.iter().map(|t| reading.variant(0, *t)));
            all.extend([16, BEST].map(|k| reading.best(k)));
        }
    }
    all
}

/// Appends scores [queries, rows] (the first elements of the tensor) = <q[queries.start + i], x[rows.start + j]>, accumulated in f32;
/// q [nq, D] f32, x [n, D] f32 or f16 (two to a word, row after row).
///
/// # Errors
/// Another number of columns, rows beyond the tensors, scores too small, wrong types, a tensor over the binding limit.
pub fn score_block(
    plan: &mut PlanBuilder<'_>,
    q: &Tensor,
    x: &Tensor,
    queries: Range<usize>,
    rows: Range<usize>,
    scores: &Tensor,
) -> Result<()> {
    let op = "score";
    let d = columns(op, q, x, &queries, &rows)?;
    let (nq, n) = (queries.len(), rows.len());
    super::f32s(op, &[scores])?;
    if nq * n > scores.len() {
        return Err(Error::shape(op, format!("scores {:?} hold no {nq} x {n}", scores.shape())));
    }
    if nq * n == 0 {
        return Ok(());
    }
    let reading = Reading::of(plan.engine(), x, d);
    let tile = match (reading.broadcast, nq) {
        // The more queries share a row the better, as long as a group is mostly full.
        (true, 1..=3) => BROADCAST_TILES[0],
        (true, 4..=12) => BROADCAST_TILES[1],
        (true, 13..=24) => BROADCAST_TILES[2],
        (true, _) => BROADCAST_TILES[3],
        (false, 1..=3) => PLAIN_TILES[1],
        (false, _) => PLAIN_TILES[0],
    };
    let [across, down] = tile.map(|t| t as usize);
    let [q_span, x_span] = match (reading.broadcast, across) {
        (true, _) => [across, 8 * down],
        (false, 1) => [1, 64 * down],
        (false, _) => [8 * across, 8 * down],
    };
    let groups = (nq.div_ceil(q_span) * n.div_ceil(x_span)) as u64;
    let params = Params { nq: nq as u32, n: n as u32, d: d as u32, q0: queries.start as u32, x0: rows.start as u32, ..Params::default() };
    let bytes = nq * d * 4 + n * d * x.dtype().bytes() + 4 * nq * n;
    let cost = Cost { flops: 2.0 * (nq * n) as f64 * d as f64, bytes: bytes as f64 };
    plan.dispatch(op, &SHADER, &reading.variant(0, tile), &[q.into(), x.into(), scores.into()], &params, Groups::Linear(groups), cost)
}

/// The columns of some queries and rows, if they are there and go together.
pub(super) fn columns(op: &str, q: &Tensor, x: &Tensor, queries: &Range<usize>, rows: &Range<usize>) -> Result<usize> {
    let ((nq, d), (n, dx)) = (matrix(op, "q", q)?, matrix(op, "x", x)?);
    if d != dx {
        return Err(Error::shape(op, format!("queries have {d} columns, the database {dx}")));
    }
    if q.dtype() != DType::F32 || x.dtype() == DType::U32 {
        return Err(Error::shape(op, format!("types q {:?}, x {:?}; expected F32, F32 or F16", q.dtype(), x.dtype())));
    }
    if queries.end > nq || rows.end > n {
        return Err(Error::shape(op, format!("queries {queries:?} of {nq}, rows {rows:?} of {n}: beyond the end")));
    }
    Ok(d)
}

/// Software adapters: rows of a segment at most, which then stay in a core's cache while one query after another goes over them.
const CACHED: usize = 2048;

/// Rows that a group of [`best_block`] goes over: short enough that so many queries fill the device.
pub(super) fn segment_length(engine: &Engine, queries: usize, rows: usize, d: usize) -> usize {
    let software = engine.caps().software;
    let groups: usize = if software { 4 } else { 512 };
    let filling = rows.div_ceil(groups.div_ceil(queries.div_ceil(TILE))).next_multiple_of(TILE).max(1024);
    if !software {
        return filling;
    }
    let steps = d / width(engine.caps(), d);
    // Loops of an invocation end after 65,535 turns in all on some software adapters, where leaving one counts too. A tile takes one, those of its
    // scores, two for each four queries whose scores reach their lists, and for each of four queries an invocation owns at most one a row.
    filling.min(CACHED).min((60_000 / (1 + steps + 1 + TILE / 2 + 4 * (TILE + 1))).max(1) * TILE)
}

/// Appends, of each segment of `length` of the `rows` of x, the k best for each of the queries that are better than the last of the query's list
/// `before` (scores and ids [nq, k]), as lists [queries, segments, k] of scores and ids, k at most [`BEST`]; ids count from `first_id` on. What the
/// tensors are was checked by [`columns`].
pub(super) fn best_block(
    plan: &mut PlanBuilder<'_>,
    q: &Tensor,
    x: &Tensor,
    queries: Range<usize>,
    rows: Range<usize>,
    length: usize,
    first_id: u32,
    before: [&Tensor; 2],
    lists: [&Tensor; 2],
) -> Result<()> {
    let (nq, n, d, k) = (queries.len(), rows.len(), q.shape()[1], before[0].shape()[1]);
    let segments = n.div_ceil(length);
    let params = Params {
        nq: nq as u32,
        n: n as u32,
        d: d as u32,
        q0: queries.start as u32,
        x0: rows.start as u32,
        k: k as u32,
        segments: segments as u32,
        length: length as u32,
        first_id,
    };
    let bytes = nq * d * 4 + n * d * x.dtype().bytes() + 8 * nq * segments * k;
    let cost = Cost { flops: 2.0 * (nq * n) as f64 * d as f64, bytes: bytes as f64 };
    let bindings = [q.into(), x.into(), before[0].into(), before[1].into(), lists[0].into(), lists[1].into()];
    let variant = Reading::of(plan.engine(), x, d).best(k);
    plan.dispatch("score best", &SHADER, &variant, &bindings, &params, Groups::Linear((nq.div_ceil(TILE) * segments) as u64), cost)
}

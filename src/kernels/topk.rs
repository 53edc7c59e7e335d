//! The k best database rows for each query: host side of `shaders/topk.wgsl`, and the search that it makes up with `score` and `topk_long`.
//!
//! Scores are dot products (give unit rows for cosine). Order: greater score first, the lower id of equals, NaN after all numbers;
//! slots that stay empty (k beyond the rows seen) hold score -infinity and id [`EMPTY`]. -0 counts, and comes back, as 0.

use super::score::{self, score_block};
use super::{LANES, expect, lanes, matrix, topk_long};
use crate::gpu::{Cost, DType, Engine, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};
use std::ops::Range;

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("topk");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// The id of an empty slot.
pub const EMPTY: u32 = u32::MAX;

/// Lists up to this long are kept in workgroup memory; longer ones are sorted in device memory.
const SHORT: usize = 128;

/// Scores of a block.
pub(super) const SCORES: usize = 8 << 20;

/// Rows that [`search_block`] goes over first.
const FIRST_PART: usize = 1024;

/// Products of queries, rows and columns that one dispatch of it takes on: a slow device must not exceed its driver's time-out.
const MOST_PRODUCTS: usize = 1 << 33;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable, Default)]
struct Params {
    rows: u32,
    n: u32,
    k: u32,
    q0: u32,
    x0: u32,
    segments: u32,
    length: u32,
}

fn select_variant(k: usize, ids: bool, fresh: bool, lanes: i64) -> Variant {
    let kp = if k <= 32 { 32 } else { SHORT as i64 };
    let v = Variant::new().int("KIND", 0).int("KP", kp).int("CAP", 512).int("CHUNK", 256);
    v.flag("IDS", ids).flag("FRESH", fresh).int("LANES", lanes)
}

fn clear_variant() -> Variant {
    Variant::new().int("KIND", 1)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let mut all = vec![clear_variant()];
    for (l, k) in LANES.into_iter().flat_map(|l| [(l, 32), (l, SHORT)]) {
        all.extend([(false, false), (false, true), (true, false)].map(|(ids, fresh)| select_variant(k, ids, fresh, l)));
    }
    all
}

/// Whether [`search_block`] takes lists of k: from as many queries on as fill its tiles halfway, else making scores and selecting is as fast.
fn fuses(queries: usize, k: usize) -> bool {
    k <= score::BEST && queries > score::TILE / 2
}

/// Appends the merge of the `rows` of x [n, D] f32 or f16 into the lists of the `queries` of q [nq, D] f32, as [`score_block`] and [`select_block`]
/// together, but without a matrix of scores: row j has id first_id + j - rows.start.
///
/// # Errors
/// As of the two; lists or a number of queries that `scratch` was not made for by [`Scratch::fused`].
pub fn search_block(
    plan: &mut PlanBuilder<'_>,
    q: &Tensor,
    x: &Tensor,
    queries: Range<usize>,
    rows: Range<usize>,
    first_id: u32,
    list_scores: &Tensor,
    list_ids: &Tensor,
    scratch: &Scratch,
) -> Result<()> {
    let op = "topk search";
    let d = score::columns(op, q, x, &queries, &rows)?;
    let (nq, k) = lists(op, list_scores, list_ids)?;
    let Use::Fused { lists: most_lists, parts } = &scratch.how else {
        return Err(Error::shape(op, "scratch that was not made by Scratch::fused"));
    };
    scratch.fits(op, k, queries.len(), 0)?;
    if queries.end > nq {
        return Err(Error::shape(op, format!("queries {queries:?} of {nq} lists")));
    }
    check_ids(op, first_id, rows.len())?;
    if queries.is_empty() {
        return Ok(());
    }
    // Parts grow: each begins with the bar that those before it have set, and few scores reach a list.
    let most = (MOST_PRODUCTS / (queries.len() * d)).max(FIRST_PART);
    let (mut from, mut part) = (rows.start, FIRST_PART);
    while from < rows.end {
        let wanted = part.min(rows.end - from);
        let length = score::segment_length(plan.engine(), queries.len(), wanted, d);
        let n = wanted.min(length * most_lists);
        let id = first_id + (from - rows.start) as u32;
        let before = [list_scores, list_ids];
        score::best_block(plan, q, x, queries.clone(), from..from + n, length, id, before, [&parts[0], &parts[1]])?;
        let listed = Listed { scores: &parts[0], ids: &parts[1], queries: queries.len(), n: n.div_ceil(length) * k };
        select_listed(plan, listed, queries.start, list_scores, list_ids)?;
        from += n;
        part = (4 * part).min(most);
    }
    Ok(())
}

/// Scratch of [`select_block`] for blocks of at most `queries` x `rows` scores and lists of k, or of [`search_block`].
#[derive(Debug, Clone)]
pub struct Scratch {
    k: usize,
    queries: usize,
    rows: usize,
    how: Use,
}

/// What it is for.
#[derive(Debug, Clone)]
enum Use {
    /// Candidates go straight into the lists.
    Nothing,
    /// So many lists of scores and ids a query, of which one is made.
    Segments { lists: usize, parts: [Tensor; 2] },
    /// The same for [`search_block`].
    Fused { lists: usize, parts: [Tensor; 2] },
    /// Keys and ids to sort.
    Long(topk_long::Scratch),
}

/// Scores and ids of so many lists of k.
fn parts(engine: &Engine, lists: usize, k: usize) -> Result<[Tensor; 2]> {
    let tensor = |dtype| engine.tensor("topk segments", &[lists, k], dtype);
    Ok([tensor(DType::F32)?, tensor(DType::U32)?])
}

impl Scratch {
    /// Allocates that of [`select_block`].
    ///
    /// # Errors
    /// Over the largest buffer or binding; out of memory.
    pub fn new(engine: &Engine, queries: usize, rows: usize, k: usize) -> Result<Self> {
        let how = match segments(engine, queries, rows, k) {
            _ if k > SHORT => Use::Long(topk_long::Scratch::new(engine, queries, rows, k)?),
            1 => Use::Nothing,
            lists => Use::Segments { lists, parts: parts(engine, queries * lists, k)? },
        };
        Ok(Self { k, queries, rows, how })
    }

    /// Allocates that of [`search_block`] for at most `queries` at once and lists of k, at most 32.
    ///
    /// # Errors
    /// A larger k; out of memory.
    pub fn fused(engine: &Engine, queries: usize, k: usize) -> Result<Self> {
        if k > score::BEST {
            return Err(Error::shape("topk search", format!("k = {k}, at most {}", score::BEST)));
        }
        // As many lists as fill a device, and enough for long databases.
        let lists = (512 / queries.div_ceil(score::TILE)).clamp(16, 512);
        Ok(Self { k, queries, rows: 0, how: Use::Fused { lists, parts: parts(engine, queries * lists, k)? } })
    }

    fn fits(&self, op: &str, k: usize, queries: usize, rows: usize) -> Result<()> {
        if k == self.k && queries <= self.queries && rows <= self.rows {
            return Ok(());
        }
        let reason = format!("{queries} x {rows} scores, k = {k}, with scratch for {} x {}, k = {}", self.queries, self.rows, self.k);
        Err(Error::shape(op, reason))
    }
}

/// Lists a query's candidates are split over, so that few queries still fill the device.
fn segments(engine: &Engine, queries: usize, rows: usize, k: usize) -> usize {
    let target = if engine.caps().software { 4 } else { 512 };
    (target / queries.max(1)).min(rows / (4096.max(16 * k))).max(1)
}

/// Appends the merge of a block of scores [queries, rows] (the first elements of the tensor) into the lists
/// list_scores [nq, k] f32 and list_ids [nq, k] u32 of the queries from `first_query` on; column j has id first_id + j.
/// Lists are sorted before and after; [`clear`] makes them empty. No id may come twice.
///
/// # Errors
/// Lists of other shapes or types, a block beyond what `scratch` was made for, ids beyond u32.
pub fn select_block(
    plan: &mut PlanBuilder<'_>,
    scores: &Tensor,
    queries: usize,
    rows: usize,
    first_id: u32,
    first_query: usize,
    list_scores: &Tensor,
    list_ids: &Tensor,
    scratch: &Scratch,
) -> Result<()> {
    let op = "topk select";
    let (nq, k) = lists(op, list_scores, list_ids)?;
    scratch.fits(op, k, queries, rows)?;
    if first_query + queries > nq || queries * rows > scores.len() {
        return Err(Error::shape(op, format!("queries {first_query}+{queries} of {nq}, {rows} rows, in scores {:?}", scores.shape())));
    }
    check_ids(op, first_id, rows)?;
    if queries * rows == 0 {
        return Ok(());
    }
    let lanes = lanes(plan.engine());
    let params = Params {
        rows: queries as u32,
        n: rows as u32,
        k: k as u32,
        q0: first_query as u32,
        x0: first_id,
        segments: 1,
        length: rows as u32,
    };
    let cost = Cost::bytes(4 * (queries * rows) as u64);
    match &scratch.how {
        Use::Long(scratch) => topk_long::merge(plan, scores, [queries, rows], first_id, first_query, [list_scores, list_ids], scratch),
        Use::Fused { .. } => Err(Error::shape(op, "scratch that was made by Scratch::fused")),
        Use::Nothing => {
            let bindings = [scores.into(), list_scores.into(), list_ids.into()];
            plan.dispatch(op, &SHADER, &select_variant(k, false, false, lanes), &bindings, &params, Groups::Linear(queries as u64), cost)
        }
        Use::Segments { lists, parts } => {
            let segments = segments(plan.engine(), queries, rows, k).min(*lists);
            let params = Params { q0: 0, segments: segments as u32, length: rows.div_ceil(segments) as u32, ..params };
            let bindings = [scores.into(), (&parts[0]).into(), (&parts[1]).into()];
            let groups = Groups::Linear((queries * segments) as u64);
            plan.dispatch("topk select segments", &SHADER, &select_variant(k, false, true, lanes), &bindings, &params, groups, cost)?;
            let listed = Listed { scores: &parts[0], ids: &parts[1], queries, n: segments * k };
            select_listed(plan, listed, first_query, list_scores, list_ids)
        }
    }
}

/// Scores that have ids of their own: [queries, n] of each, the first elements of the tensors.
pub(super) struct Listed<'a> {
    pub(super) scores: &'a Tensor,
    pub(super) ids: &'a Tensor,
    pub(super) queries: usize,
    pub(super) n: usize,
}

/// Appends the merge of listed scores into the lists [nq, k], k at most 128, of the queries from `first_query` on.
pub(super) fn select_listed(
    plan: &mut PlanBuilder<'_>,
    listed: Listed<'_>,
    first_query: usize,
    list_scores: &Tensor,
    list_ids: &Tensor,
) -> Result<()> {
    let op = "topk select";
    let (_, k) = lists(op, list_scores, list_ids)?;
    let Listed { scores, ids, queries, n } = listed;
    let (rows, length) = (queries as u32, n as u32);
    let params = Params { rows, n: length, k: k as u32, q0: first_query as u32, x0: 0, segments: 1, length };
    let bindings = [scores.into(), ids.into(), list_scores.into(), list_ids.into()];
    let variant = select_variant(k, true, false, lanes(plan.engine()));
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::Linear(queries as u64), Cost::bytes(8 * (queries * n) as u64))
}

fn check_ids(op: &str, first_id: u32, rows: usize) -> Result<()> {
    if u64::from(first_id) + rows as u64 > u64::from(EMPTY) {
        return Err(Error::shape(op, format!("ids {first_id}+{rows} reach {EMPTY}, which marks empty slots")));
    }
    Ok(())
}

fn lists(op: &str, scores: &Tensor, ids: &Tensor) -> Result<(usize, usize)> {
    let (nq, k) = matrix(op, "list_scores", scores)?;
    expect(op, "list_ids", ids, &[nq, k], DType::U32)?;
    if scores.dtype() != DType::F32 || ids.dtype() != DType::U32 {
        return Err(Error::shape(op, format!("lists of {:?} and {:?}, expected F32 and U32", scores.dtype(), ids.dtype())));
    }
    Ok((nq, k))
}

/// Appends the emptying of lists [nq, k]: score -infinity, id [`EMPTY`].
///
/// # Errors
/// Lists of other shapes or types.
pub fn clear(plan: &mut PlanBuilder<'_>, list_scores: &Tensor, list_ids: &Tensor) -> Result<()> {
    let (nq, k) = lists("topk clear", list_scores, list_ids)?;
    let params = Params { rows: nq as u32, k: k as u32, ..Params::default() };
    let bindings = [list_scores.into(), list_ids.into()];
    let cost = Cost::bytes(8 * (nq * k) as u64);
    plan.dispatch("topk clear", &SHADER, &clear_variant(), &bindings, &params, Groups::for_items(nq * k, 64), cost)
}

/// Rows of a shard in groups that always fit one block of scores.
pub const GROUPED_ROWS: usize = 1 << 16;

/// A search of nq queries for their k best, over any number of shards: `begin`, then `add_shard` for each, then read
/// `scores` and `ids`. A plan with all of it, or one plan a shard, may run any number of times.
#[derive(Debug, Clone)]
pub struct TopK {
    queries: usize,
    query_block: usize,
    row_block: usize,
    /// Scores; none where they are never written.
    block: Option<Tensor>,
    scratch: Scratch,
    scores: Tensor,
    ids: Tensor,
}

impl TopK {
    /// Allocates the lists [nq, k] and scratch sized for shards of about `max_rows` rows (larger ones work, in blocks). More than 16 queries for
    /// their 32 best or fewer are searched without a matrix of scores. Else a block of scores takes
    /// at most 32 MiB; sorting for k > 128 takes at most 96 MiB more, or what one query needs (8 bytes for each of k and the block's rows).
    ///
    /// # Errors
    /// nq, k or max_rows 0; lists over the binding limit; out of memory.
    pub fn new(engine: &Engine, nq: usize, k: usize, max_rows: usize) -> Result<Self> {
        Self::make(engine, nq, k, max_rows, fuses(nq, k))
    }

    /// The same for [`TopK::add_grouped_shard`], which needs the scores.
    ///
    /// # Errors
    /// As [`TopK::new`].
    pub fn grouped(engine: &Engine, nq: usize, k: usize, max_rows: usize) -> Result<Self> {
        Self::make(engine, nq, k, max_rows, false)
    }

    fn make(engine: &Engine, nq: usize, k: usize, max_rows: usize, fused: bool) -> Result<Self> {
        if nq == 0 || k == 0 || max_rows == 0 {
            return Err(Error::shape("topk", format!("{nq} queries, k = {k}, {max_rows} rows: all must be above 0")));
        }
        let bytes = 4 * nq as u64 * k as u64;
        if bytes > engine.caps().max_binding {
            return Err(Error::Limit {
                op: "topk".into(),
                what: format!("bytes of the lists of {nq} queries, k = {k}"),
                need: bytes,
                limit: engine.caps().max_binding,
                advice: "use fewer queries a call or a smaller k".into(),
            });
        }
        let (query_block, row_block) = if fused {
            (nq.min(1024), usize::MAX)
        } else if k <= SHORT {
            let queries = nq.min(128);
            (queries, max_rows.min(SCORES / queries))
        } else {
            let rows = max_rows.min(k.max(1 << 16)).min(SCORES);
            (nq.min((SCORES / topk_long::total(k, rows)).max(1)).min(128), rows)
        };
        Ok(Self {
            queries: nq,
            query_block,
            row_block,
            block: if fused { None } else { Some(engine.tensor("topk scores", &[query_block, row_block], DType::F32)?) },
            scratch: if fused { Scratch::fused(engine, query_block, k)? } else { Scratch::new(engine, query_block, row_block, k)? },
            scores: engine.tensor("topk list scores", &[nq, k], DType::F32)?,
            ids: engine.tensor("topk list ids", &[nq, k], DType::U32)?,
        })
    }

    /// Appends the emptying of the lists.
    ///
    /// # Errors
    /// None of its own.
    pub fn begin(&self, plan: &mut PlanBuilder<'_>) -> Result<()> {
        clear(plan, &self.scores, &self.ids)
    }

    /// Appends the search of queries [nq, D] f32 in the first `rows` rows of x [>= rows, D], f32 or f16, with ids from `first_id` on.
    ///
    /// # Errors
    /// Another number of queries or columns; more rows than x has; wrong types; ids beyond u32; x over the binding limit.
    pub fn add_shard(&self, plan: &mut PlanBuilder<'_>, queries: &Tensor, x: &Tensor, first_id: u32, rows: usize) -> Result<()> {
        let op = "topk";
        if matrix(op, "queries", queries)?.0 != self.queries {
            return Err(Error::shape(op, format!("queries {:?}, lists for {}", queries.shape(), self.queries)));
        }
        check_ids(op, first_id, rows)?;
        for q0 in (0..self.queries).step_by(self.query_block) {
            let nq = self.query_block.min(self.queries - q0);
            let Some(block) = &self.block else {
                search_block(plan, queries, x, q0..q0 + nq, 0..rows, first_id, &self.scores, &self.ids, &self.scratch)?;
                continue;
            };
            for x0 in (0..rows).step_by(self.row_block) {
                let n = self.row_block.min(rows - x0);
                score_block(plan, queries, x, q0..q0 + nq, x0..x0 + n, block)?;
                select_block(plan, block, nq, n, first_id + x0 as u32, q0, &self.scores, &self.ids, &self.scratch)?;
            }
        }
        Ok(())
    }

    /// As [`TopK::add_shard`], but of each group of rows (starts [G + 1] u32, rows of this shard) only the best one counts for a query: the
    /// k best rows are then those of k groups. Groups beyond the last come back with a score of -infinity.
    ///
    /// # Errors
    /// As [`TopK::add_shard`]; a shard larger than [`GROUPED_ROWS`]; made by [`TopK::new`] and so without scores.
    pub fn add_grouped_shard(
        &self,
        plan: &mut PlanBuilder<'_>,
        queries: &Tensor,
        x: &Tensor,
        first_id: u32,
        rows: usize,
        starts: &Tensor,
    ) -> Result<()> {
        let Some(block) = &self.block else {
            return Err(Error::shape("topk", "no scores to choose the best of each group by: use TopK::grouped"));
        };
        if rows > self.row_block {
            return Err(Error::shape("topk", format!("a shard of {rows} rows in groups, at most {} fit one block", self.row_block)));
        }
        for q0 in (0..self.queries).step_by(self.query_block) {
            let nq = self.query_block.min(self.queries - q0);
            score_block(plan, queries, x, q0..q0 + nq, 0..rows, block)?;
            super::suppress::suppress(plan, starts, block, nq, rows)?;
            select_block(plan, block, nq, rows, first_id, q0, &self.scores, &self.ids, &self.scratch)?;
        }
        Ok(())
    }

    /// Scores [nq, k] f32, best first.
    pub fn scores(&self) -> &Tensor {
        &self.scores
    }

    /// Ids [nq, k] u32, [`EMPTY`] where there were fewer rows than k.
    pub fn ids(&self) -> &Tensor {
        &self.ids
    }
}

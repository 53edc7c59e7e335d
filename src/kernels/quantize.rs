//! Rows as whole numbers of eight bits: host side of `shaders/quantize.wgsl`, and an exact search in two passes over them.
//!
//! The first pass bounds every product from above, by bytes; the second makes the products of the [`CANDIDATES`] rows of greatest bounds from the rows
//! themselves. A row outside these cannot be better than the least of their bounds, so a k-th product above it proves the k best to be the k best.

use super::topk::{self, Listed, Scratch};
use super::{LANES, elementwise, expect, lanes, matrix};
use crate::gpu::{Cost, DType, Engine, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};
use std::ops::Range;

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("quantize");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Rows a query whose products are made again.
pub const CANDIDATES: usize = 128;

/// The longest list that may be asked of so many candidates.
pub const MOST: usize = 64;

/// Values of a vec4, and rows of a block.
const CHUNK: usize = 16;
const BLOCK: usize = 8;

/// Columns at most: sums of so many products of bytes stay below 2^31, and a software adapter ends loops after 65,535 turns.
const COLUMNS: usize = 1 << 15;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable, Default)]
struct Params {
    nq: u32,
    n: u32,
    d: u32,
    chunks: u32,
    q0: u32,
    x0: u32,
    k: u32,
    best: u32,
    first_id: u32,
    slack: f32,
}

fn quantize_variant(f16: bool, lanes: i64) -> Variant {
    Variant::new().int("KIND", 0).flag("F16", f16).int("WIDTH", 1).int("LANES", lanes)
}

fn bounds_variant([queries, rows]: [i64; 2]) -> Variant {
    Variant::new().int("KIND", 1).int("QT", queries).int("RT", rows)
}

fn again_variant(f16: bool) -> Variant {
    Variant::new().int("KIND", 2).flag("F16", f16).int("WIDTH", 1)
}

/// Queries and rows of which an invocation bounds the products: for one query, and for more.
const TILES: [[i64; 2]; 2] = [[1, 4], [4, 4]];

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let mut all: Vec<Variant> = LANES.into_iter().flat_map(|l| [false, true].map(|f16| quantize_variant(f16, l))).collect();
    all.extend(TILES.map(bounds_variant));
    all.extend([false, true].map(again_variant));
    all.push(Variant::new().int("KIND", 3));
    all
}

/// Rows as [`quantize`] leaves them.
#[derive(Debug, Clone)]
pub struct Quantized {
    packed: Tensor,
    stats: Tensor,
    rows: usize,
    columns: usize,
}

impl Quantized {
    /// Allocates room for rows [rows, columns].
    ///
    /// # Errors
    /// No row, no column or more than 32,768; over the binding limit; out of memory.
    pub fn new(engine: &Engine, rows: usize, columns: usize) -> Result<Self> {
        if rows == 0 || !(1..=COLUMNS).contains(&columns) {
            return Err(Error::shape("quantize", format!("[{rows}, {columns}]: at least a row, and 1 to {COLUMNS} columns")));
        }
        let words = [rows.div_ceil(BLOCK) * BLOCK, columns.div_ceil(CHUNK) * 4];
        Ok(Self {
            packed: engine.tensor("quantized rows", &words, DType::U32)?,
            stats: engine.tensor("quantized rows' statistics", &[rows, 4], DType::F32)?,
            rows,
            columns,
        })
    }

    /// Bytes it takes.
    pub fn bytes(&self) -> u64 {
        self.packed.bytes() + self.stats.bytes()
    }

    /// The statistics [rows, 4] f32: scale, length of the error, length of what is kept, 0.
    pub fn stats(&self) -> &Tensor {
        &self.stats
    }

    /// The values [rows up to a multiple of 8, 4 words for 16 columns]: bytes, two's complement, in the shader's order.
    pub fn packed(&self) -> &Tensor {
        &self.packed
    }

    fn params(&self) -> Params {
        Params { d: self.columns as u32, chunks: self.columns.div_ceil(CHUNK) as u32, ..Params::default() }
    }
}

/// Appends the quantisation of the first rows of x [n, D], f32 or f16, as many as `out` has.
///
/// # Errors
/// Too few rows, another number of columns, x of whole numbers.
pub fn quantize(plan: &mut PlanBuilder<'_>, x: &Tensor, out: &Quantized) -> Result<()> {
    let op = "quantize";
    let (n, d) = matrix(op, "x", x)?;
    if n < out.rows || d != out.columns || x.dtype() == DType::U32 {
        return Err(Error::shape(op, format!("x [{n}, {d}] of {:?} into [{}, {}]", x.dtype(), out.rows, out.columns)));
    }
    let params = Params { n: out.rows as u32, ..out.params() };
    let variant = quantize_variant(x.dtype() == DType::F16, lanes(plan.engine()));
    let bytes = out.rows * d * (x.dtype().bytes() + 1);
    let bindings = [x.into(), (&out.packed).into(), (&out.stats).into()];
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::Linear(out.rows as u64), Cost::bytes(bytes as u64))
}

/// Appends scores [queries, rows] (the first elements of the tensor): at least <q[queries.start + i], x[rows.start + j]> of the rows that were
/// quantised, however their product is rounded in f32.
///
/// # Errors
/// Different numbers of columns, queries or rows beyond the end, scores too small.
pub fn bounds_block(
    plan: &mut PlanBuilder<'_>,
    q: &Quantized,
    x: &Quantized,
    queries: Range<usize>,
    rows: Range<usize>,
    scores: &Tensor,
) -> Result<()> {
    let op = "quantized bounds";
    super::f32s(op, &[scores])?;
    let (nq, n) = (queries.len(), rows.len());
    if q.columns != x.columns || queries.end > q.rows || rows.end > x.rows || nq * n > scores.len() {
        let (of_q, of_x) = ([q.rows, q.columns], [x.rows, x.columns]);
        return Err(Error::shape(op, format!("queries {queries:?} of {of_q:?}, rows {rows:?} of {of_x:?}, scores {:?}", scores.shape())));
    }
    if nq * n == 0 {
        return Ok(());
    }
    // A sum of D products is off by at most D roundings of the sum of their magnitudes; twice that also covers the bound's own.
    let slack = (2.0 * (x.columns + 8) as f64 * f64::from(f32::EPSILON)) as f32;
    let tile = TILES[usize::from(nq > 1)];
    let params = Params { nq: nq as u32, n: n as u32, q0: queries.start as u32, x0: rows.start as u32, slack, ..x.params() };
    let groups = (n.div_ceil(64 * tile[1] as usize) * nq.div_ceil(tile[0] as usize)) as u64;
    let cost = Cost { flops: 2.0 * (nq * n * x.columns) as f64, bytes: (n * (x.columns + 16) + 4 * nq * n) as f64 };
    let bindings = [(&q.packed).into(), (&q.stats).into(), (&x.packed).into(), (&x.stats).into(), scores.into()];
    plan.dispatch(op, &SHADER, &bounds_variant(tile), &bindings, &params, Groups::Linear(groups), cost)
}

/// A search of few queries for their k best in two passes: `begin`, `first_pass` for each shard, `second_pass` for each shard, `finish`; then read
/// `scores`, `ids` and `whole`. The order of equals and of NaN is [`topk`]'s. Where [`TwoPass::whole`] is 0 the list may lack a row: search that query
/// by [`topk::TopK`]. That happens where more than 128 rows lie too close to the k best for bytes to tell them apart, or are not finite.
///
/// For one query over a database larger than caches the first pass reads half as much as one pass over f16 does (`echogrid bench quantize`).
#[derive(Debug, Clone)]
pub struct TwoPass {
    queries: Quantized,
    row_block: usize,
    block: Tensor,
    scratch: Scratch,
    bounds: Tensor,
    candidates: Tensor,
    again: Tensor,
    scores: Tensor,
    ids: Tensor,
    whole: Tensor,
}

impl TwoPass {
    /// Allocates for queries [nq, columns] and lists of k, at most 64; shards may be of any length, about `max_rows`.
    ///
    /// # Errors
    /// nq, k or max_rows 0, k above 64; as [`Quantized::new`].
    pub fn new(engine: &Engine, nq: usize, columns: usize, k: usize, max_rows: usize) -> Result<Self> {
        if nq == 0 || !(1..=MOST).contains(&k) || max_rows == 0 {
            let reason = format!("{nq} queries, k = {k}, {max_rows} rows: all must be above 0, k at most {MOST}");
            return Err(Error::shape("two passes", reason));
        }
        let row_block = max_rows.min((topk::SCORES / nq).max(1));
        Ok(Self {
            queries: Quantized::new(engine, nq, columns)?,
            row_block,
            block: engine.tensor("bounds", &[nq, row_block], DType::F32)?,
            scratch: Scratch::new(engine, nq, row_block, CANDIDATES)?,
            bounds: engine.tensor("candidates' bounds", &[nq, CANDIDATES], DType::F32)?,
            candidates: engine.tensor("candidates", &[nq, CANDIDATES], DType::U32)?,
            again: engine.tensor("candidates' scores", &[nq, CANDIDATES], DType::F32)?,
            scores: engine.tensor("list scores", &[nq, k], DType::F32)?,
            ids: engine.tensor("list ids", &[nq, k], DType::U32)?,
            whole: engine.tensor("whole", &[nq], DType::U32)?,
        })
    }

    /// Appends the quantisation of the queries [nq, columns] f32 and the emptying of the lists.
    ///
    /// # Errors
    /// Queries of another shape.
    pub fn begin(&self, plan: &mut PlanBuilder<'_>, queries: &Tensor) -> Result<()> {
        expect("two passes", "queries", queries, &[self.queries.rows, self.queries.columns], DType::F32)?;
        quantize(plan, queries, &self.queries)?;
        topk::clear(plan, &self.bounds, &self.candidates)?;
        elementwise::fill(plan, f32::NEG_INFINITY, &self.again)?;
        topk::clear(plan, &self.scores, &self.ids)
    }

    /// Appends the first pass over a shard, whose rows have ids from `first_id` on.
    ///
    /// # Errors
    /// Another number of columns; ids beyond u32.
    pub fn first_pass(&self, plan: &mut PlanBuilder<'_>, x: &Quantized, first_id: u32) -> Result<()> {
        let nq = self.queries.rows;
        for x0 in (0..x.rows).step_by(self.row_block) {
            let n = self.row_block.min(x.rows - x0);
            bounds_block(plan, &self.queries, x, 0..nq, x0..x0 + n, &self.block)?;
            topk::select_block(plan, &self.block, nq, n, first_id + x0 as u32, 0, &self.bounds, &self.candidates, &self.scratch)?;
        }
        Ok(())
    }

    /// Appends the second pass over the first `rows` rows of x [>= rows, columns], f32 or f16, which are those of a shard that the first pass has
    /// seen, once that has seen all shards.
    ///
    /// # Errors
    /// Queries or rows of another shape or type; more rows than x has.
    pub fn second_pass(&self, plan: &mut PlanBuilder<'_>, queries: &Tensor, x: &Tensor, first_id: u32, rows: usize) -> Result<()> {
        let op = "two passes again";
        let (n, d) = matrix(op, "x", x)?;
        let nq = self.queries.rows;
        expect(op, "queries", queries, &[nq, self.queries.columns], DType::F32)?;
        if d != self.queries.columns || x.dtype() == DType::U32 || rows > n {
            return Err(Error::shape(
                op,
                format!("x [{n}, {d}] of {:?}, {rows} rows of {} columns wanted", x.dtype(), self.queries.columns),
            ));
        }
        let params = Params { nq: nq as u32, n: rows as u32, k: CANDIDATES as u32, first_id, ..self.queries.params() };
        let cost = Cost { flops: 2.0 * (nq * CANDIDATES * d) as f64, bytes: (nq * CANDIDATES * d * x.dtype().bytes()) as f64 };
        let bindings = [queries.into(), x.into(), (&self.candidates).into(), (&self.again).into()];
        let variant = again_variant(x.dtype() == DType::F16);
        plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::for_items(nq * CANDIDATES, 64), cost)
    }

    /// Appends the choice of the k best and the proof that they are.
    ///
    /// # Errors
    /// None of its own.
    pub fn finish(&self, plan: &mut PlanBuilder<'_>) -> Result<()> {
        let (nq, k) = (self.queries.rows, self.scores.shape()[1]);
        let listed = Listed { scores: &self.again, ids: &self.candidates, queries: nq, n: CANDIDATES };
        topk::select_listed(plan, listed, 0, &self.scores, &self.ids)?;
        let params = Params { nq: nq as u32, k: CANDIDATES as u32, best: k as u32, ..Params::default() };
        let bindings = [(&self.bounds).into(), (&self.candidates).into(), (&self.scores).into(), (&self.whole).into()];
        let variant = Variant::new().int("KIND", 3);
        plan.dispatch("two passes whole", &SHADER, &variant, &bindings, &params, Groups::for_items(nq, 64), Cost::bytes(16 * nq as u64))
    }

    /// Scores [nq, k] f32, best first.
    pub fn scores(&self) -> &Tensor {
        &self.scores
    }

    /// Ids [nq, k] u32, [`topk::EMPTY`] where there were fewer rows than k.
    pub fn ids(&self) -> &Tensor {
        &self.ids
    }

    /// For each query \[nq\] u32, 1 where the list is proven to be the k best.
    pub fn whole(&self) -> &Tensor {
        &self.whole
    }
}

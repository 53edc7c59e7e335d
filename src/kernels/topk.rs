//! The k best database rows for each query: host side of `shaders/topk.wgsl`.
//!
//! Scores are dot products (give unit rows for cosine). Order: greater score first, the lower id of equals, NaN after all numbers;
//! slots that stay empty (k beyond the rows seen) hold score -infinity and id [`EMPTY`]. -0 counts, and comes back, as 0.

use super::{LANES, expect, lanes, matrix};
use crate::gpu::{Binding, Cost, DType, Engine, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("topk");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<ScoreParams>(), size_of::<Params>()];

/// The id of an empty slot.
pub const EMPTY: u32 = u32::MAX;

/// Lists up to this long are kept in workgroup memory; longer ones are sorted in device memory.
const SMALL_K: usize = 128;

/// Lists up to this long can be kept while scores are made, so that these are never written.
const FUSED_K: usize = 32;

/// Rows that the fused kernel goes over first.
const FIRST_PART: usize = 1024;

/// Products of queries, rows and columns that one dispatch of the fused kernel takes on: a slow device must not exceed its driver's time-out.
const MOST_PRODUCTS: usize = 1 << 33;

/// Queries, and rows, of a tile of the fused kernel.
const FUSED_TILE: usize = 32;

/// Elements that a group of the local sort holds.
const LOCAL: usize = 512;

/// Invocations that select a query's best by radix: on a software adapter with 8-wide subgroups, and else.
const RADIX_LANES: [i64; 2] = [8, 256];

/// Turns of loops that one of them may take on a software adapter, which ends them after 65,535.
const RADIX_TURNS: usize = 58_000;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable, Default)]
struct ScoreParams {
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
    total: u32,
    run: u32,
    size: u32,
    last: u32,
    runs: u32,
}

fn score_variant(f16: bool, vec: bool, broadcast: bool, qt: i64, rt: i64) -> Variant {
    Variant::new().int("KIND", 0).flag("F16", f16).flag("VEC", vec).flag("BROADCAST", broadcast).int("QT", qt).int("RT", rt)
}

fn select_variant(k: usize, ids: bool, fresh: bool, lanes: i64) -> Variant {
    let kp = if k <= 32 { 32 } else { SMALL_K as i64 };
    let v = Variant::new().int("KIND", 1).int("KP", kp).int("CAP", 512).int("CHUNK", 256);
    v.flag("IDS", ids).flag("FRESH", fresh).int("LANES", lanes)
}

fn fused_variant(f16: bool, vec: bool, broadcast: bool, k: usize) -> Variant {
    let (qt, lanes) = if broadcast { (32, 8) } else { (4, 64) };
    let v = Variant::new().int("KIND", 8).flag("F16", f16).flag("VEC", vec).flag("BROADCAST", broadcast).int("QT", qt).int("RT", 4);
    v.int("KP", if k <= 16 { 16 } else { FUSED_K as i64 }).int("LANES", lanes)
}

fn list_variant(kind: i64, lanes: i64) -> Variant {
    let v = Variant::new().int("KIND", kind);
    if kind == 4 || kind == 9 { v.int("LANES", lanes) } else { v }
}

/// Tiles with broadcast (queries, rows a lane), then without.
const BROADCAST_TILES: [(i64, i64); 4] = [(1, 4), (8, 4), (16, 4), (32, 4)];
const PLAIN_TILES: [(i64, i64); 2] = [(4, 4), (1, 1)];

/// Every variant, for validation and translation tests. Those with BROADCAST need subgroups.
pub fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    for f16 in [false, true] {
        all.extend(BROADCAST_TILES.map(|(q, r)| score_variant(f16, true, true, q, r)));
        for vec in [false, true] {
            all.extend(PLAIN_TILES.map(|(q, r)| score_variant(f16, vec, false, q, r)));
            all.extend([16, FUSED_K].map(|k| fused_variant(f16, vec, false, k)));
        }
        all.extend([16, FUSED_K].map(|k| fused_variant(f16, true, true, k)));
    }
    for l in LANES {
        for k in [32, SMALL_K] {
            all.extend([(false, false), (false, true), (true, false)].map(|(ids, fresh)| select_variant(k, ids, fresh, l)));
        }
        all.push(list_variant(4, l));
    }
    all.extend(RADIX_LANES.map(|l| list_variant(9, l)));
    all.extend([2, 3, 5, 6, 7].map(|kind| list_variant(kind, 0)));
    all
}

/// Appends scores [queries, rows] (the first elements of the tensor) = <q[first_query + i], x[first_row + j]>, accumulated in f32;
/// q [nq, D] f32, x [n, D] f32 or f16 (two to a word, row after row).
///
/// # Errors
/// Another number of columns, rows beyond the tensors, scores too small, wrong types, a tensor over the binding limit.
pub fn score_block(
    plan: &mut PlanBuilder<'_>,
    q: &Tensor,
    x: &Tensor,
    first_query: usize,
    queries: usize,
    first_row: usize,
    rows: usize,
    scores: &Tensor,
) -> Result<()> {
    let op = "topk score";
    let d = block(op, q, x, first_query, queries, first_row, rows)?;
    if scores.dtype() != DType::F32 {
        return Err(Error::shape(op, format!("scores of {:?}, expected F32", scores.dtype())));
    }
    if queries * rows > scores.len() {
        return Err(Error::shape(op, format!("scores {:?} hold no {queries} x {rows}", scores.shape())));
    }
    if queries * rows == 0 {
        return Ok(());
    }
    let (f16, vec, broadcast) = ways(plan, x, d);
    let (qt, rt) = match (broadcast, queries) {
        // The more queries share a row the better, as long as a group is mostly full.
        (true, 1..=3) => BROADCAST_TILES[0],
        (true, 4..=12) => BROADCAST_TILES[1],
        (true, 13..=24) => BROADCAST_TILES[2],
        (true, _) => BROADCAST_TILES[3],
        (false, 1..=3) => PLAIN_TILES[1],
        (false, _) => PLAIN_TILES[0],
    };
    let (q_span, x_span) = match (broadcast, qt) {
        (true, _) => (qt, 8 * rt),
        (false, 1) => (1, 64 * rt),
        (false, _) => (8 * qt, 8 * rt),
    };
    let groups = queries.div_ceil(q_span as usize) as u64 * rows.div_ceil(x_span as usize) as u64;
    let params = ScoreParams {
        nq: queries as u32,
        n: rows as u32,
        d: d as u32,
        q0: first_query as u32,
        x0: first_row as u32,
        ..ScoreParams::default()
    };
    let bytes = queries * d * 4 + rows * d * x.dtype().bytes() + 4 * queries * rows;
    let cost = Cost { flops: 2.0 * (queries * rows) as f64 * d as f64, bytes: bytes as f64 };
    let variant = score_variant(f16, vec, broadcast, qt, rt);
    plan.dispatch(op, &SHADER, &variant, &[q.into(), x.into(), scores.into()], &params, Groups::Linear(groups), cost)
}

/// The columns of a block of queries and rows, if it is one.
fn block(op: &str, q: &Tensor, x: &Tensor, first_query: usize, queries: usize, first_row: usize, rows: usize) -> Result<usize> {
    let ((nq, d), (n, dx)) = (matrix(op, "q", q)?, matrix(op, "x", x)?);
    if d != dx {
        return Err(Error::shape(op, format!("queries have {d} columns, the database {dx}")));
    }
    if q.dtype() != DType::F32 || x.dtype() == DType::U32 {
        return Err(Error::shape(op, format!("types q {:?}, x {:?}; expected F32, F32 or F16", q.dtype(), x.dtype())));
    }
    if first_query + queries > nq || first_row + rows > n {
        let reason = format!("queries {first_query}+{queries} of {nq}, rows {first_row}+{rows} of {n}: beyond the end");
        return Err(Error::shape(op, reason));
    }
    Ok(d)
}

/// Whether rows are halves, whether they go by fours, and whether a subgroup shares its queries.
fn ways(plan: &PlanBuilder<'_>, x: &Tensor, d: usize) -> (bool, bool, bool) {
    let (caps, vec) = (plan.engine().caps(), d.is_multiple_of(4));
    (x.dtype() == DType::F16, vec, vec && caps.software && caps.subgroup_is(8))
}

/// Whether [`search_block`] takes lists of k: from as many queries on as fill its tiles halfway, else making scores and selecting is as fast.
fn fuses(queries: usize, k: usize) -> bool {
    k <= FUSED_K && queries > FUSED_TILE / 2
}

/// Rows that a group of the fused kernel goes over: short enough that so many tiles of queries fill the device.
fn segment_length(engine: &Engine, tiles: usize, rows: usize, steps: usize) -> usize {
    let software = engine.caps().software;
    let groups: usize = if software { 4 } else { 512 };
    let filling = rows.div_ceil(groups.div_ceil(tiles)).next_multiple_of(FUSED_TILE).max(1024);
    if !software {
        return filling;
    }
    // Loops of an invocation end after 65,535 turns in all on some software adapters, where leaving one counts too. A tile takes one, those of its
    // scores, two for each four queries whose scores reach their lists, and for each of four queries an invocation owns at most one a row.
    filling.min((60_000 / (1 + steps + 1 + FUSED_TILE / 2 + 4 * (FUSED_TILE + 1))).max(1) * FUSED_TILE)
}

/// Appends the merge of rows [first_row, first_row + rows) of x [n, D] f32 or f16 into the lists of queries [first_query, first_query + queries)
/// of q [nq, D] f32, as [`score_block`] and [`select_block`] together, but without a matrix of scores: row j has id first_id + j - first_row.
///
/// # Errors
/// As of the two; lists or a number of queries that `scratch` was not made for by [`Scratch::fused`].
pub fn search_block(
    plan: &mut PlanBuilder<'_>,
    q: &Tensor,
    x: &Tensor,
    first_query: usize,
    queries: usize,
    first_row: usize,
    rows: usize,
    first_id: u32,
    list_scores: &Tensor,
    list_ids: &Tensor,
    scratch: &Scratch,
) -> Result<()> {
    let op = "topk fused";
    let d = block(op, q, x, first_query, queries, first_row, rows)?;
    let (nq, k) = lists(op, list_scores, list_ids)?;
    if k != scratch.k || queries > scratch.queries || scratch.fused.is_none() {
        let reason = format!(
            "{queries} queries, k = {k}, with scratch for {}, k = {}, fused: {}",
            scratch.queries,
            scratch.k,
            scratch.fused.is_some()
        );
        return Err(Error::shape(op, reason));
    }
    if first_query + queries > nq {
        return Err(Error::shape(op, format!("queries {first_query}+{queries} of {nq} lists")));
    }
    check_ids(op, first_id, rows)?;
    if queries * rows == 0 {
        return Ok(());
    }
    let (f16, vec, broadcast) = ways(plan, x, d);
    let steps = if vec { d / 4 } else { d };
    let tiles = queries.div_ceil(FUSED_TILE);
    // Parts grow: each begins with the bar that those before it have set, and few scores reach a list.
    let most = (MOST_PRODUCTS / (queries * d).max(1)).max(FIRST_PART);
    let (mut from, mut part) = (0, FIRST_PART);
    while from < rows {
        let length = segment_length(plan.engine(), tiles, part.min(rows - from), steps);
        let rows = (rows - from).min(part).min(length * scratch.fused.unwrap_or(1));
        let segments = rows.div_ceil(length);
        let params = ScoreParams {
            nq: queries as u32,
            n: rows as u32,
            d: d as u32,
            q0: first_query as u32,
            x0: (first_row + from) as u32,
            k: k as u32,
            segments: segments as u32,
            length: length as u32,
            first_id: first_id + from as u32,
        };
        let flops = 2.0 * (queries * rows) as f64 * d as f64;
        let bytes = queries * d * 4 + rows * d * x.dtype().bytes() + 8 * queries * segments * k;
        let bindings = [q.into(), x.into(), list_scores.into(), list_ids.into(), (&scratch.a).into(), (&scratch.b).into()];
        let groups = Groups::Linear((tiles * segments) as u64);
        plan.dispatch(
            op,
            &SHADER,
            &fused_variant(f16, vec, broadcast, k),
            &bindings,
            &params,
            groups,
            Cost { flops, bytes: bytes as f64 },
        )?;
        let n = (segments * k) as u32;
        let params = Params { rows: queries as u32, n, k: k as u32, q0: first_query as u32, segments: 1, length: n, ..Params::default() };
        let bindings = [(&scratch.a).into(), (&scratch.b).into(), list_scores.into(), list_ids.into()];
        let variant = select_variant(k, true, false, lanes(plan.engine()));
        plan.dispatch("topk select", &SHADER, &variant, &bindings, &params, Groups::Linear(queries as u64), Cost::bytes(8 * u64::from(n)))?;
        from += rows;
        part = (4 * part).min(most);
    }
    Ok(())
}

/// Scratch of [`select_block`] for blocks of at most `queries` x `rows` scores and lists of k.
#[derive(Debug, Clone)]
pub struct Scratch {
    k: usize,
    queries: usize,
    rows: usize,
    segments: usize,
    /// Lists a query that fit, if it is for [`search_block`].
    fused: Option<usize>,
    /// Lists of segments, or keys and ids to sort.
    a: Tensor,
    b: Tensor,
    /// The selected of them, if they are selected before they are sorted.
    selected: Option<[Tensor; 2]>,
}

impl Scratch {
    /// Allocates.
    ///
    /// # Errors
    /// Over the largest buffer or binding; out of memory.
    pub fn new(engine: &Engine, queries: usize, rows: usize, k: usize) -> Result<Self> {
        let segments = segments(engine, queries, rows, k);
        let (shape, dtype) = match k {
            0..=SMALL_K if segments > 1 => ([queries * segments, k], DType::F32),
            0..=SMALL_K => ([1, 1], DType::F32),
            _ => ([queries, total(k, rows)], DType::U32),
        };
        let bytes = 4 * shape[0] as u64 * shape[1] as u64;
        if bytes > engine.caps().max_binding {
            return Err(Error::Limit {
                op: "topk".into(),
                what: format!("bytes of scratch for {queries} queries, k = {k}"),
                need: bytes,
                limit: engine.caps().max_binding,
                advice: "use fewer queries a call or a smaller k".into(),
            });
        }
        let (a, b) = (engine.tensor("topk a", &shape, dtype)?, engine.tensor("topk b", &shape, DType::U32)?);
        let chosen = |name| engine.tensor(name, &[queries, run(k)], DType::U32);
        let selected = selects(engine, k, rows).then(|| Ok([chosen("topk c")?, chosen("topk d")?])).transpose()?;
        Ok(Self { k, queries, rows, segments, fused: None, a, b, selected })
    }

    /// Allocates that of [`search_block`] for at most `queries` at once and lists of k, at most 32.
    ///
    /// # Errors
    /// A larger k; out of memory.
    pub fn fused(engine: &Engine, queries: usize, k: usize) -> Result<Self> {
        if k > FUSED_K {
            return Err(Error::shape("topk fused", format!("k = {k}, at most {FUSED_K}")));
        }
        // As many lists as fill a device, and enough for long databases.
        let lists = (512 / queries.div_ceil(FUSED_TILE)).clamp(16, 512);
        let shape = [queries * lists, k];
        let (a, b) = (engine.tensor("topk a", &shape, DType::F32)?, engine.tensor("topk b", &shape, DType::U32)?);
        Ok(Self { k, queries, rows: 0, segments: 1, fused: Some(lists), a, b, selected: None })
    }
}

/// Lists a query's candidates are split over, so that few queries still fill the device.
fn segments(engine: &Engine, queries: usize, rows: usize, k: usize) -> usize {
    if k > SMALL_K {
        return 1;
    }
    let target = if engine.caps().software { 4 } else { 512 };
    (target / queries.max(1)).min(rows / (4096.max(16 * k))).max(1)
}

/// Elements a row sorted for large k: the list and the block in whole runs and whole local chunks.
fn total(k: usize, rows: usize) -> usize {
    (k + rows).next_multiple_of(run(k))
}

/// Elements of a sorted run for large k.
fn run(k: usize) -> usize {
    k.next_power_of_two().max(LOCAL)
}

fn radix_lanes(engine: &Engine) -> i64 {
    RADIX_LANES[usize::from(!engine.caps().subgroup_is(8))]
}

/// Whether the k best of the list and a block are selected before they are sorted: if there are more than one run, and, on a software adapter, if
/// its loops turn so often. The selection goes over them up to seven times, by fours, and over what is
/// empty of a run.
fn selects(engine: &Engine, k: usize, rows: usize) -> bool {
    let lanes = radix_lanes(engine) as usize;
    let turns = 7 * total(k, rows).div_ceil(4 * lanes) + run(k).div_ceil(lanes);
    k > SMALL_K && total(k, rows) > run(k) && (!engine.caps().software || turns <= RADIX_TURNS)
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
    if k != scratch.k || queries > scratch.queries || rows > scratch.rows {
        let reason =
            format!("{queries} x {rows} scores, k = {k}, with scratch for {} x {}, k = {}", scratch.queries, scratch.rows, scratch.k);
        return Err(Error::shape(op, reason));
    }
    if first_query + queries > nq || queries * rows > scores.len() {
        return Err(Error::shape(op, format!("queries {first_query}+{queries} of {nq}, {rows} rows, in scores {:?}", scores.shape())));
    }
    check_ids(op, first_id, rows)?;
    if queries * rows == 0 {
        return Ok(());
    }
    let lanes = lanes(plan.engine());
    let base = Params { rows: queries as u32, n: rows as u32, k: k as u32, q0: first_query as u32, x0: first_id, ..Params::default() };
    let cost = Cost::bytes(4 * (queries * rows) as u64);
    if k <= SMALL_K {
        let segments = segments(plan.engine(), queries, rows, k).min(scratch.segments);
        if segments == 1 {
            let params = Params { segments: 1, length: rows as u32, ..base };
            let bindings = [scores.into(), list_scores.into(), list_ids.into()];
            let groups = Groups::Linear(queries as u64);
            return plan.dispatch(op, &SHADER, &select_variant(k, false, false, lanes), &bindings, &params, groups, cost);
        }
        let params = Params { q0: 0, segments: segments as u32, length: rows.div_ceil(segments) as u32, ..base };
        let bindings = [scores.into(), (&scratch.a).into(), (&scratch.b).into()];
        let groups = Groups::Linear((queries * segments) as u64);
        plan.dispatch("topk select segments", &SHADER, &select_variant(k, false, true, lanes), &bindings, &params, groups, cost)?;
        let n = (segments * k) as u32;
        let params = Params { n, segments: 1, length: n, ..base };
        let bindings = [(&scratch.a).into(), (&scratch.b).into(), list_scores.into(), list_ids.into()];
        let groups = Groups::Linear(queries as u64);
        return plan.dispatch(op, &SHADER, &select_variant(k, true, false, lanes), &bindings, &params, groups, Cost::bytes(0));
    }
    // Select the k best by radix, and sort them; or sort runs of k, rounded up to a power of two, then halve: of two sorted runs, the better of each
    // element and its mirror image are the best run's worth of both, and bitonic, so one merge sorts them.
    let (run, mut total) = (run(k), total(k, rows));
    let mut base = Params { total: total as u32, run: run as u32, ..base };
    let (mut keys, mut ids) = (&scratch.a, &scratch.b);
    let bindings = [scores.into(), list_scores.into(), list_ids.into(), keys.into(), ids.into()];
    let cost = Cost::bytes(12 * (queries * total) as u64);
    plan.dispatch("topk load", &SHADER, &list_variant(2, 0), &bindings, &base, Groups::for_items(queries * total, 64), cost)?;
    if let Some([best_keys, best_ids]) = scratch.selected.as_ref().filter(|_| selects(plan.engine(), k, rows)) {
        let bindings = [keys.into(), ids.into(), best_keys.into(), best_ids.into()];
        let variant = list_variant(9, radix_lanes(plan.engine()));
        // Three times over the keys, once more to take them; ids where keys are equal.
        let cost = Cost::bytes((queries * (20 * total + 8 * run)) as u64);
        plan.dispatch("topk radix", &SHADER, &variant, &bindings, &base, Groups::Linear(queries as u64), cost)?;
        (keys, ids, total) = (best_keys, best_ids, run);
        base.total = total as u32;
    }
    let pair: [Binding<'_>; 2] = [keys.into(), ids.into()];
    let mut runs = total / run;
    let local = |plan: &mut PlanBuilder<'_>, n: usize, size: usize, last: usize| {
        let params = Params { n: n as u32, size: size as u32, last: last as u32, ..base };
        let groups = Groups::Linear((queries * n.div_ceil(LOCAL)) as u64);
        plan.dispatch("topk sort", &SHADER, &list_variant(4, lanes), &pair, &params, groups, Cost::bytes(16 * (queries * n) as u64))
    };
    let merge = |plan: &mut PlanBuilder<'_>, n: usize, size: usize| {
        let mut stride = size / 2;
        while stride >= LOCAL {
            let params = Params { n: n as u32, size: size as u32, x0: stride as u32, ..base };
            let groups = Groups::for_items(queries * n / 2, 64);
            let cost = Cost::bytes(16 * (queries * n) as u64);
            plan.dispatch("topk sort", &SHADER, &list_variant(3, 0), &pair, &params, groups, cost)?;
            stride /= 2;
        }
        local(plan, n, size, size)
    };
    local(plan, total, 2, run.min(LOCAL))?;
    let mut size = 2 * LOCAL;
    while size <= run {
        merge(plan, total, size)?;
        size *= 2;
    }
    while runs > 1 {
        let stay = runs.div_ceil(2);
        let params = Params { runs: runs as u32, x0: stay as u32, ..base };
        let items = queries * (runs - stay) * run;
        plan.dispatch(
            "topk halve",
            &SHADER,
            &list_variant(5, 0),
            &pair,
            &params,
            Groups::for_items(items, 64),
            Cost::bytes(16 * items as u64),
        )?;
        runs = stay;
        merge(plan, runs * run, run)?;
    }
    let bindings = [keys.into(), ids.into(), list_scores.into(), list_ids.into()];
    let cost = Cost::bytes(16 * (queries * k) as u64);
    plan.dispatch("topk store", &SHADER, &list_variant(6, 0), &bindings, &base, Groups::for_items(queries * k, 64), cost)
}

/// Appends the k best of listed scores [nq, n], with the id of each [nq, n], into lists [nq, k], k at most 128, that are cleared.
pub(super) fn select_listed(
    plan: &mut PlanBuilder<'_>,
    scores: &Tensor,
    ids: &Tensor,
    list_scores: &Tensor,
    list_ids: &Tensor,
) -> Result<()> {
    let op = "topk select";
    let (nq, k) = lists(op, list_scores, list_ids)?;
    let (_, n) = lists(op, scores, ids)?;
    let params = Params { rows: nq as u32, n: n as u32, k: k as u32, segments: 1, length: n as u32, ..Params::default() };
    let bindings = [scores.into(), ids.into(), list_scores.into(), list_ids.into()];
    let variant = select_variant(k, true, false, lanes(plan.engine()));
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::Linear(nq as u64), Cost::bytes(8 * (nq * n) as u64))
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
    plan.dispatch("topk clear", &SHADER, &list_variant(7, 0), &bindings, &params, Groups::for_items(nq * k, 64), cost)
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
        const SCORES: usize = 8 << 20;
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
        } else if k <= SMALL_K {
            let queries = nq.min(128);
            (queries, max_rows.min(SCORES / queries))
        } else {
            let rows = max_rows.min(k.max(1 << 16)).min(SCORES);
            (nq.min((SCORES / total(k, rows)).max(1)).min(128), rows)
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
                search_block(plan, queries, x, q0, nq, 0, rows, first_id, &self.scores, &self.ids, &self.scratch)?;
                continue;
            };
            for x0 in (0..rows).step_by(self.row_block) {
                let n = self.row_block.min(rows - x0);
                score_block(plan, queries, x, q0, nq, x0, n, block)?;
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
            score_block(plan, queries, x, q0, nq, 0, rows, block)?;
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

//! The k best of given scores where lists are long: host side of `shaders/topk_long.wgsl`.

use super::LANES;
use super::lanes;
use crate::gpu::{Binding, Cost, DType, Engine, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("topk_long");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Elements that a group of the local sort holds.
const LOCAL: usize = 512;

/// Invocations that select a query's best by radix: on a software adapter with 8-wide subgroups, and else.
const RADIX_LANES: [i64; 2] = [8, 256];

/// Turns of loops that one of them may take on a software adapter, which ends them after 65,535.
const RADIX_TURNS: usize = 58_000;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable, Default)]
struct Params {
    rows: u32,
    n: u32,
    k: u32,
    q0: u32,
    x0: u32,
    total: u32,
    run: u32,
    size: u32,
    last: u32,
    runs: u32,
}

/// What a dispatch does; its number is the shader's KIND.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Load = 0,
    Sort = 1,
    Local = 2,
    Halve = 3,
    Store = 4,
    Radix = 5,
}

impl Kind {
    fn variant(self) -> Variant {
        Variant::new().int("KIND", self as i64)
    }
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let mut all: Vec<Variant> = [Kind::Load, Kind::Sort, Kind::Halve, Kind::Store].map(Kind::variant).into();
    all.extend(LANES.map(|l| Kind::Local.variant().int("LANES", l)));
    all.extend(RADIX_LANES.map(|l| Kind::Radix.variant().int("LANES", l)));
    all
}

/// Elements a row: the list and the block in whole runs.
pub(super) fn total(k: usize, rows: usize) -> usize {
    (k + rows).next_multiple_of(run(k))
}

/// Elements of a sorted run: k, up to a power of two and a local chunk.
fn run(k: usize) -> usize {
    k.next_power_of_two().max(LOCAL)
}

fn radix_lanes(engine: &Engine) -> usize {
    RADIX_LANES[usize::from(!engine.caps().subgroup_is(8))] as usize
}

/// Whether the k best of the list and a block are selected before they are sorted: if there are more than one run, and, on a software adapter, if
/// its loops turn so often. The selection goes over them up to seven times, by fours, and over what is empty of a run.
fn selects(engine: &Engine, k: usize, rows: usize) -> bool {
    let lanes = radix_lanes(engine);
    let turns = 7 * total(k, rows).div_ceil(4 * lanes) + run(k).div_ceil(lanes);
    total(k, rows) > run(k) && (!engine.caps().software || turns <= RADIX_TURNS)
}

/// Keys and ids that are sorted.
#[derive(Debug, Clone)]
pub(super) struct Scratch {
    all: [Tensor; 2],
    /// The selected of them, where they are selected first.
    selected: Option<[Tensor; 2]>,
}

impl Scratch {
    /// For blocks of at most `queries` x `rows` scores and lists of k.
    pub(super) fn new(engine: &Engine, queries: usize, rows: usize, k: usize) -> Result<Self> {
        let bytes = 4 * queries as u64 * total(k, rows) as u64;
        if bytes > engine.caps().max_binding {
            return Err(Error::Limit {
                op: "topk".into(),
                what: format!("bytes of scratch for {queries} queries, k = {k}"),
                need: bytes,
                limit: engine.caps().max_binding,
                advice: "use fewer queries a call or a smaller k".into(),
            });
        }
        let pair = |each: usize| {
            let tensor = |name| engine.tensor(name, &[queries, each], DType::U32);
            Ok::<_, Error>([tensor("topk keys")?, tensor("topk ids")?])
        };
        Ok(Self { all: pair(total(k, rows))?, selected: selects(engine, k, rows).then(|| pair(run(k))).transpose()? })
    }
}

/// Appends the merge of scores [queries, rows], with ids from `first_id` on, into the lists [nq, k] of the queries from `first_query` on. The shapes
/// were checked.
pub(super) fn merge(
    plan: &mut PlanBuilder<'_>,
    scores: &Tensor,
    [queries, rows]: [usize; 2],
    first_id: u32,
    first_query: usize,
    [list_scores, list_ids]: [&Tensor; 2],
    scratch: &Scratch,
) -> Result<()> {
    let k = list_scores.shape()[1];
    // Select the k best by radix, and sort them; or sort runs of k, rounded up to a power of two, then halve: of two sorted runs, the better of each
    // element and its mirror image are the best run's worth of both, and bitonic, so one merge sorts them.
    let (run, mut total) = (run(k), total(k, rows));
    let mut base = Params {
        rows: queries as u32,
        n: rows as u32,
        k: k as u32,
        q0: first_query as u32,
        x0: first_id,
        total: total as u32,
        run: run as u32,
        ..Params::default()
    };
    let [mut keys, mut ids] = [&scratch.all[0], &scratch.all[1]];
    let bindings = [scores.into(), list_scores.into(), list_ids.into(), keys.into(), ids.into()];
    let cost = Cost::bytes(12 * (queries * total) as u64);
    plan.dispatch("topk load", &SHADER, &Kind::Load.variant(), &bindings, &base, Groups::for_items(queries * total, 64), cost)?;
    if let Some([best_keys, best_ids]) = scratch.selected.as_ref().filter(|_| selects(plan.engine(), k, rows)) {
        let bindings = [keys.into(), ids.into(), best_keys.into(), best_ids.into()];
        let variant = Kind::Radix.variant().int("LANES", radix_lanes(plan.engine()) as i64);
        // Three times over the keys, once more to take them; ids where keys are equal.
        let cost = Cost::bytes((queries * (20 * total + 8 * run)) as u64);
        plan.dispatch("topk radix", &SHADER, &variant, &bindings, &base, Groups::Linear(queries as u64), cost)?;
        (keys, ids, total) = (best_keys, best_ids, run);
        base.total = total as u32;
    }
    let pair: [Binding<'_>; 2] = [keys.into(), ids.into()];
    let mut runs = total / run;
    let local = Kind::Local.variant().int("LANES", lanes(plan.engine()));
    let local = |plan: &mut PlanBuilder<'_>, n: usize, size: usize, last: usize| {
        let params = Params { n: n as u32, size: size as u32, last: last as u32, ..base };
        let groups = Groups::Linear((queries * n.div_ceil(LOCAL)) as u64);
        plan.dispatch("topk sort", &SHADER, &local, &pair, &params, groups, Cost::bytes(16 * (queries * n) as u64))
    };
    let merge = |plan: &mut PlanBuilder<'_>, n: usize, size: usize| {
        let mut stride = size / 2;
        while stride >= LOCAL {
            let params = Params { n: n as u32, size: size as u32, x0: stride as u32, ..base };
            let groups = Groups::for_items(queries * n / 2, 64);
            let cost = Cost::bytes(16 * (queries * n) as u64);
            plan.dispatch("topk sort", &SHADER, &Kind::Sort.variant(), &pair, &params, groups, cost)?;
            stride /= 2;
        }
        local(plan, n, size, size)
    };
    local(plan, total, 2, LOCAL)?;
    let mut size = 2 * LOCAL;
    while size <= run {
        merge(plan, total, size)?;
        size *= 2;
    }
    while runs > 1 {
        let stay = runs.div_ceil(2);
        let params = Params { runs: runs as u32, x0: stay as u32, ..base };
        let items = queries * (runs - stay) * run;
        let cost = Cost::bytes(16 * items as u64);
        plan.dispatch("topk halve", &SHADER, &Kind::Halve.variant(), &pair, &params, Groups::for_items(items, 64), cost)?;
        runs = stay;
        merge(plan, runs * run, run)?;
    }
    let bindings = [keys.into(), ids.into(), list_scores.into(), list_ids.into()];
    let cost = Cost::bytes(16 * (queries * k) as u64);
    plan.dispatch("topk store", &SHADER, &Kind::Store.variant(), &bindings, &base, Groups::for_items(queries * k, 64), cost)
}

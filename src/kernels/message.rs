//! Messages along the edges of a graph: host side of `shaders/message.wgsl`.
//!
//! Rows are [N, ..] at the targets and [M, ..] at the sources of [`Edges`]; everything after the first extent is one row of F values.
//! Everything sums in a fixed order, the gradients over the edges sorted by source.

use super::edges::{Edges, End};
use super::{both_widths, expect_shape, f32s, vectorised};
use crate::gpu::{Cost, DType, Engine, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("message");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Edges that one invocation walks at most, where there are not very many: a row with more is summed in slices of so many first.
pub const SLICE: usize = 512;

/// Edges a slice, so that slices stay few too: Mesa's software adapter ends an invocation's loops, without a word, once they have
/// turned 65,535 times in all.
pub(crate) fn slice(slots: usize) -> usize {
    SLICE.max(slots.div_ceil(1 << 14))
}

/// How the messages into a row become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduce {
    /// Their sum.
    Sum,
    /// Their sum over their number.
    Mean,
    /// The greatest of each feature, the first of equals; NaN is above all.
    Max,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    total: u32,
    lanes: u32,
    columns: u32,
    n: u32,
    rows: u32,
    slots: u32,
    head: u32,
    heads: u32,
    slice: u32,
    slope: f32,
}

impl Params {
    /// In the order of the fields.
    fn new(counts: [usize; 9], slope: f32) -> Self {
        let [total, lanes, columns, n, rows, slots, head, heads, slice] = counts.map(|v| v as u32);
        Self { total, lanes, columns, n, rows, slots, head, heads, slice, slope }
    }
}

/// What a segment's sum is made of: see the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Sum,
    Mean,
    Max,
    Weighted { edge: bool },
    SumBack,
    MeanBack,
    MaxBack,
    WeightedBack,
    GatherBack(End),
}

const FORMS: [Form; 11] = [
    Form::Sum,
    Form::Mean,
    Form::Max,
    Form::Weighted { edge: false },
    Form::Weighted { edge: true },
    Form::SumBack,
    Form::MeanBack,
    Form::MaxBack,
    Form::WeightedBack,
    Form::GatherBack(End::Source),
    Form::GatherBack(End::Target),
];

/// Which pass over the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// All edges of each segment.
    Whole,
    /// The slices' shares of hubs.
    Hubs,
    /// All edges of each segment but hubs, which have partial sums.
    Rest,
}

/// Columns an invocation and edges it loads at once: a CPU loads an edge's numbers once for several columns, a GPU hides latency.
const SHAPES: [(usize, usize); 3] = [(1, 4), (1, 1), (4, 1)];

fn shape(engine: &Engine, columns: usize) -> (usize, usize) {
    match (engine.caps().software, columns.is_multiple_of(4) || columns > 16) {
        (false, _) => SHAPES[0],
        (true, false) => SHAPES[1],
        (true, true) => SHAPES[2],
    }
}

impl Form {
    /// Segments are sources: edges are numbered by `back_edges`.
    fn back(self) -> bool {
        matches!(self, Self::SumBack | Self::MeanBack | Self::MaxBack | Self::WeightedBack | Self::GatherBack(End::Source))
    }

    fn variant(self, pass: Pass, (cols, unroll): (usize, usize)) -> Variant {
        let max = self == Self::Max;
        let edge = self == Self::Weighted { edge: true };
        let weighted = edge || matches!(self, Self::Weighted { .. } | Self::WeightedBack);
        let rows = matches!(self, Self::GatherBack(_));
        let (winners, degrees) = (self == Self::MaxBack, self == Self::MeanBack);
        let base = 1 + i64::from(weighted) + i64::from(edge) + i64::from(winners) + i64::from(degrees);
        let read = match pass {
            Pass::Whole => 0,
            Pass::Hubs => 1,
            Pass::Rest => 1 + i64::from(max),
        };
        Variant::new()
            .int("KIND", 0)
            .flag("MEAN", self == Self::Mean)
            .flag("MAX", max)
            .flag("WEIGHTED", weighted)
            .flag("EDGE", edge)
            .flag("WINNERS", winners)
            .flag("DEGREES", degrees)
            .flag("ORDER", self.back())
            .flag("ROWS", rows)
            .flag("HUB", pass == Pass::Hubs)
            .flag("PARTS", pass == Pass::Rest)
            .int("BASE", base)
            .int("OUT", base + 1 + i64::from(self.back()) + i64::from(!rows) + read)
            .int("COLS", cols as i64)
            .int("UNROLL", unroll as i64)
    }
}

fn spread_variant(weighted: bool, cols: usize) -> Variant {
    Variant::new().int("KIND", 1).flag("WEIGHTED", weighted).int("COLS", cols as i64)
}

fn dots_variant(edge: bool, lanes: i64) -> Variant {
    Variant::new().int("KIND", 2).flag("EDGE", edge).int("LANES", lanes)
}

fn edge_sum_variant(backward: bool, cols: usize) -> Variant {
    Variant::new().int("KIND", 3).flag("BACKWARD", backward).int("COLS", cols as i64)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let passes = [Pass::Whole, Pass::Hubs, Pass::Rest];
    let mut all: Vec<Variant> =
        FORMS.into_iter().flat_map(|f| passes.into_iter().flat_map(move |p| SHAPES.map(|s| f.variant(p, s)))).collect();
    for flag in [false, true] {
        all.extend([1, 4].map(|cols| spread_variant(flag, cols)));
        all.extend([1, 4].map(|cols| edge_sum_variant(flag, cols)));
        all.extend([1, 8].map(|lanes| dots_variant(flag, lanes)));
    }
    both_widths(all)
}

/// Rows of `count` and how many values one has; refuses other counts and types than f32.
fn row_len(op: &str, name: &str, t: &Tensor, count: usize) -> Result<usize> {
    f32s(op, &[t])?;
    match t.shape() {
        [n, ..] if *n == count && !t.is_empty() => Ok(t.len() / n),
        other => Err(Error::shape(op, format!("`{name}` is {other:?}, expected {count} rows"))),
    }
}

/// The length of a row of both, which must be the same.
pub(crate) fn same_rows(op: &str, x: (&str, &Tensor, usize), y: (&str, &Tensor, usize)) -> Result<usize> {
    let (f, g) = (row_len(op, x.0, x.1, x.2)?, row_len(op, y.0, y.1, y.2)?);
    if f != g {
        return Err(Error::shape(op, format!("rows of `{}` have {f} values, those of `{}` {g}", x.0, y.0)));
    }
    Ok(f)
}

/// The edges of each of `n` segments, which lie between two of `offsets`, and the rows that they are sums of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segments<'a> {
    pub(crate) n: usize,
    pub(crate) rows: usize,
    pub(crate) slots: usize,
    pub(crate) offsets: &'a Tensor,
    /// Which edges lie there, where they are not numbered in this order.
    pub(crate) order: Option<&'a Tensor>,
    /// An edge's row, where that is not its own.
    pub(crate) index: Option<&'a Tensor>,
    /// The segment that an edge belongs to.
    pub(crate) owner: &'a Tensor,
}

impl<'a> Segments<'a> {
    fn of(edges: &'a Edges, form: Form) -> Self {
        let [targets, sources, slots] = edges.counts();
        let (n, rows) = match (form, form.back()) {
            (Form::GatherBack(End::Target), _) => (targets, slots),
            (Form::GatherBack(End::Source), _) => (sources, slots),
            (_, true) => (sources, targets),
            (_, false) => (targets, sources),
        };
        let (offsets, order, owner, other) = match form.back() {
            true => (edges.back_offsets(), Some(edges.back_edges()), edges.sources(), edges.targets()),
            false => (edges.offsets(), None, edges.targets(), edges.sources()),
        };
        let index = (!matches!(form, Form::GatherBack(_))).then_some(other);
        Self { n, rows, slots, offsets, order, index, owner }
    }
}

/// A sum over segments: x, what the form has beside it, y and winners to be written.
struct Job<'a> {
    op: &'a str,
    form: Form,
    x: &'a Tensor,
    beside: Vec<&'a Tensor>,
    y: &'a Tensor,
    winner: Option<&'a Tensor>,
    heads: usize,
}

fn reduce(plan: &mut PlanBuilder<'_>, edges: &Edges, job: &Job<'_>) -> Result<()> {
    reduce_segments(plan, &Segments::of(edges, job.form), job)
}

fn reduce_segments(plan: &mut PlanBuilder<'_>, segments: &Segments<'_>, job: &Job<'_>) -> Result<()> {
    let Job { op, form, x, y, .. } = *job;
    let Segments { n, rows, slots, .. } = *segments;
    let f = y.len() / n;
    let head = f / job.heads;
    let width = vectorised(Variant::new(), &[head]).1;
    let columns = f / width;
    let shape = shape(plan.engine(), columns);
    let lanes = columns.div_ceil(shape.0);
    let slice = slice(slots);
    let slices = slots.div_ceil(slice);
    let mut common: Vec<&Tensor> = vec![x];
    common.extend(&job.beside);
    common.push(segments.offsets);
    common.extend(segments.order);
    common.extend(segments.index);
    let scratch = match slices {
        1 => None,
        _ => {
            let sums = plan.engine().tensor("partial sums", &[slices, 2, f], DType::F32)?;
            let winners = match form {
                Form::Max => Some(plan.engine().tensor("partial winners", &[slices, 2, f], DType::U32)?),
                _ => None,
            };
            Some((sums, winners))
        }
    };
    let mut go = |pass: Pass, units: usize, extra: Vec<&Tensor>, cost: Cost| {
        let (variant, _) = vectorised(form.variant(pass, shape), &[head]);
        let total = units * lanes;
        let params = Params::new([total, lanes, columns, n, rows, slots, head / width, job.heads, slice], 0.0);
        let bindings: Vec<_> = common.iter().copied().chain(extra).map(Into::into).collect();
        plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::for_items(total, 64), cost)
    };
    let each = if matches!(form, Form::Weighted { edge: true } | Form::MaxBack) { 8 } else { 4 };
    let cost = Cost { flops: (slots * f) as f64, bytes: (each * slots * f) as f64 + y.bytes() as f64 };
    match &scratch {
        None => go(Pass::Whole, n, [y].into_iter().chain(job.winner).collect(), cost),
        Some((sums, winners)) => {
            let small = Cost::bytes(16 * slices as u64);
            go(Pass::Hubs, slices, [segments.owner, sums].into_iter().chain(winners).collect(), small)?;
            let rest = [sums].into_iter().chain(winners).chain([y]).chain(job.winner);
            go(Pass::Rest, n, rest.collect(), cost)
        }
    }
}

/// The winners that a maximum must have and nothing else may.
fn check_winner(op: &str, reduce: Reduce, n: usize, f: usize, winner: Option<&Tensor>) -> Result<()> {
    match (reduce, winner) {
        (Reduce::Max, Some(t)) if t.dtype() == DType::U32 && t.len() == n * f => Ok(()),
        (Reduce::Max, other) => {
            Err(Error::shape(op, format!("the winners of a maximum must be U32 [{n}, {f}], not {:?}", other.map(Tensor::shape))))
        }
        (_, None) => Ok(()),
        (_, Some(_)) => Err(Error::shape(op, "only a maximum has winners")),
    }
}

/// Appends y \[N, F\] from x \[M, F\]: each target's messages, the rows of the sources of its edges, as one; 0 where there is none. A
/// maximum needs `winner` \[N, F\] u32, which gets the edge that won, [`EMPTY`](super::edges::EMPTY) where there is none.
///
/// # Errors
/// Shapes differ from these; winners missing, or given without a maximum.
pub fn forward(plan: &mut PlanBuilder<'_>, kind: Reduce, edges: &Edges, x: &Tensor, y: &Tensor, winner: Option<&Tensor>) -> Result<()> {
    let op = "message";
    let [n, m, _] = edges.counts();
    let f = same_rows(op, ("x", x, m), ("y", y, n))?;
    check_winner(op, kind, n, f, winner)?;
    let form = match kind {
        Reduce::Sum => Form::Sum,
        Reduce::Mean => Form::Mean,
        Reduce::Max => Form::Max,
    };
    reduce(plan, edges, &Job { op, form, x, beside: Vec::new(), y, winner, heads: 1 })
}

/// Appends dx \[M, F\] from dy \[N, F\] and, for a maximum, the winners of [`forward`].
///
/// # Errors
/// As [`forward`].
pub fn backward(plan: &mut PlanBuilder<'_>, kind: Reduce, edges: &Edges, dy: &Tensor, winner: Option<&Tensor>, dx: &Tensor) -> Result<()> {
    let op = "message backward";
    let [n, m, _] = edges.counts();
    let f = same_rows(op, ("dy", dy, n), ("dx", dx, m))?;
    check_winner(op, kind, n, f, winner)?;
    let (form, beside) = match kind {
        Reduce::Sum => (Form::SumBack, Vec::new()),
        Reduce::Mean => (Form::MeanBack, vec![edges.offsets()]),
        Reduce::Max => (Form::MaxBack, winner.into_iter().collect()),
    };
    reduce(plan, edges, &Job { op, form, x: dy, beside, y: dx, winner: None, heads: 1 })
}

/// The heads of w \[E, H\], which must divide a row of `f` values.
fn heads(op: &str, edges: &Edges, w: &Tensor, f: usize) -> Result<usize> {
    let h = row_len(op, "w", w, edges.counts()[2])?;
    if !f.is_multiple_of(h) {
        return Err(Error::shape(op, format!("rows of {f} values do not divide into {h} heads")));
    }
    Ok(h)
}

/// Appends y \[N, H, D\] from x \[M, H, D\] and weights w \[E, H\]: y\[i, h\] = sum over the edges e into i of
/// w\[e, h\] (x\[source, h\] + z\[e, h\]), with the edges' own features z \[E, H, D\] where given. H and D may be one extent in all three.
///
/// # Errors
/// Shapes differ from these.
pub fn attend(plan: &mut PlanBuilder<'_>, edges: &Edges, x: &Tensor, w: &Tensor, z: Option<&Tensor>, y: &Tensor) -> Result<()> {
    let op = "attend";
    let [n, m, slots] = edges.counts();
    let f = same_rows(op, ("x", x, m), ("y", y, n))?;
    let heads = heads(op, edges, w, f)?;
    let mut beside = vec![w];
    if let Some(z) = z {
        same_rows(op, ("x", x, m), ("z", z, slots))?;
        beside.push(z);
    }
    reduce(plan, edges, &Job { op, form: Form::Weighted { edge: z.is_some() }, x, beside, y, winner: None, heads })
}

/// What the gradient of [`attend`] reads and writes; gradients that nobody needs are none.
#[derive(Debug, Clone, Copy)]
pub struct AttendBackward<'a> {
    /// \[M, H, D\]
    pub x: &'a Tensor,
    /// \[E, H\]
    pub w: &'a Tensor,
    /// \[E, H, D\], where forward had it.
    pub z: Option<&'a Tensor>,
    /// \[N, H, D\]
    pub dy: &'a Tensor,
    /// \[M, H, D\]
    pub dx: Option<&'a Tensor>,
    /// \[E, H\]; 0 in slots without an edge.
    pub dw: Option<&'a Tensor>,
    /// \[E, H, D\]; 0 in slots without an edge.
    pub dz: Option<&'a Tensor>,
}

/// Appends the gradients of [`attend`].
///
/// # Errors
/// Shapes differ from those of the forward pass.
pub fn attend_backward(plan: &mut PlanBuilder<'_>, edges: &Edges, io: &AttendBackward<'_>) -> Result<()> {
    let op = "attend backward";
    let [n, m, slots] = edges.counts();
    let f = same_rows(op, ("x", io.x, m), ("dy", io.dy, n))?;
    let heads = heads(op, edges, io.w, f)?;
    if let Some(z) = io.z {
        same_rows(op, ("x", io.x, m), ("z", z, slots))?;
    }
    if let Some(dx) = io.dx {
        same_rows(op, ("dy", io.dy, n), ("dx", dx, m))?;
        let job = Job { op, form: Form::WeightedBack, x: io.dy, beside: vec![io.w], y: dx, winner: None, heads };
        reduce(plan, edges, &job)?;
    }
    if let Some(dz) = io.dz {
        same_rows(op, ("dy", io.dy, n), ("dz", dz, slots))?;
        spread(plan, op, edges.rows_at(End::Target), io.dy, Some((io.w, heads)), dz)?;
    }
    if let Some(dw) = io.dw {
        expect_shape(op, "dw", dw, io.w.shape())?;
        let lanes = if plan.engine().caps().software || f / heads < 32 { 1 } else { 8 };
        let (variant, width) = vectorised(dots_variant(io.z.is_some(), lanes), &[f / heads]);
        let total = slots * heads * lanes as usize;
        let params = Params::new([total, 1, f / width, n, m, slots, f / heads / width, heads, 0], 0.0);
        let bindings: Vec<_> =
            [io.dy, io.x].into_iter().chain(io.z).chain([edges.targets(), edges.sources(), dw]).map(Into::into).collect();
        let rows = if io.z.is_some() { 12 } else { 8 };
        let cost = Cost { flops: (2 * slots * f) as f64, bytes: (rows * slots * f) as f64 };
        plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::for_items(total, 64), cost)?;
    }
    Ok(())
}

/// Rows of x, of which there are `rows`, by the number of each edge, times the edge's weights where given; 0 where that is no row's.
pub(crate) fn spread(
    plan: &mut PlanBuilder<'_>,
    op: &str,
    (index, rows): (&Tensor, usize),
    x: &Tensor,
    weights: Option<(&Tensor, usize)>,
    y: &Tensor,
) -> Result<()> {
    let slots = index.len();
    let f = y.len() / slots;
    let heads = weights.map_or(1, |w| w.1);
    let width = vectorised(Variant::new(), &[f / heads]).1;
    let columns = f / width;
    let cols = shape(plan.engine(), columns).0;
    let (variant, _) = vectorised(spread_variant(weights.is_some(), cols), &[f / heads]);
    let lanes = columns.div_ceil(cols);
    let total = slots * lanes;
    let params = Params::new([total, lanes, columns, slots, rows, slots, f / heads / width, heads, 0], 0.0);
    let bindings: Vec<_> = [x].into_iter().chain(weights.map(|w| w.0)).chain([index, y]).map(Into::into).collect();
    let cost = Cost::bytes(2 * y.bytes());
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::for_items(total, 64), cost)
}

/// Appends y \[E, F\]: for each edge the row of x at one of its ends, 0 in slots without an edge. x is \[M, F\] for sources, \[N, F\]
/// for targets.
///
/// # Errors
/// Shapes differ from these.
pub fn gather(plan: &mut PlanBuilder<'_>, edges: &Edges, end: End, x: &Tensor, y: &Tensor) -> Result<()> {
    let op = "gather";
    let at = edges.rows_at(end);
    same_rows(op, ("x", x, at.1), ("y", y, edges.counts()[2]))?;
    spread(plan, op, at, x, None, y)
}

/// Appends dx from dy \[E, F\], the sum over each row's edges; what slots without an edge hold does not count.
///
/// # Errors
/// As [`gather`].
pub fn gather_backward(plan: &mut PlanBuilder<'_>, edges: &Edges, end: End, dy: &Tensor, dx: &Tensor) -> Result<()> {
    let op = "gather backward";
    let (_, rows) = edges.rows_at(end);
    same_rows(op, ("dy", dy, edges.counts()[2]), ("dx", dx, rows))?;
    reduce(plan, edges, &Job { op, form: Form::GatherBack(end), x: dy, beside: Vec::new(), y: dx, winner: None, heads: 1 })
}

/// Appends y \[N, F\], the sums of the rows x \[E, F\] of each segment's edges, which have an order.
pub(crate) fn sum_segments(plan: &mut PlanBuilder<'_>, op: &str, segments: &Segments<'_>, x: &Tensor, y: &Tensor) -> Result<()> {
    let form = Form::GatherBack(End::Source);
    reduce_segments(plan, segments, &Job { op, form, x, beside: Vec::new(), y, winner: None, heads: 1 })
}

/// Appends y \[E, F\]: for each edge LeakyReLU(to + x + z) of the target's row of `to` \[N, F\], the source's of x \[M, F\] and its own of z
/// \[E, F\]; 0 in slots without an edge. It is what attention is computed from in Brody et al., "How attentive are graph attention
/// networks?", 2022. `slope` is above 0.
///
/// # Errors
/// Shapes differ from these; another slope.
pub fn edge_sum(plan: &mut PlanBuilder<'_>, edges: &Edges, to: &Tensor, x: &Tensor, z: &Tensor, slope: f32, y: &Tensor) -> Result<()> {
    let op = "edge sum";
    let [n, m, slots] = edges.counts();
    same_rows(op, ("to", to, n), ("y", y, slots))?;
    same_rows(op, ("x", x, m), ("y", y, slots))?;
    same_rows(op, ("z", z, slots), ("y", y, slots))?;
    along(plan, op, edges, false, slope, &[to, x, z], y)
}

/// Appends dz \[E, F\] of [`edge_sum`] from dy and y; those of `to` and `x` are its [`gather_backward`].
///
/// # Errors
/// As [`edge_sum`].
pub fn edge_sum_backward(plan: &mut PlanBuilder<'_>, edges: &Edges, y: &Tensor, dy: &Tensor, slope: f32, dz: &Tensor) -> Result<()> {
    let op = "edge sum backward";
    let slots = edges.counts()[2];
    same_rows(op, ("y", y, slots), ("dz", dz, slots))?;
    same_rows(op, ("dy", dy, slots), ("dz", dz, slots))?;
    along(plan, op, edges, true, slope, &[y, dy], dz)
}

fn along(plan: &mut PlanBuilder<'_>, op: &str, edges: &Edges, backward: bool, slope: f32, read: &[&Tensor], out: &Tensor) -> Result<()> {
    if !(slope > 0.0 && slope.is_finite()) {
        return Err(Error::shape(op, format!("the slope must be above 0, not {slope}")));
    }
    let [n, m, slots] = edges.counts();
    let f = out.len() / slots;
    let width = vectorised(Variant::new(), &[f]).1;
    let columns = f / width;
    let cols = shape(plan.engine(), columns).0;
    let (variant, _) = vectorised(edge_sum_variant(backward, cols), &[f]);
    let lanes = columns.div_ceil(cols);
    let total = slots * lanes;
    let params = Params::new([total, lanes, columns, n, m, slots, columns, 1, 0], slope);
    let bindings: Vec<_> = read.iter().copied().chain([edges.targets(), edges.sources(), out]).map(Into::into).collect();
    let cost = Cost { flops: (3 * out.len()) as f64, bytes: ((read.len() + 1) as u64 * out.bytes()) as f64 };
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::for_items(total, 64), cost)
}

//! Softmax over the edges into each target: host side of `shaders/segment_softmax.wgsl`.

use super::edges::Edges;
use super::message::slice;
use super::{expect_shape, matrix_f32};
use crate::gpu::{Cost, DType, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("segment_softmax");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    total: u32,
    heads: u32,
    n: u32,
    slots: u32,
    slice: u32,
}

fn stats_variant(backward: bool, hub: bool, parts: bool) -> Variant {
    Variant::new().int("KIND", 0).flag("BACKWARD", backward).flag("HUB", hub).flag("PARTS", parts)
}

fn edge_variant(backward: bool) -> Variant {
    Variant::new().int("KIND", 1).flag("BACKWARD", backward)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let passes = [(false, false), (true, false), (false, true)];
    [false, true].into_iter().flat_map(|b| passes.map(|(h, p)| stats_variant(b, h, p)).into_iter().chain([edge_variant(b)])).collect()
}

fn run(plan: &mut PlanBuilder<'_>, op: &str, edges: &Edges, from: &[&Tensor], y: &Tensor, backward: bool) -> Result<()> {
    let [n, _, slots] = edges.counts();
    let (e, heads) = matrix_f32(op, "scores", from[0])?;
    if e != slots {
        return Err(Error::shape(op, format!("{e} rows for {slots} slots")));
    }
    for t in from.iter().chain([&y]) {
        expect_shape(op, "weights", t, &[slots, heads])?;
    }
    let engine = plan.engine();
    let slice = slice(slots);
    let slices = slots.div_ceil(slice);
    let width = if backward { 1 } else { 2 };
    let stats = engine.tensor("softmax of segments", &[n, heads, width], DType::F32)?;
    let parts = match slices {
        1 => None,
        _ => Some(engine.tensor("partial softmax", &[slices, 2, heads, width], DType::F32)?),
    };
    let mut go = |variant: &Variant, units: usize, beside: &[&Tensor], bytes: u64| {
        let params = [units * heads, heads, n, slots, slice].map(|v| v as u32);
        let params: Params = bytemuck::cast(params);
        let bindings: Vec<_> = from.iter().chain(beside).map(|t| (*t).into()).collect();
        plan.dispatch(op, &SHADER, variant, &bindings, &params, Groups::for_items(units * heads, 64), Cost::bytes(bytes))
    };
    let bytes = from[0].bytes();
    match &parts {
        None => go(&stats_variant(backward, false, false), n, &[edges.offsets(), &stats], 2 * bytes)?,
        Some(sums) => {
            go(&stats_variant(backward, true, false), slices, &[edges.offsets(), edges.targets(), sums], sums.bytes())?;
            go(&stats_variant(backward, false, true), n, &[edges.offsets(), sums, &stats], 2 * bytes)?;
        }
    }
    go(&edge_variant(backward), slots, &[edges.targets(), &stats, y], (2 + u64::from(backward)) * bytes)
}

/// Appends w \[E, H\] from scores s \[E, H\]: over the edges into each target, a head at a time, positive and of sum 1. A score of
/// -infinity gives weight 0 (a target with no other gives 0 for all); NaN and +infinity make the target's weights NaN. Slots
/// without an edge get 0.
///
/// # Errors
/// Shapes differ from these.
pub fn forward(plan: &mut PlanBuilder<'_>, edges: &Edges, s: &Tensor, w: &Tensor) -> Result<()> {
    run(plan, "segment softmax", edges, &[s], w, false)
}

/// Appends ds \[E, H\] from the weights w of [`forward`] and dw, both \[E, H\].
///
/// # Errors
/// As [`forward`].
pub fn backward(plan: &mut PlanBuilder<'_>, edges: &Edges, w: &Tensor, dw: &Tensor, ds: &Tensor) -> Result<()> {
    run(plan, "segment softmax backward", edges, &[w, dw], ds, true)
}

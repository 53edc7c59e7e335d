//! Graphs of nearest neighbours from positions: host side of `shaders/knn.wgsl`.

use super::edges::{EMPTY, Edges};
use super::{by_eights, eights, expect};
use crate::gpu::{Cost, DType, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("knn");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Most edges of one graph, K times neighbours: no invocation walks more (see the shader on loops).
pub const MOST: usize = 1 << 17;

/// Neighbours kept in registers; more take another round over the candidates.
const SLOTS: i64 = 8;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    batch: u32,
    k: u32,
    near: u32,
    slots: u32,
}

fn variant(kind: i64, lanes: bool) -> Variant {
    Variant::new().int("KIND", kind).flag("LANES", lanes).int("SLOTS", SLOTS)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    [(0, false), (1, false), (1, true), (2, false), (2, true)].map(|(kind, lanes)| variant(kind, lanes)).to_vec()
}

/// Positions in metres as [`knn`] takes them, from those of `graphs` in any metric coordinates: each graph's first position is
/// subtracted in f64, then the difference is rounded. An f32 holds coordinates of a map projection (some 5,000,000 m) to 0.25 m
/// only; relative to a point 10 km away it holds them to 0.5 mm. Places beyond a graph's last are 0.
///
/// # Errors
/// A graph with more than `k` positions.
pub fn relative(graphs: &[&[[f64; 2]]], k: usize) -> Result<(Vec<f32>, Vec<u32>)> {
    let mut all = vec![0.0; graphs.len() * k * 2];
    for (b, graph) in graphs.iter().enumerate() {
        if graph.len() > k {
            return Err(Error::shape("knn", format!("graph {b} has {} positions, room for {k}", graph.len())));
        }
        for (i, p) in graph.iter().enumerate() {
            (0..2).for_each(|axis| all[(b * k + i) * 2 + axis] = (p[axis] - graph[0][axis]) as f32);
        }
    }
    Ok((all, graphs.iter().map(|g| g.len() as u32).collect()))
}

/// Appends the edges of B graphs: into each of the first counts\[b\] (u32 \[B\], at most K) nodes of graph b come edges from
/// the `near` nodes of the same graph nearest to it (from all others where there are fewer), nearest first, the lower number first of
/// equals. Node i of graph b is row b K + i of B K on either side of `edges`, which must have B K `near` slots; rows beyond a graph's count
/// get no edge. delta \[B K near, 2\] gets each edge's place of the source less that of the target.
///
/// Positions \[B, K, 2\] are f32 and best near the origin (see [`relative`]). Differences are taken first, so a common offset costs what
/// rounding the positions cost and no more: where two positions are within a factor of 2 of each other, their difference is exact. Squared
/// distances are off by at most 3 roundings (relative 2e-7): neighbours closer to a tie than that may change places. The work
/// grows with K²; K `near` must not exceed [`MOST`]: 32 neighbours where K is 4,096.
///
/// # Errors
/// Shapes differ from these, `near` is 0, there are more slots than u32 counts, or K `near` exceeds [`MOST`].
pub fn knn(plan: &mut PlanBuilder<'_>, positions: &Tensor, counts: &Tensor, near: usize, edges: &Edges, delta: &Tensor) -> Result<()> {
    let op = "knn";
    let &[batch, k, 2] = positions.shape() else {
        return Err(Error::shape(op, format!("`positions` must be [B, K, 2], not {:?}", positions.shape())));
    };
    expect(op, "positions", positions, &[batch, k, 2], DType::F32)?;
    expect(op, "counts", counts, &[batch], DType::U32)?;
    let nodes = batch * k;
    let slots = nodes.saturating_mul(near);
    if slots == 0 || slots >= EMPTY as usize {
        return Err(Error::shape(op, format!("{near} neighbours of {batch} x {k} nodes")));
    }
    // Four for each neighbour: free slots are emptied one by one.
    let work = (k * near.min(k)).max(4 * near);
    if work > MOST {
        let (op, what, advice) = (op.into(), "neighbours of a graph's nodes".into(), "use smaller graphs or fewer neighbours".into());
        return Err(Error::Limit { op, what, need: work as u64, limit: MOST as u64, advice });
    }
    if edges.counts() != [nodes, nodes, slots] {
        let [n, m, e] = edges.counts();
        return Err(Error::shape(op, format!("{slots} edges of {nodes} nodes, room for {e} edges from {m} to {n}")));
    }
    expect(op, "delta", delta, &[slots, 2], DType::F32)?;
    let engine = plan.engine();
    let starts = engine.tensor("where graphs begin", &[batch + 1], DType::U32)?;
    let lanes = by_eights(engine);
    let groups = || eights(lanes, batch, k);
    let params = Params { batch: batch as u32, k: k as u32, near: near as u32, slots: slots as u32 };
    plan.dispatch(
        op,
        &SHADER,
        &variant(0, false),
        &[counts.into(), (&starts).into()],
        &params,
        Groups::Linear(1),
        Cost::bytes(counts.bytes()),
    )?;
    let bindings = [positions, counts, &starts, edges.offsets(), edges.sources(), edges.targets(), delta].map(Into::into);
    let rounds = near.min(k).div_ceil(SLOTS as usize);
    let cost = Cost { flops: (nodes * k * 5 * rounds) as f64, bytes: (20 * slots) as f64 };
    plan.dispatch(op, &SHADER, &variant(1, lanes), &bindings, &params, groups(), cost)?;
    let bindings = [counts, &starts, edges.sources(), edges.back_offsets(), edges.back_edges()].map(Into::into);
    let cost = Cost { flops: (2 * slots * k) as f64, bytes: (8 * slots) as f64 };
    plan.dispatch(op, &SHADER, &variant(2, lanes), &bindings, &params, groups(), cost)
}

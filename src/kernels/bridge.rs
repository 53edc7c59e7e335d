//! The loss of a bridge network: host side of `shaders/bridge.wgsl`.

use super::{LANES, expect, expect_shape, lanes, matrix_f32};
use crate::gpu::{Cost, DType, Engine, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("bridge");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Turns of loops an invocation takes on a software adapter, at most: llvmpipe ends all loops at 65,535 together, and silently.
const TURNS: usize = 55_000;

/// The loss's constants (the matching network of Huang et al., "The QXS-SAROPT dataset for deep learning in SAR-optical data fusion", 2021,
/// section IV).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bridge {
    /// Weight of the negatives against that of the pairs.
    pub alpha: f32,
    /// Negatives of each pair.
    pub negatives: usize,
    /// Added to the mean square under the root: keeps its slope finite where two rows are equal.
    pub eps: f32,
}

impl Default for Bridge {
    fn default() -> Self {
        Self { alpha: 1.0, negatives: 1, eps: 1e-6 }
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    cols: u32,
    negatives: u32,
    alpha: f32,
    eps: f32,
    pull: f32,
    push: f32,
    nan: u32,
}

fn variant(kind: i64, lanes: i64) -> Variant {
    Variant::new().int("KIND", kind).int("LANES", lanes)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    LANES.into_iter().flat_map(|l| [variant(0, l), variant(1, l)]).chain((2..5).map(|kind| variant(kind, 64))).collect()
}

/// Shape of the `links` tensor (u32) for n rows: which negatives each row is.
pub fn links_shape(bridge: Bridge, n: usize) -> [usize; 1] {
    [n + n * bridge.negatives]
}

fn check(engine: &Engine, op: &str, bridge: Bridge, f: &Tensor, h: &Tensor, partners: &Tensor, distances: &Tensor) -> Result<Params> {
    let (n, c) = matrix_f32(op, "f", f)?;
    expect_shape(op, "h", h, &[n, c])?;
    let k = bridge.negatives;
    if k == 0 {
        return Err(Error::shape(op, "0 negatives a pair: there must be 1 or more"));
    }
    expect(op, "partners", partners, &[n * k], DType::U32)?;
    expect_shape(op, "distances", distances, &[n, 1 + k])?;
    if !(bridge.alpha.is_finite() && bridge.alpha >= 0.0) {
        return Err(Error::shape(op, format!("alpha {} is not 0 or above", bridge.alpha)));
    }
    if !(bridge.eps.is_finite() && bridge.eps > 0.0) {
        return Err(Error::shape(op, format!("eps {} is not above 0", bridge.eps)));
    }
    if n.saturating_mul(c.max(1 + k)) > u32::MAX as usize {
        return Err(Error::shape(op, format!("f [{n}, {c}] with {k} negatives a row: 2^32 elements or more")));
    }
    // A row of h looks through all negatives; a row of f goes over all its distances.
    let turns = (n * k).max((1 + k) * (1 + c.div_ceil(LANES[0] as usize)));
    if engine.caps().software && turns > TURNS {
        return Err(Error::Limit {
            op: op.into(),
            what: format!("turns of a loop over {n} rows of {c} with {k} negatives each"),
            need: turns as u64,
            limit: TURNS as u64,
            advice: "software adapters stop long loops: use a smaller batch or a GPU".into(),
        });
    }
    let pull = 2.0 / ((c * n) as f64 * (1.0 + f64::from(bridge.alpha)));
    let push = pull * f64::from(bridge.alpha) / k as f64;
    let [rows, cols, negatives] = [n, c, k].map(|v| v as u32);
    let (pull, push) = (pull as f32, push as f32);
    Ok(Params { rows, cols, negatives, alpha: bridge.alpha, eps: bridge.eps, pull, push, nan: f32::NAN.to_bits() })
}

/// Appends loss \[1\] over rows f [n, c] and h [n, c], of which row i belongs to row i, and the distances [n, 1 + K] of each pair and of its
/// K = [`Bridge::negatives`] negatives: row i of f with the rows of h that `partners` (u32, n K of them, row by row) names.
///
/// With d = sqrt(|f - h|^2 / c + eps), the loss is (mean of d^2 over the pairs + alpha mean of (d - 1)^2 over the negatives) / (1 + alpha).
/// A partner that is no row makes its distance, the loss and the row's gradient NaN. `terms` \[n\] is scratch.
///
/// # Errors
/// Shapes or types other than said; no negative; alpha below 0 or eps not above; over 55,000 negatives on a software adapter.
pub fn forward(
    plan: &mut PlanBuilder<'_>,
    bridge: Bridge,
    f: &Tensor,
    h: &Tensor,
    partners: &Tensor,
    distances: &Tensor,
    terms: &Tensor,
    loss: &Tensor,
) -> Result<()> {
    let op = "bridge";
    let params = check(plan.engine(), op, bridge, f, h, partners, distances)?;
    let n = params.rows as usize;
    expect_shape(op, "terms", terms, &[n])?;
    expect_shape(op, "loss", loss, &[1])?;
    let lanes = lanes(plan.engine());
    let bindings = [f.into(), h.into(), partners.into(), distances.into(), terms.into()];
    let cost = Cost::bytes((1 + bridge.negatives as u64) * (f.bytes() + h.bytes()));
    plan.dispatch("bridge rows", &SHADER, &variant(0, lanes), &bindings, &params, Groups::Linear(n as u64), cost)?;
    let bindings = [terms.into(), loss.into()];
    plan.dispatch("bridge total", &SHADER, &variant(1, lanes), &bindings, &params, Groups::Linear(1), Cost::bytes(terms.bytes()))
}

/// What [`backward`] is given beside the rows and their partners.
#[derive(Debug, Clone, Copy)]
pub struct Gradients<'a> {
    /// Of the forward pass.
    pub distances: &'a Tensor,
    /// Scratch of [`links_shape`], u32.
    pub links: &'a Tensor,
    /// The gradient of the loss \[1\].
    pub dloss: &'a Tensor,
    /// Where that of f goes, if anybody needs it.
    pub df: Option<&'a Tensor>,
    /// Where that of h goes.
    pub dh: Option<&'a Tensor>,
}

/// Appends the gradients of the loss in f and h, times dloss \[1\]. What a row of h gets from the rows whose negative it is is added in
/// their order.
///
/// # Errors
/// As [`forward`].
pub fn backward(plan: &mut PlanBuilder<'_>, bridge: Bridge, f: &Tensor, h: &Tensor, partners: &Tensor, g: Gradients<'_>) -> Result<()> {
    let op = "bridge backward";
    let params = check(plan.engine(), op, bridge, f, h, partners, g.distances)?;
    expect_shape(op, "dloss", g.dloss, &[1])?;
    let groups = Groups::for_items(f.len(), 64);
    let cost = Cost::bytes((2 + bridge.negatives as u64) * f.bytes());
    if let Some(df) = g.df {
        expect_shape(op, "df", df, f.shape())?;
        let bindings = [f.into(), h.into(), partners.into(), g.distances.into(), g.dloss.into(), df.into()];
        plan.dispatch("bridge backward f", &SHADER, &variant(3, 64), &bindings, &params, groups, cost)?;
    }
    let Some(dh) = g.dh else { return Ok(()) };
    expect_shape(op, "dh", dh, h.shape())?;
    let n = params.rows as usize;
    expect(op, "links", g.links, &links_shape(bridge, n), DType::U32)?;
    let (bindings, rows) = ([partners.into(), g.links.into()], Groups::for_items(n, 64));
    plan.dispatch("bridge links", &SHADER, &variant(2, 64), &bindings, &params, rows, Cost::bytes(2 * g.links.bytes()))?;
    let bindings = [f.into(), h.into(), g.links.into(), g.distances.into(), g.dloss.into(), dh.into()];
    plan.dispatch("bridge backward h", &SHADER, &variant(4, 64), &bindings, &params, groups, cost)
}

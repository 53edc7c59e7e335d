//! Batch-hard triplet loss: host side of `shaders/triplet.wgsl`.

use super::{LANES, expect, expect_shape, lanes, matrix_f32};
use crate::gpu::{Cost, DType, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("triplet");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// The loss's constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Triplet {
    /// How much farther the hardest negative must be than the positive.
    pub margin: f32,
    /// log(1 + exp(u)) in the place of max(u, 0).
    pub soft: bool,
    /// Least squared distance: keeps the root's slope finite.
    pub eps: f32,
}

impl Default for Triplet {
    fn default() -> Self {
        Self { margin: 0.5, soft: false, eps: 1e-6 }
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    cols: u32,
    margin: f32,
    eps: f32,
}

fn variant(kind: i64, soft: bool, lanes: i64) -> Variant {
    Variant::new().int("KIND", kind).flag("SOFT", soft).int("LANES", lanes)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let kinds = [(0, false), (0, true), (1, false), (1, true), (2, false), (3, false)];
    LANES.into_iter().flat_map(|l| kinds.map(|(k, s)| variant(k, s, l))).collect()
}

/// Shape of the `records` tensor (u32) for a batch of `b`: what the forward pass leaves for the backward pass.
pub fn records_shape(b: usize) -> [usize; 3] {
    [2, b, 4]
}

fn check(op: &str, f: Triplet, shape: (usize, usize), records: &Tensor) -> Result<Params> {
    let (b, m) = shape;
    if m < b {
        return Err(Error::shape(op, format!("similarities [{b}, {m}]: fewer columns than rows")));
    }
    if m >= 1 << 24 {
        return Err(Error::shape(op, format!("similarities [{b}, {m}]: 2^24 columns or more")));
    }
    if f.eps.is_nan() || f.eps <= 0.0 {
        return Err(Error::shape(op, format!("eps {} is not above 0", f.eps)));
    }
    expect(op, "records", records, &records_shape(b), DType::U32)?;
    Ok(Params { rows: b as u32, cols: m as u32, margin: f.margin, eps: f.eps })
}

/// Appends loss \[1\] over similarities s [B, M] of unit rows, M >= B, the positive of row i in column i:
/// with d = sqrt(max(2 - 2 s, eps)), each row's f(d_ii - min_{j != i} d_ij + margin) and the same of each of the first B columns,
/// summed, over 2B. The hardest negative is the greatest s, the lowest index of equals; without one (B = M = 1) the term is 0.
///
/// # Errors
/// Shapes other than said; fewer columns than rows; eps not above 0.
pub fn forward(plan: &mut PlanBuilder<'_>, f: Triplet, s: &Tensor, records: &Tensor, loss: &Tensor) -> Result<()> {
    let op = "triplet";
    let params = check(op, f, matrix_f32(op, "s", s)?, records)?;
    expect_shape(op, "loss", loss, &[1])?;
    let lanes = lanes(plan.engine());
    let b = u64::from(params.rows);
    let bindings = [s.into(), records.into()];
    plan.dispatch("triplet rows", &SHADER, &variant(0, f.soft, lanes), &bindings, &params, Groups::Linear(b), Cost::bytes(s.bytes()))?;
    let groups = Groups::for_items(b as usize, lanes as usize);
    plan.dispatch("triplet columns", &SHADER, &variant(1, f.soft, lanes), &bindings, &params, groups, Cost::bytes(4 * b * b))?;
    let bindings = [records.into(), loss.into()];
    plan.dispatch("triplet total", &SHADER, &variant(2, false, lanes), &bindings, &params, Groups::Linear(1), Cost::bytes(32 * b))
}

/// Appends ds [B, M], the gradient of the loss times dloss \[1\], from the forward pass's `records`. A distance at its least has slope 0.
///
/// # Errors
/// As [`forward`].
pub fn backward(plan: &mut PlanBuilder<'_>, f: Triplet, records: &Tensor, dloss: &Tensor, ds: &Tensor) -> Result<()> {
    let op = "triplet backward";
    let params = check(op, f, matrix_f32(op, "ds", ds)?, records)?;
    expect_shape(op, "dloss", dloss, &[1])?;
    let bindings = [records.into(), dloss.into(), ds.into()];
    let variant = variant(3, false, lanes(plan.engine()));
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::for_items(ds.len(), 64), Cost::bytes(ds.bytes()))
}

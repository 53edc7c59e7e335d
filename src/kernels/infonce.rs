//! Symmetric InfoNCE: host side of `shaders/infonce.wgsl`.

use super::{LANES, expect_shape, lanes, matrix_f32};
use crate::gpu::{Binding, Cost, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("infonce");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// What the loss is taken of. z = min(exp(t), 100) s; the target of row i over its M columns is
/// (1 - smoothing) w_ij / sum_j w_ij + smoothing / M, of column j < B over its B rows (1 - smoothing) w_ij / sum_i w_ij + smoothing / B.
/// A row or column whose weights are all 0 has no positive and is left out (the mean stays over B).
#[derive(Debug, Clone, Copy)]
pub struct InfoNce<'a> {
    /// s [B, M], M >= B: products of unit rows. Columns beyond B are further negatives for the rows alone.
    pub similarity: &'a Tensor,
    /// t \[1\]: the logarithm of the logit scale (start: ln(1 / 0.07)).
    pub log_scale: &'a Tensor,
    /// w [B, B]: positive weights, not negative; `None` for the identity.
    pub weights: Option<&'a Tensor>,
    /// Label smoothing in [0, 1].
    pub smoothing: f32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    cols: u32,
    smooth: f32,
}

fn variant(kind: i64, weights: bool, lanes: i64) -> Variant {
    Variant::new().int("KIND", kind).flag("WEIGHTS", weights).int("LANES", lanes)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let kinds = [(0, false), (0, true), (1, false), (1, true), (2, false), (3, false), (3, true), (4, false)];
    LANES.into_iter().flat_map(|l| kinds.map(|(k, w)| variant(k, w, l))).collect()
}

/// Shape of the `stats` tensor for a batch of `b`: what the forward pass leaves for the backward pass.
pub fn stats_shape(b: usize) -> [usize; 3] {
    [2, b, 5]
}

impl<'a> InfoNce<'a> {
    fn check(&self, op: &str, stats: &Tensor) -> Result<Params> {
        let (b, m) = matrix_f32(op, "similarity", self.similarity)?;
        if m < b {
            return Err(Error::shape(op, format!("`similarity` is [{b}, {m}]: fewer columns than rows")));
        }
        if m >= 1 << 24 {
            return Err(Error::shape(op, format!("`similarity` is [{b}, {m}]: 2^24 columns or more")));
        }
        if !(0.0..=1.0).contains(&self.smoothing) {
            return Err(Error::shape(op, format!("smoothing {} is outside 0 to 1", self.smoothing)));
        }
        expect_shape(op, "log_scale", self.log_scale, &[1])?;
        if let Some(w) = self.weights {
            expect_shape(op, "weights", w, &[b, b])?;
        }
        expect_shape(op, "stats", stats, &stats_shape(b))?;
        Ok(Params { rows: b as u32, cols: m as u32, smooth: self.smoothing })
    }

    fn bindings(&self, rest: &[&'a Tensor]) -> Vec<Binding<'a>> {
        [self.similarity, self.log_scale].into_iter().chain(self.weights).chain(rest.iter().copied()).map(Binding::from).collect()
    }
}

/// Appends loss \[1\] = (cross-entropy of rows + of columns) / 2, each summed over the batch and divided by B, and
/// accuracy \[1\]: the share of rows whose greatest similarity (the first of equals) lies at the heaviest positive.
///
/// # Errors
/// Shapes other than said above; fewer columns than rows; smoothing outside 0 to 1.
pub fn forward<'a>(plan: &mut PlanBuilder<'_>, x: InfoNce<'a>, stats: &'a Tensor, loss: &'a Tensor, accuracy: &'a Tensor) -> Result<()> {
    let op = "infonce";
    let params = x.check(op, stats)?;
    expect_shape(op, "loss", loss, &[1])?;
    expect_shape(op, "accuracy", accuracy, &[1])?;
    let lanes = lanes(plan.engine());
    let (b, m) = (u64::from(params.rows), u64::from(params.cols));
    let bindings = x.bindings(&[stats]);
    let weighted = x.weights.is_some();
    let groups = Groups::Linear(b);
    plan.dispatch("infonce rows", &SHADER, &variant(0, weighted, lanes), &bindings, &params, groups, Cost::bytes(4 * b * m))?;
    let groups = Groups::for_items(b as usize, lanes as usize);
    plan.dispatch("infonce columns", &SHADER, &variant(1, weighted, lanes), &bindings, &params, groups, Cost::bytes(4 * b * b))?;
    let bindings = [stats.into(), loss.into(), accuracy.into()];
    plan.dispatch("infonce total", &SHADER, &variant(2, false, lanes), &bindings, &params, Groups::Linear(1), Cost::bytes(40 * b))
}

/// Appends ds [B, M] and dt \[1\], the gradients of the loss times dloss \[1\]; `stats` is the forward pass's, `partial` \[B\] scratch.
/// dt is 0 where exp(t) is beyond 100.
///
/// # Errors
/// As [`forward`].
pub fn backward<'a>(
    plan: &mut PlanBuilder<'_>,
    x: InfoNce<'a>,
    stats: &'a Tensor,
    dloss: &'a Tensor,
    ds: &'a Tensor,
    partial: &'a Tensor,
    dt: &'a Tensor,
) -> Result<()> {
    let op = "infonce backward";
    let params = x.check(op, stats)?;
    expect_shape(op, "dloss", dloss, &[1])?;
    expect_shape(op, "ds", ds, x.similarity.shape())?;
    expect_shape(op, "partial", partial, &[params.rows as usize])?;
    expect_shape(op, "dt", dt, &[1])?;
    let lanes = lanes(plan.engine());
    let (b, m) = (u64::from(params.rows), u64::from(params.cols));
    let bindings = x.bindings(&[stats, dloss, ds, partial]);
    let cost = Cost::bytes(8 * b * m);
    plan.dispatch(op, &SHADER, &variant(3, x.weights.is_some(), lanes), &bindings, &params, Groups::Linear(b), cost)?;
    let bindings = [partial.into(), dt.into()];
    plan.dispatch("infonce dt", &SHADER, &variant(4, false, lanes), &bindings, &params, Groups::Linear(1), Cost::bytes(4 * b))
}

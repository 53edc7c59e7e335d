//! Cross-entropy over the offsets of correlation surfaces: host side of `shaders/offset_xent.wgsl`.

use super::{LANES, expect_shape, lanes, nhwc};
use crate::gpu::{Cost, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("offset_xent");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// What the loss is taken of. z = min(exp(t), most) factor s; for patch p,
/// loss_p = log sum exp(z of all offsets of all windows) - log sum exp(z of the offsets within `radius` of the true one).
#[derive(Debug, Clone, Copy)]
pub struct OffsetXent<'a> {
    /// s [P, V, U, W]: score of patch p at row v and column u of window w. V U W is below 2^24.
    pub scores: &'a Tensor,
    /// [P, 4]: row, column and window of the true offset (row and column may lie between offsets), and a number not looked at. A
    /// patch with no offset within reach, or with a NaN here, is left out: its loss and gradient are 0, the mean stays over P.
    pub target: &'a Tensor,
    /// t \[1\]: the logarithm of the logit scale.
    pub log_scale: &'a Tensor,
    /// A fixed factor of the scores, above 0.
    pub factor: f32,
    /// Offsets this far from the true one count as right (a Euclidean disc, pixels); 0 for the true one alone.
    pub radius: f32,
    /// Largest logit scale.
    pub most: f32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    patches: u32,
    rows: u32,
    columns: u32,
    windows: u32,
    chunk: u32,
    chunks: u32,
    radius: f32,
    scale: f32,
    most: f32,
}

/// Scores of a patch that one group reads.
const CHUNK: usize = 4096;

fn variant(kind: i64, lanes: i64) -> Variant {
    Variant::new().int("KIND", kind).int("LANES", lanes)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    LANES.into_iter().flat_map(|l| (0..5).map(move |k| variant(k, l))).collect()
}

/// Shape of the scratch `parts` for scores [P, V, U, W].
pub fn parts_shape(scores: &[usize]) -> [usize; 3] {
    let patch: usize = scores[1..].iter().product();
    [scores[0], patch.div_ceil(CHUNK), 4]
}

/// Shape of `stats` for `patches`: what forward leaves for backward. Column [`LOSS`] holds each patch's loss, column [`HIT`] 1 where
/// its largest score lies in the disc.
pub fn stats_shape(patches: usize) -> [usize; 2] {
    [patches, 8]
}

/// Column of the patch's loss in `stats`.
pub const LOSS: usize = 4;

/// Column of the patch's hit in `stats`.
pub const HIT: usize = 5;

impl OffsetXent<'_> {
    fn check(&self, op: &str, stats: &Tensor) -> Result<Params> {
        let shape @ [p, v, u, w] = nhwc(op, "scores", self.scores)?;
        if v * u * w >= 1 << 24 {
            return Err(Error::shape(op, format!("`scores` is {shape:?}: 2^24 offsets or more")));
        }
        if !(0.0..1024.0).contains(&self.radius) {
            return Err(Error::shape(op, format!("radius {} is outside 0 to 1024", self.radius)));
        }
        for (name, v) in [("factor", self.factor), ("largest scale", self.most)] {
            if !(v > 0.0 && v.is_finite()) {
                return Err(Error::shape(op, format!("the {name} must be above 0, not {v}")));
            }
        }
        expect_shape(op, "target", self.target, &[p, 4])?;
        expect_shape(op, "log_scale", self.log_scale, &[1])?;
        expect_shape(op, "stats", stats, &stats_shape(p))?;
        let [patches, rows, columns, windows, chunk, chunks] = [p, v, u, w, CHUNK, parts_shape(&shape)[1]].map(|v| v as u32);
        Ok(Params { patches, rows, columns, windows, chunk, chunks, radius: self.radius, scale: self.factor, most: self.most })
    }
}

/// Appends loss \[1\], the mean of the patches' losses, and accuracy \[1\], the share of patches whose largest score (the first of
/// equals) lies in the disc. `parts` is scratch of [`parts_shape`], `stats` of [`stats_shape`] is for [`backward`].
///
/// # Errors
/// Shapes other than said; 2^24 offsets or more; a radius outside 0 to 1024; a factor or largest scale not above 0.
pub fn forward<'a>(
    plan: &mut PlanBuilder<'_>,
    x: OffsetXent<'a>,
    parts: &'a Tensor,
    stats: &'a Tensor,
    loss: &'a Tensor,
    accuracy: &'a Tensor,
) -> Result<()> {
    let op = "offset xent";
    let params = x.check(op, stats)?;
    expect_shape(op, "parts", parts, &parts_shape(x.scores.shape()))?;
    expect_shape(op, "loss", loss, &[1])?;
    expect_shape(op, "accuracy", accuracy, &[1])?;
    let lanes = lanes(plan.engine());
    let patches = u64::from(params.patches);
    let groups = Groups::Linear(patches * u64::from(params.chunks));
    let bindings = [x.scores.into(), x.log_scale.into(), parts.into()];
    plan.dispatch("offset xent parts", &SHADER, &variant(0, lanes), &bindings, &params, groups, Cost::bytes(x.scores.bytes()))?;
    let bindings = [x.scores, x.log_scale, x.target, parts, stats].map(Into::into);
    let cost = Cost::bytes(parts.bytes() + stats.bytes());
    plan.dispatch("offset xent patches", &SHADER, &variant(1, lanes), &bindings, &params, Groups::Linear(patches), cost)?;
    let bindings = [stats.into(), loss.into(), accuracy.into()];
    plan.dispatch("offset xent total", &SHADER, &variant(2, lanes), &bindings, &params, Groups::Linear(1), Cost::bytes(stats.bytes()))
}

/// Appends ds [P, V, U, W] and dt \[1\], the gradients of the loss times dloss \[1\]; `stats` is the forward pass's. dt is 0 where
/// exp(t) is beyond the largest scale.
///
/// # Errors
/// As [`forward`].
pub fn backward<'a>(
    plan: &mut PlanBuilder<'_>,
    x: OffsetXent<'a>,
    stats: &'a Tensor,
    dloss: &'a Tensor,
    ds: &'a Tensor,
    dt: &'a Tensor,
) -> Result<()> {
    let op = "offset xent backward";
    let params = x.check(op, stats)?;
    expect_shape(op, "dloss", dloss, &[1])?;
    expect_shape(op, "ds", ds, x.scores.shape())?;
    expect_shape(op, "dt", dt, &[1])?;
    let lanes = lanes(plan.engine());
    let groups = Groups::Linear(u64::from(params.patches) * u64::from(params.chunks));
    let bindings = [x.scores, x.log_scale, x.target, stats, dloss, ds].map(Into::into);
    plan.dispatch(op, &SHADER, &variant(3, lanes), &bindings, &params, groups, Cost::bytes(2 * ds.bytes()))?;
    let bindings = [stats, x.log_scale, dloss, dt].map(Into::into);
    plan.dispatch("offset xent dt", &SHADER, &variant(4, lanes), &bindings, &params, Groups::Linear(1), Cost::bytes(stats.bytes()))
}

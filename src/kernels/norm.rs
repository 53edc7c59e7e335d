//! Batch normalisation: host side of `shaders/norm.wgsl`.

use super::{
    Walk, both_widths, chunks, elementwise, expect, expect_shape, expect_stored, reduce, spread, stored, stored_both_ways,
    stored_rows_cols, vectorised,
};
use crate::gpu::{Binding, Cost, DType, Error, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("norm");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    walk: Walk,
    rows: u32,
    block: u32,
    eps: f32,
    momentum: f32,
}

/// The parameters of one layer; every tensor is \[C\].
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// Factor of each channel.
    pub gamma: &'a Tensor,
    /// Offset of each channel.
    pub beta: &'a Tensor,
    /// Added to the variance.
    pub eps: f32,
    /// max(.., 0) of the result.
    pub relu: bool,
}

/// Running statistics, \[C\] each; a training pass updates them.
#[derive(Debug, Clone, Copy)]
pub struct Running<'a> {
    /// Running mean.
    pub mean: &'a Tensor,
    /// Running variance (unbiased).
    pub var: &'a Tensor,
}

/// Where the statistics of the forward pass came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stats {
    /// From the batch: they depend on x.
    Batch,
    /// From the running statistics: constants.
    Frozen,
}

/// What [`backward`] reads and writes; dx is stored as x is.
#[derive(Debug, Clone, Copy)]
pub struct Backward<'a> {
    /// The forward pass's input.
    pub x: &'a Tensor,
    /// Mean and rstd, \[2, C\], as the forward pass left them.
    pub saved: &'a Tensor,
    /// Gradient of the output.
    pub dy: &'a Tensor,
    /// Gradient of the input to write.
    pub dx: &'a Tensor,
    /// Gradient of gamma to write.
    pub dgamma: &'a Tensor,
    /// Gradient of beta to write.
    pub dbeta: &'a Tensor,
    /// Add to dgamma and dbeta instead of overwriting them.
    pub accumulate: bool,
}

fn variant(kind: i64, relu: bool) -> Variant {
    Variant::new().int("KIND", kind).flag("RELU", relu)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let mut all = stored_both_ways([variant(0, false)], &["X"]);
    all.extend(both_widths((1..4).map(|k| variant(k, false))));
    all.extend(stored_both_ways((4..9).flat_map(|k| [false, true].map(|r| variant(k, r))), &["X", "Y"]));
    all
}

/// One dispatch of `split` chunks over `walked` rows.
#[derive(Clone, Copy)]
struct Step {
    kind: i64,
    relu: bool,
    walked: usize,
    split: usize,
    rows: usize,
    block: usize,
    c: usize,
    eps: f32,
    momentum: f32,
}

/// `images` names the types of x and y, as far as a kind reads or writes them.
fn step(plan: &mut PlanBuilder<'_>, op: &str, s: Step, images: &[(&'static str, DType)], bindings: &[&Tensor], bytes: u64) -> Result<()> {
    let (variant, vec) = vectorised(variant(s.kind, s.relu), &[s.c]);
    let variant = stored(variant, vec, images);
    let walk = Walk::new(plan.engine(), 1, s.walked * s.c / vec, s.c / vec, s.split);
    let params = Params { walk, rows: s.rows as u32, block: s.block as u32, eps: s.eps, momentum: s.momentum };
    let bindings: Vec<Binding<'_>> = bindings.iter().map(|t| Binding::from(*t)).collect();
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, walk.groups(), Cost::bytes(bytes))
}

fn expect_channels(op: &str, c: usize, tensors: &[(&str, &Tensor)]) -> Result<()> {
    tensors.iter().try_for_each(|(name, t)| expect_shape(op, name, t, &[c]))
}

/// Appends y = (x - mean) / sqrt(var + eps) * gamma + beta with the batch's own mean and (biased) variance of each channel
/// over all other extents, max(.., 0) of it with `relu`; saved \[2, C\] receives mean and 1 / sqrt(var + eps) for the
/// backward pass; running = (1 - momentum) running + momentum * (mean, unbiased variance), as PyTorch has it.
///
/// x and y may be stored as f16, each by itself, here as in all functions of this family; all else is f32.
///
/// # Errors
/// Shapes differ; fewer than two rows (no unbiased variance) or more than 2^24 (counts are f32).
pub fn forward_batch(
    plan: &mut PlanBuilder<'_>,
    norm: &Norm<'_>,
    running: &Running<'_>,
    momentum: f32,
    x: &Tensor,
    y: &Tensor,
    saved: &Tensor,
) -> Result<()> {
    let op = "norm";
    let (rows, c) = stored_rows_cols(op, "x", x)?;
    if !(2..=1 << 24).contains(&rows) {
        return Err(Error::shape(op, format!("batch statistics of {rows} values a channel; needs 2 to 2^24 (x is {:?})", x.shape())));
    }
    expect_channels(op, c, &[("running mean", running.mean), ("running var", running.var)])?;
    expect_shape(op, "saved", saved, &[2, c])?;
    let engine = plan.engine();
    let vec = if c.is_multiple_of(4) { 4 } else { 1 };
    let scratch = |split: usize| -> Result<(Tensor, Tensor)> {
        Ok((engine.tensor("norm scratch", &[split, c], DType::F32)?, engine.tensor("norm scratch", &[split, c], DType::F32)?))
    };
    let walk = Walk::new(engine, 1, x.len() / vec, c / vec, chunks(engine, rows, c / vec));
    let mut split = walk.chunks();
    let block = if engine.caps().software { (walk.span / walk.columns) as usize } else { 0 };
    let mut from = scratch(split)?;
    let base = Step { kind: 0, relu: false, walked: rows, split, rows, block, c, eps: norm.eps, momentum };
    step(plan, "norm statistics", base, &[("X", x.dtype())], &[x, &from.0, &from.1], x.bytes())?;
    loop {
        let next = chunks(engine, split, c / vec);
        if next == 1 || block > 0 {
            break;
        }
        let to = scratch(next)?;
        let merge = Step { kind: 1, walked: split, split: next, ..base };
        step(plan, "norm merge", merge, &[], &[&from.0, &from.1, &to.0, &to.1], 2 * from.0.bytes())?;
        (from, split) = (to, next);
    }
    let last = Step { kind: 2, walked: split, split: 1, ..base };
    step(plan, "norm merge", last, &[], &[&from.0, &from.1, saved, running.mean, running.var], 2 * from.0.bytes())?;
    apply(plan, norm, x, y, saved)
}

/// Appends y as [`forward_batch`] does, but with the running statistics, which stay as they are.
///
/// # Errors
/// Shapes differ.
pub fn forward_frozen(
    plan: &mut PlanBuilder<'_>,
    norm: &Norm<'_>,
    running: &Running<'_>,
    x: &Tensor,
    y: &Tensor,
    saved: &Tensor,
) -> Result<()> {
    let op = "norm frozen";
    let (rows, c) = stored_rows_cols(op, "x", x)?;
    expect_channels(op, c, &[("running mean", running.mean), ("running var", running.var)])?;
    expect_shape(op, "saved", saved, &[2, c])?;
    let s = Step { kind: 3, relu: false, walked: 1, split: 1, rows, block: 0, c, eps: norm.eps, momentum: 0.0 };
    step(plan, "norm frozen statistics", s, &[], &[running.mean, running.var, saved], 2 * saved.bytes())?;
    apply(plan, norm, x, y, saved)
}

fn apply(plan: &mut PlanBuilder<'_>, norm: &Norm<'_>, x: &Tensor, y: &Tensor, saved: &Tensor) -> Result<()> {
    let op = "norm";
    let (rows, c) = stored_rows_cols(op, "x", x)?;
    expect_stored(op, "y", y, x.shape())?;
    expect_channels(op, c, &[("gamma", norm.gamma), ("beta", norm.beta)])?;
    let split = spread(plan.engine(), rows);
    let s = Step { kind: 4, relu: norm.relu, walked: rows, split, rows, block: 0, c, eps: norm.eps, momentum: 0.0 };
    step(plan, op, s, &[("X", x.dtype()), ("Y", y.dtype())], &[x, saved, norm.gamma, norm.beta, y], x.bytes() + y.bytes())
}

/// Appends the gradients. With xh = (x - mean) rstd, g = dy (where xh gamma + beta > 0 after a ReLU) and R rows:
/// dbeta = sum g, dgamma = sum g xh, dx = gamma rstd (g - (dbeta + xh dgamma) / R), or gamma rstd g for frozen statistics.
///
/// # Errors
/// Shapes differ.
pub fn backward(plan: &mut PlanBuilder<'_>, norm: &Norm<'_>, stats: Stats, b: &Backward<'_>) -> Result<()> {
    let op = "norm backward";
    let (rows, c) = stored_rows_cols(op, "x", b.x)?;
    expect_stored(op, "dy", b.dy, b.x.shape())?;
    expect(op, "dx", b.dx, b.x.shape(), b.x.dtype())?;
    expect_shape(op, "saved", b.saved, &[2, c])?;
    expect_channels(op, c, &[("gamma", norm.gamma), ("beta", norm.beta), ("dgamma", b.dgamma), ("dbeta", b.dbeta)])?;
    let engine = plan.engine();
    let images = [("X", b.x.dtype()), ("Y", b.dy.dtype())];
    let columns = if c.is_multiple_of(4) { c / 4 } else { c };
    let split = Walk::new(engine, 1, rows * columns, columns, chunks(engine, rows, columns)).chunks();
    let partial = engine.tensor("norm scratch", &[split, 2, c], DType::F32)?;
    let base = Step { kind: 5, relu: norm.relu, walked: rows, split, rows, block: 0, c, eps: norm.eps, momentum: 0.0 };
    if stats == Stats::Frozen {
        let bindings = [b.x, b.saved, norm.gamma, norm.beta, b.dy, b.dx, &partial];
        step(plan, "norm frozen backward", Step { kind: 7, ..base }, &images, &bindings, 2 * b.x.bytes() + b.dy.bytes())?;
        return reduce::pairs(plan, &partial, b.dbeta, b.dgamma, b.accumulate);
    }
    step(plan, "norm backward sums", base, &images, &[b.x, b.saved, norm.gamma, norm.beta, b.dy, &partial], b.x.bytes() + b.dy.bytes())?;
    // dx needs this batch's sums alone, so gradients that are added to must be summed beside.
    let beside = b
        .accumulate
        .then(|| Ok::<_, Error>([engine.tensor("norm scratch", &[c], DType::F32)?, engine.tensor("norm scratch", &[c], DType::F32)?]));
    let beside = beside.transpose()?;
    let (sum_g, sum_gx) = beside.as_ref().map_or((b.dbeta, b.dgamma), |[g, gx]| (g, gx));
    reduce::pairs(plan, &partial, sum_g, sum_gx, false)?;
    if b.accumulate {
        elementwise::accumulate(plan, sum_g, 1.0, b.dbeta)?;
        elementwise::accumulate(plan, sum_gx, 1.0, b.dgamma)?;
    }
    let s = Step { kind: 6, split: spread(engine, rows), ..base };
    let bindings = [b.x, b.saved, norm.gamma, norm.beta, b.dy, sum_g, sum_gx, b.dx];
    step(plan, op, s, &images, &bindings, 2 * b.x.bytes() + b.dy.bytes())
}

/// Appends dx of [`backward`] for frozen statistics where gamma and beta are constants too: dx = gamma rstd g. dx is stored as x is.
///
/// # Errors
/// Shapes differ.
pub fn backward_constant(plan: &mut PlanBuilder<'_>, norm: &Norm<'_>, x: &Tensor, saved: &Tensor, dy: &Tensor, dx: &Tensor) -> Result<()> {
    let op = "norm constant backward";
    let (rows, c) = stored_rows_cols(op, "x", x)?;
    expect_stored(op, "dy", dy, x.shape())?;
    expect(op, "dx", dx, x.shape(), x.dtype())?;
    expect_shape(op, "saved", saved, &[2, c])?;
    expect_channels(op, c, &[("gamma", norm.gamma), ("beta", norm.beta)])?;
    let split = spread(plan.engine(), rows);
    let s = Step { kind: 8, relu: norm.relu, walked: rows, split, rows, block: 0, c, eps: norm.eps, momentum: 0.0 };
    let images = [("X", x.dtype()), ("Y", dy.dtype())];
    // Without a ReLU x is not read.
    let bytes = dx.bytes() + dy.bytes() + if norm.relu { x.bytes() } else { 0 };
    step(plan, op, s, &images, &[x, saved, norm.gamma, norm.beta, dy, dx], bytes)
}

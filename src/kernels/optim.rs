//! Optimiser steps and gradient clipping: host side of `shaders/optim.wgsl`.
//!
//! A plan is recorded once: what changes from step to step lies in a small tensor, [`Step`], that the host rewrites.

use super::{LANES, expect_shape, lanes, same_len};
use crate::gpu::{Binding, Cost, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("optim");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Gradient elements a workgroup sums.
const CHUNK: usize = 4096;

/// What changes at each step, as the `step` tensor \[8\] holds it. Write `tensor_values` into the tensor before each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Learning rate.
    pub lr: f32,
    /// Number of this step, from 1: sets the bias corrections.
    pub t: u32,
    /// Factor on every gradient (1 / accumulated batches, 1 / loss scale).
    pub grad_scale: f32,
    /// Share of the new weights in their running mean ([`mean`]).
    pub share: f32,
}

impl Step {
    /// Elements of the `step` tensor.
    pub const LEN: usize = 8;

    /// The tensor's contents: lr, 1 - beta1^t, 1 - beta2^t, gradient scale, share of the mean, zeros. SGD takes any betas.
    pub fn tensor_values(self, beta1: f32, beta2: f32) -> [f32; Self::LEN] {
        let correction = |b: f32| (1.0 - f64::from(b).powi(self.t.max(1).min(i32::MAX as u32) as i32)) as f32;
        [self.lr, correction(beta1), correction(beta2), self.grad_scale, self.share, 0.0, 0.0, 0.0]
    }
}

/// AdamW's constants for one parameter tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Decay of the mean.
    pub beta1: f32,
    /// Decay of the mean square.
    pub beta2: f32,
    /// Added to the root.
    pub eps: f32,
    /// Decoupled weight decay; 0 for biases, norms and the temperature.
    pub weight_decay: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 }
    }
}

/// SGD's constants for one parameter tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// Momentum, 0 for none.
    pub momentum: f32,
    /// Look one step ahead.
    pub nesterov: bool,
    /// Weight decay, added to the gradient as in PyTorch's SGD.
    pub weight_decay: f32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable, Default)]
struct Params {
    n: u32,
    offset: u32,
    a: f32,
    b: f32,
    eps: f32,
    decay: f32,
}

fn update_variant(kind: i64, clip: bool, nesterov: bool, width: i64) -> Variant {
    Variant::new().int("KIND", kind).flag("CLIP", clip).flag("NESTEROV", nesterov).int("WIDTH", width)
}

fn norm_variant(kind: i64, scaled: bool, lanes: i64) -> Variant {
    Variant::new().int("KIND", kind).flag("SCALED", scaled).int("LANES", lanes).int("CHUNK", CHUNK as i64)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    for clip in [false, true] {
        for width in [1, 4] {
            all.push(update_variant(0, clip, false, width));
            all.extend([false, true].map(|n| update_variant(1, clip, n, width)));
        }
    }
    all.extend([1, 4].map(|width| update_variant(4, false, false, width)));
    all.extend(LANES.into_iter().flat_map(|l| [norm_variant(2, false, l), norm_variant(3, false, l), norm_variant(3, true, l)]));
    all
}

fn width(n: usize) -> usize {
    if n.is_multiple_of(4) { 4 } else { 1 }
}

/// Appends one AdamW step on w with state m and v (zeros at first), all of one length:
/// m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w -= lr ((m / c1) / (sqrt(v / c2) + eps) + decay w),
/// with g the gradient times `step`'s scale and, where `clip` \[4\] is given, times its factor (no step at all if its skip flag is up).
///
/// # Errors
/// Element counts differ; step not \[8\]; clip not \[4\].
pub fn adamw(
    plan: &mut PlanBuilder<'_>,
    hyper: AdamW,
    grad: &Tensor,
    step: &Tensor,
    clip: Option<&Tensor>,
    w: &Tensor,
    m: &Tensor,
    v: &Tensor,
) -> Result<()> {
    let op = "adamw";
    let n = same_len(op, &[w, grad, m, v])?;
    let width = width(n);
    let params =
        Params { n: (n / width) as u32, a: hyper.beta1, b: hyper.beta2, eps: hyper.eps, decay: hyper.weight_decay, ..Params::default() };
    let bindings = bindings(op, grad, step, clip, &[w, m, v])?;
    let variant = update_variant(0, clip.is_some(), false, width as i64);
    let cost = Cost { flops: 14.0 * n as f64, bytes: 28.0 * n as f64 };
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::for_items(n / width, 64), cost)
}

/// Appends one SGD step on w with state m (zeros at first): g += decay w, m = momentum m + g,
/// w -= lr m, or lr (g + momentum m) with Nesterov; g, `step` and `clip` as in [`adamw`].
///
/// # Errors
/// As [`adamw`].
pub fn sgd(
    plan: &mut PlanBuilder<'_>,
    hyper: Sgd,
    grad: &Tensor,
    step: &Tensor,
    clip: Option<&Tensor>,
    w: &Tensor,
    m: &Tensor,
) -> Result<()> {
    let op = "sgd";
    let n = same_len(op, &[w, grad, m])?;
    let width = width(n);
    let params = Params { n: (n / width) as u32, a: hyper.momentum, decay: hyper.weight_decay, ..Params::default() };
    let bindings = bindings(op, grad, step, clip, &[w, m])?;
    let variant = update_variant(1, clip.is_some(), hyper.nesterov, width as i64);
    let cost = Cost { flops: 7.0 * n as f64, bytes: 20.0 * n as f64 };
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::for_items(n / width, 64), cost)
}

/// Appends mean += share (w - mean) with `step`'s share: a running mean of weights over steps (Polyak and Juditsky, "Acceleration of stochastic
/// approximation by averaging", 1992). With a share of 1 the mean becomes w.
///
/// # Errors
/// Element counts differ; step not \[8\].
pub fn mean(plan: &mut PlanBuilder<'_>, w: &Tensor, step: &Tensor, mean: &Tensor) -> Result<()> {
    let op = "running mean";
    let n = same_len(op, &[w, mean])?;
    expect_shape(op, "step", step, &[Step::LEN])?;
    let width = width(n);
    let params = Params { n: (n / width) as u32, ..Params::default() };
    let cost = Cost { flops: 3.0 * n as f64, bytes: 12.0 * n as f64 };
    let bindings = [w.into(), step.into(), mean.into()];
    plan.dispatch(op, &SHADER, &update_variant(4, false, false, width as i64), &bindings, &params, Groups::for_items(n / width, 64), cost)
}

fn bindings<'a>(op: &str, grad: &'a Tensor, step: &'a Tensor, clip: Option<&'a Tensor>, state: &[&'a Tensor]) -> Result<Vec<Binding<'a>>> {
    expect_shape(op, "step", step, &[Step::LEN])?;
    let mut all: Vec<Binding<'a>> = vec![grad.into(), step.into()];
    if let Some(clip) = clip {
        expect_shape(op, "clip", clip, &[4])?;
        all.push(clip.into());
    }
    all.extend(state.iter().map(|t| Binding::from(*t)));
    Ok(all)
}

/// A factor of the loss under which no gradient is lost to f16's range: it falls when one overflows, and rises again (Micikevicius et al.,
/// "Mixed precision training", 2018).
#[derive(Debug, Clone, Copy)]
pub struct LossScale<'a> {
    /// The factor \[1\], a power of two: what the backward pass starts from.
    pub scale: &'a Tensor,
    /// Steps in a row that were not skipped after which it doubles.
    pub growth: u32,
}

/// Partial sums that [`grad_norm`] needs for gradients of these lengths.
pub fn partials_len(grads: &[&Tensor]) -> usize {
    grads.iter().map(|g| g.len().div_ceil(CHUNK)).sum()
}

/// Appends the global norm of all gradients times `step`'s scale, and what to do about it, into clip \[4\]:
/// factor = min(1, max_norm / norm), skip = 0, norm, 0; where the norm is infinite or NaN (or its square overflows f32)
/// factor = 0 and skip = 1, and an optimiser given `clip` leaves everything as it is. `max_norm` may be infinite: then only that.
/// Sums run in a fixed order. With a loss scale the gradients are those of the scaled loss: norm and factor are over it; it is halved by a step that
/// is skipped, not below 1, and doubled after `growth` others in a row, up to 2^24; clip's last value, 0 at first, counts these.
///
/// # Errors
/// No gradient; partials not [`partials_len`]; step not \[8\]; clip not \[4\]; scale not \[1\]; max_norm not above 0.
pub fn grad_norm(
    plan: &mut PlanBuilder<'_>,
    grads: &[&Tensor],
    step: &Tensor,
    max_norm: f32,
    partials: &Tensor,
    clip: &Tensor,
    scale: Option<LossScale<'_>>,
) -> Result<()> {
    let op = "gradient norm";
    let count = partials_len(grads);
    if count == 0 {
        return Err(Error::shape(op, "no gradient given"));
    }
    if max_norm.is_nan() || max_norm <= 0.0 {
        return Err(Error::shape(op, format!("max_norm {max_norm} is not above 0")));
    }
    expect_shape(op, "partials", partials, &[count])?;
    expect_shape(op, "step", step, &[Step::LEN])?;
    expect_shape(op, "clip", clip, &[4])?;
    let lanes = lanes(plan.engine());
    let mut offset = 0;
    for grad in grads {
        let (n, groups) = (grad.len(), grad.len().div_ceil(CHUNK));
        let params = Params { n: n as u32, offset: offset as u32, ..Params::default() };
        let cost = Cost { flops: 2.0 * n as f64, bytes: 4.0 * n as f64 };
        let bindings = [(*grad).into(), partials.into()];
        plan.dispatch(op, &SHADER, &norm_variant(2, false, lanes), &bindings, &params, Groups::Linear(groups as u64), cost)?;
        offset += groups;
    }
    // An infinite limit as the largest float: infinity over a norm is no number to rely on.
    let growth = scale.map_or(0, |s| s.growth);
    let params = Params { n: count as u32, offset: growth, a: max_norm.min(f32::MAX), ..Params::default() };
    let mut bindings: Vec<Binding<'_>> = vec![partials.into(), step.into(), clip.into()];
    if let Some(LossScale { scale, .. }) = scale {
        expect_shape(op, "scale", scale, &[1])?;
        bindings.push(scale.into());
    }
    plan.dispatch(
        op,
        &SHADER,
        &norm_variant(3, scale.is_some(), lanes),
        &bindings,
        &params,
        Groups::Linear(1),
        Cost::bytes(4 * count as u64),
    )
}

//! Binary cross-entropy of logits, focal where wanted: host side of `shaders/binary_xent.wgsl`.

use super::{LANES, Walk, chunks, expect_shape, f32s, lanes, rows_cols, same_len, spread};
use crate::gpu::{Binding, Cost, DType, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("binary_xent");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// What the logits should say.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// The same of all: above 0 for true.
    All(bool),
    /// Of each, f32, as many as logits: 1 for above 0, 0 for below, or between.
    Each(&'a Tensor),
}

impl<'a> Target<'a> {
    fn tensor(self) -> Option<&'a Tensor> {
        match self {
            Self::All(_) => None,
            Self::Each(t) => Some(t),
        }
    }
}

/// How terms that are nearly right already count less (Lin, Goyal, Girshick, He, Dollár, "Focal loss for dense object detection", 2017).
/// The default is plain cross-entropy.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Focal {
    /// The power of the chance of a wrong answer that a term is multiplied by, p (1 - t) + (1 - p) t for the target t: 0 or more.
    pub gamma: f32,
    /// What a target of 1 weighs, from 0 to 1; a target of 0 weighs 1 less that. Both weigh 1 without.
    pub alpha: Option<f32>,
}

/// The loss: what it reads.
#[derive(Debug, Clone, Copy)]
pub struct BinaryXent<'a> {
    /// Logits of any shape, f32.
    pub z: &'a Tensor,
    /// What they should say.
    pub target: Target<'a>,
    /// A factor of each term, as many as logits. 0 masks a logit: whatever it and its target hold, it adds nothing and gets no gradient.
    pub weights: Option<&'a Tensor>,
    /// Which terms count less.
    pub focal: Focal,
    /// \[1\], what the sum of the terms is divided by where it is above 1, else by 1: the number of positives, for instance. Without
    /// it, by the number of logits, masked or not.
    pub divisor: Option<&'a Tensor>,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    walk: Walk,
    wanted: f32,
    positive: f32,
    negative: f32,
    gamma: f32,
    share: f32,
}

/// Flags that a kind does not read must be false, so that variants that are the same have one name.
fn variant(kind: i64, targets: bool, weighted: bool, focal: bool, divisor: bool, lanes: i64) -> Variant {
    let v = Variant::new().int("KIND", kind).flag("TARGETS", targets).flag("WEIGHTED", weighted);
    v.flag("FOCAL", focal).flag("DIVISOR", divisor).int("LANES", lanes)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let bits = |n: u32| (0..1u32 << n).map(|b| [0, 1, 2, 3].map(|i| b >> i & 1 == 1));
    let parts = bits(3).map(|[t, w, f, _]| variant(0, t, w, f, false, 64));
    let totals = LANES.into_iter().flat_map(|l| [false, true].map(|d| variant(1, false, false, false, d, l)));
    let backward = bits(4).map(|[t, w, f, d]| variant(2, t, w, f, d, 64));
    parts.chain(totals).chain(backward).collect()
}

impl<'a> BinaryXent<'a> {
    /// Of logits that should all say the same, each term as it is, over their number.
    pub fn all(z: &'a Tensor, target: bool) -> Self {
        Self { z, target: Target::All(target), weights: None, focal: Focal::default(), divisor: None }
    }

    fn check(&self, op: &str) -> Result<usize> {
        rows_cols(op, "z", self.z)?;
        for (name, t) in [("targets", self.target.tensor()), ("weights", self.weights)] {
            let Some(t) = t else { continue };
            f32s(op, &[t])?;
            if t.len() != self.z.len() {
                return Err(Error::shape(op, format!("`{name}` {:?} for logits {:?}", t.shape(), self.z.shape())));
            }
        }
        let Focal { gamma, alpha } = self.focal;
        if !(gamma >= 0.0 && gamma.is_finite()) {
            return Err(Error::shape(op, format!("gamma must be 0 or more, not {gamma}")));
        }
        if let Some(alpha) = alpha.filter(|a| !(0.0..=1.0).contains(a)) {
            return Err(Error::shape(op, format!("alpha must be from 0 to 1, not {alpha}")));
        }
        if let Some(divisor) = self.divisor {
            expect_shape(op, "divisor", divisor, &[1])?;
        }
        Ok(self.z.len())
    }

    fn params(&self, walk: Walk) -> Params {
        let wanted = f32::from(u8::from(matches!(self.target, Target::All(true))));
        let [positive, negative] = self.focal.alpha.map_or([1.0; 2], |a| [a, 1.0 - a]);
        Params { walk, wanted, positive, negative, gamma: self.focal.gamma, share: 1.0 / self.z.len() as f32 }
    }

    /// Logits, and what there is of each.
    fn elements(&self) -> Vec<&'a Tensor> {
        [self.z].into_iter().chain(self.target.tensor()).chain(self.weights).collect()
    }

    fn variant(&self, kind: i64) -> Variant {
        variant(
            kind,
            self.target.tensor().is_some(),
            self.weights.is_some(),
            self.focal.gamma > 0.0,
            kind == 2 && self.divisor.is_some(),
            64,
        )
    }
}

/// Appends loss \[1\], the sum of the terms over the divisor, and accuracy \[1\], the share of the logits whose weight is not 0 that are on
/// the right side of 0: above it where the target is above a half, else below (0 itself is wrong, and so is a NaN); 0 where all are masked.
///
/// A term is weight times alpha times q^gamma times softplus(z) - z t, exact to some roundings of its own size; q is the chance of a
/// wrong answer ([`Focal`]). The sum is taken in a fixed order, in chunks and then over these. A NaN that is not masked shows.
///
/// # Errors
/// z is empty or not f32; targets or weights are not as many; gamma or alpha out of range; loss, accuracy or the divisor is not \[1\].
pub fn forward(plan: &mut PlanBuilder<'_>, call: BinaryXent<'_>, loss: &Tensor, accuracy: &Tensor) -> Result<()> {
    let op = "binary_xent";
    let n = call.check(op)?;
    expect_shape(op, "loss", loss, &[1])?;
    expect_shape(op, "accuracy", accuracy, &[1])?;
    let engine = plan.engine();
    // Chunks of at most about 4,096: long sums round much, and a software adapter ends its loops at 65,535 turns.
    let walk = Walk::new(engine, 1, n, 1, chunks(engine, n, 1).max(n >> 12));
    let parts = engine.tensor("binary_xent parts", &[walk.chunks(), 4], DType::F32)?;
    let elements = call.elements();
    let cost = Cost { flops: 40.0 * n as f64, bytes: (elements.len() as u64 * call.z.bytes()) as f64 };
    let bindings: Vec<Binding<'_>> = elements.into_iter().chain([&parts]).map(Binding::from).collect();
    plan.dispatch(op, &SHADER, &call.variant(0), &bindings, &call.params(walk), walk.groups(), cost)?;
    let variant = variant(1, false, false, false, call.divisor.is_some(), lanes(engine));
    let params = call.params(Walk { n: walk.chunks() as u32, ..walk });
    let bindings: Vec<Binding<'_>> = [&parts].into_iter().chain(call.divisor).chain([loss, accuracy]).map(Binding::from).collect();
    plan.dispatch("binary_xent total", &SHADER, &variant, &bindings, &params, Groups::Linear(1), Cost::bytes(parts.bytes()))
}

/// Appends dz, the gradient of the loss times dloss \[1\]; accurate relatively where targets are 0 or 1, for confident logits too.
///
/// # Errors
/// As [`forward`]; dloss is not \[1\]; dz has another number of elements than z.
pub fn backward(plan: &mut PlanBuilder<'_>, call: BinaryXent<'_>, dloss: &Tensor, dz: &Tensor) -> Result<()> {
    let op = "binary_xent backward";
    let n = call.check(op)?;
    same_len(op, &[call.z, dz])?;
    expect_shape(op, "dloss", dloss, &[1])?;
    let walk = Walk::new(plan.engine(), 1, n, 64, spread(plan.engine(), n.div_ceil(64)));
    let elements = call.elements();
    let cost = Cost { flops: 40.0 * n as f64, bytes: ((1 + elements.len() as u64) * call.z.bytes()) as f64 };
    let bindings: Vec<Binding<'_>> = elements.into_iter().chain(call.divisor).chain([dloss, dz]).map(Binding::from).collect();
    plan.dispatch(op, &SHADER, &call.variant(2), &bindings, &call.params(walk), walk.groups(), cost)
}

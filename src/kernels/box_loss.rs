//! How far boxes are from their targets: host side of `shaders/box_loss.wgsl`.

use super::{Walk, chunks, expect_shape, f32s, reduce, rows_of_four, same_len, spread};
use crate::gpu::{Binding, Cost, DType, Error, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("box_loss");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Least area, in squares of the boxes' unit, that [`BoxDistance::Giou`] divides by.
pub const TINY: f32 = 1e-7;

/// How far a box is from its target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BoxDistance {
    /// The sum over the four numbers of d^2 / (2 beta) where the difference |d| is below beta, else |d| - beta / 2 (Girshick, "Fast R-CNN",
    /// 2015, where beta is 1): 0 or more. With 0 it is |d|, and its slope at 0 is 0.
    SmoothL1 {
        /// Where it becomes straight.
        beta: f32,
    },
    /// The sum over the four numbers of the squared differences.
    Squares,
    /// 1 less the generalised intersection over union, 0 to 2, of boxes x0 y0 x1 y1 (Rezatofighi et al., "Generalized intersection over
    /// union", 2019): 1 - I / U + (C - U) / C, where I is what both cover, U what either does and C the least box around both. As there, a
    /// box's corners may stand in either order. Areas below [`TINY`] are divided by as if they were that: boxes without area have finite
    /// distances and gradients.
    Giou,
}

impl BoxDistance {
    fn number(self) -> i64 {
        match self {
            Self::SmoothL1 { .. } => 0,
            Self::Squares => 1,
            Self::Giou => 2,
        }
    }
}

/// The loss: what it reads. Any shape will do whose elements are rows of four.
#[derive(Debug, Clone, Copy)]
pub struct BoxLoss<'a> {
    /// N rows of four, f32.
    pub boxes: &'a Tensor,
    /// What they should be, N rows of four.
    pub targets: &'a Tensor,
    /// A factor of each row, N. 0 masks a row: whatever it and its target hold, it adds nothing and gets no gradient.
    pub weights: Option<&'a Tensor>,
    /// How far a box is from its target.
    pub distance: BoxDistance,
    /// \[1\], what the sum over the rows is divided by where it is above 1, else by 1: the number of positives, for instance. Without it,
    /// by N.
    pub divisor: Option<&'a Tensor>,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    walk: Walk,
    beta: f32,
    share: f32,
}

fn variant(kind: i64, distance: i64, weighted: bool, divisor: bool) -> Variant {
    Variant::new().int("KIND", kind).int("DISTANCE", distance).flag("WEIGHTED", weighted).flag("DIVISOR", divisor)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let both = [false, true];
    let distances = [0, 1].into_iter().flat_map(|kind| [0, 1, 2].map(|distance| (kind, distance)));
    distances.flat_map(|(k, d)| both.into_iter().flat_map(move |w| both.map(|v| variant(k, d, w, v)))).collect()
}

impl<'a> BoxLoss<'a> {
    /// The number of rows.
    fn check(&self, op: &str) -> Result<usize> {
        let n = rows_of_four(op, "boxes", self.boxes)?;
        for (name, t, len) in [("targets", Some(self.targets), 4 * n), ("weights", self.weights, n)] {
            let Some(t) = t else { continue };
            f32s(op, &[t])?;
            if t.len() != len {
                return Err(Error::shape(op, format!("`{name}` {:?} for {n} boxes", t.shape())));
            }
        }
        if let BoxDistance::SmoothL1 { beta } = self.distance
            && !(beta >= 0.0 && beta.is_finite())
        {
            return Err(Error::shape(op, format!("beta must be 0 or more, not {beta}")));
        }
        if let Some(divisor) = self.divisor {
            expect_shape(op, "divisor", divisor, &[1])?;
        }
        Ok(n)
    }

    fn dispatch(&self, plan: &mut PlanBuilder<'_>, op: &str, kind: i64, walk: Walk, out: &[&Tensor]) -> Result<()> {
        let beta = if let BoxDistance::SmoothL1 { beta } = self.distance { beta } else { 0.0 };
        let params = Params { walk, beta, share: 4.0 / self.boxes.len() as f32 };
        let variant = variant(kind, self.distance.number(), self.weights.is_some(), self.divisor.is_some());
        let read = [self.boxes, self.targets].into_iter().chain(self.weights).chain(self.divisor);
        let bindings: Vec<Binding<'_>> = read.chain(out.iter().copied()).map(Binding::from).collect();
        let cost = Cost { flops: 12.0 * self.boxes.len() as f64, bytes: (9 + 4 * kind as u64) as f64 / 4.0 * self.boxes.bytes() as f64 };
        plan.dispatch(op, &SHADER, &variant, &bindings, &params, walk.groups(), cost)
    }
}

/// Appends loss \[1\], the sum over the rows of weight times distance, over the divisor. The sum is taken in a fixed order, in chunks and
/// then over these. A NaN that is not masked shows.
///
/// # Errors
/// Boxes are empty, not f32 or no rows of four; targets or weights are not as many; beta is negative; loss or the divisor is not \[1\].
pub fn forward(plan: &mut PlanBuilder<'_>, call: BoxLoss<'_>, loss: &Tensor) -> Result<()> {
    let op = "box_loss";
    let n = call.check(op)?;
    expect_shape(op, "loss", loss, &[1])?;
    let engine = plan.engine();
    // Chunks of at most about 4,096: long sums round much, and a software adapter ends its loops at 65,535 turns.
    let walk = Walk::new(engine, 1, n, 1, chunks(engine, n, 1).max(n >> 12));
    let parts = engine.tensor("box_loss parts", &[walk.chunks()], DType::F32)?;
    call.dispatch(plan, op, 0, walk, &[&parts])?;
    reduce::columns(plan, &parts, loss, 1.0, false)
}

/// Appends the gradient of the loss in the boxes times dloss \[1\].
///
/// # Errors
/// As [`forward`]; dloss is not \[1\]; dboxes has another number of elements than the boxes.
pub fn backward(plan: &mut PlanBuilder<'_>, call: BoxLoss<'_>, dloss: &Tensor, dboxes: &Tensor) -> Result<()> {
    let op = "box_loss backward";
    let n = call.check(op)?;
    same_len(op, &[call.boxes, dboxes])?;
    expect_shape(op, "dloss", dloss, &[1])?;
    let walk = Walk::new(plan.engine(), 1, n, 64, spread(plan.engine(), n.div_ceil(64)));
    call.dispatch(plan, op, 1, walk, &[dloss, dboxes])
}

//! Inverted drop-out with a mask that is computed and not stored: host side of `shaders/dropout.wgsl`.
//!
//! N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, "Dropout: a simple way to prevent neural networks
//! from overfitting", JMLR 15, 2014.

use super::{both_widths, expect, rows_cols, same_len, vectorised};
use crate::gpu::{Cost, DType, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("dropout");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Words of the state: seed and counter.
pub const STATE: usize = 2;

/// What is dropped. Which elements those are, the index of each and three keys decide: the seed and the counter of the state, and the
/// stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// The share dropped, from 0 to below 1; rounded to 1/2^24.
    pub rate: f32,
    /// A number of its own for each place that drops out by one state, so that their masks are independent.
    pub stream: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    stream: u32,
    threshold: u32,
    scale: f32,
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    both_widths([Variant::new()])
}

impl Dropout {
    /// Refuses a rate that is not from 0 to below 1.
    pub(crate) fn check(self, op: &str) -> Result<()> {
        match (0.0..1.0).contains(&self.rate) {
            true => Ok(()),
            false => Err(Error::shape(op, format!("the rate must be from 0 to below 1, not {}", self.rate))),
        }
    }

    /// Of 2^24 draws how many drop an element: below 2^24, because an f32 below 1 is at most 1 - 2^-24.
    fn threshold(self) -> u32 {
        (f64::from(self.rate) * f64::from(1 << 24)).round() as u32
    }

    /// 1 / (1 - rate) for the rate as rounded, so that the expectation is x.
    fn scale(self) -> f32 {
        (1.0 / (1.0 - f64::from(self.threshold()) / f64::from(1 << 24))) as f32
    }
}

/// Appends y = x / (1 - rate) where an element is kept, else exactly 0, for `state` \[2\] of u32: seed and counter, which the host changes
/// between runs. A rate of 0 gives x.
///
/// # Errors
/// A rate that is not from 0 to below 1; x or y is not f32, is empty or not as long as the other; another state.
pub fn forward(plan: &mut PlanBuilder<'_>, dropout: Dropout, x: &Tensor, state: &Tensor, y: &Tensor) -> Result<()> {
    dispatch(plan, "dropout", dropout, x, state, y)
}

/// Appends dx = dy / (1 - rate) where [`forward`] with the same `dropout` and state keeps an element, else 0.
///
/// # Errors
/// As [`forward`].
pub fn backward(plan: &mut PlanBuilder<'_>, dropout: Dropout, dy: &Tensor, state: &Tensor, dx: &Tensor) -> Result<()> {
    dispatch(plan, "dropout backward", dropout, dy, state, dx)
}

fn dispatch(plan: &mut PlanBuilder<'_>, op: &str, dropout: Dropout, x: &Tensor, state: &Tensor, y: &Tensor) -> Result<()> {
    dropout.check(op)?;
    let n = same_len(op, &[x, y])?;
    rows_cols(op, "x", x)?;
    expect(op, "state", state, &[STATE], DType::U32)?;
    let (variant, vec) = vectorised(Variant::new(), &[n]);
    let params = Params { n: (n / vec) as u32, stream: dropout.stream, threshold: dropout.threshold(), scale: dropout.scale() };
    let (groups, cost) = (Groups::for_items(n / vec, 64), Cost::bytes(8 * n as u64));
    plan.dispatch(op, &SHADER, &variant, &[x.into(), state.into(), y.into()], &params, groups, cost)
}

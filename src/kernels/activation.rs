//! Pointwise activations: host side of `shaders/activation.wgsl`.

use super::{both_widths, same_len, vectorised};
use crate::gpu::{Cost, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("activation");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// A pointwise activation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x where positive, else slope * x.
    LeakyRelu(f32),
    /// x * sigmoid(x).
    Silu,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    slope: f32,
}

impl Activation {
    fn kind(self) -> (i64, f32) {
        match self {
            Self::Relu => (0, 0.0),
            Self::LeakyRelu(slope) => (1, slope),
            Self::Silu => (2, 0.0),
            Self::Sigmoid => (3, 0.0),
        }
    }
}

fn variant(kind: i64, backward: bool) -> Variant {
    Variant::new().int("KIND", kind).flag("BACKWARD", backward)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    both_widths((0..4).flat_map(|kind| [false, true].map(|b| variant(kind, b))))
}

/// Appends y = f(x).
///
/// # Errors
/// Element counts differ.
pub fn forward(plan: &mut PlanBuilder<'_>, f: Activation, x: &Tensor, y: &Tensor) -> Result<()> {
    let n = same_len("activation", &[x, y])?;
    let (kind, slope) = f.kind();
    let (variant, vec) = vectorised(variant(kind, false), &[n]);
    let params = Params { n: (n / vec) as u32, slope };
    let (groups, cost) = (Groups::for_items(n / vec, 64), Cost::bytes(8 * n as u64));
    plan.dispatch("activation", &SHADER, &variant, &[x.into(), y.into()], &params, groups, cost)
}

/// Appends dx = dy * f'(x), with x the forward pass's input.
///
/// # Errors
/// Element counts differ.
pub fn backward(plan: &mut PlanBuilder<'_>, f: Activation, x: &Tensor, dy: &Tensor, dx: &Tensor) -> Result<()> {
    let n = same_len("activation backward", &[x, dy, dx])?;
    let (kind, slope) = f.kind();
    let (variant, vec) = vectorised(variant(kind, true), &[n]);
    let params = Params { n: (n / vec) as u32, slope };
    let (groups, cost) = (Groups::for_items(n / vec, 64), Cost::bytes(12 * n as u64));
    plan.dispatch("activation backward", &SHADER, &variant, &[x.into(), dy.into(), dx.into()], &params, groups, cost)
}

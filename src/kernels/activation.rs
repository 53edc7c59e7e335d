//! Pointwise activations: host side of `shaders/activation.wgsl`.

use super::same_len;
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
        }
    }
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    (0..3i64).flat_map(|kind| [false, true].map(|b| Variant::new().int("KIND", kind).flag("BACKWARD", b))).collect()
}

/// Appends y = f(x).
///
/// # Errors
/// Element counts differ.
pub fn forward(plan: &mut PlanBuilder<'_>, f: Activation, x: &Tensor, y: &Tensor) -> Result<()> {
    let n = same_len("activation", &[x, y])?;
    let (kind, slope) = f.kind();
    let variant = Variant::new().int("KIND", kind).flag("BACKWARD", false);
    let params = Params { n: n as u32, slope };
    plan.dispatch("activation", &SHADER, &variant, &[x.into(), y.into()], &params, Groups::for_items(n, 64), Cost::bytes(8 * n as u64))
}

/// Appends dx = dy * f'(x), with x the forward pass's input.
///
/// # Errors
/// Element counts differ.
pub fn backward(plan: &mut PlanBuilder<'_>, f: Activation, x: &Tensor, dy: &Tensor, dx: &Tensor) -> Result<()> {
    let n = same_len("activation backward", &[x, dy, dx])?;
    let (kind, slope) = f.kind();
    let variant = Variant::new().int("KIND", kind).flag("BACKWARD", true);
    let params = Params { n: n as u32, slope };
    let bindings = [x.into(), dy.into(), dx.into()];
    plan.dispatch("activation backward", &SHADER, &variant, &bindings, &params, Groups::for_items(n, 64), Cost::bytes(12 * n as u64))
}

//! Separable Gaussian blur with a validity plane: host side of `shaders/gaussian.wgsl`.

use super::{both_widths, expect_shape, nhwc, vectorised};
use crate::gpu::{Binding, Cost, DType, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("gaussian");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Largest sigma, pixels.
pub const MAX_SIGMA: f32 = 16.0;

/// Outputs of an invocation along the axis.
const RUN: usize = 8;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    total: u32,
    inner: u32,
    length: u32,
    strips: u32,
    radius: u32,
    chunks: u32,
    columns: u32,
    across: u32,
    mask: u32,
}

fn variant(pass: i64, mask: bool) -> Variant {
    Variant::new().int("PASS", pass).flag("MASK", mask)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    both_widths([0, 1].into_iter().flat_map(|pass| [false, true].map(|mask| variant(pass, mask))))
}

/// The kernel's weights, 2 ceil(3 sigma) + 1 of them, which sum to 1.
pub fn weights(sigma: f32) -> Vec<f64> {
    let sigma = f64::from(sigma);
    let radius = (3.0 * sigma).ceil() as i64;
    let raw: Vec<f64> = (-radius..=radius).map(|d| (-0.5 * (d as f64 / sigma).powi(2)).exp()).collect();
    let sum: f64 = raw.iter().sum();
    raw.into_iter().map(|w| w / sum).collect()
}

/// Appends the blur of x \[N, H, W, C\] by a Gaussian of `sigma` pixels, cut at ceil(3 sigma) and of sum 1, into y \[N, H, W, C\].
///
/// Without a mask y = G * x with zeros outside the image. With one, mask \[N, H, W, M\], whose last channel is the validity m >= 0
/// (a plane, or the sampler's output \[N, S, S, 4\] as it is; x itself will do): y = (G * (m x)) / (G * m) where G * m > 0, else 0, so that
/// places without data neither darken their neighbours nor spread what they hold. x must be finite where it is valid. y may be x.
///
/// # Errors
/// Shapes differ from these; sigma not above 0 or over [`MAX_SIGMA`]; out of memory for the scratch between the passes.
pub fn blur(plan: &mut PlanBuilder<'_>, x: &Tensor, mask: Option<&Tensor>, sigma: f32, y: &Tensor) -> Result<()> {
    let op = "gaussian";
    let [n, h, w, c] = nhwc(op, "x", x)?;
    expect_shape(op, "y", y, x.shape())?;
    if !(sigma > 0.0 && sigma <= MAX_SIGMA) {
        return Err(Error::shape(op, format!("sigma must be above 0 and at most {MAX_SIGMA} pixels, not {sigma}")));
    }
    let channels = match mask {
        Some(m) => {
            let channels = nhwc(op, "mask", m)?[3];
            expect_shape(op, "mask", m, &[n, h, w, channels])?;
            channels
        }
        None => 0,
    };
    let kernel = weights(sigma);
    let radius = kernel.len() / 2;
    let chunks = (2 * radius + RUN).div_ceil(RUN);
    let mut padded = vec![0.0; RUN * (chunks + 1)];
    padded[RUN - 1..][..kernel.len()].iter_mut().zip(&kernel).for_each(|(p, k)| *p = *k as f32);
    let taps = plan.engine().upload_f32("gaussian weights", &[padded.len()], &padded)?;
    let s = plan.scratch("gaussian rows", x.shape(), DType::F32)?;
    let share = mask.map(|_| plan.scratch("gaussian share", &[n, h, w], DType::F32)).transpose()?;

    for pass in 0..2 {
        let (variant, vec) = vectorised(variant(pass, mask.is_some()), &[c]);
        let columns = c / vec;
        let (lines, length, across) = if pass == 0 { (n * h, w, 1) } else { (n, h, w) };
        let strips = length.div_ceil(RUN);
        let total = lines * strips * across * columns;
        let [total_u, inner, length, strips, radius_u, chunks, columns, across, mask_u] =
            [total, across * columns, length, strips, radius, chunks, columns, across, channels].map(|v| v as u32);
        let params = Params { total: total_u, inner, length, strips, radius: radius_u, chunks, columns, across, mask: mask_u };
        let from = if pass == 0 { x } else { &s };
        let mut bindings: Vec<Binding<'_>> = vec![from.into()];
        let plane = if pass == 0 { mask } else { share.as_ref() };
        bindings.extend(plane.map(Binding::from));
        bindings.extend([Binding::from(&taps), if pass == 0 { &s } else { y }.into()]);
        if pass == 0 {
            bindings.extend(share.as_ref().map(Binding::from));
        }
        let planes = share.as_ref().map_or(0, Tensor::bytes);
        let flops = 2.0 * kernel.len() as f64 * (x.len() as f64 + planes as f64 / 4.0);
        let cost = Cost { flops, bytes: (x.bytes() + y.bytes() + planes) as f64 };
        let op = if pass == 0 { "gaussian across" } else { "gaussian down" };
        plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::for_items(total, 64), cost)?;
    }
    Ok(())
}

//! How far apart two clouds of rows lie: host side of `shaders/discrepancy.wgsl`.

use super::{LANES, expect_shape, lanes, matrix_f32, reduce, vectorised};
use crate::gpu::{Cost, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("discrepancy");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>(), size_of::<BackwardParams>()];

/// What is measured, from the products ab [N, M], aa [N, N] and bb [M, M] of the rows of two clouds a and b.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// The biased squared maximum mean discrepancy, mean k(aa) + mean k(bb) - 2 mean k(ab), never negative but for rounding (Gretton et
    /// al., "A kernel two-sample test", 2012). The products are of rows of unit length; k = mean over the bandwidths s of
    /// exp(-d^2 / (2 s^2)) with d^2 = 2 - 2 g, held at 0 where rounding makes it negative (the gradient there is 0).
    Mmd {
        /// The five s, above 0; distances of unit vectors are 0 to 2.
        bandwidths: [f32; 5],
    },
    /// |C_a - C_b|^2 / (4 dim^2), C = x^T x / (rows - 1) (Sun and Saenko, "Deep CORAL", 2016). The products are of rows less their own
    /// cloud's mean; both clouds have two rows or more.
    Coral {
        /// Length of a row.
        dim: usize,
    },
}

impl Measure {
    /// Factors of the sums over ab, aa and bb for clouds of `n` and `m` rows.
    ///
    /// # Errors
    /// Too few rows, a bandwidth that is not positive or too small for f32, a length of 0.
    pub fn weights(&self, n: usize, m: usize) -> Result<[f64; 3]> {
        let fail = |reason: String| Err(Error::shape("discrepancy", reason));
        let (n, m) = (n as f64, m as f64);
        match *self {
            Self::Mmd { bandwidths } => {
                // 1 / s^2 times a distance of 4 must stay a number.
                if let Some(s) = bandwidths.iter().find(|s| !(1e-18..=1e18).contains(*s)) {
                    return fail(format!("a bandwidth of {s} is not between 1e-18 and 1e18"));
                }
                if n == 0.0 || m == 0.0 {
                    return fail(format!("clouds of {n} and {m} rows: both need one"));
                }
                Ok([-2.0 / (n * m), 1.0 / (n * n), 1.0 / (m * m)])
            }
            Self::Coral { dim } => {
                if dim == 0 || n < 2.0 || m < 2.0 {
                    return fail(format!(
                        "clouds of {n} and {m} rows of length {dim}: covariances need two rows each and a length above 0"
                    ));
                }
                let size = 4.0 * (dim as f64).powi(2);
                let (n, m) = (n - 1.0, m - 1.0);
                Ok([-2.0 / (n * m * size), 1.0 / (n * n * size), 1.0 / (m * m * size)])
            }
        }
    }

    /// -1 / (2 s^2).
    fn exponents(&self) -> [f32; 5] {
        match self {
            Self::Mmd { bandwidths } => bandwidths.map(|s| (-0.5 / f64::from(s).powi(2)) as f32),
            Self::Coral { .. } => [0.0; 5],
        }
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    m: u32,
    weights: [f32; 3],
    exponents: [f32; 5],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct BackwardParams {
    count: u32,
    weight: f32,
    exponents: [f32; 5],
}

fn variant(backward: bool, mmd: bool, lanes: i64) -> Variant {
    Variant::new().flag("KIND", backward).flag("MMD", mmd).int("LANES", lanes)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let both = [false, true];
    let forward = LANES.into_iter().flat_map(|l| both.map(|mmd| variant(false, mmd, l)));
    super::both_widths(forward.chain(both.map(|mmd| variant(true, mmd, 64))))
}

/// Extents of [`forward`]'s scratch.
pub fn parts_shape(n: usize, m: usize) -> [usize; 1] {
    [2 * n + m]
}

/// Rows of both clouds, from `products` ab, aa and bb.
fn clouds(op: &str, products: [&Tensor; 3]) -> Result<[usize; 2]> {
    let (n, m) = matrix_f32(op, "ab", products[0])?;
    expect_shape(op, "aa", products[1], &[n, n])?;
    expect_shape(op, "bb", products[2], &[m, m])?;
    Ok([n, m])
}

/// Appends loss \[1\] from the `products` ab [N, M], aa [N, N] and bb [M, M]. `parts` ([`parts_shape`]) is scratch.
///
/// # Errors
/// Shapes other than these; [`Measure::weights`]' errors.
pub fn forward(plan: &mut PlanBuilder<'_>, measure: Measure, products: [&Tensor; 3], parts: &Tensor, loss: &Tensor) -> Result<()> {
    let op = "discrepancy";
    let [n, m] = clouds(op, products)?;
    expect_shape(op, "parts", parts, &parts_shape(n, m))?;
    expect_shape(op, "loss", loss, &[1])?;
    let weights = measure.weights(n, m)?.map(|w| w as f32);
    let mmd = matches!(measure, Measure::Mmd { .. });
    let (variant, _) = vectorised(variant(false, mmd, lanes(plan.engine())), &[n, m]);
    let params = Params { n: n as u32, m: m as u32, weights, exponents: measure.exponents() };
    let elements: usize = products.iter().map(|t| t.len()).sum();
    let cost = Cost { flops: if mmd { 20.0 } else { 2.0 } * elements as f64, bytes: 4.0 * elements as f64 };
    let bindings = [products[0].into(), products[1].into(), products[2].into(), parts.into()];
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::Linear(parts.len() as u64), cost)?;
    reduce::columns(plan, parts, loss, 1.0, false)
}

/// Appends the gradients of the loss times dloss \[1\] in those of ab, aa and bb that are asked for, of their shapes.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    plan: &mut PlanBuilder<'_>,
    measure: Measure,
    products: [&Tensor; 3],
    dloss: &Tensor,
    gradients: [Option<&Tensor>; 3],
) -> Result<()> {
    let op = "discrepancy backward";
    let [n, m] = clouds(op, products)?;
    expect_shape(op, "dloss", dloss, &[1])?;
    let mmd = matches!(measure, Measure::Mmd { .. });
    for ((g, dg), weight) in products.into_iter().zip(gradients).zip(measure.weights(n, m)?) {
        let Some(dg) = dg else { continue };
        expect_shape(op, "gradient", dg, g.shape())?;
        let (variant, vec) = vectorised(variant(true, mmd, 64), &[g.len()]);
        let count = g.len() / vec;
        let params = BackwardParams { count: count as u32, weight: weight as f32, exponents: measure.exponents() };
        let cost = Cost { flops: if mmd { 25.0 } else { 2.0 } * g.len() as f64, bytes: 2.0 * g.bytes() as f64 };
        plan.dispatch(op, &SHADER, &variant, &[g.into(), dloss.into(), dg.into()], &params, Groups::for_items(count, 64), cost)?;
    }
    Ok(())
}

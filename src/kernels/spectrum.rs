//! Products of feature maps' half spectra: host side of `shaders/spectrum.wgsl`.

use super::{expect, expect_shape, f32s};
use crate::gpu::{Cost, DType, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("spectrum");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    q: u32,
    w: u32,
    c: u32,
    f: u32,
    blocks: u32,
    tiles: u32,
    groups: u32,
}

/// Queries and maps an invocation works on, by how many queries there are.
const TILES: [[usize; 2]; 3] = [[1, 8], [2, 8], [4, 4]];

/// Rows an invocation of a gradient computes.
const ROWS: usize = 4;

fn correlate_variant(f16: bool, pair: usize, [queries, maps]: [usize; 2]) -> Variant {
    let variant = Variant::new().int("KIND", 0).flag("F16", f16).int("PAIR", pair as i64);
    variant.int("QT", queries as i64).int("WT", maps as i64)
}

fn gradient_variant(kind: i64, pair: usize) -> Variant {
    Variant::new().int("KIND", kind).int("PAIR", pair as i64).int("MT", ROWS as i64)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    [2, 4]
        .into_iter()
        .flat_map(|pair| {
            let products = TILES.into_iter().flat_map(move |t| [false, true].map(|f16| correlate_variant(f16, pair, t)));
            products.chain([1, 2].map(|kind| gradient_variant(kind, pair)))
        })
        .collect()
}

struct Sizes {
    q: usize,
    w: usize,
    c: usize,
    f: usize,
    /// Complex channels a load.
    pair: usize,
}

/// Extents of a [Q, F.., C, 2] and b [W, F.., C, 2] with the same frequencies; d must be [Q, F.., W, 2].
fn sizes(op: &str, a: &Tensor, b: &Tensor, d: &Tensor) -> Result<Sizes> {
    f32s(op, &[a, d])?;
    if b.dtype() != DType::F16 {
        f32s(op, &[b])?;
    }
    let split = |name: &str, t: &Tensor| match t.shape() {
        [n, f @ .., c, 2] if !t.is_empty() && !f.is_empty() => Ok((*n, f.to_vec(), *c)),
        other => Err(Error::shape(op, format!("`{name}` must be [N, frequencies, C, 2] and not empty, not {other:?}"))),
    };
    let ((q, f, c), (w, ..)) = (split("a", a)?, split("b", b)?);
    let with = |n: usize, last: usize| [&[n], &f[..], &[last, 2]].concat();
    expect(op, "b", b, &with(w, c), b.dtype())?;
    expect_shape(op, "the product", d, &with(q, w))?;
    for (what, n) in [("channels", c), ("maps", w)] {
        if n % 2 != 0 {
            return Err(Error::shape(op, format!("the transform takes channels in pairs: the number of {what} must be even, not {n}")));
        }
    }
    Ok(Sizes { q, w, c, f: f.iter().product(), pair: if c % 4 == 0 { 4 } else { 2 } })
}

fn dispatch(
    plan: &mut PlanBuilder<'_>,
    op: &str,
    variant: &Variant,
    s: &Sizes,
    [x, y, out]: [&Tensor; 3],
    outer: usize,
    tiles: usize,
) -> Result<()> {
    let blocks = s.f.div_ceil(64);
    let groups = outer * tiles * blocks;
    let [q, w, c, f, blocks, tiles, groups] = [s.q, s.w, s.c / 2, s.f, blocks, tiles, groups].map(|v| v as u32);
    let params = Params { q, w, c, f, blocks, tiles, groups };
    let cost = Cost { flops: 8.0 * (s.q * s.w * s.c * s.f) as f64, bytes: (x.bytes() + y.bytes() + out.bytes()) as f64 };
    plan.dispatch(op, &SHADER, variant, &[x.into(), y.into(), out.into()], &params, Groups::Linear(groups.into()), cost)
}

/// Appends out\[q, f, w\] = sum over c of conj(a\[q, f, c\]) b\[w, f, c\]: a \[Q, F.., C, 2\] F32, b \[W, F.., C, 2\] F32 or F16,
/// out \[Q, F.., W, 2\] F32, the last extent the real and the imaginary part, F.. any extents alike in all three. C and W are even.
///
/// Where a and b are half spectra of images a_q and b_w, the inverse transform of out is, as an image batch with a channel a
/// map, the circular cross-correlation s\[q, y, x, w\] = sum over c and u of a_q(u) b_w(u + (y, x)), with scale 1 / (H W) if
/// both spectra had scale 1.
///
/// # Errors
/// Extents or types other than these.
pub fn correlate(plan: &mut PlanBuilder<'_>, a: &Tensor, b: &Tensor, out: &Tensor) -> Result<()> {
    let op = "correlate spectra";
    let s = sizes(op, a, b, out)?;
    let tile @ [queries, maps] = TILES[if s.q == 1 {
        0
    } else if s.q == 2 {
        1
    } else {
        2
    }];
    let variant = correlate_variant(b.dtype() == DType::F16, s.pair, tile);
    dispatch(plan, op, &variant, &s, [a, b, out], s.q.div_ceil(queries), s.w.div_ceil(maps))
}

/// Appends the gradient of [`correlate`] by its second argument: out\[w, f, c\] = sum over q of a\[q, f, c\] d\[q, f, w\], for a
/// \[Q, F.., C, 2\], d \[Q, F.., W, 2\] and out \[W, F.., C, 2\], all F32. Where d is the half spectrum of the gradient of the
/// correlation s, this is that of the gradient of the images b: a convolution of real images.
///
/// # Errors
/// Extents or types other than these.
pub fn gradient_b(plan: &mut PlanBuilder<'_>, a: &Tensor, d: &Tensor, out: &Tensor) -> Result<()> {
    let op = "correlate spectra, gradient b";
    let s = sizes(op, a, out, d)?;
    f32s(op, &[out])?;
    dispatch(plan, op, &gradient_variant(1, s.pair), &s, [a, d, out], s.w.div_ceil(ROWS), s.c / s.pair)
}

/// Appends the gradient of [`correlate`] by its first argument: out\[q, f, c\] = sum over w of conj(d\[q, f, w\]) b\[w, f, c\], for b
/// \[W, F.., C, 2\], d \[Q, F.., W, 2\] and out \[Q, F.., C, 2\], all F32. Where d is the half spectrum of the gradient of the
/// correlation s, this is that of the gradient of the images a: a correlation of real images.
///
/// # Errors
/// Extents or types other than these.
pub fn gradient_a(plan: &mut PlanBuilder<'_>, b: &Tensor, d: &Tensor, out: &Tensor) -> Result<()> {
    let op = "correlate spectra, gradient a";
    let s = sizes(op, out, b, d)?;
    f32s(op, &[b])?;
    dispatch(plan, op, &gradient_variant(2, s.pair), &s, [b, d, out], s.q.div_ceil(ROWS), s.c / s.pair)
}

//! One host wrapper a shader file: parameters, choice of variant, dispatches appended to a plan.

pub mod activation;
pub mod bias;
pub mod binary_xent;
pub mod box_decode;
pub mod box_loss;
pub mod box_match;
pub mod bridge;
pub mod center;
pub mod concat;
pub mod conv;
pub mod critic;
pub mod discrepancy;
pub mod dropout;
pub mod edges;
pub mod elementwise;
pub mod fft;
pub mod gaussian;
pub mod infonce;
pub mod knn;
pub mod l2norm;
pub mod matmul;
pub mod message;
pub mod nms;
pub mod norm;
pub mod offset_xent;
pub mod optim;
pub mod peaks;
pub mod pool;
pub mod quantize;
pub mod reduce;
pub mod roi_align;
pub mod row_list;
pub mod sampler;
pub mod score;
pub mod segment_softmax;
pub mod sinkhorn_online;
pub mod sinkhorn_small;
pub mod slide;
pub mod softmax_xent;
pub mod spectrum;
pub mod structure;
pub mod style;
pub mod suppress;
pub mod tiling;
pub mod topk;
pub mod topk_long;
pub mod triplet;
pub mod upsample;
pub mod winograd;

use crate::gpu::{DType, Engine, Error, Groups, Result, Tensor, Variant};
use bytemuck::{Pod, Zeroable};

/// Refuses tensors whose element counts differ.
pub(crate) fn same_len(op: &str, tensors: &[&Tensor]) -> Result<usize> {
    f32s(op, tensors)?;
    let n = tensors[0].len();
    match tensors.iter().find(|t| t.len() != n) {
        Some(t) => Err(Error::shape(op, format!("{:?} against {:?}", tensors[0].shape(), t.shape()))),
        None => Ok(n),
    }
}

/// Refuses a tensor of another type than f32: shaders run without bounds checks, and f16 has half the bytes.
pub(crate) fn f32s(op: &str, tensors: &[&Tensor]) -> Result<()> {
    match tensors.iter().find(|t| t.dtype() != DType::F32) {
        Some(t) => Err(Error::shape(op, format!("{:?} {:?}, expected F32", t.dtype(), t.shape()))),
        None => Ok(()),
    }
}

/// Refuses a tensor that is not f32 of exactly this shape.
pub(crate) fn expect_shape(op: &str, name: &str, t: &Tensor, shape: &[usize]) -> Result<()> {
    expect(op, name, t, shape, DType::F32)
}

/// Refuses a tensor that is not of exactly this shape, stored as f32 or f16.
pub(crate) fn expect_stored(op: &str, name: &str, t: &Tensor, shape: &[usize]) -> Result<()> {
    expect(op, name, t, shape, if t.dtype() == DType::F16 { DType::F16 } else { DType::F32 })
}

/// Refuses a tensor that is not of exactly this shape and type.
pub(crate) fn expect(op: &str, name: &str, t: &Tensor, shape: &[usize], dtype: DType) -> Result<()> {
    if t.dtype() != dtype || t.shape() != shape {
        return Err(Error::shape(op, format!("`{name}` must be {dtype:?} {shape:?}, not {:?} {:?}", t.dtype(), t.shape())));
    }
    Ok(())
}

/// Rows and columns of a tensor seen as [all other extents, last extent]; refuses an empty one and other types than f32.
pub(crate) fn rows_cols(op: &str, name: &str, t: &Tensor) -> Result<(usize, usize)> {
    rows_cols_of(op, name, t, &[DType::F32])
}

/// [`rows_cols`] of a tensor stored as f32 or f16.
pub(crate) fn stored_rows_cols(op: &str, name: &str, t: &Tensor) -> Result<(usize, usize)> {
    rows_cols_of(op, name, t, &[DType::F32, DType::F16])
}

fn rows_cols_of(op: &str, name: &str, t: &Tensor, types: &[DType]) -> Result<(usize, usize)> {
    if !types.contains(&t.dtype()) || t.is_empty() || t.shape().is_empty() {
        let types = types.iter().map(|t| format!("{t:?}")).collect::<Vec<_>>().join(" or ");
        return Err(Error::shape(op, format!("`{name}` must be {types} and not empty, not {:?} {:?}", t.dtype(), t.shape())));
    }
    let c = t.shape()[t.shape().len() - 1];
    Ok((t.len() / c, c))
}

/// The four extents of an image batch; refuses an empty one and other types than f32.
pub(crate) fn nhwc(op: &str, name: &str, t: &Tensor) -> Result<[usize; 4]> {
    rows_cols(op, name, t)?;
    stored_nhwc(op, name, t)
}

/// [`nhwc`] of a tensor stored as f32 or f16.
pub(crate) fn stored_nhwc(op: &str, name: &str, t: &Tensor) -> Result<[usize; 4]> {
    stored_rows_cols(op, name, t)?;
    t.shape().try_into().map_err(|_| Error::shape(op, format!("`{name}` must be [N, H, W, C], not {:?}", t.shape())))
}

/// Chooses loads of four channels where every extent allows it: the variant with `VEC`, `T` and `U` set, and the width.
pub(crate) fn vectorised(variant: Variant, extents: &[usize]) -> (Variant, usize) {
    let vec = if extents.iter().all(|c| c % 4 == 0) { 4 } else { 1 };
    (with_vec(variant, vec), vec)
}

/// With an identifier a tensor that says as what its elements are loaded and stored, `vec` at a time; f16 needs a device's
/// [`Caps::f16`](crate::gpu::Caps).
pub(crate) fn stored(variant: Variant, vec: usize, tensors: &[(&'static str, DType)]) -> Variant {
    tensors.iter().fold(variant, |v, (name, dtype)| {
        v.ident(
            name,
            match (dtype, vec) {
                (DType::F16, 4) => "vec4<f16>",
                (DType::F16, _) => "f16",
                (_, 4) => "vec4<f32>",
                _ => "f32",
            },
        )
    })
}

/// Both widths of each variant with each of `tensors` in f32 and in f16, for the lists of variants.
pub(crate) fn stored_both_ways(variants: impl IntoIterator<Item = Variant>, tensors: &[&'static str]) -> Vec<Variant> {
    let types = |bits: usize| -> Vec<(&'static str, DType)> {
        tensors.iter().enumerate().map(|(i, t)| (*t, if bits >> i & 1 == 1 { DType::F16 } else { DType::F32 })).collect()
    };
    let widths = variants.into_iter().flat_map(|v| [1, 4].map(|vec| (with_vec(v.clone(), vec), vec)));
    widths.flat_map(|(v, vec)| (0..1 << tensors.len()).map(move |bits| stored(v.clone(), vec, &types(bits)))).collect()
}

fn with_vec(variant: Variant, vec: usize) -> Variant {
    let (t, u) = if vec == 4 { ("vec4<f32>", "vec4<u32>") } else { ("f32", "u32") };
    variant.int("VEC", vec as i64).ident("T", t).ident("U", u)
}

/// Both widths of each variant, for the lists of variants.
pub(crate) fn both_widths(variants: impl IntoIterator<Item = Variant>) -> Vec<Variant> {
    stored_both_ways(variants, &[])
}

/// Into how many chunks a reduction over `rows` of `groups` independent columns is split (a power of two, 1 for none):
/// enough invocations to fill the device, at least 16 rows each. A chunk takes every chunks-th row.
pub(crate) fn chunks(engine: &Engine, rows: usize, groups: usize) -> usize {
    if rows <= 64 {
        return 1;
    }
    let target = if engine.caps().software { 1024 } else { 16384 };
    let most = (rows / 16 + 1).next_power_of_two() / 2;
    (target / groups).max(1).next_power_of_two().min(most)
}

/// Into how many chunks of rows a pass over [rows, C] without a reduction is split: several rows an invocation, so that
/// what depends on the channel alone is loaded once.
pub(crate) fn spread(engine: &Engine, rows: usize) -> usize {
    rows.div_ceil(if engine.caps().software { 16 } else { 4 })
}

/// The two extents of a matrix of f32.
pub(crate) fn matrix_f32(op: &str, name: &str, t: &Tensor) -> Result<(usize, usize)> {
    f32s(op, &[t])?;
    matrix(op, name, t)
}

/// The two extents of a matrix.
pub(crate) fn matrix(op: &str, name: &str, t: &Tensor) -> Result<(usize, usize)> {
    match t.shape() {
        [n, d] if *n > 0 && *d > 0 => Ok((*n, *d)),
        other => Err(Error::shape(op, format!("`{name}` is {other:?}, expected two extents above 0"))),
    }
}

/// The widths of a workgroup that reduces a row (`shaders/lib/lanes.wgsl`).
pub(crate) const LANES: [i64; 2] = [8, 64];

/// Which of [`LANES`]: the fewer on a processor, which runs them one subgroup after the other, and where one subgroup is all of them, because
/// a barrier then costs nothing.
pub(crate) fn lanes(engine: &Engine) -> i64 {
    let caps = engine.caps();
    if caps.software || caps.subgroup_is(8) { LANES[0] } else { LANES[1] }
}

/// Whether loads are spread over subgroups of eight: what pays on a software adapter.
pub(crate) fn by_eights(engine: &Engine) -> bool {
    engine.caps().software && engine.caps().subgroup_is(8)
}

/// The groups of `shaders/lib/eights.wgsl`, for rows of `size` places.
pub(crate) fn eights(lanes: bool, rows: usize, size: usize) -> Groups {
    match lanes {
        true => Groups::Linear((rows * size.div_ceil(8)) as u64),
        false => Groups::for_items(rows * size, 64),
    }
}

/// The number of rows of four of a tensor.
pub(crate) fn rows_of_four(op: &str, name: &str, t: &Tensor) -> Result<usize> {
    rows_cols(op, name, t)?;
    match t.len().is_multiple_of(4) {
        true => Ok(t.len() / 4),
        false => Err(Error::shape(op, format!("`{name}` {:?} are not rows of four", t.shape()))),
    }
}

/// How invocations share out rows of columns; the first words of a kernel's parameters. Invocation i of an image works on
/// column i mod `columns` of chunk k = i / `columns`: on element k * span + column and every `step`-th below
/// min(k * span + limit, n). A GPU's chunks are every chunks-th row, so that neighbours read neighbours whatever the number of
/// columns; a CPU's are rows in a run, which its prefetcher can follow.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
pub(crate) struct Walk {
    pub(crate) n: u32,
    pub(crate) total: u32,
    pub(crate) stride: u32,
    pub(crate) columns: u32,
    pub(crate) span: u32,
    pub(crate) step: u32,
    pub(crate) limit: u32,
}

impl Walk {
    /// A walk over `n` elements of each of `batch` images in about `split` chunks; `chunks` tells how many it became.
    pub(crate) fn new(engine: &Engine, batch: usize, n: usize, columns: usize, split: usize) -> Self {
        let rows = n.div_ceil(columns);
        let block = rows.div_ceil(split);
        let (chunks, span, step, limit) = if engine.caps().software {
            (rows.div_ceil(block), block * columns, columns, block * columns)
        } else {
            (split, columns, split * columns, n)
        };
        let [n, total, stride, columns, span, step, limit] =
            [n, batch * chunks * columns, chunks * columns, columns, span, step, limit].map(|v| v as u32);
        Self { n, total, stride, columns, span, step, limit }
    }

    /// Chunks of an image.
    pub(crate) fn chunks(&self) -> usize {
        (self.stride / self.columns) as usize
    }

    /// Groups of 64.
    pub(crate) fn groups(&self) -> Groups {
        Groups::for_items(self.total as usize, 64)
    }
}

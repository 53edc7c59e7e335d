//! One host wrapper a shader file: parameters, choice of variant, dispatches appended to a plan.

pub mod activation;
pub mod bias;
pub mod center;
pub mod concat;
pub mod conv;
pub mod elementwise;
pub mod infonce;
pub mod l2norm;
pub mod matmul;
pub mod norm;
pub mod optim;
pub mod pool;
pub mod reduce;
pub mod sampler;
pub mod softmax_xent;
pub mod topk;
pub mod triplet;
pub mod upsample;

use crate::gpu::{Engine, Error, Result, Tensor};

/// Refuses tensors whose element counts differ.
pub(crate) fn same_len(op: &str, tensors: &[&Tensor]) -> Result<usize> {
    let n = tensors[0].len();
    match tensors.iter().find(|t| t.len() != n) {
        Some(t) => Err(Error::shape(op, format!("{:?} against {:?}", tensors[0].shape(), t.shape()))),
        None => Ok(n),
    }
}

/// Refuses a tensor of another shape.
pub(crate) fn expect_shape(op: &str, name: &str, t: &Tensor, shape: &[usize]) -> Result<()> {
    if t.shape() == shape { Ok(()) } else { Err(Error::shape(op, format!("`{name}` is {:?}, expected {shape:?}", t.shape()))) }
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

/// Which of [`LANES`]: one subgroup where subgroups are 8 wide, because a barrier then costs nothing on a CPU; else 64.
pub(crate) fn lanes(engine: &Engine) -> i64 {
    if engine.caps().subgroup_is(8) { LANES[0] } else { LANES[1] }
}

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

use crate::gpu::{Error, Result, Tensor};

/// Refuses tensors whose element counts differ.
pub(crate) fn same_len(op: &str, tensors: &[&Tensor]) -> Result<usize> {
    let n = tensors[0].len();
    match tensors.iter().find(|t| t.len() != n) {
        Some(t) => Err(Error::shape(op, format!("{:?} against {:?}", tensors[0].shape(), t.shape()))),
        None => Ok(n),
    }
}

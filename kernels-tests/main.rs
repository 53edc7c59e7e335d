//! The kernel suite: every kernel against its twin, on whatever adapter there is (`ECHOGRID_ADAPTER` names one).

mod activation;
mod bias;
mod center;
mod common;
mod concat;
mod conv;
mod elementwise;
mod embed;
mod infonce;
mod l2norm;
mod limits;
mod matmul;
mod network;
mod norm;
mod offset_xent;
mod optim;
mod pool;
mod reduce;
mod sampler;
mod shaders;
mod softmax_xent;
mod suppress;
mod topk;
mod triplet;
mod upsample;

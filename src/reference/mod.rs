//! One CPU twin a kernel: plain, f64 accumulation; the oracle for tests and for the self-test of `echogrid info`.

pub mod activation;
pub mod bias;
pub mod center;
pub mod concat;
pub mod conv;
pub mod elementwise;
pub mod fft;
pub mod gaussian;
pub mod infonce;
pub mod l2norm;
pub mod matmul;
pub mod message;
pub mod norm;
pub mod offset_xent;
pub mod optim;
pub mod peaks;
pub mod pool;
pub mod reduce;
pub mod sampler;
pub mod softmax_xent;
pub mod spectrum;
pub mod structure;
pub mod suppress;
pub mod topk;
pub mod triplet;
pub mod upsample;

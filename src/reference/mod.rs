//! One CPU twin a kernel: plain, f64 accumulation; the oracle for tests and for the self-test of `echogrid info`.

pub mod activation;
pub mod bias;
pub mod binary_xent;
pub mod box_decode;
pub mod box_loss;
pub mod box_match;
pub mod boxes;
pub mod bridge;
pub mod center;
pub mod concat;
pub mod conv;
pub mod critic;
pub mod discrepancy;
pub mod dropout;
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
pub mod topk;
pub mod topk_long;
pub mod triplet;
pub mod upsample;
pub mod winograd;

/// How far a device's results lie from a twin's at most; infinity where one is no number or one is missing.
pub(crate) fn furthest(got: &[f32], want: &[f64]) -> f64 {
    let off = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).abs());
    let off = off.fold(0.0, |a: f64, b| if b.is_nan() { f64::INFINITY } else { a.max(b) });
    if got.len() == want.len() { off } else { f64::INFINITY }
}

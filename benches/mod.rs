//! The benchmarks of `echogrid bench`: a file a kernel family, whole jobs, the device's own limits, and the record of a run.

mod activation;
mod bias;
mod binary_xent;
mod box_decode;
mod box_loss;
mod box_match;
mod bridge;
mod center;
pub mod common;
mod concat;
mod conv;
mod critic;
mod discrepancy;
mod dropout;
mod elementwise;
mod fft;
mod gaussian;
mod infonce;
mod jobs;
mod knn;
mod l2norm;
mod matmul;
mod message;
mod nms;
mod norm;
mod offset_xent;
mod optim;
mod peaks;
mod pool;
mod quantize;
pub mod record;
mod reduce;
mod roi_align;
pub mod roofline;
mod row_list;
mod sampler;
mod score;
mod segment_softmax;
mod sinkhorn_online;
mod sinkhorn_small;
mod slide;
mod softmax_xent;
mod spectrum;
mod structure;
mod style;
mod suppress;
mod topk;
mod topk_long;
mod triplet;
mod upsample;
mod winograd;

/// The benchmarks of one family.
type Run = fn(&mut common::Bench<'_>) -> crate::Result<()>;

/// Name and function of every family, and of whole jobs.
pub const ALL: [(&str, Run); 48] = [
    ("activation", activation::run),
    ("bias", bias::run),
    ("binary_xent", binary_xent::run),
    ("box_decode", box_decode::run),
    ("box_loss", box_loss::run),
    ("box_match", box_match::run),
    ("bridge", bridge::run),
    ("center", center::run),
    ("concat", concat::run),
    ("conv", conv::run),
    ("critic", critic::run),
    ("discrepancy", discrepancy::run),
    ("dropout", dropout::run),
    ("elementwise", elementwise::run),
    ("fft", fft::run),
    ("gaussian", gaussian::run),
    ("infonce", infonce::run),
    ("knn", knn::run),
    ("l2norm", l2norm::run),
    ("matmul", matmul::run),
    ("message", message::run),
    ("nms", nms::run),
    ("norm", norm::run),
    ("offset_xent", offset_xent::run),
    ("optim", optim::run),
    ("peaks", peaks::run),
    ("pool", pool::run),
    ("quantize", quantize::run),
    ("reduce", reduce::run),
    ("roi_align", roi_align::run),
    ("row_list", row_list::run),
    ("sampler", sampler::run),
    ("score", score::run),
    ("segment_softmax", segment_softmax::run),
    ("sinkhorn_online", sinkhorn_online::run),
    ("sinkhorn_small", sinkhorn_small::run),
    ("slide", slide::run),
    ("softmax_xent", softmax_xent::run),
    ("structure", structure::run),
    ("spectrum", spectrum::run),
    ("style", style::run),
    ("suppress", suppress::run),
    ("topk", topk::run),
    ("topk_long", topk_long::run),
    ("triplet", triplet::run),
    ("upsample", upsample::run),
    ("winograd", winograd::run),
    ("jobs", jobs::run),
];

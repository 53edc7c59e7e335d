//! Kernel benchmarks: `cargo bench --bench kernels [-- NAME ...]`. Prints one line a case: median of several runs.

mod activation;
mod bias;
mod binary_xent;
mod center;
mod common;
mod concat;
mod conv;
mod critic;
mod discrepancy;
mod elementwise;
mod fft;
mod gaussian;
mod infonce;
mod knn;
mod l2norm;
mod matmul;
mod message;
mod norm;
mod offset_xent;
mod optim;
mod peaks;
mod pool;
mod reduce;
mod sampler;
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
mod triplet;
mod upsample;

/// The benchmarks of one family.
type Run = fn(&echogrid::gpu::Engine);

/// Name and function of every family.
const ALL: &[(&str, Run)] = &[
    ("activation", activation::run),
    ("bias", bias::run),
    ("binary_xent", binary_xent::run),
    ("center", center::run),
    ("concat", concat::run),
    ("conv", conv::run),
    ("critic", critic::run),
    ("discrepancy", discrepancy::run),
    ("elementwise", elementwise::run),
    ("fft", fft::run),
    ("gaussian", gaussian::run),
    ("infonce", infonce::run),
    ("knn", knn::run),
    ("l2norm", l2norm::run),
    ("matmul", matmul::run),
    ("message", message::run),
    ("norm", norm::run),
    ("offset_xent", offset_xent::run),
    ("optim", optim::run),
    ("peaks", peaks::run),
    ("pool", pool::run),
    ("reduce", reduce::run),
    ("sampler", sampler::run),
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
    ("triplet", triplet::run),
    ("upsample", upsample::run),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let engine = common::engine();
    println!("adapter: {}", engine.adapter());
    for (name, run) in ALL {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            run(&engine);
        }
    }
}

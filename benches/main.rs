//! Kernel benchmarks: `cargo bench --bench kernels [-- NAME ...] [--json FILE] [--baseline FILE] [--figure FILE] [--tuning FILE]`. Prints one line a case: median
//! of several runs, and the share of the device's own limit, which is measured first.

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
mod jobs;
mod knn;
mod l2norm;
mod matmul;
mod message;
mod norm;
mod offset_xent;
mod optim;
mod peaks;
mod pool;
mod record;
mod reduce;
mod roofline;
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

use record::Record;
use std::path::PathBuf;
use std::process::ExitCode;

/// The benchmarks of one family.
type Run = fn(&echogrid::gpu::Engine);

/// Name and function of every family, and of whole jobs.
const ALL: [(&str, Run); 36] = [
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
    ("jobs", jobs::run),
];

/// Times the kernels, family by family
#[derive(Debug, clap::Parser)]
struct Args {
    /// Families to time [default: all]
    #[arg(value_name = "FAMILY", value_parser = clap::builder::PossibleValuesParser::new(ALL.map(|(name, _)| name)))]
    families: Vec<String>,
    /// Keep the results in this file, with adapter and commit
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Compare with the results in this file, and fail where a kernel got slower beyond the noise
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Draw the results under the roofline into this SVG file
    #[arg(long, value_name = "FILE")]
    figure: Option<PathBuf>,
    /// Measurements to choose kernels by, as `echogrid tune --out` keeps them [default: those shipped for the adapter]
    #[arg(long, value_name = "FILE")]
    tuning: Option<PathBuf>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match bench(&<Args as clap::Parser>::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn bench(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    // Before the long work.
    for path in [&args.json, &args.figure].into_iter().flatten() {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.map_err(|e| format!("{}: cannot be written ({e})", path.display()))?;
    }
    let baseline = args.baseline.as_deref().map(Record::read).transpose()?;
    let engine = common::engine(args.tuning.as_deref())?;
    let roof = roofline::Roofline::measure(&engine);
    let mut record = Record::begin(engine.adapter().to_string(), roof);
    println!("adapter: {}", record.adapter);
    println!("limits: {:.1} GFLOP/s in f32, {:.1} GB/s", roof.gflops, roof.gbytes);
    for (name, run) in ALL {
        if args.families.is_empty() || args.families.iter().any(|w| w == name) {
            run(&engine);
        }
    }
    record.cases = record::take();
    if let Some(path) = &args.json {
        record.write(path)?;
    }
    if let Some(path) = &args.figure {
        record.draw(path)?;
    }
    match baseline.map(|b| record.regressions(&b)).transpose()? {
        Some(slower) if !slower.is_empty() => Err(format!("slower than the baseline: {}", slower.join("; ")).into()),
        _ => Ok(()),
    }
}

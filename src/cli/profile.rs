//! `echogrid profile`.

use super::common::{Global, print_json};
use super::detect::Head;
use crate::gpu::summarise;
use crate::index::profile_encoding;
use crate::train::{DenseTrainConfig, DetectTrainConfig, Recipe, TrainConfig, profile_dense_step, profile_detector_step, profile_step};
use crate::{Error, Result};
use std::path::PathBuf;

/// Show where the time of a training step goes, or of encoding a map, op by op
///
/// Device timestamps where the adapter has them, else the wall clock around each dispatch.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A step of `train --dense`
    #[arg(long)]
    dense: bool,
    /// A step of `detect train`, of the small network of this kind or of that in --config
    #[arg(long, value_enum, value_name = "HEAD", num_args = 0..=1, conflicts_with = "dense")]
    detect: Option<Option<Head>>,
    /// A batch of 64 views of this map as `index` encodes them with the shipped weights: sampler and encoder
    #[arg(long, value_name = "MAP", conflicts_with_all = ["dense", "detect", "config"])]
    encode: Option<PathBuf>,
    /// Training settings in TOML, as `train` takes them
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Scale of a recipe: a table `scale.NAME` of --config
    #[arg(long, value_name = "NAME", requires = "config", conflicts_with_all = ["dense", "detect"])]
    scale: Option<String>,
    /// Steps to take the median of
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    steps: usize,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Views in a batch that is encoded.
const BATCH: usize = 64;

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let engine;
    let (what, items, item, runs) = if let Some(map) = &args.encode {
        engine = global.engine()?;
        ("a batch", BATCH, "views", profile_encoding(&engine, map, BATCH, args.steps.max(1))?)
    } else if args.dense {
        let config = args.config.as_deref().map_or_else(|| Ok(DenseTrainConfig::default()), DenseTrainConfig::load)?;
        engine = global.engine()?;
        ("a training step", config.patches, "SAR patches", profile_dense_step(&engine, &config, args.steps.max(1))?)
    } else if let Some(head) = args.detect {
        let config = match (&args.config, head) {
            (Some(_), Some(_)) => return Err(Error::invalid("--config says which detector it is: leave out the word behind --detect")),
            (Some(file), None) => DetectTrainConfig::load(file)?,
            (None, head) => head.unwrap_or(Head::Yolo3).settings(),
        };
        engine = global.engine()?;
        ("a training step", config.batch, "inputs", profile_detector_step(&engine, &config, args.steps.max(1))?)
    } else {
        let config = match (&args.config, &args.scale) {
            (Some(file), Some(scale)) => Recipe::load(file, Some(scale))?.train,
            (Some(file), None) => TrainConfig::load(file)?,
            (None, _) => TrainConfig::default(),
        };
        engine = global.engine()?;
        ("a training step", config.batch, "pairs", profile_step(&engine, &config, args.steps.max(1))?)
    };
    let ops = summarise(&runs);
    let total: f64 = ops.iter().map(|o| o.seconds).sum();
    if args.json {
        return print_json(&serde_json::json!({ "adapter": engine.adapter().to_string(), "batch": items, "seconds": total, "ops": ops }));
    }
    out!("{what} of {items} {item}: {:.1} ms in {} dispatches, {}", total * 1e3, runs.len(), engine.adapter());
    out!("{:<28} {:>7} {:>10} {:>10} {:>8}", "op", "share", "ms", "GFLOP/s", "GB/s");
    for o in ops {
        let rate = |v: f64| if v > 0.0 { format!("{:.1}", v / o.seconds * 1e-9) } else { "-".into() };
        out!("{:<28} {:>5.1} % {:>10.2} {:>10} {:>8}", o.op, 100.0 * o.seconds / total, o.seconds * 1e3, rate(o.flops), rate(o.bytes));
    }
    Ok(())
}

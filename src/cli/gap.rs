//! `echogrid gap`.

use super::common::{Global, MapArgs, SarArgs, check_apart, check_output, print_json};
use crate::Result;
use crate::eval::gap::{GapConfig, embed, gap, pairs};
use crate::index::LoadedModel;
use crate::report::figures;
use std::path::{Path, PathBuf};

/// Measure how far apart the embeddings of map and SAR patches of the same places lie
///
/// By several measures: the distance of the means, maximum mean discrepancy, the distance of the covariances (CORAL), Sinkhorn divergence, a
/// Wasserstein critic, and the accuracy of a classifier of the modality (0.5 where it cannot tell); the last two are trained on half of the
/// patches and judged on the other. Beside each stands what it is when map and SAR are swapped within random pairs: a gap that lies inside
/// that interval is chance.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    map: MapArgs,
    /// SAR image of the same area
    #[arg(long, value_name = "SAR")]
    sar: PathBuf,
    /// Model [default: the shipped weights]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Pairs of patches
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=4096))]
    pairs: u32,
    /// Permutations; of Sinkhorn divergence, critic and classifier a tenth of them
    #[arg(long, value_name = "N", default_value_t = 199, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    permutations: u32,
    /// Side of a patch, map pixels
    #[arg(long, value_name = "PX", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    patch: u32,
    /// Seed of the places and of everything else random
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    #[command(flatten)]
    reading: SarArgs,
    /// Draw both clouds in the plane of their first two principal components
    #[arg(long, value_name = "FILE.svg")]
    figure: Option<PathBuf>,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    args.figure.iter().try_for_each(|p| check_output(p))?;
    let outputs: Vec<&Path> = args.figure.iter().map(PathBuf::as_path).collect();
    check_apart(&outputs, args.map.map.iter().chain([&args.sar]).chain(&args.model).map(PathBuf::as_path))?;
    let model = LoadedModel::load(args.model.as_deref())?;
    let pair = args.reading.pair(&args.map, &args.sar)?;
    let engine = global.engine()?;
    let embedder = model.embedder(&engine, 64)?;
    let side = f64::from(args.patch);
    let [map, sar] = embed(&embedder, &pair, &pairs(&pair, side, embedder.input(), args.pairs as usize, args.seed)?)?;
    let config = GapConfig {
        permutations: args.permutations as usize,
        dear_permutations: (args.permutations as usize / 10).max(1),
        seed: args.seed,
        ..GapConfig::default()
    };
    let bar = global.bar(MEASURES, "measuring");
    let result = gap(&engine, &map, &sar, embedder.dim(), &config, |what| {
        bar.set_message(what.replace('_', " "));
        bar.inc(1);
    })?;
    bar.finish_and_clear();
    if let Some(path) = &args.figure {
        let [first, second] = result.plane.explained.map(|v| 100.0 * v);
        let line = format!("first two principal components: {first:.0} % and {second:.0} % of the variance");
        let title = format!("{} pairs of {}", result.pairs, args.map.name());
        figures::write(path, &figures::clouds(&title, &line, &[("map", &result.plane.map), ("SAR", &result.plane.sar)])?)?;
        global.say(format_args!("wrote {}", path.display()));
    }
    if args.json {
        let mut value = serde_json::to_value(&result).map_err(|e| crate::Error::invalid(e.to_string()))?;
        value["adapter"] = engine.adapter().to_string().into();
        return print_json(&value);
    }
    out!("{} pairs of {:.0} map pixels, embeddings of {} values, {}", result.pairs, side, result.dim, engine.adapter());
    out!("{:<16} {:>12} {:>28} {:>8}", "measure", "value", "under permutation (95 %)", "p");
    for e in &result.estimates {
        let interval = format!("{:.4e} to {:.4e}", e.permuted[0], e.permuted[1]);
        out!("{:<16} {:>12.4e} {interval:>28} {:>8.3}", e.measure.replace('_', " "), e.value, e.p);
    }
    Ok(())
}

/// How many measures there are.
const MEASURES: u64 = 6;

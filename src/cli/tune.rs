//! `echogrid tune`.

use super::common::{Global, print_json, tuning};
use crate::gpu::Measured;
use crate::kernels::tiling::Tiling;
use crate::tune::Rejected;
use crate::{Error, Result};
use std::path::PathBuf;

/// Measure which kernels are fastest on the adapter, and keep the result
///
/// Every kernel is held against its twin on the processor first; one that differs is not used. The result lies in the user's cache folder (or
/// ECHOGRID_CACHE), a file for each adapter, driver and version, and every command uses it from then on. GPUs without one are measured at
/// their first use; for some adapters measurements are shipped. --no-tune does without any.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Keep the result in this file instead (to compare, or to ship it)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let engine = global.untuned_engine()?;
    let path = match &args.out {
        Some(path) => path.clone(),
        None => tuning::place(&engine).ok_or_else(|| {
            Error::invalid("there is no cache folder to keep the result in: name a file with --out, or a folder with ECHOGRID_CACHE")
        })?,
    };
    // Before the minutes that follow.
    tuning::make_room(&path)?;
    let (measured, rejected) = tuning::measure(global, &engine)?;
    tuning::keep(&engine, &measured, &path)?;
    if args.json {
        return print_json(
            &serde_json::json!({ "adapter": engine.adapter().to_string(), "kept": path, "measured": measured.measured, "rejected": rejected }),
        );
    }
    out!("{:<24} {:<20} {:<20} {:>10} {:>14}", "family", "sizes", "fastest", "ms", "plain / it");
    measured.measured.iter().for_each(print_line);
    for Rejected { family, sizes, kernel, reason } in &rejected {
        out!("{family:<24} {:<20} {kernel:<20} rejected: {reason}", in_short(sizes));
    }
    out!("kept in {}", path.display());
    Ok(())
}

fn print_line(m: &Measured) {
    let ranking = m.ranking();
    let Some((name, seconds)) = ranking.first() else {
        return out!("{:<24} {:<20} none was right", m.family, in_short(&m.sizes));
    };
    let plain = m.seconds.get(&Tiling::PLAIN.to_string()).map_or("-".to_string(), |s| format!("{:.2}", s / seconds));
    out!("{:<24} {:<20} {name:<20} {:>10.3} {plain:>14}", m.family, in_short(&m.sizes), seconds * 1e3);
}

fn in_short(sizes: &[usize]) -> String {
    sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ")
}

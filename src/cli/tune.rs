//! `echogrid tune`, and the measurements it keeps.

use super::common::{Global, check_output, print_json};
use crate::gpu::{Engine, Measured, Tuning, TuningFile};
use crate::kernels::tiling::Tiling;
use crate::tune::{self, Rejected};
use crate::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};

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
        None => place(&engine).ok_or_else(|| {
            Error::invalid("there is no cache folder to keep the result in: name a file with --out, or a folder with ECHOGRID_CACHE")
        })?,
    };
    // Before the minutes that follow.
    make_room(&path)?;
    let (tuning, rejected) = measure(global, &engine)?;
    keep(&engine, &tuning, &path)?;
    if args.json {
        return print_json(
            &serde_json::json!({ "adapter": engine.adapter().to_string(), "kept": path, "measured": tuning.measured, "rejected": rejected }),
        );
    }
    out!("{:<24} {:<20} {:<20} {:>10} {:>14}", "family", "sizes", "fastest", "ms", "plain / it");
    tuning.measured.iter().for_each(print_line);
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

fn measure(global: &Global, engine: &Engine) -> Result<(Tuning, Vec<Rejected>)> {
    let bar = global.bar(0, "measuring");
    let measured = tune::tune(engine, |done, total| bar.advance(done, total))?;
    bar.finish_and_clear();
    Ok(measured)
}

/// Where an engine's measurements are kept, if there is such a place.
fn place(engine: &Engine) -> Option<PathBuf> {
    let named = std::env::var_os("ECHOGRID_CACHE").filter(|v| !v.is_empty()).map(PathBuf::from);
    let folder = named.or_else(|| dirs::cache_dir().map(|d| d.join("echogrid")))?;
    Some(folder.join(format!("tuning-{}.json", tune::key(engine))))
}

/// Makes the folder of a file, and sees that the file can be written.
fn make_room(path: &Path) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| crate::report::Error::Write { path: path.into(), source })?;
    }
    check_output(path)
}

fn keep(engine: &Engine, tuning: &Tuning, path: &Path) -> Result<()> {
    let (adapter, lanes) = (engine.adapter(), engine.caps().lanes());
    let (name, driver) = (adapter.name.clone(), adapter.driver.clone());
    let file = TuningFile { adapter: name, driver, version: env!("CARGO_PKG_VERSION").into(), lanes, tuning: tuning.clone() };
    let text = serde_json::to_string_pretty(&file).expect("numbers and text") + "\n";
    Ok(crate::report::write_atomically(path, text.as_bytes())?)
}

/// Where the measurements come from that an engine goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Origin {
    /// Kept by `echogrid tune` or a first use.
    Kept,
    /// Shipped for adapters of this name.
    Shipped,
    /// There are none: kernels go by the kind of adapter.
    Nothing,
}

/// An engine that goes by what is known of its adapter.
pub(super) struct Known {
    pub(super) engine: Engine,
    pub(super) origin: Origin,
    /// Where measurements would be kept, if there is such a place.
    pub(super) path: Option<PathBuf>,
}

/// Looks for measurements: what is kept, else what is shipped.
pub(super) fn known(global: &Global, engine: Engine) -> Known {
    let path = place(&engine);
    if global.no_tune {
        return Known { engine: engine.with_tuning(Tuning::default()), origin: Origin::Nothing, path };
    }
    if let Some(tuning) = path.as_deref().and_then(read) {
        return Known { engine: engine.with_tuning(tuning), origin: Origin::Kept, path };
    }
    let origin = if engine.tuning().measured.is_empty() { Origin::Nothing } else { Origin::Shipped };
    Known { engine, origin, path }
}

/// The measurements in a file, if it is there and sound.
fn read(path: &Path) -> Option<Tuning> {
    let why = match std::fs::read(path).map(|bytes| serde_json::from_slice::<TuningFile>(&bytes)) {
        Ok(Ok(file)) => return Some(file.tuning),
        Ok(Err(e)) => format!("is damaged ({e}) and not used; `echogrid tune` makes it anew"),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
        Err(e) => format!("cannot be read ({e}) and is not used"),
    };
    eprintln!("warning: {} {why}", path.display());
    None
}

/// The engine with what is known of its adapter; a GPU of which nothing is known is measured now, and the result kept.
pub(super) fn tuned(global: &Global, engine: Engine) -> Engine {
    let Known { engine, origin, path } = known(global, engine);
    // A processor that plays a GPU takes minutes to measure.
    let processor = engine.adapter().kind == "Cpu";
    let (Origin::Nothing, Some(path), false) = (origin, path, global.no_tune || processor) else { return engine };
    global.say(format_args!("measuring which kernels are fastest on this adapter, once (--no-tune does without)"));
    match measure(global, &engine) {
        Ok((tuning, _)) => {
            if let Err(e) = make_room(&path).and_then(|()| keep(&engine, &tuning, &path)) {
                eprintln!("warning: {e}; the next command measures again");
            }
            engine.with_tuning(tuning)
        }
        Err(e) => {
            eprintln!("warning: {e}; kernels are chosen by the kind of adapter");
            engine
        }
    }
}

//! Measurements of adapters: where they are kept, and the engine that goes by them.

use super::global::Global;
use super::output::check_output;
use crate::Result;
use crate::gpu::{Engine, Tuning, TuningFile};
use crate::tune::{self, Rejected};
use serde::Serialize;
use std::path::{Path, PathBuf};

impl Global {
    /// Opens the chosen adapter and says which it is.
    pub(in crate::cli) fn engine(&self) -> Result<Engine> {
        Ok(tuned(self, self.untuned_engine()?))
    }
}

/// Measures, with progress.
pub(in crate::cli) fn measure(global: &Global, engine: &Engine) -> Result<(Tuning, Vec<Rejected>)> {
    let bar = global.bar(0, "measuring");
    let measured = tune::tune(engine, |done, total| bar.advance(done, total))?;
    bar.finish_and_clear();
    Ok(measured)
}

/// Where an engine's measurements are kept, if there is such a place.
pub(in crate::cli) fn place(engine: &Engine) -> Option<PathBuf> {
    let named = std::env::var_os("ECHOGRID_CACHE").filter(|v| !v.is_empty()).map(PathBuf::from);
    let folder = named.or_else(|| dirs::cache_dir().map(|d| d.join("echogrid")))?;
    Some(folder.join(format!("tuning-{}.json", tune::key(engine))))
}

/// Makes the folder of a file, and sees that the file can be written.
pub(in crate::cli) fn make_room(path: &Path) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| crate::report::Error::Write { path: path.into(), source })?;
    }
    check_output(path)
}

/// Keeps measurements in a file.
pub(in crate::cli) fn keep(engine: &Engine, tuning: &Tuning, path: &Path) -> Result<()> {
    let (adapter, lanes) = (engine.adapter(), engine.caps().lanes());
    let (name, driver) = (adapter.name.clone(), adapter.driver.clone());
    let file = TuningFile { adapter: name, driver, version: env!("CARGO_PKG_VERSION").into(), lanes, tuning: tuning.clone() };
    let text = serde_json::to_string_pretty(&file).expect("numbers and text") + "\n";
    Ok(crate::report::write_atomically(path, text.as_bytes())?)
}

/// Where the measurements come from that an engine goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::cli) enum Origin {
    /// Kept by `echogrid tune` or a first use.
    Kept,
    /// Shipped for adapters of this name.
    Shipped,
    /// There are none: kernels go by the kind of adapter.
    Nothing,
}

/// An engine that goes by what is known of its adapter.
pub(in crate::cli) struct Known {
    pub(in crate::cli) engine: Engine,
    pub(in crate::cli) origin: Origin,
    /// Where measurements would be kept, if there is such a place.
    pub(in crate::cli) path: Option<PathBuf>,
}

/// Looks for measurements: what is kept, else what is shipped.
pub(in crate::cli) fn known(global: &Global, engine: Engine) -> Known {
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
fn tuned(global: &Global, engine: Engine) -> Engine {
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

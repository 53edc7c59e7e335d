//! What the subcommands share: global options, the engine, and by folder what they read, print, write and tell of their progress.

#[macro_use]
mod output;
mod pace;
mod progress;
mod reading;

use super::tune;
use crate::gpu::{AdapterChoice, Engine};
use crate::{Error, Result};
use clap::Args;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) use output::{check_file, check_output, check_regular, expect_json, print_json, warn, warn_of, write_out, written_once};
pub(super) use progress::Progress;
pub(super) use reading::{MapArgs, MapNoData, MirrorArgs, SarArgs};

/// What a command that did not fail has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// What was asked for is done.
    Done,
    /// It was searched, and nothing was found: exit status 3.
    NothingFound,
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Done
    }
}

/// Options of every subcommand.
#[derive(Debug, Args)]
pub struct Global {
    /// Adapter by a part of its name, or its number in `echogrid info` [default: the fastest; or ECHOGRID_ADAPTER]
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "NAME")]
    pub adapter: Option<String>,
    /// More messages: -v what happens, -vv how (RUST_LOG sets levels by module)
    #[arg(short, long, global = true, help_heading = "Options of every command", action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Choose kernels by the kind of adapter alone, not by what was measured on it (see `echogrid tune`)
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub no_tune: bool,
    /// No progress, and no messages but warnings and errors
    #[arg(short, long, global = true, help_heading = "Options of every command")]
    pub quiet: bool,
}

impl Global {
    pub(super) fn start_log(&self) {
        use tracing_subscriber::EnvFilter;
        let level = match self.verbose {
            0 => "warn",
            1 => "echogrid=info,warn",
            2 => "echogrid=debug,warn",
            _ => "debug",
        };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
        // Mesa looks for a display it does not need, and says so.
        #[cfg(target_os = "linux")]
        if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
            // SAFETY: no other thread runs yet.
            unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
        }
    }

    /// Opens the chosen adapter and says which it is.
    pub(super) fn engine(&self) -> Result<Engine> {
        Ok(tune::tuned(self, self.untuned_engine()?))
    }

    /// The same, with the measurements that were shipped, if any.
    pub(super) fn untuned_engine(&self) -> Result<Engine> {
        let engine = pollster::block_on(Engine::new(&AdapterChoice::from_option(self.adapter.as_deref())))?;
        self.say(format_args!("adapter: {}", engine.adapter()));
        Ok(engine)
    }

    /// A line for people, unless quiet.
    pub(super) fn say(&self, text: std::fmt::Arguments<'_>) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// How far a command has got: a bar on a terminal, lines elsewhere, nothing if quiet.
    pub(super) fn bar(&self, len: u64, what: &'static str) -> Progress {
        Progress::new(len, what, self.quiet)
    }

    /// The same of work that has begun, though it is not known yet how much there is.
    pub(super) fn working(&self, what: &'static str) -> Progress {
        let progress = self.bar(0, what);
        progress.begin();
        progress
    }
}

/// A file's name without its folder.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The command as it was typed, or nearly.
pub(super) fn command_line() -> String {
    let quote = |a: String| if a.is_empty() || a.contains([' ', '\'', '"']) { format!("'{}'", a.replace('\'', "'\\''")) } else { a };
    std::iter::once("echogrid".to_string())
        .chain(std::env::args_os().skip(1).map(|a| quote(a.to_string_lossy().into_owned())))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A flag that Ctrl-C and termination raise.
pub(super) fn interrupt_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = flag.clone();
    ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::Relaxed) {
            // A second time: at once.
            std::process::exit(130);
        }
        eprintln!("stopping after this step (again to stop at once)");
    })
    .map_err(|e| Error::invalid(format!("no handler for Ctrl-C: {e}")))?;
    Ok(flag)
}

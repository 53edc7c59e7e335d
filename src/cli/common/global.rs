//! Options of every command, and what all commands say of themselves.

use super::progress::Progress;
use crate::gpu::{AdapterChoice, Engine};
use crate::{Error, Result};
use clap::Args;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a command that did not fail has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Outcome {
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
    pub(in crate::cli) fn start_log(&self) {
        use tracing_subscriber::EnvFilter;
        let level = match self.verbose {
            0 => "warn",
            1 => "echogrid=info,warn",
            2 => "echogrid=debug,warn",
            _ => "debug",
        };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .without_time()
            .try_init();
        // Mesa looks for a display it does not need, and says so.
        #[cfg(target_os = "linux")]
        if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
            // SAFETY: no other thread runs yet.
            unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
        }
    }

    /// Opens the chosen adapter, with the measurements that were shipped, if any, and says which it is.
    pub(in crate::cli) fn untuned_engine(&self) -> Result<Engine> {
        let engine = pollster::block_on(Engine::new(&AdapterChoice::from_option(self.adapter.as_deref())))?;
        self.say(format_args!("adapter: {}", engine.adapter()));
        Ok(engine)
    }

    /// A line for people, unless quiet.
    pub(in crate::cli) fn say(&self, text: std::fmt::Arguments<'_>) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// How far a command has got: a bar on a terminal, lines elsewhere, nothing if quiet.
    pub(in crate::cli) fn bar(&self, len: u64, what: &'static str) -> Progress {
        Progress::new(len, what, self.quiet)
    }

    /// The same of work that has begun, though it is not known yet how much there is.
    pub(in crate::cli) fn working(&self, what: &'static str) -> Progress {
        let progress = self.bar(0, what);
        progress.begin();
        progress
    }
}

/// A file's name without its folder.
pub(in crate::cli) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The command as it was typed, or nearly.
pub(in crate::cli) fn command_line() -> String {
    let quote = |a: String| if a.is_empty() || a.contains([' ', '\'', '"']) { format!("'{}'", a.replace('\'', "'\\''")) } else { a };
    std::iter::once("echogrid".to_string())
        .chain(std::env::args_os().skip(1).map(|a| quote(a.to_string_lossy().into_owned())))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A flag that Ctrl-C and termination raise.
pub(in crate::cli) fn interrupt_flag() -> Result<Arc<AtomicBool>> {
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

//! `echogrid study`: comparisons that take hours, repeatable from one command.

mod align;
mod refine;
mod runs;

use super::common::Global;
use crate::Result;
use crate::eval::metrics::Estimate;
use crate::report::write_atomically;
use clap::Subcommand;
use std::path::Path;

/// Compare methods by training and evaluating them all
///
/// Takes hours. What is done stays: the same command goes on where it was stopped.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    study: Study,
}

#[derive(Debug, Subcommand)]
enum Study {
    Align(align::Args),
    Refine(refine::Args),
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    match &args.study {
        Study::Align(args) => align::run(global, args),
        Study::Refine(args) => refine::run(global, args),
    }
}

/// The command that is running, as a report shows it.
fn command() -> String {
    std::env::args().skip(1).map(|a| shown(&a)).collect::<Vec<_>>().join(" ")
}

/// An argument as it is shown in a report: of a path only the last two parts, so that no machine's folders are in it.
fn shown(argument: &str) -> String {
    match Path::new(argument).components().count() {
        0..=2 => argument.into(),
        _ => {
            let parts: Vec<_> =
                Path::new(argument).components().rev().take(2).map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
            parts.into_iter().rev().collect::<Vec<_>>().join("/")
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    Ok(write_atomically(path, text.as_bytes())?)
}

fn percent(v: f64) -> String {
    format!("{:.1}", 100.0 * v)
}

fn interval(e: &Estimate) -> String {
    format!("{:+.1} [{:+.1}, {:+.1}]", 100.0 * e.value, 100.0 * e.ci95[0], 100.0 * e.ci95[1])
}

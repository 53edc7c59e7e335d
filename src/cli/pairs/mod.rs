//! `echogrid pairs`.

mod args;
mod build;
mod check;
mod lie;
mod sheet;

use super::common::Global;
use crate::Result;
use clap::Subcommand;

/// Make and check sets of small SAR-optical pairs
///
/// `train`, `eval` and `calibrate` take such sets with --pairs.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(args::BuildArgs),
    Check(check::Args),
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    match &args.command {
        Command::Build(args) => build::run(global, args),
        Command::Check(args) => check::run(global, args),
    }
}

//! `echogrid detect`: ships in SAR images.

mod eval;
mod head;
mod model;
mod run;
mod train;

use super::common::{Global, Outcome};
use crate::Result;
use clap::Subcommand;

pub(super) use head::Head;

/// Find ships in SAR images: train a detector, judge it, use it
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Args),
    Eval(eval::Args),
    Run(run::Args),
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Outcome> {
    match &args.command {
        Command::Train(args) => train::run(global, args).map(Into::into),
        Command::Eval(args) => eval::run(global, args).map(Into::into),
        Command::Run(args) => run::run(global, args),
    }
}

//! `echogrid study`: comparisons that take hours, repeatable from one command.

mod align;
mod cmpc;
mod refine;
mod runs;
mod ships;
mod words;

use super::common::Global;
use crate::Result;
use clap::Subcommand;

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
    Cmpc(cmpc::Args),
    Refine(refine::Args),
    Ships(ships::Args),
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    match &args.study {
        Study::Align(args) => align::run(global, args),
        Study::Cmpc(args) => cmpc::run(global, args),
        Study::Refine(args) => refine::run(global, args),
        Study::Ships(args) => ships::run(global, args),
    }
}

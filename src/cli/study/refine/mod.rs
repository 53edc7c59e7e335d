//! `echogrid study refine`: what decides best among an index's candidates?

mod judge;
mod report;
mod rows;
mod ways;

use super::runs::{Options, Runs};
use crate::Result;
use crate::cli::common::Global;
use crate::index::LoadedModel;
use crate::train::RefineTrainConfig;
use judge::Study;
use std::path::PathBuf;
use ways::{WAYS, Way};

/// Ways to refine candidates: the re-ranking methods of image retrieval, voting, and graph networks with their parts taken away one by one,
/// each trained with several seeds and all judged on the same queries of a scene never trained on
///
/// Writes FOLDER/refine.md (the table, with paired bootstrap intervals), refine.json, refine.svg and refine-strips.svg (candidates before and
/// after); models and the outcome of each run go to FOLDER/refine-runs.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// Encoder that the candidates come from [default: the shipped weights]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Ways to compare; `none` is always there [default: all of them]
    #[arg(long, value_name = "WAY", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(WAYS.map(|w| w.name)))]
    ways: Vec<String>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let mut base = args.options.ledger.config.as_deref().map_or_else(|| Ok(RefineTrainConfig::default()), RefineTrainConfig::load)?;
    // One small validation at the end: the study's own is what counts.
    (base.validate_every, base.validate_queries) = (base.epochs, base.strip);
    base.check()?;
    let study = Study { base, runs: Runs::open(global, &args.options, "refine-runs")? };
    let seen = study.see(LoadedModel::load(args.model.as_deref())?)?;
    let chosen: Vec<&Way> =
        WAYS.iter().filter(|w| args.ways.is_empty() || w.name == "none" || args.ways.iter().any(|n| n == w.name)).collect();
    let all = study.runs.ledger.all(&chosen, |way, seed| study.one(way, seed, &seen))?;
    report::report(&study, &chosen, &all, &seen)
}

//! `echogrid study cmpc`: the published system that this project grew from, part by part, beside its rivals and our own.

mod claims;
mod finds;
mod gap;
mod judge;
mod outcome;
mod pictures;
mod report;
mod rows;
mod study;
mod train;
mod ways;

use super::runs::{Options, Runs};
use crate::cli::common::{Global, check_output};
use crate::train::Recipe;
use crate::{Error, Result};
use outcome::Run;
use std::path::PathBuf;
use study::{STRIP, Study};
use ways::{BASE, WAYS, Way};

/// The system of Li et al., "Learning to find the optimal correspondence between SAR and optical image patches" (CMPC, 2023), part by part: triplet, pooled vector, critic,
/// graph; beside its rivals and this project's own way, on the same budget, judged on the ground of the training and on a scene never trained on
///
/// The recipe is a file: `--config studies/cmpc.toml` is the paper's, for a GPU; `--scale small` is the same with a small trunk. Writes FOLDER/cmpc.md (tables, claims, who finds
/// what), cmpc.json, cmpc.svg, cmpc-finds.svg and cmpc-gap.svg; models and the outcome of each run go to FOLDER/cmpc-runs.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// Scale of the recipe: a table `scale.NAME` of --config
    #[arg(long, value_name = "NAME")]
    scale: Option<String>,
    /// Ways to compare; `base` is always there [default: all of them]
    #[arg(long, value_name = "WAY", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(WAYS.each_ref().map(|w| w.name)))]
    ways: Vec<String>,
    /// A page of the best candidates of some queries, way by way, by the first seed: which are right, how far off, where on the map
    #[arg(long, value_name = "FILE.html", value_parser = crate::cli::common::page)]
    pictures: Option<PathBuf>,
    /// The queries of that page, by number [default: some on which the ways differ]
    #[arg(long, value_name = "N", value_delimiter = ',', requires = "pictures")]
    picture_queries: Vec<usize>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    args.pictures.iter().try_for_each(|path| check_output(path))?;
    let Some(recipe) = &args.options.ledger.config else {
        return Err(Error::invalid("--config FILE is missing: the study's recipe, such as studies/cmpc.toml"));
    };
    let recipe = Recipe::load(recipe, args.scale.as_deref())?;
    let drawn = args.options.queries / STRIP * STRIP;
    if let Some(q) = args.picture_queries.iter().find(|q| !(1..=drawn).contains(*q)) {
        return Err(Error::invalid(format!("--picture-queries: there is no query {q}; they are numbered from 1 to {drawn}")));
    }
    if drawn < args.options.queries {
        global.say(format_args!("{drawn} queries are drawn, not {}: they come in strips of {STRIP}", args.options.queries));
    }
    let study = Study::new(recipe, Runs::open(global, &args.options, "cmpc-runs")?)?;
    let asked = |w: &&Way| w.name == BASE || args.ways.is_empty() || args.ways.iter().any(|n| n == w.name);
    let (chosen, same): (Vec<&Way>, Vec<&Way>) = WAYS.iter().filter(asked).partition(|w| study.differs(w));
    same.iter().for_each(|w| global.say(format_args!("{} is left out: in this recipe it is {BASE} itself", w.name)));
    let all: Vec<Run> = study.runs.ledger.all(&chosen, |way, seed| study.one(way, seed))?;
    report::report(&study, &chosen, &all)?;
    args.pictures.as_ref().map_or(Ok(()), |path| pictures::write(&study, &all, &args.picture_queries, path))
}

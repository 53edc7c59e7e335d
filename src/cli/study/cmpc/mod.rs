//! `echogrid study cmpc`: the published system that this project grew from, part by part, beside its rivals and our own.

mod claims;
mod finds;
mod gap;
mod judge;
mod pictures;
mod report;
mod rows;
mod train;
mod ways;

use super::runs::{Options, Runs};
use crate::Result;
use crate::cli::common::Global;
use crate::train::Recipe;
use std::path::PathBuf;
use ways::{BASE, Run, WAYS, Way};

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
    #[arg(long, value_name = "FILE.html")]
    pictures: Option<PathBuf>,
    /// The queries of that page, by number [default: some on which the ways differ]
    #[arg(long, value_name = "N", value_delimiter = ',', requires = "pictures")]
    picture_queries: Vec<usize>,
}

/// A study in its settings.
struct Study<'a> {
    args: &'a Args,
    recipe: Recipe,
    runs: Runs<'a>,
}

/// Queries of the arbitrary protocol come in strips of so many, and are taken one by one but where a way says otherwise.
const STRIP: usize = 5;

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    if let Some(path) = &args.pictures {
        crate::cli::common::check_output(path)?;
    }
    let mut recipe = match &args.options.config {
        Some(path) => Recipe::load(path, args.scale.as_deref())?,
        None => return Err(crate::Error::invalid("--config FILE is missing: the study's recipe, such as studies/cmpc.toml")),
    };
    // Validations watch the gap; the study's own evaluation is what counts.
    (recipe.train.validate_gap, recipe.train.validate_views) = (true, 1);
    let study = Study { args, recipe, runs: Runs::open(global, &args.options, "cmpc-runs")? };
    let chosen: Vec<&Way> =
        WAYS.iter().filter(|w| w.name == BASE || args.ways.is_empty() || args.ways.iter().any(|n| n == w.name)).collect();
    let all: Vec<Run> = study.runs.all(&chosen, |way, seed| study.one(way, seed))?;
    report::report(&study, &chosen, &all)?;
    args.pictures.as_ref().map_or(Ok(()), |path| pictures::write(&study, &all, path))
}

//! `echogrid study align`: does it help to draw the modalities' embeddings together, and by which loss?

mod report;
mod ways;

use super::runs::{Ledger, Options, Runs, stale};
use crate::Result;
use crate::cli::common::Global;
use crate::eval::metrics::QueryResult;
use crate::eval::{Protocol, evaluate, queries};
use crate::index::{Database, IndexConfig, LoadedModel, RESIDENT_BYTES, Searcher, build};
use crate::train::{TrainConfig, train};
use report::report;
use ways::{Run, WAYS, Way};

/// Ways to draw the modalities together: each trained with several seeds on the same budget, and evaluated on a scene never trained on
///
/// Writes FOLDER/align.md (the table, with paired bootstrap intervals), align.json and align.svg; models and the outcome of each run
/// go to FOLDER/align-runs.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// Ways to compare [default: all of them]
    #[arg(long, value_name = "WAY", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(WAYS.map(|w| w.name)))]
    ways: Vec<String>,
    /// Passes of each training [default: that of the configuration]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Positions a side at which each cell is encoded at the evaluation (odd)
    #[arg(long, value_name = "N", default_value_t = crate::index::DEFAULT_VIEWS, value_parser = crate::cli::databases::odd)]
    views: u32,
}

struct Study<'a> {
    args: &'a Args,
    base: TrainConfig,
    runs: Runs<'a>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let mut base = args.options.ledger.config.as_deref().map_or_else(|| Ok(TrainConfig::default()), TrainConfig::load)?;
    base.epochs = args.epochs.unwrap_or(base.epochs);
    // One small validation at the end: the study's own evaluation is what counts.
    (base.validate_every, base.validate_queries, base.validate_views) = (base.epochs, 50, 1);
    base.check()?;
    let study = Study { args, base, runs: Runs::open(global, &args.options, "align-runs")? };
    let chosen: Vec<&Way> = WAYS.iter().filter(|w| args.ways.is_empty() || args.ways.iter().any(|n| n == w.name)).collect();
    let all = study.runs.ledger.all(&chosen, |way, seed| study.one(way, seed))?;
    report(&study.runs, &study.base, &chosen, &all)
}

impl Study<'_> {
    /// Trains and evaluates one way with one seed, or reads what an earlier call has found.
    fn one(&self, way: &Way, seed: u64) -> Result<Run> {
        let mut config = TrainConfig { seed, ..self.base.clone() };
        (way.set)(&mut config);
        config.check()?;
        let name = format!("{}-{seed}", way.name);
        self.runs.ledger.kept(&name, |run: &Run| run.config == config, || self.found(way, &name, &config))
    }

    fn found(&self, way: &Way, name: &str, config: &TrainConfig) -> Result<Run> {
        let Runs { ledger: Ledger { engine, .. }, scenes, val, .. } = &self.runs;
        let model = self
            .runs
            .ledger
            .train(name, config.total_steps(), |out, resume, stop, on| train(engine, config, scenes, val, out, resume, stop, on))?;
        let model = LoadedModel::load(Some(&model))?;
        if TrainConfig::of(&model.file.manifest).as_ref() != Some(config) {
            return Err(stale(&model.path));
        }
        let embedder = model.embedder(engine, config.batch)?;
        let grid = IndexConfig { cell: config.patch, stride: config.patch, views: self.args.views, ..IndexConfig::default() };
        let database = build(&embedder, &model, &val.map, &grid, Database::in_memory(), |_, _| {})?;
        let searcher = Searcher::new(engine, &database, RESIDENT_BYTES)?;
        let found = |protocol| -> Result<Vec<QueryResult>> {
            let queries = queries(val, &database, protocol, self.args.options.queries, embedder.input(), 7)?;
            Ok(evaluate(&embedder, val, &database, &searcher, queries)?.results)
        };
        let run = Run {
            way: way.name.into(),
            seed: config.seed,
            config: config.clone(),
            adapter: engine.adapter().to_string(),
            arbitrary: found(Protocol::Arbitrary)?,
            aligned: found(Protocol::Aligned)?,
        };
        let right = run.right();
        self.runs.ledger.global.say(format_args!("{name}: R@1 {:.1} %", 100.0 * right.iter().sum::<f64>() / right.len() as f64));
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use super::super::runs::read;
    use super::*;

    fn outcome() -> Run {
        let config = TrainConfig { seed: 5, ..TrainConfig::default() };
        let (arbitrary, aligned) = (Vec::new(), Vec::new());
        Run { way: "none".into(), seed: 5, config, adapter: "some".into(), arbitrary, aligned }
    }

    #[test]
    fn settings_that_a_file_is_too_old_for_have_their_defaults() {
        let run = outcome();
        let mut value = serde_json::to_value(&run).unwrap();
        let old = value["config"].as_object_mut().unwrap();
        assert!(old.remove("smoothing").is_some() && old["augment"].as_object_mut().unwrap().remove("recolour").is_some());
        let text = value.to_string();
        assert!(read(&text, |r: &Run| r.config == run.config).is_ok());
        let mut other = run.config.clone();
        other.augment.recolour = 0.5;
        assert!(read(&text, |r: &Run| r.config == other).unwrap_err().contains("other settings"));
        assert!(read("{}", |r: &Run| r.config == run.config).unwrap_err().contains("delete it"));
    }
}

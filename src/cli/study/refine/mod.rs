//! `echogrid study refine`: what decides best among an index's candidates?

mod report;
mod table;
mod ways;

use super::percent;
use super::runs::{Options, Runs};
use crate::Result;
use crate::cli::common::Global;
use crate::eval::metrics::QueryResult;
use crate::eval::{Protocol, Query, encode, judge, strips};
use crate::index::{CellHit, Database, LoadedModel, RESIDENT_BYTES, Searcher, build};
use crate::refine::{DEPTH, Method, Refiner, Request, Slider, Strip, refine};
use crate::train::{RefineTrainConfig, train_refiner};
use report::recall;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use ways::{How, WAYS, Way};

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

/// What a way found: of the queries by themselves, and in their strips.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    results: Vec<QueryResult>,
    /// Probability of each query's first candidate; none where the way gives no probabilities.
    probabilities: Vec<f64>,
}

/// What became of one way with one seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Run {
    way: String,
    seed: u64,
    config: RefineTrainConfig,
    queries: usize,
    /// Hash of the encoder that candidates came from.
    model: String,
    adapter: String,
    single: Found,
    strips: Found,
    /// The search alone with this run's encoder, where it trained its own.
    coarse: Option<Vec<QueryResult>>,
}

/// The queries and what the search finds for them with one encoder.
struct Seen {
    model: LoadedModel,
    database: Database,
    queries: Vec<Query>,
    strips: Vec<Strip>,
    vectors: Vec<f32>,
    hits: Vec<Vec<CellHit>>,
}

struct Study<'a> {
    base: RefineTrainConfig,
    runs: Runs<'a>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let mut base = args.options.config.as_deref().map_or_else(|| Ok(RefineTrainConfig::default()), RefineTrainConfig::load)?;
    // One small validation at the end: the study's own is what counts.
    (base.validate_every, base.validate_queries) = (base.epochs, base.strip);
    base.check()?;
    let study = Study { base, runs: Runs::open(global, &args.options, "refine-runs")? };
    let seen = study.see(LoadedModel::load(args.model.as_deref())?)?;
    let chosen: Vec<&Way> =
        WAYS.iter().filter(|w| args.ways.is_empty() || w.name == "none" || args.ways.iter().any(|n| n == w.name)).collect();
    let all = study.runs.all(&chosen, |way, seed| study.one(way, seed, &seen))?;
    study.report(&chosen, &all, &seen)
}

impl Study<'_> {
    fn see(&self, model: LoadedModel) -> Result<Seen> {
        let (Runs { engine, val, options, .. }, c) = (&self.runs, &self.base);
        let embedder = model.embedder(engine, 64)?;
        let database = build(&embedder, &model, &val.map, &c.grid(c.last_views()), Database::in_memory(), |_, _| {})?;
        let (queries, strips) = strips(val, &database, Protocol::Arbitrary, options.queries, c.strip, embedder.input(), 7)?;
        let vectors = encode(&embedder, val, &queries)?;
        let hits = Searcher::new(engine, &database, RESIDENT_BYTES)?.search(engine, &vectors, DEPTH.min(database.cells()))?;
        Ok(Seen { model, database, queries, strips, vectors, hits })
    }

    /// Refines what the search found.
    fn refined(
        &self,
        seen: &Seen,
        method: Method,
        strips: &[Strip],
        slider: Option<&Slider>,
        refiner: Option<&Refiner>,
    ) -> Result<Refined> {
        let searcher = Searcher::new(&self.runs.engine, &seen.database, RESIDENT_BYTES)?;
        let top = refiner.map_or(self.base.refiner.top, |r| r.config().top);
        let Seen { database, vectors, hits, .. } = seen;
        let request = Request { searcher: &searcher, database, queries: vectors, hits, strips, top, slider, refiner };
        refine(&self.runs.engine, method, &request)
    }

    fn both(&self, seen: &Seen, method: Method, slider: Option<&Slider>, refiner: Option<&Refiner>) -> Result<[Found; 2]> {
        let one = |strips: &[Strip]| -> Result<Found> {
            let hits = self.refined(seen, method, strips, slider, refiner)?;
            let first = |h: &Vec<CellHit>| h.first().map_or(0.0, |h| f64::from(h.score));
            let probabilities = if method == Method::Graph { hits.iter().map(first).collect() } else { Vec::new() };
            Ok(Found { results: judge(&seen.database, &seen.queries, &hits)?, probabilities })
        };
        Ok([one(&Strip::singles(seen.queries.len()))?, one(&seen.strips)?])
    }

    /// Trains and judges one way with one seed, or reads what an earlier call has found. What is not trained is one run for all seeds.
    fn one(&self, way: &Way, seed: u64, seen: &Seen) -> Result<Run> {
        let mut config = self.base.clone();
        let name = match way.how {
            How::Plain(..) => way.name.into(),
            How::Graph(set) => {
                config.seed = seed;
                set(&mut config);
                format!("{}-{seed}", way.name)
            }
        };
        config.check()?;
        let (queries, model) = (self.runs.options.queries, &seen.model.hash);
        let these = |run: &Run| run.config == config && run.queries == queries && run.model == *model;
        let run = self.runs.kept(&name, these, || self.found(way, &name, &config, seen))?;
        Ok(Run { seed, ..run })
    }

    fn found(&self, way: &Way, name: &str, config: &RefineTrainConfig, seen: &Seen) -> Result<Run> {
        let Runs { engine, scenes, val, options, global, .. } = &self.runs;
        let ([single, strips], coarse) = match way.how {
            How::Plain(method, slides) => {
                let reach = config.refiner.slide.max(1);
                let slider = slides.then(|| Slider::new(engine, seen.model.encoder(), reach)).transpose()?;
                (self.both(seen, method, slider.as_ref(), None)?, None)
            }
            How::Graph(_) => {
                let path = self.runs.train(name, config.total_steps(), |out, resume, stop, on| {
                    train_refiner(engine, config, &seen.model, scenes, val, out, resume, stop, on)
                })?;
                let model = LoadedModel::load(Some(&path))?;
                let refiner = Refiner::new(engine, &model.file, &path)?;
                match config.joint {
                    false => (self.both(seen, Method::Graph, None, Some(&refiner))?, None),
                    true => {
                        let own = self.see(model)?;
                        let coarse = judge(&own.database, &own.queries, &own.hits)?;
                        (self.both(&own, Method::Graph, None, Some(&refiner))?, Some(coarse))
                    }
                }
            }
        };
        let [one, all] = [&single, &strips].map(|f| percent(recall(&f.results)));
        global.say(format_args!("{name}: R@1 {one} %, in strips {all} %"));
        Ok(Run {
            way: way.name.into(),
            seed: config.seed,
            config: config.clone(),
            queries: options.queries,
            model: seen.model.hash.clone(),
            adapter: engine.adapter().to_string(),
            single,
            strips,
            coarse,
        })
    }
}

/// Refined candidates.
type Refined = Vec<Vec<CellHit>>;

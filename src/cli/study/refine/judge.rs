//! Each way with each seed, trained and judged on the same queries.

use super::ways::{Found, How, Run, Way, recall};
use crate::Result;
use crate::cli::study::runs::{Ledger, Runs, graph_is_of, stale};
use crate::cli::study::words::percent;
use crate::eval::{Draw, Protocol, Query, draw, encode, judge};
use crate::index::{CellHit, Database, LoadedModel, RESIDENT_BYTES, Searcher, build};
use crate::refine::{DEPTH, Method, Refiner, Request, Slider, Strip, refine};
use crate::train::{RefineTrainConfig, train_refiner};

/// The queries and what the search finds for them with one encoder.
pub(super) struct Seen {
    pub(super) model: LoadedModel,
    pub(super) database: Database,
    pub(super) queries: Vec<Query>,
    pub(super) strips: Vec<Strip>,
    pub(super) vectors: Vec<f32>,
    pub(super) hits: Vec<Vec<CellHit>>,
}

/// A study in its settings.
pub(super) struct Study<'a> {
    pub(super) base: RefineTrainConfig,
    pub(super) runs: Runs<'a>,
}

impl Study<'_> {
    /// Searches with one encoder.
    pub(super) fn see(&self, model: LoadedModel) -> Result<Seen> {
        let (Runs { ledger: Ledger { engine, .. }, val, options, .. }, c) = (&self.runs, &self.base);
        let embedder = model.embedder(engine, 64)?;
        let database = build(&embedder, &model, &val.map, &c.grid(c.last_views()), Database::in_memory(), |_, _| {})?;
        let wanted = Draw { strip: c.strip, ..Draw::new(Protocol::Arbitrary, options.queries, 7) };
        let (queries, strips) = draw(val, &database, embedder.input(), &wanted)?;
        let vectors = encode(&embedder, val, &queries)?;
        let hits = Searcher::new(engine, &database, RESIDENT_BYTES)?.search(engine, &vectors, DEPTH.min(database.cells()))?;
        Ok(Seen { model, database, queries, strips, vectors, hits })
    }

    /// Refines what the search found.
    pub(super) fn refined(
        &self,
        seen: &Seen,
        method: Method,
        strips: &[Strip],
        slider: Option<&Slider>,
        refiner: Option<&Refiner>,
    ) -> Result<Vec<Vec<CellHit>>> {
        let searcher = Searcher::new(&self.runs.ledger.engine, &seen.database, RESIDENT_BYTES)?;
        let top = refiner.map_or(self.base.refiner.top, |r| r.config().top);
        let Seen { database, vectors, hits, .. } = seen;
        let request = Request { searcher: &searcher, database, queries: vectors, hits, strips, top, slider, refiner };
        refine(&self.runs.ledger.engine, method, &request)
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
    pub(super) fn one(&self, way: &Way, seed: u64, seen: &Seen) -> Result<Run> {
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
        let run = self.runs.ledger.kept(&name, these, || self.found(way, &name, &config, seen))?;
        Ok(Run { seed, ..run })
    }

    fn found(&self, way: &Way, name: &str, config: &RefineTrainConfig, seen: &Seen) -> Result<Run> {
        let Runs { ledger: Ledger { engine, global, .. }, scenes, val, options, .. } = &self.runs;
        let ([single, strips], coarse) = match way.how {
            How::Plain(method, slides) => {
                let reach = config.refiner.slide.max(1);
                let slider = slides.then(|| Slider::new(engine, seen.model.encoder(), reach)).transpose()?;
                (self.both(seen, method, slider.as_ref(), None)?, None)
            }
            How::Graph(_) => {
                let path = self.runs.ledger.train(name, config.total_steps(), |out, resume, stop, on| {
                    train_refiner(engine, config, &seen.model, scenes, val, out, resume, stop, on)
                })?;
                let model = LoadedModel::load(Some(&path))?;
                if !graph_is_of(&model.file.manifest, config) {
                    return Err(stale(&path));
                }
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

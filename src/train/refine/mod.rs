//! Training of the graph network that refines an index's candidates: by itself behind a fixed encoder, or together with the encoder in
//! one run, gradients reaching both towers through the candidates.

mod config;
mod parts;

pub use config::RefineTrainConfig;

use super::TrainConfig;
use super::checkpoint::{self, refuse_unfinished, scene_records};
use super::course::Course;
use super::event::{Event, Outcome};
use super::learner::Learner;
use super::run::run;
use super::sampling::pair_sampling;
use super::task::Task;
use crate::Result;
use crate::eval::metrics::{QueryResult, Summary};
use crate::eval::{self, Ground, Protocol, Query};
use crate::gpu::{Engine, Plan, PlanBuilder, Precision, Tensor};
use crate::index::{CellHit, Database, Embedder, LoadedModel, RESIDENT_BYTES, Searcher, build};
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::{EncoderConfig, Graph, Manifest, NodeId, TensorMap, TowerInputs, Weights};
use crate::random::Random;
use crate::refine::{Candidates, DEPTH, Refiner, Request, Slider, Strip, Trainer, Turn, candidates, rows};
use crate::scene::{PageCache, ScenePair};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Trains a graph network onto `model` and writes both to `out` as one model; checkpoints go beside it. `stop` may be raised at any time.
///
/// # Errors
/// As [`super::train`].
pub fn train_refiner(
    engine: &Engine,
    config: &RefineTrainConfig,
    model: &LoadedModel,
    scenes: &[ScenePair],
    val: &ScenePair,
    out: &Path,
    resume: bool,
    stop: &AtomicBool,
    on: impl FnMut(Event),
) -> Result<Outcome> {
    config.check()?;
    if !resume {
        refuse_unfinished(out)?;
    }
    let (task, learner) = Refinement::new(engine, config, model, scenes, val)?;
    run(engine, task, learner, scene_records(scenes)?, out, resume, stop, on)
}

/// A scene seen through the encoder.
struct Seen {
    database: Database,
    singles: Drawn,
    strips: Drawn,
}

/// Queries, and what the scene's index finds for them.
struct Drawn {
    queries: Vec<Query>,
    vectors: Vec<f32>,
    /// As refinement takes them: shared along strips, slid where the network's candidates slide.
    hits: Vec<Vec<CellHit>>,
    strips: Vec<Strip>,
    /// Among how many cells each query was looked for.
    cells: Vec<usize>,
}

impl Drawn {
    /// The place of the right one among a query's candidates.
    fn truth(&self, database: &Database, query: usize, hits: &[CellHit]) -> Option<usize> {
        hits.iter().position(|h| database.cell_holds(h.cell, self.queries[query].map_px))
    }
}

/// How queries are drawn.
#[derive(Debug, Clone, Copy)]
struct Draw {
    /// How many, in whole strips.
    count: usize,
    /// Each strip is looked for in this part of the map at least.
    part: f64,
    seed: u64,
    /// The ground they lie on.
    ground: Ground,
}

/// What a step writes for the network to read, of the queries and of their candidates.
enum Feed {
    /// The stored vectors.
    Vectors([Tensor; 2]),
    /// Where the sampler cuts their patches, out of pages of the SAR images and of the maps.
    Patches([Tensor; 2], Box<[PageCache; 2]>),
}

/// The task: which of the candidates is right.
struct Refinement<'a> {
    config: &'a RefineTrainConfig,
    model: &'a LoadedModel,
    scenes: &'a [ScenePair],
    val: &'a ScenePair,
    patch_m: f64,
    trainer: Trainer,
    slider: Option<Slider>,
    feed: Feed,
    sampling: Plan,
    /// Where queries are drawn: not where the encoder's training held SAR out.
    ground: Ground,
    /// With the number of the scene.
    seen: Vec<(usize, Seen)>,
    judged: Option<Seen>,
}

/// Streams of random numbers: [`super::batch`] and dense training have those below.
const QUERIES: u64 = 20;
const STEPS: u64 = 21;
const PARTS: u64 = 22;

impl<'a> Refinement<'a> {
    fn new(
        engine: &Engine,
        config: &'a RefineTrainConfig,
        model: &'a LoadedModel,
        scenes: &'a [ScenePair],
        val: &'a ScenePair,
    ) -> Result<(Self, Learner)> {
        let (encoder, top) = (model.encoder(), config.refiner.top);
        let (count, input) = (config.queries, encoder.input);
        let mut graph = Graph::new();
        let (queries, candidates) = match config.joint {
            true => {
                let sar = graph.input("sar", &[count, input, input, 4]);
                let map = graph.input("map", &[count * top, input, input, 4]);
                let [map, sar] = encoder.towers(&mut graph, [map, sar], TowerInputs::default())?;
                (sar, map)
            }
            false => (graph.input("queries", &[count, encoder.dim()]), graph.input("candidates", &[count * top, encoder.dim()])),
        };
        let net = config.refiner.append(&mut graph, queries, candidates, encoder.squares())?;
        let (supervision, loss): (_, NodeId) = net.loss(&mut graph, &config.loss)?;
        let mut learner = Learner::new(engine, &graph, loss, None, &config.course())?;
        learner.init_hash = config.joint.then(|| model.hash.clone());
        if config.joint {
            learner.weights.load(engine, &model.file.parameters().map(|(n, t)| (n.clone(), t.clone())).collect())?;
        }
        let inputs = &learner.plan.inputs;
        let trainer = Trainer::new(&config.refiner, &config.loss, &graph, &net, &supervision, inputs)?;
        let slider = match config.refiner.slide {
            0 => None,
            reach => Some(Slider::new(engine, encoder, reach)?),
        };
        let mut builder = PlanBuilder::new(engine);
        let feed = match config.joint {
            false => Feed::Vectors([inputs[0].clone(), inputs[1].clone()]),
            true => {
                let records = [sampler::records(engine, count)?, sampler::records(engine, count * top)?];
                let scale = f64::from(config.patch) / input as f64;
                let [sar, map] = [(&records[0], &inputs[0]), (&records[1], &inputs[1])];
                let [map_pages, sar_pages] = pair_sampling(&mut builder, scenes, scale, map, sar)?;
                Feed::Patches(records, Box::new([sar_pages, map_pages]))
            }
        };
        let patch_m = f64::from(config.patch) * scenes[0].map.raster.ground_pixel_size()?.0;
        let sampling = builder.finish();
        let (seen, judged) = (Vec::new(), None);
        let held_out = TrainConfig::of(&model.file.manifest).and_then(|c| c.held_out());
        let ground = held_out.map_or(Ground::All, Ground::Shown);
        let task = Self { config, model, scenes, val, patch_m, trainer, slider, feed, sampling, ground, seen, judged };
        Ok((task, learner))
    }

    /// Builds an index of a scene and looks queries up in it: as many by themselves as in strips.
    fn see(&self, embedder: &Embedder<'_>, pair: &ScenePair, views: u32, draw: Draw) -> Result<Seen> {
        let c = self.config;
        let database = build(embedder, self.model, &pair.map, &c.grid(views), Database::in_memory(), |_, _| {})?;
        let searcher = Searcher::new(embedder.engine(), &database, RESIDENT_BYTES)?;
        let singles = self.draw(embedder, pair, &searcher, &database, 1, draw)?;
        let strips = self.draw(embedder, pair, &searcher, &database, c.strip, draw)?;
        drop(searcher);
        Ok(Seen { database, singles, strips })
    }

    /// Looks queries up in strips of so many.
    fn draw(
        &self,
        embedder: &Embedder<'_>,
        pair: &ScenePair,
        searcher: &Searcher<'_>,
        database: &Database,
        strip: usize,
        Draw { count, part, seed, ground }: Draw,
    ) -> Result<Drawn> {
        let c = self.config;
        let wanted = eval::Draw { strip, ground, ..eval::Draw::new(Protocol::Arbitrary, count, seed) };
        let (queries, strips) = eval::draw(pair, database, embedder.input(), &wanted)?;
        let (engine, vectors) = (embedder.engine(), eval::encode(embedder, pair, &queries)?);
        // One more than the network takes, where the right one may be withheld.
        let top = c.refiner.top + usize::from(c.withheld > 0.0);
        let depth = top.max(if c.refiner.slide > 0 { DEPTH } else { 0 });
        let mut hits = searcher.search(engine, &vectors, if part < 1.0 { database.cells() } else { depth })?;
        let mut cells = vec![database.cells(); queries.len()];
        if part < 1.0 {
            let mut random = Random::new(seed, PARTS);
            let places: Vec<[f64; 2]> = queries.iter().map(|q| q.map_px).collect();
            for Strip { queries: own, .. } in &strips {
                // As many small parts as large ones, by their logarithm.
                let share = part.powf(random.unit());
                let inside = parts::around(&database.cell_px, f64::from(c.patch), &places[own.clone()], share, &mut random);
                hits[own.clone()].iter_mut().for_each(|list| list.retain(|h| inside[h.cell as usize]));
                cells[own.clone()].fill(inside.iter().filter(|inside| **inside).count());
            }
        }
        hits.iter_mut().for_each(|list| list.truncate(depth));
        let slider = self.slider.as_ref();
        let request = Request { searcher, database, queries: &vectors, hits: &hits, strips: &strips, top, slider, refiner: None };
        let hits = candidates(engine, &request)?;
        Ok(Drawn { queries, vectors, hits, strips, cells })
    }

    fn embedder<'e>(&self, engine: &'e Engine, weights: &Weights) -> Result<Embedder<'e>> {
        match self.config.joint {
            true => Embedder::new(engine, self.model.encoder(), weights, 64, Precision::Full),
            false => self.model.embedder(engine, 64),
        }
    }
}

impl Task for Refinement<'_> {
    type Config = RefineTrainConfig;
    type Network = EncoderConfig;
    type State = ();

    fn config(&self) -> &RefineTrainConfig {
        self.config
    }

    fn network(&self) -> &EncoderConfig {
        self.model.encoder()
    }

    fn course(&self) -> Course {
        self.config.course()
    }

    fn patch_m(&self) -> f64 {
        self.patch_m
    }

    fn pixel_m(&self) -> Option<f64> {
        None
    }

    /// Behind an encoder that stays as it was, the model goes on saying where that came from.
    fn finished(&self, run: Manifest) -> Result<Manifest> {
        let refiner = Some(checkpoint::json(&self.config.refiner)?);
        if self.config.joint {
            let own = &self.model.file.manifest;
            let encoder_training = own.encoder_training.clone().or_else(|| Some(own.training.clone()));
            return Ok(Manifest { refiner, encoder_training, ..run });
        }
        let training = serde_json::json!({
            "version": run.version,
            "training": run.training,
            "seed": run.seed,
            "step": run.step,
            "scenes": run.scenes,
            "adapter": run.adapter,
            "validation": run.validation,
        });
        Ok(Manifest { refiner, refiner_training: Some(training), ..self.model.file.manifest.clone() })
    }

    fn kept(&self) -> TensorMap {
        match self.config.joint {
            true => TensorMap::new(),
            false => self.model.file.network().map(|(n, t)| (n.clone(), t.clone())).collect(),
        }
    }

    fn sampling(&self) -> &Plan {
        &self.sampling
    }

    fn start_epoch(&mut self, engine: &Engine, learner: &Learner, epoch: usize, (): &mut ()) -> Result<()> {
        let c = self.config;
        let stale = self.seen.is_empty() || c.joint && epoch.is_multiple_of(c.refresh);
        if !stale {
            return Ok(());
        }
        self.seen.clear();
        let embedder = self.embedder(engine, &learner.weights)?;
        // The places hang on the seed alone, so that a run that goes on sees what it would have seen.
        for (scene, pair) in self.scenes.iter().enumerate() {
            for views in &c.views {
                let i = self.seen.len() as u64;
                let seed = crate::random::splitmix(c.seed ^ (QUERIES << 40 | i));
                let draw = Draw { count: c.pool, part: c.part, seed, ground: self.ground };
                let seen = self.see(&embedder, pair, *views, draw)?;
                self.seen.push((scene, seen));
            }
        }
        Ok(())
    }

    /// The candidates of a joint run then come from the encoder as it is, not as it was when the epoch began.
    fn resume_epoch(&mut self, engine: &Engine, learner: &Learner, epoch: usize) -> Result<()> {
        self.start_epoch(engine, learner, epoch, &mut ())
    }

    fn start_step(&mut self, engine: &Engine, step: usize, (): &mut ()) -> Result<()> {
        let c = self.config;
        let mut random = Random::new(c.seed, STEPS << 40 | step as u64);
        let (scene, seen) = &self.seen[random.below(self.seen.len())];
        let drawn = if random.unit() < c.singles { &seen.singles } else { &seen.strips };
        let (mut hits, mut strips, mut truth, mut chosen, mut cells) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        while hits.len() < c.queries {
            let strip = &drawn.strips[random.below(drawn.strips.len())];
            let withheld = random.unit() < c.withheld;
            let start = hits.len();
            for q in strip.queries.clone() {
                let mut own = drawn.hits[q].clone();
                if withheld {
                    own.retain(|h| !seen.database.cell_holds(h.cell, drawn.queries[q].map_px));
                }
                own.truncate(c.refiner.top);
                truth.push(drawn.truth(&seen.database, q, &own));
                hits.push(own);
                chosen.push(q);
                cells.push(drawn.cells[q]);
            }
            strips.push(Strip { queries: start..hits.len(), offsets_m: strip.offsets_m.clone() });
        }
        let turn = Turn::number(random.below(Turn::COUNT));
        let candidates = Candidates { database: &seen.database, hits: &hits, strips: &strips, cells: &cells };
        self.trainer.write(engine, &candidates, &truth, turn)?;
        let (records, pages) = match &mut self.feed {
            Feed::Vectors([queries, rest]) => {
                let dim = seen.database.dim();
                let vectors: Vec<f32> = chosen.iter().flat_map(|q| &drawn.vectors[q * dim..][..dim]).copied().collect();
                engine.write(queries, &vectors)?;
                return Ok(engine.write(rest, &rows(&c.refiner, dim, &candidates, c.queries))?);
            }
            Feed::Patches(records, pages) => (records, pages),
        };
        let sar: Vec<PatchRecord> = chosen.iter().map(|q| PatchRecord { image: *scene as u32, ..drawn.queries[*q].record }).collect();
        let input = self.model.encoder().input;
        let scale = f64::from(c.patch) / input as f64;
        let mut map = Vec::with_capacity(c.queries * c.refiner.top);
        for own in &hits {
            for i in 0..c.refiner.top {
                // Where there are too few candidates the first stands in; the network is told that it is none.
                map.push(match own.get(i).or(own.first()) {
                    // The view as it is stored: the network slides it.
                    Some(hit) => {
                        let view = seen.database.row(hit.row as usize).centre_px;
                        PatchRecord::new(*scene as u32, view, scale, 0.0, false, input)?
                    }
                    None => PatchRecord::empty(),
                });
            }
        }
        for ((pages, records), cut) in pages.iter_mut().zip(records).zip([&sar, &map]) {
            pages.require(engine, cut, input)?;
            engine.write(records, cut)?;
        }
        Ok(())
    }

    /// Recall at 1 of the search (its candidates slid, if they slide), and refined: of queries by themselves and in strips.
    fn validate(&mut self, engine: &Engine, learner: &Learner, step: usize) -> Result<serde_json::Value> {
        if self.judged.is_none() || self.config.joint {
            let embedder = self.embedder(engine, learner.judged())?;
            let draw = Draw { count: self.config.validate_queries, part: 1.0, seed: 7, ground: Ground::All };
            self.judged = Some(self.see(&embedder, self.val, self.config.last_views(), draw)?);
        }
        let Some(Seen { database, singles, strips }) = &self.judged else { unreachable!("seen above") };
        let refiner = Refiner::of(engine, &self.config.refiner, self.model.encoder(), learner.judged())?;
        let first = |drawn: &Drawn, hits: &[Vec<CellHit>]| -> Result<f64> {
            let results: Vec<QueryResult> = hits
                .iter()
                .zip(&drawn.queries)
                .map(|(h, q)| QueryResult { right_rank: database.cell_holds(h[0].cell, q.map_px).then_some(1), error_m: None })
                .collect();
            Ok(Summary::new(&results, 7)?.recall[&1].value)
        };
        let refined = |drawn: &Drawn| -> Result<f64> {
            let Drawn { vectors, hits, strips, cells, .. } = drawn;
            first(drawn, &refiner.refine(engine, vectors, &Candidates { database, hits, strips, cells })?)
        };
        Ok(serde_json::json!({
            "step": step,
            "queries": singles.hits.len(),
            "coarse": first(singles, &singles.hits)?,
            "slide": self.config.refiner.slide,
            "refined": refined(singles)?,
            "strip": self.config.strip,
            "refined_strips": refined(strips)?,
        }))
    }
}

//! Training of the graph network that refines an index's candidates: by itself behind a fixed encoder, or together with the encoder in
//! one run, gradients reaching both towers through the candidates.

use super::checkpoint::{self, refuse_unfinished};
use super::config::read_toml;
use super::course::{self, Course, Event, Learner, Outcome, Task, resident, sar_scale};
use crate::eval::metrics::{QueryResult, Summary};
use crate::eval::{self, Protocol, Query, right};
use crate::gpu::{Engine, Plan, PlanBuilder, Tensor};
use crate::index::{CellHit, Database, Embedder, IndexConfig, LoadedModel, RESIDENT_BYTES, Searcher, build};
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::{EncoderConfig, Graph, Modality, NodeId, OptimizerConfig, TensorMap};
use crate::random::Random;
use crate::refine::{
    Candidates, Method, RefineLoss, Refiner, RefinerConfig, Request, Strip, Trainer, Truth, Turn, candidates, refine, rows,
};
use crate::scene::{PageCache, ScenePair};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// A run that trains a graph network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefineTrainConfig {
    /// The graph network.
    pub refiner: RefinerConfig,
    /// Its losses.
    pub loss: RefineLoss,
    /// Trains the encoder too.
    pub joint: bool,
    /// Side of a cell, map pixels.
    pub patch: u32,
    /// Views a side of the index that candidates come from.
    pub views: u32,
    /// Queries along a strip, in the steps that show strips.
    pub strip: usize,
    /// Share of the steps that show single queries.
    pub singles: f64,
    /// Share of the strips from whose candidates the right one is taken: they are to be told that none is right.
    pub withheld: f64,
    /// Queries in a step; a whole number of strips.
    pub queries: usize,
    /// Queries drawn on each scene.
    pub pool: usize,
    /// Joint training: epochs after which the index is built anew with the encoder as it is then.
    pub refresh: usize,
    /// Passes.
    pub epochs: usize,
    /// Steps in a pass.
    pub steps: usize,
    /// Everything random hangs on it.
    pub seed: u64,
    /// Share of all steps over which the learning rate rises; then it falls as a cosine.
    pub warmup: f64,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// Validation every so many epochs, and after the last.
    pub validate_every: usize,
    /// Queries of a validation.
    pub validate_queries: usize,
    /// A checkpoint every so many steps.
    pub checkpoint_every: usize,
}

impl Default for RefineTrainConfig {
    fn default() -> Self {
        Self {
            refiner: RefinerConfig::default(),
            loss: RefineLoss::default(),
            joint: false,
            patch: 200,
            views: crate::index::DEFAULT_VIEWS,
            strip: 5,
            singles: 0.5,
            withheld: 0.15,
            queries: 20,
            pool: 1500,
            refresh: 2,
            epochs: 8,
            steps: 100,
            seed: 1,
            warmup: 0.05,
            optimizer: OptimizerConfig::default(),
            validate_every: 4,
            validate_queries: 300,
            checkpoint_every: 100,
        }
    }
}

impl RefineTrainConfig {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// Not there, not TOML, an unknown or senseless value; with the place.
    pub fn load(path: &Path) -> Result<Self> {
        let config: Self = read_toml(path)?;
        config.check()?;
        Ok(config)
    }

    /// Refuses values that make no sense.
    ///
    /// # Errors
    /// The field and what it may be.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::invalid(format!("refinement configuration: {what}")));
        match self {
            c if c.strip == 0 || c.queries == 0 || !c.queries.is_multiple_of(c.strip) => {
                refuse("queries must be a multiple of strip, and both above 0")
            }
            c if c.pool < c.queries => refuse("pool must be at least one step's queries"),
            c if !(0.0..=1.0).contains(&c.singles) || !(0.0..=1.0).contains(&c.withheld) => {
                refuse("singles and withheld are shares, 0 to 1")
            }
            c if c.views.is_multiple_of(2) || c.views > 255 => refuse("views must be odd, and at most 255"),
            c if c.patch == 0 || c.refresh == 0 || c.validate_queries == 0 => refuse("patch, refresh and validate_queries must be above 0"),
            c => c.refiner.check().and(c.course().check()).or_else(refuse),
        }
    }

    /// Steps in all.
    pub fn total_steps(&self) -> usize {
        self.epochs * self.steps
    }

    fn course(&self) -> Course {
        Course {
            epochs: self.epochs,
            steps: self.steps,
            items: self.queries,
            seed: self.seed,
            warmup: self.warmup,
            optimizer: self.optimizer,
            validate_every: self.validate_every,
            checkpoint_every: self.checkpoint_every,
        }
    }

    fn grid(&self) -> IndexConfig {
        IndexConfig { cell: self.patch, stride: self.patch, views: self.views, ..IndexConfig::default() }
    }
}

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
    course::run(engine, task, learner, scenes, out, resume, stop, on)
}

/// A scene seen through the encoder: queries, and what the index finds for them.
struct Seen {
    database: Database,
    queries: Vec<Query>,
    vectors: Vec<f32>,
    hits: Vec<Vec<CellHit>>,
    /// The candidates as the strips share them.
    shared: Vec<Vec<CellHit>>,
    strips: Vec<Strip>,
}

impl Seen {
    fn truth(&self, query: usize, hits: &[CellHit]) -> Truth {
        let map_px = self.queries[query].map_px;
        Truth { right: hits.iter().position(|h| right(&self.database, h.cell, map_px)), map_px }
    }
}

/// The task: which of the candidates is right.
struct Refinement<'a> {
    config: &'a RefineTrainConfig,
    model: &'a LoadedModel,
    scenes: &'a [ScenePair],
    val: &'a ScenePair,
    patch_m: f64,
    trainer: Trainer,
    /// The network's inputs: vectors of queries and candidates, or their patches.
    vectors: [Tensor; 2],
    records: [Tensor; 2],
    sampling: Plan,
    seen: Vec<Seen>,
    judged: Option<Seen>,
}

/// Streams of random numbers: [`super::batch`] and dense training have those below.
const QUERIES: u64 = 20;
const STEPS: u64 = 21;

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
                (encoder.tower(&mut graph, Modality::Sar, sar)?, encoder.tower(&mut graph, Modality::Map, map)?)
            }
            false => (graph.input("queries", &[count, encoder.dim()]), graph.input("candidates", &[count * top, encoder.dim()])),
        };
        let net = config.refiner.append(&mut graph, queries, candidates)?;
        let (supervision, loss): (_, NodeId) = net.loss(&mut graph, &config.loss)?;
        let learner = Learner::new(engine, &graph, loss, None, &config.course())?;
        if config.joint {
            learner.weights.load(engine, &model.file.tensors)?;
        }
        let inputs = &learner.plan.inputs;
        let trainer = Trainer::new(engine, &config.refiner, &config.loss, &graph, &net, &supervision, inputs)?;
        let records = [sampler::records(engine, count)?, sampler::records(engine, count * top)?];
        let mut builder = PlanBuilder::new(engine);
        if config.joint {
            let map_cache = resident(engine, scenes, |s| (&s.map, &s.map_mask))?;
            let sar_cache = resident(engine, scenes, |s| (&s.sar, &s.sar_mask))?;
            let scale = f64::from(config.patch) / input as f64;
            let sar = scenes.iter().try_fold(0.0f64, |most, s| Ok::<_, Error>(most.max(sar_scale(s, scale)?)))?;
            for (cache, scale, records, input) in [(&sar_cache, sar, &records[0], &inputs[0]), (&map_cache, scale, &records[1], &inputs[1])]
            {
                sampler::forward(&mut builder, cache.array(), cache.table(), records, sampler::taps_for(scale), true, input)?;
            }
        }
        let patch_m = f64::from(config.patch) * scenes[0].map.raster.ground_pixel_size()?.0;
        let vectors = [inputs[0].clone(), inputs[1].clone()];
        let sampling = builder.finish();
        let (seen, judged) = (Vec::new(), None);
        let task = Self { config, model, scenes, val, patch_m, trainer, vectors, records, sampling, seen, judged };
        Ok((task, learner))
    }

    /// Builds the index of a scene and looks `count` queries up, in whole strips.
    fn see(&self, embedder: &Embedder<'_>, pair: &ScenePair, count: usize, seed: u64) -> Result<Seen> {
        let c = self.config;
        let database = build(embedder, self.model, &pair.map, &c.grid(), Database::in_memory(), |_, _| {})?;
        let (queries, strips) = eval::strips(pair, &database, Protocol::Arbitrary, count, c.strip, embedder.input(), seed)?;
        let records: Vec<PatchRecord> = queries.iter().map(|q| q.record).collect();
        let mut cache = PageCache::new(embedder.engine(), vec![pair.sar.clone()], crate::scene::pages::DEFAULT_PAGES)?;
        let taps = sampler::taps_for(queries.first().map_or(1.0, |q| q.record.scale()));
        let vectors = embedder.embed_all(Modality::Sar, &mut cache, &records, taps)?;
        let searcher = Searcher::new(embedder.engine(), &database, RESIDENT_BYTES)?;
        // One more than the network takes: the right one may be withheld.
        let hits = searcher.search(embedder.engine(), &vectors, c.refiner.top + 1)?;
        let request = Request {
            searcher: &searcher,
            database: &database,
            queries: &vectors,
            hits: &hits,
            strips: &strips,
            top: c.refiner.top,
            refiner: None,
        };
        let shared = candidates(&request);
        drop(searcher);
        Ok(Seen { database, queries, vectors, hits, shared, strips })
    }

    fn embedder<'e>(&self, engine: &'e Engine, learner: &Learner) -> Result<Embedder<'e>> {
        match self.config.joint {
            true => Embedder::new(engine, self.model.encoder(), &learner.weights, 64),
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

    fn refiner(&self) -> Result<Option<serde_json::Value>> {
        checkpoint::json(&self.config.refiner).map(Some)
    }

    fn kept(&self) -> TensorMap {
        let graph = |name: &str| name.starts_with("graph.");
        match self.config.joint {
            true => TensorMap::new(),
            false => self.model.file.tensors.iter().filter(|(n, _)| !graph(n)).map(|(n, t)| (n.clone(), t.clone())).collect(),
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
        let embedder = self.embedder(engine, learner)?;
        // The places hang on the seed alone, so that a run that goes on sees what it would have seen.
        for (i, scene) in self.scenes.iter().enumerate() {
            let seen = self.see(&embedder, scene, c.pool, crate::random::splitmix(c.seed ^ (QUERIES << 40 | i as u64)))?;
            self.seen.push(seen);
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
        let scene = random.below(self.seen.len());
        let seen = &self.seen[scene];
        let single = random.unit() < c.singles;
        let (mut hits, mut strips, mut truth, mut chosen) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        while hits.len() < c.queries {
            let strip = &seen.strips[random.below(seen.strips.len())];
            let pick = random.below(strip.queries.len());
            let queries = if single { strip.queries.start + pick..strip.queries.start + pick + 1 } else { strip.queries.clone() };
            let withheld = random.unit() < c.withheld;
            let start = hits.len();
            for q in queries.clone() {
                let mut own = if single { seen.hits[q].clone() } else { seen.shared[q].clone() };
                if withheld {
                    own.retain(|h| !right(&seen.database, h.cell, seen.queries[q].map_px));
                }
                own.truncate(c.refiner.top);
                truth.push(seen.truth(q, &own));
                hits.push(own);
                chosen.push(q);
            }
            let from = queries.start - strip.queries.start;
            let offsets_m = strip.offsets_m[from..from + queries.len()].to_vec();
            strips.push(Strip { queries: start..hits.len(), offsets_m });
        }
        let turn = Turn::number(random.below(Turn::COUNT));
        let candidates = Candidates { database: &seen.database, hits: &hits, strips: &strips };
        self.trainer.write(engine, &candidates, &truth, turn)?;
        if !c.joint {
            let dim = seen.database.dim();
            let vectors: Vec<f32> = chosen.iter().flat_map(|q| &seen.vectors[q * dim..][..dim]).copied().collect();
            engine.write(&self.vectors[0], &vectors)?;
            return Ok(engine.write(&self.vectors[1], &rows(&c.refiner, dim, &candidates, c.queries))?);
        }
        let sar: Vec<PatchRecord> = chosen.iter().map(|q| PatchRecord { image: scene as u32, ..seen.queries[*q].record }).collect();
        let input = self.model.encoder().input;
        let scale = f64::from(c.patch) / input as f64;
        let mut map = Vec::with_capacity(c.queries * c.refiner.top);
        for own in &hits {
            for i in 0..c.refiner.top {
                // Where there are too few candidates the first stands in; the network is told that it is none.
                map.push(match own.get(i).or(own.first()) {
                    Some(hit) => PatchRecord::new(scene as u32, hit.centre_px, scale, 0.0, false, input)?,
                    None => PatchRecord::empty(),
                });
            }
        }
        engine.write(&self.records[0], &sar)?;
        Ok(engine.write(&self.records[1], &map)?)
    }

    /// Recall at 1 of the search, and refined: of queries by themselves and in strips.
    fn validate(&mut self, engine: &Engine, learner: &Learner, step: usize) -> Result<serde_json::Value> {
        if self.judged.is_none() || self.config.joint {
            let embedder = self.embedder(engine, learner)?;
            self.judged = Some(self.see(&embedder, self.val, self.config.validate_queries, 7)?);
        }
        let Some(seen) = &self.judged else { unreachable!("seen above") };
        let refiner = Refiner::of(engine, &self.config.refiner, seen.database.dim(), &learner.weights)?;
        let searcher = Searcher::new(engine, &seen.database, RESIDENT_BYTES)?;
        let first = |hits: Vec<&CellHit>| -> Result<f64> {
            let results: Vec<QueryResult> = hits
                .iter()
                .zip(&seen.queries)
                .map(|(h, q)| QueryResult { right_rank: right(&seen.database, h.cell, q.map_px).then_some(1), error_m: None })
                .collect();
            Ok(Summary::new(&results, 7)?.recall[&1].value)
        };
        let refined = |strips: &[Strip]| -> Result<f64> {
            let request = Request {
                searcher: &searcher,
                database: &seen.database,
                queries: &seen.vectors,
                hits: &seen.hits,
                strips,
                top: self.config.refiner.top,
                refiner: Some(&refiner),
            };
            first(refine(engine, Method::Graph, &request)?.iter().map(|h| &h[0]).collect())
        };
        let single = Strip::singles(seen.hits.len());
        Ok(serde_json::json!({
            "step": step,
            "queries": seen.hits.len(),
            "coarse": first(seen.hits.iter().map(|h| &h[0]).collect())?,
            "refined": refined(&single)?,
            "strip": self.config.strip,
            "refined_strips": refined(&seen.strips)?,
        }))
    }
}

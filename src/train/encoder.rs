//! Training of encoders of patches: InfoNCE over pairs, hard negatives from the embedding, recall on the validation scene.

use super::batch::{Batcher, Place};
use super::checkpoint::{self, Kind, refuse_unfinished};
use super::config::TrainConfig;
use super::course::Course;
use super::event::{Event, Outcome};
use super::learner::Learner;
use super::run::run;
use super::sampling::pair_sampling;
use super::task::{Progress, Task};
use crate::Result;
use crate::align::Objective;
use crate::eval::metrics::Summary;
use crate::eval::{Protocol, evaluate, queries};
use crate::gpu::{Engine, OpTime, Plan, PlanBuilder, Precision, Tensor};
use crate::index::{Database, Embedder, IndexConfig, LoadedModel, Searcher, build};
use crate::kernels::sampler;
use crate::nn::ops::{InfoNce, WeightedMeans};
use crate::nn::{EncoderConfig, Graph, Modality, WeightFile};
use crate::random::signed;
use crate::scene::{PageCache, ScenePair};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Trains on `scenes` and writes the model to `out`; checkpoints go beside it. `stop` may be raised at any time.
///
/// # Errors
/// Configuration, scenes, device, files. A checkpoint that does not fit the run, or one that would be overwritten; a loss
/// that stays infinite.
pub fn train(
    engine: &Engine,
    config: &TrainConfig,
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
    let mut learner = learner(engine, config)?;
    if let Some(from) = config.init_from.as_ref().filter(|_| !resume) {
        learner.start_from(engine, from.encoder_start(&config.encoder)?)?;
    }
    let task = Pairs::new(engine, config, scenes, val, &learner)?;
    run(engine, task, learner, scenes, out, resume, stop, on)
}

/// The task: pairs of a map and a SAR patch.
struct Pairs<'a> {
    config: &'a TrainConfig,
    val: &'a ScenePair,
    patch_m: f64,
    batcher: Batcher<'a>,
    map_cache: PageCache,
    patches: [Tensor; 2],
    /// The towers' style, where they have one.
    style: Option<Tensor>,
    sampling: Plan,
}

impl<'a> Pairs<'a> {
    fn new(engine: &Engine, config: &'a TrainConfig, scenes: &'a [ScenePair], val: &'a ScenePair, learner: &Learner) -> Result<Self> {
        let batcher = Batcher::new(scenes, config)?;
        let patches = [sampler::records(engine, config.batch)?, sampler::records(engine, config.batch)?];
        let scale = f64::from(config.patch) / config.encoder.input as f64;
        let mut builder = PlanBuilder::new(engine);
        let [map, sar] = [0, 1].map(|i| (&patches[i], &learner.plan.inputs[i]));
        let map_cache = pair_sampling(&mut builder, scenes, scale, map, sar)?;
        let patch_m = f64::from(config.patch) * scenes[0].map.raster.ground_pixel_size()?.0;
        let style = mixes(config).then(|| learner.plan.inputs[2].clone());
        Ok(Self { config, val, patch_m, batcher, map_cache, patches, style, sampling: builder.finish() })
    }
}

impl Task for Pairs<'_> {
    type Config = TrainConfig;
    type Network = EncoderConfig;
    /// Places of the remaining steps of this epoch, where they came from the embedding of its start.
    type State = Vec<Vec<Place>>;

    fn config(&self) -> &TrainConfig {
        self.config
    }

    fn network(&self) -> &EncoderConfig {
        &self.config.encoder
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

    fn sampling(&self) -> &Plan {
        &self.sampling
    }

    /// Places of an epoch's steps with hard negatives from the embedding as it is now.
    fn start_epoch(&mut self, engine: &Engine, learner: &Learner, epoch: usize, planned: &mut Vec<Vec<Place>>) -> Result<()> {
        let c = self.config;
        if epoch < c.similar_from || c.similar <= 0.0 {
            return Ok(());
        }
        let batcher = &self.batcher;
        let pool = batcher.pool(epoch)?;
        let embedder = Embedder::new(engine, &c.encoder, &learner.weights, c.batch, Precision::Full)?;
        let records = pool.iter().map(|p| batcher.plain_record(*p)).collect::<Result<Vec<_>>>()?;
        let taps = sampler::taps_for(f64::from(c.patch) / c.encoder.input as f64);
        let vectors = embedder.embed_all(Modality::Map, &mut self.map_cache, &records, taps)?;
        *planned =
            (0..c.steps).map(|i| batcher.similar_places(epoch * c.steps + i, &pool, &vectors, embedder.dim())).collect::<Result<_>>()?;
        Ok(())
    }

    fn start_step(&mut self, engine: &Engine, step: usize, planned: &mut Vec<Vec<Place>>) -> Result<()> {
        let places = if planned.is_empty() { self.batcher.places(step)? } else { planned.remove(0) };
        let (map, sar) = self.batcher.records(step, &places)?;
        if let Some(style) = &self.style {
            engine.write(style, &self.batcher.styles(step))?;
        }
        engine.write(&self.patches[0], &map)?;
        Ok(engine.write(&self.patches[1], &sar)?)
    }

    /// Recall of both protocols on the validation scene.
    fn validate(&mut self, engine: &Engine, learner: &Learner, step: usize) -> Result<serde_json::Value> {
        let c = self.config;
        let embedder = Embedder::new(engine, &c.encoder, &learner.weights, c.batch, Precision::Full)?;
        let grid = IndexConfig { cell: c.patch, stride: c.patch, views: c.validate_views, ..IndexConfig::default() };
        let manifest = checkpoint::manifest(Kind::Model, engine, self, &[], &Progress::default())?;
        let file = WeightFile { manifest, tensors: std::collections::BTreeMap::new() };
        let model = LoadedModel { hash: file.hash(), file, path: "(training)".into(), precision: Precision::Full };
        let database = build(&embedder, &model, &self.val.map, &grid, Database::in_memory(), |_, _| {})?;
        let searcher = Searcher::new(engine, &database, crate::index::RESIDENT_BYTES)?;
        let mut figures = serde_json::json!({ "step": step, "views": c.validate_views });
        for (name, protocol) in [("aligned", Protocol::Aligned), ("arbitrary", Protocol::Arbitrary)] {
            let queries = queries(self.val, &database, protocol, c.validate_queries, c.encoder.input, 7)?;
            let evaluation = evaluate(&embedder, self.val, &database, &searcher, queries)?;
            let summary = Summary::new(&evaluation.results, 7)?;
            let recall: serde_json::Map<String, serde_json::Value> =
                summary.recall.iter().map(|(k, e)| (k.to_string(), e.value.into())).collect();
            figures[name] = recall.into();
        }
        Ok(figures)
    }
}

/// Median time of each dispatch of a training step over `steps` runs, for `echogrid profile`.
///
/// # Errors
/// As [`train`].
pub fn profile_step(engine: &Engine, config: &TrainConfig, steps: usize) -> Result<Vec<OpTime>> {
    config.check()?;
    learner(engine, config)?.profile(engine, steps)
}

/// The dispatches of a training step but for the sampler's: both passes and the optimiser, on patches of noise. For benchmarks.
///
/// # Errors
/// As [`train`].
pub fn step_plan(engine: &Engine, config: &TrainConfig) -> Result<Plan> {
    config.check()?;
    let learner = learner(engine, config)?;
    for (seed, input) in (1..).zip(&learner.plan.inputs) {
        engine.write(input, &signed(input.len(), seed))?;
    }
    learner.into_plan(engine)
}

/// Whether the towers mix their statistics.
fn mixes(config: &TrainConfig) -> bool {
    config.augment.mix_statistics > 0.0
}

/// Both towers and the loss, with what trains them; inputs `map`, `sar` and, where they mix their statistics, `style` in this order.
fn learner(engine: &Engine, config: &TrainConfig) -> Result<Learner> {
    let (input, batch) = (config.encoder.input, config.batch);
    let mut graph = Graph::new();
    let map_in = graph.input("map", &[batch, input, input, 4]);
    let sar_in = graph.input("sar", &[batch, input, input, 4]);
    let style = mixes(config).then(|| graph.input("style", &[batch]));
    let [map, sar] = config.encoder.towers(&mut graph, [map_in, sar_in], style)?;
    let mut loss = graph.add("loss", InfoNce { smoothing: config.smoothing }, &[sar, map])?;
    let objective = Objective::append(&config.align, &mut graph, map, sar)?;
    if let Some(objective) = &objective {
        loss = graph.add("total", WeightedMeans { weights: vec![1.0, config.align.weight() as f32] }, &[loss, objective.loss()])?;
    }
    Learner::new(engine, &graph, loss, objective.as_ref(), &config.course())
}

//! Training of encoders of patches: pairs of a place, hard negatives from the embedding, recall on the validation scene.

use super::batch::{Batcher, Place};
use super::checkpoint::{self, Kind, refuse_unfinished, scene_records};
use super::config::TrainConfig;
use super::course::Course;
use super::event::{Event, Outcome};
use super::learner::Learner;
use super::loss::PairGraph;
use super::run::run;
use super::sampling::pair_sampling;
use super::task::{Progress, Task};
use crate::Result;
use crate::eval::gap::{self, GapConfig};
use crate::eval::metrics::Summary;
use crate::eval::{Protocol, evaluate, queries};
use crate::gpu::{DType, Engine, OpTime, Plan, PlanBuilder, Precision, Tensor};
use crate::index::{Database, Embedder, LoadedModel, Searcher, build};
use crate::kernels::sampler;
use crate::nn::{EncoderConfig, Modality, WeightFile};
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
    let (task, learner) = Pairs::new(engine, config, scenes, val, !resume)?;
    run(engine, task, learner, scene_records(scenes)?, out, resume, stop, on)
}

/// The task: pairs of a map and a SAR patch.
pub(super) struct Pairs<'a> {
    config: &'a TrainConfig,
    val: &'a ScenePair,
    patch_m: f64,
    batcher: Batcher<'a>,
    /// Pages of the maps and of the SAR images.
    pages: [PageCache; 2],
    patches: [Tensor; 2],
    /// Inputs that not every run has; see [`PairGraph`].
    style: Option<Tensor>,
    dropout: Option<Tensor>,
    weights: Option<Tensor>,
    cells: Option<Tensor>,
    sampling: Plan,
}

impl<'a> Pairs<'a> {
    /// The task, and the network: with its start values unless it goes on from a checkpoint.
    pub(super) fn new(
        engine: &Engine,
        config: &'a TrainConfig,
        scenes: &'a [ScenePair],
        val: &'a ScenePair,
        fresh: bool,
    ) -> Result<(Self, Learner)> {
        let batcher = Batcher::new(scenes, config)?;
        let net = PairGraph::new(config, batcher.cells())?;
        let mut learner = Learner::new(engine, &net.graph, net.loss, net.objective.as_ref(), &config.course())?;
        if let Some(from) = config.init_from.as_ref().filter(|_| fresh) {
            learner.start_from(engine, from.encoder_start(&config.encoder)?)?;
        }
        let inputs = &learner.plan.inputs;
        let patches = [sampler::records(engine, config.batch + config.map_negatives)?, sampler::records(engine, config.batch)?];
        let scale = f64::from(config.patch) / config.encoder.input as f64;
        let mut builder = PlanBuilder::new(engine);
        let [map, sar] = [(&patches[0], &inputs[PairGraph::MAP]), (&patches[1], &inputs[PairGraph::SAR])];
        let pages = pair_sampling(&mut builder, scenes, scale, map, sar)?;
        let patch_m = f64::from(config.patch) * scenes[0].map.raster.ground_pixel_size()?.0;
        let input = |at: Option<usize>| at.map(|i| inputs[i].clone());
        let (style, dropout, weights, cells) = (input(net.style), input(net.dropout), input(net.weights), input(net.cells));
        let sampling = builder.finish();
        Ok((Self { config, val, patch_m, batcher, pages, patches, style, dropout, weights, cells, sampling }, learner))
    }

    /// What a step is told beside its patches, by name, where the run has it; not what it drops, which hangs on seed and step alone.
    pub(super) fn told(&self) -> Vec<(&'static str, Tensor)> {
        let all = [("weights", &self.weights), ("cells", &self.cells), ("style", &self.style)];
        all.into_iter().filter_map(|(name, t)| Some((name, t.clone()?))).collect()
    }

    /// An encoder of the weights that are judged, and the model they make.
    pub(super) fn model<'e>(&self, engine: &'e Engine, learner: &Learner) -> Result<(Embedder<'e>, LoadedModel)> {
        let embedder = Embedder::new(engine, &self.config.encoder, learner.judged(), self.config.batch, Precision::Full)?;
        let manifest = checkpoint::manifest(Kind::Model, engine, self, &[], &Progress::default())?;
        let file = WeightFile { manifest, tensors: std::collections::BTreeMap::new() };
        Ok((embedder, LoadedModel { hash: file.hash(), file, path: "(training)".into(), precision: Precision::Full }))
    }

    /// Distances between the modalities on the validation scene: how far the two clouds of the same places lie apart.
    fn gap(&self, engine: &Engine, embedder: &Embedder<'_>) -> Result<serde_json::Value> {
        let c = self.config;
        let records = gap::pairs(self.val, f64::from(c.patch), c.encoder.input, c.validate_queries.max(8), 7)?;
        let clouds = gap::embed(embedder, self.val, &records)?;
        let config = GapConfig { permutations: 0, dear_permutations: 0, ..GapConfig::default() };
        let found = gap::gap(engine, &clouds[0], &clouds[1], embedder.dim(), &config, |_| {})?;
        Ok(found.estimates.iter().map(|e| (e.measure.to_string(), e.value.into())).collect::<serde_json::Map<_, _>>().into())
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
        let vectors = embedder.embed_all(Modality::Map, &mut self.pages[0], &records, taps)?;
        *planned =
            (0..c.steps).map(|i| batcher.similar_places(epoch * c.steps + i, &pool, &vectors, embedder.dim())).collect::<Result<_>>()?;
        Ok(())
    }

    fn start_step(&mut self, engine: &Engine, step: usize, planned: &mut Vec<Vec<Place>>) -> Result<()> {
        let places = if planned.is_empty() { self.batcher.places(step)? } else { planned.remove(0) };
        let cuts = self.batcher.cuts(step, &places)?;
        if let Some(style) = &self.style {
            engine.write(style, &self.batcher.styles(step))?;
        }
        if let Some(dropout) = &self.dropout {
            engine.write(dropout, &[self.config.seed as u32, step as u32])?;
        }
        if let Some(weights) = &self.weights {
            engine.write(weights, &self.batcher.weights(&places, &cuts))?;
        }
        if let Some(cells) = &self.cells {
            engine.write(cells, &self.batcher.labels(&places))?;
        }
        for ((pages, records), cut) in self.pages.iter_mut().zip(&self.patches).zip([&cuts.map, &cuts.sar]) {
            pages.require(engine, cut, self.config.encoder.input)?;
            engine.write(records, cut)?;
        }
        Ok(())
    }

    /// Recall of both protocols on the validation scene.
    fn validate(&mut self, engine: &Engine, learner: &Learner, step: usize) -> Result<serde_json::Value> {
        let c = self.config;
        let (embedder, model) = self.model(engine, learner)?;
        let database = build(&embedder, &model, &self.val.map, &c.grid(c.validate_views), Database::in_memory(), |_, _| {})?;
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
        if c.validate_gap {
            figures["gap"] = self.gap(engine, &embedder)?;
        }
        Ok(figures)
    }
}

/// Cells of the network that is only timed: about those of two cities.
const TIMED_CELLS: usize = 1024;

/// The network of a run without its scenes.
fn timed(engine: &Engine, config: &TrainConfig) -> Result<Learner> {
    config.check()?;
    let net = PairGraph::new(config, TIMED_CELLS)?;
    Learner::new(engine, &net.graph, net.loss, net.objective.as_ref(), &config.course())
}

/// Median time of each dispatch of a training step over `steps` runs, for `echogrid profile`.
///
/// # Errors
/// As [`train`].
pub fn profile_step(engine: &Engine, config: &TrainConfig, steps: usize) -> Result<Vec<OpTime>> {
    timed(engine, config)?.profile(engine, steps)
}

/// The dispatches of a training step but for the sampler's: both passes and the optimiser, on patches of noise. For benchmarks.
///
/// # Errors
/// As [`train`].
pub fn step_plan(engine: &Engine, config: &TrainConfig) -> Result<Plan> {
    let learner = timed(engine, config)?;
    for (seed, input) in (1..).zip(&learner.plan.inputs) {
        match input.dtype() {
            DType::U32 => engine.write(input, &vec![1u32; input.len()])?,
            _ => engine.write(input, &signed(input.len(), seed))?,
        }
    }
    learner.into_plan(engine)
}

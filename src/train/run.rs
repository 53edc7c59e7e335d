//! The loop.

use super::batch::{Batcher, Place};
use super::checkpoint::{self, Progress, checkpoint_path};
use super::config::TrainConfig;
use crate::eval::metrics::Summary;
use crate::eval::{Protocol, evaluate, queries};
use crate::gpu::{Engine, OpTime, PlanBuilder};
use crate::index::{Database, Embedder, IndexConfig, LoadedModel, Searcher, build};
use crate::kernels::sampler;
use crate::nn::{Graph, Manifest, Modality, Optimizer, StepFactors, WeightFile, Weights, import_torchvision, ops::InfoNce};
use crate::scene::{PageCache, ScenePair};
use crate::{Error, Result};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What happens during a run.
#[derive(Debug, Clone)]
pub enum Event {
    /// Sizes, once.
    Start {
        /// Step the run goes on from.
        step: usize,
        /// Steps in all.
        total: usize,
        /// Trained values.
        parameters: usize,
        /// Floating-point operations of a step.
        flops: f64,
        /// Bytes of activations and gradients on the device.
        bytes: u64,
    },
    /// A step is done.
    Step {
        /// Its number, from 1.
        step: usize,
        /// Loss before it.
        loss: f32,
        /// Learning rate used.
        lr: f64,
        /// Pairs a second, lately.
        rate: f64,
    },
    /// Validation figures.
    Validation {
        /// Step.
        step: usize,
        /// `{"step", "aligned": {"1": .., ..}, "arbitrary": {..}, "views"}`
        figures: serde_json::Value,
    },
    /// A checkpoint was written at this step.
    Checkpoint(usize),
    /// A step was left out because its gradient was not finite.
    Skipped(usize),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The model is written.
    Finished,
    /// Stopped on request; the checkpoint is written.
    Stopped {
        /// Steps done.
        step: usize,
    },
}

/// Everything of a run that lives on the device.
struct Run<'a> {
    engine: &'a Engine,
    config: &'a TrainConfig,
    scenes: &'a [ScenePair],
    val: &'a ScenePair,
    weights: Weights,
}

/// Trains on `scenes` and writes the model to `out`; checkpoints go beside it. `stop` may be raised at any time.
///
/// # Errors
/// Configuration, scenes, device, files. A checkpoint that does not fit the run.
pub fn train(
    engine: &Engine,
    config: &TrainConfig,
    scenes: &[ScenePair],
    val: &ScenePair,
    out: &Path,
    resume: bool,
    stop: &AtomicBool,
    mut on: impl FnMut(Event),
) -> Result<Outcome> {
    config.check()?;
    let (patch, input, batch) = (f64::from(config.patch), config.encoder.input, config.batch);
    let records = checkpoint::scene_records(scenes)?;
    let patch_m = patch * scenes[0].map.raster.ground_pixel_size()?.0;

    // The network: both towers and the loss.
    let mut graph = Graph::new();
    let map_in = graph.input("map", &[batch, input, input, 4]);
    let sar_in = graph.input("sar", &[batch, input, input, 4]);
    let map = config.encoder.tower(&mut graph, Modality::Map, map_in)?;
    let sar = config.encoder.tower(&mut graph, Modality::Sar, sar_in)?;
    let loss = graph.add("loss", InfoNce { smoothing: config.smoothing }, &[sar, map])?;
    let weights = Weights::init(engine, &graph, config.seed)?;
    if let Some(path) = config.init_from.as_ref().filter(|_| !resume) {
        weights.load(engine, &import_torchvision(path, &config.encoder)?)?;
    }
    let plan = graph.training(engine, &weights, &[loss])?;
    let optimizer = Optimizer::new(engine, &graph, &weights, &plan.gradients, config.optimizer)?;

    // The scenes enter the device once.
    let cache = |pick: fn(&ScenePair) -> &std::sync::Arc<crate::scene::Image>| -> Result<PageCache> {
        let mut cache = PageCache::new(engine, scenes.iter().map(|s| pick(s).clone()).collect(), u32::MAX)?;
        cache.require_all(engine)?;
        Ok(cache)
    };
    let mut map_cache = cache(|s| &s.map)?;
    let sar_cache = cache(|s| &s.sar)?;
    let (map_records, sar_records) = (sampler::records(engine, batch)?, sampler::records(engine, batch)?);
    let taps = sampler::taps_for(patch / input as f64);
    let mut builder = PlanBuilder::new(engine);
    sampler::forward(&mut builder, map_cache.array(), map_cache.table(), &map_records, taps, true, &plan.inputs[0])?;
    sampler::forward(&mut builder, sar_cache.array(), sar_cache.table(), &sar_records, taps, true, &plan.inputs[1])?;
    let mut step_plan = builder.finish();
    step_plan.extend(plan.plan.clone());
    step_plan.extend(optimizer.plan.clone());

    let batcher = Batcher::new(scenes, config)?;
    let file = checkpoint_path(out);
    let mut progress = match resume {
        true => checkpoint::load(&file, engine, config, &records, &weights, &optimizer)?,
        false => Progress::default(),
    };
    let run = Run { engine, config, scenes, val, weights };
    let total = config.total_steps();
    on(Event::Start { step: progress.step, total, parameters: graph.parameter_count(), flops: step_plan.flops(), bytes: plan.bytes });

    let save = |progress: &Progress, on: &mut dyn FnMut(Event)| -> Result<()> {
        let manifest = checkpoint::manifest("checkpoint", engine, config, &records, patch_m, progress)?;
        checkpoint::save(&file, manifest, engine, &run.weights, &optimizer)?;
        on(Event::Checkpoint(progress.step));
        Ok(())
    };
    // An early checkpoint shows at once that the folder can be written, not after an hour.
    if !resume {
        save(&progress, &mut on)?;
    }
    let mut recent: std::collections::VecDeque<Instant> = std::collections::VecDeque::from([Instant::now()]);
    let mut pending: Option<(usize, f64, crate::gpu::Readback)> = None;
    let report = |(step, lr, read): (usize, f64, crate::gpu::Readback),
                  recent: &mut std::collections::VecDeque<Instant>,
                  on: &mut dyn FnMut(Event)|
     -> Result<()> {
        let loss = read.finish::<f32>(engine)?[0];
        recent.push_back(Instant::now());
        if recent.len() > 20 {
            recent.pop_front();
        }
        let rate = batch as f64 * (recent.len() - 1) as f64 / recent[0].elapsed().as_secs_f64().max(1e-9);
        on(Event::Step { step, loss, lr, rate });
        if !loss.is_finite() {
            on(Event::Skipped(step));
        }
        Ok(())
    };
    while progress.step < total {
        let step = progress.step;
        let epoch = step / config.steps;
        if step.is_multiple_of(config.steps) && progress.planned.is_empty() && epoch >= config.similar_from && config.similar > 0.0 {
            progress.planned = run.plan_epoch(&batcher, &mut map_cache, epoch)?;
        }
        let places = if progress.planned.is_empty() { batcher.places(step)? } else { progress.planned.remove(0) };
        let (map_patches, sar_patches) = batcher.records(step, &places)?;
        let lr = config.learning_rate(step);
        optimizer.set(engine, StepFactors { lr, step: step as u64 + 1 })?;
        engine.write(&map_records, &map_patches)?;
        engine.write(&sar_records, &sar_patches)?;
        step_plan.submit(engine)?;
        let read = engine.start_read(&plan.outputs[0])?;
        if let Some(previous) = pending.replace((step + 1, lr, read)) {
            report(previous, &mut recent, &mut on)?;
        }
        progress.step += 1;
        let stopping = stop.load(Ordering::Relaxed);
        let epoch_done = progress.step.is_multiple_of(config.steps);
        let last = progress.step == total;
        let due = stopping || last || progress.step.is_multiple_of(config.checkpoint_every) || epoch_done;
        if due && let Some(previous) = pending.take() {
            report(previous, &mut recent, &mut on)?;
        }
        if epoch_done && ((progress.step / config.steps).is_multiple_of(config.validate_every) || last) {
            let figures = run.validate(progress.step)?;
            progress.validation.push(figures.clone());
            on(Event::Validation { step: progress.step, figures });
            recent.clear();
            recent.push_back(Instant::now());
        }
        if stopping || last || progress.step.is_multiple_of(config.checkpoint_every) {
            save(&progress, &mut on)?;
        }
        if stopping && !last {
            return Ok(Outcome::Stopped { step: progress.step });
        }
    }
    let manifest = checkpoint::manifest("model", engine, config, &records, patch_m, &progress)?;
    let network = run.network(manifest)?;
    network.save(out)?;
    std::fs::remove_file(&file)
        .map_err(|e| Error::file(&file, format!("the model is written, but this checkpoint cannot be removed ({e})")))?;
    Ok(Outcome::Finished)
}

impl Run<'_> {
    /// The trained towers, without the loss's temperature.
    fn network(&self, manifest: Manifest) -> Result<WeightFile> {
        let mut tensors = self.weights.read(self.engine)?;
        tensors.retain(|name, _| !name.starts_with("loss."));
        Ok(WeightFile { manifest, tensors })
    }

    /// Places of an epoch's steps with hard negatives from the embedding as it is now.
    fn plan_epoch(&self, batcher: &Batcher<'_>, cache: &mut PageCache, epoch: usize) -> Result<Vec<Vec<Place>>> {
        let pool = batcher.pool(epoch)?;
        let embedder = Embedder::new(self.engine, &self.config.encoder, &self.weights, self.config.batch)?;
        let records = pool.iter().map(|p| batcher.plain_record(*p)).collect::<Result<Vec<_>>>()?;
        let taps = sampler::taps_for(f64::from(self.config.patch) / self.config.encoder.input as f64);
        let vectors = embedder.embed_all(Modality::Map, cache, &records, taps)?;
        (0..self.config.steps).map(|i| batcher.similar_places(epoch * self.config.steps + i, &pool, &vectors, embedder.dim())).collect()
    }

    /// Recall of both protocols on the validation scene.
    fn validate(&self, step: usize) -> Result<serde_json::Value> {
        let c = self.config;
        let embedder = Embedder::new(self.engine, &c.encoder, &self.weights, c.batch)?;
        let grid = IndexConfig { cell: c.patch, stride: c.patch, views: c.validate_views, ..IndexConfig::default() };
        let manifest = checkpoint::manifest("model", self.engine, c, &[], 0.0, &Progress::default())?;
        let file = WeightFile { manifest, tensors: std::collections::BTreeMap::new() };
        let model = LoadedModel { hash: file.hash(), file, path: "(training)".into() };
        let database = build(&embedder, &model, &self.val.map, &grid, Database::in_memory(), |_, _| {})?;
        let searcher = Searcher::new(self.engine, &database, crate::index::RESIDENT_BYTES)?;
        let mut figures = serde_json::json!({ "step": step, "views": c.validate_views });
        for (name, protocol) in [("aligned", Protocol::Aligned), ("arbitrary", Protocol::Arbitrary)] {
            let queries = queries(self.val, &database, protocol, c.validate_queries, c.encoder.input, 7)?;
            let evaluation = evaluate(&embedder, self.val, &database, &searcher, queries)?;
            let summary = Summary::new(&evaluation.results, 7)?;
            let recall: serde_json::Map<String, serde_json::Value> =
                summary.recall.iter().map(|(k, e)| (k.to_string(), e.value.into())).collect();
            figures[name] = recall.into();
        }
        debug_assert!(!self.scenes.is_empty());
        Ok(figures)
    }
}

/// Time of each op of a training step, for `echogrid profile`.
///
/// # Errors
/// As [`train`].
pub fn profile_step(engine: &Engine, config: &TrainConfig) -> Result<Vec<OpTime>> {
    let (input, batch) = (config.encoder.input, config.batch);
    let mut graph = Graph::new();
    let map_in = graph.input("map", &[batch, input, input, 4]);
    let sar_in = graph.input("sar", &[batch, input, input, 4]);
    let map = config.encoder.tower(&mut graph, Modality::Map, map_in)?;
    let sar = config.encoder.tower(&mut graph, Modality::Sar, sar_in)?;
    let loss = graph.add("loss", InfoNce { smoothing: config.smoothing }, &[sar, map])?;
    let weights = Weights::init(engine, &graph, config.seed)?;
    let mut plan = graph.training(engine, &weights, &[loss])?;
    let optimizer = Optimizer::new(engine, &graph, &weights, &plan.gradients, config.optimizer)?;
    optimizer.set(engine, StepFactors { lr: 0.0, step: 1 })?;
    plan.plan.extend(optimizer.plan.clone());
    plan.plan.submit(engine)?;
    engine.wait("warm-up")?;
    Ok(plan.plan.profile(engine)?)
}

//! The loop.

use super::batch::{Batcher, Place};
use super::checkpoint::{self, Progress, checkpoint_path};
use super::config::TrainConfig;
use crate::eval::metrics::Summary;
use crate::eval::{Protocol, evaluate, queries};
use crate::gpu::{Engine, OpTime, PAGE, Plan, PlanBuilder, Readback, Tensor};
use crate::index::{Database, Embedder, IndexConfig, LoadedModel, Searcher, build};
use crate::kernels::sampler;
use crate::nn::{
    Graph, Manifest, Modality, NodeId, Optimizer, SceneRecord, StepFactors, TrainingPlan, WeightFile, Weights, import_torchvision,
    ops::InfoNce,
};
use crate::scene::{Image, PageCache, ScenePair, ValidityMask};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
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
    /// The loss of this step was not finite; the optimiser left the step out.
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

/// A run: what lives on the device, and where it stands.
struct Trainer<'a> {
    engine: &'a Engine,
    config: &'a TrainConfig,
    scenes: &'a [ScenePair],
    val: &'a ScenePair,
    out: &'a Path,
    records: Vec<SceneRecord>,
    weights: Weights,
    optimizer: Optimizer,
    plan: TrainingPlan,
    /// Sampler, both passes, optimiser.
    step_plan: Plan,
    map_cache: PageCache,
    patches: [Tensor; 2],
    batcher: Batcher<'a>,
    progress: Progress,
    pending: Option<Pending>,
    recent: VecDeque<Instant>,
    not_finite: usize,
}

/// A step whose loss is on its way back.
struct Pending {
    step: usize,
    lr: f64,
    loss: Readback,
}

/// Steps without a finite loss in a row after which a run is given up.
const NOT_FINITE: usize = 20;

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
    mut on: impl FnMut(Event),
) -> Result<Outcome> {
    config.check()?;
    let mut run = Trainer::new(engine, config, scenes, val, out, resume)?;
    let total = config.total_steps();
    on(Event::Start { step: run.progress.step, total, parameters: run.parameters(), flops: run.step_plan.flops(), bytes: run.plan.bytes });
    // An early checkpoint shows at once that the folder can be written, not after an hour.
    if !resume {
        run.save(&mut on)?;
    }
    while run.progress.step < total {
        run.step(&mut on)?;
        let step = run.progress.step;
        let (last, stopping) = (step == total, stop.load(Ordering::Relaxed));
        let epochs = step / config.steps;
        let validating = step.is_multiple_of(config.steps) && (epochs.is_multiple_of(config.validate_every) || last);
        let saving = last || stopping || step.is_multiple_of(config.checkpoint_every);
        if validating || saving {
            run.collect(&mut on)?;
        }
        if validating {
            // A validation that fails must not cost the steps before it.
            if saving {
                run.save(&mut on)?;
            }
            let figures = run.validate()?;
            run.progress.validation.push(figures.clone());
            on(Event::Validation { step, figures });
            run.recent = VecDeque::from([Instant::now()]);
        }
        if saving {
            run.save(&mut on)?;
        }
        if stopping && !last {
            return Ok(Outcome::Stopped { step });
        }
    }
    run.finish()?;
    Ok(Outcome::Finished)
}

impl<'a> Trainer<'a> {
    fn new(
        engine: &'a Engine,
        config: &'a TrainConfig,
        scenes: &'a [ScenePair],
        val: &'a ScenePair,
        out: &'a Path,
        resume: bool,
    ) -> Result<Self> {
        let file = checkpoint_path(out);
        if !resume {
            checkpoint::refuse_unfinished(out)?;
        }
        let batcher = Batcher::new(scenes, config)?;
        let (graph, loss) = network_graph(config)?;
        let weights = Weights::init(engine, &graph, config.seed)?;
        if let Some(path) = config.init_from.as_ref().filter(|_| !resume) {
            weights.load(engine, &import_torchvision(path, &config.encoder)?)?;
        }
        let plan = graph.training(engine, &weights, &[loss])?;
        let optimizer = Optimizer::new(engine, &graph, &weights, &plan.gradients, config.optimizer)?;
        let map_cache = resident(engine, scenes, |s| (&s.map, &s.map_mask))?;
        let sar_cache = resident(engine, scenes, |s| (&s.sar, &s.sar_mask))?;
        let patches = [sampler::records(engine, config.batch)?, sampler::records(engine, config.batch)?];
        let scale = f64::from(config.patch) / config.encoder.input as f64;
        let mut sar_scale = 0.0f64;
        for s in scenes {
            let middle = [f64::from(s.map.raster.width()) / 2.0, f64::from(s.map.raster.height()) / 2.0];
            let [a, b] = s.link().jacobian(middle)?;
            sar_scale = sar_scale.max(scale * (a[0] * b[1] - a[1] * b[0]).abs().sqrt());
        }
        let mut builder = PlanBuilder::new(engine);
        for (i, (cache, scale)) in [(&map_cache, scale), (&sar_cache, sar_scale)].into_iter().enumerate() {
            sampler::forward(&mut builder, cache.array(), cache.table(), &patches[i], sampler::taps_for(scale), true, &plan.inputs[i])?;
        }
        let mut step_plan = builder.finish();
        step_plan.extend(plan.plan.clone());
        step_plan.extend(optimizer.plan.clone());
        let records = checkpoint::scene_records(scenes)?;
        let progress = match resume {
            true => checkpoint::load(&file, engine, config, &records, &weights, &optimizer)?,
            false => Progress::default(),
        };
        Ok(Self {
            engine,
            config,
            scenes,
            val,
            out,
            records,
            weights,
            optimizer,
            plan,
            step_plan,
            map_cache,
            patches,
            batcher,
            progress,
            pending: None,
            recent: VecDeque::from([Instant::now()]),
            not_finite: 0,
        })
    }

    /// Trained values.
    fn parameters(&self) -> usize {
        self.plan.gradients.iter().flatten().map(Tensor::len).sum()
    }

    /// Submits one step and reports the one before it.
    fn step(&mut self, on: &mut impl FnMut(Event)) -> Result<()> {
        let c = self.config;
        let step = self.progress.step;
        let epoch = step / c.steps;
        if step.is_multiple_of(c.steps) && self.progress.planned.is_empty() && epoch >= c.similar_from && c.similar > 0.0 {
            self.progress.planned = self.plan_epoch(epoch)?;
        }
        let places = if self.progress.planned.is_empty() { self.batcher.places(step)? } else { self.progress.planned.remove(0) };
        let (map, sar) = self.batcher.records(step, &places)?;
        let lr = c.learning_rate(step);
        self.optimizer.set(self.engine, StepFactors { lr, step: step as u64 + 1 })?;
        self.engine.write(&self.patches[0], &map)?;
        self.engine.write(&self.patches[1], &sar)?;
        self.step_plan.submit(self.engine)?;
        let loss = self.engine.start_read(&self.plan.outputs[0])?;
        let previous = self.pending.replace(Pending { step: step + 1, lr, loss });
        self.progress.step += 1;
        previous.map_or(Ok(()), |p| self.report(p, on))
    }

    /// Waits for the last step.
    fn collect(&mut self, on: &mut impl FnMut(Event)) -> Result<()> {
        let last = self.pending.take();
        last.map_or(Ok(()), |p| self.report(p, on))
    }

    fn report(&mut self, pending: Pending, on: &mut impl FnMut(Event)) -> Result<()> {
        let Pending { step, lr, loss } = pending;
        let loss = loss.finish::<f32>(self.engine)?[0];
        self.recent.push_back(Instant::now());
        if self.recent.len() > 20 {
            self.recent.pop_front();
        }
        let seconds = self.recent[0].elapsed().as_secs_f64().max(1e-9);
        on(Event::Step { step, loss, lr, rate: (self.config.batch * (self.recent.len() - 1)) as f64 / seconds });
        self.not_finite = if loss.is_finite() { 0 } else { self.not_finite + 1 };
        if self.not_finite > 0 {
            on(Event::Skipped(step));
        }
        if self.not_finite >= NOT_FINITE {
            return Err(Error::invalid(format!(
                "the loss was not finite in {NOT_FINITE} steps in a row (up to step {step}); lower optimizer.lr, or look for broken values in the scenes"
            )));
        }
        Ok(())
    }

    fn save(&self, on: &mut impl FnMut(Event)) -> Result<()> {
        let manifest = checkpoint::manifest("checkpoint", self.engine, self.config, &self.records, self.patch_m()?, &self.progress)?;
        checkpoint::save(&checkpoint_path(self.out), manifest, self.engine, &self.weights, &self.optimizer)?;
        on(Event::Checkpoint(self.progress.step));
        Ok(())
    }

    /// Writes the model and removes the checkpoint.
    fn finish(&self) -> Result<()> {
        let manifest = checkpoint::manifest("model", self.engine, self.config, &self.records, self.patch_m()?, &self.progress)?;
        self.network(manifest)?.save(self.out)?;
        let file = checkpoint_path(self.out);
        std::fs::remove_file(&file)
            .map_err(|e| Error::file(&file, format!("the model is written, but this checkpoint cannot be removed ({e})")))
    }

    /// Ground size of a patch, metres.
    fn patch_m(&self) -> Result<f64> {
        Ok(f64::from(self.config.patch) * self.scenes[0].map.raster.ground_pixel_size()?.0)
    }

    /// The trained towers, without the loss's temperature.
    fn network(&self, manifest: Manifest) -> Result<WeightFile> {
        let mut tensors = self.weights.read(self.engine)?;
        tensors.retain(|name, _| !name.starts_with("loss."));
        Ok(WeightFile { manifest, tensors })
    }

    /// Places of an epoch's steps with hard negatives from the embedding as it is now.
    fn plan_epoch(&mut self, epoch: usize) -> Result<Vec<Vec<Place>>> {
        let batcher = &self.batcher;
        let pool = batcher.pool(epoch)?;
        let embedder = Embedder::new(self.engine, &self.config.encoder, &self.weights, self.config.batch)?;
        let records = pool.iter().map(|p| batcher.plain_record(*p)).collect::<Result<Vec<_>>>()?;
        let taps = sampler::taps_for(f64::from(self.config.patch) / self.config.encoder.input as f64);
        let vectors = embedder.embed_all(Modality::Map, &mut self.map_cache, &records, taps)?;
        (0..self.config.steps).map(|i| batcher.similar_places(epoch * self.config.steps + i, &pool, &vectors, embedder.dim())).collect()
    }

    /// Recall of both protocols on the validation scene.
    fn validate(&self) -> Result<serde_json::Value> {
        let c = self.config;
        let embedder = Embedder::new(self.engine, &c.encoder, &self.weights, c.batch)?;
        let grid = IndexConfig { cell: c.patch, stride: c.patch, views: c.validate_views, ..IndexConfig::default() };
        let manifest = checkpoint::manifest("model", self.engine, c, &[], 0.0, &Progress::default())?;
        let file = WeightFile { manifest, tensors: std::collections::BTreeMap::new() };
        let model = LoadedModel { hash: file.hash(), file, path: "(training)".into() };
        let database = build(&embedder, &model, &self.val.map, &grid, Database::in_memory(), |_, _| {})?;
        let searcher = Searcher::new(self.engine, &database, crate::index::RESIDENT_BYTES)?;
        let mut figures = serde_json::json!({ "step": self.progress.step, "views": c.validate_views });
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

/// The pages of one modality's images, all on the device.
fn resident<'s>(
    engine: &Engine,
    scenes: &'s [ScenePair],
    pick: fn(&'s ScenePair) -> (&'s Arc<Image>, &'s ValidityMask),
) -> Result<PageCache> {
    let pages = scenes.iter().map(|s| pages_with_data(pick(s).0, pick(s).1)).sum();
    let mut cache = PageCache::new(engine, scenes.iter().map(|s| pick(s).0.clone()).collect(), pages)?;
    cache.require_all(engine)?;
    Ok(cache)
}

fn pages_with_data(image: &Image, mask: &ValidityMask) -> u32 {
    let side = PAGE as f64;
    let across = |size: u32| size.div_ceil(PAGE as u32);
    let pages =
        (0..across(image.raster.height())).flat_map(|y| (0..across(image.raster.width())).map(move |x| (f64::from(x), f64::from(y))));
    pages.filter(|(x, y)| mask.share(x * side, y * side, side, side) > 0.0).count() as u32
}

/// Median time of each dispatch of a training step over `steps` runs, for `echogrid profile`.
///
/// # Errors
/// As [`train`].
pub fn profile_step(engine: &Engine, config: &TrainConfig, steps: usize) -> Result<Vec<OpTime>> {
    config.check()?;
    let (graph, loss) = network_graph(config)?;
    let weights = Weights::init(engine, &graph, config.seed)?;
    let mut plan = graph.training(engine, &weights, &[loss])?;
    let optimizer = Optimizer::new(engine, &graph, &weights, &plan.gradients, config.optimizer)?;
    optimizer.set(engine, StepFactors { lr: 0.0, step: 1 })?;
    plan.plan.extend(optimizer.plan.clone());
    plan.plan.submit(engine)?;
    engine.wait("warm-up")?;
    let runs = (0..steps.max(1)).map(|_| Ok(plan.plan.profile(engine)?)).collect::<Result<Vec<_>>>()?;
    let mut median = runs[0].clone();
    for (i, op) in median.iter_mut().enumerate() {
        let mut all: Vec<f64> = runs.iter().map(|r| r[i].seconds).collect();
        all.sort_by(f64::total_cmp);
        op.seconds = all[all.len() / 2];
    }
    Ok(median)
}

/// Both towers and the loss; inputs `map` and `sar` in this order.
fn network_graph(config: &TrainConfig) -> Result<(Graph, NodeId)> {
    let (input, batch) = (config.encoder.input, config.batch);
    let mut graph = Graph::new();
    let map_in = graph.input("map", &[batch, input, input, 4]);
    let sar_in = graph.input("sar", &[batch, input, input, 4]);
    let map = config.encoder.tower(&mut graph, Modality::Map, map_in)?;
    let sar = config.encoder.tower(&mut graph, Modality::Sar, sar_in)?;
    let loss = graph.add("loss", InfoNce { smoothing: config.smoothing }, &[sar, map])?;
    Ok((graph, loss))
}

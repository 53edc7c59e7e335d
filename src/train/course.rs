//! The loop of a run, whatever is trained: steps, reports, checkpoints, validations, the end.

use super::checkpoint::{self, Kind, checkpoint_path};
use super::start::Start;
use crate::align::{Aligned, Figures, Objective};
use crate::gpu::{Engine, OpTime, PAGE, Plan, PlanBuilder, Precision, Readback, Tensor, medians};
use crate::kernels::sampler;
use crate::nn::{
    Graph, Network, NetworkFile, NetworkManifest, NodeId, Optimizer, OptimizerConfig, ScaleReadback, SceneRecord, StepFactors, TensorMap,
    TrainingPlan, Weights,
};
use crate::scene::{Image, PageCache, ScenePair, ValidityMask};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Steps of a run at most.
const MAX_STEPS: usize = 1_000_000_000;
/// Items of a step at most.
const MAX_ITEMS: usize = 1 << 16;

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
        /// Share of the batch that was right, where the loss tells.
        accuracy: Option<f32>,
        /// Learning rate used.
        lr: f64,
        /// Pairs (of dense features: SAR patches) a second, lately.
        rate: f64,
        /// Of alignment and of mixed precision: what it is called and its value.
        figures: Vec<(&'static str, f32)>,
    },
    /// Validation figures.
    Validation {
        /// Step.
        step: usize,
        /// Of an encoder `{"step", "aligned": {"1": .., ..}, "arbitrary": {..}, "views"}`; of dense features
        /// `{"step", "found", "within_px", "patches", "windows"}`.
        figures: serde_json::Value,
    },
    /// A checkpoint was written at this step.
    Checkpoint(usize),
    /// The loss of this step was not finite, or, under mixed precision, its gradient at a loss scale of 1; the optimiser left the step out.
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

/// Where a run stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "S: DeserializeOwned"))]
pub(super) struct Progress<S> {
    /// Steps done.
    pub(super) step: usize,
    /// What the task remembers from step to step.
    pub(super) state: S,
    /// Validation figures so far.
    pub(super) validation: Vec<serde_json::Value>,
    /// [`crate::nn::NetworkFile::hash`] of the model that the run started from.
    #[serde(default)]
    pub(super) init_hash: Option<String>,
}

/// How long and how fast a run learns, and when it stops to look around.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    /// Passes.
    pub(super) epochs: usize,
    /// Steps in a pass.
    pub(super) steps: usize,
    /// What a step counts for in the rate that is reported.
    pub(super) items: usize,
    /// Everything random hangs on it.
    pub(super) seed: u64,
    /// Share of all steps over which the learning rate rises.
    pub(super) warmup: f64,
    /// The optimiser.
    pub(super) optimizer: OptimizerConfig,
    /// How layers multiply.
    pub(super) precision: Precision,
    /// Validation every so many epochs, and after the last.
    pub(super) validate_every: usize,
    /// A checkpoint every so many steps.
    pub(super) checkpoint_every: usize,
}

impl Course {
    /// Steps in all.
    pub(super) fn total(&self) -> usize {
        self.epochs * self.steps
    }

    /// Learning rate of a step (from 0): linear rise, then half a cosine down to 0.
    pub(super) fn learning_rate(&self, step: usize) -> f64 {
        let total = self.total() as f64;
        let warm = (self.warmup * total).max(1.0);
        let t = step as f64 + 1.0;
        let factor =
            if t < warm { t / warm } else { 0.5 * (1.0 + (std::f64::consts::PI * ((t - warm) / (total - warm).max(1.0)).min(1.0)).cos()) };
        self.optimizer.lr * factor
    }

    /// Refuses values that make no sense.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match self {
            c if c.epochs == 0 || c.steps == 0 => Err("epochs and steps must be above 0"),
            c if c.epochs.checked_mul(c.steps).is_none_or(|all| all > MAX_STEPS) => {
                Err("epochs times steps are more than the 1,000,000,000 steps a run takes; --epochs or steps must be fewer")
            }
            c if c.items > MAX_ITEMS => {
                Err("a step takes at most 65,536 pairs, patches or queries: batch, patches or queries must be fewer")
            }
            c if c.optimizer.lr <= 0.0 || !c.optimizer.lr.is_finite() => Err("optimizer.lr must be above 0"),
            c if !(0.0..=1.0).contains(&c.warmup) => Err("warmup is a share, 0 to 1"),
            c if !(0.0..1.0).contains(&c.optimizer.beta1) || !(0.0..1.0).contains(&c.optimizer.beta2) => {
                Err("optimizer.beta1 and beta2 are 0 to below 1")
            }
            c if c.optimizer.clip.is_nan() || c.optimizer.clip <= 0.0 => Err("optimizer.clip must be above 0"),
            c if c.validate_every == 0 || c.checkpoint_every == 0 => Err("validate_every and checkpoint_every must be above 0"),
            _ => Ok(()),
        }
    }
}

/// A network on the device, with what trains it.
pub(super) struct Learner {
    pub(super) weights: Weights,
    pub(super) plan: TrainingPlan,
    optimizer: Optimizer,
    /// What runs beside the encoder where the modalities are aligned.
    aligned: Option<Aligned>,
    /// [`crate::nn::NetworkFile::hash`] of the model that the network starts from.
    init_hash: Option<String>,
}

impl Learner {
    pub(super) fn new(engine: &Engine, graph: &Graph, loss: NodeId, objective: Option<&Objective>, course: &Course) -> Result<Self> {
        let mut weights = Weights::init(engine, graph, course.seed)?;
        let adversary = objective.map(|o| o.adversary(engine, course.seed)).transpose()?.flatten();
        if let Some(adversary) = &adversary {
            weights.adopt(adversary)?;
        }
        let outputs: Vec<NodeId> = [loss].into_iter().chain(objective.into_iter().flat_map(Objective::outputs)).collect();
        let mut graph = graph.clone();
        graph.set_precision(course.precision);
        let plan = graph.training(engine, &weights, &outputs)?;
        let scale = (course.precision == Precision::Mixed).then_some(&plan.loss_gradient);
        let optimizer = Optimizer::new(engine, &graph, &weights, &plan.gradients, course.optimizer, scale)?;
        let aligned = objective.map(|o| Aligned::new(engine, o, adversary, &plan, course.seed)).transpose()?;
        Ok(Self { weights, plan, optimizer, aligned, init_hash: None })
    }

    /// Puts `start` in place of the random start values.
    pub(super) fn start_from(&mut self, engine: &Engine, start: Start) -> Result<()> {
        if self.weights.load(engine, &start.tensors)? != start.tensors.len() {
            return Err(Error::invalid("the network lacks some of the parameters that it is to start from"));
        }
        self.init_hash = start.hash;
        Ok(())
    }

    /// Everything that a run needs to go on, beside where it stands.
    pub(super) fn read(&self, engine: &Engine) -> Result<TensorMap> {
        let mut tensors = self.weights.read(engine)?;
        tensors.extend(self.optimizer.read(engine)?);
        if let Some(aligned) = &self.aligned {
            tensors.extend(aligned.read(engine)?);
        }
        Ok(tensors)
    }

    /// Restores what [`Learner::read`] gave.
    pub(super) fn load(&self, engine: &Engine, tensors: &TensorMap) -> Result<()> {
        if self.weights.load(engine, tensors)? != self.weights.len() {
            return Err(Error::invalid("some weights are missing"));
        }
        self.optimizer.load(engine, tensors)?;
        Ok(self.aligned.as_ref().map_or(Ok(()), |a| a.load(engine, tensors))?)
    }

    /// Trained values.
    fn parameters(&self) -> usize {
        self.plan.gradients.iter().flatten().map(Tensor::len).sum()
    }

    /// All dispatches of a step, at a learning rate of 0.
    pub(super) fn into_plan(self, engine: &Engine) -> Result<Plan> {
        self.optimizer.set(engine, StepFactors { lr: 0.0, step: 1 })?;
        let mut plan = self.plan.plan;
        plan.extend(self.optimizer.plan);
        if let Some(aligned) = &self.aligned {
            plan.extend(aligned.step_plan());
        }
        Ok(plan)
    }

    /// Median time of each dispatch of a step over `steps` runs.
    pub(super) fn profile(self, engine: &Engine, steps: usize) -> Result<Vec<OpTime>> {
        let plan = self.into_plan(engine)?;
        plan.submit(engine)?;
        engine.wait("warm-up")?;
        let runs = (0..steps.max(1)).map(|_| Ok(plan.profile(engine)?)).collect::<Result<Vec<_>>>()?;
        Ok(medians(&runs))
    }
}

/// What one kind of training adds to the loop.
pub(super) trait Task {
    /// The run's settings; a checkpoint of other ones is refused.
    type Config: Serialize + DeserializeOwned + PartialEq;
    /// What is trained.
    type Network: Network;
    /// What is remembered from step to step; checkpoints carry it.
    type State: Serialize + DeserializeOwned + Default;

    /// The settings.
    fn config(&self) -> &Self::Config;
    /// The network.
    fn network(&self) -> &Self::Network;
    /// The course.
    fn course(&self) -> Course;
    /// Ground size of a patch on the first scene, metres.
    fn patch_m(&self) -> f64;
    /// Ground size of a feature pixel, metres, where there are any.
    fn pixel_m(&self) -> Option<f64>;
    /// The manifest of the finished model, from that of the run.
    fn finished(&self, run: NetworkManifest<Self::Network>) -> Result<NetworkManifest<Self::Network>> {
        Ok(run)
    }
    /// Parameters that the model carries and the run does not train.
    fn kept(&self) -> TensorMap {
        TensorMap::new()
    }
    /// What cuts a step's patches: it comes before the network's own dispatches.
    fn sampling(&self) -> &Plan;
    /// Prepares an epoch. Every earlier step has been reported.
    fn start_epoch(&mut self, engine: &Engine, learner: &Learner, epoch: usize, state: &mut Self::State) -> Result<()>;
    /// Prepares what is left of an epoch that an earlier call has begun.
    fn resume_epoch(&mut self, _engine: &Engine, _learner: &Learner, _epoch: usize) -> Result<()> {
        Ok(())
    }
    /// Writes what the step reads.
    fn start_step(&mut self, engine: &Engine, step: usize, state: &mut Self::State) -> Result<()>;
    /// What a step tells beside its loss.
    fn watched<'l>(&self, _learner: &'l Learner) -> Option<&'l Tensor> {
        None
    }
    /// Takes note of what a step (from 0) told; gives its accuracy. Steps come in order, each once.
    fn note(&mut self, _step: usize, _told: &[f32], _state: &mut Self::State) -> Option<f32> {
        None
    }
    /// Figures on the validation scene.
    fn validate(&mut self, engine: &Engine, learner: &Learner, step: usize) -> Result<serde_json::Value>;
}

/// A run: what lives on the device, and where it stands.
struct Run<'a, T: Task> {
    engine: &'a Engine,
    task: T,
    course: Course,
    learner: Learner,
    /// Sampler, both passes, optimiser.
    step_plan: Plan,
    records: Vec<SceneRecord>,
    out: &'a Path,
    progress: Progress<T::State>,
    pending: Option<Pending>,
    recent: VecDeque<Instant>,
    not_finite: usize,
}

/// A step whose loss is on its way back.
struct Pending {
    step: usize,
    lr: f64,
    loss: Readback,
    told: Option<Readback>,
    figures: Option<Figures>,
    scale: Option<ScaleReadback>,
}

/// Steps without a finite loss in a row after which a run is given up.
const NOT_FINITE: usize = 20;

/// Trains and writes the model to `out`; checkpoints go beside it. `stop` may be raised at any time.
pub(super) fn run<T: Task>(
    engine: &Engine,
    task: T,
    learner: Learner,
    scenes: &[ScenePair],
    out: &Path,
    resume: bool,
    stop: &AtomicBool,
    mut on: impl FnMut(Event),
) -> Result<Outcome> {
    let mut run = Run::new(engine, task, learner, scenes, out, resume)?;
    let (total, every) = (run.course.total(), run.course.steps);
    on(Event::Start {
        step: run.progress.step,
        total,
        parameters: run.learner.parameters(),
        flops: run.step_plan.flops(),
        bytes: run.learner.plan.bytes,
    });
    let begun = run.progress.step;
    if begun < total && !begun.is_multiple_of(every) {
        run.task.resume_epoch(engine, &run.learner, begun / every)?;
    }
    // An early checkpoint shows at once that the folder can be written, not after an hour.
    if !resume {
        run.save(&mut on)?;
    }
    while run.progress.step < total {
        run.step(&mut on)?;
        let step = run.progress.step;
        let (last, stopping) = (step == total, stop.load(Ordering::Relaxed));
        let epochs = step / every;
        let validating = step.is_multiple_of(every) && (epochs.is_multiple_of(run.course.validate_every) || last);
        let saving = last || stopping || step.is_multiple_of(run.course.checkpoint_every);
        if validating || saving {
            run.collect(&mut on)?;
        }
        if validating {
            // A validation that fails must not cost the steps before it.
            if saving {
                run.save(&mut on)?;
            }
            let figures = run.task.validate(engine, &run.learner, step)?;
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

impl<'a, T: Task> Run<'a, T> {
    fn new(engine: &'a Engine, task: T, learner: Learner, scenes: &[ScenePair], out: &'a Path, resume: bool) -> Result<Self> {
        let mut step_plan = task.sampling().clone();
        step_plan.extend(learner.plan.plan.clone());
        step_plan.extend(learner.optimizer.plan.clone());
        let records = checkpoint::scene_records(scenes)?;
        let progress = match resume {
            true => checkpoint::load(&checkpoint_path(out), engine, &task, &records, &learner)?,
            false => Progress { init_hash: learner.init_hash.clone(), ..Progress::default() },
        };
        Ok(Self {
            engine,
            course: task.course(),
            task,
            learner,
            step_plan,
            records,
            out,
            progress,
            pending: None,
            recent: VecDeque::from([Instant::now()]),
            not_finite: 0,
        })
    }

    /// Submits one step and reports the one before it.
    fn step(&mut self, on: &mut impl FnMut(Event)) -> Result<()> {
        let step = self.progress.step;
        if step.is_multiple_of(self.course.steps) {
            self.collect(on)?;
            self.task.start_epoch(self.engine, &self.learner, step / self.course.steps, &mut self.progress.state)?;
        }
        self.task.start_step(self.engine, step, &mut self.progress.state)?;
        let lr = self.course.learning_rate(step);
        self.learner.optimizer.set(self.engine, StepFactors { lr, step: step as u64 + 1 })?;
        let aligned = self.learner.aligned.as_ref();
        if let Some(aligned) = aligned {
            aligned.before_step(self.engine, step as f64 / self.course.total() as f64)?;
        }
        self.step_plan.submit(self.engine)?;
        if let Some(aligned) = aligned {
            aligned.after_step(self.engine, step)?;
        }
        let loss = self.engine.start_read(&self.learner.plan.outputs[0])?;
        let told = self.task.watched(&self.learner).map(|t| self.engine.start_read(t)).transpose()?;
        let figures = aligned.map(|a| a.figures(self.engine)).transpose()?;
        let scale = self.learner.optimizer.start_scale(self.engine)?;
        let previous = self.pending.replace(Pending { step: step + 1, lr, loss, told, figures, scale });
        self.progress.step += 1;
        previous.map_or(Ok(()), |p| self.report(p, on))
    }

    /// Waits for the last step.
    fn collect(&mut self, on: &mut impl FnMut(Event)) -> Result<()> {
        let last = self.pending.take();
        last.map_or(Ok(()), |p| self.report(p, on))
    }

    fn report(&mut self, pending: Pending, on: &mut impl FnMut(Event)) -> Result<()> {
        let Pending { step, lr, loss, told, figures, scale } = pending;
        let loss = loss.finish::<f32>(self.engine)?[0];
        let told: Vec<f32> = told.map_or(Ok(Vec::new()), |t| t.finish(self.engine))?;
        let accuracy = self.task.note(step - 1, &told, &mut self.progress.state);
        let mut figures = figures.map_or(Ok(Vec::new()), |f| f.finish(self.engine))?;
        let scale = scale.map(|s| s.finish(self.engine)).transpose()?;
        figures.extend(scale.map(|(scale, _)| ("loss scale", scale)));
        self.recent.push_back(Instant::now());
        if self.recent.len() > 20 {
            self.recent.pop_front();
        }
        let seconds = self.recent[0].elapsed().as_secs_f64().max(1e-9);
        let rate = (self.course.items * (self.recent.len() - 1)) as f64 / seconds;
        on(Event::Step { step, loss, accuracy, lr, rate, figures });
        // A scale that was too large is lowered, and the next step may be right: only one that cannot be lowered is a fault.
        let right = loss.is_finite() && !scale.is_some_and(|(scale, skipped)| skipped && scale <= 1.0);
        self.not_finite = if right { 0 } else { self.not_finite + 1 };
        if self.not_finite > 0 {
            on(Event::Skipped(step));
        }
        if self.not_finite >= NOT_FINITE {
            return Err(Error::invalid(format!(
                "the loss or its gradient was not finite in {NOT_FINITE} steps in a row (up to step {step}); lower optimizer.lr, or look for broken values in the scenes"
            )));
        }
        Ok(())
    }

    fn save(&self, on: &mut impl FnMut(Event)) -> Result<()> {
        let manifest = checkpoint::manifest(Kind::Checkpoint, self.engine, &self.task, &self.records, &self.progress)?;
        checkpoint::save(&checkpoint_path(self.out), manifest, self.engine, &self.learner)?;
        on(Event::Checkpoint(self.progress.step));
        Ok(())
    }

    /// Writes the model (the towers, without the loss's temperature) and removes the checkpoint.
    fn finish(&self) -> Result<()> {
        let manifest = checkpoint::manifest(Kind::Model, self.engine, &self.task, &self.records, &self.progress)?;
        let manifest = self.task.finished(manifest)?;
        let mut tensors = self.learner.weights.read(self.engine)?;
        tensors.retain(|name, _| !name.starts_with("loss."));
        tensors.extend(self.task.kept());
        NetworkFile { manifest, tensors }.save(self.out)?;
        let file = checkpoint_path(self.out);
        std::fs::remove_file(&file)
            .map_err(|e| Error::file(&file, format!("the model is written, but this checkpoint cannot be removed ({e})")))
    }
}

/// The pages of one modality's images, all on the device.
pub(super) fn resident<'s>(
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

/// Appends the cutting of patch pairs out of some scenes: by records of places into inputs of a network, of the map and of the SAR image,
/// at `scale` map pixels a network pixel. Returns the maps on the device.
pub(super) fn pair_sampling(
    plan: &mut PlanBuilder<'_>,
    scenes: &[ScenePair],
    scale: f64,
    map: (&Tensor, &Tensor),
    sar: (&Tensor, &Tensor),
) -> Result<PageCache> {
    let map_cache = resident(plan.engine(), scenes, |s| (&s.map, &s.map_mask))?;
    let sar_cache = resident(plan.engine(), scenes, |s| (&s.sar, &s.sar_mask))?;
    let coarsest = scenes.iter().try_fold(0.0f64, |most, s| Ok::<_, Error>(most.max(sar_scale(s, scale)?)))?;
    for (cache, scale, (records, input)) in [(&map_cache, scale, map), (&sar_cache, coarsest, sar)] {
        sampler::forward(plan, cache.array(), cache.table(), records, sampler::taps_for(scale), true, input)?;
    }
    Ok(map_cache)
}

/// SAR pixels to a pixel of a grid that has `scale` map pixels to a pixel, in the middle of the scene.
pub(super) fn sar_scale(scene: &ScenePair, scale: f64) -> Result<f64> {
    let middle = [f64::from(scene.map.raster.width()) / 2.0, f64::from(scene.map.raster.height()) / 2.0];
    let [a, b] = scene.link().jacobian(middle)?;
    Ok(scale * (a[0] * b[1] - a[1] * b[0]).abs().sqrt())
}

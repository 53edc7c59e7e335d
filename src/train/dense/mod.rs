//! Training of dense features: SAR patches are correlated with windows of the map, and the correlation learns to peak at the true
//! offset, against every other offset of every window.

mod batch;
mod config;
mod export;
#[cfg(test)]
pub(super) mod tests;
mod validate;

pub use config::{DenseAugment, DenseTrainConfig};
pub use export::export_dense;

use super::batch::Place;
use super::checkpoint::{refuse_unfinished, scene_records};
use super::course::Course;
use super::event::{Event, Outcome};
use super::learner::Learner;
use super::run::run;
use super::sampling::{pages, sar_scale};
use super::task::Task;
use crate::gpu::{Engine, OpTime, Plan, PlanBuilder, Tensor};
use crate::kernels::offset_xent::{HIT, LOSS, stats_shape};
use crate::kernels::sampler;
use crate::nn::ops::{Correlate, OffsetXent};
use crate::nn::{DenseEncoderConfig, Graph, Modality, NodeId};
use crate::scene::{PageCache, ScenePair};
use crate::{Error, Result};
use batch::{Sizes, Windows, map_scale};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use validate::Validation;

/// Trains on `scenes` and writes the model to `out`; checkpoints go beside it. `stop` may be raised at any time.
///
/// # Errors
/// Configuration, scenes (also: too small for the windows), device, files. A checkpoint that does not fit the run, or one that would
/// be overwritten; a loss that stays infinite.
pub fn train_dense(
    engine: &Engine,
    config: &DenseTrainConfig,
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
    let (graph, loss) = network_graph(config)?;
    let mut learner = Learner::new(engine, &graph, loss, None, &config.course())?;
    if let Some(from) = config.init_from.as_ref().filter(|_| !resume) {
        learner.start_from(engine, from.dense_start(&config.encoder)?)?;
    }
    let task = Dense::new(engine, config, scenes, val, &learner)?;
    run(engine, task, learner, scene_records(scenes)?, out, resume, stop, on)
}

/// Median time of each dispatch of a training step over `steps` runs, for `echogrid profile --dense`.
///
/// # Errors
/// As [`train_dense`].
pub fn profile_dense_step(engine: &Engine, config: &DenseTrainConfig, steps: usize) -> Result<Vec<OpTime>> {
    config.check()?;
    let (graph, loss) = network_graph(config)?;
    Learner::new(engine, &graph, loss, None, &config.course())?.profile(engine, steps)
}

/// Both towers, the correlation and the loss; inputs `map`, `sar` and `target` in this order.
fn network_graph(config: &DenseTrainConfig) -> Result<(Graph, NodeId)> {
    let (window, patch) = (config.window, config.patch);
    let mut graph = Graph::new();
    let map_in = graph.input("map", &[config.windows, window, window, 4]);
    let sar_in = graph.input("sar", &[config.patches, patch, patch, 4]);
    let target = graph.input("target", &[config.patches, 4]);
    let map = config.encoder.tower(&mut graph, Modality::Map, map_in)?;
    let sar = config.encoder.tower(&mut graph, Modality::Sar, sar_in)?;
    let template = DenseEncoderConfig::template(&mut graph, sar)?;
    let scores = graph.add("correlate", Correlate, &[template, map])?;
    let loss = OffsetXent {
        factor: DenseEncoderConfig::score_factor(patch, patch),
        radius: config.radius,
        start: config.logit_scale,
        most: config.max_logit_scale,
    };
    let loss = graph.add("loss", loss, &[scores, target])?;
    Ok((graph, loss))
}

/// Of the places of a pass, by falling loss: the first share is left out (water and bare fields have nothing to be found by), the next
/// is hard.
const HOPELESS: f64 = 0.1;
const HARD: f64 = 0.25;

/// What a run remembers from step to step.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    /// Windows of this pass so far and the mean loss of their patches.
    seen: Vec<(Place, f32)>,
    /// Places that were hard in the pass before.
    hard: Vec<Place>,
}

impl Memory {
    /// Chooses the hard places of the pass that ends.
    fn turn(&mut self) {
        let mut seen = std::mem::take(&mut self.seen);
        seen.retain(|s| s.1.is_finite());
        // Stable: equals stay in the order they came.
        seen.sort_by(|a, b| b.1.total_cmp(&a.1));
        let count = |share: f64| (share * seen.len() as f64).round() as usize;
        self.hard = seen.iter().skip(count(HOPELESS)).take(count(HARD)).map(|s| s.0).collect();
    }
}

/// The task: windows and the patches cut from them.
struct Dense<'a> {
    config: &'a DenseTrainConfig,
    patch_m: f64,
    pixel_m: f64,
    windows: Windows<'a>,
    /// Records of the map's windows and of the SAR patches; the targets.
    inputs: [Tensor; 3],
    /// Pages of the maps and of the SAR images.
    pages: [PageCache; 2],
    sampling: Plan,
    /// Windows of the steps whose losses are on their way.
    under_way: VecDeque<Vec<Place>>,
    validation: Validation,
}

impl<'a> Dense<'a> {
    fn new(engine: &Engine, config: &'a DenseTrainConfig, scenes: &'a [ScenePair], val: &'a ScenePair, learner: &Learner) -> Result<Self> {
        let first = scenes.first().ok_or_else(|| Error::invalid("no training scene"))?;
        let pixel_m = config.pixel_on(1.0 / map_scale(first, 1.0)?);
        let sizes = Sizes { windows: config.windows, window: config.window, patches: config.patches, patch: config.patch };
        let windows = Windows::new(scenes, &config.shares, pixel_m, sizes, config.augment, config.seed)?;
        let validation = Validation::new(engine, config, val, pixel_m)?;
        let (mut map, mut sar) = (0.0f64, 0.0f64);
        for s in scenes {
            let scale = map_scale(s, pixel_m)?;
            (map, sar) = (map.max(scale), sar.max(sar_scale(s, scale)?));
        }
        let pages = [pages(engine, scenes, |s| (&s.map, &s.map_mask))?, pages(engine, scenes, |s| (&s.sar, &s.sar_mask))?];
        let records = [sampler::records(engine, config.windows)?, sampler::records(engine, config.patches)?];
        let mut builder = PlanBuilder::new(engine);
        for (i, (cache, scale)) in pages.iter().zip([map, sar]).enumerate() {
            let input = &learner.plan.inputs[i];
            sampler::forward(&mut builder, cache.array(), cache.table(), &records[i], taps(scale), true, input)?;
        }
        let [map, sar] = records;
        Ok(Self {
            config,
            patch_m: pixel_m * config.patch as f64,
            pixel_m,
            windows,
            inputs: [map, sar, learner.plan.inputs[2].clone()],
            pages,
            sampling: builder.finish(),
            under_way: VecDeque::new(),
            validation,
        })
    }
}

/// Taps for a scale that may lie a little above a whole number, as scenes differ a little in ground size.
fn taps(scale: f64) -> u32 {
    sampler::taps_for(0.95 * scale)
}

impl Task for Dense<'_> {
    type Config = DenseTrainConfig;
    type Network = DenseEncoderConfig;
    type State = Memory;

    fn config(&self) -> &DenseTrainConfig {
        self.config
    }

    fn network(&self) -> &DenseEncoderConfig {
        &self.config.encoder
    }

    fn course(&self) -> Course {
        self.config.course()
    }

    fn goes_on_from(&self, saved: &DenseTrainConfig, done: usize) -> bool {
        let longer = DenseTrainConfig { epochs: self.config.epochs, ..saved.clone() };
        longer == *self.config && (saved.epochs == self.config.epochs || [saved, self.config].iter().all(|c| c.holds_after(done)))
    }

    fn patch_m(&self) -> f64 {
        self.patch_m
    }

    fn pixel_m(&self) -> Option<f64> {
        Some(self.pixel_m)
    }

    fn sampling(&self) -> &Plan {
        &self.sampling
    }

    fn start_epoch(&mut self, _: &Engine, _: &Learner, _: usize, memory: &mut Memory) -> Result<()> {
        memory.turn();
        Ok(())
    }

    fn start_step(&mut self, engine: &Engine, step: usize, memory: &mut Memory) -> Result<()> {
        let c = self.config;
        let hard: &[Place] = if step / c.steps >= c.hard_from { &memory.hard } else { &[] };
        let batch = self.windows.batch(step, hard, c.hard)?;
        self.pages[0].require(engine, &batch.map, c.window)?;
        self.pages[1].require(engine, &batch.sar, c.patch)?;
        engine.write(&self.inputs[0], &batch.map)?;
        engine.write(&self.inputs[1], &batch.sar)?;
        engine.write(&self.inputs[2], &batch.targets)?;
        self.under_way.push_back(batch.places);
        Ok(())
    }

    fn watched<'l>(&self, learner: &'l Learner) -> Option<&'l Tensor> {
        learner.plan.saved.get(OffsetXent::STATS)
    }

    fn note(&mut self, _: usize, stats: &[f32], memory: &mut Memory) -> Option<f32> {
        let places = self.under_way.pop_front()?;
        let rows: Vec<&[f32]> = stats.chunks_exact(stats_shape(1)[1]).collect();
        let each = rows.len() / places.len();
        for (place, patches) in places.into_iter().zip(rows.chunks(each)) {
            memory.seen.push((place, patches.iter().map(|r| r[LOSS]).sum::<f32>() / each as f32));
        }
        Some(rows.iter().map(|r| r[HIT]).sum::<f32>() / rows.len() as f32)
    }

    fn validate(&mut self, engine: &Engine, learner: &Learner, step: usize) -> Result<serde_json::Value> {
        let mut figures = self.validation.run(engine, &self.config.encoder, learner.judged())?;
        figures["step"] = step.into();
        Ok(figures)
    }
}

//! Training of matching models: a bridge network learns which SAR and optical patches show the same ground.

mod batch;
mod config;
mod export;
#[cfg(test)]
mod tests;

pub use config::{MatchAugment, MatchTrainConfig};
pub use export::export_matching;

use super::checkpoint::{refuse_unfinished, scene_records};
use super::course::Course;
use super::event::{Event, Outcome};
use super::learner::Learner;
use super::run::run;
use super::sampling::{pages, sar_scale};
use super::task::Task;
use crate::eval::Distances;
use crate::gpu::{Engine, Plan, PlanBuilder, Precision, Tensor};
use crate::index::Embedder;
use crate::kernels::sampler;
use crate::matching::{Spots, Threshold, distances};
use crate::nn::ops::{BridgeLoss, InfoNce, L2Norm, Span, WeightedSum};
use crate::nn::{BridgeNetwork, Graph, NetworkManifest, NodeId, TowerInputs};
use crate::pairs::PairScene;
use crate::scene::PageCache;
use crate::{Error, Result};
use batch::Drawer;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Trains on the pairs of `scene`, chooses the threshold on those of `val`, and writes the model to `out`; checkpoints go beside it. `stop` may be
/// raised at any time.
///
/// # Errors
/// Configuration, pairs, device, files. A checkpoint that does not fit the run, or one that would be overwritten; a loss that stays infinite.
pub fn train_matching(
    engine: &Engine,
    config: &MatchTrainConfig,
    scene: &PairScene,
    val: &PairScene,
    out: &Path,
    resume: bool,
    stop: &AtomicBool,
    on: impl FnMut(Event),
) -> Result<Outcome> {
    config.check()?;
    if !resume {
        refuse_unfinished(out)?;
    }
    let (task, learner) = Matching::new(engine, config, scene, val, !resume)?;
    run(engine, task, learner, scene_records(std::slice::from_ref(&scene.pair))?, out, resume, stop, on)
}

/// Where the inputs of the graph stand.
const MAP: usize = 0;
const SAR: usize = 1;
const PARTNERS: usize = 2;

/// Both towers and the loss; inputs `map`, `sar` and `partners` in this order.
fn network_graph(config: &MatchTrainConfig) -> Result<(Graph, NodeId)> {
    let (input, batch) = (config.encoder.input, config.batch);
    let mut graph = Graph::new();
    let patches = ["map", "sar"].map(|name| graph.input(name, &[batch, input, input, 4]));
    let partners = graph.indices("partners", batch * config.bridge.negatives);
    let unbounded = config.encoder.unbounded_towers(&mut graph, patches, TowerInputs::default())?;
    let [map, sar] = [config.encoder.bound(&mut graph, unbounded[0])?, config.encoder.bound(&mut graph, unbounded[1])?];
    let mut loss = graph.add("loss.bridge", BridgeLoss(config.bridge), &[sar, map, partners])?;
    graph.watch(loss);
    if config.contrast > 0.0 {
        let mut unit = |v: NodeId| graph.add("loss.unit", L2Norm { span: Span::Image, eps: 1e-6 }, &[v]);
        let [map, sar] = [unit(unbounded[0])?, unit(unbounded[1])?];
        let contrast = graph.add("loss.contrast", InfoNce { smoothing: 0.0 }, &[sar, map])?;
        loss = graph.add("loss", WeightedSum { weights: vec![1.0, config.contrast] }, &[loss, contrast])?;
    }
    Ok((graph, loss))
}

/// Seed of a validation's negatives: the same whatever the run's.
const SEED: u64 = 7;

/// The task: pairs of patches and their negatives.
struct Matching<'a> {
    config: &'a MatchTrainConfig,
    network: BridgeNetwork,
    patch_m: f64,
    drawer: Drawer<'a>,
    val: &'a PairScene,
    spots: Spots,
    /// Pixels of both images, as far as there is room for them.
    caches: [PageCache; 2],
    records: [Tensor; 2],
    partners: Tensor,
    sampling: Plan,
}

impl<'a> Matching<'a> {
    /// The task, and the network: with its start values unless it goes on from a checkpoint.
    fn new(
        engine: &Engine,
        config: &'a MatchTrainConfig,
        scene: &'a PairScene,
        val: &'a PairScene,
        fresh: bool,
    ) -> Result<(Self, Learner)> {
        let shortest =
            scene.places.iter().map(|p| p.width.min(p.height)).min().ok_or_else(|| Error::invalid("there is no pair to train on"))?;
        let side = if config.patch > 0 { config.patch } else { shortest };
        let network = BridgeNetwork { encoder: config.encoder.clone(), patch: side, eps: config.bridge.eps };
        let drawer = Drawer::new(scene, config, side)?;
        let spots = Spots::new(val, side, 1, SEED)?;
        let (graph, loss) = network_graph(config)?;
        let mut learner = Learner::new(engine, &graph, loss, None, &config.course())?;
        if let Some(from) = config.init_from.as_ref().filter(|_| fresh) {
            learner.start_from(engine, from.bridge_start(&network)?)?;
        }
        let pair = &scene.pair;
        let own = std::slice::from_ref(pair);
        let caches = [pages(engine, own, |s| (&s.map, &s.map_mask))?, pages(engine, own, |s| (&s.sar, &s.sar_mask))?];
        let records = [sampler::records(engine, config.batch)?, sampler::records(engine, config.batch)?];
        let scale = f64::from(side) / config.encoder.input as f64;
        let scales = [scale, sar_scale(pair, scale)?];
        let inputs = &learner.plan.inputs;
        let mut builder = PlanBuilder::new(engine);
        for (i, cache) in caches.iter().enumerate() {
            sampler::forward(&mut builder, cache.array(), cache.table(), &records[i], sampler::taps_for(scales[i]), true, &inputs[i])?;
        }
        let partners = inputs[PARTNERS].clone();
        let patch_m = f64::from(side) * pair.map.raster.ground_pixel_size()?.0;
        Ok((Self { config, network, patch_m, drawer, val, spots, caches, records, partners, sampling: builder.finish() }, learner))
    }
}

/// What a validation found.
#[derive(Debug, Serialize, Deserialize)]
struct Validated {
    step: usize,
    /// At the threshold, and at 0.5.
    validation_accuracy: f64,
    validation_half_accuracy: f64,
    threshold: f64,
    validation_auc: f64,
    validation_fpr95: f64,
    /// How many pairs it was.
    of: Vec<usize>,
}

impl Task for Matching<'_> {
    type Config = MatchTrainConfig;
    type Network = BridgeNetwork;
    type State = ();

    fn config(&self) -> &MatchTrainConfig {
        self.config
    }

    fn network(&self) -> &BridgeNetwork {
        &self.network
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

    /// The model carries the threshold of its last validation.
    fn finished(&self, run: NetworkManifest<BridgeNetwork>) -> Result<NetworkManifest<BridgeNetwork>> {
        let last = run.validation.as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
        let found: Validated =
            serde_json::from_value(last).map_err(|e| Error::invalid(format!("the last validation cannot be read ({e})")))?;
        let threshold = Threshold { threshold: found.threshold, accuracy: found.validation_accuracy, pairs: self.spots.spots.len() };
        let calibration = serde_json::to_value(threshold).map_err(|e| Error::invalid(e.to_string()))?;
        Ok(NetworkManifest { calibration: Some(calibration), ..run })
    }

    fn sampling(&self) -> &Plan {
        &self.sampling
    }

    fn start_epoch(&mut self, _: &Engine, _: &Learner, _: usize, (): &mut ()) -> Result<()> {
        Ok(())
    }

    fn start_step(&mut self, engine: &Engine, step: usize, (): &mut ()) -> Result<()> {
        let batch = self.drawer.batch(step)?;
        for (i, records) in [(MAP, &batch.map), (SAR, &batch.sar)] {
            self.caches[i].require(engine, records, self.config.encoder.input)?;
            engine.write(&self.records[i], records)?;
        }
        Ok(engine.write(&self.partners, &batch.partners)?)
    }

    fn watched<'l>(&self, learner: &'l Learner) -> Option<&'l Tensor> {
        learner.plan.saved.get(BridgeLoss::DISTANCES)
    }

    /// Share of the batch's pairs and negatives on the right side of 0.5.
    fn note(&mut self, _: usize, distances: &[f32], (): &mut ()) -> Option<f32> {
        let row = 1 + self.config.bridge.negatives;
        let right = distances.iter().enumerate().filter(|(i, d)| (**d < 0.5) == (i % row == 0)).count();
        Some(right as f32 / distances.len() as f32)
    }

    /// How well pairs and as many negatives are told apart on the validation's pairs.
    fn validate(&mut self, engine: &Engine, learner: &Learner, step: usize) -> Result<serde_json::Value> {
        let embedder = Embedder::new(engine, &self.config.encoder, learner.judged(), self.config.batch, Precision::Full)?;
        let found = Distances::new(distances(&embedder, &self.network, self.val, &self.spots)?, 1)?;
        let threshold = found.best_threshold();
        let figures = Validated {
            step,
            validation_accuracy: found.confusion(threshold).accuracy(),
            validation_half_accuracy: found.confusion(0.5).accuracy(),
            threshold,
            validation_auc: found.area(),
            validation_fpr95: found.fpr95(),
            of: vec![found.pairs()],
        };
        serde_json::to_value(figures).map_err(|e| Error::invalid(e.to_string()))
    }
}

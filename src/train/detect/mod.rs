//! Training of detectors.

mod batch;
mod config;
mod export;
mod faster;
mod targets;
mod yolo;

pub use config::{DetectAugment, DetectTrainConfig, RecipeOfDetectors, RegionSampling};
pub use export::export_detector;

use super::checkpoint::refuse_unfinished;
use super::course::Course;
use super::event::{Event, Outcome};
use super::learner::Learner;
use super::run::run;
use super::start::InitFrom;
use super::task::Task;
use crate::Result;
use crate::detect::{AnnotatedImages, BATCH, Dataset, DetectOptions, Detector, MAX_DETECTIONS, ap};
use crate::gpu::{Engine, OpTime, Plan, PlanBuilder, Tensor};
use crate::kernels::sampler;
use crate::nn::{DetectorConfig, DetectorHead, Graph, NodeId};
use crate::scene::PageCache;
use batch::{Inputs, PARTS, Shown};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Pages of images that are kept on the device at most.
const PAGES: u32 = 1024;

/// Trains a detector on annotated images and writes it to `out`; validations judge it on `val`. A checkpoint lies beside it until it is done.
///
/// # Errors
/// Settings that make no sense, images that cannot be read, categories of `val` that are not those of the training, the device.
pub fn train_detector(
    engine: &Engine,
    config: &DetectTrainConfig,
    data: &AnnotatedImages,
    val: &AnnotatedImages,
    out: &Path,
    resume: bool,
    stop: &AtomicBool,
    on: impl FnMut(Event),
) -> Result<Outcome> {
    config.check()?;
    if !resume {
        refuse_unfinished(out)?;
    }
    let config = config.fitted(&data.dataset)?;
    [data, val].into_iter().try_for_each(|d| d.check_classes(&config.detector.classes))?;
    let steps = config.steps_of(data.images.len());
    let network = Network::new(&config, &data.dataset)?;
    let learner = network.learner(engine, &config.course(steps), config.init_from.as_ref().filter(|_| !resume))?;
    let task = Detect::new(engine, &config, data, val, &network, &learner)?;
    run(engine, task, learner, vec![data.record()?], out, resume, stop, on)
}

/// Median time of each dispatch of a training step over `steps` runs, for `echogrid profile --detect`. Classes and anchors that the configuration does not name are those of a
/// synthetic data set.
///
/// # Errors
/// As [`train_detector`].
pub fn profile_detector_step(engine: &Engine, config: &DetectTrainConfig, steps: usize) -> Result<Vec<OpTime>> {
    let drawn = crate::detect::synthetic::draw(8, config.detector.input as u32, 1).dataset;
    let config = config.fitted(&drawn)?;
    config.check()?;
    Network::new(&config, &drawn)?.learner(engine, &config.course(1), None)?.profile(engine, steps)
}

/// Most boxes of an image; 1 where there are none.
fn most_boxes(dataset: &Dataset) -> usize {
    dataset.images.iter().map(|i| i.boxes.len()).max().unwrap_or(0).max(1)
}

/// The tensor of a plan that an input of its graph is.
fn input(graph: &Graph, given: &[Tensor], node: NodeId) -> Tensor {
    given[graph.input_index(node).expect("an input")].clone()
}

/// Writes what a head is taught in a step.
trait Teacher {
    /// Dispatches that prepare it, before the network's own.
    fn plan(&self) -> Option<&Plan> {
        None
    }
    /// Writes what the boxes say that the inputs show.
    fn start(&self, engine: &Engine, shown: &[Vec<Shown>]) -> Result<()>;
    /// Writes what hangs on what the network says up to its pause, `said`.
    fn pause(&self, _engine: &Engine, _step: usize, _shown: &[Vec<Shown>], _said: &[Tensor]) -> Result<()> {
        Ok(())
    }
}

/// A network with its loss.
enum Network<'c> {
    Yolo3(yolo::Network<'c>),
    FasterRcnn(faster::Network<'c>),
}

impl<'c> Network<'c> {
    fn new(config: &'c DetectTrainConfig, dataset: &Dataset) -> Result<Self> {
        Ok(match &config.detector.head {
            DetectorHead::Yolo3(yolo) => Self::Yolo3(yolo::Network::new(config, yolo, dataset)?),
            DetectorHead::FasterRcnn(faster) => Self::FasterRcnn(faster::Network::new(config, faster, dataset)?),
        })
    }

    fn graph(&self) -> &Graph {
        match self {
            Self::Yolo3(n) => &n.graph,
            Self::FasterRcnn(n) => &n.graph,
        }
    }

    fn detector(&self) -> &DetectorConfig {
        match self {
            Self::Yolo3(n) => &n.config.detector,
            Self::FasterRcnn(n) => &n.config.detector,
        }
    }

    /// The network at its start: random values, or what it starts from.
    fn learner(&self, engine: &Engine, course: &Course, from: Option<&InitFrom>) -> Result<Learner> {
        let loss = match self {
            Self::Yolo3(n) => n.loss.loss,
            Self::FasterRcnn(n) => n.loss.loss,
        };
        let mut learner = Learner::new(engine, self.graph(), loss, None, course)?;
        if let Self::Yolo3(n) = self {
            learner.weights.load(engine, &n.expecting_little())?;
        }
        if let Some(from) = from {
            learner.start_from(engine, from.detector_start(self.detector())?)?;
        }
        Ok(learner)
    }

    fn teacher(&self, engine: &Engine, learner: &Learner) -> Result<Box<dyn Teacher + 'c>> {
        Ok(match self {
            Self::Yolo3(n) => Box::new(n.teacher(engine, learner)?),
            Self::FasterRcnn(n) => Box::new(n.teacher(engine, learner)?),
        })
    }
}

/// The task: inputs out of annotated images.
struct Detect<'a> {
    config: &'a DetectTrainConfig,
    inputs: Inputs<'a>,
    records: Tensor,
    cache: PageCache,
    sampling: Plan,
    teacher: Box<dyn Teacher + 'a>,
    /// The boxes that the inputs of the step show.
    shown: Vec<Vec<Shown>>,
    val: &'a AnnotatedImages,
}

impl<'a> Detect<'a> {
    fn new(
        engine: &Engine,
        config: &'a DetectTrainConfig,
        data: &'a AnnotatedImages,
        val: &'a AnnotatedImages,
        network: &Network<'a>,
        learner: &Learner,
    ) -> Result<Self> {
        let teacher = network.teacher(engine, learner)?;
        let cache = PageCache::new(engine, data.images.clone(), PAGES)?;
        let records = sampler::records(engine, PARTS * config.batch)?;
        let mut builder = PlanBuilder::new(engine);
        let taps = sampler::taps_for(usual_scale(config));
        sampler::forward(&mut builder, cache.array(), cache.table(), &records, taps, true, &learner.plan.inputs[0])?;
        let mut sampling = builder.finish();
        sampling.extend(teacher.plan().cloned().unwrap_or_default());
        let total = config.course(config.steps_of(data.images.len())).total();
        Ok(Self {
            config,
            inputs: Inputs { config, dataset: &data.dataset, images: &data.images, total },
            records,
            cache,
            sampling,
            teacher,
            shown: Vec::new(),
            val,
        })
    }
}

/// Image pixels for one of the input, as images are usually shown.
fn usual_scale(config: &DetectTrainConfig) -> f64 {
    let [least, most] = config.augment.scale;
    f64::from(config.detector.extent) / config.detector.input as f64 / (least * most).sqrt()
}

impl Task for Detect<'_> {
    type Config = DetectTrainConfig;
    type Network = DetectorConfig;
    type State = ();

    fn config(&self) -> &DetectTrainConfig {
        self.config
    }

    fn network(&self) -> &DetectorConfig {
        &self.config.detector
    }

    fn course(&self) -> Course {
        self.config.course(self.config.steps_of(self.inputs.images.len()))
    }

    fn patch_m(&self) -> f64 {
        0.0
    }

    fn pixel_m(&self) -> Option<f64> {
        None
    }

    fn sampling(&self) -> &Plan {
        &self.sampling
    }

    fn start_epoch(&mut self, _: &Engine, _: &Learner, _: usize, (): &mut ()) -> Result<()> {
        Ok(())
    }

    fn start_step(&mut self, engine: &Engine, step: usize, (): &mut ()) -> Result<()> {
        let c = self.config;
        let batch = self.inputs.batch(step)?;
        self.cache.require(engine, &batch.records, c.detector.input)?;
        engine.write(&self.records, &batch.records)?;
        self.shown = batch.shown;
        self.teacher.start(engine, &self.shown)
    }

    fn pause(&mut self, engine: &Engine, learner: &Learner, step: usize) -> Result<()> {
        let said = learner.plan.pause.as_ref().map_or(&[][..], |p| &p.read);
        self.teacher.pause(engine, step, &self.shown, said)
    }

    fn validate(&mut self, engine: &Engine, learner: &Learner, step: usize) -> Result<serde_json::Value> {
        let detector = Detector::with_weights(engine, &self.config.detector, learner.judged(), self.val.images.len().min(BATCH))?;
        let found = detector.detect(&self.val.images, &DetectOptions::default())?;
        let ap50 = ap::all_points(&self.val.dataset, &found, 0.5, MAX_DETECTIONS)?;
        Ok(serde_json::json!({ "step": step, "ap50": ap50, "images": self.val.images.len() }))
    }
}

#[cfg(test)]
mod tests;

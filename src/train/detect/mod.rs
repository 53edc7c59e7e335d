//! Training of detectors.

mod batch;
mod config;
mod targets;

pub use config::{DetectAugment, DetectTrainConfig};

use super::checkpoint::refuse_unfinished;
use super::course::Course;
use super::event::{Event, Outcome};
use super::learner::Learner;
use super::run::run;
use super::task::Task;
use crate::Result;
use crate::detect::{AnnotatedImages, BATCH, Dataset, DetectOptions, Detector, MAX_DETECTIONS, ap};
use crate::gpu::{Engine, OpTime, Plan, PlanBuilder, Tensor};
use crate::kernels::row_list::RowList;
use crate::kernels::sampler;
use crate::nn::{DetectorConfig, DetectorHead, Graph, NodeId, TensorMap, Yolo3, YoloLoss};
use crate::scene::PageCache;
use batch::{Inputs, PARTS};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use targets::{Maps, Matching};

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
    let network = Network::new(&config, slots(&config, &data.dataset))?;
    let mut learner = Learner::new(engine, &network.graph, network.loss.loss, None, &config.course(steps))?;
    learner.weights.load(engine, &network.expecting_little(&config.detector))?;
    if let Some(from) = config.init_from.as_ref().filter(|_| !resume) {
        learner.start_from(engine, from.detector_start(&config.detector)?)?;
    }
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
    let network = Network::new(&config, slots(&config, &drawn))?;
    Learner::new(engine, &network.graph, network.loss.loss, None, &config.course(1))?.profile(engine, steps)
}

/// Rows of a map that may have to say a box in a step.
fn slots(config: &DetectTrainConfig, dataset: &Dataset) -> usize {
    let most = dataset.images.iter().map(|i| i.boxes.len()).max().unwrap_or(0).max(1);
    most * PARTS * config.batch * yolo(&config.detector).anchors_a_map()
}

fn yolo(detector: &DetectorConfig) -> &Yolo3 {
    let DetectorHead::Yolo3(yolo) = &detector.head;
    yolo
}

/// The network with its loss.
struct Network {
    graph: Graph,
    loss: YoloLoss,
    /// Inputs that take the anchors of each map.
    anchors: Vec<NodeId>,
    maps: Vec<NodeId>,
}

/// The chance of a box that a row starts from: without it the many rows that should deny one would rule the first steps (Lin et al., "Focal loss for
/// dense object detection", 2017).
const PRIOR: f64 = 0.01;

impl Network {
    /// For `slots` rows of each map that say a box.
    fn new(config: &DetectTrainConfig, slots: usize) -> Result<Self> {
        let (d, yolo) = (&config.detector, yolo(&config.detector));
        let mut graph = Graph::new();
        let x = graph.input("image", &[config.batch, d.input, d.input, 4]);
        let maps = yolo.maps(d, &mut graph, x)?;
        let (loss, anchors) = yolo.loss(d, &mut graph, &maps, slots)?;
        Ok(Self { graph, loss, anchors, maps })
    }

    /// Biases with which each row says that hardly anything is there.
    fn expecting_little(&self, detector: &DetectorConfig) -> TensorMap {
        let width = 5 + detector.classes.len();
        let logit = (PRIOR / (1.0 - PRIOR)).ln() as f32;
        let one = |k: usize| {
            let bias: Vec<f32> = (0..yolo(detector).anchors_a_map() * width).map(|i| if i % width == 4 { logit } else { 0.0 }).collect();
            (format!("head{k}.say.bias"), (vec![bias.len()], bias))
        };
        (0..self.maps.len()).map(one).collect()
    }
}

/// What a step's inputs are taught by: tensors of the plan.
struct MapInputs {
    targets: Tensor,
    weights: Tensor,
    rows: RowList,
    boxes: Tensor,
    box_weights: Tensor,
}

/// The task: inputs out of annotated images.
struct Detect<'a> {
    config: &'a DetectTrainConfig,
    inputs: Inputs<'a>,
    grids: Vec<usize>,
    records: Tensor,
    cache: PageCache,
    sampling: Plan,
    maps: Vec<MapInputs>,
    divisor: Tensor,
    val: &'a AnnotatedImages,
}

impl<'a> Detect<'a> {
    fn new(
        engine: &Engine,
        config: &'a DetectTrainConfig,
        data: &'a AnnotatedImages,
        val: &'a AnnotatedImages,
        network: &Network,
        learner: &Learner,
    ) -> Result<Self> {
        let (graph, given) = (&network.graph, &learner.plan.inputs);
        let input = |node: NodeId| given[graph.input_index(node).expect("an input")].clone();
        let yolo = yolo(&config.detector);
        for (k, anchors) in network.anchors.iter().enumerate() {
            engine.write(&input(*anchors), yolo.anchors_of(k).as_flattened())?;
        }
        let maps = network.loss.maps.iter().map(|m| {
            Ok(MapInputs {
                targets: input(m.targets),
                weights: input(m.weights),
                rows: m.rows.list(graph, given)?,
                boxes: input(m.boxes),
                box_weights: input(m.box_weights),
            })
        });
        let cache = PageCache::new(engine, data.images.clone(), PAGES)?;
        let records = sampler::records(engine, PARTS * config.batch)?;
        let mut builder = PlanBuilder::new(engine);
        let taps = sampler::taps_for(usual_scale(config));
        sampler::forward(&mut builder, cache.array(), cache.table(), &records, taps, true, &given[0])?;
        let total = config.course(config.steps_of(data.images.len())).total();
        Ok(Self {
            config,
            inputs: Inputs { config, dataset: &data.dataset, images: &data.images, total },
            grids: network.maps.iter().map(|m| graph.shape(*m)[1]).collect(),
            records,
            cache,
            sampling: builder.finish(),
            maps: maps.collect::<Result<_>>()?,
            divisor: input(network.loss.divisor),
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
        let maps =
            Maps { yolo: yolo(&c.detector), classes: c.detector.classes.len(), input: c.detector.input as f64, grids: self.grids.clone() };
        let taught = maps.teach(&batch.shown, Matching { match_iou: c.match_iou, ignore_iou: c.ignore_iou });
        let said: usize = taught.iter().map(|t| t.said.len()).sum();
        engine.write(&self.divisor, &[said.max(1) as f32])?;
        for (t, to) in taught.iter().zip(&self.maps) {
            let slots = to.box_weights.len();
            let (mut boxes, mut weights) = (vec![0.0f32; 4 * slots], vec![0.0f32; slots]);
            for (slot, (_, corners)) in t.said.iter().enumerate() {
                boxes[4 * slot..][..4].copy_from_slice(corners);
                weights[slot] = 1.0;
            }
            engine.write(&to.targets, &t.targets)?;
            engine.write(&to.weights, &t.weights)?;
            to.rows.write(engine, &t.said.iter().map(|(row, _)| *row).collect::<Vec<_>>())?;
            engine.write(&to.boxes, &boxes)?;
            engine.write(&to.box_weights, &weights)?;
        }
        Ok(())
    }

    fn validate(&mut self, engine: &Engine, learner: &Learner, step: usize) -> Result<serde_json::Value> {
        let detector = Detector::with_weights(engine, &self.config.detector, &learner.weights, self.val.images.len().min(BATCH))?;
        let found = detector.detect(&self.val.images, &DetectOptions::default())?;
        let ap50 = ap::all_points(&self.val.dataset, &found, 0.5, MAX_DETECTIONS)?;
        Ok(serde_json::json!({ "step": step, "ap50": ap50, "images": self.val.images.len() }))
    }
}

#[cfg(test)]
mod tests;

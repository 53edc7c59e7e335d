//! YOLOv3 in training.

use super::batch::Shown;
use super::config::DetectTrainConfig;
use super::targets::{Maps, Matching};
use super::{PARTS, Teacher, input};
use crate::Result;
use crate::detect::Dataset;
use crate::gpu::{Engine, Tensor};
use crate::kernels::row_list::RowList;
use crate::nn::{Graph, NodeId, TensorMap, Yolo3, YoloLoss};
use crate::train::learner::Learner;

/// The chance of a box that a row starts from: without it the many rows that should deny one would rule the first steps (Lin et al., "Focal loss for
/// dense object detection", 2017).
const PRIOR: f64 = 0.01;

/// The network with its loss.
pub(super) struct Network<'c> {
    pub(super) config: &'c DetectTrainConfig,
    yolo: &'c Yolo3,
    pub(super) graph: Graph,
    pub(super) loss: YoloLoss,
    /// Inputs that take the anchors of each map.
    anchors: Vec<NodeId>,
    maps: Vec<NodeId>,
}

impl<'c> Network<'c> {
    /// For images of a data set.
    pub(super) fn new(config: &'c DetectTrainConfig, yolo: &'c Yolo3, dataset: &Dataset) -> Result<Self> {
        let d = &config.detector;
        let mut graph = Graph::new();
        let x = graph.input("image", &[config.batch, d.input, d.input, 4]);
        let maps = yolo.maps(d, &mut graph, x)?;
        // Rows of a map that may have to say a box in a step.
        let slots = super::most_boxes(dataset) * PARTS * config.batch * yolo.anchors_a_map();
        let (loss, anchors) = yolo.loss(d, &mut graph, &maps, slots)?;
        Ok(Self { config, yolo, graph, loss, anchors, maps })
    }

    /// Biases with which each row says that hardly anything is there.
    pub(super) fn expecting_little(&self) -> TensorMap {
        let width = 5 + self.config.detector.classes.len();
        let logit = (PRIOR / (1.0 - PRIOR)).ln() as f32;
        let one = |k: usize| {
            let bias: Vec<f32> = (0..self.yolo.anchors_a_map() * width).map(|i| if i % width == 4 { logit } else { 0.0 }).collect();
            (format!("head{k}.say.bias"), (vec![bias.len()], bias))
        };
        (0..self.maps.len()).map(one).collect()
    }

    /// What writes the inputs of a plan of the network.
    pub(super) fn teacher(&self, engine: &Engine, learner: &Learner) -> Result<Yolo3Teacher<'c>> {
        let (graph, given) = (&self.graph, &learner.plan.inputs);
        for (k, anchors) in self.anchors.iter().enumerate() {
            engine.write(&input(graph, given, *anchors), self.yolo.anchors_of(k).as_flattened())?;
        }
        let maps = self.loss.maps.iter().map(|m| {
            Ok(MapInputs {
                targets: input(graph, given, m.targets),
                weights: input(graph, given, m.weights),
                rows: m.rows.list(graph, given)?,
                boxes: input(graph, given, m.boxes),
                box_weights: input(graph, given, m.box_weights),
            })
        });
        Ok(Yolo3Teacher {
            config: self.config,
            yolo: self.yolo,
            grids: self.maps.iter().map(|m| graph.shape(*m)[1]).collect(),
            maps: maps.collect::<Result<_>>()?,
            divisor: input(graph, given, self.loss.divisor),
        })
    }
}

/// What a map is taught by: tensors of the plan.
struct MapInputs {
    targets: Tensor,
    weights: Tensor,
    rows: RowList,
    boxes: Tensor,
    box_weights: Tensor,
}

/// Says which rows are to say which boxes.
pub(super) struct Yolo3Teacher<'c> {
    config: &'c DetectTrainConfig,
    yolo: &'c Yolo3,
    grids: Vec<usize>,
    maps: Vec<MapInputs>,
    divisor: Tensor,
}

impl Teacher for Yolo3Teacher<'_> {
    fn start(&self, engine: &Engine, shown: &[Vec<Shown>]) -> Result<()> {
        let c = self.config;
        let maps = Maps { yolo: self.yolo, classes: c.detector.classes.len(), input: c.detector.input as f64, grids: self.grids.clone() };
        let taught = maps.teach(shown, Matching { match_iou: c.match_iou, ignore_iou: c.ignore_iou });
        let said: usize = taught.iter().map(|t| t.said.len()).sum();
        engine.write(&self.divisor, &[said.max(1) as f32])?;
        for (t, to) in taught.iter().zip(&self.maps) {
            let slots = to.box_weights.len();
            let (mut boxes, mut weights) = (vec![0.0f32; 4 * slots], vec![0.0f32; slots]);
            for (slot, said) in t.said.iter().enumerate() {
                boxes[4 * slot..][..4].copy_from_slice(&said.numbers);
                weights[slot] = said.weight;
            }
            engine.write(&to.targets, &t.targets)?;
            engine.write(&to.weights, &t.weights)?;
            to.rows.write(engine, &t.said.iter().map(|s| s.row).collect::<Vec<_>>())?;
            engine.write(&to.boxes, &boxes)?;
            engine.write(&to.box_weights, &weights)?;
        }
        Ok(())
    }
}

//! What the two towers' vectors are taught by, as a graph.

use super::config::TrainConfig;
use crate::align::Objective;
use crate::gpu::Result;
use crate::nn::ops::{InfoNce, Linear, Rows, SoftmaxXent, Triplet, WeightedMeans, WeightedSum};
use crate::nn::{Graph, NodeId, TowerInputs};
use serde::{Deserialize, Serialize};

/// What draws a place's two vectors together and pushes the others away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Symmetric InfoNCE with a learned temperature
    #[default]
    Infonce,
    /// Triplets with a margin
    Triplet,
}

/// Factor of the vectors before the classifier of cells: unit vectors alone give logits that hardly differ.
const SHARPNESS: f32 = 16.0;

/// Both towers and the loss.
#[derive(Debug)]
pub(super) struct PairGraph {
    pub(super) graph: Graph,
    pub(super) loss: NodeId,
    pub(super) objective: Option<Objective>,
    /// Where inputs stand that not every run has: an image's share of its own statistics, what is dropped, what each SAR patch has to do
    /// with each map, the cells.
    pub(super) style: Option<usize>,
    pub(super) dropout: Option<usize>,
    pub(super) weights: Option<usize>,
    pub(super) cells: Option<usize>,
}

impl PairGraph {
    /// Where the maps and the SAR patches stand among the inputs.
    pub(super) const MAP: usize = 0;
    pub(super) const SAR: usize = 1;

    /// For a run over scenes of so many `cells`.
    pub(super) fn new(config: &TrainConfig, cells: usize) -> Result<Self> {
        let (input, batch) = (config.encoder.input, config.batch);
        let mut graph = Graph::new();
        let map_in = graph.input("map", &[batch + config.map_negatives, input, input, 4]);
        let sar_in = graph.input("sar", &[batch, input, input, 4]);
        let style = (config.augment.mix_statistics > 0.0).then(|| graph.input("style", &[batch]));
        let dropout = (config.encoder.head.dropout() > 0.0).then(|| graph.indices("dropout", 2));
        let weights = config.weighs().then(|| graph.input("weights", &[batch, batch]));
        let labels = (config.class_weight > 0.0).then(|| graph.indices("cells", batch));

        let [maps, sar] = config.encoder.towers(&mut graph, [map_in, sar_in], TowerInputs { style, dropout })?;
        let pair: Vec<NodeId> = [sar, maps].into_iter().chain(weights).collect();
        let mut terms = vec![match config.loss {
            Loss::Infonce => graph.add("loss", InfoNce { smoothing: config.smoothing }, &pair)?,
            Loss::Triplet => graph.add("loss", Triplet(config.triplet), &pair)?,
        }];
        let mut factors = vec![1.0];
        let map = match config.map_negatives {
            0 => maps,
            _ => graph.add("pairs", Rows { from: 0, count: batch }, &[maps])?,
        };
        if let Some(labels) = labels {
            for vectors in [map, sar] {
                let sharp = graph.add("loss.class.sharp", WeightedSum { weights: vec![SHARPNESS] }, &[vectors])?;
                let logits = graph.add("loss.class", Linear { out: cells, bias: true }, &[sharp])?;
                terms.push(graph.add("class", SoftmaxXent { columns: cells, smoothing: config.smoothing }, &[logits, labels])?);
                factors.push(config.class_weight as f32 / 2.0);
            }
        }
        let objective = Objective::append(&config.align, &mut graph, map, sar)?;
        if let Some(objective) = &objective {
            terms.push(objective.loss());
            factors.push(config.align.weight() as f32);
        }
        let loss = match terms[..] {
            [only] => only,
            _ => graph.add("total", WeightedMeans { weights: factors }, &terms)?,
        };
        let at = |node: Option<NodeId>| node.and_then(|n| graph.input_index(n));
        let (style, dropout, weights, cells) = (at(style), at(dropout), at(weights), at(labels));
        Ok(Self { graph, loss, objective, style, dropout, weights, cells })
    }
}

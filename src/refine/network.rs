//! The graph network over candidates: attention between those that lie near each other on the map.
//!
//! Every query has `top` nodes for its candidates and one that stands for "none of them". Edges into a candidate come from the `near`
//! candidates of the same query that lie nearest to it, and from as many of the other queries of its strip; edges into the node of none
//! come from all candidates of its query. Positions enter as differences alone, each query's moved back along its strip, so that the right
//! candidates of a strip lie on one spot.

use super::slide::layout;
use crate::gpu::{Error, Result, Tensor};
use crate::kernels::activation::Activation;
use crate::kernels::edges::{Edges, End};
use crate::kernels::slide::Slide;
use crate::nn::ops::{
    Add, Attend, Common, EdgeInputs, EdgeSum, Gather, Linear, Pointwise, RowSum, SegmentSoftmax, SoftmaxXent, WeightedMeans, WeightedSum,
};
use crate::nn::{GRAPH_PREFIX, Graph, NodeId};
use serde::{Deserialize, Serialize};

/// What a node is told of its candidate's rank and of the index, beside what it has in common with the query: see `batch.rs`; ten values, and
/// zeros up to a multiple of four, by which products are faster.
pub(super) const FEATURES: usize = 12;
/// What an edge is told of its two ends: five values, and zeros up to a multiple of four, by which products are faster.
pub(super) const RELATION: usize = 8;
/// What a node is told of where its candidate lies: two values, and zeros up to four.
pub(super) const PLACE: usize = 4;
/// Candidates that stay where the search found them: vectors without a layout are one square.
const AS_FOUND: Slide = Slide { side: 1, reach: 0 };

/// What an edge knows of where its ends lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Position {
    /// Their difference in metres.
    #[default]
    Metric,
    /// The direction alone: what the published system keeps.
    Bearing,
    /// Nothing; edges still go to the nearest.
    None,
}

/// The network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefinerConfig {
    /// Candidates a query.
    pub top: usize,
    /// Edges into a candidate from those of its own query, and from those of the strip's others.
    pub near: usize,
    /// Values a node.
    pub width: usize,
    /// Attention heads; they divide the width.
    pub heads: usize,
    /// Layers of attention.
    pub layers: usize,
    /// What edges know of positions.
    pub position: Position,
    /// Whether each node is told where its candidate lies among its query's, through a small network of two layers: what the published system
    /// calls position embedding.
    pub embedding: bool,
    /// How far candidates slide before the network sees them, squares of the encoder's grid; 0 leaves them where the search found them.
    pub slide: usize,
    /// Factor of the cosine in a candidate's score; the network's own score is added.
    pub sharpness: f32,
}

impl Default for RefinerConfig {
    fn default() -> Self {
        Self { top: 20, near: 5, width: 32, heads: 4, layers: 2, position: Position::Metric, embedding: false, slide: 1, sharpness: 20.0 }
    }
}

impl RefinerConfig {
    /// Refuses values that make no sense.
    pub fn check(&self) -> Result<(), &'static str> {
        match self {
            c if c.top == 0 || c.near == 0 || c.layers == 0 => Err("top, near and layers must be above 0"),
            c if c.top > 1024 => Err("top is at most 1,024"),
            c if c.heads == 0 || !c.width.is_multiple_of(c.heads) => Err("heads must divide width"),
            c if !(c.sharpness.is_finite() && c.sharpness > 0.0) => Err("sharpness must be above 0"),
            _ => Ok(()),
        }
    }

    /// Nodes a query.
    pub fn nodes(&self) -> usize {
        self.top + 1
    }

    /// Edges of so many queries at most.
    pub(super) fn slots(&self, queries: usize) -> usize {
        queries * self.top * (2 * self.near + 1)
    }

    /// How candidates slide whose vectors have `squares` squares a side.
    ///
    /// # Errors
    /// No layout, or fewer squares than that.
    pub(super) fn slides(&self, squares: Option<usize>) -> Result<Option<Slide>> {
        if self.slide == 0 { Ok(None) } else { layout(squares, self.slide).map(Some) }
    }

    /// Appends the network to a graph that has the vectors of `queries` [Q, D] and of their `candidates` [Q top, D], with `squares`
    /// squares a side where they have a layout. The network lets go of candidates that are said to be absent, whatever their vectors.
    ///
    /// # Errors
    /// Shapes; candidates that are to slide and cannot.
    pub fn append(&self, graph: &mut Graph, queries: NodeId, candidates: NodeId, squares: Option<usize>) -> Result<Refining> {
        let (count, dim) = (graph.shape(queries)[0], graph.shape(queries)[1]);
        let rows = count * self.nodes();
        if graph.shape(candidates) != [count * self.top, dim] {
            let have = graph.shape(candidates);
            return Err(Error::shape("refiner", format!("{have:?} for {count} queries of {} candidates", self.top)));
        }
        let features = graph.input("features", &[rows, FEATURES]);
        let base = graph.input("base", &[rows, 1]);
        let slots = self.slots(count);
        let relation = graph.input("relation", &[slots, RELATION]);
        let edges = EdgeInputs::new(graph, "edges", rows, rows, slots);

        let linear =
            |g: &mut Graph, name: &str, out: usize, x: NodeId| g.add(&format!("{GRAPH_PREFIX}{name}"), Linear { out, bias: true }, &[x]);
        let slide = self.slides(squares)?.unwrap_or(AS_FOUND);
        let shifts = graph.indices("shifts", count * self.top);
        // Value by value; its sum is the cosine. 0 at the nodes of none.
        let common = graph.add("common", Common(slide), &[queries, candidates, shifts])?;
        let cosine = graph.add("cosine", RowSum, &[common])?;
        let a = linear(graph, "common", self.width, common)?;
        let b = linear(graph, "told", self.width, features)?;
        let mut x = graph.add("nodes", Add { relu: true }, &[a, b])?;
        let places = self.embedding.then(|| graph.input("places", &[rows, PLACE]));
        if let Some(places) = places {
            let y = linear(graph, "embedding.0", self.width, places)?;
            let y = graph.add("embedding", Pointwise(Activation::Relu), &[y])?;
            let y = linear(graph, "embedding.1", self.width, y)?;
            x = graph.add("nodes", Add { relu: true }, &[x, y])?;
        }
        let place = linear(graph, "place", self.width, relation)?;
        let place = graph.add("place", Pointwise(Activation::Relu), &[place])?;
        for layer in 0..self.layers {
            let name = |part: &str| format!("{layer}.{part}");
            let to = linear(graph, &name("query"), self.width, x)?;
            let from = linear(graph, &name("key"), self.width, x)?;
            let where_to = linear(graph, &name("where"), self.width, place)?;
            let s = graph.add("edge", EdgeSum { slope: 0.2 }, &edges.with(&[to, from, where_to]))?;
            let s = graph.add(&format!("{GRAPH_PREFIX}{}", name("attention")), Linear { out: self.heads, bias: false }, &[s])?;
            let w = graph.add("softmax", SegmentSoftmax, &edges.with(&[s]))?;
            let value = linear(graph, &name("value"), self.width, x)?;
            let carried = linear(graph, &name("carried"), self.width, place)?;
            let y = graph.add("attend", Attend, &edges.with(&[value, w, carried]))?;
            let y = graph.add("messages", Pointwise(Activation::Relu), &[y])?;
            let y = linear(graph, &name("out"), self.width, y)?;
            x = graph.add("nodes", Add { relu: true }, &[x, y])?;
        }
        // A bias would cancel.
        let own = graph.add(&format!("{GRAPH_PREFIX}score"), Linear { out: 1, bias: false }, &[x])?;
        let scores = graph.add("scores", WeightedSum { weights: vec![1.0, self.sharpness, 1.0] }, &[own, cosine, base])?;
        Ok(Refining { count, rows, features, base, places, slide, shifts, relation, edges, scores })
    }
}

/// The nodes of a graph that [`RefinerConfig::append`] has made.
#[derive(Debug, Clone)]
pub struct Refining {
    count: usize,
    rows: usize,
    features: NodeId,
    base: NodeId,
    places: Option<NodeId>,
    slide: Slide,
    shifts: NodeId,
    relation: NodeId,
    edges: EdgeInputs,
    /// Scores [Q (top + 1), 1], in logits.
    pub scores: NodeId,
}

/// Weights of the losses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefineLoss {
    /// Margin that the right candidate's score keeps to the others', logits.
    pub margin: f32,
    /// Weight of the margin ranking.
    pub ranking: f32,
    /// Smoothing of the labels.
    pub smoothing: f32,
}

impl Default for RefineLoss {
    fn default() -> Self {
        Self { margin: 1.0, ranking: 0.1, smoothing: 0.0 }
    }
}

/// Inputs of the loss.
#[derive(Debug, Clone)]
pub struct Supervision {
    labels: NodeId,
    margin: NodeId,
    rivals: EdgeInputs,
}

impl Refining {
    /// Appends cross-entropy over the candidates and none, and margin ranking against the right one.
    ///
    /// # Errors
    /// Shapes.
    pub fn loss(&self, graph: &mut Graph, config: &RefineLoss) -> Result<(Supervision, NodeId)> {
        let nodes = self.rows / self.count;
        let labels = graph.indices("labels", self.count);
        let others = self.count * (nodes - 1);
        let margin = graph.input("margin", &[others, 1]);
        let rivals = EdgeInputs::new(graph, "rivals", self.rows, self.rows, others);
        let xent = graph.add("cross-entropy", SoftmaxXent { columns: nodes, smoothing: config.smoothing }, &[self.scores, labels])?;
        let right = graph.add("right", Gather(End::Source), &rivals.with(&[self.scores]))?;
        let other = graph.add("other", Gather(End::Target), &rivals.with(&[self.scores]))?;
        let short = graph.add("short", WeightedSum { weights: vec![1.0, 1.0, -1.0] }, &[margin, other, right])?;
        let short = graph.add("short", Pointwise(Activation::Relu), &[short])?;
        let loss = graph.add("loss", WeightedMeans { weights: vec![1.0, config.ranking] }, &[xent, short])?;
        Ok((Supervision { labels, margin, rivals }, loss))
    }
}

/// The inputs of a plan, found.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub(super) features: Tensor,
    pub(super) base: Tensor,
    pub(super) places: Option<Tensor>,
    pub(super) slide: Slide,
    pub(super) shifts: Tensor,
    pub(super) relation: Tensor,
    pub(super) edges: Edges,
}

impl Inputs {
    /// Finds them.
    pub(super) fn new(graph: &Graph, net: &Refining, inputs: &[Tensor]) -> Result<Self> {
        let find = |node: NodeId| inputs[graph.input_index(node).expect("an input")].clone();
        Ok(Self {
            features: find(net.features),
            base: find(net.base),
            places: net.places.map(find),
            slide: net.slide,
            shifts: find(net.shifts),
            relation: find(net.relation),
            edges: net.edges.edges(graph, inputs)?,
        })
    }
}

/// The same of the loss.
#[derive(Debug)]
pub(crate) struct Teacher {
    pub(super) labels: Tensor,
    pub(super) margin: Tensor,
    pub(super) rivals: Edges,
}

impl Teacher {
    pub(super) fn new(graph: &Graph, supervision: &Supervision, inputs: &[Tensor]) -> Result<Self> {
        let find = |node: NodeId| inputs[graph.input_index(node).expect("an input")].clone();
        let s = supervision;
        let rivals = s.rivals.edges(graph, inputs)?;
        Ok(Self { labels: find(s.labels), margin: find(s.margin), rivals })
    }
}

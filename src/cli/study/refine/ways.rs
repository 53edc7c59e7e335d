//! The ways that are compared, and what becomes of each.

use crate::eval::metrics::QueryResult;
use crate::refine::{Method, Position};
use crate::train::RefineTrainConfig;
use serde::{Deserialize, Serialize};

/// How a way comes to its order.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// Without training; with the candidates slid first or not.
    Plain(Method, bool),
    /// By a graph network of these settings.
    Graph(fn(&mut RefineTrainConfig)),
}

/// One way of the comparison.
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) how: How,
}

pub(super) const WAYS: [Way; 19] = [
    Way { name: "none", what: "the search alone", how: How::Plain(Method::None, false) },
    Way { name: "aqe", what: "alpha query expansion", how: How::Plain(Method::Aqe, false) },
    Way { name: "krnn", what: "k-reciprocal neighbours", how: How::Plain(Method::Krnn, false) },
    Way { name: "gnnrr", what: "graph propagation without training", how: How::Plain(Method::Gnnrr, false) },
    Way { name: "superglobal", what: "SuperGlobal", how: How::Plain(Method::Superglobal, false) },
    Way { name: "vote", what: "geometric voting", how: How::Plain(Method::Vote, false) },
    Way { name: "slide", what: "candidates slid, no more", how: How::Plain(Method::None, true) },
    Way { name: "slide-vote", what: "candidates slid, then voting", how: How::Plain(Method::Vote, true) },
    Way { name: "graph", what: "graph network", how: How::Graph(|_| {}) },
    Way { name: "unslid", what: "its candidates where the search found them", how: How::Graph(|c| c.refiner.slide = 0) },
    Way { name: "no-position", what: "no positions on its edges", how: How::Graph(|c| c.refiner.position = Position::None) },
    Way { name: "bearing", what: "bearings alone on its edges", how: How::Graph(|c| c.refiner.position = Position::Bearing) },
    Way { name: "top-10", what: "10 candidates", how: How::Graph(|c| c.refiner.top = 10) },
    Way { name: "top-50", what: "50 candidates", how: How::Graph(|c| c.refiner.top = 50) },
    Way { name: "near-2", what: "edges to the 2 nearest", how: How::Graph(|c| c.refiner.near = 2) },
    Way { name: "near-10", what: "edges to the 10 nearest", how: How::Graph(|c| c.refiner.near = 10) },
    Way { name: "layers-1", what: "one layer", how: How::Graph(|c| c.refiner.layers = 1) },
    Way { name: "layers-3", what: "three layers", how: How::Graph(|c| c.refiner.layers = 3) },
    Way { name: "joint", what: "trained together with the encoder", how: How::Graph(|c| c.joint = true) },
];

/// What a way found: of the queries by themselves, and in their strips.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) results: Vec<QueryResult>,
    /// Probability of each query's first candidate; none where the way gives no probabilities.
    pub(super) probabilities: Vec<f64>,
}

/// What became of one way with one seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) way: String,
    pub(super) seed: u64,
    pub(super) config: RefineTrainConfig,
    pub(super) queries: usize,
    /// Hash of the encoder that candidates came from.
    pub(super) model: String,
    pub(super) adapter: String,
    pub(super) single: Found,
    pub(super) strips: Found,
    /// The search alone with this run's encoder, where it trained its own.
    pub(super) coarse: Option<Vec<QueryResult>>,
}

/// Share of queries whose right cell comes first.
pub(super) fn recall(results: &[QueryResult]) -> f64 {
    results.iter().filter(|q| q.right_rank == Some(1)).count() as f64 / results.len() as f64
}

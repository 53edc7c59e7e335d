//! The ways that a study of refinement compares.

use crate::refine::{Method, Position};
use crate::train::RefineTrainConfig;

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

//! Networks over graphs: message passing as ops, against the f64 twin, and what nodes may expect of it.

use crate::common::*;
use crate::network::{Case, forward_is_the_twins, gradients_are_the_twins, training_is_the_twins};
use echogrid::gpu::{DType, Engine};
use echogrid::kernels::activation::Activation;
use echogrid::kernels::edges::{Csr, EMPTY, End};
use echogrid::kernels::knn::knn;
use echogrid::kernels::message::Reduce;
use echogrid::nn::ops::{
    Add, Attend, Concat, EdgeInputs, EdgeSum, Gather, InfoNce, L2Norm, Linear, Message, Pointwise, SegmentSoftmax, Span,
};
use echogrid::nn::{Graph, NodeId, Weights};

/// Two layers of graph attention: scores from both ends and the place of one relative to the other, which the messages carry too.
fn layers(graph: &mut Graph, edges: &EdgeInputs, nodes: NodeId, delta: NodeId, width: usize, heads: usize) -> NodeId {
    let mut x = nodes;
    for layer in ["first", "second"] {
        let mut linear =
            |name: &str, from: NodeId| graph.add(&format!("{layer} {name}"), Linear { out: width, bias: true }, &[from]).unwrap();
        let [q, k, v, own] = ["query", "key", "value", "own"].map(|name| linear(name, x));
        let z = linear("place", delta);
        let z = graph.add("silu", Pointwise(Activation::Silu), &[z]).unwrap();
        let s = match layer {
            "first" => {
                let q = graph.add("to", Gather(End::Target), &edges.with(&[q])).unwrap();
                let k = graph.add("from", Gather(End::Source), &edges.with(&[k])).unwrap();
                let s = graph.add("both", Add { relu: false }, &[q, k]).unwrap();
                let s = graph.add("with place", Add { relu: false }, &[s, z]).unwrap();
                graph.add("leaky", Pointwise(Activation::LeakyRelu(0.2)), &[s]).unwrap()
            }
            _ => graph.add("edge", EdgeSum { slope: 0.2 }, &edges.with(&[q, k, z])).unwrap(),
        };
        let s = graph.add(&format!("{layer} score"), Linear { out: heads, bias: false }, &[s]).unwrap();
        let w = graph.add("softmax", SegmentSoftmax, &edges.with(&[s])).unwrap();
        let y = graph.add("attend", Attend, &edges.with(&[v, w, z])).unwrap();
        let y = graph.add("plain", Attend, &edges.with(&[y, w])).unwrap();
        let y = graph.add("sum", Add { relu: false }, &[own, y]).unwrap();
        x = graph.add("silu", Pointwise(Activation::Silu), &[y]).unwrap();
    }
    x
}

/// Attention on one side, the three plain reductions on the other; a node without edges and free slots.
pub fn case() -> Case {
    let list = [[1, 0], [2, 0], [3, 0], [0, 1], [0, 2], [4, 2], [6, 2], [2, 3], [6, 4], [5, 4], [1, 4], [4, 6], [0, 6], [2, 6], [3, 6]];
    let csr = Csr::new(7, 7, &list).unwrap();
    let (n, slots, f) = (7, list.len() + 3, 6);
    let mut graph = Graph::new();
    let nodes = graph.input("nodes", &[n, f]);
    let delta = graph.input("delta", &[slots, 2]);
    let edges = EdgeInputs::new(&mut graph, "edges", n, n, slots);
    let a = layers(&mut graph, &edges, nodes, delta, 8, 2);
    let x = graph.add("plain", Linear { out: 5, bias: true }, &[nodes]).unwrap();
    let all = [Reduce::Sum, Reduce::Mean, Reduce::Max].map(|r| graph.add("message", Message(r), &edges.with(&[x])).unwrap());
    let b = graph.add("beside", Concat, &[all[0], all[1], all[2], x]).unwrap();
    let [a, b] = [("left", a), ("right", b)].map(|(name, t)| {
        let t = graph.add(name, Linear { out: 9, bias: true }, &[t]).unwrap();
        graph.add("unit", L2Norm { span: Span::Image, eps: 1e-6 }, &[t]).unwrap()
    });
    let loss = graph.add("loss", InfoNce { smoothing: 0.05 }, &[a, b]).unwrap();
    let numbers = |list: &[u32], len: usize| -> Vec<f32> {
        let mut all: Vec<f32> = list.iter().map(|v| *v as f32).collect();
        all.resize(len, EMPTY as f32);
        all
    };
    let inputs = vec![
        random(n * f, 11),
        random(slots * 2, 12),
        numbers(csr.offsets(), n + 1),
        numbers(csr.sources(), slots),
        numbers(csr.targets(), slots),
        numbers(csr.back_offsets(), n + 1),
        numbers(csr.back_edges(), slots),
    ];
    Case { graph, inputs, outputs: vec![loss, a, b] }
}

#[test]
fn equals_its_twin() {
    forward_is_the_twins("attention", &case(), 1e-3);
    training_is_the_twins("attention", &case(), 1e-3);
    gradients_are_the_twins("attention", &case());
}

const NODES: usize = 12;
const NEAR: usize = 5;
const FEATURES: usize = 8;

/// Scores of three graphs of up to 12 nodes: edges from the positions, then the network, all on the device; twice, the same bits.
fn scores(e: &Engine, graph: &Graph, weights: &Weights, score: NodeId, edges: &EdgeInputs, places: &[f32], features: &[f32]) -> Vec<u32> {
    let net = graph.inference(e, weights, &[score]).unwrap();
    let positions = up(e, &[3, NODES, 2], places);
    let counts = e.upload("counts", &[3], DType::U32, &COUNTS.map(|c| c as u32)).unwrap();
    let edges = edges.edges(graph, &net.inputs).unwrap();
    let wire = plan(e, |p| knn(p, &positions, &counts, NEAR, &edges, &net.inputs[1]));
    e.write(&net.inputs[0], features).unwrap();
    let run = || {
        wire.submit(e).unwrap();
        net.plan.submit(e).unwrap();
        e.read::<u32>(&net.outputs[0]).unwrap()
    };
    let first = run();
    assert_eq!(first, run(), "two runs differ");
    assert!(first.iter().all(|v| f32::from_bits(*v).is_finite()));
    first
}

const COUNTS: [usize; 3] = [12, 7, 3];

/// Permuting the nodes of each graph permutes the scores, and moving all positions changes nothing: to the bit, because a node's
/// neighbours come nearest first whatever their numbers, and only differences of positions enter.
#[test]
fn nodes_have_no_order_and_places_no_origin() {
    let (engines, _lock) = engines();
    for e in engines {
        let mut graph = Graph::new();
        let rows = 3 * NODES;
        let nodes = graph.input("nodes", &[rows, FEATURES]);
        let delta = graph.input("delta", &[rows * NEAR, 2]);
        let edges = EdgeInputs::new(&mut graph, "edges", rows, rows, rows * NEAR);
        let x = layers(&mut graph, &edges, nodes, delta, 16, 4);
        let score = graph.add("score", Linear { out: 1, bias: true }, &[x]).unwrap();
        let weights = Weights::init(e, &graph, 3).unwrap();
        // Sixteenths of a metre within 1 km: moved by 64 km they are still exact.
        let places: Vec<f32> = random(rows * 2, 1).iter().map(|v| (v * 16_000.0).round() / 16.0).collect();
        let features = random(rows * FEATURES, 2);
        let before = scores(e, &graph, &weights, score, &edges, &places, &features);
        assert!((1..COUNTS[0]).all(|i| before[i] != before[0]), "scores that say nothing");

        let moved: Vec<f32> = places.chunks(2).flat_map(|p| [p[0] + 65_536.0, p[1] - 32_768.0]).collect();
        assert_eq!(scores(e, &graph, &weights, score, &edges, &moved, &features), before, "moved");

        // 5 is a unit modulo 12, 7 and 3.
        let from = |row: usize| {
            row / NODES * NODES
                + if row % NODES < COUNTS[row / NODES] { (5 * (row % NODES) + 2) % COUNTS[row / NODES] } else { row % NODES }
        };
        let take = |v: &[f32], width: usize| (0..rows).flat_map(|r| v[from(r) * width..][..width].to_vec()).collect::<Vec<_>>();
        let after = scores(e, &graph, &weights, score, &edges, &take(&places, 2), &take(&features, FEATURES));
        for r in 0..rows {
            assert_eq!(after[r], before[from(r)], "node {r}, which was {}", from(r));
        }
    }
}

#[test]
fn refuses() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[4, 6]);
    let edges = EdgeInputs::new(&mut graph, "edges", 3, 4, 9);
    let w = graph.input("w", &[9, 4]);
    says(graph.add("a", Gather(End::Target), &edges.with(&[x])), "[4, 6] is not [3, ..]");
    says(graph.add("a", EdgeSum { slope: 0.2 }, &edges.with(&[x, x, w])), "[4, 6] is not [3, ..]");
    says(graph.add("a", Attend, &edges.with(&[x, w])), "[[9, 4]] for 9 slots and rows of 6 values");
    says(graph.add("a", Message(Reduce::Sum), &[x]), "takes 1 tensors and five lists of edges");
    says(graph.add("a", SegmentSoftmax, &edges.with(&[x])), "[4, 6] is not [9, H]");
    // An input of indices where values are wanted.
    let (e, _lock) = engine();
    let index = graph.indices("list", 12);
    let y = graph.add("wave", Pointwise(Activation::Silu), &[index]).unwrap();
    let err = graph.inference(e, &Weights::init(e, &graph, 1).unwrap(), &[y]).unwrap_err();
    assert!(err.to_string().contains("expected F32"), "{err}");
}

//! The ops of detectors in whole graphs: losses over rows with targets, boxes, rows by lists.

use crate::cases::Case;
use crate::common::*;
use crate::network::{gradients_are_the_twins, sharing_changes_nothing, training_is_the_twins};
use echogrid::kernels::activation::Activation;
use echogrid::kernels::binary_xent::Focal;
use echogrid::nn::ops::{BinaryXent, Linear, Pointwise, WeightedMeans};
use echogrid::nn::{Graph, NodeId};

macro_rules! op {
    ($graph:ident, $name:literal, $op:expr, $($from:expr),+) => {
        $graph.add($name, $op, &[$($from),+]).unwrap()
    };
}

/// A layer behind a curve behind a layer: [rows, out] of x [rows, ..].
fn tower(g: &mut Graph, x: NodeId, out: usize) -> NodeId {
    let t = op!(g, "first", Linear { out: 9, bias: true }, x);
    let t = op!(g, "silu", Pointwise(Activation::Silu), t);
    g.add(&format!("second {out}"), Linear { out, bias: true }, &[t]).unwrap()
}

/// Cross-entropies of one tower's logits: plain, weighted, over a divisor that comes from the weights, focal with and without these; targets and
/// weights that layers make learn nothing.
fn binary() -> Case {
    let mut graph = Graph::new();
    let (n, d, c) = (6, 5, 4);
    let x = graph.input("x", &[n, d]);
    let (targets, weights) = (graph.input("targets", &[n * c]), graph.input("weights", &[n, c]));
    let g = &mut graph;
    let z = tower(g, x, c);
    let counted = op!(g, "counted", WeightedMeans { weights: vec![(n * c) as f32] }, weights);
    let focal = Focal { gamma: 2.0, alpha: Some(0.25) };
    let terms = [
        op!(g, "plain", BinaryXent::each(Focal::default()), z, targets),
        op!(g, "same", BinaryXent::all(false), z, weights),
        op!(g, "weighted", BinaryXent::each(Focal { gamma: 0.0, alpha: Some(0.7) }), z, targets, weights, counted),
        op!(g, "focal", BinaryXent::each(focal), z, targets),
        op!(g, "focal of the same", BinaryXent { target: Some(true), focal }, z, weights, counted),
        op!(g, "half", BinaryXent::each(Focal { gamma: 0.5, alpha: None }), z, targets, weights, counted),
    ];
    let loss = g.add("loss", WeightedMeans { weights: vec![1.0, 0.4, -0.7, 3.0, 2.0, 1.3] }, &terms).unwrap();
    let loss = op!(g, "curve", Pointwise(Activation::Silu), loss);
    let between: Vec<f32> = random(n * c, 32).iter().map(|v| (0.8 * v + 0.5).clamp(0.0, 1.0)).collect();
    let weighted: Vec<f32> = random(n * c, 33).iter().map(|v| (2.0 * v + 1.0).max(0.0)).collect();
    Case { graph, inputs: vec![random(n * d, 31), between, weighted], outputs: [&[loss, z][..], &terms].concat() }
}

/// All graphs of this file, by name.
fn cases() -> Vec<(&'static str, Case)> {
    vec![("binary cross-entropy", binary())]
}

#[test]
fn forward_passes_are_the_twins() {
    cases().iter().for_each(|(name, case)| training_is_the_twins(name, case, 1e-3));
}

#[test]
fn backward_passes_are_the_twins() {
    cases().iter().for_each(|(name, case)| gradients_are_the_twins(name, case));
}

#[test]
fn sharing_buffers_changes_nothing_here() {
    let ([e, baseline], _lock) = engines();
    cases().into_iter().for_each(|(_, case)| sharing_changes_nothing(e, case));
    cases().into_iter().for_each(|(_, case)| sharing_changes_nothing(baseline, case));
}

/// What only describes a loss learns nothing: a layer that makes targets or weights gets a gradient of 0.
#[test]
fn what_describes_a_loss_learns_nothing() {
    let (e, _lock) = engine();
    let mut graph = Graph::new();
    let x = graph.input("x", &[3, 4]);
    let g = &mut graph;
    let [z, t, w] = ["logits", "targets", "weights"].map(|name| g.add(name, Linear { out: 2, bias: false }, &[x]).unwrap());
    let loss = op!(g, "loss", BinaryXent::each(Focal::default()), z, t, w);
    let weights = echogrid::nn::Weights::init(e, &graph, 5).unwrap();
    let plan = graph.training(e, &weights, &[loss]).unwrap();
    e.write(&plan.inputs[0], &random(12, 5)).unwrap();
    plan.plan.submit(e).unwrap();
    let gradients: Vec<Vec<f32>> = plan.gradients.iter().flatten().map(|g| e.read(g).unwrap()).collect();
    assert!(gradients[0].iter().any(|v| *v != 0.0));
    assert!(gradients[1..].iter().flatten().all(|v| *v == 0.0));
}

#[test]
fn shapes_are_checked() {
    let mut graph = Graph::new();
    let [z, few, one] = [&[4, 3][..], &[4], &[1]].map(|shape| graph.input("x", shape));
    let each = BinaryXent::each(Focal::default());
    says(graph.add("y", each, &[z]), "[[4, 3]], expected logits, as many targets, and perhaps as many weights");
    says(graph.add("y", each, &[z, few]), "[[4, 3], [4]], expected logits, as many targets");
    says(graph.add("y", each, &[z, z, few]), "expected logits, as many targets");
    says(graph.add("y", each, &[z, z, z, few]), "after these a divisor [1]");
    says(graph.add("y", each, &[z, z, z, one, one]), "after these a divisor [1]");
    assert!(graph.add("y", each, &[z, z, z, one]).is_ok());
}

//! The graph network over candidates with its losses, against the f64 twin.

use crate::common::*;
use crate::network::{Case, forward_is_the_twins, gradients_are_the_twins, sharing_changes_nothing, training_is_the_twins};
use echogrid::kernels::edges::{Csr, EMPTY};
use echogrid::kernels::slide::Slide;
use echogrid::nn::Graph;
use echogrid::nn::ops::{Common, L2Norm, Linear, RowSum, SoftmaxXent, Span, WeightedSum};
use echogrid::refine::{RefineLoss, RefinerConfig};

const QUERIES: usize = 3;
const TOP: usize = 3;
const NODES: usize = TOP + 1;
const ROWS: usize = QUERIES * NODES;
const DIM: usize = 18;

/// Five lists as inputs.
fn lists(targets: usize, sources: usize, slots: usize, edges: &[[u32; 2]]) -> Vec<Vec<f32>> {
    let csr = Csr::new(targets, sources, edges).unwrap();
    let list = |l: &[u32], len: usize| (0..len).map(|i| *l.get(i).unwrap_or(&EMPTY) as f32).collect();
    vec![
        list(csr.offsets(), targets + 1),
        list(csr.sources(), slots),
        list(csr.targets(), slots),
        list(csr.back_offsets(), sources + 1),
        list(csr.back_edges(), slots),
    ]
}

/// Two queries of one strip and a third whose right candidate is not there; its last candidate is absent. Vectors come from a layer, so
/// that what reaches them counts.
fn case(embedding: bool) -> Case {
    let config = RefinerConfig { top: TOP, near: 2, width: 8, heads: 2, layers: 2, sharpness: 3.0, embedding, ..RefinerConfig::default() };
    let mut graph = Graph::new();
    let unit = |graph: &mut Graph, name: &str, rows: usize| {
        let x = graph.input(name, &[rows, 5]);
        let y = graph.add(name, Linear { out: DIM, bias: true }, &[x]).unwrap();
        graph.add("unit", L2Norm { span: Span::Image, eps: 1e-6 }, &[y]).unwrap()
    };
    let queries = unit(&mut graph, "sar", QUERIES);
    let candidates = unit(&mut graph, "map", QUERIES * TOP);
    let net = config.append(&mut graph, queries, candidates, Some(3)).unwrap();
    let loss = RefineLoss { margin: 0.5, ranking: 0.3, smoothing: 0.0 };
    let (_, loss) = net.loss(&mut graph, &loss).unwrap();

    let row = |q: usize, i: usize| (q * NODES + i) as u32;
    let slots = QUERIES * TOP * 5;
    let mut edges = Vec::new();
    for q in 0..QUERIES {
        for i in 0..TOP {
            edges.extend([1, 2].map(|d| [row(q, (i + d) % TOP), row(q, i)]));
            if q < 2 {
                edges.extend([0, 1].map(|d| [row(1 - q, (i + d) % TOP), row(q, i)]));
            }
            edges.push([row(q, i), row(q, TOP)]);
        }
    }
    let labels = [1usize, 0, TOP];
    let rivals: Vec<[u32; 2]> =
        labels.iter().enumerate().flat_map(|(q, l)| (0..NODES).filter(move |i| i != l).map(move |i| [row(q, *l), row(q, i)])).collect();
    let mut offset = random(ROWS, 4);
    offset[row(2, 2) as usize] = -64.0;

    let mut inputs = vec![random(QUERIES * 5, 1), random(QUERIES * TOP * 5, 2), random(ROWS * 12, 3), offset];
    inputs.push(random(slots * 8, 5));
    inputs.extend(lists(ROWS, ROWS, slots, &edges));
    // Every shift of the nine, each candidate another.
    inputs.push((0..QUERIES * TOP).map(|i| i as f32).collect());
    if embedding {
        inputs.push(random(ROWS * 4, 6));
    }
    inputs.push(labels.map(|l| l as f32).to_vec());
    inputs.push(vec![0.5; QUERIES * TOP]);
    inputs.extend(lists(ROWS, ROWS, QUERIES * TOP, &rivals));
    Case { graph, inputs, outputs: vec![loss, net.scores] }
}

#[test]
fn equals_its_twin() {
    for (name, embedding) in [("refiner", false), ("refiner that is told places", true)] {
        forward_is_the_twins(name, &case(embedding), 1e-3);
        training_is_the_twins(name, &case(embedding), 1e-3);
        gradients_are_the_twins(name, &case(embedding));
    }
    let (e, _lock) = engine();
    sharing_changes_nothing(e, case(true));
}

#[test]
fn refuses() {
    let mut graph = Graph::new();
    let (a, b) = (graph.input("a", &[4, 3]), graph.input("b", &[3, 4]));
    let labels = graph.indices("labels", 3);
    let common = Common(Slide { side: 1, reach: 0 });
    says(graph.add("y", common, &[a, b, labels]), "[[4, 3], [3, 4], [3]], expected [Q, D], [Q T, D] and [Q T]");
    says(graph.add("y", WeightedSum { weights: vec![1.0] }, &[a, a]), "1 weights for [[4, 3], [4, 3]]");
    says(graph.add("y", WeightedSum { weights: vec![1.0, 2.0] }, &[a, b]), "2 weights for [[4, 3], [3, 4]]");
    says(graph.add("y", RowSum, &[labels]), "[[3]] is not one [R, C]");
    says(graph.add("y", SoftmaxXent { columns: 5, smoothing: 0.0 }, &[a, labels]), "are not N x 5 scores and N labels");
    assert!(RefinerConfig { heads: 3, ..RefinerConfig::default() }.check().is_err());
    let config = RefinerConfig { top: 2, ..RefinerConfig::default() };
    let err = config.append(&mut graph, a, b, None).unwrap_err().to_string();
    assert!(err.contains("[3, 4] for 4 queries of 2 candidates"), "{err}");
    let c = graph.input("c", &[8, 3]);
    let says = |graph: &mut Graph, squares: Option<usize>, word: &str| {
        let err = config.append(graph, a, c, squares).unwrap_err().to_string();
        assert!(err.contains(word), "{err}");
    };
    says(&mut graph, None, "nothing can slide: leave --slide out");
    says(&mut graph, Some(2), "2 x 2 squares do not slide by 1");
}

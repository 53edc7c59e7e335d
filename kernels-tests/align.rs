//! The ops that alignment losses are made of, in whole graphs: a critic with its gradient penalty, clouds and their discrepancies, an
//! adversary behind a reversed gradient.

use crate::common::*;
use crate::network::{Case, gradients_are_the_twins, sharing_changes_nothing, training_is_the_twins, weights};
use echogrid::kernels::activation::Activation;
use echogrid::nn::ops::{
    BinaryXent, CenterRows, Discrepancy, GradientPenalty, Interpolate, L2Norm, Linear, LinearTransposed, Measure, Pointwise, Product,
    ReverseGradient, Rows, Slope, Span, Stack, WeightedMeans,
};
use echogrid::nn::{Graph, NodeId, TrainingPlan};

const LEAKY: f32 = 0.2;

macro_rules! op {
    ($graph:ident, $name:literal, $op:expr, $($from:expr),+) => {
        $graph.add($name, $op, &[$($from),+]).unwrap()
    };
}

/// The critic d-32-16-1: its score of x [B, d] and the pre-activations of its hidden layers. A bias of the score would cancel in the loss.
fn score(graph: &mut Graph, x: NodeId) -> (NodeId, [NodeId; 2]) {
    let first = op!(graph, "critic.1", Linear { out: 32, bias: true }, x);
    let y = op!(graph, "leaky", Pointwise(Activation::LeakyRelu(LEAKY)), first);
    let second = op!(graph, "critic.2", Linear { out: 16, bias: true }, y);
    let y = op!(graph, "leaky", Pointwise(Activation::LeakyRelu(LEAKY)), second);
    (op!(graph, "critic.3", Linear { out: 1, bias: false }, y), [first, second])
}

/// A Wasserstein critic of clouds a and b [B, d] with the penalty on its gradient between them, W1' S1 W2' S2 w3 spelled out; the
/// gradient comes back times `seed` [B, 1]. Outputs: the loss, the input gradient, the score between, the places between.
fn critic(one_sided: bool, seed: Vec<f32>) -> Case {
    let (n, d) = (seed.len(), 5);
    let mut graph = Graph::new();
    let (a, b) = (graph.input("a", &[n, d]), graph.input("b", &[n, d]));
    let (shares, ones) = (graph.input("shares", &[n]), graph.input("ones", &[n, 1]));
    let g = &mut graph;
    let between = op!(g, "between", Interpolate, a, b, shares);
    let (there, [first, second]) = score(g, between);
    let v = op!(g, "critic.3", LinearTransposed { inputs: 16 }, ones);
    let v = op!(g, "slope", Slope { slope: LEAKY }, second, v);
    let v = op!(g, "critic.2", LinearTransposed { inputs: 32 }, v);
    let v = op!(g, "slope", Slope { slope: LEAKY }, first, v);
    let v = op!(g, "critic.1", LinearTransposed { inputs: d }, v);
    let penalty = op!(g, "penalty", GradientPenalty { one_sided }, v);
    let (score_a, score_b) = (score(g, a).0, score(g, b).0);
    let loss = op!(g, "loss", WeightedMeans { weights: vec![-1.0, 1.0, 10.0] }, score_a, score_b, penalty);
    let e = random(n, 3).iter().map(|v| 0.5 + 0.4 * v).collect();
    let b: Vec<f32> = random(n * d, 2).iter().map(|v| v + 0.5).collect();
    Case { graph, inputs: vec![random(n * d, 1), b, e, seed], outputs: vec![loss, v, there, between] }
}

/// Gradients of 1 to 4 times the critic's, some above and some below length 1.
fn one_sided_critic() -> Case {
    critic(true, (0..7).map(|i| 1.0 + 0.5 * i as f32).collect())
}

/// All the other ops with inputs that learn, several read more than once, one parameter known to its transposed layer first. The factor
/// of the reversed gradient is -1: then the loss has a gradient that differences can find.
fn alignment() -> Case {
    let mut graph = Graph::new();
    let (n, m, d, width) = (6, 5, 7, 8);
    let (x, y, factor) = (graph.input("x", &[n, d]), graph.input("y", &[m, d]), graph.input("factor", &[1]));
    let g = &mut graph;
    let mut tower = |from: NodeId| {
        let t = op!(g, "tower", Linear { out: width, bias: true }, from);
        op!(g, "silu", Pointwise(Activation::Silu), t)
    };
    let (a, b) = (tower(x), tower(y));
    let unit = [a, b].map(|t| op!(g, "unit", L2Norm { span: Span::Image, eps: 1e-6 }, t));
    let centred = [a, b].map(|t| op!(g, "centred", CenterRows, t));
    let mut apart = |[a, b]: [NodeId; 2], measure: Measure| {
        let (ab, aa, bb) = (op!(g, "ab", Product, a, b), op!(g, "aa", Product, a, a), op!(g, "bb", Product, b, b));
        op!(g, "apart", Discrepancy { measure }, ab, aa, bb)
    };
    let mmd = apart(unit, Measure::Mmd { bandwidths: [0.3, 0.5, 0.8, 1.2, 2.0] });
    let coral = apart(centred, Measure::Coral { dim: width });
    let mut judged = |t: NodeId, target: bool| {
        let t = op!(g, "reversed", ReverseGradient, t, factor);
        let z = op!(g, "judge", Linear { out: 1, bias: true }, t);
        op!(g, "xent", BinaryXent::all(target), z)
    };
    let (yes, no) = (judged(a, true), judged(b, false));
    let side = op!(g, "side", Linear { out: width, bias: false }, x);
    let shares = op!(g, "shares", Linear { out: 1, bias: true }, a);
    let between = op!(g, "between", Interpolate, a, side, shares);
    let length = op!(g, "length", GradientPenalty { one_sided: false }, between);
    let slope = op!(g, "slope", Slope { slope: 0.3 }, a, side);
    let late = op!(g, "late", LinearTransposed { inputs: 4 }, slope);
    let late = op!(g, "silu", Pointwise(Activation::Silu), late);
    let late = op!(g, "late", Linear { out: width, bias: true }, late);
    let weights = vec![3.0, 20.0, 0.7, 0.8, 1.5, 1.0, -0.4, 0.1];
    let loss = op!(g, "loss", WeightedMeans { weights }, mmd, coral, yes, no, length, late, slope, slope);
    let inputs = vec![random(n * d, 4), random(m * d, 5).iter().map(|v| 1.5 * v + 0.3).collect(), vec![-1.0]];
    Case { graph, inputs, outputs: vec![loss, mmd, coral, yes, no, between, late] }
}

/// Two clouds below each other and apart again, in parts that overlap and whose lengths are no multiples of four.
fn stacked() -> Case {
    let mut graph = Graph::new();
    let (x, y) = (graph.input("x", &[6, 7]), graph.input("y", &[5, 7]));
    let g = &mut graph;
    let (a, b) = (op!(g, "tower", Linear { out: 3, bias: true }, x), op!(g, "other", Linear { out: 3, bias: true }, y));
    let all = op!(g, "stack", Stack, a, b, a);
    let all = op!(g, "silu", Pointwise(Activation::Silu), all);
    let parts = [(0, 6), (6, 5), (3, 9)].map(|(from, count)| op!(g, "rows", Rows { from, count }, all));
    let judged = parts.map(|t| op!(g, "judge", Linear { out: 1, bias: true }, t));
    let xent = op!(g, "xent", BinaryXent::all(true), judged[1]);
    let loss = op!(g, "loss", WeightedMeans { weights: vec![1.0, -2.0, 0.7] }, judged[0], xent, judged[2]);
    let inputs = vec![random(42, 7), random(35, 8)];
    Case { graph, inputs, outputs: vec![loss, all, parts[1], parts[2]] }
}

#[test]
fn forward_passes_are_the_twins() {
    training_is_the_twins("stacked", &stacked(), 1e-3);
    training_is_the_twins("critic", &critic(false, vec![1.0; 6]), 1e-3);
    training_is_the_twins("one-sided critic", &one_sided_critic(), 1e-3);
    training_is_the_twins("alignment", &alignment(), 1e-3);
}

/// The gradient of the critic's loss, the penalty's part of it too, against central differences of the same graph in f64: the closed form
/// of the gradient of a gradient.
#[test]
fn backward_passes_are_the_twins() {
    gradients_are_the_twins("critic", &critic(false, vec![1.0; 6]));
    gradients_are_the_twins("one-sided critic", &one_sided_critic());
    gradients_are_the_twins("alignment", &alignment());
    gradients_are_the_twins("stacked", &stacked());
}

/// The node that spells the input gradient out is the gradient of the score, by central differences in f64: a step of a_ij moves the
/// place between by e_i times as much. The device's node is the twin's (`forward_passes_are_the_twins`).
#[test]
fn the_input_gradient_is_the_scores() {
    let (e, _lock) = engine();
    for case in [critic(false, vec![1.0; 6]), one_sided_critic()] {
        let (_, host) = weights(e, &case.graph);
        let inputs: Vec<Vec<f64>> = case.inputs.iter().map(|v| f64s(v)).collect();
        let (d, n) = (5, inputs[3].len());
        let run = |a: &[f64]| {
            let inputs: Vec<&[f64]> = [a].into_iter().chain(inputs[1..].iter().map(Vec::as_slice)).collect();
            case.graph.reference(&host, &inputs, &case.outputs, true).unwrap()
        };
        let gradient = run(&inputs[0]).swap_remove(1);
        let lengths: Vec<f64> = gradient.chunks(d).map(|g| g.iter().map(|v| v * v).sum::<f64>().sqrt()).collect();
        println!("lengths {lengths:?}");
        for i in 0..n * d {
            let at = |h: f64| {
                let mut a = inputs[0].clone();
                a[i] += h;
                run(&a).swap_remove(2)[i / d]
            };
            let want = inputs[3][i / d] * (at(1e-6) - at(-1e-6)) / 2e-6;
            let got = inputs[2][i / d] * gradient[i];
            assert!((got - want).abs() < 1e-8, "{i}: {got} and {want}");
        }
        if n == 7 {
            assert!(lengths.iter().any(|l| *l > 1.1) && lengths.iter().any(|l| *l < 0.9), "both sides of 1: {lengths:?}");
        }
    }
}

#[test]
fn sharing_buffers_changes_nothing() {
    let ([e, baseline], _lock) = engines();
    sharing_changes_nothing(e, critic(false, vec![1.0; 6]));
    sharing_changes_nothing(e, alignment());
    sharing_changes_nothing(e, stacked());
    sharing_changes_nothing(baseline, alignment());
}

/// The factor is read at each run: the judge's gradient does not know of it, the tower's is -factor times what it would be. Powers of
/// two, so nothing rounds.
#[test]
fn the_gradient_is_reversed() {
    let (engines, _lock) = engines();
    for e in engines {
        let mut graph = Graph::new();
        let (x, factor) = (graph.input("x", &[5, 3]), graph.input("factor", &[1]));
        let g = &mut graph;
        let t = op!(g, "tower", Linear { out: 4, bias: false }, x);
        let t = op!(g, "reversed", ReverseGradient, t, factor);
        let z = op!(g, "judge", Linear { out: 1, bias: true }, t);
        let loss = op!(g, "xent", BinaryXent::all(true), z);
        let (w, _) = weights(e, &graph);
        let plan = graph.training(e, &w, &[loss, z]).unwrap();
        e.write(&plan.inputs[0], &random(15, 6)).unwrap();
        let run = |plan: &TrainingPlan, factor: f32| {
            e.write(&plan.inputs[1], &[factor]).unwrap();
            plan.plan.submit(e).unwrap();
            plan.gradients.iter().flatten().map(|g| e.read::<f32>(g).unwrap()).collect::<Vec<_>>()
        };
        let plain = run(&plan, -1.0);
        assert!(plain[0].iter().any(|v| v.abs() > 1e-3));
        for factor in [0.5, 0.0, 2.0] {
            let got = run(&plan, factor);
            assert!(got[0].iter().zip(&plain[0]).all(|(a, b)| *a == -factor * b), "{got:?} {plain:?}");
            assert_eq!(got[1..], plain[1..]);
        }
        let z: Vec<f32> = e.read(&plan.outputs[1]).unwrap();
        let right = z.iter().filter(|z| **z > 0.0).count() as f64 / 5.0;
        close(&e.read(&plan.saved[BinaryXent::ACCURACY]).unwrap(), &[right], 0.0, 6.0 * EPS);
    }
}

/// A critic that is flat everywhere (all weights 0) has a gradient of length 0: the loss is 10 and nothing is NaN.
#[test]
fn a_flat_critic_has_finite_gradients() {
    let (engines, _lock) = engines();
    for e in engines {
        let case = critic(false, vec![1.0; 6]);
        let (w, _) = weights(e, &case.graph);
        let mut tensors = w.read(e).unwrap();
        tensors.values_mut().for_each(|(_, v)| v.fill(0.0));
        w.load(e, &tensors).unwrap();
        let plan = case.graph.training(e, &w, &case.outputs).unwrap();
        plan.inputs.iter().zip(&case.inputs).for_each(|(t, v)| e.write(t, v).unwrap());
        plan.plan.submit(e).unwrap();
        assert_eq!(e.read::<f32>(&plan.outputs[0]).unwrap(), [10.0]);
        for g in plan.gradients.iter().flatten() {
            assert!(e.read::<f32>(g).unwrap().iter().all(|v| v.is_finite()));
        }
    }
}

#[test]
fn shapes_are_checked() {
    let mut graph = Graph::new();
    let shapes: [&[usize]; 7] = [&[4, 3], &[5, 3], &[4, 2], &[4], &[1], &[4, 4], &[4, 1]];
    let ids = shapes.map(|s| graph.input("x", s));
    let [a, b, narrow, four, one, square, column] = ids;
    says(graph.add("y", Product, &[a, narrow]), "rows of [4, 3] with those of [4, 2]");
    says(graph.add("y", Product, &[a]), "takes 2 inputs, not 1");
    says(graph.add("y", LinearTransposed { inputs: 3 }, &[four]), "[4] is not a matrix");
    says(graph.add("y", Slope { slope: 0.1 }, &[a, b]), "[5, 3] at [4, 3]");
    says(graph.add("y", GradientPenalty { one_sided: true }, &[four]), "[4] is not a matrix");
    says(graph.add("y", Interpolate, &[a, a, one]), "with shares [1]");
    says(graph.add("y", Interpolate, &[a, b, four]), "between [4, 3] and [5, 3]");
    says(graph.add("y", WeightedMeans { weights: vec![1.0] }, &[a, b]), "1 weights for 2 inputs");
    says(graph.add("y", WeightedMeans { weights: Vec::new() }, &[]), "0 weights for 0 inputs");
    says(graph.add("y", ReverseGradient, &[a, four]), "with a factor [4], expected [1]");
    says(graph.add("y", BinaryXent::all(true), &[a, b]), "[[4, 3], [5, 3]], expected logits, and perhaps as many weights");
    let mmd = Measure::Mmd { bandwidths: [1.0; 5] };
    says(graph.add("y", Discrepancy { measure: mmd }, &[a, a, a]), "expected [N, M], [N, N] and [M, M]");
    says(graph.add("y", Discrepancy { measure: Measure::Coral { dim: 0 } }, &[square; 3]), "a length above 0");
    says(graph.add("y", Discrepancy { measure: Measure::Coral { dim: 3 } }, &[column, square, one]), "expected [N, M]");
    says(graph.add("y", CenterRows, &[four]), "[4] has no rows");
    says(graph.add("y", Stack, &[a, narrow]), "[4, 2] below [4, 3]");
    says(graph.add("y", Rows { from: 3, count: 2 }, &[a]), "2 from 3 on of [4, 3]");
    says(graph.add("y", Rows { from: 0, count: 0 }, &[a]), "0 from 0 on of [4, 3]");
    assert_eq!(graph.add("y", Stack, &[a, b]).map(|y| graph.shape(y).to_vec()).unwrap(), [9, 3]);
    // Inputs are counted without what stands between them.
    let late = graph.input("late", &[1]);
    assert_eq!([a, late].map(|i| graph.input_index(i)), [Some(0), Some(7)]);
    // A weight of another layer's extents under the same name.
    graph.add("layer", Linear { out: 2, bias: false }, &[a]).unwrap();
    says(graph.add("layer", LinearTransposed { inputs: 4 }, &[narrow]), "shared as [3, 2] and [4, 2]");
    assert_eq!(graph.add("layer", LinearTransposed { inputs: 3 }, &[narrow]).map(|y| graph.shape(y).to_vec()).unwrap(), [4, 3]);
}

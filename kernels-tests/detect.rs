//! The ops of detectors in whole graphs: losses over rows with targets, boxes, rows by lists.

use crate::cases::Case;
use crate::common::*;
use crate::network::{gradients_are_the_twins, sharing_changes_nothing, training_is_the_twins};
use echogrid::kernels::activation::Activation;
use echogrid::kernels::binary_xent::Focal;
use echogrid::kernels::box_decode::{Deltas, Yolo};
use echogrid::kernels::box_loss::BoxDistance;
use echogrid::kernels::edges::EMPTY;
use echogrid::kernels::roi_align::NOWHERE;
use echogrid::kernels::row_list::with_inverse;
use echogrid::kernels::softmax_xent::IGNORE;
use echogrid::nn::ops::{
    BinaryXent, BoxLoss, Channels, DecodeDeltas, DecodeYolo, GatherRows, Linear, Pointwise, RowListInputs, ScatterRows, SoftmaxXent,
    WeightedMeans,
};
use echogrid::nn::{
    Architecture, DetectorConfig, DetectorHead, FasterRcnn, FasterRcnnSlots, Graph, NodeId, Stage, Weights, Yolo3, YoloBoxLoss,
};

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

/// Cross-entropies of one tower's logits: plain, weighted, over a divisor that comes from the weights, focal with and without these.
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

/// Boxes with sides of 2 to 6 about places within 4 of `middle`.
fn boxes(n: usize, middle: f32, seed: u64) -> Vec<f32> {
    let r = random(4 * n, seed);
    r.chunks(4).flat_map(|r| [-1.0, 1.0].map(|side| [0, 1].map(|k| middle + 4.0 * r[k] + side * (2.0 + r[k + 2])))).flatten().collect()
}

/// Boxes from differences for two images of three anchors, a row for each of two classes; all distances from their targets at once.
fn deltas() -> Case {
    let mut graph = Graph::new();
    let (n, d, rows) = (6, 5, 12);
    let x = graph.input("x", &[n, d]);
    let (anchors, targets) = (graph.input("anchors", &[3, 4]), graph.input("targets", &[rows, 4]));
    let weights = graph.input("weights", &[rows]);
    let g = &mut graph;
    let t = tower(g, x, 8);
    let y = op!(g, "decode", DecodeDeltas(Deltas { deviations: [0.1, 0.1, 0.2, 0.2], classes: 2 }), t, anchors);
    let counted = op!(g, "counted", WeightedMeans { weights: vec![rows as f32] }, weights);
    let loss = |distance| BoxLoss { distance };
    let terms = [
        op!(g, "smooth", loss(BoxDistance::SmoothL1 { beta: 1.5 }), y, targets, weights),
        op!(g, "straight", loss(BoxDistance::SmoothL1 { beta: 0.0 }), y, targets),
        op!(g, "squares", loss(BoxDistance::Squares), y, targets, weights, counted),
        op!(g, "overlap", loss(BoxDistance::Giou), y, targets, weights, counted),
        // Differences themselves, without boxes.
        op!(g, "differences", loss(BoxDistance::SmoothL1 { beta: 0.1 }), t, targets),
    ];
    let all = g.add("all", WeightedMeans { weights: vec![0.1, 0.05, 0.01, 1.0, 0.1] }, &terms).unwrap();
    let all = op!(g, "curve", Pointwise(Activation::Silu), all);
    let weighted: Vec<f32> = (0..rows).map(|i| [1.0, 0.0, 2.0, 0.5][i % 4]).collect();
    let inputs = vec![random(n * d, 41), boxes(3, 0.0, 42), boxes(rows, 0.0, 43), weighted];
    Case { graph, inputs, outputs: [&[all, y][..], &terms].concat() }
}

/// A YOLO layer of two images of 3 x 2 cells, two anchors and two classes: its boxes, its logits, and some of its rows by a list, which go on to a
/// classifier and back to where they came from.
fn yolo() -> Case {
    let mut graph = Graph::new();
    let (n, d, rows, slots) = (12, 5, 24, 10);
    let x = graph.input("x", &[n, d]);
    let anchors = graph.input("anchors", &[2, 2]);
    let (targets, answers) = (graph.input("targets", &[rows, 4]), graph.input("answers", &[rows, 3]));
    let (weights, labels) = (graph.input("weights", &[slots]), graph.indices("labels", slots));
    let list = RowListInputs::new(&mut graph, "positives", rows, slots);
    let divisor = graph.input("divisor", &[1]);
    let g = &mut graph;
    let config = Yolo { grid: [3, 2], stride: [4.0, 5.0], classes: 2 };
    let t = tower(g, x, 14);
    let y = op!(g, "decode", DecodeYolo(config), t, anchors);
    let corners = op!(g, "boxes", Channels { from: 0, count: 4 }, y);
    let logits = op!(g, "logits", Channels { from: 4, count: 3 }, y);
    let overlap = op!(g, "overlap", BoxLoss { distance: BoxDistance::Giou }, corners, targets);
    let said = op!(g, "said", BinaryXent::each(Focal { gamma: 1.5, alpha: Some(0.3) }), logits, answers);
    let picked = g.add("picked", GatherRows, &list.with(t)).unwrap();
    let scores = op!(g, "scores", Linear { out: 3, bias: true }, picked);
    let classes = op!(g, "classes", SoftmaxXent { columns: 3, smoothing: 0.1 }, scores, labels, weights, divisor);
    let rated = op!(g, "rated", SoftmaxXent { columns: 3, smoothing: 0.0 }, scores, labels, weights);
    let back = g.add("back", ScatterRows, &list.with(scores)).unwrap();
    let back = op!(g, "wave", Pointwise(Activation::Silu), back);
    let terms = [overlap, said, classes, rated, back];
    let all = g.add("all", WeightedMeans { weights: vec![1.0, 2.0, 1.0, -0.5, 3.0] }, &terms).unwrap();
    let numbers = |list: Vec<u32>| list.iter().map(|v| *v as f32).collect::<Vec<f32>>();
    let [picks, offsets, inverse] = with_inverse(rows, slots, &[3, 23, EMPTY, 3, 0, 17, 3, 8]).unwrap().map(numbers);
    let right: Vec<f32> = random(rows * 3, 54).iter().map(|v| f32::from(u8::from(*v > 0.3))).collect();
    let labelled = vec![2.0, 0.0, 1.0, IGNORE as f32, 1.0, 2.0, 0.0, 1.0, 1.0, 0.0];
    let weighted = vec![1.0, 0.5, 2.0, 1.0, 0.0, 1.5, 1.0, 1.0, 0.7, 0.0];
    let anchors = vec![3.0, 4.0, 6.0, 2.5];
    let inputs = vec![random(n * d, 51), anchors, boxes(rows, 5.0, 52), right, weighted, labelled, picks, offsets, inverse, vec![3.5]];
    Case { graph, inputs, outputs: [&[all, y, picked][..], &terms].concat() }
}

/// A small detector of two classes with this head on a trunk of two maps.
fn small(head: DetectorHead) -> DetectorConfig {
    let stage = |channels| Stage { channels, blocks: 1, stride: 2, dilation: 1 };
    DetectorConfig {
        architecture: Architecture::Residual { stem: vec![6], stages: vec![stage(6), stage(8)] },
        input: 16,
        extent: 16,
        repeat_band: false,
        classes: vec!["ship".into(), "buoy".into()],
        head,
    }
}

/// A small YOLOv3 with its loss: two maps of two inputs, two anchors each, two classes, three boxes.
fn detector(box_loss: YoloBoxLoss) -> Case {
    let yolo = Yolo3 {
        widths: vec![4, 6],
        pairs: 1,
        anchors: vec![[4.0, 5.0], [7.0, 4.0], [9.0, 9.0], [12.0, 8.0]],
        box_weight: 2.0,
        box_loss,
        focal_gamma: 0.0,
    };
    let config = small(DetectorHead::Yolo3(yolo.clone()));
    let mut graph = Graph::new();
    let x = graph.input("image", &[2, 16, 16, 4]);
    let maps = yolo.maps(&config, &mut graph, x).unwrap();
    let (loss, _) = yolo.loss(&config, &mut graph, &maps, 3).unwrap();
    let flat = |k: usize| yolo.anchors_of(k).as_flattened().to_vec();
    // A divisor that leaves a loss of about one.
    let mut inputs = vec![random(2 * 16 * 16 * 4, 61), flat(0), flat(1), vec![300.0]];
    for (k, (map, said)) in maps.iter().zip([vec![5u32, 40], vec![9]]).enumerate() {
        let n = graph.shape(*map).iter().product::<usize>();
        let seed = 62 + 10 * k as u64;
        inputs.push(random(n, seed).iter().map(|v| f32::from(u8::from(*v > 0.6))).collect());
        inputs.push(random(n, seed + 1).iter().map(|v| f32::from(u8::from(*v > -0.5))).collect());
        let lists = with_inverse(n / 7, 3, &said).unwrap();
        inputs.extend(lists.map(|list| list.iter().map(|v| *v as f32).collect()));
        inputs.push(boxes(3, 8.0, seed + 2));
        inputs.push([1.0, if said.len() > 1 { 1.0 } else { 0.0 }, 0.0].to_vec());
    }
    Case { graph, inputs, outputs: [&[loss.loss][..], &maps].concat() }
}

/// A small Faster R-CNN with its loss: two maps and a pooled one of two inputs, an anchor each, two classes, four regions of which one is nowhere.
fn two_stages() -> Case {
    let faster = FasterRcnn {
        maps: 2,
        pooled: true,
        width: 5,
        anchors: vec![[4.0, 5.0], [9.0, 8.0], [12.0, 14.0]],
        bins: 2,
        hidden: 7,
        candidates: 10,
        proposal_iou: 0.7,
        proposals: 4,
        box_weight: 1.5,
    };
    let config = small(DetectorHead::FasterRcnn(faster.clone()));
    let mut graph = Graph::new();
    let x = graph.input("image", &[2, 16, 16, 4]);
    let loss = faster.loss(&config, &mut graph, x, FasterRcnnSlots { anchors: 3, regions: 4, objects: 2 }).unwrap();
    let numbers = |list: Vec<u32>| list.iter().map(|v| *v as f32).collect::<Vec<f32>>();
    // Divisors that leave a loss of about one.
    let mut inputs = vec![random(2 * 16 * 16 * 4, 81), vec![12.0], vec![6.0]];
    for (k, (map, said)) in loss.said.logits.iter().zip([vec![5u32, 30], vec![2], vec![]]).enumerate() {
        let n = graph.shape(*map).iter().product::<usize>();
        let seed = 82 + 10 * k as u64;
        inputs.push(random(n, seed).iter().map(|v| f32::from(u8::from(*v > 0.6))).collect());
        inputs.push(random(n, seed + 1).iter().map(|v| f32::from(u8::from(*v > -0.5))).collect());
        inputs.extend(with_inverse(n, 3, &said).unwrap().map(numbers));
        inputs.push(random(12, seed + 2));
        inputs.push((0..3).map(|i| f32::from(u8::from(i < said.len()))).collect());
    }
    inputs.push(vec![1.3, 2.2, 9.7, 8.1, 0.0, 4.5, 6.2, 15.1, 3.1, 0.4, 15.9, 15.2, 0.0, 0.0, 0.0, 0.0]);
    inputs.push(numbers(vec![0, 0, 1, 1, 1, 0, NOWHERE, NOWHERE]));
    inputs.push(numbers(vec![2, 0, 1, IGNORE]));
    inputs.extend(with_inverse(8, 2, &[1, 4]).unwrap().map(numbers));
    inputs.extend([random(8, 79), vec![1.0, 1.0]]);
    let said: Vec<NodeId> = loss.said.logits.iter().chain(&loss.said.deltas).copied().collect();
    Case { graph, inputs, outputs: [&[loss.loss, loss.regions.classes, loss.regions.deltas][..], &said].concat() }
}

/// All graphs of this file, by name.
fn cases() -> Vec<(&'static str, Case)> {
    vec![
        ("binary cross-entropy", binary()),
        ("boxes from differences", deltas()),
        ("boxes of a grid", yolo()),
        ("a detector", detector(YoloBoxLoss::Giou)),
        ("a detector by coordinates", detector(YoloBoxLoss::Coordinates)),
        ("two stages", two_stages()),
    ]
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
    let labels = g.indices("labels", 6);
    let [z, t, w] = ["logits", "targets", "weights"].map(|name| g.add(name, Linear { out: 8, bias: false }, &[x]).unwrap());
    let [rows, anchors] = [("rows", 2), ("anchors", 4)].map(|(name, out)| g.add(name, Linear { out, bias: false }, &[x]).unwrap());
    let sides = g.add("sides", Linear { out: 2, bias: false }, &[x]).unwrap();
    let one = op!(g, "one", WeightedMeans { weights: vec![1.0] }, rows);
    let decoded = op!(g, "decoded", DecodeDeltas(Deltas::PLAIN), z, anchors);
    let cells = op!(g, "cells", DecodeYolo(Yolo { grid: [1, 1], stride: [2.0, 2.0], classes: 3 }), z, sides);
    let terms = [
        op!(g, "binary", BinaryXent::each(Focal::default()), z, t, w, one),
        op!(g, "box", BoxLoss { distance: BoxDistance::Giou }, decoded, t, rows, one),
        op!(g, "softmax", SoftmaxXent { columns: 4, smoothing: 0.0 }, z, labels, rows, one),
        cells,
    ];
    let loss = g.add("loss", WeightedMeans { weights: vec![1.0; 4] }, &terms).unwrap();
    let weights = Weights::init(e, &graph, 5).unwrap();
    let plan = graph.training(e, &weights, &[loss]).unwrap();
    e.write(&plan.inputs[0], &random(12, 5)).unwrap();
    e.write(&plan.inputs[1], &[0u32, 1, 2, 3, 0, 1]).unwrap();
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
    let [eight, six, anchors] = [&[2, 4][..], &[6], &[2, 4]].map(|shape| graph.input("x", shape));
    let labels = graph.indices("labels", 4);
    let distance = BoxLoss { distance: BoxDistance::Squares };
    says(graph.add("y", distance, &[six, six]), "[[6], [6]], expected rows of four");
    says(graph.add("y", distance, &[eight, eight, six]), "and perhaps a weight a row");
    says(graph.add("y", distance, &[eight]), "[[2, 4]], expected rows of four, as many targets");
    says(
        graph.add("y", SoftmaxXent { columns: 3, smoothing: 0.0 }, &[z, labels, few, few]),
        "perhaps N weights and after these a divisor [1]",
    );
    says(graph.add("y", DecodeDeltas(Deltas::PLAIN), &[six, anchors]), "[[6], [2, 4]], expected rows of four and anchors [M, 4]");
    says(graph.add("y", DecodeDeltas(Deltas::PLAIN), &[few, anchors]), "1 rows are not those of whole images of 2 anchors x 1");
    let config = Yolo { grid: [1, 1], stride: [1.0; 2], classes: 1 };
    says(graph.add("y", DecodeYolo(config), &[eight, anchors]), "expected a feature map and anchors [M, 2]");
    says(graph.add("y", Channels { from: 2, count: 3 }, &[eight]), "3 from 2 on of [2, 4]");
    let list = RowListInputs::new(&mut graph, "list", 4, 3);
    says(graph.add("y", GatherRows, &list.with(six)), "[6] does not divide into 4 rows");
    says(graph.add("y", ScatterRows, &list.with(z)), "[4, 3] is not [3, ..]");
    says(graph.add("y", GatherRows, &[z, six]), "takes a tensor and a list of rows, not [[4, 3], [6]]");
    assert_eq!(graph.add("y", GatherRows, &list.with(eight)).map(|y| graph.shape(y).to_vec()).unwrap(), [3, 2]);
}

/// A plan waits for the host where its graph says so, whatever else takes its buffers' turns.
#[test]
fn a_plan_waits_for_the_host() {
    let (e, _lock) = engine();
    let mut graph = Graph::new();
    let x = graph.input("x", &[4, 3]);
    let y = graph.add("first", Linear { out: 3, bias: false }, &[x]).unwrap();
    let first = graph.add("silu", Pointwise(Activation::Silu), &[y]).unwrap();
    graph.pause(&[first]);
    let list = RowListInputs::new(&mut graph, "list", 4, 1);
    let second = graph.add("second", Linear { out: 3, bias: false }, &[first]).unwrap();
    let picked = graph.add("picked", GatherRows, &list.with(second)).unwrap();
    let loss = graph.add("loss", WeightedMeans { weights: vec![1.0] }, &[picked]).unwrap();
    let weights = Weights::init(e, &graph, 1).unwrap();
    let (seen, trained) = (graph.inference(e, &weights, &[picked, second]).unwrap(), graph.training(e, &weights, &[loss, second]).unwrap());
    let plans =
        [(&seen.plan, &seen.pause, &seen.inputs, &seen.outputs), (&trained.plan, &trained.pause, &trained.inputs, &trained.outputs)];
    for (plan, pause, inputs, outputs) in plans {
        let pause = pause.as_ref().unwrap();
        e.write(&inputs[0], &random(12, 9)).unwrap();
        let [before, after] = plan.clone().split_at(pause.after);
        before.submit(e).unwrap();
        let said: Vec<f32> = e.read(&pause.read[0]).unwrap();
        let best = (0..4).max_by(|a, b| said[3 * a].total_cmp(&said[3 * b])).unwrap();
        list.list(&graph, inputs).unwrap().write(e, &[best as u32]).unwrap();
        after.submit(e).unwrap();
        let (picked, rows) = (e.read::<f32>(&outputs[0]).unwrap(), e.read::<f32>(&outputs[1]).unwrap());
        let want = &rows[3 * best..][..3];
        match picked.len() {
            1 => close(&picked, &[want.iter().map(|v| f64::from(*v)).sum::<f64>() / 3.0], 1e-5, 0.0),
            _ => assert_eq!(picked, want),
        }
    }
    assert!(graph.inference(e, &weights, &[picked]).unwrap().pause.is_some_and(|p| p.after > 0));
}

/// The host writes a list through the inputs of a plan, and what it picks changes with it.
#[test]
fn a_plan_reads_the_list_that_is_written() {
    let (e, _lock) = engine();
    let mut graph = Graph::new();
    let x = graph.input("x", &[2, 2, 3]);
    let list = RowListInputs::new(&mut graph, "list", 4, 3);
    let y = graph.add("picked", GatherRows, &list.with(x)).unwrap();
    let plan = graph.inference(e, &Weights::init(e, &graph, 1).unwrap(), &[y]).unwrap();
    e.write(&plan.inputs[0], &(0..12).map(|v| v as f32).collect::<Vec<_>>()).unwrap();
    for (rows, want) in
        [(&[3, 1][..], [9.0, 10.0, 11.0, 3.0, 4.0, 5.0, 0.0, 0.0, 0.0]), (&[0], [0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])]
    {
        list.list(&graph, &plan.inputs).unwrap().write(e, rows).unwrap();
        plan.plan.submit(e).unwrap();
        assert_eq!(e.read::<f32>(&plan.outputs[0]).unwrap(), want);
    }
}

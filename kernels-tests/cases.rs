//! Graphs to hold devices against: the towers of encoders and of dense features, and the ops that those have not.

use crate::common::*;
use echogrid::gpu::{DType, Engine, Tensor};
use echogrid::kernels::activation::Activation;
use echogrid::kernels::bridge::Bridge;
use echogrid::kernels::conv::Conv;
use echogrid::kernels::softmax_xent::IGNORE;
use echogrid::kernels::triplet::{Directions, Mining, Triplet as TripletConfig};
use echogrid::nn::ops::{
    Add, AvgPool, BridgeLoss, Center, Concat, Conv2d, Correlate, Dropout, Gem, InfoNce, L2Norm, Linear, MaxPool, OffsetXent, Pointwise,
    SinkhornDivergence, SoftmaxXent, Span, Triplet, Upsample, WeightedMeans,
};
use echogrid::nn::{
    Architecture, DenseEncoderConfig, EncoderConfig, Graph, Head, Level, Modality, NodeId, Pooling, Sharing, Skip, Stage, TowerInputs,
};

/// A graph with its inputs and outputs: the loss first where it is trained.
pub struct Case {
    pub graph: Graph,
    pub inputs: Vec<Vec<f32>>,
    pub outputs: Vec<NodeId>,
}

/// Writes a case's inputs; indices are numbers there like all else.
pub fn fill(e: &Engine, tensors: &[Tensor], values: &[Vec<f32>]) {
    for (t, v) in tensors.iter().zip(values) {
        match t.dtype() {
            DType::U32 => e.write(t, &v.iter().map(|v| *v as u32).collect::<Vec<_>>()).unwrap(),
            _ => e.write(t, v).unwrap(),
        }
    }
}

/// A patch as the sampler makes it: three bands about zero and validity 1, 0 in a corner.
pub fn patches(n: usize, side: usize, seed: u64) -> Vec<f32> {
    let mut x = random(n * side * side * 4, seed);
    x.iter_mut().skip(3).step_by(4).enumerate().for_each(|(i, v)| *v = if i % (side * side) < side { 0.0 } else { 1.0 });
    x
}

/// Both towers and the loss, as training has them.
pub fn pair(config: &EncoderConfig, batch: usize) -> Case {
    let mut graph = Graph::new();
    let shape = [batch, config.input, config.input, 4];
    let (map, sar) = (graph.input("map", &shape), graph.input("sar", &shape));
    let a = config.tower(&mut graph, Modality::Map, map).unwrap();
    let b = config.tower(&mut graph, Modality::Sar, sar).unwrap();
    let loss = graph.add("loss", InfoNce { smoothing: 0.1 }, &[b, a]).unwrap();
    Case { graph, inputs: vec![patches(batch, config.input, 1), patches(batch, config.input, 2)], outputs: vec![loss, a, b] }
}

pub fn styled(style: NodeId) -> TowerInputs {
    TowerInputs { style: Some(style), ..TowerInputs::default() }
}

/// The same with towers that mix their statistics: by halves, not at all, and wholly.
pub fn mixed_pair(config: &EncoderConfig) -> Case {
    towers(config, true)
}

/// Both towers as training has them, with a style or without.
pub fn towers(config: &EncoderConfig, mixes: bool) -> Case {
    let mut graph = Graph::new();
    let shape = [3, config.input, config.input, 4];
    let (map, sar) = (graph.input("map", &shape), graph.input("sar", &shape));
    let style = mixes.then(|| graph.input("style", &[3]));
    let [a, b] = config.towers(&mut graph, [map, sar], TowerInputs { style, ..TowerInputs::default() }).unwrap();
    let loss = graph.add("loss", InfoNce { smoothing: 0.1 }, &[b, a]).unwrap();
    let mut inputs = vec![patches(3, config.input, 1), patches(3, config.input, 2)];
    inputs.extend(mixes.then(|| vec![0.4, 1.0, 0.0]));
    Case { graph, inputs, outputs: vec![loss, a, b] }
}

/// Both towers as training has them, three maps to two SAR patches: what they share sees five patches at once; with drop-out, where the head has it.
pub fn together(config: &EncoderConfig) -> Case {
    let mut graph = Graph::new();
    let side = config.input;
    let (map, sar) = (graph.input("map", &[3, side, side, 4]), graph.input("sar", &[2, side, side, 4]));
    let dropout = (config.head.dropout() > 0.0).then(|| graph.indices("dropout", 2));
    let [a, b] = config.towers(&mut graph, [map, sar], TowerInputs { dropout, ..TowerInputs::default() }).unwrap();
    let loss = graph.add("loss", InfoNce { smoothing: 0.1 }, &[b, a]).unwrap();
    let mut inputs = vec![patches(3, side, 1), patches(2, side, 2)];
    inputs.extend(dropout.map(|_| vec![5.0, 9.0]));
    Case { graph, inputs, outputs: vec![loss, a, b] }
}

/// Pooled heads, each pooling and sharing once.
pub fn pooled_cases() -> [(&'static str, EncoderConfig); 3] {
    let head = |pool, dim, norm, dropout| Head::Pooled { pool, dim, norm, dropout };
    let new = |sharing, head| encoder(residual(&[8], 12, 2, 1), 16, sharing, head);
    [
        ("max", EncoderConfig { repeat_band: true, ..new(Sharing::Full, head(Pooling::Max, Some(7), false, 0.0)) }),
        ("average", EncoderConfig { last_stride: Some(1), ..new(Sharing::Trunk, head(Pooling::Average, None, true, 0.4)) }),
        ("generalised mean", new(Sharing::Separate, head(Pooling::Gem, Some(6), false, 0.3))),
    ]
}

/// One tower alone.
pub fn tower(config: &EncoderConfig, batch: usize) -> Case {
    let (graph, y) = config.tower_graph(Modality::Sar, batch).unwrap();
    Case { graph, inputs: vec![patches(batch, config.input, 3)], outputs: vec![y] }
}

pub fn encoder(architecture: Architecture, input: usize, sharing: Sharing, head: Head) -> EncoderConfig {
    EncoderConfig::new(architecture, input, sharing, head)
}

pub fn residual(stem: &[usize], channels: usize, stride: usize, dilation: usize) -> Architecture {
    Architecture::Residual { stem: stem.to_vec(), stages: vec![Stage { channels, blocks: 2, stride, dilation }] }
}

pub fn tiny() -> EncoderConfig {
    encoder(residual(&[8], 12, 2, 2), 16, Sharing::Trunk, Head::Grid { cells: 2, channels: 4 })
}

/// Every op that no encoder has, each node in the middle of a graph, one of them read three times and one twice by one node.
pub fn medley() -> Case {
    let mut graph = Graph::new();
    let (n, side) = (3, 8);
    let inputs: Vec<NodeId> = ["a", "b"].iter().map(|name| graph.input(name, &[n, side, side, 4])).collect();
    let weights = graph.input("overlap", &[n, n]);
    let towers: Vec<NodeId> = inputs
        .iter()
        .map(|x| {
            macro_rules! op {
                ($name:literal, $op:expr, $($from:expr),+) => {
                    graph.add($name, $op, &[$($from),+]).unwrap()
                };
            }
            let half = Conv { groups: 2, ..Conv::square(3, 2, 1) };
            let a = op!("first", Conv2d { geometry: Conv::square(3, 1, 1), channels: 8, bias: true, relu: true }, *x);
            let b = op!("grouped", Conv2d { geometry: half, channels: 8, bias: true, relu: false }, a);
            let b = op!("silu", Pointwise(Activation::Silu), b);
            let u = op!("up", Upsample { factor: 2, bilinear: true }, b);
            let v = op!("nearest", Upsample { factor: 2, bilinear: false }, b);
            let c = op!("wide", Concat, a, u, v);
            let d = op!("max", MaxPool { kernel: 2, stride: 2, pad: 0 }, c);
            let e = op!("mean", AvgPool { kernel: 3, stride: 1, pad: 1 }, d);
            let f = op!("sum", Add { relu: false }, d, e);
            let g = op!("twice", Add { relu: true }, f, f);
            let h = op!("centre", Center, g);
            let h = op!("leaky", Pointwise(Activation::LeakyRelu(0.2)), h);
            let i = op!("beside", Concat, h, b);
            let i = op!("pixel", L2Norm { span: Span::Pixel, eps: 1e-6 }, i);
            let i = op!("gem", Gem { p: 3.0, eps: 0.05 }, i);
            let i = op!("project", Linear { out: 12, bias: false }, i);
            op!("unit", L2Norm { span: Span::Image, eps: 1e-6 }, i)
        })
        .collect();
    let loss = graph.add("loss", InfoNce { smoothing: 0.05 }, &[towers[0], towers[1], weights]).unwrap();
    let overlap = vec![1.0, 0.25, 0.0, 0.25, 1.0, 0.0, 0.0, 0.0, 1.0];
    Case { graph, inputs: vec![patches(n, side, 4), patches(n, side, 5), overlap], outputs: vec![loss, towers[0], towers[1]] }
}

/// Images correlated with maps in the middle of a graph, the images' tower read twice.
pub fn correlation() -> Case {
    let mut graph = Graph::new();
    let (n, side, maps, wide) = (3, 6, 4, 16);
    let images = graph.input("images", &[n, side, side, 4]);
    let map = graph.input("maps", &[maps, wide, wide, 4]);
    macro_rules! op {
        ($name:literal, $op:expr, $($from:expr),+) => {
            graph.add($name, $op, &[$($from),+]).unwrap()
        };
    }
    let conv = Conv2d { geometry: Conv::square(3, 1, 1), channels: 6, bias: true, relu: false };
    let a = op!("image tower", conv, images);
    let b = op!("map tower", conv, map);
    let s = op!("scores", Correlate, a, b);
    let s = op!("even", L2Norm { span: Span::Pixel, eps: 1e-6 }, s);
    let s = op!("behind", Conv2d { geometry: Conv::square(3, 2, 1), channels: 6, bias: true, relu: false }, s);
    let towers = [s, a].map(|t| {
        let t = op!("wave", Pointwise(Activation::Silu), t);
        let t = op!("gem", Gem { p: 3.0, eps: 0.05 }, t);
        let t = op!("project", Linear { out: 5, bias: true }, t);
        op!("unit", L2Norm { span: Span::Image, eps: 1e-6 }, t)
    });
    let loss = graph.add("loss", InfoNce { smoothing: 0.05 }, &towers).unwrap();
    Case { graph, inputs: vec![patches(n, side, 6), patches(maps, wide, 7)], outputs: vec![loss, s] }
}

/// Towers of dense features.
pub fn dense(widths: &[usize], dilations: &[usize], skip: Skip) -> DenseEncoderConfig {
    let levels = widths.iter().map(|w| Level { width: *w, dilations: dilations.to_vec() }).collect();
    DenseEncoderConfig { stem: 1, levels, skip, channels: 4 }
}

/// Both towers, the correlation and the loss, as training has them.
pub fn dense_pair(config: &DenseEncoderConfig, radius: f32) -> Case {
    let mut graph = Graph::new();
    let (windows, window, patches_, patch) = (2, 16, 4, 8);
    let map = graph.input("map", &[windows, window, window, 4]);
    let sar = graph.input("sar", &[patches_, patch, patch, 4]);
    let target = graph.input("target", &[patches_, 4]);
    let a = config.tower(&mut graph, Modality::Map, map).unwrap();
    let b = config.tower(&mut graph, Modality::Sar, sar).unwrap();
    let b = DenseEncoderConfig::template(&mut graph, b).unwrap();
    let scores = graph.add("correlate", Correlate, &[b, a]).unwrap();
    let loss = OffsetXent { factor: DenseEncoderConfig::score_factor(patch, patch), radius, start: 5.0, most: 100.0 };
    let loss = graph.add("loss", loss, &[scores, target]).unwrap();
    let truth = vec![3.0, 4.0, 0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 7.0, 1.0, 1.0, 0.0, 5.0, 5.0, 1.0, 0.0];
    let inputs = vec![patches(windows, window, 6), patches(patches_, patch, 7), truth];
    Case { graph, inputs, outputs: vec![loss, a, b, scores] }
}

/// Optimal transport between rows, their products with one another made by a tower.
pub fn transport() -> Case {
    let mut graph = Graph::new();
    let (n, m) = (6, 5);
    let x = graph.input("x", &[n, 8]);
    let own = [n, m].map(|k| graph.input("own", &[k, k]));
    let y = graph.add("first", Linear { out: 7, bias: true }, &[x]).unwrap();
    let y = graph.add("wave", Pointwise(Activation::Silu), &[y]).unwrap();
    let y = graph.add("products", Linear { out: m, bias: true }, &[y]).unwrap();
    let y = graph.add("unit", L2Norm { span: Span::Image, eps: 1e-6 }, &[y]).unwrap();
    let loss = graph.add("loss", SinkhornDivergence { eps: 0.2, iterations: 200 }, &[y, own[0], own[1]]).unwrap();
    let gram = |k: usize, seed: u64| {
        let v = random(k * 3, seed);
        let unit: Vec<Vec<f32>> =
            v.chunks(3).map(|r| r.iter().map(|a| a / r.iter().map(|b| b * b).sum::<f32>().sqrt()).collect()).collect();
        unit.iter().flat_map(|a| unit.iter().map(move |b| a.iter().zip(b).map(|(x, y)| x * y).sum())).collect::<Vec<f32>>()
    };
    Case { graph, inputs: vec![random(n * 8, 8), gram(n, 9), gram(m, 10)], outputs: vec![loss, y] }
}

/// Towers that drop out by one state in their midst: in streams of their own, what is left read twice by one node and once by another.
pub fn dropping() -> Case {
    let mut graph = Graph::new();
    let (n, f) = (5, 7);
    let inputs = ["a", "b"].map(|name| graph.input(name, &[n, f]));
    let state = graph.indices("dropout", 2);
    let mut streams = 0..;
    let towers = inputs.map(|x| {
        macro_rules! op {
            ($name:literal, $op:expr, $($from:expr),+) => {
                graph.add($name, $op, &[$($from),+]).unwrap()
            };
        }
        let mut drop = |rate: f32| Dropout { rate, stream: streams.next().expect("endless") };
        let a = op!("first", Linear { out: 13, bias: true }, x);
        let a = op!("wave", Pointwise(Activation::Silu), a);
        let d = op!("drop", drop(0.4), a, state);
        let t = op!("twice", Add { relu: false }, d, d);
        let c = op!("beside", Concat, t, d, a);
        let c = op!("second", Linear { out: 12, bias: true }, c);
        let c = op!("drop again", drop(0.2), c, state);
        let c = op!("project", Linear { out: 6, bias: true }, c);
        op!("unit", L2Norm { span: Span::Image, eps: 1e-6 }, c)
    });
    let loss = graph.add("loss", InfoNce { smoothing: 0.05 }, &towers).unwrap();
    let inputs = vec![random(n * f, 11), random(n * f, 12), vec![17.0, 3.0]];
    Case { graph, inputs, outputs: vec![loss, towers[0], towers[1]] }
}

/// Two towers of vectors and their triplet loss: the last op, or in mid-graph beside InfoNCE and a classifier's cross-entropy on the same
/// vectors, all of it behind a curve, so that the gradient that comes back is not 1.
pub fn triplets(config: TripletConfig, masked: bool, inside: bool) -> Case {
    let mut graph = Graph::new();
    let (n, m, d) = (5, 7, 9);
    let (x, y) = (graph.input("x", &[n, d]), graph.input("y", &[m, d]));
    let mask = graph.input("mask", &[n, n]);
    let labels = graph.indices("labels", m);
    macro_rules! op {
        ($name:literal, $op:expr, $($from:expr),+) => {
            graph.add($name, $op, &[$($from),+]).unwrap()
        };
    }
    let a = op!("one tower", Linear { out: 6, bias: true }, x);
    let b = op!("other tower", Linear { out: 6, bias: true }, y);
    let towers = [a, b].map(|t| {
        let t = op!("wave", Pointwise(Activation::Silu), t);
        let t = op!("project", Linear { out: 8, bias: true }, t);
        op!("unit", L2Norm { span: Span::Image, eps: 1e-6 }, t)
    });
    let mut loss = match masked {
        true => op!("triplet", Triplet(config), towers[0], towers[1], mask),
        false => op!("triplet", Triplet(config), towers[0], towers[1]),
    };
    if inside {
        let pairs = op!("pairs", InfoNce { smoothing: 0.1 }, towers[0], towers[1]);
        let classes = op!("classifier", Linear { out: 4, bias: true }, towers[1]);
        let classes = op!("classes", SoftmaxXent { columns: 4, smoothing: 0.1 }, classes, labels);
        let all = op!("all", WeightedMeans { weights: vec![0.7, 0.4, -1.3] }, loss, pairs, classes);
        loss = op!("curve", Pointwise(Activation::Silu), all);
    }
    let mut kinds = vec![0.0; n * n];
    for (i, kind) in kinds.iter_mut().enumerate() {
        *kind = [1.0, -1.0, 0.0, 0.5, 0.0][(i % n + n - i / n) % n];
    }
    let labels = vec![2.0, 0.0, 3.0, IGNORE as f32, 1.0, 2.0, 2.0];
    Case { graph, inputs: vec![random(n * d, 11), random(m * d, 12), kinds, labels], outputs: vec![loss, towers[0], towers[1]] }
}

/// Hard and all, with and without a mask, at the end and inside; hinges, soft margins and either number of directions among them.
pub fn triplet_cases() -> impl Iterator<Item = (String, Case)> {
    (0..8).map(|bits| {
        let (all, masked, inside) = (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0);
        let config = TripletConfig {
            soft: all != masked,
            mining: if all { Mining::All } else { Mining::Hard },
            directions: if masked == inside { Directions::Both } else { Directions::Rows },
            ..TripletConfig::default()
        };
        (format!("triplet {bits}"), triplets(config, masked, inside))
    })
}

/// A bridge network: both towers, and its loss with one negative a pair.
pub fn bridge_network(config: &EncoderConfig) -> Case {
    let mut graph = Graph::new();
    let shape = [4, config.input, config.input, 4];
    let (map, sar) = (graph.input("map", &shape), graph.input("sar", &shape));
    let partners = graph.indices("partners", 4);
    let [a, b] = config.towers(&mut graph, [map, sar], TowerInputs::default()).unwrap();
    let loss = graph.add("loss", BridgeLoss(Bridge::default()), &[b, a, partners]).unwrap();
    let inputs = vec![patches(4, config.input, 1), patches(4, config.input, 2), vec![2.0, 0.0, 0.0, 1.0]];
    Case { graph, inputs, outputs: vec![loss, a, b] }
}

/// Two towers to bounded vectors and the loss of a bridge network, behind a curve and beside another reader of the same vectors, so that the
/// gradient that comes back is not 1: rows that are the negative of several and of none.
pub fn bridged(negatives: usize) -> Case {
    let mut graph = Graph::new();
    let (n, d) = (5, 7);
    let inputs = ["x", "y"].map(|name| graph.input(name, &[n, d]));
    let partners = graph.indices("partners", n * negatives);
    macro_rules! op {
        ($name:expr, $op:expr, $($from:expr),+) => {
            graph.add($name.as_ref(), $op, &[$($from),+]).unwrap()
        };
    }
    let [f, h] = [("one", inputs[0]), ("other", inputs[1])].map(|(name, x)| {
        let t = op!(format!("{name}.hidden"), Linear { out: 9, bias: true }, x);
        let t = op!("wave", Pointwise(Activation::Silu), t);
        let t = op!(format!("{name}.small"), Linear { out: 6, bias: true }, t);
        op!("bound", Pointwise(Activation::Sigmoid), t)
    });
    let loss = op!("loss", BridgeLoss(Bridge { alpha: 0.6, negatives, eps: 1e-4 }), f, h, partners);
    let units = [f, h].map(|t| op!("unit", L2Norm { span: Span::Image, eps: 1e-6 }, t));
    let pairs = op!("pairs", InfoNce { smoothing: 0.1 }, units[0], units[1]);
    let all = op!("all", WeightedMeans { weights: vec![0.9, 0.2] }, loss, pairs);
    let curve = op!("curve", Pointwise(Activation::Silu), all);
    let partners = (0..n * negatives).map(|e| [2.0, 0.0, 0.0, 2.0, 1.0, 4.0, 2.0][(e + e / 5) % 7]).collect();
    Case { graph, inputs: vec![random(n * d, 11), random(n * d, 12), partners], outputs: vec![curve, f, h] }
}

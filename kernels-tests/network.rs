//! Whole networks: the device against the f64 twin of the graph, forward, backward and one optimiser step.

pub use crate::cases::*;
use crate::common::*;
use echogrid::gpu::Engine;
use echogrid::kernels::bridge::Bridge;
use echogrid::kernels::optim::{AdamW, Step};
use echogrid::kernels::triplet::Triplet as TripletConfig;
use echogrid::nn::ops::{BridgeLoss, Dropout, InfoNce, Linear, Triplet};
use echogrid::nn::{
    Architecture, EncoderConfig, Graph, Head, Modality, Optimizer, OptimizerConfig, ParamKind, Pooling, Sharing, Skip, StepFactors,
    TrainingPlan, Weights,
};
use echogrid::reference::optim as optim_twin;
use echogrid::train::TrainConfig;
use std::collections::BTreeMap;

pub type Host = BTreeMap<String, Vec<f64>>;

/// Start values with everything off its neutral value, running statistics above all.
pub fn weights(e: &Engine, graph: &Graph) -> (Weights, Host) {
    let w = Weights::init(e, graph, 7).unwrap();
    let mut tensors = w.read(e).unwrap();
    for (i, (name, (_, v))) in tensors.iter_mut().enumerate() {
        let noise = random(v.len(), 100 + i as u64);
        let kind = graph.params().iter().find(|(n, _)| n == name).unwrap().1.kind;
        for (v, r) in v.iter_mut().zip(noise) {
            match kind {
                ParamKind::Weight => {}
                _ if name.ends_with("running_var") => *v = 1.0 + 0.6 * r,
                _ => *v += 0.15 * r,
            }
        }
    }
    assert_eq!(w.load(e, &tensors).unwrap(), tensors.len());
    let host = tensors.into_iter().map(|(n, (_, v))| (n, f64s(&v))).collect();
    (w, host)
}

/// A stage's stride changes its feature map alone, a band that is repeated what the SAR tower sees alone.
#[test]
fn strides_and_bands_are_as_said() {
    let (e, _lock) = engine();
    let grid = |last_stride, cells| EncoderConfig {
        last_stride,
        ..encoder(residual(&[8], 8, 2, 1), 16, Sharing::Full, Head::Grid { cells, channels: 4 })
    };
    // 16 px over a stem of stride 2 and a stage of stride 2, or 1.
    for (config, cells) in [(grid(None, 4), 4), (grid(Some(1), 8), 8)] {
        assert_eq!(config.dim(), cells * cells * 4);
        config.tower_graph(Modality::Map, 1).unwrap();
    }
    assert!(grid(None, 8).tower_graph(Modality::Map, 1).is_err());
    let mut x = patches(2, 16, 3);
    x.chunks_exact_mut(4).for_each(|p| (p[1], p[2]) = (0.0, 0.0));
    let mut repeated = x.clone();
    repeated.chunks_exact_mut(4).for_each(|p| (p[1], p[2]) = (p[0], p[0]));
    let seen = |config: &EncoderConfig, modality, x: &[f32]| -> Vec<f32> {
        let (graph, y) = config.tower_graph(modality, 2).unwrap();
        let weights = Weights::init(e, &graph, 3).unwrap();
        let plan = graph.inference(e, &weights, &[y]).unwrap();
        e.write(&plan.inputs[0], x).unwrap();
        plan.plan.submit(e).unwrap();
        e.read(&plan.outputs[0]).unwrap()
    };
    let plain = grid(None, 4);
    let banded = EncoderConfig { repeat_band: true, ..plain.clone() };
    assert_eq!(seen(&banded, Modality::Sar, &x), seen(&plain, Modality::Sar, &repeated));
    assert_ne!(seen(&banded, Modality::Sar, &x), seen(&plain, Modality::Sar, &x));
    assert_eq!(seen(&banded, Modality::Map, &x), seen(&plain, Modality::Map, &x));
}

/// What the twin says, and how far the device may be from it.
///
/// Each op of the device rounds: a sum of n products, its partial sums growing as a random walk, is off by about
/// eps sqrt(n / 6) times its size; other ops by a few eps, those with exp and log (SiLU, generalised mean, loss) by up to 64 eps,
/// as WGSL allows. How such errors grow through the layers behind is not guessed but measured (Monte Carlo arithmetic, Parker
/// 1997): the twin runs again with uniform noise of eps (1 + sqrt(n)) (or the few eps) times |value| + rms of the layer added to
/// every op's output, four times. The bound is four times the largest change of each output.
fn twin(case: &Case, host: &Host, training: bool) -> Vec<(Vec<f64>, f64)> {
    let inputs: Vec<Vec<f64>> = case.inputs.iter().map(|v| f64s(v)).collect();
    let inputs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    let want = case.graph.reference(host, &inputs, &case.outputs, training).unwrap();
    let mut spread = vec![0.0f64; want.len()];
    for draw in 0..4 {
        let mut counter = 1000 * (draw + 1);
        let noisy = case.graph.reference_with(host, &inputs, &case.outputs, training, |op, terms, values| {
            counter += 1;
            let factor = match op {
                "generalised mean" | "activation" | "infonce" | "offset xent" | "binary xent" | "discrepancy" | "segment softmax" => 64.0,
                "triplet" => 64.0,
                // Sums of squares of rows, roots and means of them.
                "bridge" => 16.0,
                // Rows of up to 64; means that cancel.
                "product" => 9.0,
                "weighted means" => 16.0,
                // Exponentials of little; quotients of sums of areas.
                "decode deltas" | "decode yolo" | "box loss" => 16.0,
                // Potentials of three problems, each a few roundings of numbers up to 2 and within 1e-5 of the marginals, of second order.
                "sinkhorn divergence" => 64.0,
                // Two transforms of 8 levels on either way of it.
                "correlate" => 32.0,
                "conv" | "linear" | "linear transposed" => 1.0 + (terms as f64).sqrt(),
                _ => 4.0,
            };
            let rms = (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
            let noise = random(values.len(), counter);
            values.iter_mut().zip(noise).for_each(|(v, r)| *v += EPS * factor * (rms + v.abs()) * f64::from(r));
        });
        for (s, (a, b)) in spread.iter_mut().zip(want.iter().zip(noisy.unwrap())) {
            *s = a.iter().zip(b).fold(*s, |m, (a, b)| m.max((a - b).abs()));
        }
    }
    want.into_iter().zip(spread).map(|(w, s)| (w, 4.0 * s)).collect()
}

/// Asserts the bound, and that the bound itself is worth something.
#[track_caller]
fn within(name: &str, got: &[f32], (want, bound): &(Vec<f64>, f64), sane: f64) {
    let worst = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).abs()).fold(0.0, f64::max);
    println!("{name}: off by {worst:.2e}, bound {bound:.2e}");
    assert!(got.iter().all(|v| v.is_finite()));
    assert!(*bound < sane, "{name}: a bound of {bound:e} proves nothing");
    assert!(worst <= *bound, "{name}: off by {worst:e}, bound {bound:e}");
}

pub fn forward_is_the_twins(name: &str, case: &Case, sane: f64) {
    let (e, _lock) = engine();
    let (w, host) = weights(e, &case.graph);
    let plan = case.graph.inference(e, &w, &case.outputs).unwrap();
    fill(e, &plan.inputs, &case.inputs);
    plan.plan.submit(e).unwrap();
    for (i, (y, want)) in plan.outputs.iter().zip(twin(case, &host, false)).enumerate() {
        within(&format!("{name}, output {i}"), &e.read::<f32>(y).unwrap(), &want, sane);
    }
}

pub fn training_is_the_twins(name: &str, case: &Case, sane: f64) {
    let (e, _lock) = engine();
    let (w, host) = weights(e, &case.graph);
    let plan = case.graph.training(e, &w, &case.outputs).unwrap();
    fill(e, &plan.inputs, &case.inputs);
    plan.plan.submit(e).unwrap();
    for (i, (y, want)) in plan.outputs.iter().zip(twin(case, &host, true)).enumerate() {
        within(&format!("{name} in training, output {i}"), &e.read::<f32>(y).unwrap(), &want, sane);
    }
}

const GEM: Head = Head::Pooled { pool: Pooling::Gem, dim: Some(32), norm: false, dropout: 0.0 };

#[test]
fn the_default_encoder() {
    let config = TrainConfig::default().encoder;
    forward_is_the_twins("default", &tower(&config, 2), 1e-5);
    training_is_the_twins("default", &pair(&config, 2), 1e-3);
}

#[test]
fn shared_trunks_and_heads() {
    forward_is_the_twins("shared trunk", &pair(&tiny(), 3), 1e-4);
    training_is_the_twins("shared trunk", &pair(&tiny(), 3), 1e-3);
    let gem = encoder(residual(&[8, 12], 16, 1, 1), 20, Sharing::Full, Head::pooled(Pooling::Gem, 10));
    forward_is_the_twins("gem", &pair(&gem, 2), 1e-3);
    training_is_the_twins("gem", &pair(&gem, 2), 1e-3);
    forward_is_the_twins("medley", &medley(), 1e-3);
    training_is_the_twins("medley", &medley(), 1e-3);
    training_is_the_twins("correlation", &correlation(), 1e-3);
    training_is_the_twins("mixed statistics", &mixed_pair(&tiny()), 1e-3);
    training_is_the_twins("transport", &transport(), 1e-3);
    for (name, config) in pooled_cases() {
        forward_is_the_twins(name, &together(&config), 1e-3);
        training_is_the_twins(name, &together(&config), 1e-3);
    }
    forward_is_the_twins("drop-out", &dropping(), 1e-3);
    training_is_the_twins("drop-out", &dropping(), 1e-3);
    for (name, case) in triplet_cases() {
        forward_is_the_twins(&name, &case, 1e-3);
        training_is_the_twins(&name, &case, 1e-3);
    }
}

#[test]
fn dense_features() {
    for (i, skip) in [Skip::Add, Skip::Concat].into_iter().enumerate() {
        let config = dense(&[8, 12], &[1, 2], skip);
        let (graph, y) = config.tower_graph(Modality::Map, 2, 20).unwrap();
        assert_eq!(graph.shape(y), [2, 20, 20, 4]);
        let case = Case { graph, inputs: vec![patches(2, 20, 3)], outputs: vec![y] };
        forward_is_the_twins("dense tower", &case, 1e-3);
        training_is_the_twins("dense", &dense_pair(&config, i as f32), 1e-3);
    }
    let three = dense(&[4, 8, 8], &[1], Skip::Add);
    training_is_the_twins("dense, three levels", &dense_pair(&three, 1.5), 1e-3);
    let e = three.tower_graph(Modality::Map, 1, 18).unwrap_err().to_string();
    assert!(e.contains("multiples of 4"), "{e}");
}

/// What a tile must have around it: a changed pixel changes no feature farther away than that, and some not much nearer. Features of
/// invalid pixels are 0, whatever lies beside them.
#[test]
fn dense_features_see_as_far_as_they_say() {
    let (e, _lock) = engine();
    for (widths, dilations, side) in [(&[2, 3][..], &[1, 2][..], 64), (&[2, 2, 2], &[1], 96), (&[3], &[1, 4], 48)] {
        let config = dense(widths, dilations, Skip::Concat);
        let (graph, y) = config.tower_graph(Modality::Sar, 1, side).unwrap();
        let (_, host) = weights(e, &graph);
        let mut x = f64s(&random(side * side * 4, 9));
        x.iter_mut().skip(3).step_by(4).for_each(|v| *v = 1.0);
        let hole = 4 * (5 * side + 7) + 3;
        x[hole] = 0.49;
        let run = |x: &[f64]| graph.reference(&host, &[x], &[y], false).unwrap().remove(0);
        let before = run(&x);
        assert!(before[4 * (5 * side + 7)..][..4].iter().all(|v| *v == 0.0));
        let lengths = before.chunks(4).map(|f| f.iter().map(|v| v * v).sum::<f64>());
        assert_eq!(lengths.filter(|l| (l - 1.0).abs() < 1e-9).count(), side * side - 1);
        let mut far = 0;
        for at in [[side / 2, side / 2 - 1], [side / 2 + 1, side / 2 + 2]] {
            let mut moved = x.clone();
            moved[4 * (at[0] * side + at[1])] += 100.0;
            for (i, _) in run(&moved).iter().zip(&before).enumerate().filter(|(_, (a, b))| a != b) {
                let pixel = [i / 4 / side, i / 4 % side];
                far = far.max(pixel[0].abs_diff(at[0])).max(pixel[1].abs_diff(at[1]));
            }
        }
        let reach = config.reach();
        assert!(2 * reach < side && far <= reach && far + (4 << (widths.len() - 1)) > reach, "{far} of {reach}");
    }
}

#[test]
fn resnet18() {
    let config = encoder(Architecture::Resnet18, 64, Sharing::Separate, GEM);
    forward_is_the_twins("ResNet-18", &tower(&config, 2), 1e-3);
    training_is_the_twins("ResNet-18", &pair(&EncoderConfig { sharing: Sharing::Trunk, ..config }, 2), 5e-2);
}

#[test]
fn resnet50() {
    forward_is_the_twins("ResNet-50", &tower(&encoder(Architecture::Resnet50, 64, Sharing::Full, GEM), 1), 1e-3);
}

#[test]
fn darknet53() {
    forward_is_the_twins("Darknet-53", &tower(&encoder(Architecture::Darknet53, 64, Sharing::Full, GEM), 1), 1e-3);
}

/// 52 convolutions with their normalisations: 40,584,928 values with three bands in (41,609,928 with the classifier of a thousand classes, as
/// published), and validity is a fourth; maps at the strides that a detector reads.
#[test]
fn darknet53_is_the_published_network() {
    let mut graph = Graph::new();
    let x = graph.input("image", &[1, 96, 64, 4]);
    let maps = Architecture::Darknet53.stages(&mut graph, "map", x).unwrap();
    let shapes: Vec<&[usize]> = maps.iter().map(|m| graph.shape(*m)).collect();
    assert_eq!(shapes, [[1, 48, 32, 64], [1, 24, 16, 128], [1, 12, 8, 256], [1, 6, 4, 512], [1, 3, 2, 1024]]);
    let trained = || graph.params().iter().filter(|(_, spec)| spec.kind != ParamKind::Statistic);
    let values: usize = trained().map(|(_, spec)| spec.shape.iter().product::<usize>()).sum();
    assert_eq!(values, 40_584_928 + 9 * 32);
    assert_eq!(trained().filter(|(name, _)| name.ends_with("weight") && name.contains("conv")).count(), 52);
    // The same names as an encoder's tower has, whose head comes after.
    let (tower, _) = encoder(Architecture::Darknet53, 64, Sharing::Separate, Head::bounded()).tower_graph(Modality::Map, 1).unwrap();
    assert!(graph.params().iter().all(|p| tower.params().contains(p)));
    let mut graph = Graph::new();
    let x = graph.input("image", &[1, 64, 96, 4]);
    let maps = Architecture::Resnet50.stages(&mut graph, "sar", x).unwrap();
    let shapes: Vec<&[usize]> = maps.iter().map(|m| graph.shape(*m)).collect();
    assert_eq!(shapes, [[1, 16, 24, 256], [1, 8, 12, 512], [1, 4, 6, 1024], [1, 2, 3, 2048]]);
}

/// A bridge network as it is trained: towers of their own, bounded vectors.
#[test]
fn bounded_heads() {
    for (cells, norm) in [(1, false), (2, true)] {
        let head = Head::Bounded { channels: 10, hidden: 9, dim: 6, cells, norm };
        let config = encoder(residual(&[8], 12, 2, 1), 16, Sharing::Separate, head);
        assert_eq!((config.dim(), config.squares()), (6, None));
        let case = bridge_network(&config);
        forward_is_the_twins("bounded", &case, 1e-4);
        training_is_the_twins("bounded", &case, 1e-3);
        gradients_are_the_twins("bounded", &case);
    }
    assert_eq!(encoder(residual(&[8], 8, 1, 1), 16, Sharing::Full, Head::bounded()).dim(), 64);
    let read: Head = serde_json::from_str(r#"{"kind": "bounded", "dim": 20}"#).unwrap();
    assert_eq!(read, Head::Bounded { channels: 128, hidden: 128, dim: 20, cells: 1, norm: false });
}

/// The gradient g of every parameter p against central differences of the twin's loss: along g itself (whose slope must be |g|:
/// any error orthogonal to the truth shortens it) and along three random directions (whose slope must be <g, d>).
pub fn gradients_are_the_twins(name: &str, case: &Case) {
    let (e, _lock) = engine();
    let (w, host) = weights(e, &case.graph);
    let plan = case.graph.training(e, &w, &case.outputs).unwrap();
    fill(e, &plan.inputs, &case.inputs);
    plan.plan.submit(e).unwrap();
    let inputs: Vec<Vec<f64>> = case.inputs.iter().map(|v| f64s(v)).collect();
    let inputs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    // Statistics of images are constants to the backward pass: they stay what they are at the start.
    let constant = |op: &str| op == "image statistics";
    let mut held: Vec<Vec<f64>> = Vec::new();
    let hold = |op: &str, _: usize, v: &mut [f64]| {
        if constant(op) {
            held.push(v.to_vec())
        }
    };
    case.graph.reference_with(&host, &inputs, &case.outputs[..1], true, hold).unwrap();
    let loss = |host: &Host| {
        let mut held = held.iter();
        let put = |op: &str, _: usize, v: &mut [f64]| {
            if constant(op) {
                v.copy_from_slice(held.next().expect("as many again"))
            }
        };
        case.graph.reference_with(host, &inputs, &case.outputs[..1], true, put).unwrap()[0][0]
    };
    let slope = |name: &str, direction: &[f64], h: f64| {
        let at = |s: f64| {
            let mut moved = host.clone();
            moved.get_mut(name).unwrap().iter_mut().zip(direction).for_each(|(v, d)| *v += s * d);
            loss(&moved)
        };
        (at(h) - at(-h)) / (2.0 * h)
    };
    let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let mut worst = 0.0f64;
    for (i, ((param, spec), g)) in case.graph.params().iter().zip(&plan.gradients).enumerate() {
        assert_eq!(g.is_none(), spec.kind == ParamKind::Statistic, "{param}");
        let Some(g) = g else { continue };
        let g = f64s(&e.read::<f32>(g).unwrap());
        let (size, scale) = (norm(&g), norm(&host[param]).max(1.0));
        assert!(size.is_finite() && size > 1e-6, "{name}: |gradient of {param}| = {size}");
        // A step of a millionth of the parameter: the error of the difference is of the order of 1e-12 times the curvature
        // plus 1e-16 / 1e-6; kinks of ReLU and max within the step are rare.
        let h = 1e-6 * scale;
        for k in 0..4 {
            let direction = match k {
                0 => g.clone(),
                k => f64s(&random(g.len(), (10 * i + k) as u64 + 5000)),
            };
            let length = norm(&direction);
            let direction: Vec<f64> = direction.iter().map(|d| d / length).collect();
            let want = slope(param, &direction, h);
            let got: f64 = g.iter().zip(&direction).map(|(a, b)| a * b).sum();
            // Along a random direction the slope is about |g| / sqrt(n): the error is held against that.
            let off = (got - want).abs() / (size / if k == 0 { 1.0 } else { (g.len() as f64).sqrt() });
            worst = worst.max(off);
            assert!(off < 2e-4, "{name}: gradient of {param} along direction {k}: {got}, differences say {want}, |g| = {size}");
        }
    }
    println!("{name}: gradients off by {worst:.1e} of their size");
}

#[test]
fn the_backward_pass() {
    gradients_are_the_twins("shared trunk", &pair(&tiny(), 3));
    let gem = encoder(residual(&[8], 12, 1, 1), 12, Sharing::Separate, Head::pooled(Pooling::Gem, 6));
    gradients_are_the_twins("gem", &pair(&gem, 3));
    gradients_are_the_twins("mixed statistics", &mixed_pair(&tiny()));
    gradients_are_the_twins("medley", &medley());
    gradients_are_the_twins("correlation", &correlation());
    gradients_are_the_twins("transport", &transport());
    gradients_are_the_twins("drop-out", &dropping());
    pooled_cases().iter().for_each(|(name, config)| gradients_are_the_twins(name, &together(config)));
    triplet_cases().for_each(|(name, case)| gradients_are_the_twins(&name, &case));
    gradients_are_the_twins("dense", &dense_pair(&dense(&[4, 6], &[2], Skip::Add), 1.0));
}

/// Buffers shared by liveness hold what buffers of one's own hold, bit for bit, at the first and the second run.
pub fn sharing_changes_nothing(e: &Engine, mut case: Case) {
    let (w, _) = weights(e, &case.graph);
    let mut seen: Vec<(u64, Vec<Vec<u32>>)> = Vec::new();
    for share in [true, false] {
        case.graph.share_buffers(share);
        let plan = case.graph.training(e, &w, &case.outputs).unwrap();
        fill(e, &plan.inputs, &case.inputs);
        for _ in 0..2 {
            plan.plan.submit(e).unwrap();
            let all = plan.outputs.iter().chain(plan.gradients.iter().flatten());
            seen.push((plan.bytes, all.map(|t| e.read::<u32>(t).unwrap()).collect()));
        }
    }
    assert!(seen.windows(2).all(|s| s[0].1 == s[1].1), "shared twice, then not shared twice");
    assert!(seen[0].0 < seen[2].0, "sharing saves: {} of {} bytes", seen[0].0, seen[2].0);
    println!("training: {} bytes shared, {} not", seen[0].0, seen[2].0);
    seen.clear();
    for share in [true, false] {
        case.graph.share_buffers(share);
        let plan = case.graph.inference(e, &w, &case.outputs).unwrap();
        fill(e, &plan.inputs, &case.inputs);
        for _ in 0..2 {
            plan.plan.submit(e).unwrap();
            seen.push((plan.bytes, plan.outputs.iter().map(|t| e.read::<u32>(t).unwrap()).collect()));
        }
    }
    assert!(seen.windows(2).all(|s| s[0].1 == s[1].1), "inference: shared twice, then not shared twice");
    assert!(seen[0].0 < seen[2].0, "sharing saves: {} of {} bytes", seen[0].0, seen[2].0);
}

/// A bridge network's loss in mid-graph, with one negative a pair and with several: values, gradients, buffers.
#[test]
fn a_bridge_is_the_twins() {
    for negatives in [1, 3] {
        let name = format!("bridge of {negatives}");
        forward_is_the_twins(&name, &bridged(negatives), 1e-4);
        training_is_the_twins(&name, &bridged(negatives), 1e-4);
        gradients_are_the_twins(&name, &bridged(negatives));
        sharing_changes_nothing(engine().0, bridged(negatives));
    }
}

#[test]
fn a_bridge_refuses_what_does_not_fit() {
    let mut graph = Graph::new();
    let [a, b] = [[4, 3], [4, 2]].map(|shape| graph.input("x", &shape));
    let (four, five) = (graph.indices("four", 4), graph.indices("five", 5));
    let op = BridgeLoss(Bridge::default());
    says(graph.add("loss", op, &[a, b, four]), "[[4, 3], [4, 2], [4]], expected [N, C] twice");
    says(graph.add("loss", op, &[a, a, five]), "the 1 negatives of each row [1 N]");
    says(graph.add("loss", op, &[a, a]), "[[4, 3], [4, 3]], expected");
}

#[test]
fn sharing_buffers_changes_nothing() {
    let ([e, baseline], _lock) = engines();
    let small = TrainConfig::default().encoder;
    let cases = [
        pair(&tiny(), 3),
        medley(),
        correlation(),
        mixed_pair(&tiny()),
        transport(),
        dropping(),
        crate::attention::case(),
        dense_pair(&dense(&[8, 12], &[1], Skip::Concat), 1.0),
        pair(&EncoderConfig { input: 48, head: Head::Grid { cells: 4, channels: 16 }, ..small }, 2),
    ];
    for (e, case) in [e, e, e, e, e, e, e, e, e, baseline].into_iter().zip(cases.into_iter().chain([pair(&tiny(), 2)])) {
        sharing_changes_nothing(e, case);
    }
    triplet_cases().for_each(|(_, case)| sharing_changes_nothing(e, case));
}

#[test]
fn a_triplet_loss_refuses_what_does_not_fit() {
    let mut graph = Graph::new();
    let [a, b, c, mask] = [[4, 3], [5, 3], [5, 2], [4, 5]].map(|shape| graph.input("x", &shape));
    let op = Triplet(TripletConfig::default());
    says(graph.add("loss", op, &[b, a]), "[[5, 3], [4, 3]], expected [B, D], [M, D] with M >= B");
    says(graph.add("loss", op, &[a, c]), "[[4, 3], [5, 2]], expected");
    says(graph.add("loss", op, &[a]), "[[4, 3]], expected");
    says(graph.add("loss", op, &[a, b, mask]), "a mask of [[4, 5]], expected [4, 4]");
}

/// A mask that layers make gets a gradient of 0, and what the loss left tells the accuracy.
#[test]
fn a_triplet_mask_does_not_learn() {
    let (e, _lock) = engine();
    let mut graph = Graph::new();
    let (x, y) = (graph.input("x", &[4, 4]), graph.input("y", &[4, 4]));
    let mask = graph.add("mask", Linear { out: 4, bias: false }, &[x]).unwrap();
    let unit = graph.add("unit", Linear { out: 4, bias: false }, &[y]).unwrap();
    let loss = graph.add("loss", Triplet(TripletConfig { margin: 2.0, ..TripletConfig::default() }), &[unit, y, mask]).unwrap();
    let w = Weights::init(e, &graph, 1).unwrap();
    let identity: Vec<f32> = (0..16).map(|i| f32::from(u8::from(i % 5 == 0))).collect();
    let tensors = ["mask.weight", "unit.weight"].map(|name| (name.to_string(), (vec![4, 4], identity.clone())));
    assert_eq!(w.load(e, &BTreeMap::from(tensors)).unwrap(), 2);
    let plan = graph.training(e, &w, &[loss]).unwrap();
    let rows: Vec<f32> = (0..16).map(|i| [0.8, 0.6, 0.0, 0.0][(i + i / 4) % 4]).collect();
    fill(e, &plan.inputs, &[identity, rows]);
    plan.plan.submit(e).unwrap();
    let gradients: Vec<Vec<f32>> = plan.gradients.iter().flatten().map(|g| e.read(g).unwrap()).collect();
    assert_eq!(gradients[0], [0.0; 16]);
    assert!(gradients[1].iter().any(|g| *g != 0.0));
    assert_eq!(e.read::<f32>(&plan.saved[Triplet::ACCURACY]).unwrap(), [1.0]);
}

/// Two steps of AdamW against the same in f64 from the device's gradients, and the running mean of what they leave.
#[test]
fn optimiser_steps_are_the_twins() {
    let (e, _lock) = engine();
    let case = pair(&tiny(), 3);
    let (w, mut host) = weights(e, &case.graph);
    let plan = case.graph.training(e, &w, &case.outputs).unwrap();
    fill(e, &plan.inputs, &case.inputs);
    // A limit that these gradients exceed.
    let config = OptimizerConfig { lr: 1e-2, clip: 0.5, average: 0.6, ..OptimizerConfig::default() };
    let optimizer = Optimizer::new(e, &case.graph, &w, &plan.gradients, config, None).unwrap();
    let mut moments: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    let mut means: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for t in 1..=2u32 {
        let lr = config.lr / f64::from(t);
        plan.plan.submit(e).unwrap();
        optimizer.set(e, StepFactors { lr, step: u64::from(t) }).unwrap();
        optimizer.plan.submit(e).unwrap();
        let after = w.read(e).unwrap();
        let trained: Vec<_> = case.graph.params().iter().zip(&plan.gradients).filter_map(|(p, g)| Some((p, g.as_ref()?))).collect();
        let gradients: Vec<Vec<f64>> = trained.iter().map(|(_, g)| f64s(&e.read::<f32>(g).unwrap())).collect();
        let (norm, factor) = optim_twin::grad_norm(&gradients.iter().map(Vec::as_slice).collect::<Vec<_>>(), 1.0, config.clip);
        let factor = factor.unwrap();
        assert!(factor < 1.0, "norm {norm}");
        let (told, skipped) = optimizer.last_norm(e).unwrap();
        assert!(!skipped && (f64::from(told) / norm - 1.0).abs() < 1e-5, "{told} and {norm}");
        for (((name, spec), _), g) in trained.iter().zip(&gradients) {
            let decay = if spec.kind == ParamKind::Weight { config.weight_decay as f32 } else { 0.0 };
            let hyper = AdamW { beta1: config.beta1 as f32, beta2: config.beta2 as f32, eps: 1e-8, weight_decay: decay };
            let (m, v) = moments.entry(name).or_insert_with(|| (vec![0.0; g.len()], vec![0.0; g.len()]));
            let values = host.get_mut(name).unwrap();
            optim_twin::adamw(hyper, Step { lr: lr as f32, t, grad_scale: 1.0, share: 0.0 }, factor, g, values, m, v);
            // The step is of the order of lr, with an error of some eps; 1 - beta2 in f32 is 6e-5 off, and cancels but for that
            // share of the difference between two steps' squares. The weight is rounded once a step.
            let got = &after[name.as_str()].1;
            for (i, (a, b)) in got.iter().zip(values.iter()).enumerate() {
                assert!((f64::from(*a) - b).abs() < lr * 2e-4 + 2.0 * EPS * b.abs(), "step {t}, {name}[{i}]: {a} and {b}");
            }
        }
        // Of the first step it is a copy; of the next it keeps a tenth.
        for (name, (_, v)) in &optimizer.mean().unwrap().read(e).unwrap() {
            let now = f64s(&after[name].1);
            let mean = means.entry(name.clone()).or_insert_with(|| now.clone());
            let old = mean.clone();
            optim_twin::mean(if t == 1 { 1.0 } else { 0.9 }, &now, mean);
            for (((a, b), now), old) in v.iter().zip(mean.iter()).zip(&now).zip(&old) {
                assert!((f64::from(*a) - b).abs() <= 4.0 * EPS * (now.abs() + old.abs()), "step {t}, mean of {name}: {a} and {b}");
            }
        }
        // From here on both go the device's way.
        for (name, (_, v)) in &after {
            host.insert(name.clone(), f64s(v));
        }
    }
}

/// Where all keep their own statistics, towers that could mix them are the towers that could not, bit for bit; and there must be a unit
/// behind which they mix.
#[test]
fn unmixed_statistics_change_nothing() {
    let (e, _lock) = engine();
    let (mut mixed, plain) = (towers(&tiny(), true), towers(&tiny(), false));
    mixed.inputs[2].fill(1.0);
    let (w, _) = weights(e, &plain.graph);
    let seen = [&mixed, &plain].map(|case| {
        let plan = case.graph.training(e, &w, &case.outputs).unwrap();
        fill(e, &plan.inputs, &case.inputs);
        plan.plan.submit(e).unwrap();
        let mut gradients: Vec<(&String, Vec<u32>)> = Vec::new();
        for ((name, _), g) in case.graph.params().iter().zip(&plan.gradients) {
            gradients.extend(g.as_ref().map(|g| (name, e.read(g).unwrap())));
        }
        gradients.sort();
        (plan.outputs.iter().map(|t| e.read::<u32>(t).unwrap()).collect::<Vec<_>>(), gradients)
    });
    assert!(seen[0] == seen[1]);
    let bare = encoder(residual(&[], 12, 2, 2), 16, Sharing::Trunk, Head::Grid { cells: 2, channels: 4 });
    let mut graph = Graph::new();
    let (map, style) = (graph.input("map", &[3, 16, 16, 4]), graph.input("style", &[3]));
    let err = bare.towers(&mut graph, [map, map], styled(style)).unwrap_err();
    assert!(err.to_string().contains("no convolution"), "{err}");
    let err = tiny().towers(&mut graph, [map, map], styled(map)).unwrap_err();
    assert!(err.to_string().contains("[N, 2, C] twice and [N]"), "{err}");
}

/// A run by the same state is the same run, of another plan and on tensors of another plan too; by another counter or seed it is another.
/// Inference does not look at the state.
#[test]
fn drop_out_goes_by_its_state() {
    let (e, _lock) = engine();
    let case = dropping();
    let (w, _) = weights(e, &case.graph);
    let plan = case.graph.training(e, &w, &case.outputs).unwrap();
    fill(e, &plan.inputs, &case.inputs);
    let numbers = [plan.inputs[0].clone(), plan.inputs[1].clone(), up(e, &[2], &[17.0, 3.0])];
    says(case.graph.training_on(e, &w, &case.outputs, &numbers), "`dropout` must be U32 [2], not F32 [2]");
    let given = case.graph.training_on(e, &w, &case.outputs, &plan.inputs).unwrap();
    let run = |plan: &TrainingPlan, state: [u32; 2]| -> Vec<Vec<u32>> {
        e.write(&plan.inputs[2], &state).unwrap();
        plan.plan.submit(e).unwrap();
        plan.outputs.iter().chain(plan.gradients.iter().flatten()).map(|t| e.read(t).unwrap()).collect()
    };
    let first = run(&plan, [17, 3]);
    let (next, other) = (run(&plan, [17, 4]), run(&plan, [18, 3]));
    assert!(first != next && first != other && next != other);
    assert!(run(&plan, [17, 3]) == first && run(&given, [17, 3]) == first && run(&given, [17, 4]) == next);
    let still = case.graph.inference(e, &w, &case.outputs).unwrap();
    fill(e, &still.inputs, &case.inputs);
    let seen = [[17u32, 3], [18, 4]].map(|state| {
        e.write(&still.inputs[2], &state).unwrap();
        still.plan.submit(e).unwrap();
        still.outputs.iter().map(|t| e.read::<u32>(t).unwrap()).collect::<Vec<_>>()
    });
    assert!(seen[0] == seen[1]);
    // What is no state.
    let mut graph = Graph::new();
    let (x, two, three) = (graph.input("x", &[4, 3]), graph.input("two", &[2]), graph.indices("three", 3));
    let drop = Dropout { rate: 0.5, stream: 0 };
    says(graph.add("drop", drop, &[x, three]), "[[4, 3], [3]], expected x and a state of 2 indices");
    says(graph.add("drop", drop, &[x]), "expected x and a state of 2 indices");
    says(graph.add("drop", Dropout { rate: 1.0, ..drop }, &[x, two]), "dropout: the rate must be from 0 to below 1, not 1");
    let y = graph.add("linear", Linear { out: 1, bias: false }, &[x]).unwrap();
    let y = graph.add("drop", drop, &[y, two]).unwrap();
    let y = graph.add("last", Linear { out: 1, bias: false }, &[y]).unwrap();
    let loss = graph.add("loss", InfoNce { smoothing: 0.0 }, &[y, y]).unwrap();
    let w = Weights::init(e, &graph, 1).unwrap();
    says(graph.training(e, &w, &[loss]), "`state` must be U32 [2], not F32 [2]");
}

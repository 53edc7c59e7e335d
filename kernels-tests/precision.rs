//! Mixed precision: layers whose factors are rounded to f16, and the loss scale without which small gradients would be lost.

use crate::common::*;
use crate::network::{Case, dense, dense_pair, encoder, fill, pair, tiny, tower, weights};
use echogrid::gpu::{Engine, Precision};
use echogrid::nn::{Architecture, Head, Optimizer, OptimizerConfig, ParamKind, Pooling, Sharing, Skip, StepFactors};
use echogrid::train::TrainConfig;

/// Gradients of the trained parameters one after the other, over the gradient of the loss; and the bytes of activations.
fn gradients(e: &Engine, case: &mut Case, precision: Precision, loss_gradient: f32) -> (Vec<f64>, u64) {
    case.graph.set_precision(precision);
    let (w, _) = weights(e, &case.graph);
    let plan = case.graph.training(e, &w, &case.outputs).unwrap();
    fill(e, &plan.inputs, &case.inputs);
    e.write(&plan.loss_gradient, &[loss_gradient]).unwrap();
    plan.plan.submit(e).unwrap();
    let all = plan.gradients.iter().flatten().flat_map(|g| f64s(&e.read::<f32>(g).unwrap()));
    (all.map(|v| v / f64::from(loss_gradient)).collect(), plan.bytes)
}

/// Outputs of the forward pass one after the other, and the bytes of activations.
fn outputs(e: &Engine, case: &mut Case, precision: Precision) -> (Vec<f64>, u64) {
    case.graph.set_precision(precision);
    let (w, _) = weights(e, &case.graph);
    let plan = case.graph.inference(e, &w, &case.outputs).unwrap();
    fill(e, &plan.inputs, &case.inputs);
    plan.plan.submit(e).unwrap();
    (plan.outputs.iter().flat_map(|t| f64s(&e.read::<f32>(t).unwrap())).collect(), plan.bytes)
}

/// What a pass gives, and the bytes of its activations.
type Pass<'a> = &'a dyn Fn(&Engine, &mut Case, Precision) -> (Vec<f64>, u64);

/// Length of the difference over that of b.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    let square = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>();
    (square(&mut a.iter().zip(b).map(|(x, y)| x - y)) / square(&mut b.iter().copied())).sqrt()
}

/// What networks hand on takes half the memory where a device has f16, but for heads and losses, and no less where it has not. It is rounded
/// as the factors of the products are: what comes out is off by little more than without f16 in memory.
#[test]
fn networks_hand_f16_on() {
    let ([e, baseline], _lock) = engines();
    let resnet = encoder(Architecture::Resnet18, 32, Sharing::Trunk, Head::pooled(Pooling::Gem, 16));
    let cases = [
        ("pair", pair(&TrainConfig::default().encoder, 2), 0.6, 0.1),
        ("resnet", tower(&resnet, 2), 0.6, 0.1),
        ("side by side", dense_pair(&dense(&[8, 8], &[1], Skip::Concat), 1.0), 0.9, 0.1),
        // Rounding decides ReLUs behind a normalisation over the few values of the third.
        ("three levels", dense_pair(&dense(&[8, 8, 16], &[1], Skip::Concat), 1.0), 0.9, 0.2),
    ];
    for (name, mut case, share, most) in cases {
        let mut compare = |pass: &str, run: Pass<'_>| {
            let mut off = |e: &Engine| {
                let [(full, all), (mixed, some)] = [Precision::Full, Precision::Mixed].map(|p| run(e, &mut case, p));
                (apart(&mixed, &full), some as f64 / all as f64)
            };
            let [(stored, kept), (factors, same)] = [off(e), off(baseline)];
            println!("{name}, {pass}: off by {stored:.1e}, of which {factors:.1e} without f16 in memory; {kept:.2} of the bytes");
            assert!(factors > 1e-5 && factors < most && stored < 3.0 * factors, "{name}, {pass}");
            assert!(same == 1.0 && if e.caps().f16 { kept < share } else { kept == 1.0 }, "{name}, {pass}");
        };
        compare("forward", &outputs);
        if name != "resnet" {
            compare("backward", &|e, case, precision| gradients(e, case, precision, 1024.0));
        }
    }
}

/// Factors keep 11 bits: a gradient is off by a few 2^-11. Of a loss whose gradients are below f16's normal numbers (6e-5) little is left.
#[test]
fn a_loss_scale_keeps_small_gradients() {
    let (engines, _lock) = engines();
    for e in engines {
        let mut case = pair(&tiny(), 3);
        let (exact, _) = gradients(e, &mut case, Precision::Full, 1.0);
        let [scaled, plain, lost] = [256.0, 1.0, 1e-9].map(|g| apart(&gradients(e, &mut case, Precision::Mixed, g).0, &exact));
        assert!(scaled > 1e-5 && scaled < 0.01, "{scaled}");
        assert!(plain < 0.05, "{plain}");
        assert!(lost > 0.5, "{lost}");
        assert!(apart(&gradients(e, &mut case, Precision::Full, 1e-9).0, &exact) < 1e-5, "in full a small loss is as good as any");
    }
}

/// The optimiser divides by the scale: the same weights as without one, but for rounding. A scale that overflows is
/// halved until it does not, and the weights wait.
#[test]
fn the_optimiser_takes_the_scale_out_and_lowers_it() {
    let (e, _lock) = engine();
    let case = pair(&tiny(), 3);
    let trained = |scaled: bool| {
        let (w, _) = weights(e, &case.graph);
        let plan = case.graph.training(e, &w, &case.outputs).unwrap();
        fill(e, &plan.inputs, &case.inputs);
        let scale = scaled.then_some(&plan.loss_gradient);
        let optimizer = Optimizer::new(e, &case.graph, &w, &plan.gradients, OptimizerConfig::default(), scale).unwrap();
        (w, plan, optimizer)
    };
    let step = |plan: &echogrid::nn::TrainingPlan, optimizer: &Optimizer, t: u64| {
        optimizer.set(e, StepFactors { lr: 1e-3, step: t }).unwrap();
        plan.plan.submit(e).unwrap();
        optimizer.plan.submit(e).unwrap();
    };
    let (w, plan, optimizer) = trained(false);
    let (scaled_w, scaled_plan, scaled) = trained(true);
    let start = w.read(e).unwrap();
    assert!(optimizer.start_scale(e).unwrap().is_none());
    for t in 1..=2 {
        step(&plan, &optimizer, t);
        step(&scaled_plan, &scaled, t);
        assert_eq!(scaled.start_scale(e).unwrap().unwrap().finish(e).unwrap(), (65536.0, false));
    }
    let (want, got) = (w.read(e).unwrap(), scaled_w.read(e).unwrap());
    assert!(want != start);
    for (name, (_, values)) in &want {
        close(&got[name].1, &f64s(values), 1e-7, 1e-5);
    }

    // Squares of gradients at this scale are beyond f32.
    e.write(&scaled_plan.loss_gradient, &[2.0f32.powi(127)]).unwrap();
    // Running statistics go on; they are not the optimiser's.
    let own = || {
        let mut all = scaled_w.read(e).unwrap();
        all.retain(|name, _| case.graph.params().iter().any(|(n, spec)| n == name && spec.kind != ParamKind::Statistic));
        all
    };
    let before = own();
    step(&scaled_plan, &scaled, 3);
    let (scale, skipped) = scaled.start_scale(e).unwrap().unwrap().finish(e).unwrap();
    assert!(skipped && scale == 2.0f32.powi(126), "{scale}");
    assert!(own() == before);

    // What a checkpoint carries brings scale and count back.
    let state = scaled.read(e).unwrap();
    let (_, other_plan, other) = trained(true);
    other.load(e, &state).unwrap();
    assert_eq!(e.read::<f32>(&other_plan.loss_gradient).unwrap(), [2.0f32.powi(126)]);
    assert!(other.read(e).unwrap() == state);
}

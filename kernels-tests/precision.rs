//! Mixed precision: layers whose factors are rounded to f16, and the loss scale without which small gradients would be lost.

use crate::common::*;
use crate::network::{fill, pair, tiny, weights};
use echogrid::gpu::{Engine, Precision};
use echogrid::nn::{Optimizer, OptimizerConfig, ParamKind, StepFactors};

/// Gradients of the trained parameters one after the other, over the gradient of the loss.
fn gradients(e: &Engine, precision: Precision, loss_gradient: f32) -> Vec<f64> {
    let mut case = pair(&tiny(), 3);
    case.graph.set_precision(precision);
    let (w, _) = weights(e, &case.graph);
    let plan = case.graph.training(e, &w, &case.outputs).unwrap();
    fill(e, &plan.inputs, &case.inputs);
    e.write(&plan.loss_gradient, &[loss_gradient]).unwrap();
    plan.plan.submit(e).unwrap();
    let all = plan.gradients.iter().flatten().flat_map(|g| f64s(&e.read::<f32>(g).unwrap()));
    all.map(|v| v / f64::from(loss_gradient)).collect()
}

/// Length of the difference over that of b.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    let square = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>();
    (square(&mut a.iter().zip(b).map(|(x, y)| x - y)) / square(&mut b.iter().copied())).sqrt()
}

/// Factors keep 11 bits: a gradient is off by a few 2^-11. Of a loss whose gradients are below f16's normal numbers (6e-5) little is left.
#[test]
fn a_loss_scale_keeps_small_gradients() {
    let (engines, _lock) = engines();
    for e in engines {
        let exact = gradients(e, Precision::Full, 1.0);
        let [scaled, plain, lost] = [256.0, 1.0, 1e-9].map(|g| apart(&gradients(e, Precision::Mixed, g), &exact));
        assert!(scaled > 1e-5 && scaled < 0.01, "{scaled}");
        assert!(plain < 0.05, "{plain}");
        assert!(lost > 0.5, "{lost}");
        assert!(apart(&gradients(e, Precision::Full, 1e-9), &exact) < 1e-5, "in full a small loss is as good as any");
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

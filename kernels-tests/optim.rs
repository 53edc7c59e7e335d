use crate::common::*;
use echogrid::gpu::{Engine, PlanBuilder, Tensor};
use echogrid::kernels::optim::{self as kernel, AdamW, Sgd, Step};
use echogrid::reference::optim as twin;

const SIZES: [usize; 6] = [1, 3, 64, 65, 1009, 64 * 65_537 + 1];

fn step_tensor(e: &Engine, step: Step, hyper: AdamW) -> Tensor {
    up(e, &[Step::LEN], &step.tensor_values(hyper.beta1, hyper.beta2))
}

/// Several steps against the twin, state included; the step tensor is rewritten, the plan recorded once.
#[test]
fn adamw_equals_its_twin() {
    let (engines, _lock) = engines();
    let hyper = AdamW { weight_decay: 0.05, ..AdamW::default() };
    for e in engines {
        for n in SIZES {
            let (grad, w) = (random(n, 1), random(n, 2));
            let (tg, tw, tm, tv) = (up(e, &[n], &grad), up(e, &[n], &w), up(e, &[n], &vec![0.0; n]), up(e, &[n], &vec![0.0; n]));
            let mut step = Step { lr: 1e-2, t: 1, grad_scale: 0.5, share: 0.0 };
            let ts = step_tensor(e, step, hyper);
            let plan = plan(e, |p| kernel::adamw(p, hyper, &tg, &ts, None, &tw, &tm, &tv));
            let (g64, mut w64, mut m64, mut v64) = (f64s(&grad), f64s(&w), vec![0.0; n], vec![0.0; n]);
            let steps = if n > 1_000_000 { 1 } else { 4 };
            for t in 1..=steps {
                step.t = t;
                step.lr = 1e-2 / t as f32;
                e.write(&ts, &step.tensor_values(hyper.beta1, hyper.beta2)).unwrap();
                plan.submit(e).unwrap();
                twin::adamw(hyper, step, 1.0, &g64, &mut w64, &mut m64, &mut v64);
            }
            // Each step rounds m and v a few times and the quotient (two divisions of 2.5 ulp, a root of 3) by under 20; 1 - beta
            // in f32 is off by EPS / (1 - beta): 1,000 EPS for v, halved by the root, but m / c1 and v / c2 share it with the
            // corrections. So an update of about lr is off by 600 EPS a step, and w itself rounds once or twice a step.
            let steps = f64::from(steps);
            close(&e.read::<f32>(&tm).unwrap(), &m64, 0.0, 20.0 * steps * EPS);
            close(&e.read::<f32>(&tv).unwrap(), &v64, 0.0, 1100.0 * steps * EPS);
            close(&e.read::<f32>(&tw).unwrap(), &w64, 600.0 * 1.1e-2 * steps * EPS, 3.0 * steps * EPS);
        }
    }
}

#[test]
fn running_mean_equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for n in SIZES {
            let (w, start) = (random(n, 1), random(n, 2));
            let (tw, tm) = (up(e, &[n], &w), up(e, &[n], &start));
            let ts = up(e, &[Step::LEN], &[0.0; Step::LEN]);
            let plan = plan(e, |p| kernel::mean(p, &tw, &ts, &tm));
            let mut m64 = f64s(&start);
            let set = |share: f32| e.write(&ts, &Step { lr: 0.0, t: 1, grad_scale: 1.0, share }.tensor_values(0.9, 0.999)).unwrap();
            let shares = [0.5f32, 0.002];
            for share in shares {
                set(share);
                plan.submit(e).unwrap();
                twin::mean(f64::from(share), &f64s(&w), &mut m64);
            }
            // A difference of at most 2, a product and a sum a step.
            close(&e.read::<f32>(&tm).unwrap(), &m64, 8.0 * EPS, 2.0 * EPS);
            // Copied by a share of 1, it is the same whatever follows.
            for share in [1.0, 0.3, 0.002] {
                set(share);
                plan.submit(e).unwrap();
                assert_eq!(e.read::<f32>(&tm).unwrap(), w);
            }
        }
    }
}

#[test]
fn sgd_equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (n, nesterov) in SIZES[..5].iter().flat_map(|n| [(*n, false), (*n, true)]) {
            let hyper = Sgd { momentum: 0.9, nesterov, weight_decay: 1e-2 };
            let (grad, w) = (random(n, 1), random(n, 2));
            let (tg, tw, tm) = (up(e, &[n], &grad), up(e, &[n], &w), up(e, &[n], &vec![0.0; n]));
            let step = Step { lr: 0.1, t: 1, grad_scale: 2.0, share: 0.0 };
            let ts = step_tensor(e, step, AdamW::default());
            let plan = plan(e, |p| kernel::sgd(p, hyper, &tg, &ts, None, &tw, &tm));
            let (g64, mut w64, mut m64) = (f64s(&grad), f64s(&w), vec![0.0; n]);
            for _ in 0..4 {
                plan.submit(e).unwrap();
                twin::sgd(hyper, step, 1.0, &g64, &mut w64, &mut m64);
            }
            // |m| < 8, |w| < 4 after four steps; under 10 roundings a step.
            close(&e.read::<f32>(&tm).unwrap(), &m64, 40.0 * 8.0 * EPS, 0.0);
            close(&e.read::<f32>(&tw).unwrap(), &w64, 40.0 * 4.0 * EPS, 0.0);
        }
    }
}

/// The norm over several tensors, the factor below and above the limit, and a clipped step.
#[test]
fn clips_by_the_global_norm() {
    let (engines, _lock) = engines();
    for e in engines {
        for (sizes, max_norm) in [(vec![1], 0.1), (vec![5, 4096, 4097, 1], 1.0), (vec![100_003], 1e6), (vec![7, 8], f32::INFINITY)] {
            let data: Vec<Vec<f32>> = sizes.iter().enumerate().map(|(i, n)| random(*n, i as u64)).collect();
            let grads: Vec<Tensor> = data.iter().map(|d| up(e, &[d.len()], d)).collect();
            let grads: Vec<&Tensor> = grads.iter().collect();
            let step = Step { lr: 0.5, t: 1, grad_scale: -3.0, share: 0.0 };
            let ts = step_tensor(e, step, AdamW::default());
            let (partials, clip) = (out(e, &[kernel::partials_len(&grads)]), out(e, &[4]));
            let got = run_twice(e, &clip, |p| kernel::grad_norm(p, &grads, &ts, max_norm, &partials, &clip, None));
            let all: Vec<Vec<f64>> = data.iter().map(|d| f64s(d)).collect();
            let (norm, factor) = twin::grad_norm(&all.iter().map(Vec::as_slice).collect::<Vec<_>>(), -3.0, max_norm.into());
            // Chains of at most 4096 / 8 + 8 additions, then of the partial sums; all terms positive; a root halves it.
            let rel = (4096.0 / 16.0 + 30.0) * EPS;
            close(&got, &[factor.unwrap(), 0.0, norm, 0.0], 0.0, rel);
            let n = data[0].len();
            let (w, m) = (up(e, &[n], &vec![1.0; n]), up(e, &[n], &vec![0.0; n]));
            let hyper = Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };
            plan(e, |p| kernel::sgd(p, hyper, grads[0], &ts, Some(&clip), &w, &m)).submit(e).unwrap();
            let (mut w64, mut m64) = (vec![1.0; n], vec![0.0; n]);
            twin::sgd(hyper, step, factor.unwrap(), &all[0], &mut w64, &mut m64);
            close(&e.read::<f32>(&w).unwrap(), &w64, 3.0 * rel, 2.0 * EPS);
        }
    }
}

/// One NaN or infinity anywhere: factor 0, the flag up, and the optimisers leave everything as it was.
#[test]
fn skips_a_step_that_is_not_finite() {
    let (engines, _lock) = engines();
    for e in engines {
        for bad in [f32::NAN, f32::INFINITY, -1e30] {
            let mut grad = random(4096 * 3, 1);
            grad[5000] = bad;
            let n = grad.len();
            let g = up(e, &[n], &grad);
            let ts = step_tensor(e, Step { lr: 1.0, t: 3, grad_scale: 1.0, share: 0.0 }, AdamW::default());
            let w0 = random(n, 2);
            let (w, m, v) = (up(e, &[n], &w0), up(e, &[n], &w0), up(e, &[n], &w0));
            let (partials, clip) = (out(e, &[3]), out(e, &[4]));
            plan(e, |p| {
                kernel::grad_norm(p, &[&g], &ts, 1.0, &partials, &clip, None)?;
                kernel::adamw(p, AdamW::default(), &g, &ts, Some(&clip), &w, &m, &v)?;
                kernel::sgd(p, Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.0 }, &g, &ts, Some(&clip), &w, &m)
            })
            .submit(e)
            .unwrap();
            assert_eq!(e.read::<f32>(&clip).unwrap()[..2], [0.0, 1.0]);
            for t in [w, m, v] {
                assert_eq!(e.read::<f32>(&t).unwrap(), w0);
            }
        }
    }
}

/// Steps in a row that were not skipped double the scale, one that was halves it; the factor is over the scale that the gradients had.
#[test]
fn a_loss_scale_rises_and_falls() {
    let (engines, _lock) = engines();
    for e in engines {
        let (g, partials, clip, scale) = (up(e, &[2], &[0.0; 2]), out(e, &[1]), up(e, &[4], &[0.0; 4]), up(e, &[1], &[8.0]));
        let ts = step_tensor(e, Step { lr: 0.1, t: 1, grad_scale: 1.0, share: 0.0 }, AdamW::default());
        let loss_scale = kernel::LossScale { scale: &scale, growth: 3 };
        let plan = plan(e, |p| kernel::grad_norm(p, &[&g], &ts, 1.0, &partials, &clip, Some(loss_scale)));
        // Gradients of the loss itself: 3 and 4, of which a limit of 1 leaves a fifth.
        let mut now = 8.0;
        for (bad, after, good) in [
            (false, 8.0, 1.0),
            (false, 8.0, 2.0),
            (false, 16.0, 0.0),
            (true, 8.0, 0.0),
            (false, 8.0, 1.0),
            (true, 4.0, 0.0),
            (true, 2.0, 0.0),
        ] {
            e.write(&g, &if bad { [f32::INFINITY, 0.0] } else { [3.0 * now, 4.0 * now] }).unwrap();
            plan.submit(e).unwrap();
            let got: Vec<f32> = e.read(&clip).unwrap();
            if bad {
                assert_eq!((got[0], got[1], got[3]), (0.0, 1.0, good));
            } else {
                close(&got, &[0.2 / f64::from(now), 0.0, 5.0, good.into()], 0.0, 4.0 * EPS);
            }
            now = e.read::<f32>(&scale).unwrap()[0];
            assert_eq!(now, after);
        }
        // Neither below 1 nor beyond 2^24.
        for (bad, end) in [(true, 1.0f32), (false, 16777216.0)] {
            e.write(&scale, &[end]).unwrap();
            e.write(&clip, &[0.0f32, 0.0, 0.0, 2.0]).unwrap();
            e.write(&g, &if bad { [f32::NAN, 0.0] } else { [1.0, 1.0] }).unwrap();
            plan.submit(e).unwrap();
            assert_eq!(e.read::<f32>(&scale).unwrap(), [end]);
        }
    }
}

/// A zero gradient has factor 1 and moves nothing; the first AdamW step is lr * sign(g) whatever the gradient's size.
#[test]
fn first_steps() {
    let (engines, _lock) = engines();
    for e in engines {
        let grad = [0.0, 1e-3, -1.0, 1e6];
        let (g, w, m, v) = (up(e, &[4], &grad), up(e, &[4], &[0.0; 4]), up(e, &[4], &[0.0; 4]), up(e, &[4], &[0.0; 4]));
        let hyper = AdamW { weight_decay: 0.0, ..AdamW::default() };
        let ts = step_tensor(e, Step { lr: 0.1, t: 1, grad_scale: 1.0, share: 0.0 }, hyper);
        plan(e, |p| kernel::adamw(p, hyper, &g, &ts, None, &w, &m, &v)).submit(e).unwrap();
        close(&e.read::<f32>(&w).unwrap(), &[0.0, -0.1, 0.1, -0.1], 0.0, 1e-4);
        let (zero, partials, clip) = (up(e, &[3], &[0.0; 3]), out(e, &[1]), out(e, &[4]));
        let got = run_twice(e, &clip, |p| kernel::grad_norm(p, &[&zero], &ts, 1.0, &partials, &clip, None));
        assert_eq!(got, [1.0, 0.0, 0.0, 0.0]);
    }
}

#[test]
fn refuses_with_the_reason() {
    let (e, _lock) = engine();
    let (a, b, s) = (out(e, &[4]), out(e, &[5]), out(e, &[8]));
    let (c, d) = (out(e, &[4]), out(e, &[4]));
    let mut p = PlanBuilder::new(e);
    says(kernel::adamw(&mut p, AdamW::default(), &b, &s, None, &a, &c, &d), "[4] against [5]");
    says(kernel::adamw(&mut p, AdamW::default(), &out(e, &[4]), &a, None, &out(e, &[4]), &c, &d), "`step` must be F32 [8], not F32 [4]");
    says(kernel::grad_norm(&mut p, &[], &s, 1.0, &a, &c, None), "no gradient");
    says(kernel::grad_norm(&mut p, &[&a], &s, 0.0, &b, &c, None), "not above 0");
    says(kernel::grad_norm(&mut p, &[&a], &s, 1.0, &b, &c, None), "`partials` must be F32 [1], not F32 [5]");
}

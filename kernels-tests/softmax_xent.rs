use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder, Tensor};
use echogrid::kernels::softmax_xent::{self as kernel, IGNORE, SoftmaxXent, Target};
use echogrid::reference::softmax_xent as twin;

const SHAPES: [(usize, usize); 7] = [(1, 1), (1, 2), (3, 7), (65, 8), (17, 65), (5, 1009), (65_537, 2)];

fn label_tensor(e: &Engine, labels: &[u32]) -> Tensor {
    e.upload("labels", &[labels.len()], DType::U32, labels).unwrap()
}

/// Loss and gradient for an upstream gradient of -2.
fn run(e: &Engine, shape: (usize, usize), x: &[f32], target: Target<'_>, smoothing: f32) -> (f32, Vec<f32>) {
    run_weighted(e, shape, x, target, smoothing, None, None)
}

fn run_weighted(
    e: &Engine,
    (n, k): (usize, usize),
    x: &[f32],
    target: Target<'_>,
    smoothing: f32,
    weights: Option<&[f32]>,
    divisor: Option<f32>,
) -> (f32, Vec<f32>) {
    let (tx, stats, share, loss) = (up(e, &[n, k], x), out(e, &[n, 4]), out(e, &[1]), out(e, &[1]));
    let (dloss, dx) = (up(e, &[1], &[-2.0]), out(e, &[n, k]));
    let (weights, divisor) = (weights.map(|w| up(e, &[n], w)), divisor.map(|d| up(e, &[1], &[d])));
    let call = SoftmaxXent { x: &tx, target, smoothing, weights: weights.as_ref(), divisor: divisor.as_ref() };
    let l = run_twice(e, &loss, |p| kernel::forward(p, call, &stats, &share, &loss));
    let d = run_twice(e, &dx, |p| kernel::backward(p, call, &stats, &share, &dloss, &dx));
    (l[0], d)
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (n, k) in SHAPES {
            let x: Vec<f32> = random(n * k, 1).iter().map(|v| v * 10.0).collect();
            let labels: Vec<u32> = (0..n).map(|i| if i % 5 == 3 { IGNORE } else { (i * 7 % k) as u32 }).collect();
            let hot = twin::one_hot(&labels.iter().map(|l| (*l != IGNORE).then_some(*l as usize)).collect::<Vec<_>>(), k);
            let mut dense: Vec<f32> = random(n * k, 2).iter().map(|v| (v + 1.0) / k as f32).collect();
            dense[..k].fill(if n > 1 { 0.0 } else { 0.5 });
            let (tl, td) = (label_tensor(e, &labels), up(e, &[n, k], &dense));
            for (target, weights) in [(Target::Labels(&tl), &hot), (Target::Dense(&td), &f64s(&dense))] {
                for smoothing in [0.0, 0.1] {
                    let (loss, dx) = run(e, (n, k), &x, target, smoothing);
                    let (want, dwant) = twin::run(&f64s(&x), weights, k, smoothing.into(), None);
                    // |x - max| <= 20: exp is off by 2 (3 + 40) EPS and the 20 EPS of the difference; sums of K positive terms by K EPS;
                    // log by 3 ulp or, near 1, 2^-21; the mean adds N EPS at most, N / LANES + LANES in truth.
                    let rel = (110.0 + k as f64) * EPS;
                    let mean = (n as f64 / 8.0 + 20.0) * EPS;
                    close(&[loss], &[want], 2.0 * rel + 9.6e-7, rel + mean);
                    // dx: two terms of at most sum(target) <= 2 / counted rows each, twice that for dloss.
                    let counted = weights.chunks(k).filter(|t| t.iter().sum::<f64>() != 0.0).count() as f64;
                    close(&dx, &dwant.iter().map(|d| -2.0 * d).collect::<Vec<_>>(), 8.0 * rel / counted, 8.0 * EPS);
                }
            }
        }
    }
}

/// Rows that weigh differently, some nothing, whose sum is divided by what the device holds; such rows may hold NaN and any label.
#[test]
fn weighted_rows_equal_the_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (n, k) in SHAPES {
            let mut x: Vec<f32> = random(n * k, 5).iter().map(|v| v * 10.0).collect();
            let mut labels: Vec<u32> = (0..n).map(|i| if i % 7 == 6 { IGNORE } else { (i * 5 % k) as u32 }).collect();
            let hot = twin::one_hot(&labels.iter().map(|l| (*l != IGNORE).then_some(*l as usize)).collect::<Vec<_>>(), k);
            let dense: Vec<f32> = random(n * k, 6).iter().map(|v| (v + 1.0) / k as f32).collect();
            let weights: Vec<f32> = random(n, 7).iter().enumerate().map(|(i, v)| if i % 3 == 1 { 0.0 } else { v + 1.0 }).collect();
            (1..n).step_by(3).for_each(|i| {
                x[i * k] = f32::NAN;
                labels[i] = k as u32 + 3;
            });
            let (tl, td) = (label_tensor(e, &labels), up(e, &[n, k], &dense));
            for (target, plain) in [(Target::Labels(&tl), &hot), (Target::Dense(&td), &f64s(&dense))] {
                let q: Vec<f64> = plain.iter().enumerate().map(|(i, t)| t * f64::from(weights[i / k])).collect();
                for (smoothing, divisor) in [(0.0, None), (0.1, Some(2.5)), (0.0, Some(0.0))] {
                    let (loss, dx) = run_weighted(e, (n, k), &x, target, smoothing, Some(&weights), divisor);
                    let (want, dwant) = twin::run(&f64s(&x), &q, k, smoothing.into(), divisor.map(f64::from));
                    // As above; rows of up to 4 in weight, of up to n / over of them.
                    let rel = (112.0 + k as f64) * EPS;
                    let counted = q.chunks(k).filter(|t| t.iter().sum::<f64>() != 0.0).count().max(1) as f64;
                    let over = divisor.map_or(counted, |d| f64::from(d).max(1.0));
                    let mean = (n as f64 / 8.0 + 20.0) * EPS;
                    close(&[loss], &[want], 4.0 * counted / over * (2.0 * rel + 9.6e-7), rel + mean);
                    close(&dx, &dwant.iter().map(|d| -2.0 * d).collect::<Vec<_>>(), 16.0 * rel / over, 8.0 * EPS);
                }
            }
        }
    }
}

/// The twin's gradient against central differences in f64, with the loss inside a sine.
#[test]
fn twin_gradient_equals_finite_differences() {
    let (n, k) = (4, 5);
    let x = f64s(&random(n * k, 3));
    for target in [twin::one_hot(&[Some(1), None, Some(4), Some(0)], k), f64s(&random(n * k, 4)).iter().map(|v| v.abs()).collect()] {
        let (loss, dx) = twin::run(&x, &target, k, 0.1, None);
        for (i, d) in dx.iter().enumerate() {
            let at = |h: f64| {
                let mut x = x.clone();
                x[i] += h;
                (3.0 * twin::run(&x, &target, k, 0.1, None).0).sin()
            };
            let (got, want) = (3.0 * (3.0 * loss).cos() * d, (at(1e-5) - at(-1e-5)) / 2e-5);
            assert!((got - want).abs() < 1e-8, "at {i}: {got} against {want}");
        }
    }
}

/// Golden: ln K on equal logits; huge logits do not overflow; nothing to count is 0; a label out of range and a NaN show.
#[test]
fn odd_inputs() {
    let (engines, _lock) = engines();
    for e in engines {
        let l = label_tensor(e, &[2, 0]);
        close(&[run(e, (2, 3), &[7.0; 6], Target::Labels(&l), 0.0).0], &[3f64.ln()], 0.0, 1e-6);
        let (loss, dx) = run(e, (2, 3), &[-1e30, 0.0, 1e30, 3e38, -3e38, 1e-40], Target::Labels(&l), 0.0);
        assert_eq!(loss, 0.0);
        assert!(dx.iter().all(|d| *d == 0.0), "{dx:?}");
        let none = label_tensor(e, &[IGNORE, IGNORE]);
        let (loss, dx) = run(e, (2, 3), &[f32::NAN; 6], Target::Labels(&none), 0.1);
        assert_eq!((loss, dx), (0.0, vec![0.0; 6]));
        let bad = label_tensor(e, &[3, 0]);
        let (loss, dx) = run(e, (2, 3), &[1.0; 6], Target::Labels(&bad), 0.0);
        assert!(loss.is_nan() && dx[..3].iter().all(|d| d.is_nan()), "{loss} {dx:?}");
        assert!(run(e, (2, 3), &[1.0, f32::NAN, 1.0, 1.0, 1.0, 1.0], Target::Labels(&l), 0.0).0.is_nan());
    }
}

#[test]
fn refuses_with_the_reason() {
    let (e, _lock) = engine();
    let (x, stats, share, loss) = (out(e, &[4, 3]), out(e, &[4, 4]), out(e, &[1]), out(e, &[1]));
    let (l, floats) = (label_tensor(e, &[0; 5]), out(e, &[4]));
    let call = |target, smoothing| SoftmaxXent { x: &x, target, smoothing, weights: None, divisor: None };
    let try_ = |call| kernel::forward(&mut PlanBuilder::new(e), call, &stats, &share, &loss);
    says(try_(call(Target::Labels(&l), 0.0)), "`labels` must be U32 [4], not U32 [5]");
    says(try_(call(Target::Labels(&floats), 0.0)), "`labels` must be U32 [4], not F32 [4]");
    says(try_(call(Target::Dense(&x), -0.1)), "outside 0 to 1");
    says(try_(SoftmaxXent { weights: Some(&x), ..call(Target::Dense(&x), 0.0) }), "`weights` [4, 3] for 4 rows");
    says(try_(SoftmaxXent { divisor: Some(&floats), ..call(Target::Dense(&x), 0.0) }), "`divisor` must be F32 [1], not F32 [4]");
}

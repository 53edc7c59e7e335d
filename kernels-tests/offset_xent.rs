use crate::common::*;
use echogrid::gpu::{Engine, PlanBuilder};
use echogrid::kernels::offset_xent::{self as kernel, OffsetXent};
use echogrid::reference::offset_xent::OffsetXent as Twin;

/// The third has two chunks a patch, the fourth 14.
const SHAPES: [[usize; 4]; 6] = [[1, 1, 1, 1], [3, 5, 7, 2], [2, 33, 31, 5], [2, 81, 81, 8], [9, 8, 8, 3], [65, 3, 4, 1]];

/// True offsets all over the surface: on its border, between offsets, off it within reach, and one patch without any.
fn targets(shape: [usize; 4], seed: u64) -> Vec<f64> {
    let [p, v, u, w] = shape;
    let at = |r: f32, n: usize| (((f64::from(r) + 1.0) / 2.0 * n as f64) as usize).min(n - 1) as f64;
    let r = random(3 * p, seed);
    let mut all: Vec<f64> = r.chunks(3).flat_map(|r| [at(r[0], v), at(r[1], u), at(r[2], w), 9.0]).collect();
    if p > 2 {
        (all[0], all[1]) = (0.0, (u - 1) as f64);
        all[4] += 0.5;
        all[5] -= 0.25;
        (all[8], all[9]) = (-1.0, u as f64);
    }
    if p > 4 {
        all[4 * 4] = (v + 40) as f64;
    }
    all
}

fn case(shape: [usize; 4], t: f64, factor: f64, radius: f64) -> Twin {
    let s = f64s(&random(shape.iter().product(), 1));
    Twin { s, shape, target: targets(shape, 2), t, factor, radius, most: 100.0 }
}

struct Got {
    loss: f32,
    accuracy: f32,
    losses: Vec<f32>,
    ds: Vec<f32>,
    dt: f32,
}

fn run(e: &Engine, x: &Twin, dloss: f32) -> Got {
    let f32s = |v: &[f64]| v.iter().map(|v| *v as f32).collect::<Vec<_>>();
    let p = x.shape[0];
    let (s, t, target) = (up(e, &x.shape, &f32s(&x.s)), up(e, &[1], &[x.t as f32]), up(e, &[p, 4], &f32s(&x.target)));
    let input =
        OffsetXent { scores: &s, target: &target, log_scale: &t, factor: x.factor as f32, radius: x.radius as f32, most: x.most as f32 };
    let (parts, stats) = (out(e, &kernel::parts_shape(&x.shape)), out(e, &kernel::stats_shape(p)));
    let (loss, accuracy, dl, ds, dt) = (out(e, &[1]), out(e, &[1]), up(e, &[1], &[dloss]), out(e, &x.shape), out(e, &[1]));
    let l = run_twice(e, &loss, |b| kernel::forward(b, input, &parts, &stats, &loss, &accuracy));
    let d = run_twice(e, &ds, |b| kernel::backward(b, input, &stats, &dl, &ds, &dt));
    let stats: Vec<f32> = e.read(&stats).unwrap();
    let accuracy = e.read::<f32>(&accuracy).unwrap()[0];
    let losses = stats.chunks(8).map(|s| s[kernel::LOSS]).collect::<Vec<_>>();
    let hits: f32 = stats.chunks(8).map(|s| s[kernel::HIT]).sum();
    assert!((hits / p as f32 - accuracy).abs() < 1e-6);
    Got { loss: l[0], accuracy, losses, ds: d, dt: e.read(&dt).unwrap()[0] }
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for shape in SHAPES {
            for (t, factor, radius) in [(0.0, 1.0, 0.0), (2.66, 0.5, 1.5), (3.0, 1.0, 3.0), (5.0, 1.0, 1.0)] {
                let x = case(shape, t, factor, radius);
                let got = run(e, &x, -3.0);
                let want = x.run();
                // exp(t) is allowed 3 + 2|t| <= 13 ulp = 26 EPS, so z = k (s - peak), at most 2k, is off by 60 k EPS, and exp(z) by as much
                // and its own 2 (3 + 4k) EPS; twice so where a chunk's sum is brought to the row's peak; sums of N positive terms by N EPS;
                // the gap of the two peaks as z; each log by 3 ulp or, near 1, 2^-21.
                let k = t.exp().min(100.0) * factor;
                let n: usize = shape[1..].iter().product();
                let rel = (3.0 * (68.0 * k + 6.0) + 60.0 * k + n as f64 + 20.0) * EPS;
                close(&got.losses, &want.losses, rel + 9.6e-7, 16.0 * EPS);
                close(&[got.loss], &[want.loss], rel + 9.6e-7, (16 + shape[0]) as f64 * EPS);
                assert!((f64::from(got.accuracy) - want.accuracy).abs() < 1e-6, "{} {}", got.accuracy, want.accuracy);
                // A difference of two terms at most 1 whose errors are relative, times 3 k / P.
                let share = 3.0 / shape[0] as f64;
                let ds: Vec<f64> = want.ds.iter().map(|d| -3.0 * d).collect();
                close(&got.ds, &ds, 3.0 * rel * k * share, 8.0 * EPS);
                // Three terms up to 2k, each off by no more than twice the sums' error.
                close(&[got.dt], &[-3.0 * want.dt], 3.0 * 12.0 * k * rel, 8.0 * EPS);
            }
        }
    }
}

/// The twin's gradients against central differences in f64, with the loss inside a sine.
#[test]
fn twin_gradient_equals_finite_differences() {
    for (shape, radius) in [([3, 4, 5, 2], 1.0), ([5, 3, 3, 1], 0.0)] {
        let x = case(shape, 1.2, 0.7, radius);
        let want = x.run();
        let outer = 2.0 * (2.0 * want.loss).cos();
        let at = |f: &dyn Fn(&mut Twin, f64), h: f64| {
            let mut x = x.clone();
            f(&mut x, h);
            (2.0 * x.run().loss).sin()
        };
        let slope = |f: &dyn Fn(&mut Twin, f64)| (at(f, 1e-5) - at(f, -1e-5)) / 2e-5;
        for (i, d) in want.ds.iter().enumerate() {
            let by = slope(&|x, h| x.s[i] += h);
            assert!((outer * d - by).abs() < 1e-8, "s[{i}]: {} against {by}", outer * d);
        }
        let by = slope(&|x, h| x.t += h);
        assert!((outer * want.dt - by).abs() < 1e-8, "t: {} against {by}", outer * want.dt);
    }
}

/// Equal scores: ln(N / disc), accuracy where the first offset is right; a sharp peak on the truth: 0 and 1; far from it: k times the gap.
#[test]
fn golden() {
    let (engines, _lock) = engines();
    for e in engines {
        let shape = [2, 9, 9, 4];
        let mut x = case(shape, 2.0, 1.0, 1.0);
        x.target = vec![4.0, 4.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        x.s.fill(0.5);
        let got = run(e, &x, 1.0);
        // Discs of 5 and, on the border, 4; offset 0 is in the second.
        close(&got.losses, &[(324.0f64 / 5.0).ln(), (324.0f64 / 4.0).ln()], 2e-6, 0.0);
        assert!((got.accuracy, got.dt) == (0.5, 0.0));
        x.t = 90.0;
        x.s.fill(-1.0);
        for (p, j) in [(0, (4 * 9 + 4) * 4 + 1), (1, 4)] {
            x.s[p * 324 + j] = 1.0;
        }
        let got = run(e, &x, 1.0);
        assert_eq!((got.loss, got.accuracy, got.dt), (0.0, 1.0, 0.0));
        assert!(got.ds.iter().all(|d| d.abs() < 1e-20));
        // exp(-200) is 0 in f32: the disc's own peak keeps its sum and its gradient.
        x.target[2] = 2.0;
        let got = run(e, &x, 1.0);
        close(&got.losses[..1], &[200.0 - 5f64.ln()], 1e-3, 0.0);
        let right: f64 = got.ds[..324].iter().map(|d| f64::from(d.min(0.0))).sum();
        assert!((right + 50.0).abs() < 1e-3, "{right}");
    }
}

/// A patch whose truth lies nowhere has no loss and no gradient, and does not change the others'.
#[test]
fn patches_without_a_truth_are_left_out() {
    let (engines, _lock) = engines();
    for e in engines {
        let x = case([3, 6, 7, 2], 2.0, 1.0, 1.5);
        let all = run(e, &x, 1.0);
        for (at, value) in [(4, 90.0), (4, f64::NAN), (5, -5.0), (6, 2.0), (6, -1.0), (4, f64::INFINITY)] {
            let mut y = x.clone();
            y.target[at] = value;
            let got = run(e, &y, 1.0);
            assert!(got.losses[1] == 0.0 && got.ds[84..168].iter().all(|d| *d == 0.0), "{value} at {at}");
            assert!(got.losses[0] == all.losses[0] && got.ds[..84] == all.ds[..84] && got.ds[168..] == all.ds[168..]);
        }
    }
}

/// A NaN score or temperature makes the loss NaN instead of vanishing.
#[test]
fn nan_shows() {
    let (engines, _lock) = engines();
    for e in engines {
        for value in [f64::NAN, f64::INFINITY] {
            let mut x = case([2, 9, 9, 2], 1.0, 1.0, 1.0);
            x.s[40] = value;
            let got = run(e, &x, 1.0);
            assert!(got.loss.is_nan() && got.losses[1].is_finite());
        }
        let mut x = case([2, 9, 9, 2], 1.0, 1.0, 1.0);
        x.t = f64::NAN;
        assert!(run(e, &x, 1.0).loss.is_nan() || !keeps_nan(e));
    }
}

/// More than 65,535 groups in both passes.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let p = 65_536 + 3;
    let x = case([p, 1, 2, 1], 1.0, 1.0, 0.0);
    let (got, want) = (run(e, &x, 1.0), x.run());
    close(&got.losses, &want.losses, 1e-5, 0.0);
    close(&got.ds, &want.ds, 1e-5 / p as f64, 0.0);
}

#[test]
fn refuses_with_the_reason() {
    let (e, _lock) = engine();
    let (t, one) = (out(e, &[1]), out(e, &[1]));
    let try_ = |shape: &[usize], target: &[usize], radius: f32, factor: f32| {
        let (s, target) = (out(e, shape), out(e, target));
        let x = OffsetXent { scores: &s, target: &target, log_scale: &t, factor, radius, most: 100.0 };
        let (parts, stats) = (out(e, &[2, 1, 4]), out(e, &[2, 8]));
        kernel::forward(&mut PlanBuilder::new(e), x, &parts, &stats, &one, &t).unwrap_err().to_string()
    };
    assert!(try_(&[2, 3, 3], &[2, 4], 1.0, 1.0).contains("[N, H, W, C]"));
    assert!(try_(&[2, 3, 3, 2], &[2, 3], 1.0, 1.0).contains("`target` must be F32 [2, 4], not F32 [2, 3]"));
    assert!(try_(&[2, 3, 3, 2], &[2, 4], -1.0, 1.0).contains("radius -1 is outside"));
    assert!(try_(&[2, 3, 3, 2], &[2, 4], f32::NAN, 1.0).contains("radius NaN is outside"));
    assert!(try_(&[2, 3, 3, 2], &[2, 4], 1.0, 0.0).contains("factor must be above 0"));
    assert!(try_(&[1, 4096, 4096, 1], &[1, 4], 1.0, 1.0).contains("2^24 offsets"));
}

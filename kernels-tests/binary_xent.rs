use crate::common::*;
use echogrid::gpu::{Engine, PlanBuilder};
use echogrid::kernels::binary_xent::{self as kernel, BinaryXent, Focal, Target};
use echogrid::reference::binary_xent as twin;

const SIZES: [usize; 8] = [1, 3, 8, 63, 64, 65, 1009, 20_011];

const PLAIN: Focal = Focal { gamma: 0.0, alpha: None };

/// What the losses of these tests read; the gradient comes back from -2.
struct Case {
    z: Vec<f32>,
    targets: Vec<f32>,
    /// What they all are, where the device is told so.
    same: Option<bool>,
    weights: Option<Vec<f32>>,
    focal: Focal,
    divisor: Option<f32>,
}

impl Case {
    fn all(z: &[f32], target: bool) -> Self {
        let targets = vec![f32::from(u8::from(target)); z.len()];
        Self { z: z.to_vec(), targets, same: Some(target), weights: None, focal: PLAIN, divisor: None }
    }

    fn each(z: &[f32], targets: &[f32], focal: Focal) -> Self {
        Self { z: z.to_vec(), targets: targets.to_vec(), same: None, weights: None, focal, divisor: None }
    }

    /// Loss, accuracy and gradient.
    fn run(&self, e: &Engine) -> (f32, f32, Vec<f32>) {
        let n = self.z.len();
        let (z, targets) = (up(e, &[n, 1], &self.z), up(e, &[n], &self.targets));
        let weights = self.weights.as_ref().map(|w| up(e, &[1, n], w));
        let divisor = self.divisor.map(|d| up(e, &[1], &[d]));
        let (loss, accuracy, dloss, dz) = (out(e, &[1]), out(e, &[1]), up(e, &[1], &[-2.0]), out(e, &[n]));
        let target = self.same.map_or(Target::Each(&targets), Target::All);
        let call = BinaryXent { z: &z, target, weights: weights.as_ref(), focal: self.focal, divisor: divisor.as_ref() };
        let l = run_twice(e, &loss, |p| kernel::forward(p, call, &loss, &accuracy));
        let d = run_twice(e, &dz, |p| kernel::backward(p, call, &dloss, &dz));
        (l[0], e.read::<f32>(&accuracy).unwrap()[0], d)
    }

    /// The same by the twin.
    fn twin(&self) -> (f64, f64, Vec<f64>) {
        let (z, targets) = (f64s(&self.z), f64s(&self.targets));
        let weights = self.weights.as_ref().map(|w| f64s(w));
        let call = twin::BinaryXent {
            z: &z,
            targets: &targets,
            weights: weights.as_deref(),
            focal: self.focal,
            divisor: self.divisor.map(f64::from),
        };
        let (loss, accuracy, dz) = call.run();
        (loss, accuracy, dz.iter().map(|d| -2.0 * d).collect())
    }

    /// Holds the device against the twin, for logits up to 10.
    ///
    /// exp of -x is off by (3 + 2 x) ulp, at most 46 EPS of its size, what is made of it by 20 more: a cross-entropy and a chance by 66. A power
    /// of a chance is off by gamma times that; by log2, which is off by 2^-21 or 3 ulp of at most 15, 34 EPS times gamma; and by exp2, which is
    /// off by 3 + 2 x ulp of an exponent of up to 15 gamma: 6 + 60 gamma EPS. Sums are of terms that are not negative: a chunk's
    /// length of roundings and those of the chunks, below 170 for these sizes.
    #[track_caller]
    fn holds(&self, e: &Engine) {
        let gamma = f64::from(self.focal.gamma);
        let rel = (72.0 + 160.0 * gamma) * EPS;
        let ((loss, accuracy, dz), (lwant, awant, dwant)) = (self.run(e), self.twin());
        close(&[loss], &[lwant], 0.0, rel + 170.0 * EPS);
        close(&[accuracy], &[awant], 0.0, 6.0 * EPS);
        // Where targets are neither 0 nor 1 the parts of a gradient may cancel, none of which exceeds 2 (1 + 10 gamma) in weight (below 2) and share.
        let hard = self.targets.iter().all(|t| *t == 0.0 || *t == 1.0);
        let share = self.divisor.map_or(self.z.len() as f64, |d| f64::from(d.max(1.0)));
        let most = if hard { 0.0 } else { 4.0 * (1.0 + 10.0 * gamma) / share };
        close(&dz, &dwant, rel * most, rel + 8.0 * EPS);
    }
}

/// Logits of a seed, up to 10.
fn logits(n: usize, seed: u64) -> Vec<f32> {
    random(n, seed).iter().map(|v| 10.0 * v).collect()
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for n in SIZES {
            let z = logits(n, 1);
            [false, true].iter().for_each(|t| Case::all(&z, *t).holds(e));
            let hard: Vec<f32> = random(n, 2).iter().map(|v| f32::from(u8::from(*v > 0.4))).collect();
            let soft: Vec<f32> = random(n, 3).iter().map(|v| (0.6 * v + 0.5).clamp(0.0, 1.0)).collect();
            let weights: Vec<f32> = random(n, 4).iter().enumerate().map(|(i, v)| if i % 5 == 3 { 0.0 } else { v + 1.0 }).collect();
            let focals =
                [PLAIN, Focal { gamma: 2.0, alpha: Some(0.25) }, Focal { gamma: 0.5, alpha: None }, Focal { gamma: 0.0, alpha: Some(0.9) }];
            for (i, focal) in focals.into_iter().enumerate() {
                for targets in [&hard, &soft] {
                    let bare = Case::each(&z, targets, focal);
                    bare.holds(e);
                    let divisor = [None, Some(37.5), Some(0.0)][i % 3];
                    Case { weights: Some(weights.clone()), divisor, ..bare }.holds(e);
                }
            }
            let focal = Focal { gamma: 1.5, alpha: Some(0.4) };
            Case { weights: Some(weights), divisor: Some(1.5), focal, ..Case::all(&z, true) }.holds(e);
        }
    }
}

/// The twin's gradient against central differences in f64.
#[test]
fn twin_gradient_equals_finite_differences() {
    let z: Vec<f64> = f64s(&random(7, 2)).iter().map(|v| 4.0 * v).collect();
    let (targets, weights) = ([0.0, 1.0, 0.3, 0.5, 1.0, 0.0, 0.9], [1.0, 2.0, 0.5, 0.0, 1.0, 3.0, 1.0]);
    for (gamma, alpha) in [(0.0, None), (2.0, Some(0.25)), (0.5, None), (1.0, Some(0.6))] {
        let run = |z: &[f64]| {
            twin::BinaryXent { z, targets: &targets, weights: Some(&weights), focal: Focal { gamma, alpha }, divisor: Some(3.0) }.run()
        };
        let (loss, _, dz) = run(&z);
        for (i, d) in dz.iter().enumerate() {
            let at = |h: f64| {
                let mut z = z.clone();
                z[i] += h;
                (3.0 * run(&z).0).sin()
            };
            let (got, want) = (3.0 * (3.0 * loss).cos() * d, (at(1e-5) - at(-1e-5)) / 2e-5);
            assert!((got - want).abs() < 1e-8, "gamma {gamma}, at {i}: {got} against {want}");
        }
    }
}

/// Golden: ln 2 at 0, which counts as wrong; huge logits neither overflow nor stop learning; infinities and NaN show.
#[test]
fn odd_logits() {
    let (engines, _lock) = engines();
    for e in engines {
        let run = |target: bool, z: [f32; 2]| Case::all(&z, target).run(e);
        let (l, a, d) = run(true, [0.0, -0.0]);
        close(&[l], &[std::f64::consts::LN_2], 0.0, 8.0 * EPS);
        assert_eq!(a, 0.0);
        close(&d, &[0.5; 2], 0.0, 4.0 * EPS);
        let (l, a, d) = run(true, [1e30, -1e30]);
        assert!((l / 5e29 - 1.0).abs() < 1e-6 && a == 0.5, "{l} {a}");
        assert_eq!(d, [0.0, 1.0]);
        let (l, a, d) = run(false, [-50.0, 80.0]);
        assert!((l - 40.0).abs() < 1e-5 && a == 0.5, "{l} {a}");
        // exp(-50), whose relative error is 103 ulp; the loss of it alone is as exact.
        close(&d, &[-1.928_749_847_963_918e-22, -1.0], 0.0, 220.0 * EPS);
        close(&[run(false, [-50.0, -200.0]).0], &[0.964_374_923_981_959e-22], 0.0, 230.0 * EPS);
        let (l, a, d) = run(false, [f32::NEG_INFINITY, f32::NEG_INFINITY]);
        assert_eq!((l, a), (0.0, 1.0));
        assert_eq!(d, [0.0; 2]);
        assert_eq!(run(false, [f32::INFINITY, 0.0]).0, f32::INFINITY);
        let (l, a, d) = run(true, [f32::NAN, 3.0]);
        assert!(l.is_nan() && a == 0.5 && d[0].is_nan() && d[1].is_finite(), "{l} {a} {d:?}");
    }
}

/// Golden, by hand: at a logit of 0 a term of gamma 2 and alpha 1/4 is ln 2 / 16 where true and 3 ln 2 / 16 where false, and its slopes
/// are -1/4 and 3/4 of 1/8 + ln 2 / 4. What is right for certain costs nothing, what is wrong for certain as much as without focus.
#[test]
fn focal_terms() {
    let (engines, _lock) = engines();
    let focal = Focal { gamma: 2.0, alpha: Some(0.25) };
    let ln2 = std::f64::consts::LN_2;
    for e in engines {
        for (t, weight, side) in [(1.0, 0.25, -1.0), (0.0, 0.75, 1.0)] {
            let (l, _, d) = Case::each(&[0.0], &[t], focal).run(e);
            close(&[l], &[weight * ln2 / 4.0], 0.0, 40.0 * EPS);
            close(&d, &[-2.0 * side * weight * (0.125 + ln2 / 4.0)], 0.0, 40.0 * EPS);
        }
        let sure = [200.0, f32::INFINITY, -200.0, f32::NEG_INFINITY];
        let (l, a, d) = Case::each(&sure, &[1.0, 1.0, 0.0, 0.0], Focal { gamma: 0.5, alpha: None }).run(e);
        assert_eq!((l, a, d), (0.0, 1.0, vec![0.0; 4]));
        let (l, a, d) = Case::each(&[-200.0, 200.0], &[1.0, 0.0], Focal { gamma: 2.0, alpha: None }).run(e);
        assert_eq!((l, a, d), (200.0, 0.0, vec![1.0, -1.0]));
        let (l, _, d) = Case::each(&[f32::NEG_INFINITY], &[1.0], Focal { gamma: 2.0, alpha: None }).run(e);
        assert_eq!((l, d), (f32::INFINITY, vec![2.0]));
    }
}

/// A weight of 0 masks whatever is there, the accuracy is of what is left, and of nothing 0; without a mask a NaN shows, in the target too.
#[test]
fn masks() {
    let (engines, _lock) = engines();
    for e in engines.into_iter().filter(|e| keeps_nan(e)) {
        for focal in [PLAIN, Focal { gamma: 2.0, alpha: Some(0.25) }] {
            let (z, t) = ([f32::NAN, 3.0, f32::INFINITY, -1.0], [1.0, 1.0, 0.0, f32::NAN]);
            let case = |weights: [f32; 4]| Case { weights: Some(weights.to_vec()), divisor: Some(1.0), ..Case::each(&z, &t, focal) };
            let (l, a, d) = case([0.0, 1.0, 0.0, 0.0]).run(e);
            let alone = Case { divisor: Some(1.0), ..Case::each(&z[1..2], &t[1..2], focal) }.run(e);
            assert_eq!((l, a, &d[..]), (alone.0, 1.0, &[0.0, alone.2[0], 0.0, 0.0][..]));
            assert_eq!(case([0.0; 4]).run(e), (0.0, 0.0, vec![0.0; 4]));
            let (l, _, d) = case([1.0, 1.0, 0.0, 0.0]).run(e);
            assert!(l.is_nan() && d[0].is_nan() && d[1].is_finite(), "{l} {d:?}");
            let (l, _, d) = case([0.0, 1.0, 0.0, 1.0]).run(e);
            assert!(l.is_nan() && d[3].is_nan(), "{l} {d:?}");
            let nan = Case { divisor: Some(f32::NAN), ..Case::each(&z[1..2], &t[1..2], focal) };
            assert!(nan.run(e).0.is_nan());
        }
    }
}

/// Millions of logits, with more than 65,535 groups of 64 in the backward pass where a device takes an element an invocation.
#[test]
fn millions() {
    let (e, _lock) = engine();
    let n = 65_536 * 64 * 4 + 1;
    let (z, loss, accuracy, dloss, dz) = (up(e, &[n], &vec![0.0; n]), out(e, &[1]), out(e, &[1]), up(e, &[1], &[n as f32]), out(e, &[n]));
    let call = BinaryXent::all(&z, false);
    let l = run_twice(e, &loss, |p| kernel::forward(p, call, &loss, &accuracy));
    // Equal terms round the same way: as often as a chunk has elements and the second sum has turns, at worst.
    close(&l, &[std::f64::consts::LN_2], 0.0, 5000.0 * EPS);
    let got = run_twice(e, &dz, |p| kernel::backward(p, call, &dloss, &dz));
    assert!(got.iter().all(|v| (v - 0.5).abs() < 1e-6));
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let (z, one, two) = (out(e, &[4, 1]), out(e, &[1]), out(e, &[2]));
    let call = BinaryXent::all(&z, true);
    let forward = |call: BinaryXent<'_>, loss| kernel::forward(&mut PlanBuilder::new(e), call, loss, &out(e, &[1]));
    says(forward(call, &two), "`loss` must be F32 [1]");
    says(forward(BinaryXent::all(&out(e, &[0, 1]), true), &one), "not empty");
    says(forward(BinaryXent { target: Target::Each(&two), ..call }, &one), "`targets` [2] for logits [4, 1]");
    says(forward(BinaryXent { weights: Some(&two), ..call }, &one), "`weights` [2] for logits [4, 1]");
    says(forward(BinaryXent { divisor: Some(&two), ..call }, &one), "`divisor` must be F32 [1], not F32 [2]");
    let focal = |gamma, alpha| BinaryXent { focal: Focal { gamma, alpha }, ..call };
    says(forward(focal(-1.0, None), &one), "gamma must be 0 or more, not -1");
    says(forward(focal(f32::NAN, None), &one), "gamma must be 0 or more, not NaN");
    says(forward(focal(0.0, Some(1.5)), &one), "alpha must be from 0 to 1, not 1.5");
    says(kernel::backward(&mut PlanBuilder::new(e), call, &one, &out(e, &[5])), "[4, 1] against [5]");
}

use crate::common::*;
use echogrid::gpu::PlanBuilder;
use echogrid::kernels::discrepancy::{self as kernel, Measure};
use echogrid::reference::discrepancy as twin;

/// Rows of both clouds and their length.
const SHAPES: [(usize, usize, usize); 6] = [(2, 2, 1), (3, 5, 4), (8, 12, 7), (65, 64, 9), (64, 128, 16), (9, 300, 5)];
const BANDWIDTHS: [f32; 5] = [0.2, 0.5, 0.9, 1.7, 3.0];

fn measures(dim: usize) -> [Measure; 2] {
    [Measure::Mmd { bandwidths: BANDWIDTHS }, Measure::Coral { dim }]
}

/// Rows of unit length, or rows less their mean.
fn cloud(measure: Measure, n: usize, d: usize, seed: u64) -> Vec<f64> {
    let mut x: Vec<f64> = f64s(&random(n * d, seed)).iter().map(|v| v + 0.1 * seed as f64).collect();
    match measure {
        Measure::Mmd { .. } => x.chunks_mut(d).for_each(|r| {
            let length = r.iter().map(|v| v * v).sum::<f64>().sqrt();
            r.iter_mut().for_each(|v| *v /= length);
        }),
        Measure::Coral { .. } => x = echogrid::reference::center::forward(&x, 1, d),
    }
    x
}

fn product(a: &[f64], b: &[f64], d: usize) -> Vec<f64> {
    a.chunks(d).flat_map(|r| b.chunks(d).map(|s| r.iter().zip(s).map(|(x, y)| x * y).sum())).collect()
}

fn products(a: &[f64], b: &[f64], d: usize) -> [Vec<f64>; 3] {
    [product(a, b, d), product(a, a, d), product(b, b, d)]
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (n, m, d) in SHAPES {
            for measure in measures(d) {
                // Rounded to f32: lengths are 1 but for that, so that some distances are held at 0.
                let exact = products(&cloud(measure, n, d, 1), &cloud(measure, m, d, 2), d);
                let rounded = exact.map(|p| p.iter().map(|v| *v as f32).collect::<Vec<_>>());
                let host = [0, 1, 2].map(|k| f64s(&rounded[k]));
                let (want, gradients) = twin::run(measure, n, m, [&host[0], &host[1], &host[2]]);
                let shapes = [[n, m], [n, n], [m, m]];
                let on = [0, 1, 2].map(|k| up(e, &shapes[k], &rounded[k]));
                let (parts, loss) = (out(e, &kernel::parts_shape(n, m)), out(e, &[1]));
                let on = [&on[0], &on[1], &on[2]];
                let got = run_twice(e, &loss, |p| kernel::forward(p, measure, on, &parts, &loss));
                // A row's sum rounds each of its terms at most max(n, m) / 8 + 8 times, the sum of the rows 2 n + m times, weights twice.
                let depth = n.max(m) as f64 / 8.0 + (2 * n + m) as f64 + 12.0;
                // A kernel's five terms: exp of x is off by (6 + 4 |x|) EPS of e^x, its argument by 3 |x| EPS: at most 7 EPS all in all;
                // their mean adds 6. The three means are of numbers up to 1, their weights 1, 1 and 2. A square is off by EPS.
                let bound = match measure {
                    Measure::Mmd { .. } => 4.0 * (13.0 + depth) * EPS,
                    Measure::Coral { .. } => {
                        let weights = measure.weights(n, m).unwrap();
                        let sizes = (0..3).map(|k| weights[k].abs() * host[k].iter().map(|g| g * g).sum::<f64>());
                        sizes.sum::<f64>() * (1.0 + depth) * EPS
                    }
                };
                close(&got, &[want], bound, 0.0);
                let dloss = up(e, &[1], &[-3.0]);
                for k in 0..3 {
                    let dg = out(e, &shapes[k]);
                    let asked = |j: usize| (j == k).then_some(&dg);
                    let got = run_twice(e, &dg, |p| kernel::backward(p, measure, on, &dloss, [asked(0), asked(1), asked(2)]));
                    // The same with 1 / s^2 before each term; two of the factors' roundings more, and the products'.
                    let steep = match measure {
                        Measure::Mmd { .. } => BANDWIDTHS.iter().map(|s| 0.2 / f64::from(*s).powi(2)).sum::<f64>(),
                        Measure::Coral { .. } => 0.0,
                    };
                    let bound = 3.0 * measure.weights(n, m).unwrap()[k].abs() * steep * 16.0 * EPS;
                    close(&got, &gradients[k].iter().map(|v| -3.0 * v).collect::<Vec<_>>(), bound, 8.0 * EPS);
                }
            }
        }
    }
}

/// The twin against the definitions: a mean of kernels over all pairs of rows, and the distance of two covariance matrices. A cloud is
/// at no distance from itself.
#[test]
fn twin_is_the_definition() {
    let (n, m, d) = (7, 5, 3);
    for measure in measures(d) {
        let (a, b) = (cloud(measure, n, d, 3), cloud(measure, m, d, 4));
        let [ab, aa, bb] = products(&a, &b, d);
        let got = twin::run(measure, n, m, [&ab, &aa, &bb]).0;
        let want = match measure {
            Measure::Mmd { bandwidths } => {
                let k = |x: &[f64], y: &[f64]| {
                    let squared: f64 = x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum();
                    bandwidths.iter().map(|s| (-squared / (2.0 * f64::from(*s).powi(2))).exp()).sum::<f64>() / 5.0
                };
                let mean = |x: &[f64], y: &[f64]| {
                    let all: Vec<f64> = x.chunks(d).flat_map(|r| y.chunks(d).map(|s| k(r, s)).collect::<Vec<_>>()).collect();
                    all.iter().sum::<f64>() / all.len() as f64
                };
                mean(&a, &a) + mean(&b, &b) - 2.0 * mean(&a, &b)
            }
            Measure::Coral { .. } => {
                let covariance = |x: &[f64], i: usize, j: usize| x.chunks(d).map(|r| r[i] * r[j]).sum::<f64>() / (x.len() / d - 1) as f64;
                let all = (0..d * d).map(|k| (covariance(&a, k / d, k % d) - covariance(&b, k / d, k % d)).powi(2));
                all.sum::<f64>() / (4 * d * d) as f64
            }
        };
        assert!(got > 1e-6 && (got - want).abs() < 1e-12, "{measure:?}: {got} and {want}");
        assert!(twin::run(measure, n, n, [&aa, &aa, &aa]).0.abs() < 1e-12);
    }
}

/// The twin's gradients against central differences in f64.
#[test]
fn twin_gradients_equal_finite_differences() {
    let (n, m, d) = (4, 3, 6);
    for measure in measures(d) {
        // Off 1, where the slope jumps.
        let host = products(&cloud(measure, n, d, 5), &cloud(measure, m, d, 6), d).map(|p| p.iter().map(|v| 0.9 * v).collect::<Vec<_>>());
        let run = |p: &[Vec<f64>; 3]| twin::run(measure, n, m, [&p[0], &p[1], &p[2]]);
        let (_, gradients) = run(&host);
        for (k, gradient) in gradients.iter().enumerate() {
            for (i, got) in gradient.iter().enumerate() {
                let at = |h: f64| {
                    let mut moved = host.clone();
                    moved[k][i] += h;
                    run(&moved).0
                };
                let want = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((got - want).abs() < 1e-8, "{measure:?} {k} {i}: {got} against {want}");
            }
        }
    }
}

/// More than 65,535 groups of 64 elements, folded. (As many rows do not exist: their products would exceed any binding.)
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let n = 2049;
    let (ab, aa, bb) = (up(e, &[n, 1], &vec![1.0; n]), up(e, &[n, n], &vec![1.0; n * n]), up(e, &[1, 1], &[1.0]));
    let (loss, parts, dloss, dg) = (out(e, &[1]), out(e, &kernel::parts_shape(n, 1)), up(e, &[1], &[1.0]), out(e, &[n, n]));
    let measure = Measure::Mmd { bandwidths: BANDWIDTHS };
    let got = run_twice(e, &loss, |p| kernel::forward(p, measure, [&ab, &aa, &bb], &parts, &loss));
    assert!(got[0].abs() < 1e-3, "{got:?}");
    // An odd count: one element an invocation, 65,601 groups of 64.
    let got = run_twice(e, &dg, |p| kernel::backward(p, measure, [&ab, &aa, &bb], &dloss, [None, Some(&dg), None]));
    assert!(got.iter().all(|v| *v == 0.0));
    let aa = up(e, &[n, n], &vec![0.5; n * n]);
    let got = run_twice(e, &dg, |p| kernel::backward(p, measure, [&ab, &aa, &bb], &dloss, [None, Some(&dg), None]));
    assert!(got[0] > 0.0 && got.iter().all(|v| *v == got[0]));
}

/// Products beyond 1 are distances of 0; infinities stay finite in the kernel; a NaN shows and stays in its element.
#[test]
fn odd_products() {
    let (engines, _lock) = engines();
    for e in engines {
        let measure = Measure::Mmd { bandwidths: [0.01, 0.01, 0.01, 0.01, 1e-6] };
        let (aa, bb) = (up(e, &[2, 2], &[1.0, 1.0 + 1e-6, 2.0, f32::INFINITY]), up(e, &[2, 2], &[1.0; 4]));
        let (ab, parts, loss) = (up(e, &[2, 2], &[-1.0, f32::NEG_INFINITY, -1.0, -1.0]), out(e, &[6]), out(e, &[1]));
        let got = run_twice(e, &loss, |p| kernel::forward(p, measure, [&ab, &aa, &bb], &parts, &loss));
        close(&got, &[2.0], 16.0 * EPS, 0.0);
        let (dloss, dg) = (up(e, &[1], &[1.0]), out(e, &[2, 2]));
        let got = run_twice(e, &dg, |p| kernel::backward(p, measure, [&ab, &aa, &bb], &dloss, [None, Some(&dg), None]));
        assert_eq!(got, [0.0; 4]);
        let got = run_twice(e, &dg, |p| kernel::backward(p, measure, [&ab, &aa, &bb], &dloss, [Some(&dg), None, None]));
        assert_eq!(got, [0.0; 4]);
        for measure in [measure, Measure::Coral { dim: 3 }] {
            let aa = up(e, &[2, 2], &[1.0, f32::NAN, 1.0, 1.0]);
            let got = run_twice(e, &dg, |p| kernel::backward(p, measure, [&bb, &aa, &bb], &dloss, [None, Some(&dg), None]));
            assert!(got[1].is_nan() && got[0].is_finite() && got[2].is_finite(), "{got:?}");
            plan(e, |p| kernel::forward(p, measure, [&bb, &aa, &bb], &parts, &loss)).submit(e).unwrap();
            assert!(e.read::<f32>(&loss).unwrap()[0].is_nan());
        }
    }
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let (ab, aa, bb) = (out(e, &[3, 1]), out(e, &[3, 3]), out(e, &[1, 1]));
    let (parts, loss) = (out(e, &[7]), out(e, &[1]));
    let try_ = |measure, ab, bb| kernel::forward(&mut PlanBuilder::new(e), measure, [ab, &aa, bb], &parts, &loss).unwrap_err().to_string();
    let mmd = Measure::Mmd { bandwidths: BANDWIDTHS };
    let short = out(e, &[2, 1]);
    let err = try_(mmd, &short, &bb);
    assert!(err.contains("`aa` must be F32 [2, 2]"), "{err}");
    let err = try_(Measure::Coral { dim: 4 }, &ab, &bb);
    assert!(err.contains("two rows each"), "{err}");
    for s in [0.0, -1.0, f32::NAN, 1e-30] {
        let err = try_(Measure::Mmd { bandwidths: [1.0, 1.0, s, 1.0, 1.0] }, &ab, &bb);
        assert!(err.contains("bandwidth"), "{err}");
    }
    let g = out(e, &[1, 3]);
    let err = kernel::backward(&mut PlanBuilder::new(e), mmd, [&ab, &aa, &bb], &loss, [Some(&g), None, None]).unwrap_err();
    assert!(err.to_string().contains("`gradient` must be F32 [3, 1]"), "{err}");
}

#[test]
fn a_measure_is_written_and_read() {
    let text = r#"{"mmd":{"bandwidths":[0.25,0.5,1.0,2.0,4.0]}}"#;
    let measure: Measure = serde_json::from_str(text).unwrap();
    assert_eq!(measure, Measure::Mmd { bandwidths: [0.25, 0.5, 1.0, 2.0, 4.0] });
    assert_eq!(serde_json::to_string(&measure).unwrap(), text);
    assert_eq!(serde_json::to_string(&Measure::Coral { dim: 4 }).unwrap(), r#"{"coral":{"dim":4}}"#);
}

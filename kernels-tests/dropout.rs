use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder, Tensor};
use echogrid::kernels::dropout::{self as kernel, Dropout};
use echogrid::reference::dropout as twin;

/// Loads of one element and of four, whole groups and not, fewer elements than one load.
const SIZES: [usize; 10] = [1, 3, 4, 63, 64, 65, 252, 260, 1009, 4100];
const KEYS: [[u32; 2]; 4] = [[0, 0], [1, 0], [7, 123_456], [u32::MAX, u32::MAX]];
const RATES: [f32; 6] = [0.0, 1e-9, 0.1, 0.5, 0.9, 1.0 - f32::EPSILON / 2.0];

fn up_state(e: &Engine, state: [u32; 2]) -> Tensor {
    e.upload("state", &[2], DType::U32, &state).unwrap()
}

/// x dropped out, at either width by its length.
fn drop_out(e: &Engine, dropout: Dropout, x: &[f32], state: [u32; 2]) -> Vec<f32> {
    let (tx, ty, state) = (up(e, &[x.len()], x), out(e, &[x.len()]), up_state(e, state));
    run_twice(e, &ty, |p| kernel::forward(p, dropout, &tx, &state, &ty))
}

fn bits(v: &[f32]) -> Vec<u32> {
    v.iter().map(|v| v.to_bits()).collect()
}

/// To the bit: integers choose, and a product of two f32 is exact in the twin's f64 before both round it once.
#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (i, n) in SIZES.into_iter().enumerate() {
            let (x, dy) = (random(n, 1), random(n, 2));
            let (tx, tdy, ty, tdx) = (up(e, &[n], &x), up(e, &[n], &dy), out(e, &[n]), out(e, &[n]));
            for (k, rate) in RATES.into_iter().enumerate() {
                let key = KEYS[(i + k) % KEYS.len()];
                let (dropout, state) = (Dropout { rate, stream: [0, 5, u32::MAX][k % 3] }, up_state(e, key));
                let want = |x: &[f32]| -> Vec<f32> { twin::forward(dropout, &f64s(x), key).iter().map(|v| *v as f32).collect() };
                let y = run_twice(e, &ty, |p| kernel::forward(p, dropout, &tx, &state, &ty));
                assert!(bits(&y) == bits(&want(&x)), "{dropout:?} of {n}, state {key:?}");
                let dx = run_twice(e, &tdx, |p| kernel::backward(p, dropout, &tdy, &state, &tdx));
                assert!(bits(&dx) == bits(&want(&dy)), "{dropout:?} of {n} backward, state {key:?}");
            }
        }
    }
}

/// One mask for both passes, for either width, and for any length: an element's index alone decides.
#[test]
fn one_mask() {
    let (e, _lock) = engine();
    let (dropout, key) = (Dropout { rate: 0.3, stream: 2 }, [11, 4]);
    let kept = |y: &[f32]| y.iter().map(|v| *v != 0.0).collect::<Vec<bool>>();
    let wide = kept(&drop_out(e, dropout, &vec![1.0; 4100], key));
    let narrow = kept(&drop_out(e, dropout, &vec![-3.0; 4099], key));
    assert!(wide[..4099] == narrow);
    let (dy, dx, state) = (up(e, &[4100], &vec![2.0; 4100]), out(e, &[4100]), up_state(e, key));
    assert!(kept(&run_twice(e, &dx, |p| kernel::backward(p, dropout, &dy, &state, &dx))) == wide);
    // The gradient of a kept element is the factor itself.
    let ones = drop_out(e, dropout, &[1.0; 64], key);
    assert!(ones.iter().all(|v| *v == 0.0 || (f64::from(*v) * (1.0 - f64::from(dropout.rate)) - 1.0).abs() < 2.0 * EPS), "{ones:?}");
}

/// As many elements are kept as the rate says, and of two masks of different keys as many agree as of independent ones: within
/// five standard deviations.
#[test]
fn masks_are_random() {
    let (e, _lock) = engine();
    let n = 1 << 16;
    let ones = vec![1.0; n];
    for rate in [0.1f32, 0.5, 0.8] {
        let mask = |stream: u32, state: [u32; 2]| -> Vec<bool> {
            drop_out(e, Dropout { rate, stream }, &ones, state).iter().map(|v| *v != 0.0).collect()
        };
        let binomial = |what: &str, count: usize, of: usize, p: f64| {
            let (mean, sd) = (of as f64 * p, (of as f64 * p * (1.0 - p)).sqrt());
            assert!((count as f64 - mean).abs() < 5.0 * sd, "rate {rate}, {what}: {count} of {of}, expected {mean} with deviation {sd}");
        };
        let (p, first) = (1.0 - f64::from(rate), mask(3, [9, 20]));
        let agree = p * p + (1.0 - p) * (1.0 - p);
        binomial("kept", first.iter().filter(|k| **k).count(), n, p);
        let others = [
            ("another counter", mask(3, [9, 21])),
            ("another seed", mask(3, [10, 20])),
            ("another stream", mask(4, [9, 20])),
            ("seed and counter exchanged", mask(3, [20, 9])),
        ];
        for (what, other) in others {
            binomial(what, other.iter().filter(|k| **k).count(), n, p);
            binomial(what, first.iter().zip(&other).filter(|(a, b)| a == b).count(), n, agree);
        }
        // Elements beside each other, or in the next load or row, are independent too; pairs that do not overlap.
        for lag in [1, 4, 64] {
            let pairs = (0..n).filter(|i| i / lag % 2 == 0).map(|i| (first[i], first[i + lag]));
            binomial("neighbours", pairs.filter(|(a, b)| a == b).count(), n / 2, agree);
        }
    }
}

#[test]
fn a_rate_of_zero_is_the_identity() {
    let (engines, _lock) = engines();
    for e in engines {
        for n in [1009, 4100] {
            let mut x = random(n, 3);
            x[..6].copy_from_slice(&[0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE]);
            assert!(bits(&drop_out(e, Dropout { rate: 0.0, stream: 1 }, &x, [5, 6])) == bits(&x));
        }
    }
}

/// What is dropped is +0 whatever it was; what is kept stays what it was.
#[test]
fn odd_floats() {
    let (e, _lock) = engine();
    for n in [255, 256] {
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0] {
            let (dropout, key) = (Dropout { rate: 0.5, stream: 0 }, [1, 2]);
            let y = drop_out(e, dropout, &vec![odd; n], key);
            let want = twin::forward(dropout, &vec![1.0; n], key);
            assert!(want.contains(&0.0) && want.contains(&2.0));
            for (y, want) in y.iter().zip(want) {
                match want == 0.0 {
                    true => assert_eq!(y.to_bits(), 0, "{odd}"),
                    false if odd.is_nan() => assert!(y.is_nan() || !keeps_nan(e)),
                    false => assert_eq!(*y, 2.0 * odd),
                }
            }
        }
    }
}

/// More than 65,535 groups of 64: the index goes on over the fold.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let (n, dropout, key) = (65_535 * 64 + 129, Dropout { rate: 0.25, stream: 1 }, [3, 8]);
    let y = drop_out(e, dropout, &vec![1.0; n], key);
    let want = twin::forward(dropout, &vec![1.0; n], key);
    assert!(y.iter().zip(want).all(|(y, want)| *y == want as f32));
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let mut p = PlanBuilder::new(e);
    let (x, y, state) = (out(e, &[4]), out(e, &[4]), up_state(e, [0, 0]));
    let good = Dropout { rate: 0.5, stream: 0 };
    for rate in [1.0, 1.5, -0.1, f32::NAN, f32::INFINITY] {
        says(kernel::forward(&mut p, Dropout { rate, ..good }, &x, &state, &y), "dropout: the rate must be from 0 to below 1");
        says(kernel::backward(&mut p, Dropout { rate, ..good }, &x, &state, &y), "dropout backward: the rate must be from 0 to below 1");
    }
    says(kernel::forward(&mut p, good, &x, &state, &out(e, &[5])), "[4] against [5]");
    says(kernel::forward(&mut p, good, &x, &up(e, &[2], &[0.0, 1.0]), &y), "`state` must be U32 [2], not F32 [2]");
    let three = e.upload("state", &[3], DType::U32, &[0u32; 3]).unwrap();
    says(kernel::forward(&mut p, good, &x, &three, &y), "`state` must be U32 [2], not U32 [3]");
    let half = e.tensor("half", &[4], DType::F16).unwrap();
    says(kernel::forward(&mut p, good, &half, &state, &y), "expected F32");
}

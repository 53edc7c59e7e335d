use crate::common::*;
use echogrid::gpu::{DType, Engine, PlanBuilder, Tensor};
use echogrid::kernels::bridge::{self as kernel, Bridge, Gradients};
use echogrid::reference::bridge as twin;

/// Rows, columns, negatives a row.
const SHAPES: [(usize, usize, usize); 9] =
    [(1, 1, 1), (2, 3, 1), (3, 7, 2), (5, 8, 1), (7, 9, 3), (64, 64, 1), (65, 63, 1), (130, 20, 4), (33, 200, 2)];

struct Inputs {
    f: Vec<f32>,
    h: Vec<f32>,
    partners: Vec<u32>,
}

/// Bounded rows as a sigmoid makes them, those of h apart from those of f; some are the negative of many rows and some of none.
fn inputs(n: usize, c: usize, k: usize) -> Inputs {
    let f = random(n * c, 1).iter().map(|v| 0.5 + 0.4 * v).collect();
    let h = random(n * c, 2).iter().map(|v| 0.5 + 0.4 * v).collect();
    let partners = random(n * k, 3).iter().map(|v| (v * v * n as f32) as u32).collect();
    Inputs { f, h, partners }
}

struct Got {
    loss: f32,
    distances: Vec<f32>,
    df: Vec<f32>,
    dh: Vec<f32>,
}

fn indices(e: &Engine, list: &[u32]) -> Tensor {
    e.upload("partners", &[list.len()], DType::U32, list).unwrap()
}

/// All there is, for an upstream gradient of -2.
fn run(e: &Engine, bridge: Bridge, x: &Inputs, n: usize, c: usize) -> Got {
    let (f, h, partners) = (up(e, &[n, c], &x.f), up(e, &[n, c], &x.h), indices(e, &x.partners));
    let (distances, terms, loss) = (out(e, &[n, 1 + bridge.negatives]), out(e, &[n]), out(e, &[1]));
    let links = e.upload("links", &kernel::links_shape(bridge, n), DType::U32, &vec![7u32; n + n * bridge.negatives]).unwrap();
    let (dloss, df, dh) = (up(e, &[1], &[-2.0]), out(e, &[n, c]), out(e, &[n, c]));
    let l = run_twice(e, &loss, |p| kernel::forward(p, bridge, &f, &h, &partners, &distances, &terms, &loss));
    let g = Gradients { distances: &distances, links: &links, dloss: &dloss, df: Some(&df), dh: Some(&dh) };
    let dh = run_twice(e, &dh, |p| kernel::backward(p, bridge, &f, &h, &partners, g));
    Got { loss: l[0], distances: e.read(&distances).unwrap(), df: e.read(&df).unwrap(), dh }
}

fn wanted(bridge: Bridge, x: &Inputs, c: usize) -> twin::Run {
    let partners: Vec<usize> = x.partners.iter().map(|p| *p as usize).collect();
    twin::run(bridge, &f64s(&x.f), &f64s(&x.h), &partners, c)
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (n, c, k) in SHAPES {
            for alpha in [1.0, 0.25] {
                let bridge = Bridge { alpha, negatives: k, eps: 1e-4 };
                let x = inputs(n, c, k);
                let (got, want) = (run(e, bridge, &x, n, c), wanted(bridge, &x, c));
                // A difference rounds once, its square counts that twice and once more; c / 8 + 8 additions of terms of one sign; a division
                // (5 EPS) and eps. The root halves that and adds 6 EPS of its own.
                let rel = ((c as f64 / 8.0 + 17.0) / 2.0 + 6.0) * EPS;
                close(&got.distances, &want.distances, 0.0, rel);
                // Distances are below 1: d^2 and (d - 1)^2 are off by 2 rel and a few roundings, and means by as much, and their additions.
                close(&[got.loss], &[want.loss], 2.0 * rel + (k as f64 + 10.0) * EPS, (n as f64 / 8.0 + 12.0) * EPS);
                // 1 / d is off by rel and a division, as is the pull, at most 1 / d_least; each meets a difference below 1.
                let least = want.distances.iter().fold(f64::INFINITY, |m, d| m.min(*d));
                let pull = 2.0 * 2.0 / (c * n) as f64;
                let met = |of: usize| x.partners.iter().filter(|p| **p as usize == of).count();
                let most = (0..n).map(met).max().unwrap_or(0).max(k) as f64;
                let bound = pull * (most + 1.0) * (rel + (12.0 + most) * EPS) / least;
                let double = |v: &[f64]| v.iter().map(|v| -2.0 * v).collect::<Vec<_>>();
                close(&got.df, &double(&want.df), bound, 0.0);
                close(&got.dh, &double(&want.dh), bound, 0.0);
            }
        }
    }
}

/// Distances 0.6 and 0.2 of pairs, 1 and 0.2 of negatives, by hand.
#[test]
fn golden() {
    let (engines, _lock) = engines();
    for e in engines {
        // d(0, 0) = 0.6, d(1, 1) = 0.2; negatives d(0, 1) = 1 and d(1, 0) = 0.2.
        let x = Inputs { f: vec![0.0, 0.0, 0.8, 0.8], h: vec![0.6, 0.6, 1.0, 1.0], partners: vec![1, 0] };
        let bridge = Bridge { alpha: 0.5, negatives: 1, eps: 1e-12 };
        let got = run(e, bridge, &x, 2, 2);
        close(&got.distances, &[0.6, 1.0, 0.2, 0.2], 1e-6, 0.0);
        let want = ((0.36 + 0.04) / 2.0 + 0.5 * (0.0 + 0.64) / 2.0) / 1.5;
        close(&[got.loss], &[want], 1e-6, 0.0);
        // Row 0 of h is pulled towards row 0 of f and pushed from row 1, which lies above it.
        let unit = -2.0 * 2.0 / (2.0 * 2.0 * 1.5);
        let first = unit * (0.6 + 0.5 * (1.0 - 1.0 / 0.2) * (0.6 - 0.8));
        close(&got.dh[..2], &[first; 2], 1e-5, 0.0);
    }
}

/// The twin's gradients against central differences in f64, with the loss inside a sine.
#[test]
fn twin_gradient_equals_finite_differences() {
    for (n, c, k) in [(4, 3, 1), (5, 4, 3)] {
        let x = inputs(n, c, k);
        let bridge = Bridge { alpha: 0.7, negatives: k, eps: 1e-4 };
        let partners: Vec<usize> = x.partners.iter().map(|p| *p as usize).collect();
        let (f, h) = (f64s(&x.f), f64s(&x.h));
        let run = twin::run(bridge, &f, &h, &partners, c);
        for i in 0..n * c {
            let at = |side: usize, s: f64| {
                let mut both = [f.clone(), h.clone()];
                both[side][i] += s;
                (3.0 * twin::run(bridge, &both[0], &both[1], &partners, c).loss).sin()
            };
            for (side, d) in [run.df[i], run.dh[i]].into_iter().enumerate() {
                let (got, want) = (3.0 * (3.0 * run.loss).cos() * d, (at(side, 1e-6) - at(side, -1e-6)) / 2e-6);
                assert!((got - want).abs() < 1e-8, "{side} at {i}: {got} against {want}");
            }
        }
    }
}

/// Equal rows give finite gradients: 0, for want of a direction.
#[test]
fn equal_rows() {
    let (engines, _lock) = engines();
    for e in engines {
        let x = Inputs { f: vec![0.5; 12], h: vec![0.5; 12], partners: vec![1, 2, 0] };
        let got = run(e, Bridge::default(), &x, 3, 4);
        // d = 1e-3 for pairs and negatives.
        close(&got.distances, &[1e-3; 6], 0.0, 1e-5);
        close(&[got.loss], &[(1e-6 + 0.999f64.powi(2)) / 2.0], 1e-6, 0.0);
        assert_eq!((got.df, got.dh), (vec![0.0; 12], vec![0.0; 12]));
    }
}

/// A partner that is no row shows, in its distance and in the loss, and nothing outside is read.
#[test]
fn wrong_partners_show() {
    let (engines, _lock) = engines();
    for e in engines {
        for wrong in [3, u32::MAX] {
            let x = Inputs { partners: vec![1, 2, 0, wrong, 1, 0], ..inputs(3, 5, 2) };
            let got = run(e, Bridge { negatives: 2, ..Bridge::default() }, &x, 3, 5);
            let nan: Vec<usize> = (0..9).filter(|i| got.distances[*i].is_nan()).collect();
            assert!(nan == [5] && got.loss.is_nan() || !keeps_nan(e), "{nan:?} {}", got.loss);
        }
    }
}

/// More than 65,535 groups of 64 elements.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let (n, c) = (4096, 1025);
    let x = Inputs { f: vec![0.25; n * c], h: vec![0.75; n * c], partners: (0..n as u32).map(|i| (i + 1) % n as u32).collect() };
    let got = run(e, Bridge { alpha: 0.5, eps: 1e-12, ..Bridge::default() }, &x, n, c);
    close(&[got.loss], &[0.25], 1e-5, 0.0);
    // d = 0.5 everywhere: a pair pulls twice as much as its negative pushes.
    let each = -2.0 * 2.0 / ((n * c) as f64 * 1.5) * (0.25 - 0.75) * (1.0 + 0.5 * (1.0 - 2.0));
    let near = |d: &f32, want: f64| (f64::from(*d) - want).abs() < 1e-5 * each.abs();
    assert!(got.df.iter().all(|d| near(d, each)) && got.dh.iter().all(|d| near(d, -each)));
}

#[test]
fn reads_its_settings() {
    let b: Bridge = serde_json::from_str(r#"{"alpha": 0.5, "negatives": 3}"#).unwrap();
    assert_eq!(b, Bridge { alpha: 0.5, negatives: 3, ..Bridge::default() });
    let err = serde_json::from_str::<Bridge>(r#"{"alfa": 1}"#).unwrap_err().to_string();
    assert!(err.contains("alfa"), "{err}");
}

#[test]
fn refuses_with_the_reason() {
    let (e, _lock) = engine();
    let b = Bridge::default();
    let (f, d, terms, loss) = (out(e, &[4, 3]), out(e, &[4, 2]), out(e, &[4]), out(e, &[1]));
    let partners = indices(e, &[1, 2, 3, 0]);
    let mut p = PlanBuilder::new(e);
    let mut try_ = |b, h: &Tensor, partners: &Tensor, d: &Tensor, words: &str| {
        says(kernel::forward(&mut p, b, &f, h, partners, d, &terms, &loss), words);
    };
    try_(b, &out(e, &[4, 2]), &partners, &d, "`h` must be F32 [4, 3], not F32 [4, 2]");
    try_(b, &f, &out(e, &[4]), &d, "`partners` must be U32 [4], not F32 [4]");
    try_(Bridge { negatives: 2, ..b }, &f, &partners, &d, "`partners` must be U32 [8], not U32 [4]");
    try_(b, &f, &partners, &out(e, &[4, 3]), "`distances` must be F32 [4, 2], not F32 [4, 3]");
    try_(Bridge { negatives: 0, ..b }, &f, &partners, &d, "0 negatives");
    try_(Bridge { alpha: -1.0, ..b }, &f, &partners, &d, "alpha -1 is not 0 or above");
    try_(Bridge { eps: 0.0, ..b }, &f, &partners, &d, "eps 0 is not above 0");
    let links = e.tensor("links", &[7], DType::U32).unwrap();
    let g = Gradients { distances: &d, links: &links, dloss: &loss, df: None, dh: Some(&f) };
    says(kernel::backward(&mut PlanBuilder::new(e), b, &f, &f, &partners, g), "`links` must be U32 [8], not U32 [7]");
}

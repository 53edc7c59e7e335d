use crate::common::*;
use echogrid::gpu::{Engine, PlanBuilder, Tensor};
use echogrid::kernels::sinkhorn_small::{self as kernel, Other, Problems, Settings};
use echogrid::reference::sinkhorn_small as twin;

const SHAPES: [(usize, usize, usize); 7] = [(1, 1, 1), (3, 2, 5), (2, 17, 9), (1, 64, 64), (4, 8, 65), (1, 1, 129), (1, 131, 33)];

/// Weights that sum to 1 in each of `p` rows, one of them 0 where there are many.
pub fn weights(p: usize, n: usize, seed: u64) -> Vec<f32> {
    let mut all: Vec<f32> = random(p * n, seed).iter().map(|v| 1.5 + v).collect();
    for row in all.chunks_mut(n) {
        if n > 4 {
            row[n / 2] = 0.0;
        }
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|w| *w /= sum);
    }
    all
}

/// Weights in f64 that sum to 1 to the last bit: f32 has them within n EPS, and sums that differ let no twin converge.
pub fn exact(w: &[f32]) -> Vec<f64> {
    let sum: f64 = f64s(w).iter().sum();
    w.iter().map(|w| f64::from(*w) / sum).collect()
}

struct Case {
    c: Tensor,
    a: Tensor,
    f: Tensor,
    b: Option<(Tensor, Tensor)>,
    stats: Tensor,
}

impl Case {
    fn new(e: &Engine, (p, n, m): (usize, usize, usize), c: &[f32], a: &[f32], b: Option<&[f32]>) -> Self {
        Self {
            c: up(e, &[p, n, m], c),
            a: up(e, &[p, n], a),
            f: out(e, &[p, n]),
            b: b.map(|b| (up(e, &[p, m], b), out(e, &[p, m]))),
            stats: out(e, &[p, 8]),
        }
    }

    fn problems(&self) -> Problems<'_> {
        Problems { c: &self.c, a: &self.a, f: &self.f, other: self.b.as_ref().map(|(b, g)| Other { b, g }) }
    }

    /// f, g, stats; the same bits twice.
    fn solve(&self, e: &Engine, s: &Settings) -> [Vec<f32>; 3] {
        let stats = run_twice(e, &self.stats, |p| kernel::solve(p, &self.problems(), s, &self.stats));
        let f: Vec<f32> = e.read(&self.f).unwrap();
        let g = self.b.as_ref().map_or_else(|| f.clone(), |(_, g)| e.read(g).unwrap());
        [f, g, stats]
    }
}

/// Sums of a plan's rows and columns.
fn marginals(pi: &[f64], m: usize) -> [Vec<f64>; 2] {
    [pi.chunks(m).map(|r| r.iter().sum()).collect(), (0..m).map(|j| pi.chunks(m).map(|r| r[j]).sum()).collect()]
}

fn l1(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum()
}

/// A solution is held by what makes it one: the plan of the device's own potentials, computed in f64, has the marginals.
///
/// Rounding: exponents are sums of log2 weights, potentials and costs, each at most (2 C + 20 eps) / eps in size, rounded some
/// eight times; so are the entries of a plan whose sum is 1. The value is <a, f> + <b, g>, n products in any order, and not farther from the
/// twin's than (marginal error) x (oscillation of C): the dual is concave, its gradient the marginals' error, and potentials oscillate as C does.
fn holds(e: &Engine, (p, n, m): (usize, usize, usize), seed: u64, eps: f32, symmetric: bool) {
    let mut c: Vec<f32> = random(p * n * m, seed).iter().map(|v| v + 1.0).collect();
    let (a, b) = (weights(p, n, seed + 1), weights(p, m, seed + 2));
    if symmetric {
        // Squared distances, as every cost of a cloud with itself is: the step by half needs their kernel positive.
        let x = f64s(&random(p * n * 2, seed));
        c = x.chunks(n * 2).flat_map(|x| twin::cost(false, x, x, 2)).map(|v| v as f32).collect();
    }
    let b = if symmetric { &a } else { &b };
    let case = Case::new(e, (p, n, m), &c, &a, (!symmetric).then_some(b));
    let s = Settings { tolerance: 1e-4, most: 3000, base: 0.25, slope: 0.5, ..Settings::new(eps) };
    let [f, g, stats] = case.solve(e, &s);
    let (dy, pi) = (up(e, &[1], &[-2.0]), out(e, &[p, n, m]));
    let plan = run_twice(e, &pi, |q| kernel::transport_plan(q, &case.problems(), &s, 1.5, &dy, &pi));
    let greatest = c.iter().fold(0.0f64, |t, v| t.max(f64::from(0.25 + 0.5 * v)));
    let exponent = 8.0 * EPS * (2.0 * greatest + 20.0 * f64::from(eps)) / f64::from(eps);
    for i in 0..p {
        let (own, rows, columns) = (&c[i * n * m..][..n * m], &a[i * n..][..n], &b[i * m..][..m]);
        let (c, a, b, f, g) = (f64s(own), exact(rows), exact(columns), f64s(&f[i * n..][..n]), f64s(&g[i * m..][..m]));
        let [value, error, iterations, converged, ..] = stats[i * 8..][..8] else { unreachable!() };
        assert!(converged == 1.0 && iterations < 3000.0, "{n} x {m}, eps {eps}: error {error} after {iterations}");
        let want = twin::plan(&c, [&a, &b], [&f, &g], &s);
        let [r, q] = marginals(&want, m);
        let off = l1(&r, &a) + l1(&q, &b);
        // The weights of the test sum to 1 within n EPS.
        let most = f64::from(error) + 2.0 * exponent + (n + m) as f64 * EPS;
        assert!(off <= most, "{n} x {m}, eps {eps}: marginals off by {off:e}, {error:e} said");
        let dot = |w: &[f64], f: &[f64]| w.iter().zip(f).map(|(w, f)| w * f).sum::<f64>();
        let size = (n + m) as f64 * EPS * (2.0 * greatest + 20.0 * f64::from(eps));
        close(&[value], &[dot(&a, &f) + dot(&b, &g)], size, 0.0);
        let truth = twin::solve(&c, &a, (!symmetric).then_some(&b), &Settings { tolerance: 1e-9, ..s });
        assert!(truth.converged);
        close(&[value], &[truth.value], size + (f64::from(error) + 2.0 * exponent) * greatest, 0.0);
        close(&plan[i * n * m..][..n * m], &want.iter().map(|v| -3.0 * v).collect::<Vec<_>>(), 0.0, exponent + 8.0 * EPS);
    }
}

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (i, (p, n, m)) in SHAPES.into_iter().enumerate() {
            for eps in [1.0, 0.1] {
                holds(e, (p, n, m), i as u64 * 10, eps, false);
                holds(e, (p, n, n), i as u64 * 10, eps, true);
            }
        }
    }
}

/// Iterations in order as the twin's, while nothing has converged: over-relaxation steers alike.
#[test]
fn follows_the_twin_step_by_step() {
    let (e, _lock) = engine();
    let (n, m) = (9, 6);
    let (c, a, b) = (random(n * m, 1), weights(1, n, 2), weights(1, m, 3));
    let case = Case::new(e, (1, n, m), &c, &a, Some(&b));
    for most in [0, 1, 3, 8, 16, 24] {
        let s = Settings { tolerance: 0.0, most, ..Settings::new(0.02) };
        let [f, g, stats] = case.solve(e, &s);
        let want = twin::solve(&f64s(&c), &f64s(&a), Some(&f64s(&b)), &s);
        assert_eq!(stats[2], most as f32);
        assert_eq!(stats[3], 0.0, "nothing converges to an error of 0");
        // A step is a maximum of sums of numbers up to 3: it hands errors on without growing them (omega below 2 may treble them a few
        // times); a step's own are 8 roundings of numbers up to 3. The rate is measured between errors of 1e-3 and more.
        let bound = f64::from(2 * most + 2) * 8.0 * 3.0 * EPS * 30.0;
        close(&f, &want.f, bound, 0.0);
        close(&g, &want.g, bound, 0.0);
        close(&stats[1..2], &[want.error], bound / 0.02, 0.0);
    }
}

/// Costs [[0, 1], [1, 0]], equal weights, eps 1: the plan in closed form.
#[test]
fn golden_two_by_two() {
    let (engines, _lock) = engines();
    for e in engines {
        let case = Case::new(e, (1, 2, 2), &[0.0, 1.0, 1.0, 0.0], &[0.5; 2], Some(&[0.5; 2]));
        let s = Settings { tolerance: 1e-6, ..Settings::new(1.0) };
        case.solve(e, &s);
        let (dy, pi) = (up(e, &[1], &[1.0]), out(e, &[1, 2, 2]));
        let plan = run_twice(e, &pi, |q| kernel::transport_plan(q, &case.problems(), &s, 1.0, &dy, &pi));
        close(&plan, &[0.365_529_29, 0.134_470_71, 0.134_470_71, 0.365_529_29], 0.0, 2e-6);
    }
}

#[test]
fn costs_equal_their_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (p, n, m, d) in [(1, 1, 1, 1), (2, 3, 5, 7), (1, 65, 9, 64), (3, 8, 8, 2)] {
            let (mut x, y) = (random(p * n * d, 1), random(p * m * d, 2));
            x[..d].fill(0.0);
            let (tx, ty, c) = (up(e, &[p, n, d], &x), up(e, &[p, m, d], &y), out(e, &[p, n, m]));
            for cosine in [false, true] {
                let got = run_twice(e, &c, |q| kernel::cost(q, cosine, &tx, &ty, &c));
                let pairs = x.chunks(n * d).zip(y.chunks(m * d));
                let want: Vec<f64> = pairs.flat_map(|(x, y)| twin::cost(cosine, &f64s(x), &f64s(y), d)).collect();
                // Squares: two roundings each of differences up to 2, then d in the sum of positive terms. Cosine: three sums of d
                // products, two roots, a quotient, at most 1 in the end.
                if cosine {
                    close(&got, &want, (3 * d + 12) as f64 * EPS * 2.0, 0.0);
                    assert!(got[..m].iter().all(|v| *v == 1.0), "0 has no direction");
                } else {
                    close(&got, &want, 0.0, (d + 4) as f64 * EPS);
                }
            }
        }
    }
}

/// The plan is the gradient of the value in the costs, and half of it, with both symmetric entries moved, of a symmetric problem.
#[test]
fn twin_gradient_equals_finite_differences() {
    let (n, m) = (4, 3);
    let s = Settings { tolerance: 1e-13, ..Settings::new(0.3) };
    let (c, a, b) = (f64s(&random(n * m, 5)), exact(&weights(1, n, 6)), exact(&weights(1, m, 7)));
    let value = |c: &[f64]| twin::solve(c, &a, Some(&b), &s).value;
    let at = twin::solve(&c, &a, Some(&b), &s);
    for (i, g) in twin::plan(&c, [&a, &b], [&at.f, &at.g], &s).iter().enumerate() {
        let nudge = |d: f64| c.iter().enumerate().map(|(k, v)| if k == i { v + d } else { *v }).collect::<Vec<_>>();
        assert!((g - (value(&nudge(1e-5)) - value(&nudge(-1e-5))) / 2e-5).abs() < 1e-8, "dc[{i}]");
    }
    let x = f64s(&random(n * 2, 8));
    let c = twin::cost(false, &x, &x, 2);
    let value = |c: &[f64]| twin::solve(c, &a, None, &s).value;
    let at = twin::solve(&c, &a, None, &s);
    let pi = twin::plan(&c, [&a, &a], [&at.f, &at.g], &s);
    for (i, j) in [(0, 1), (2, 3), (1, 3)] {
        let mut nudged = [c.clone(), c.clone()];
        for (c, d) in nudged.iter_mut().zip([1e-5, -1e-5]) {
            c[i * n + j] += d;
            c[j * n + i] += d;
        }
        let want = (value(&nudged[0]) - value(&nudged[1])) / 2e-5;
        assert!((pi[i * n + j] + pi[j * n + i] - want).abs() < 1e-8, "dc[{i}, {j}]: {want}");
    }
}

/// More than 65,535 problems in one dispatch: of one point each, whose cost is the value.
#[test]
fn folded_groups() {
    let (e, _lock) = engine();
    let p = 65_537;
    let c: Vec<f32> = random(p, 6).iter().map(|v| v + 1.0).collect();
    let case = Case::new(e, (p, 1, 1), &c, &vec![1.0; p], Some(&vec![1.0; p]));
    let [_, _, stats] = case.solve(e, &Settings { most: 12, ..Settings::new(0.5) });
    for (i, s) in stats.chunks(8).enumerate() {
        assert!((s[0] - c[i]).abs() < 1e-6 && s[3] == 1.0, "problem {i}: {s:?} for {}", c[i]);
    }
}

/// Too few iterations are said; a NaN stays in its own problem; points of no weight change nothing.
#[test]
fn odd_inputs() {
    let (e, _lock) = engine();
    let (n, m) = (12, 10);
    let (mut c, a, b) = (random(2 * n * m, 1), weights(2, n, 2), weights(2, m, 3));
    let case = |c: &[f32]| Case::new(e, (2, n, m), c, &a, Some(&b));
    let s = Settings { most: 7, tolerance: 1e-5, ..Settings::new(0.01) };
    let [_, _, stats] = case(&c).solve(e, &s);
    assert!(stats.chunks(8).all(|s| s[1] > 1e-5 && s[2] == 7.0 && s[3] == 0.0), "{stats:?}");
    let s = Settings { most: 100, ..Settings::new(0.3) };
    let [f, _, clean] = case(&c).solve(e, &s);
    // Costs of points that weigh nothing.
    (0..m).for_each(|j| c[n / 2 * m + j] = 1.9);
    let [g, _, same] = case(&c).solve(e, &s);
    let others = |f: &[f32]| f.iter().enumerate().filter(|(i, _)| i % n != n / 2).map(|(_, v)| f64::from(*v)).collect::<Vec<_>>();
    let gap = others(&f).iter().zip(others(&g)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    // eps started elsewhere, so both stop within the tolerance of 1e-4 at other places.
    assert!(gap < 1e-2 && (clean[0] - same[0]).abs() < 1e-4 * 2.0, "{gap}, {clean:?}, {same:?}");
    c[3] = f32::NAN;
    let [_, _, stats] = case(&c).solve(e, &s);
    assert!(stats[3] == 0.0 || !stats[0].is_finite(), "{stats:?}");
    assert_eq!(stats[8..], same[8..]);
}

/// Debiased divergences of a batch.
#[test]
fn debiases() {
    let (e, _lock) = engine();
    // Four words of each problem count.
    let part = |v: [f32; 8]| up(e, &[2, 8], &[&v[..4], &[9.0; 4], &v[4..], &[9.0; 4]].concat());
    let ab = part([5.0, 1e-5, 7.0, 1.0, 2.0, 0.1, 9.0, 1.0]);
    let aa = part([1.0, 2e-5, 6.0, 1.0, 0.5, 0.2, 3.0, 0.0]);
    let bb = part([3.0, 3e-5, 8.0, 1.0, 0.5, 0.3, 3.0, 1.0]);
    let (stats, y) = (out(e, &[2, 4]), out(e, &[2]));
    let got = run_twice(e, &stats, |p| kernel::divergence(p, [&ab, &aa, &bb], &stats, &y));
    assert_eq!(got, [3.0, 3e-5, 8.0, 1.0, 1.5, 0.3, 9.0, 0.0]);
    assert_eq!(e.read::<f32>(&y).unwrap(), [3.0, 1.5]);
}

/// More turns of loops than a software adapter allows an invocation: the iterations are spread over dispatches, which change nothing.
#[test]
fn long_runs() {
    let (e, _lock) = engine();
    let (n, m) = (250, 240);
    let (c, a, b) = (random(n * m, 1), weights(1, n, 2), weights(1, m, 3));
    let case = Case::new(e, (1, n, m), &c, &a, Some(&b));
    let s = Settings { most: 3000, ..Settings::new(0.01) };
    let dispatches = plan(e, |p| kernel::solve(p, &case.problems(), &s, &case.stats)).len();
    let [f, g, stats] = case.solve(e, &s);
    assert!(stats[3] == 1.0 && (dispatches > 1) == e.caps().software, "{dispatches} dispatches: {stats:?}");
    let (c, a, b) = (f64s(&c), exact(&a), exact(&b));
    let pi = twin::plan(&c, [&a, &b], [&f64s(&f), &f64s(&g)], &s);
    let [rows, columns] = marginals(&pi, m);
    // As in `holds`.
    let noise = 8.0 * EPS * (2.0 + 20.0 * 0.01) / 0.01 + (n + m) as f64 * EPS;
    let off = l1(&rows, &a) + l1(&columns, &b);
    assert!(off < f64::from(stats[1]) + 2.0 * noise && stats[1] < 2e-4, "off by {off:e}: {stats:?}");
    let want = twin::solve(&c, &a, Some(&b), &Settings { tolerance: 1e-7, most: 100_000, ..s });
    assert!(want.converged);
    close(&stats[..1], &[want.value], 2.0 * (f64::from(stats[1]) + 2.0 * noise), 0.0);
    // Fewer than one dispatch's iterations, and more where there are several: the next one goes on where it ended.
    let most = [5].into_iter().chain((dispatches > 1).then(|| 3000 / dispatches as u32 + 2));
    for most in most {
        let [_, _, stats] = case.solve(e, &Settings { most, tolerance: 0.0, ..s });
        assert_eq!(stats[2], most as f32);
    }
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let case = Case::new(e, (1, 2, 3), &[0.0; 6], &[0.5; 2], None);
    let mut p = PlanBuilder::new(e);
    let mut err = |s: Settings| kernel::solve(&mut p, &case.problems(), &s, &case.stats).unwrap_err().to_string();
    assert!(err(Settings::new(1.0)).contains("a symmetric problem of 2 x 3"));
    let case = Case::new(e, (1, 1, 1), &[0.0], &[1.0], None);
    let mut err = |s: Settings| kernel::solve(&mut p, &case.problems(), &s, &case.stats).unwrap_err().to_string();
    assert!(err(Settings::new(0.0)).contains("eps must be above 0"));
    assert!(err(Settings { scaling: 1.0, ..Settings::new(1.0) }).contains("scaling must lie"));
    let case = Case::new(e, (1, 1025, 1), &[0.0; 1025], &[0.0; 1025], Some(&[1.0]));
    let err = kernel::solve(&mut p, &case.problems(), &Settings::new(1.0), &case.stats).unwrap_err().to_string();
    assert!(err.contains("sinkhorn_online"), "{err}");
}

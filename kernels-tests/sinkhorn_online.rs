use crate::common::*;
use crate::sinkhorn_small::{exact, weights};
use echogrid::gpu::{Engine, PlanBuilder, Tensor};
use echogrid::kernels::sinkhorn_online::{self as kernel, Cloud, Ground, Problem, Settings, Side};
use echogrid::kernels::sinkhorn_small as small;
use echogrid::reference::sinkhorn_online::Clouds;
use echogrid::reference::sinkhorn_small as twin;

const GROUNDS: [Ground; 2] = [Ground::SquaredEuclidean, Ground::Cosine];
const SHAPES: [(usize, usize, usize); 7] = [(1, 1, 1), (5, 3, 2), (17, 70, 3), (130, 65, 9), (64, 64, 64), (257, 1000, 5), (3, 2100, 33)];

/// Clouds about different places, their first points of no direction, and both their forms.
struct Pair {
    host: Clouds,
    x: Tensor,
    a: Tensor,
    cx: Cloud,
    cy: Cloud,
}

fn pair(e: &Engine, (n, m, d): (usize, usize, usize), ground: Ground, seed: u64) -> Pair {
    let x: Vec<f32> = random(n * d, seed).iter().map(|v| v + 3.0).collect();
    let mut y: Vec<f32> = random(m * d, seed + 1).iter().map(|v| 1.5 * v + 3.5).collect();
    if m > 1 {
        y[..d].fill(0.0);
    }
    let (a, b) = (weights(1, n, seed + 2), weights(1, m, seed + 3));
    let means = [3.0, 3.5].map(|v| up(e, &[d], &vec![v; d]));
    let host = Clouds { x: f64s(&x), y: f64s(&y), d, a: exact(&a), b: exact(&b), ground };
    let (x, y, a, b) = (up(e, &[n, d], &x), up(e, &[m, d], &y), up(e, &[n], &a), up(e, &[m], &b));
    let (cx, cy) = (Cloud::new(e, ground, n, d).unwrap(), Cloud::new(e, ground, m, d).unwrap());
    let fill = plan(e, |p| {
        kernel::points(p, &x, &a, Some([&means[0], &means[1]]), &cx)?;
        kernel::points(p, &y, &b, Some([&means[0], &means[1]]), &cy)
    });
    fill.submit(e).unwrap();
    Pair { host, x, a, cx, cy }
}

impl Pair {
    fn swapped(&self) -> Clouds {
        let h = self.host.clone();
        Clouds { x: h.y, y: h.x, a: h.b, b: h.a, ..h }
    }

    fn costs(&self) -> Vec<f64> {
        twin::cost(self.host.ground == Ground::Cosine, &self.host.x, &self.host.y, self.host.d)
    }

    /// How far a computed cost is off: rows are shifted or scaled (2 roundings, or d for the length), products summed over d; all of
    /// numbers up to the greatest norms.
    fn cost_error(&self) -> f64 {
        let d = self.host.d as f64;
        match self.host.ground {
            Ground::Cosine => (3.0 * d + 12.0) * EPS,
            // Points lie within 2 of the mean in every dimension, y's 0 within 3.5.
            Ground::SquaredEuclidean => (2.0 * d + 12.0) * EPS * 4.0 * 12.5 * d,
        }
    }

    /// A potential: the cost's error, four roundings of potential and exponent, the sum of m positive terms and its logarithm.
    fn potential_error(&self, largest: f64, m: usize, eps: f64) -> f64 {
        2.0 * self.cost_error() + 8.0 * EPS * (largest + 20.0 * eps) + eps * (m as f64 + 64.0) * EPS
    }
}

const LOOSE: Settings = Settings { eps: 0.5, scaling: 0.25, tolerance: 1e-4, most: 500 };

/// Potentials for a problem of a side, padded.
fn given(e: &Engine, t: &Tensor, n: usize, seed: u64) -> Vec<f64> {
    let mut v = random(t.len(), seed);
    v[n..].fill(0.0);
    e.write(t, &v).unwrap();
    f64s(&v[..n])
}

fn largest(v: &[f64]) -> f64 {
    v.iter().fold(0.0, |t, v| t.max(v.abs()))
}

/// A whole step of either side, the plan's rows and the barycentres behind it.
#[test]
fn a_step_equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        for (i, shape) in SHAPES.into_iter().enumerate() {
            for ground in GROUNDS {
                let p = pair(e, shape, ground, 10 * i as u64);
                let s = LOOSE;
                let eps = f64::from(s.eps);
                let problem = Problem::new(e, &p.cx, Some(&p.cy), s).unwrap();
                let (f, g) = (given(e, &problem.f, shape.0, 7), given(e, problem.g.as_ref().unwrap(), shape.1, 8));
                let back = p.swapped();
                for (side, host, pot, n, m) in [(Side::X, &p.host, &g, shape.0, shape.1), (Side::Y, &back, &f, shape.1, shape.0)] {
                    let n4 = n.next_multiple_of(4);
                    let t = up(e, &[n4], &vec![0.0; n4]);
                    let got = run_twice(e, &t, |q| problem.normaliser(q, side, &t));
                    let want = host.half(pot, eps);
                    let bound = p.potential_error(largest(&want) + largest(&p.costs()), m, eps);
                    close(&got[..n], &want, bound, 0.0);
                    // Entries up to 1: exp of an exponent off by the potential's error and the cost's over eps.
                    let bound = 2.0 * bound / eps + 8.0 * EPS;
                    let rows = out(e, &[n4.min(64), m.next_multiple_of(4)]);
                    let got = run_twice(e, &rows, |q| problem.plan_rows(q, side, &t, 0, &rows));
                    let want = host.plan_rows(pot, eps);
                    let width = m.next_multiple_of(4);
                    for r in 0..n.min(64) {
                        close(&got[r * width..][..m], &want[r * m..][..m], bound * 1e-3, bound);
                        assert!(got[r * width + m..][..width - m].iter().all(|v| *v == 0.0), "what is filled up weighs nothing");
                        let sum: f64 = got[r * width..][..m].iter().map(|v| f64::from(*v)).sum();
                        assert!((sum - 1.0).abs() < bound + m as f64 * EPS, "row {r} sums to {sum}");
                    }
                    let bary = out(e, &[n4, shape.2.next_multiple_of(4)]);
                    let got = run_twice(e, &bary, |q| problem.barycentres(q, side, &bary));
                    assert!(got[..n].iter().all(|v| v.is_finite()));
                }
            }
        }
    }
}

fn run(e: &Engine, p: &Problem, iterations: usize) -> [Vec<f32>; 3] {
    let all = plan(e, |b| {
        p.start(b)?;
        (0..iterations).try_for_each(|_| p.iteration(b))?;
        p.finish(b)
    });
    all.submit(e).unwrap();
    let f: Vec<f32> = e.read(&p.f).unwrap();
    let g = p.g.as_ref().map_or_else(|| f.clone(), |g| e.read(g).unwrap());
    [f, g, e.read(&p.state).unwrap()]
}

/// Solutions, held by the marginals of their plan in f64 and by the value; the same bits twice, and no bit changed by iterations after
/// convergence; a device's gradient against the twin's from the same potentials.
#[test]
fn solutions_hold() {
    let (engines, _lock) = engines();
    for e in engines {
        for (i, shape) in SHAPES.into_iter().enumerate().filter(|(_, s)| s.1 < 2000) {
            let (n, m, d) = shape;
            for ground in GROUNDS {
                let p = pair(e, shape, ground, 10 * i as u64);
                let s = if ground == Ground::Cosine { Settings { eps: 0.05, ..LOOSE } } else { LOOSE };
                let eps = f64::from(s.eps);
                let c = p.costs();
                let ab = Problem::new(e, &p.cx, Some(&p.cy), s).unwrap();
                let [f, g, state] = run(e, &ab, 150);
                assert_eq!(run(e, &ab, 150), [f.clone(), g.clone(), state.clone()], "the same bits");
                assert!(state[3] == 1.0 && state[0] < 150.0, "{shape:?} {ground:?}: {state:?}");
                assert_eq!(run(e, &ab, state[0] as usize), [f.clone(), g.clone(), state.clone()], "later iterations do nothing");
                let (f, g) = (f64s(&f[..n]), f64s(&g[..m]));
                let settings = small::Settings { tolerance: 1e-9, most: 5000, ..small::Settings::new(s.eps) };
                let pi = twin::plan(&c, [&p.host.a, &p.host.b], [&f, &g], &settings);
                let rows: f64 = pi.chunks(m).zip(&p.host.a).map(|(r, a)| (r.iter().sum::<f64>() - a).abs()).sum();
                let columns: f64 = (0..m).map(|j| (pi.chunks(m).map(|r| r[j]).sum::<f64>() - p.host.b[j]).abs()).sum();
                let noise = p.potential_error(largest(&f) + largest(&g) + largest(&c), m, eps);
                let most = f64::from(state[2]) + 4.0 * noise / eps + (n + m) as f64 * EPS;
                assert!(rows + columns <= most, "{shape:?} {ground:?}: marginals off by {rows:e} + {columns:e}, {:e} said", state[2]);
                let value: f64 = p.host.a.iter().zip(&f).chain(p.host.b.iter().zip(&g)).map(|(w, f)| w * f).sum();
                let want = twin::solve(&c, &p.host.a, Some(&p.host.b), &settings);
                // As in sinkhorn_small's tests.
                let bound = most * largest(&c) + 2.0 * noise;
                assert!((value - want.value).abs() <= bound, "{shape:?} {ground:?}: {value}, the twin {}, within {bound:e}", want.value);

                let aa = Problem::new(e, &p.cx, None, s).unwrap();
                let [own, _, state] = run(e, &aa, 100);
                assert!(state[3] == 1.0, "{shape:?} {ground:?}, with itself: {state:?}");
                let padded = [n.next_multiple_of(4), d.next_multiple_of(4)];
                let (inner, outer, dx) = (out(e, &padded), out(e, &padded), out(e, &[n, d]));
                let got = run_twice(e, &dx, |b| {
                    aa.barycentres(b, Side::X, &inner)?;
                    ab.barycentres(b, Side::X, &outer)?;
                    kernel::gradient(b, ground, &p.x, &p.a, &inner, &outer, &dx)
                });
                let want = p.host.gradient(&f64s(&own[..n]), &g, eps);
                // Entries of rows that sum to 1, each off by 4 noise / eps of itself, times coordinates up to 5 (1 for the cosine, over a
                // length of 1 at least), sums over n or m; twice, times 2 w.
                let reach = if ground == Ground::Cosine { 1.0 } else { 10.0 };
                let heaviest = largest(&p.host.a);
                close(&got, &want, heaviest * reach * 2.0 * (8.0 * noise / eps + (n + m + d) as f64 * EPS), 0.0);
            }
        }
    }
}

/// The divergence from the twins, for finite differences.
fn divergence(h: &Clouds, s: &small::Settings) -> (f64, [Vec<f64>; 2]) {
    let cost = |x: &[f64], y: &[f64]| twin::cost(h.ground == Ground::Cosine, x, y, h.d);
    let ab = twin::solve(&cost(&h.x, &h.y), &h.a, Some(&h.b), s);
    let (aa, bb) = (twin::solve(&cost(&h.x, &h.x), &h.a, None, s), twin::solve(&cost(&h.y, &h.y), &h.b, None, s));
    assert!(ab.converged && aa.converged && bb.converged);
    (ab.value - 0.5 * (aa.value + bb.value), [aa.f, ab.g])
}

#[test]
fn twin_gradient_equals_finite_differences() {
    for ground in GROUNDS {
        let (x, y) = (f64s(&random(4 * 3, 1)), f64s(&random(5 * 3, 2)));
        let h = Clouds { x, y, d: 3, a: exact(&weights(1, 4, 3)), b: exact(&weights(1, 5, 4)), ground };
        let s = small::Settings { tolerance: 1e-13, most: 10_000, ..small::Settings::new(0.3) };
        let (_, [f, g]) = divergence(&h, &s);
        for (i, d) in h.gradient(&f, &g, f64::from(s.eps)).iter().enumerate() {
            let at = |by: f64| {
                let mut moved = h.clone();
                moved.x[i] += by;
                divergence(&moved, &s).0
            };
            let want = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((d - want).abs() < 1e-7, "{ground:?}, dx[{i}]: {d}, differences say {want}");
        }
    }
}

/// Out of iterations is said; points of no weight, however far, do not pull.
#[test]
fn odd_inputs() {
    let (e, _lock) = engine();
    let p = pair(e, (70, 50, 3), Ground::SquaredEuclidean, 3);
    let hard = Settings { eps: 0.005, most: 9, ..LOOSE };
    let [_, _, state] = run(e, &Problem::new(e, &p.cx, Some(&p.cy), hard).unwrap(), 20);
    assert!(state[0] == 9.0 && state[3] == 2.0 && state[2] > 1e-4, "{state:?}");
    let [_, _, state] = run(e, &Problem::new(e, &p.cx, Some(&p.cy), Settings { most: 0, ..hard }).unwrap(), 3);
    assert!(state[0] == 0.0 && state[3] == 2.0, "{state:?}");
    let x = up(e, &[3, 1], &[0.0, 1.0, f32::NAN]);
    let (w, zero, cloud) = (up(e, &[3], &[0.5, 0.5, 0.0]), up(e, &[1], &[0.0]), Cloud::new(e, Ground::SquaredEuclidean, 3, 1).unwrap());
    let norms = run_twice(e, &cloud.norms, |b| kernel::points(b, &x, &w, Some([&zero, &zero]), &cloud));
    assert!(norms[..2] == [0.0, 1.0] && norms[2].is_nan() && norms[3] == 0.0, "the norm tells: {norms:?}");
    assert!(e.read::<f32>(&cloud.log_weights).unwrap()[2..].iter().all(|w| *w == -1e30));
}

/// More than 65,535 groups, and more rows than one dispatch takes: against one point f is the cost, against many the twin's for some rows.
#[test]
fn many_groups_and_many_dispatches() {
    let (engines, _lock) = engines();
    for (e, n) in engines.into_iter().zip([65_536 * 16 + 1, 4_001]) {
        let zero = up(e, &[1], &[0.0]);
        let clouds = |n: usize, seed: u64| {
            let (x, w) = (random(n, seed), vec![1.0 / n as f32; n]);
            let cloud = Cloud::new(e, Ground::SquaredEuclidean, n, 1).unwrap();
            let (tx, tw) = (up(e, &[n, 1], &x), up(e, &[n], &w));
            plan(e, |b| kernel::points(b, &tx, &tw, Some([&zero, &zero]), &cloud)).submit(e).unwrap();
            (f64s(&x), cloud)
        };
        let (x, cx) = clouds(n, 1);
        let (y, cy) = clouds(1, 2);
        let problem = Problem::new(e, &cx, Some(&cy), LOOSE).unwrap();
        let t = out(e, &[n.next_multiple_of(4)]);
        let got = run_twice(e, &t, |b| problem.normaliser(b, Side::X, &t));
        close(&got[..n], &x.iter().map(|x| (x - y[0]) * (x - y[0])).collect::<Vec<_>>(), 64.0 * EPS, 0.0);
    }
    let (e, (n, m)) = (engines[0], (1200, 1_500_000));
    let zero = up(e, &[1], &[0.0]);
    let (x, y) = (random(n, 1), random(m, 2));
    let (cx, cy) = (Cloud::new(e, Ground::SquaredEuclidean, n, 1).unwrap(), Cloud::new(e, Ground::SquaredEuclidean, m, 1).unwrap());
    for (v, cloud) in [(&x, &cx), (&y, &cy)] {
        let (tx, tw) = (up(e, &[v.len(), 1], v), up(e, &[v.len()], &vec![1.0 / v.len() as f32; v.len()]));
        plan(e, |b| kernel::points(b, &tx, &tw, Some([&zero, &zero]), cloud)).submit(e).unwrap();
    }
    let problem = Problem::new(e, &cx, Some(&cy), LOOSE).unwrap();
    let t = out(e, &[n]);
    let whole = plan(e, |b| problem.normaliser(b, Side::X, &t));
    assert!(whole.len() > 2, "{} dispatches", whole.len());
    whole.submit(e).unwrap();
    let got: Vec<f32> = e.read(&t).unwrap();
    let some = [0, 1023, 1024, n - 1];
    let want = twin::half(4, &vec![1.0 / m as f64; m], &vec![0.0; m], 0.5, |i, j| (f64::from(x[some[i]]) - f64::from(y[j])).powi(2));
    // A lane sums at most m / 8 positive terms in order.
    close(&some.map(|i| got[i]), &want, 0.5 * (m as f64 / 8.0) * EPS, 0.0);
}

#[test]
fn refuses() {
    let (e, _lock) = engine();
    let sq = |n, d| Cloud::new(e, Ground::SquaredEuclidean, n, d);
    assert!(sq(0, 3).unwrap_err().to_string().contains("0 points"));
    let err = Problem::new(e, &sq(3, 2).unwrap(), Some(&sq(3, 3).unwrap()), LOOSE).unwrap_err().to_string();
    assert!(err.contains("2 dimensions"), "{err}");
    let err = Problem::new(e, &sq(3, 2).unwrap(), None, Settings { eps: f32::NAN, ..LOOSE }).unwrap_err().to_string();
    assert!(err.contains("eps must be above 0"), "{err}");
    let cloud = sq(3, 2).unwrap();
    let err = kernel::points(&mut PlanBuilder::new(e), &out(e, &[3, 2]), &out(e, &[3]), None, &cloud).unwrap_err().to_string();
    assert!(err.contains("means"), "{err}");
}

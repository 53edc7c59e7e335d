//! Sinkhorn divergence between two weighted clouds of points.

use super::Cost;
use crate::gpu::{DType, Engine, PlanBuilder, Tensor};
use crate::kernels::matmul::{Op, matmul};
use crate::kernels::sinkhorn_online::{self as online, Cloud, Problem, STATE, Side};
use crate::kernels::sinkhorn_small::{self as small, Other, Problems};
use crate::{Error, Result};
use serde::Serialize;

/// Clouds of at most this many points are solved whole in one workgroup.
const SMALL: usize = 256;

/// Entropic optimal transport: min <pi, C> + eps KL(pi | a b') over plans pi with marginals a and b.
///
/// ```no_run
/// # use echogrid::gpu::{AdapterChoice, Engine};
/// # use echogrid::align::{Cost, Sinkhorn, Weights};
/// # fn main() -> echogrid::Result<()> {
/// # let engine = pollster::block_on(Engine::new(&AdapterChoice::Best))?;
/// let x = engine.upload_f32("x", &[3, 2], &[0.0, 0.0, 1.0, 0.0, 0.0, 1.0])?;
/// let y = engine.upload_f32("y", &[2, 2], &[3.0, 3.0, 4.0, 3.0])?;
/// let solution = Sinkhorn::new(Cost::SquaredEuclidean, 0.1).divergence(&engine, &x, &y, Weights::default())?;
/// println!("{:?}", solution.transport);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sinkhorn {
    /// What is paid to carry x to y.
    pub cost: Cost,
    /// Weight of the entropy in units of the cost (squared lengths, or 1 - cosine). A small share of the mean cost
    /// ([`mean_cost`]) is near exact transport; the smaller, the more iterations, and below about 1e-5 of the greatest cost f32 ends.
    pub eps: f64,
    /// eps starts at an upper bound of the cost and is multiplied by the square of this every iteration: a factor of lengths.
    pub scaling: f64,
    /// L1 error of the plan's marginals that ends the iterations. Rounding leaves about 1e-7 times the cost over eps.
    pub tolerance: f64,
    /// Most iterations of each of the three problems.
    pub max_iterations: u32,
}

/// Weights of the points; none for equal ones. They are scaled to sum 1; 0 is allowed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weights<'a> {
    /// Of x.
    pub a: Option<&'a [f32]>,
    /// Of y.
    pub b: Option<&'a [f32]>,
}

/// What transport between two clouds costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Transport {
    /// OT(a, b) - OT(a, a) / 2 - OT(b, b) / 2 of the entropic costs: 0 for equal clouds, never negative. None where the cost alone was asked.
    pub divergence: Option<f64>,
    /// OT(a, b) = <pi, C> + eps KL(pi | a b') at the optimum, from the dual <a, f> + <b, g>; not below the exact cost's minimum.
    pub cost: f64,
    /// Greatest L1 error of the plans' marginals.
    pub marginal_error: f64,
    /// Most iterations of a problem, the falling eps included.
    pub iterations: u32,
    /// Whether every problem reached the tolerance and the divergence is not below zero by more than rounding.
    pub converged: bool,
}

/// The answer and the potentials, which are the gradients of the costs in the weights.
#[derive(Debug, Clone)]
pub struct Solution {
    /// What it costs.
    pub transport: Transport,
    /// f \[N\] of x against y, and g \[M\].
    pub potentials: [Vec<f32>; 2],
    /// f \[N\] of x with itself, g \[M\] of y with itself; none where the cost alone was asked.
    pub own: Option<[Vec<f32>; 2]>,
}

/// A divergence with its gradients.
#[derive(Debug, Clone)]
pub struct Gradients {
    /// What it costs.
    pub transport: Transport,
    /// Gradient in x [N, D].
    pub dx: Tensor,
    /// Gradient in y [M, D].
    pub dy: Tensor,
}

/// One problem solved.
struct Solved {
    f: Vec<f32>,
    g: Vec<f32>,
    error: f32,
    iterations: u32,
    converged: bool,
}

/// What is known of a call before it is solved.
struct Call<'a> {
    x: &'a Tensor,
    y: &'a Tensor,
    /// Normalised weights, on the host and on the device.
    a: (Vec<f64>, Tensor),
    b: (Vec<f64>, Tensor),
}

/// Weights as they are used.
fn normalised(engine: &Engine, name: &str, n: usize, w: Option<&[f32]>) -> Result<(Vec<f64>, Tensor)> {
    let w: Vec<f64> = match w {
        None => vec![1.0 / n as f64; n],
        Some(w) if w.len() != n => return Err(Error::invalid(format!("{} weights for the {n} points of `{name}`", w.len()))),
        Some(w) => {
            let sum: f64 = w.iter().map(|v| f64::from(*v)).sum();
            if !(sum > 0.0 && sum.is_finite()) || w.iter().any(|v| *v < 0.0) {
                return Err(Error::invalid(format!("the weights of `{name}` must be 0 or more, finite, and not all 0")));
            }
            w.iter().map(|v| f64::from(*v) / sum).collect()
        }
    };
    let device = engine.upload_f32("weights", &[n], &w.iter().map(|v| *v as f32).collect::<Vec<_>>())?;
    Ok((w, device))
}

fn dot(w: &[f64], f: &[f32]) -> f64 {
    w.iter().zip(f).map(|(w, f)| w * f64::from(*f)).sum()
}

impl Sinkhorn {
    /// eps in units of the cost, falling by half a length an iteration; marginal error 1e-4; at most 1,000 iterations.
    pub fn new(cost: Cost, eps: f64) -> Self {
        Self { cost, eps, scaling: 0.5, tolerance: 1e-4, max_iterations: 1000 }
    }

    /// The debiased divergence between x [N, D] and y [M, D]. Problems of at most 256 x 256 are solved whole in one workgroup, larger
    /// ones without ever storing their costs. Waits for the device.
    ///
    /// # Errors
    /// Shapes, weights or settings that make no sense; points that are not finite; limits of the device.
    pub fn divergence(&self, engine: &Engine, x: &Tensor, y: &Tensor, weights: Weights<'_>) -> Result<Solution> {
        self.solve(engine, x, y, weights, true)
    }

    /// OT(a, b) alone: a third of the work or more is spared.
    ///
    /// # Errors
    /// As [`Sinkhorn::divergence`].
    pub fn cost(&self, engine: &Engine, x: &Tensor, y: &Tensor, weights: Weights<'_>) -> Result<Solution> {
        self.solve(engine, x, y, weights, false)
    }

    /// The divergence and its gradients in x and y by the envelope theorem: potentials held, one more whole step.
    ///
    /// # Errors
    /// As [`Sinkhorn::divergence`].
    pub fn gradients(&self, engine: &Engine, x: &Tensor, y: &Tensor, weights: Weights<'_>) -> Result<Gradients> {
        let call = self.call(engine, x, y, weights)?;
        let (problems, greatest) = self.online(engine, &call, true)?;
        let transport = self.told(&call, &drive(engine, &problems)?, greatest)?.transport;
        let [xy, xx, yy] = problems.as_slice() else { unreachable!("three problems were asked for") };
        let mut plan = PlanBuilder::new(engine);
        let mut side = |x: &Tensor, w: &Tensor, own: &Problem, side: Side| -> Result<Tensor> {
            let padded = [x.shape()[0].next_multiple_of(4), x.shape()[1].next_multiple_of(4)];
            let bary = || engine.tensor("barycentres", &padded, DType::F32);
            let (inner, outer, dx) = (bary()?, bary()?, engine.tensor("gradient", x.shape(), DType::F32)?);
            own.barycentres(&mut plan, Side::X, &inner)?;
            xy.barycentres(&mut plan, side, &outer)?;
            online::gradient(&mut plan, self.cost, x, w, &inner, &outer, &dx)?;
            Ok(dx)
        };
        let (dx, dy) = (side(x, &call.a.1, xx, Side::X)?, side(y, &call.b.1, yy, Side::Y)?);
        plan.finish().submit(engine)?;
        Ok(Gradients { transport, dx, dy })
    }

    fn call<'a>(&self, engine: &Engine, x: &'a Tensor, y: &'a Tensor, weights: Weights<'_>) -> Result<Call<'a>> {
        let matrix = |name: &str, t: &Tensor| match (t.shape(), t.dtype()) {
            ([n, d], DType::F32) if *n > 0 && *d > 0 => Ok((*n, *d)),
            (shape, dtype) => {
                Err(Error::invalid(format!("`{name}` must be F32 [points, dimensions] and not empty, not {dtype:?} {shape:?}")))
            }
        };
        let ((n, d), (m, e)) = (matrix("x", x)?, matrix("y", y)?);
        if d != e {
            return Err(Error::invalid(format!("`x` has points of {d} dimensions, `y` of {e}")));
        }
        if !(self.eps > 0.0 && (self.eps as f32).is_normal()) {
            return Err(Error::invalid(format!("eps must be above 0 and finite, not {}", self.eps)));
        }
        if !(self.scaling > 0.0 && self.scaling < 1.0 && self.tolerance >= 0.0) {
            let reason = format!("scaling {} must lie between 0 and 1, tolerance {} not below 0", self.scaling, self.tolerance);
            return Err(Error::invalid(reason));
        }
        Ok(Call { x, y, a: normalised(engine, "x", n, weights.a)?, b: normalised(engine, "y", m, weights.b)? })
    }

    fn solve(&self, engine: &Engine, x: &Tensor, y: &Tensor, weights: Weights<'_>, debias: bool) -> Result<Solution> {
        let call = self.call(engine, x, y, weights)?;
        let (solved, greatest) = if x.shape()[0].max(y.shape()[0]) <= SMALL {
            self.small(engine, &call, debias)?
        } else {
            let (problems, greatest) = self.online(engine, &call, debias)?;
            (drive(engine, &problems)?, greatest)
        };
        self.told(&call, &solved, greatest)
    }

    /// One workgroup a problem, all in one submission; and the greatest cost.
    fn small(&self, engine: &Engine, call: &Call<'_>, debias: bool) -> Result<(Vec<Solved>, f64)> {
        let settings = small::Settings {
            scaling: (self.scaling * self.scaling) as f32,
            tolerance: self.tolerance as f32,
            most: self.max_iterations,
            ..small::Settings::new(self.eps as f32)
        };
        let tensor = |shape: &[usize]| engine.tensor("transport", shape, DType::F32);
        let mut plan = PlanBuilder::new(engine);
        let mut all = Vec::new();
        let pairs = [(call.x, &call.a.1, Some((call.y, &call.b.1))), (call.x, &call.a.1, None), (call.y, &call.b.1, None)];
        for (x, a, other) in pairs.into_iter().take(if debias { 3 } else { 1 }) {
            let as_one = |t: &Tensor| t.reshape(&[&[1], t.shape()].concat());
            let (y, n) = (other.map_or(x, |o| o.0), x.shape()[0]);
            let m = y.shape()[0];
            let (c, f, g, stats) = (tensor(&[1, n, m])?, tensor(&[1, n])?, tensor(&[1, m])?, tensor(&[1, small::STATS])?);
            let (a, b) = (as_one(a)?, other.map(|o| as_one(o.1)).transpose()?);
            small::cost(&mut plan, self.cost == Cost::Cosine, &as_one(x)?, &as_one(y)?, &c)?;
            let problem = Problems { c: &c, a: &a, f: &f, other: b.as_ref().map(|b| Other { b, g: &g }) };
            small::solve(&mut plan, &problem, &settings, &stats)?;
            let symmetric = other.is_none();
            all.push((f, g, stats, c, symmetric));
        }
        plan.finish().submit(engine)?;
        let costs: Vec<f32> = engine.read(&all[0].3)?;
        let greatest = costs.iter().fold(0.0, |m: f64, c| m.max(f64::from(*c)));
        let solved = all.iter().map(|(f, g, stats, _, symmetric)| {
            let (f, stats): (Vec<f32>, Vec<f32>) = (engine.read(f)?, engine.read(stats)?);
            let g = if *symmetric { f.clone() } else { engine.read(g)? };
            Ok(Solved { f, g, error: stats[1], iterations: stats[2] as u32, converged: stats[3] == 1.0 })
        });
        Ok((solved.collect::<Result<_>>()?, greatest))
    }

    /// The problems (x with y; x and y with themselves) made ready, and an upper bound of the cost.
    fn online(&self, engine: &Engine, call: &Call<'_>, debias: bool) -> Result<(Vec<Problem>, f64)> {
        let settings = online::Settings {
            eps: self.eps as f32,
            scaling: (self.scaling * self.scaling) as f32,
            tolerance: self.tolerance as f32,
            most: self.max_iterations,
        };
        let mut plan = PlanBuilder::new(engine);
        let d = call.x.shape()[1];
        let mut means = Vec::new();
        for x in [call.x, call.y] {
            // Some thousand points tell where a cloud lies; the exact mean is of no use.
            let n = x.shape()[0].min(16_384);
            let some = Tensor::from_buffer(x.buffer().clone(), x.offset, &[n, d], DType::F32)?;
            let equal = engine.upload_f32("mean of", &[1, n], &vec![1.0 / n as f32; n])?;
            let mean = engine.tensor("mean", &[1, d], DType::F32)?;
            matmul(&mut plan, &equal, Op::Plain, &some, Op::Plain, &mean)?;
            means.push(mean.reshape(&[d])?);
        }
        let (x, y) = (Cloud::new(engine, self.cost, call.x.shape()[0], d)?, Cloud::new(engine, self.cost, call.y.shape()[0], d)?);
        online::points(&mut plan, call.x, &call.a.1, Some([&means[0], &means[1]]), &x)?;
        online::points(&mut plan, call.y, &call.b.1, Some([&means[0], &means[1]]), &y)?;
        let mut problems = vec![Problem::new(engine, &x, Some(&y), settings)?];
        if debias {
            problems.push(Problem::new(engine, &x, None, settings)?);
            problems.push(Problem::new(engine, &y, None, settings)?);
        }
        for p in &problems {
            p.start(&mut plan)?;
        }
        plan.finish().submit(engine)?;
        let mut reach = 0.0;
        for cloud in [&x, &y] {
            let norms: Vec<f32> = engine.read(&cloud.norms)?;
            if norms.iter().any(|v| !v.is_finite()) {
                return Err(not_finite());
            }
            reach += norms.into_iter().fold(0.0f64, |m, v| m.max(v.into())).sqrt();
        }
        Ok((problems, reach * reach))
    }

    fn told(&self, call: &Call<'_>, solved: &[Solved], greatest: f64) -> Result<Solution> {
        let (a, b) = (&call.a.0, &call.b.0);
        let cost = dot(a, &solved[0].f) + dot(b, &solved[0].g);
        let own = match solved {
            [_, xx, yy] => Some([xx.f.clone(), yy.f.clone()]),
            _ => None,
        };
        let divergence = own.as_ref().map(|[f, g]| cost - dot(a, f) - dot(b, g));
        let marginal_error = solved.iter().map(|s| f64::from(s.error)).fold(0.0, |m: f64, e| if e > m || e.is_nan() { e } else { m });
        if !cost.is_finite() || !divergence.is_none_or(f64::is_finite) || !marginal_error.is_finite() {
            return Err(not_finite());
        }
        let mut converged = solved.iter().all(|s| s.converged);
        let iterations = solved.iter().map(|s| s.iterations).max().unwrap_or(0);
        if !converged {
            tracing::warn!(
                "optimal transport did not converge in {iterations} iterations: marginal error {marginal_error:.1e}, {:.1e} wanted; allow more \
                 iterations, or a larger eps or tolerance",
                self.tolerance
            );
        }
        // Costs are sums of D products and potentials a few operations on them, all of the size of the greatest cost.
        let rounding = (16.0 + (call.x.shape()[1] as f64).sqrt()) * f64::from(f32::EPSILON) * greatest;
        let divergence = divergence.map(|s| {
            if s < -rounding {
                tracing::warn!("the divergence came out as {s:.3e}, below zero by more than rounding ({rounding:.1e}): the problems did not converge alike");
                converged = false;
                s
            } else {
                s.max(0.0)
            }
        });
        let transport = Transport { divergence, cost, marginal_error, iterations, converged };
        Ok(Solution { transport, potentials: [solved[0].f.clone(), solved[0].g.clone()], own })
    }
}

fn not_finite() -> Error {
    Error::invalid("the points hold values that are not finite, or so large that their squares overflow 32-bit floats: rescale them")
}

/// Iterates until every problem says that it is done.
fn drive(engine: &Engine, problems: &[Problem]) -> Result<Vec<Solved>> {
    // Work between two looks at the states: a look costs a submission and a readback.
    let between = if engine.caps().software { 5e9 } else { 1e11 };
    let mut open = Vec::new();
    for p in problems {
        let mut plan = PlanBuilder::new(engine);
        for _ in 0..(between / p.flops()).clamp(1.0, 16.0) as usize {
            p.iteration(&mut plan)?;
        }
        open.push((p, plan.finish()));
    }
    while !open.is_empty() {
        for (_, plan) in &open {
            plan.submit(engine)?;
        }
        let looks = open.iter().map(|(p, _)| engine.start_read(&p.state)).collect::<Result<Vec<_>, _>>()?;
        let mut done = Vec::with_capacity(looks.len());
        for look in looks {
            let state: Vec<f32> = look.finish(engine)?;
            tracing::debug!("iteration {}: eps {:.3e}, marginal error {:.3e}, step {:.2}", state[0], state[1], state[2], state[4]);
            done.push(state[3] != 0.0);
        }
        let mut done = done.into_iter();
        open.retain(|_| done.next() == Some(false));
    }
    let mut plan = PlanBuilder::new(engine);
    for p in problems {
        p.finish(&mut plan)?;
    }
    plan.finish().submit(engine)?;
    let solved = problems.iter().map(|p| {
        let (state, f): (Vec<f32>, Vec<f32>) = (engine.read(&p.state)?, engine.read(&p.f)?);
        debug_assert_eq!(state.len(), STATE);
        let g = p.g.as_ref().map_or_else(|| Ok(f.clone()), |g| engine.read(g))?;
        Ok(Solved { f, g, error: state[2], iterations: state[0] as u32, converged: state[3] == 1.0 })
    });
    solved.collect()
}

/// The mean cost between points x and y of `d` dimensions (row-major, equal weights): what a sensible eps is a share of.
pub fn mean_cost(cost: Cost, x: &[f32], y: &[f32], d: usize) -> f64 {
    let seen = |x: &[f32]| -> Vec<f64> {
        let norm = x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let scale = if cost == Cost::SquaredEuclidean || norm == 0.0 { 1.0 } else { 1.0 / norm };
        x.iter().map(|v| f64::from(*v) * scale).collect()
    };
    let mean = |x: &[f32]| {
        let mut mean = vec![0.0; d];
        let n = (x.len() / d) as f64;
        x.chunks(d).for_each(|x| seen(x).iter().zip(&mut mean).for_each(|(v, m)| *m += v / n));
        mean
    };
    let (mx, my) = (mean(x), mean(y));
    let spread = |x: &[f32], m: &[f64]| {
        let n = (x.len() / d) as f64;
        x.chunks(d).flat_map(|x| x.iter().zip(m).map(|(v, m)| (f64::from(*v) - m).powi(2))).sum::<f64>() / n
    };
    match cost {
        Cost::SquaredEuclidean => spread(x, &mx) + spread(y, &my) + mx.iter().zip(&my).map(|(a, b)| (a - b).powi(2)).sum::<f64>(),
        Cost::Cosine => 1.0 - mx.iter().zip(&my).map(|(a, b)| a * b).sum::<f64>(),
    }
}

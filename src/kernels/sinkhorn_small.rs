//! Entropic optimal transport of many small problems, one workgroup each: host side of `shaders/sinkhorn_small.wgsl`.

use super::{expect_shape, f32s};
use crate::gpu::{Binding, Cost, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("sinkhorn_small");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Most rows and most columns of a problem.
pub const MOST: usize = 1024;

/// What a problem is solved with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Weight of the entropy, in units of the cost; above 0.
    pub eps: f32,
    /// Factor of eps from one iteration to the next, from the greatest cost down to `eps`; above 0 and below 1.
    pub scaling: f32,
    /// The marginal error (L1) that ends the iterations.
    pub tolerance: f32,
    /// Most iterations.
    pub most: u32,
    /// The cost is `base + slope * c`.
    pub base: f32,
    /// See `base`.
    pub slope: f32,
}

impl Settings {
    /// Costs as given, eps falling by a quarter, marginal error 1e-4, at most 1,000 iterations.
    pub fn new(eps: f32) -> Self {
        Self { eps, scaling: 0.25, tolerance: 1e-4, most: 1000, base: 0.0, slope: 1.0 }
    }
}

/// The other side of a problem.
#[derive(Debug, Clone, Copy)]
pub struct Other<'a> {
    /// Weights [P, M], each row summing to 1.
    pub b: &'a Tensor,
    /// Potentials [P, M].
    pub g: &'a Tensor,
}

/// Problems of one shape. Without `other` they are symmetric: M = N, the same weights and potentials on both sides, c symmetric.
#[derive(Debug, Clone, Copy)]
pub struct Problems<'a> {
    /// Costs [P, N, M].
    pub c: &'a Tensor,
    /// Weights [P, N], each row summing to 1; 0 is allowed.
    pub a: &'a Tensor,
    /// Potentials [P, N].
    pub f: &'a Tensor,
    /// The other side.
    pub other: Option<Other<'a>>,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable, Default)]
struct Params {
    problems: u32,
    n: u32,
    m: u32,
    d: u32,
    most: u32,
    eps: f32,
    scaling: f32,
    tolerance: f32,
    base: f32,
    slope: f32,
    factor: f32,
    first: u32,
    slice: u32,
    last: u32,
}

/// Words of a problem's stats: value, marginal error, iterations, 1 where it converged, and what steers the step.
pub const STATS: usize = 8;

/// Turns of loops an invocation's iterations take in a dispatch, at most about: llvmpipe ends all loops at 65,535 together.
const TURNS: usize = 36_000;

/// Lanes of a group and rows a lane takes at a time: on a CPU one subgroup and loads shared by several rows.
const SHARES: [(i64, i64); 2] = [(8, 4), (64, 1)];

fn solve_variant(symmetric: bool, (lanes, rows): (i64, i64)) -> Variant {
    Variant::new().int("KIND", 0).flag("SELF", symmetric).int("LANES", lanes).int("ROWS", rows)
}

fn cost_variant(cosine: bool) -> Variant {
    Variant::new().int("KIND", 1).flag("COSINE", cosine)
}

fn plan_variant(symmetric: bool) -> Variant {
    Variant::new().int("KIND", 2).flag("SELF", symmetric)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let solve = SHARES.into_iter().flat_map(|s| [false, true].map(|symmetric| solve_variant(symmetric, s)));
    let others = [false, true].map(cost_variant).into_iter().chain([false, true].map(plan_variant));
    solve.chain(others).chain([Variant::new().int("KIND", 3)]).collect()
}

fn params(op: &str, p: &Problems<'_>, s: &Settings) -> Result<Params> {
    f32s(op, &[p.c])?;
    let &[problems, n, m] = p.c.shape() else {
        return Err(Error::shape(op, format!("`c` is {:?}, expected [P, N, M]", p.c.shape())));
    };
    if p.c.is_empty() || n > MOST || m > MOST {
        return Err(Error::shape(
            op,
            format!("`c` is {:?}: extents must be 1 to {MOST}; larger problems are sinkhorn_online's", p.c.shape()),
        ));
    }
    expect_shape(op, "a", p.a, &[problems, n])?;
    expect_shape(op, "f", p.f, &[problems, n])?;
    match &p.other {
        Some(o) => {
            expect_shape(op, "b", o.b, &[problems, m])?;
            expect_shape(op, "g", o.g, &[problems, m])?;
        }
        None if n != m => return Err(Error::shape(op, format!("a symmetric problem of {n} x {m}"))),
        None => {}
    }
    s.check(op)?;
    let [problems, n, m] = [problems, n, m].map(|v| v as u32);
    let Settings { eps, scaling, tolerance, most, base, slope } = *s;
    Ok(Params { problems, n, m, most, eps, scaling, tolerance, base, slope, factor: 1.0, ..Params::default() })
}

impl Settings {
    pub(crate) fn check(&self, op: &str) -> Result<()> {
        if !(self.eps > 0.0 && self.eps.is_finite()) {
            return Err(Error::shape(op, format!("eps must be above 0 and finite, not {}", self.eps)));
        }
        if !(self.scaling > 0.0 && self.scaling < 1.0) {
            return Err(Error::shape(op, format!("scaling must lie between 0 and 1, not {}", self.scaling)));
        }
        if !(self.tolerance >= 0.0 && self.base.is_finite() && self.slope.is_finite()) {
            return Err(Error::shape(op, format!("tolerance {}, base {}, slope {}", self.tolerance, self.base, self.slope)));
        }
        Ok(())
    }
}

/// Appends c [P, N, M] from points x [P, N, D] and y [P, M, D]: |x - y|^2, or 1 - cosine (1 where a point is 0).
///
/// # Errors
/// Shapes differ from these.
pub fn cost(plan: &mut PlanBuilder<'_>, cosine: bool, x: &Tensor, y: &Tensor, c: &Tensor) -> Result<()> {
    let op = "sinkhorn cost";
    f32s(op, &[x, y])?;
    let (&[problems, n, d], &[q, m, e]) = (x.shape(), y.shape()) else {
        return Err(Error::shape(op, format!("x {:?}, y {:?}; expected [P, N, D] and [P, M, D]", x.shape(), y.shape())));
    };
    if problems != q || d != e || x.is_empty() || y.is_empty() {
        return Err(Error::shape(op, format!("x {:?} against y {:?}", x.shape(), y.shape())));
    }
    expect_shape(op, "c", c, &[problems, n, m])?;
    let params = Params { problems: problems as u32, n: n as u32, m: m as u32, d: d as u32, ..Params::default() };
    let flops = if cosine { 6.0 } else { 3.0 };
    let cost = Cost { flops: flops * c.len() as f64 * d as f64, bytes: (x.bytes() + y.bytes() + c.bytes()) as f64 };
    plan.dispatch(op, &SHADER, &cost_variant(cosine), &[x.into(), y.into(), c.into()], &params, Groups::for_items(c.len(), 64), cost)
}

/// Appends the solution: potentials, and stats [P, 8] = <a, f> + <b, g>, marginal error, iterations, 1 where it converged (and four
/// words of its own).
///
/// The value is that of the dual, <pi, C> + eps KL(pi | a b') at the optimum. The plan's rows sum to a within the marginal error (L1).
///
/// # Errors
/// Shapes other than said, extents over [`MOST`], settings out of range.
pub fn solve(plan: &mut PlanBuilder<'_>, p: &Problems<'_>, settings: &Settings, stats: &Tensor) -> Result<()> {
    let op = "sinkhorn";
    let params = params(op, p, settings)?;
    expect_shape(op, "stats", stats, &[params.problems as usize, STATS])?;
    let share = if plan.engine().caps().subgroup_is(8) || plan.engine().caps().software { SHARES[0] } else { SHARES[1] };
    let variant = solve_variant(p.other.is_none(), share);
    let (lanes, rows) = (share.0 as usize, share.1 as usize);
    let half = |own: usize, other: usize| other.div_ceil(lanes) + own.div_ceil(lanes * rows) * (2 + other.div_ceil(4)) + 2;
    let (n, m) = (params.n as usize, params.m as usize);
    let turns = half(n, m) + if p.other.is_some() { half(m, n) } else { 0 };
    let slice = (TURNS / turns).max(1) as u32;
    let mut bindings: Vec<Binding<'_>> = vec![p.c.into(), p.a.into()];
    bindings.extend(p.other.map(|o| Binding::from(o.b)));
    bindings.push(p.f.into());
    bindings.extend(p.other.map(|o| Binding::from(o.g)));
    bindings.push(stats.into());
    let dispatches = params.most.div_ceil(slice).max(1);
    for i in 0..dispatches {
        let params = Params { first: u32::from(i == 0), slice, last: u32::from(i + 1 == dispatches), ..params };
        // How many iterations there will be is not known; about 16 operations an element and half-step.
        let cost = Cost { flops: 32.0 * f64::from(slice.min(32)) * p.c.len() as f64, bytes: p.c.bytes() as f64 };
        plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::Linear(params.problems.into()), cost)?;
    }
    Ok(())
}

/// Appends pi [P, N, M] = factor * dy \[1\] * a_i b_j exp((f_i + g_j - C_ij) / eps): the transport plan, and so the gradient of
/// each value in its costs.
///
/// # Errors
/// As [`solve`].
pub fn transport_plan(
    plan: &mut PlanBuilder<'_>,
    p: &Problems<'_>,
    settings: &Settings,
    factor: f32,
    dy: &Tensor,
    pi: &Tensor,
) -> Result<()> {
    let op = "sinkhorn plan";
    let params = Params { factor, ..params(op, p, settings)? };
    expect_shape(op, "dy", dy, &[1])?;
    expect_shape(op, "pi", pi, p.c.shape())?;
    let variant = plan_variant(p.other.is_none());
    let (groups, cost) = (Groups::for_items(pi.len(), 64), Cost::bytes(p.c.bytes() + pi.bytes()));
    match &p.other {
        Some(o) => {
            let bindings = [p.c.into(), p.a.into(), o.b.into(), p.f.into(), o.g.into(), dy.into(), pi.into()];
            plan.dispatch(op, &SHADER, &variant, &bindings, &params, groups, cost)
        }
        None => {
            let bindings = [p.c.into(), p.a.into(), p.f.into(), dy.into(), pi.into()];
            plan.dispatch(op, &SHADER, &variant, &bindings, &params, groups, cost)
        }
    }
}

/// Appends the debiased divergences y \[P\] = ab - aa / 2 - bb / 2 from the stats [P, 8] of [`solve`] of three kinds of problems, and
/// stats [P, 4] = y, greatest marginal error, most iterations, 1 where all three converged.
///
/// # Errors
/// Shapes other than said.
pub fn divergence(plan: &mut PlanBuilder<'_>, [ab, aa, bb]: [&Tensor; 3], stats: &Tensor, y: &Tensor) -> Result<()> {
    let op = "sinkhorn debias";
    let n = y.len();
    expect_shape(op, "y", y, &[n])?;
    for (name, t, words) in [("ab", ab, STATS), ("aa", aa, STATS), ("bb", bb, STATS), ("stats", stats, 4)] {
        expect_shape(op, name, t, &[n, words])?;
    }
    let params = Params { problems: n as u32, ..Params::default() };
    let bindings = [ab.into(), aa.into(), bb.into(), stats.into(), y.into()];
    plan.dispatch(op, &SHADER, &Variant::new().int("KIND", 3), &bindings, &params, Groups::for_items(n, 64), Cost::bytes(116 * n as u64))
}

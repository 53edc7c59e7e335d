//! Entropic optimal transport between clouds of any size, costs never stored: host side of `shaders/sinkhorn_online.wgsl`.
//!
//! ```text
//! Cloud::new, points        once for each cloud
//! Problem::new, start       once for each pair, or for a cloud with itself
//! iteration                 as often as wanted: those after convergence leave at once; the host may look at `state` meanwhile
//! finish                    once: potentials taken whole, the marginal error measured
//! ```

use super::tiling::{Subgroups, Tiling};
use super::{LANES, expect, expect_shape, lanes, matmul, matrix_f32};
use crate::gpu::{Binding, Cost, DType, Engine, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("sinkhorn_online");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Elements of a problem's state: iterations, eps, marginal error, 0 under way, 1 converged or 2 out of iterations, and what steers
/// the step.
pub const STATE: usize = 8;

/// Operations of a dispatch, at most about: a driver's time-out must not strike.
const DISPATCH_FLOPS: f64 = 2.5e10;

/// Turns of loops an invocation takes in a dispatch, at most: llvmpipe ends all loops at 65,535 together, and silently.
const TURNS: usize = 50_000;

/// Elements of the scratch that holds rows of a plan, at most about.
const ROWS_SCRATCH: usize = 1 << 22;

/// What is paid to carry x to y.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// |x - y|^2.
    SquaredEuclidean,
    /// 1 - cosine; 1 where a point is 0.
    Cosine,
}

/// What a problem is solved with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Weight of the entropy, in units of the cost; above 0.
    pub eps: f32,
    /// Factor of eps from one iteration to the next, from an upper bound of the cost down to `eps`; above 0 and below 1.
    pub scaling: f32,
    /// The marginal error (L1) that ends the iterations.
    pub tolerance: f32,
    /// Most iterations.
    pub most: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable, Default)]
struct Params {
    n: u32,
    m: u32,
    d: u32,
    row0: u32,
    rows: u32,
    chunks: u32,
    span: u32,
    most: u32,
    last: u32,
    eps: f32,
    scaling: f32,
    tolerance: f32,
    cross: f32,
    step: f32,
}

fn laned(engine: &Engine) -> bool {
    engine.caps().software && engine.caps().subgroup_is(8)
}

/// Rows a group of the laned variant takes.
const ROWS: usize = 16;
/// Rows and columns of a tile of the other one.
const TILE: usize = 64;

fn points_variant(cosine: bool, laned: bool) -> Variant {
    Variant::new().int("KIND", 0).flag("COSINE", cosine).flag("LANED", laned)
}

fn partial_variant(laned: bool) -> Variant {
    let tiling = if laned { Tiling::Lanes { rows: ROWS, columns: 1 } } else { Tiling::PLAIN };
    tiling.constants(Variant::new().int("KIND", 2).flag("LANED", laned).flag("HALF", false), Subgroups { lanes: 8, side: 0 })
}

fn state_variant(kind: i64, symmetric: bool, lanes: i64) -> Variant {
    Variant::new().int("KIND", kind).flag("SELF", symmetric).int("LANES", lanes)
}

fn gradient_variant(cosine: bool) -> Variant {
    Variant::new().int("KIND", 6).flag("COSINE", cosine)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let mut all: Vec<Variant> = [false, true].into_iter().flat_map(|c| [points_variant(c, false), points_variant(c, true)]).collect();
    all.extend([partial_variant(false), partial_variant(true), Variant::new().int("KIND", 5)]);
    for l in LANES {
        all.push(state_variant(3, false, l));
        all.extend([1, 4].into_iter().flat_map(|kind| [false, true].map(|s| state_variant(kind, s, l))));
    }
    all.extend([false, true].map(gradient_variant));
    all
}

/// Points made ready: shifted by the means or scaled to unit length, padded, with their norms and weights.
#[derive(Debug, Clone)]
pub struct Cloud {
    /// Points.
    pub n: usize,
    /// Dimensions.
    pub d: usize,
    /// The cost it was made for.
    pub ground: Ground,
    /// [N4, D4], extents rounded up to 4.
    pub rows: Tensor,
    /// Their transpose, where the device's variant wants it.
    cols: Option<Tensor>,
    /// \[N4\] |row|^2, or 1/2 for the cosine.
    pub norms: Tensor,
    /// \[N4\] log2 of the weights.
    pub log_weights: Tensor,
}

impl Cloud {
    /// Allocates for `n` points of `d` dimensions.
    ///
    /// # Errors
    /// No points; over the largest binding; out of memory.
    pub fn new(engine: &Engine, ground: Ground, n: usize, d: usize) -> Result<Self> {
        let op = "sinkhorn points";
        if n == 0 || d == 0 {
            return Err(Error::shape(op, format!("{n} points of {d} dimensions")));
        }
        let (n4, d4) = (n.next_multiple_of(4), d.next_multiple_of(4));
        let bytes = 4 * n4 as u64 * d4 as u64;
        if bytes > engine.caps().max_binding {
            return Err(Error::Limit {
                op: op.into(),
                what: format!("bytes of {n} points of {d} dimensions"),
                need: bytes,
                limit: engine.caps().max_binding,
                advice: "use fewer points or fewer dimensions (a projection), or a device with larger bindings".into(),
            });
        }
        Ok(Self {
            n,
            d,
            ground,
            rows: engine.tensor("sinkhorn rows", &[n4, d4], DType::F32)?,
            cols: laned(engine).then(|| engine.tensor("sinkhorn columns", &[d4, n4], DType::F32)).transpose()?,
            norms: engine.tensor("sinkhorn norms", &[n4], DType::F32)?,
            log_weights: engine.tensor("sinkhorn weights", &[n4], DType::F32)?,
        })
    }

    fn n4(&self) -> usize {
        self.rows.shape()[0]
    }

    fn d4(&self) -> usize {
        self.rows.shape()[1]
    }

    fn cross(&self) -> f32 {
        match self.ground {
            Ground::SquaredEuclidean => 2.0,
            Ground::Cosine => 1.0,
        }
    }
}

/// Appends the filling of a cloud from x [N, D] and weights w \[N\] (sum 1; 0 is allowed). Points for the squared Euclidean cost are
/// shifted by the mean of `means`, two of \[D\], because f32 then loses least; both clouds of a problem must have the same.
///
/// # Errors
/// Shapes other than said; no means for the squared Euclidean cost.
pub fn points(plan: &mut PlanBuilder<'_>, x: &Tensor, w: &Tensor, means: Option<[&Tensor; 2]>, cloud: &Cloud) -> Result<()> {
    let op = "sinkhorn points";
    expect_shape(op, "x", x, &[cloud.n, cloud.d])?;
    expect_shape(op, "w", w, &[cloud.n])?;
    let cosine = cloud.ground == Ground::Cosine;
    let mut bindings: Vec<Binding<'_>> = vec![x.into(), w.into()];
    match means {
        _ if cosine => {}
        Some(means) => {
            for mean in means {
                expect_shape(op, "mean", mean, &[cloud.d])?;
                bindings.push(mean.into());
            }
        }
        None => return Err(Error::shape(op, "the squared Euclidean cost needs the clouds' means")),
    }
    bindings.extend([&cloud.rows, &cloud.norms, &cloud.log_weights].map(Binding::from));
    bindings.extend(cloud.cols.as_ref().map(Binding::from));
    let params = Params { n: cloud.n as u32, d: cloud.d as u32, ..Params::default() };
    let variant = points_variant(cosine, cloud.cols.is_some());
    let cost = Cost::bytes(x.bytes() + 2 * cloud.rows.bytes());
    plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::for_items(cloud.n4(), 64), cost)
}

/// Which cloud's potentials or rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// x, potentials f.
    X,
    /// y, potentials g.
    Y,
}

/// A pair of clouds, or a cloud with itself, with potentials and scratch.
#[derive(Debug, Clone)]
pub struct Problem {
    x: Cloud,
    y: Option<Cloud>,
    settings: Settings,
    /// Potentials \[N4\] of x; the first N count.
    pub f: Tensor,
    /// Potentials \[M4\] of y; none of a cloud with itself, where they are f.
    pub g: Option<Tensor>,
    /// [`STATE`] numbers.
    pub state: Tensor,
    parts: Tensor,
    errors: [Tensor; 2],
}

impl Problem {
    /// Allocates. Without `y` it is x with itself, which converges far sooner.
    ///
    /// # Errors
    /// Clouds for other costs or of other dimensions; settings out of range; out of memory.
    pub fn new(engine: &Engine, x: &Cloud, y: Option<&Cloud>, settings: Settings) -> Result<Self> {
        let op = "sinkhorn";
        let Settings { eps, scaling, tolerance, most } = settings;
        super::sinkhorn_small::Settings { eps, scaling, tolerance, most, base: 0.0, slope: 1.0 }.check(op)?;
        if let Some(y) = y
            && (x.ground, x.d) != (y.ground, y.d)
        {
            let reason = format!("{} dimensions for {:?} against {} for {:?}", x.d, x.ground, y.d, y.ground);
            return Err(Error::shape(op, reason));
        }
        let other = y.unwrap_or(x);
        let parts = [(x, other), (other, x)].map(|(a, b)| shares(engine, a, b).1 * a.n4()).into_iter().max().unwrap_or(0);
        let width = lanes(engine) as usize;
        let vector = |name: &str, n: usize| engine.tensor(name, &[n], DType::F32);
        Ok(Self {
            f: vector("sinkhorn f", x.n4())?,
            g: y.map(|y| vector("sinkhorn g", y.n4())).transpose()?,
            state: vector("sinkhorn state", STATE)?,
            parts: vector("sinkhorn parts", 2 * parts)?,
            errors: [vector("sinkhorn errors", x.n.div_ceil(width))?, vector("sinkhorn errors", other.n.div_ceil(width))?],
            x: x.clone(),
            y: y.cloned(),
            settings,
        })
    }

    fn other(&self, side: Side) -> (&Cloud, &Cloud, &Tensor) {
        match (side, &self.y, &self.g) {
            (Side::X, Some(y), Some(g)) => (&self.x, y, g),
            (Side::Y, Some(y), Some(_)) => (y, &self.x, &self.f),
            _ => (&self.x, &self.x, &self.f),
        }
    }

    fn params(&self) -> Params {
        let Settings { eps, scaling, tolerance, most } = self.settings;
        let (n, m) = (self.x.n as u32, self.y.as_ref().unwrap_or(&self.x).n as u32);
        Params { n, m, d: self.x.d as u32, most, eps, scaling, tolerance, cross: self.x.cross(), ..Params::default() }
    }

    /// Floating-point operations of an iteration, about.
    pub fn flops(&self) -> f64 {
        let sides = if self.y.is_some() { 2.0 } else { 1.0 };
        let (x, y, _) = self.other(Side::X);
        sides * x.n as f64 * y.n as f64 * (2.0 * x.d4() as f64 + 8.0)
    }

    /// Appends the beginning: potentials 0, eps at an upper bound of the cost.
    ///
    /// # Errors
    /// Limits of the device.
    pub fn start(&self, plan: &mut PlanBuilder<'_>) -> Result<()> {
        let variant = state_variant(1, self.y.is_none(), lanes(plan.engine()));
        let (groups, cost) = (Groups::Linear(1), Cost::bytes(2 * (self.f.bytes() + self.other(Side::X).2.bytes())));
        match (&self.y, &self.g) {
            (Some(y), Some(g)) => {
                let bindings = [(&self.x.norms).into(), (&y.norms).into(), (&self.f).into(), g.into(), (&self.state).into()];
                plan.dispatch("sinkhorn start", &SHADER, &variant, &bindings, &self.params(), groups, cost)
            }
            _ => {
                let bindings = [(&self.x.norms).into(), (&self.f).into(), (&self.state).into()];
                plan.dispatch("sinkhorn start", &SHADER, &variant, &bindings, &self.params(), groups, cost)
            }
        }
    }

    /// Appends one iteration; once the state says converged or out of iterations it does nothing.
    ///
    /// # Errors
    /// Limits of the device.
    pub fn iteration(&self, plan: &mut PlanBuilder<'_>) -> Result<()> {
        self.half(plan, Side::X, false, None)?;
        if self.y.is_some() {
            self.half(plan, Side::Y, false, None)?;
        }
        self.check(plan, false)
    }

    /// Appends the end, at the last eps, converged or not: f, then g taken whole (of a cloud with itself half a step as ever), and
    /// the error of the plan before that last step, which is not below that of what is left.
    ///
    /// # Errors
    /// Limits of the device.
    pub fn finish(&self, plan: &mut PlanBuilder<'_>) -> Result<()> {
        self.half(plan, Side::X, true, None)?;
        if self.y.is_some() {
            self.half(plan, Side::Y, true, None)?;
        }
        self.check(plan, true)
    }

    /// Appends potentials `out` \[N4\] of a side such that the plan's rows sum to its weights exactly, but for rounding: a whole step from
    /// the other side's potentials.
    ///
    /// # Errors
    /// `out` of another shape; limits of the device.
    pub fn normaliser(&self, plan: &mut PlanBuilder<'_>, side: Side, out: &Tensor) -> Result<()> {
        expect_shape("sinkhorn normaliser", "out", out, &[self.other(side).0.n4()])?;
        self.half(plan, side, true, Some(out))
    }

    /// One half-step of a side, or a whole one into `out`.
    fn half(&self, plan: &mut PlanBuilder<'_>, side: Side, last: bool, out: Option<&Tensor>) -> Result<()> {
        let engine = plan.engine();
        let (own, other, g) = self.other(side);
        let f = out.unwrap_or(if side == Side::X { &self.f } else { self.g.as_ref().unwrap_or(&self.f) });
        let (span, chunks) = shares(engine, own, other);
        let base = Params {
            n: own.n as u32,
            m: other.n as u32,
            chunks: chunks as u32,
            span: span as u32,
            last: u32::from(last),
            step: match (out, &self.y) {
                (Some(_), _) => 1.0,
                (None, None) => 0.5,
                (None, Some(_)) if last => 1.0,
                _ => 0.0,
            },
            ..self.params()
        };
        let laned = own.cols.is_some();
        let columns = match (&other.cols, laned) {
            (Some(cols), true) => cols,
            _ => &other.rows,
        };
        let tile = if laned { ROWS } else { TILE };
        let a_row = other.n as f64 * (2.0 * own.d4() as f64 + 8.0);
        let most = ((DISPATCH_FLOPS / a_row) as usize / TILE * TILE).max(TILE);
        for row0 in (0..own.n).step_by(most) {
            let rows = most.min(own.n - row0);
            let params = Params { row0: row0 as u32, rows: rows as u32, ..base };
            let bindings = [
                (&own.rows).into(),
                columns.into(),
                (&other.norms).into(),
                (&other.log_weights).into(),
                g.into(),
                (&self.state).into(),
                (&self.parts).into(),
            ];
            let groups = Groups::Linear((rows.div_ceil(tile) * chunks) as u64);
            let cost = Cost { flops: rows as f64 * a_row, bytes: 4.0 * (other.n + rows) as f64 * own.d4() as f64 };
            plan.dispatch("sinkhorn partial", &SHADER, &partial_variant(laned), &bindings, &params, groups, cost)?;
        }
        let width = lanes(engine);
        let errors = &self.errors[usize::from(side == Side::Y)];
        let bindings =
            [(&self.parts).into(), (&own.norms).into(), (&own.log_weights).into(), (&self.state).into(), f.into(), errors.into()];
        let groups = Groups::for_items(own.n, width as usize);
        let cost = Cost::bytes((8 * chunks * own.n + 16 * own.n) as u64);
        plan.dispatch("sinkhorn update", &SHADER, &state_variant(3, false, width), &bindings, &base, groups, cost)
    }

    fn check(&self, plan: &mut PlanBuilder<'_>, last: bool) -> Result<()> {
        let variant = state_variant(4, self.y.is_none(), lanes(plan.engine()));
        let params = Params { last: u32::from(last), ..self.params() };
        let mut bindings: Vec<Binding<'_>> = vec![(&self.errors[0]).into()];
        bindings.extend(self.y.is_some().then(|| Binding::from(&self.errors[1])));
        bindings.push((&self.state).into());
        let cost = Cost::bytes(self.errors[0].bytes() + self.errors[1].bytes());
        plan.dispatch("sinkhorn check", &SHADER, &variant, &bindings, &params, Groups::Linear(1), cost)
    }

    /// Appends rows `row0 ..` of a side's plan into p [R, M4] (those of the other side's points, filled with 0), each divided by its
    /// weight: they sum to 1. `normaliser` is what [`Problem::normaliser`] made; `row0` a multiple of 64.
    ///
    /// # Errors
    /// Shapes other than said, rows beyond the end.
    pub fn plan_rows(&self, plan: &mut PlanBuilder<'_>, side: Side, normaliser: &Tensor, row0: usize, p: &Tensor) -> Result<()> {
        let op = "sinkhorn plan rows";
        let (own, other, g) = self.other(side);
        let (rows, m4) = matrix_f32(op, "p", p)?;
        if m4 != other.n4() || row0 + rows > own.n4() || !row0.is_multiple_of(64) {
            return Err(Error::shape(
                op,
                format!("rows {row0} + {rows} of {} into {:?}, expected {} columns", own.n4(), p.shape(), other.n4()),
            ));
        }
        expect(op, "normaliser", normaliser, &[own.n4()], DType::F32)?;
        let x = block(&own.rows, row0, rows)?;
        match &other.cols {
            Some(cols) => matmul::matmul(plan, &x, matmul::Op::Plain, cols, matmul::Op::Plain, p)?,
            None => matmul::matmul(plan, &x, matmul::Op::Plain, &other.rows, matmul::Op::Transposed, p)?,
        }
        let params = Params { n: own.n as u32, m: other.n as u32, row0: row0 as u32, rows: rows as u32, ..self.params() };
        let bindings = [normaliser.into(), (&own.norms).into(), (&other.norms).into(), (&other.log_weights).into(), g.into(), p.into()];
        let variant = Variant::new().int("KIND", 5);
        plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::for_items(p.len(), 64), Cost::bytes(2 * p.bytes()))
    }

    /// Appends where each point of a side is carried on average: out [N4, D4], in the clouds' coordinates (less the mean, or of unit
    /// length). The plan is made and used a block of rows at a time.
    ///
    /// # Errors
    /// `out` of another shape; limits of the device.
    pub fn barycentres(&self, plan: &mut PlanBuilder<'_>, side: Side, out: &Tensor) -> Result<()> {
        let engine = plan.engine();
        let (own, other, _) = self.other(side);
        expect_shape("sinkhorn barycentres", "out", out, own.rows.shape())?;
        // The product over the other side's points is one loop.
        let turns = if own.cols.is_some() { other.n4() / 4 } else { other.n4().div_ceil(16) * 17 };
        if engine.caps().software && turns > TURNS {
            return Err(Error::Limit {
                op: "sinkhorn barycentres".into(),
                what: "turns of a loop over the other side's points".into(),
                need: turns as u64,
                limit: TURNS as u64,
                advice: "software adapters stop long loops: use fewer points or a GPU".into(),
            });
        }
        let normaliser = engine.tensor("sinkhorn normaliser", &[own.n4()], DType::F32)?;
        self.normaliser(plan, side, &normaliser)?;
        let most = (ROWS_SCRATCH / other.n4() / 64 * 64).max(64).min(own.n4());
        let scratch = engine.tensor("sinkhorn plan rows", &[most, other.n4()], DType::F32)?;
        for row0 in (0..own.n4()).step_by(most) {
            let rows = most.min(own.n4() - row0);
            let p = block(&scratch, 0, rows)?;
            self.plan_rows(plan, side, &normaliser, row0, &p)?;
            matmul::matmul(plan, &p, matmul::Op::Plain, &other.rows, matmul::Op::Plain, &block(out, row0, rows)?)?;
        }
        Ok(())
    }
}

/// Rows of a matrix as a tensor over the same buffer. `row0` is a multiple of 64 or 0, so that the offset keeps every device's alignment.
fn block(t: &Tensor, row0: usize, rows: usize) -> Result<Tensor> {
    let columns = t.shape()[1];
    Tensor::from_buffer(t.buffer().clone(), t.offset + 4 * (row0 * columns) as u64, &[rows, columns], DType::F32)
}

/// Tiles of columns a chunk, and chunks: enough groups to fill the device, and no more turns of loops than llvmpipe allows.
fn shares(engine: &Engine, own: &Cloud, other: &Cloud) -> (usize, usize) {
    let (rows, columns, target, turns) = match laned(engine) {
        // Leaving a loop counts as a turn of it.
        true => (ROWS, 32, 64, own.d4() / 4 + 2),
        false => (TILE, TILE, 2048, own.d4().div_ceil(16) * 18 + 2),
    };
    let tiles = other.n4().div_ceil(columns);
    let chunks = (target / own.n.div_ceil(rows)).clamp(1, tiles);
    let span = tiles.div_ceil(chunks).min((TURNS / turns).max(1));
    (span, tiles.div_ceil(span))
}

/// Appends the gradient of the debiased divergence in x [N, D] from its barycentres within its own cloud and within the other
/// ([`Problem::barycentres`]), [N4, D4] each, w \[N\] the weights: 2 w_i (own_i - other_i), or the same for the cosine.
///
/// # Errors
/// Shapes other than said.
pub fn gradient(
    plan: &mut PlanBuilder<'_>,
    ground: Ground,
    x: &Tensor,
    w: &Tensor,
    own: &Tensor,
    other: &Tensor,
    dx: &Tensor,
) -> Result<()> {
    let op = "sinkhorn gradient";
    let (n, d) = matrix_f32(op, "x", x)?;
    let padded = [n.next_multiple_of(4), d.next_multiple_of(4)];
    expect_shape(op, "w", w, &[n])?;
    expect_shape(op, "own", own, &padded)?;
    expect_shape(op, "other", other, &padded)?;
    expect_shape(op, "dx", dx, &[n, d])?;
    let cosine = ground == Ground::Cosine;
    let params = Params { n: n as u32, d: d as u32, step: if cosine { 1.0 } else { 2.0 }, ..Params::default() };
    let bindings = [x.into(), w.into(), own.into(), other.into(), dx.into()];
    plan.dispatch(op, &SHADER, &gradient_variant(cosine), &bindings, &params, Groups::for_items(n, 64), Cost::bytes(4 * x.bytes()))
}

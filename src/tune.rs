//! Measures on a device which of a family's kernels is fastest, and trusts none that differs from its twin.
//!
//! Every kernel first solves a small problem of odd sizes, then the problem that is timed, and both results are held against the f64 twin; before
//! each its output is filled with NaN, so that what is not written shows. Kernels take turns, and the shortest of their times counts: others may
//! be using the device.

use crate::gpu::shader::library;
use crate::gpu::{DType, Engine, Error, Measured, Plan, PlanBuilder, Precision, Result, Tensor, Tuning, family_for};
use crate::kernels::conv::{self, Conv, Pass, Way};
use crate::kernels::matmul::{self, Op};
use crate::kernels::winograd;
use crate::random::signed;
use crate::reference;
use half::f16;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

/// A problem on which kernels of its family are timed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Problem {
    /// op(a) [m, k] times op(b) [k, n].
    Product {
        /// Rows.
        m: usize,
        /// Columns.
        n: usize,
        /// Inner indices.
        k: usize,
        /// How a is stored.
        a: Op,
        /// How b is stored.
        b: Op,
    },
    /// A pass of a convolution.
    Convolution {
        /// Which.
        pass: Pass,
        /// The convolution.
        conv: Conv,
        /// Extents of x, [N, H, W, CI].
        x: [usize; 4],
        /// Output channels.
        co: usize,
    },
}

/// Appends a kernel for a problem's tensors in the order of its own function; the last is the result.
pub type Append<'a> = Box<dyn Fn(&mut PlanBuilder<'_>, &Problem, [&Tensor; 3]) -> Result<()> + 'a>;

/// A kernel that takes part. The shipped ones are those of [`entrants`].
pub struct Entrant<'a> {
    /// Its name, under which the measurements keep it.
    pub name: String,
    /// How it is appended to a plan.
    pub append: Append<'a>,
}

/// A kernel that was not right.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Rejected {
    /// The family.
    pub family: String,
    /// The problem's sizes.
    pub sizes: Vec<usize>,
    /// The kernel.
    pub kernel: String,
    /// What was wrong with it.
    pub reason: String,
}

/// Rounds in which the kernels take turns.
const ROUNDS: usize = 5;
/// The same on a processor, which does other work besides.
const ROUNDS_ON_PROCESSOR: usize = 15;
/// A kernel that takes so many times the fastest's first run is not timed again.
const HOPELESS: f64 = 3.0;
/// A kernel is dispatched so often that a run takes so many seconds,
const SPAN: f64 = 2e-3;
/// but at most so many times.
const COPIES: f64 = 64.0;
/// Runs that take less are repeated until a round has taken this long.
const ROUND: Duration = Duration::from_millis(4);

/// The problems that [`tune`] times: those of the shipped networks, squares, and the later stages of ResNets.
pub fn problems() -> Vec<Problem> {
    use Op::{Plain as P, Transposed as T};
    let product = |m, n, k, a, b| Problem::Product { m, n, k, a, b };
    let mut all = vec![
        product(1024, 1024, 1024, P, P),
        product(64, 64, 1024, P, P),
        product(672, 32, 1024, P, P),
        product(4096, 32, 32, P, P),
        product(512, 512, 512, P, T),
        product(64, 64, 1024, P, T),
        product(1024, 64, 64, P, T),
        product(512, 512, 512, T, P),
        product(1024, 1024, 64, T, P),
        product(256, 256, 256, T, T),
    ];
    // Rows and columns alone, and what is no multiple of four.
    for (a, b) in [(P, P), (P, T), (T, P)] {
        all.extend([(1024, 1, 1024), (1, 1024, 1024), (301, 10, 301)].map(|(m, n, k)| product(m, n, k, a, b)));
    }
    for (kernel, stride, x, co) in [
        (3, 1, [16, 64, 64, 4], 32),
        (3, 1, [16, 32, 32, 32], 32),
        (3, 2, [16, 32, 32, 32], 64),
        (3, 1, [16, 16, 16, 64], 64),
        (3, 1, [32, 8, 8, 128], 128),
        (3, 1, [8, 16, 16, 256], 256),
        (3, 1, [8, 8, 8, 512], 512),
        (1, 1, [16, 16, 16, 64], 16),
        (3, 1, [2, 128, 128, 16], 16),
    ] {
        let conv = Conv::square(kernel, stride, 1);
        all.extend([Pass::Forward, Pass::Input, Pass::Weights].map(|pass| Problem::Convolution { pass, conv, x, co }));
    }
    all
}

impl Problem {
    /// The family's name.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Product { a, b, .. } => matmul::family(*a == Op::Transposed, *b == Op::Transposed),
            Self::Convolution { pass, .. } => pass.family(),
        }
    }

    /// Its sizes, as the family names them.
    ///
    /// # Errors
    /// A convolution that does not fit.
    pub fn sizes(&self) -> Result<Vec<usize>> {
        match self {
            Self::Product { m, n, k, .. } => Ok(vec![*m, *n, *k]),
            Self::Convolution { pass, conv, x, co } => Ok(pass.sizes(conv, *x, *co)?.to_vec()),
        }
    }

    /// A small one of the same kind, which fills no kernel's groups evenly.
    fn small(&self) -> Self {
        match *self {
            Self::Product { a, b, .. } => Self::Product { m: 76, n: 84, k: 44, a, b },
            Self::Convolution { pass, conv, .. } => Self::Convolution { pass, conv, x: [5, 13, 11, 12], co: 68 },
        }
    }

    /// Shapes of both operands and of the result.
    fn shapes(&self) -> Result<[Vec<usize>; 3]> {
        match self {
            Self::Product { m, n, k, a, b } => {
                let stored = |op: &Op, r: usize, c: usize| if *op == Op::Transposed { vec![c, r] } else { vec![r, c] };
                Ok([stored(a, *m, *k), stored(b, *k, *n), vec![*m, *n]])
            }
            Self::Convolution { pass, conv, x, co } => {
                let (x, w, y) = (x.to_vec(), conv.weights(x[3], *co).to_vec(), conv.output(x, *co)?.to_vec());
                Ok(match pass {
                    Pass::Forward => [x, w, y],
                    Pass::Input => [y, w, x],
                    Pass::Weights => [x, y, w],
                })
            }
        }
    }

    /// What the twin makes of two operands.
    fn twin(&self, a: &[f64], b: &[f64]) -> Result<Vec<f64>> {
        match *self {
            Self::Product { m, n, k, a: op_a, b: op_b } => {
                let plain = |v: &[f64], op: Op, r: usize, c: usize| match op {
                    Op::Plain => v.to_vec(),
                    Op::Transposed => reference::matmul::transpose(v, c, r),
                };
                Ok(reference::matmul::matmul(&plain(a, op_a, m, k), &plain(b, op_b, k, n), m, k, n))
            }
            Self::Convolution { pass, ref conv, x, co } => {
                let sizes = reference::conv::Sizes::new(conv, x, co)?;
                Ok(match pass {
                    Pass::Forward => reference::conv::forward(conv, sizes, a, b, None),
                    Pass::Input => reference::conv::backward_input(conv, sizes, a, b),
                    Pass::Weights => reference::conv::backward_weights(conv, sizes, a, b),
                })
            }
        }
    }

    /// How operands and result are stored: images as networks hand them on in f16 (`half`), all else in f32.
    fn stored(&self, half: bool) -> [DType; 3] {
        use DType::{F16, F32};
        match self {
            Self::Convolution { pass: Pass::Forward | Pass::Input, .. } if half => [F16, F32, F16],
            Self::Convolution { pass: Pass::Weights, .. } if half => [F16, F16, F32],
            _ => [F32; 3],
        }
    }

    /// How far a result in f32 may lie from the exact one: of a sum of n products of random numbers in [-1, 1) every partial sum is rounded, which
    /// comes to 0.14 n units of round-off (root mean square); fifteen times that is allowed.
    fn bound(&self) -> Result<f64> {
        let inner = self.sizes()?[2];
        Ok(2.0 * 0.5 * f64::from(f32::EPSILON) * inner.max(16) as f64)
    }
}

/// The kernels that a device can run on a problem.
pub fn entrants<'a>() -> Vec<Entrant<'a>> {
    let entrant = |way: Way| Entrant {
        name: way.to_string(),
        append: Box::new(move |plan, problem, [a, b, c]| match (problem, way) {
            (Problem::Product { a: op_a, b: op_b, .. }, Way::Direct(tiling)) => matmul::matmul_by(plan, tiling, a, *op_a, b, *op_b, c),
            (Problem::Product { .. }, Way::Winograd) => Err(Error::shape("matmul", "takes convolutions alone")),
            (Problem::Convolution { pass, conv, .. }, way) => conv::pass_by(plan, way, *pass, conv, [a, b, c]),
        }),
    };
    Way::all().map(entrant).collect()
}

/// A problem on the device, and its exact result.
struct Stage<'p> {
    problem: &'p Problem,
    precision: Precision,
    tensors: [Tensor; 3],
    exact: Vec<f64>,
}

impl<'p> Stage<'p> {
    /// Under [`Precision::Mixed`] the operands are numbers that f16 holds, and stored so where networks do: whether a device rounds to the nearest is its own affair.
    fn new(engine: &Engine, problem: &'p Problem, precision: Precision) -> Result<Self> {
        let shapes = problem.shapes()?;
        let random = |shape: &[usize], seed| {
            let mut all = signed(shape.iter().product(), seed);
            if precision == Precision::Mixed {
                // What is below the normal numbers counts as 0.
                let held = |v: f32| if v.abs() < f16::MIN_POSITIVE.to_f32() { 0.0 } else { f16::from_f32(v).to_f32() };
                all.iter_mut().for_each(|v| *v = held(*v));
            }
            all
        };
        let (a, b) = (random(&shapes[0], 1), random(&shapes[1], 2));
        let wide = |v: &[f32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        let stored = problem.stored(precision == Precision::Mixed && engine.caps().f16);
        let upload = |i: usize, values: &[f32]| match stored[i] {
            DType::F16 => engine.upload("operand", &shapes[i], DType::F16, &values.iter().map(|v| f16::from_f32(*v)).collect::<Vec<_>>()),
            _ => engine.upload_f32("operand", &shapes[i], values),
        };
        let tensors = [upload(0, &a)?, upload(1, &b)?, engine.tensor("result", &shapes[2], stored[2])?];
        Ok(Self { problem, precision, tensors, exact: problem.twin(&wide(&a), &wide(&b))? })
    }

    fn plan(&self, engine: &Engine, entrant: &Entrant<'_>) -> Result<Plan> {
        let mut plan = PlanBuilder::new(engine);
        plan.set_precision(self.precision);
        let [a, b, c] = &self.tensors;
        (entrant.append)(&mut plan, self.problem, [a, b, c])?;
        Ok(plan.finish())
    }

    /// Runs a plan into a result that is all NaN before, and says what is wrong with it.
    fn fault(&self, engine: &Engine, plan: &Plan) -> Result<Option<String>> {
        let (result, n) = (&self.tensors[2], self.exact.len());
        let half = result.dtype() == DType::F16;
        if half { engine.write(result, &vec![f16::NAN; n]) } else { engine.write(result, &vec![f32::NAN; n]) }?;
        plan.submit(engine)?;
        let (got, mut bound): (Vec<f32>, f64) = match half {
            true => (engine.read::<f16>(result)?.iter().map(|v| v.to_f32()).collect(), self.problem.bound()?),
            false => (engine.read(result)?, self.problem.bound()?),
        };
        if half {
            // The result is rounded once more, upwards or downwards.
            bound += f64::from(f16::EPSILON) * self.exact.iter().fold(0.0, |most, v| v.abs().max(most));
        }
        let (off, sizes) = (reference::furthest(&got, &self.exact), self.problem.sizes()?);
        Ok((off > bound).then(|| format!("off its twin by {off:.1e} at {sizes:?}, {bound:.1e} allowed")))
    }
}

/// Seconds of one run.
fn once(engine: &Engine, plan: &Plan) -> Result<f64> {
    let start = Instant::now();
    plan.submit(engine)?;
    engine.wait("tune")?;
    Ok(start.elapsed().as_secs_f64())
}

/// A kernel that is right, as it is timed.
struct Runner<'a> {
    name: &'a str,
    /// Its dispatches, several times over.
    plan: Plan,
    copies: usize,
    /// The shortest time of one.
    seconds: f64,
}

/// What became of an entrant.
enum Verdict<'a> {
    Right(Runner<'a>),
    Wrong(String),
    /// It does not claim to take such a problem on this device.
    NotMeant,
}

fn admit<'a>(engine: &Engine, entrant: &'a Entrant<'_>, small: &Stage<'_>, full: &Stage<'_>) -> Result<Verdict<'a>> {
    let (first, one) = match small.plan(engine, entrant).and_then(|first| Ok((first, full.plan(engine, entrant)?))) {
        Err(Error::Shape { .. }) => return Ok(Verdict::NotMeant),
        plans => plans?,
    };
    for (stage, plan) in [(small, &first), (full, &one)] {
        if let Some(reason) = stage.fault(engine, plan)? {
            return Ok(Verdict::Wrong(reason));
        }
    }
    // A submission takes time of its own.
    let copies = (SPAN / once(engine, &one)?).ceil().clamp(1.0, COPIES) as usize;
    let mut plan = Plan::default();
    (0..copies).for_each(|_| plan.extend(one.clone()));
    let seconds = once(engine, &plan)? / copies as f64;
    Ok(Verdict::Right(Runner { name: &entrant.name, plan, copies, seconds }))
}

/// Times `entrants` on a problem in a precision. Those that cannot run it here are left out without a word, those that get it wrong are rejected.
///
/// # Errors
/// The device is lost, or has no memory for the problem. Errors of an entrant alone reject it.
pub fn measure(engine: &Engine, problem: &Problem, precision: Precision, entrants: &[Entrant<'_>]) -> Result<(Measured, Vec<Rejected>)> {
    let (family, sizes) = (family_for(precision, problem.family()).into_owned(), problem.sizes()?);
    let small = problem.small();
    let (trial, full) = (Stage::new(engine, &small, precision)?, Stage::new(engine, problem, precision)?);
    let mut rejected = Vec::new();
    let mut running: Vec<Runner<'_>> = Vec::new();
    for entrant in entrants {
        let reason = match admit(engine, entrant, &trial, &full) {
            Ok(Verdict::Right(runner)) => {
                running.push(runner);
                continue;
            }
            Ok(Verdict::NotMeant) => continue,
            Ok(Verdict::Wrong(reason)) => reason,
            Err(e @ Error::Lost { .. }) => return Err(e),
            Err(e) => e.to_string(),
        };
        tracing::warn!("{} is not used for {family} {sizes:?}: {reason}", entrant.name);
        rejected.push(Rejected { family: family.clone(), sizes: sizes.clone(), kernel: entrant.name.clone(), reason });
    }
    let best = running.iter().map(|r| r.seconds).fold(f64::INFINITY, f64::min);
    let rounds = if engine.caps().software { ROUNDS_ON_PROCESSOR } else { ROUNDS };
    for _ in 0..rounds {
        for r in running.iter_mut().filter(|r| r.seconds <= HOPELESS * best) {
            let start = Instant::now();
            loop {
                r.seconds = r.seconds.min(once(engine, &r.plan)? / r.copies as f64);
                if start.elapsed() >= ROUND {
                    break;
                }
            }
        }
    }
    let seconds = running.iter().map(|r| (r.name.to_string(), r.seconds)).collect();
    Ok((Measured { family, sizes, seconds }, rejected))
}

/// Times all [`entrants`] on all [`problems`], and once more under [`Precision::Mixed`] where the device has matrices for it; `progress` hears how many of how many are done.
///
/// # Errors
/// As [`measure`].
pub fn tune(engine: &Engine, mut progress: impl FnMut(usize, usize)) -> Result<(Tuning, Vec<Rejected>)> {
    let (problems, entrants) = (problems(), entrants());
    let mixed = (engine.caps().cooperative > 0).then_some(Precision::Mixed);
    let precisions = [Precision::Full].into_iter().chain(mixed);
    let problems: Vec<_> = precisions.flat_map(|p| problems.iter().map(move |problem| (p, problem))).collect();
    let mut tuning = Tuning::default();
    let mut all_rejected = Vec::new();
    for (i, (precision, problem)) in problems.iter().enumerate() {
        progress(i, problems.len());
        let (measured, rejected) = measure(engine, problem, *precision, &entrants)?;
        tuning.measured.push(measured);
        all_rejected.extend(rejected);
    }
    progress(problems.len(), problems.len());
    Ok((tuning, all_rejected))
}

/// What measurements hang on: adapter, driver, version, the text of the kernels and what of the device is used. Others' must not be used.
pub fn key(engine: &Engine) -> String {
    let (adapter, caps) = (engine.adapter(), engine.caps());
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        hash.update(part.as_bytes());
        hash.update([0]);
    };
    [adapter.name.as_str(), &adapter.backend, &adapter.driver, env!("CARGO_PKG_VERSION")].into_iter().for_each(&mut add);
    [matmul::SHADER.text, conv::SHADER.text, winograd::SHADER.text].into_iter().chain(library()).for_each(&mut add);
    hash.update([caps.subgroup, caps.software, engine.checked(), caps.cooperative > 0].map(u8::from));
    hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
}

//! `echogrid transport`.

use super::common::{Global, print_json, warn};
use super::points::read;
use crate::align::{Cost, Sinkhorn, Weights, mean_cost};
use crate::{Error, Result};
use clap::ValueEnum;
use std::path::PathBuf;
use std::time::Instant;

/// eps where none is given: this share of the mean cost.
const SHARE: f64 = 0.05;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CostArg {
    /// Squared distance
    Sqeuclidean,
    /// 1 - cosine of the angle
    Cosine,
}

/// Measure how far apart two sets of points (features) lie: entropic optimal transport, debiased (Sinkhorn divergence)
///
/// A and B are two-dimensional arrays, a point a row, in .npy files (32- or 64-bit floats) or .safetensors files (F16, BF16, F32
/// or F64; FILE.safetensors:NAME where there are several). All points weigh the same. `divergence` is 0 for equal sets and never
/// negative; `cost` is the entropic cost of carrying A to B, <plan, cost> + eps KL(plan | weights). Arithmetic is in 32 bits.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The first array
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The second, with as many columns
    #[arg(value_name = "B")]
    b: PathBuf,
    /// What is paid to carry a point to another
    #[arg(long, value_enum, default_value_t = CostArg::Sqeuclidean)]
    cost: CostArg,
    /// Weight of the entropy in units of the cost; smaller is nearer to exact transport and takes longer [default: 5 % of the
    /// mean cost between A and B]
    #[arg(long, value_name = "E")]
    eps: Option<f64>,
    /// Error of the plan's marginals (L1) at which the iterations end
    #[arg(long, value_name = "T", default_value_t = 1e-4)]
    tolerance: f64,
    /// Most iterations
    #[arg(long, value_name = "N", default_value_t = 1000)]
    iterations: u32,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    for (name, v) in [("--eps", args.eps.unwrap_or(1.0)), ("--tolerance", args.tolerance)] {
        if !(v > 0.0 && v.is_finite()) {
            return Err(Error::invalid(format!("{name} must be above 0 and finite, not {v}")));
        }
    }
    let (a, b) = (read(&args.a)?, read(&args.b)?);
    if a.d != b.d {
        let (p, q) = (args.a.display(), args.b.display());
        return Err(Error::invalid(format!("{p} has {} columns and {q} {}: both must hold points of the same space", a.d, b.d)));
    }
    let cost = match args.cost {
        CostArg::Sqeuclidean => Cost::SquaredEuclidean,
        CostArg::Cosine => Cost::Cosine,
    };
    let mean = mean_cost(cost, &a.values, &b.values, a.d);
    let eps = match args.eps {
        Some(eps) => eps,
        None if mean > 0.0 => SHARE * mean,
        // Every point is the same: any eps will do.
        None => 1.0,
    };
    if args.eps.is_none() {
        global.say(format_args!("eps: {eps:.6} (5 % of the mean cost {mean:.6}; --eps sets another)"));
    }
    let engine = global.engine()?;
    let x = engine.upload_f32("A", &[a.n, a.d], &a.values)?;
    let y = engine.upload_f32("B", &[b.n, b.d], &b.values)?;
    let sinkhorn = Sinkhorn { tolerance: args.tolerance, max_iterations: args.iterations, ..Sinkhorn::new(cost, eps) };
    let start = Instant::now();
    let work = work(a.n, b.n, a.d, args.iterations);
    if work > MUCH_WORK {
        warn(format_args!(
            "{} and {} points in {} dimensions may take {work:.0e} operations in {} iterations: fewer points, a larger --eps or --tolerance, or fewer --iterations take less",
            a.n, b.n, a.d, args.iterations
        ));
    }
    // How many iterations it takes shows at the end.
    let bar = global.working("transport");
    let t = sinkhorn.divergence(&engine, &x, &y, Weights::default())?.transport;
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    if args.json {
        return print_json(&serde_json::json!({
            "divergence": t.divergence, "cost": t.cost, "marginal_error": t.marginal_error, "iterations": t.iterations,
            "converged": t.converged, "seconds": seconds, "eps": eps, "points": [a.n, b.n], "dimensions": a.d,
            "adapter": engine.adapter().to_string(),
        }));
    }
    out!("{} points against {} in {} dimensions, eps {eps:.6}", a.n, b.n, a.d);
    out!("divergence      {:.6e}", t.divergence.unwrap_or_default());
    out!("cost            {:.6e}", t.cost);
    let state = if t.converged { "converged" } else { "NOT converged" };
    out!("marginal error  {:.1e} after {} iterations, {state}, {seconds:.3} s", t.marginal_error, t.iterations);
    Ok(())
}

/// From so many operations on, there is a word about them.
const MUCH_WORK: f64 = 1e15;

/// Operations of all iterations at most: costs of all pairs, of A with B and of each with itself, along both sides.
fn work(a: usize, b: usize, d: usize, iterations: u32) -> f64 {
    let (a, b) = (a as f64, b as f64);
    2.0 * (2.0 * a * b + a * a + b * b) * d as f64 * f64::from(iterations)
}

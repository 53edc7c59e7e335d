//! `echogrid transport`.

use super::common::{Global, print_json, warn};
use crate::align::{Cost, Sinkhorn, Weights, mean_cost};
use crate::{Error, Result};
use clap::ValueEnum;
use half::{bf16, f16};
use npyz::{DType, NpyFile, Order};
use safetensors::tensor::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};
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

/// Points in rows.
struct Points {
    n: usize,
    d: usize,
    values: Vec<f32>,
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
    let bar = global.bar(1, "transport");
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

/// A two-dimensional array of finite numbers.
fn read(given: &Path) -> Result<Points> {
    let (path, name) = split(given);
    let bytes = std::fs::read(&path).map_err(|e| Error::file(&path, format!("cannot be read ({e})")))?;
    let (shape, values) = match path.extension().and_then(|e| e.to_str()) {
        Some("npy") => npy(&path, &bytes)?,
        Some("safetensors") => tensor(&path, &bytes, name.as_deref())?,
        _ => return Err(Error::file(&path, "is neither a .npy nor a .safetensors file: save the array as one of them")),
    };
    let &[n, d] = shape.as_slice() else {
        return Err(Error::file(&path, format!("holds an array {shape:?}; two dimensions are needed, a point a row: reshape it")));
    };
    if n == 0 || d == 0 {
        return Err(Error::file(&path, format!("holds no points (an array {shape:?})")));
    }
    if let Some(i) = values.iter().position(|v| !v.is_finite()) {
        let (row, column) = (i / d, i % d);
        return Err(Error::file(&path, format!("holds {} in row {row}, column {column}: remove such points", values[i])));
    }
    Ok(Points { n, d, values })
}

/// A path, and the name of a tensor in it after a colon.
fn split(given: &Path) -> (PathBuf, Option<String>) {
    match given.to_str().and_then(|s| s.rsplit_once(".safetensors:")) {
        Some((stem, name)) if !given.exists() => (PathBuf::from(format!("{stem}.safetensors")), Some(name.into())),
        _ => (given.into(), None),
    }
}

fn npy(path: &Path, bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>)> {
    let broken = |e: std::io::Error| Error::file(path, format!("is no .npy file, or cut short ({e})"));
    let file = NpyFile::new(bytes).map_err(broken)?;
    let shape: Vec<usize> = file.shape().iter().map(|v| *v as usize).collect();
    let order = file.order();
    let dtype = match file.dtype() {
        DType::Plain(t) => t.to_string(),
        _ => "a structure".into(),
    };
    // The header may promise more than there is.
    if shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).is_none_or(|n| n > bytes.len()) {
        return Err(Error::file(path, format!("is cut short: an array {shape:?} in {} bytes", bytes.len())));
    }
    let values: Vec<f32> = match dtype.as_bytes() {
        [_, b'f', b'4'] => file.into_vec::<f32>().map_err(broken)?,
        [_, b'f', b'8'] => file.into_vec::<f64>().map_err(broken)?.into_iter().map(|v| v as f32).collect(),
        _ => return Err(Error::file(path, format!("holds {dtype}, not 32- or 64-bit floats: save it with .astype(\"float32\")"))),
    };
    match (order, shape.as_slice()) {
        (Order::Fortran, &[n, d]) => {
            let rows = (0..n).flat_map(|i| (0..d).map(move |c| c * n + i)).map(|at| values[at]).collect();
            Ok((shape, rows))
        }
        _ => Ok((shape, values)),
    }
}

fn tensor(path: &Path, bytes: &[u8], name: Option<&str>) -> Result<(Vec<usize>, Vec<f32>)> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| Error::file(path, format!("is no safetensors file, or cut short ({e})")))?;
    let names = || file.names().into_iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let view = match name {
        Some(name) => file.tensor(name).map_err(|_| Error::file(path, format!("holds no tensor `{name}`, but {}", names())))?,
        None => {
            let mut matrices = file.tensors().into_iter().filter(|(_, t)| t.shape().len() == 2);
            match (matrices.next(), matrices.next()) {
                (Some((_, t)), None) => t,
                (None, _) => return Err(Error::file(path, format!("holds no two-dimensional tensor, but {}", names()))),
                _ => return Err(Error::file(path, format!("holds several tensors, name one as {}:NAME: {}", path.display(), names()))),
            }
        }
    };
    let data = view.data();
    let values = match view.dtype() {
        Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes"))).collect(),
        Dtype::F64 => data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("8 bytes")) as f32).collect(),
        Dtype::F16 => data.chunks_exact(2).map(|b| f16::from_le_bytes(b.try_into().expect("2 bytes")).to_f32()).collect(),
        Dtype::BF16 => data.chunks_exact(2).map(|b| bf16::from_le_bytes(b.try_into().expect("2 bytes")).to_f32()).collect(),
        other => return Err(Error::file(path, format!("holds {other:?}, not F16, BF16, F32 or F64"))),
    };
    Ok((view.shape().to_vec(), values))
}

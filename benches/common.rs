//! What the benchmarks share.

use crate::record::{self, Case};
use echogrid::gpu::{AdapterChoice, Engine, Plan, PlanBuilder, Result, Tensor, TuningFile};
use std::path::Path;
use std::time::Instant;

/// The adapter that `ECHOGRID_ADAPTER` names or the fastest, with measurements from a file of `echogrid tune --out`, or those shipped.
pub fn engine(tuning: Option<&Path>) -> std::result::Result<Engine, Box<dyn std::error::Error>> {
    let engine = pollster::block_on(Engine::new(&AdapterChoice::from_option(None)))?;
    let Some(path) = tuning else { return Ok(engine) };
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: cannot be read ({e})", path.display()))?;
    let file: TuningFile = serde_json::from_str(&text).map_err(|e| format!("{}: is not of `echogrid tune --out` ({e})", path.display()))?;
    Ok(engine.with_tuning(file.tuning))
}

/// A tensor with harmless contents.
pub fn tensor(e: &Engine, shape: &[usize]) -> Tensor {
    let data: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    e.upload_f32("bench", shape, &data).unwrap()
}

/// Directions without structure: selection sees what it sees in a search.
pub fn noise(n: usize) -> Vec<f32> {
    let mut s = 1u64;
    let mut next = || {
        s = s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (s >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Seconds of a plan's runs, the shortest first: after a warm-up at least 5, over at least 0.5 s.
pub fn seconds(e: &Engine, plan: &Plan) -> Vec<f64> {
    let once = || {
        let start = Instant::now();
        plan.submit(e).unwrap();
        e.wait("bench").unwrap();
        start.elapsed().as_secs_f64()
    };
    once();
    let (mut all, start) = (Vec::new(), Instant::now());
    while all.len() < 5 || start.elapsed().as_secs_f64() < 0.5 {
        all.push(once());
    }
    all.sort_by(f64::total_cmp);
    all
}

/// Times a plan as a whole: the median of its runs; prints GFLOP/s, GB/s and the share of the device's limit.
pub fn time(e: &Engine, name: &str, build: impl Fn(&mut PlanBuilder<'_>) -> Result<()>) -> f64 {
    let mut b = PlanBuilder::new(e);
    build(&mut b).unwrap();
    let plan = b.finish();
    let all = seconds(e, &plan);
    let mut case = Case::of(name, &all);
    let median = case.median_s;
    case.gflops = plan.flops() / median * 1e-9;
    case.gbytes = plan.bytes() / median * 1e-9;
    case.share = record::roofline().map_or(0.0, |r| r.share(plan.flops(), plan.bytes(), median));
    println!(
        "{name:<48} {:>9.3} ms  {:>8.2} GFLOP/s  {:>7.2} GB/s  {:>3.0} % of the limit  (spread {:.0} %)",
        median * 1e3,
        case.gflops,
        case.gbytes,
        100.0 * case.share,
        (all[all.len() - 1] - all[0]) / median * 100.0
    );
    record::add(case);
    median
}

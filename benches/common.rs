//! What the benchmarks share.

use crate::record::{self, Case};
use echogrid::gpu::{AdapterChoice, Engine, PlanBuilder, Result, Tensor};
use std::time::Instant;

pub fn engine() -> Engine {
    pollster::block_on(Engine::new(&AdapterChoice::from_option(None))).expect("a GPU adapter")
}

/// A tensor with harmless contents.
pub fn tensor(e: &Engine, shape: &[usize]) -> Tensor {
    let data: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    e.upload_f32("bench", shape, &data).unwrap()
}

/// Times a plan as a whole: warm-up, then the median of at least 5 runs over at least 0.5 s; prints GFLOP/s and GB/s.
pub fn time(e: &Engine, name: &str, build: impl Fn(&mut PlanBuilder<'_>) -> Result<()>) -> f64 {
    let mut b = PlanBuilder::new(e);
    build(&mut b).unwrap();
    let plan = b.finish();
    let once = || {
        let start = Instant::now();
        plan.submit(e).unwrap();
        e.wait(name).unwrap();
        start.elapsed().as_secs_f64()
    };
    once();
    let (mut all, start) = (Vec::new(), Instant::now());
    while all.len() < 5 || start.elapsed().as_secs_f64() < 0.5 {
        all.push(once());
    }
    all.sort_by(f64::total_cmp);
    let at = |quarter: usize| all[(all.len() - 1) * quarter / 4];
    let median = all[all.len() / 2];
    record::add(Case {
        name: name.into(),
        runs: all.len(),
        median_s: median,
        quartiles_s: [at(1), at(3)],
        gflops: plan.flops() / median * 1e-9,
        gbytes: plan.bytes() / median * 1e-9,
    });
    println!(
        "{name:<48} {:>9.3} ms  {:>8.2} GFLOP/s  {:>7.2} GB/s  (spread {:.0} %)",
        median * 1e3,
        plan.flops() / median * 1e-9,
        plan.bytes() / median * 1e-9,
        (all[all.len() - 1] - all[0]) / median * 100.0
    );
    median
}

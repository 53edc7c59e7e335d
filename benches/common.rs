//! What the benchmarks share.

use super::record::{Case, Record};
use crate::Result;
use crate::gpu::{self, DType, Engine, Plan, PlanBuilder, Tensor};
use half::f16;
use std::time::Instant;

/// What tensors hold: numbers of [-1, 1].
fn values(shape: &[usize]) -> impl Iterator<Item = f32> {
    (0..shape.iter().product::<usize>()).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0)
}

/// A run of the benchmarks.
pub struct Bench<'a> {
    pub engine: &'a Engine,
    pub record: Record,
    /// Hears of each case when it is done.
    pub done: &'a dyn Fn(&Case),
}

impl Bench<'_> {
    /// A tensor with harmless contents.
    pub fn tensor(&self, shape: &[usize]) -> Result<Tensor> {
        let data: Vec<f32> = values(shape).collect();
        Ok(self.engine.upload_f32("bench", shape, &data)?)
    }

    /// The same, stored as f16 where the device has it.
    pub fn half(&self, shape: &[usize]) -> Result<Tensor> {
        if !self.engine.caps().f16 {
            return self.tensor(shape);
        }
        let data: Vec<f16> = values(shape).map(f16::from_f32).collect();
        Ok(self.engine.upload("bench", shape, DType::F16, &data)?)
    }

    /// Several of one shape.
    pub fn tensors<const N: usize>(&self, shape: &[usize]) -> Result<[Tensor; N]> {
        let all: Vec<Tensor> = (0..N).map(|_| self.tensor(shape)).collect::<Result<_>>()?;
        Ok(all.try_into().unwrap_or_else(|_| unreachable!("as many as asked for")))
    }

    /// A tensor of half spectra; zeros.
    pub fn half_spectra(&self, batch: usize, n: usize, c: usize, dtype: DType) -> Result<Tensor> {
        Ok(self.engine.tensor("half", &crate::kernels::fft::half_shape(batch, [n, n], c), dtype)?)
    }

    /// Times a plan as a whole: the median of its runs.
    pub fn time(&mut self, name: &str, build: impl Fn(&mut PlanBuilder<'_>) -> gpu::Result<()>) -> Result<()> {
        self.add(self.case(name, build)?);
        Ok(())
    }

    /// The same, for a plan that does so many items of work.
    pub fn time_items(
        &mut self,
        name: &str,
        items: usize,
        item: &str,
        build: impl Fn(&mut PlanBuilder<'_>) -> gpu::Result<()>,
    ) -> Result<()> {
        self.add(self.case(name, build)?.rated(items, item));
        Ok(())
    }

    fn case(&self, name: &str, build: impl Fn(&mut PlanBuilder<'_>) -> gpu::Result<()>) -> Result<Case> {
        let mut b = PlanBuilder::new(self.engine);
        build(&mut b)?;
        let plan = b.finish();
        let mut case = Case::of(name, &seconds(self.engine, &plan)?);
        let median = case.median_s;
        case.device_s = stamped(self.engine, &plan)?;
        case.gflops = plan.flops() / median * 1e-9;
        case.gbytes = plan.bytes() / median * 1e-9;
        case.share = self.record.roofline.share(plan.flops(), plan.bytes(), median);
        Ok(case)
    }

    /// Keeps a case.
    pub fn add(&mut self, case: Case) {
        (self.done)(&case);
        self.record.cases.push(case);
    }
}

/// Directions without structure: selection sees what it sees in a search.
pub fn noise(n: usize) -> Vec<f32> {
    crate::random::signed(n, 1)
}

/// The median of three runs by the device's stamps, where all three can be trusted.
fn stamped(e: &Engine, plan: &Plan) -> gpu::Result<Option<f64>> {
    let runs: Vec<Option<f64>> = (0..3).map(|_| plan.device_seconds(e)).collect::<gpu::Result<_>>()?;
    let Some(mut runs) = runs.into_iter().collect::<Option<Vec<f64>>>() else { return Ok(None) };
    runs.sort_by(f64::total_cmp);
    Ok(Some(runs[1]))
}

/// Seconds of a plan's runs, the shortest first: after a warm-up at least 5, over at least 0.5 s.
pub fn seconds(e: &Engine, plan: &Plan) -> gpu::Result<Vec<f64>> {
    let once = || {
        let start = Instant::now();
        plan.submit(e)?;
        e.wait("bench")?;
        Ok(start.elapsed().as_secs_f64())
    };
    once()?;
    let (mut all, start) = (Vec::new(), Instant::now());
    while all.len() < 5 || start.elapsed().as_secs_f64() < 0.5 {
        all.push(once()?);
    }
    all.sort_by(f64::total_cmp);
    Ok(all)
}

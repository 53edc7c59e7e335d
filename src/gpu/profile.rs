//! Time an op: timestamp queries where the device has them, else the wall clock around each dispatch.

use super::{Engine, Plan, Result};

/// Time of one op over a plan.
#[derive(Debug, Clone, serde::Serialize)]
pub struct OpTime {
    /// The op's name.
    pub op: String,
    /// Seconds.
    pub seconds: f64,
    /// Estimated floating-point operations.
    pub flops: f64,
    /// Estimated bytes moved.
    pub bytes: f64,
}

impl Plan {
    /// Runs the plan (again by the wall clock where the stamps cannot be trusted) with every dispatch in a pass of its own and returns each one's time, in order.
    ///
    /// # Errors
    /// As [`Plan::submit`].
    pub fn profile(&self, engine: &Engine) -> Result<Vec<OpTime>> {
        let seconds = match self.by_timestamps(engine)? {
            Some(s) => s,
            None => self.by_wall_clock(engine)?,
        };
        Ok(self
            .steps
            .iter()
            .zip(seconds)
            .map(|(s, seconds)| OpTime { op: s.op.clone(), seconds, flops: s.cost.flops, bytes: s.cost.bytes })
            .collect())
    }

    /// Runs the plan with every dispatch in a pass of its own, and sums their seconds by the device's stamps; nothing where it has none that can
    /// be trusted.
    ///
    /// # Errors
    /// As [`Plan::submit`].
    pub fn device_seconds(&self, engine: &Engine) -> Result<Option<f64>> {
        Ok(self.by_timestamps(engine)?.map(|all| all.iter().sum()))
    }

    fn by_timestamps(&self, engine: &Engine) -> Result<Option<Vec<f64>>> {
        if !engine.caps().timestamp {
            return Ok(None);
        }
        let device = engine.device();
        let period = f64::from(engine.queue().get_timestamp_period()) * 1e-9;
        let mut all = Vec::with_capacity(self.steps.len());
        // Few in a submission: a long one would run into a driver's time-out.
        for steps in self.steps.chunks(64) {
            let count = steps.len() as u32 * 2;
            let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
            let resolved = engine.buffer("profile", u64::from(count) * 8, usage)?;
            engine.scoped("profile", 0, || {
                let set = device.create_query_set(&wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count });
                let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                for (i, step) in steps.iter().enumerate() {
                    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                        label: None,
                        timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                            query_set: &set,
                            beginning_of_pass_write_index: Some(i as u32 * 2),
                            end_of_pass_write_index: Some(i as u32 * 2 + 1),
                        }),
                    });
                    pass.set_pipeline(&step.pipeline.raw);
                    pass.set_bind_group(0, &step.bind_group, &[]);
                    pass.dispatch_workgroups(step.groups[0], step.groups[1], step.groups[2]);
                }
                encoder.resolve_query_set(&set, 0..count, &resolved, 0);
                engine.queue().submit([encoder.finish()]);
            })?;
            let words = super::Tensor::from_buffer(resolved, 0, &[count as usize * 2], super::DType::U32)?;
            let ticks: Vec<u64> = engine.read(&words)?;
            for pair in ticks.chunks_exact(2) {
                // Some drivers leave zeros or go backwards: such a run is not trusted.
                if pair[0] == 0 || pair[1] < pair[0] {
                    return Ok(None);
                }
                all.push((pair[1] - pair[0]) as f64 * period);
            }
        }
        // A device that stamps while recording reports next to nothing for real work.
        Ok((all.iter().sum::<f64>() > 1e-9 * all.len() as f64).then_some(all))
    }

    fn by_wall_clock(&self, engine: &Engine) -> Result<Vec<f64>> {
        engine.wait("profile")?;
        self.steps
            .iter()
            .map(|step| {
                let one = Plan { steps: vec![step.clone()] };
                let start = std::time::Instant::now();
                one.submit(engine)?;
                engine.wait(&step.op)?;
                Ok(start.elapsed().as_secs_f64())
            })
            .collect()
    }
}

/// The median time of each dispatch over several runs of one plan.
pub fn medians(runs: &[Vec<OpTime>]) -> Vec<OpTime> {
    let mut median = runs.first().cloned().unwrap_or_default();
    for (i, op) in median.iter_mut().enumerate() {
        let mut all: Vec<f64> = runs.iter().map(|r| r[i].seconds).collect();
        all.sort_by(f64::total_cmp);
        op.seconds = all[all.len() / 2];
    }
    median
}

/// Sums times by the op's last path component, largest first.
pub fn summarise(times: &[OpTime]) -> Vec<OpTime> {
    let mut by: std::collections::BTreeMap<&str, OpTime> = std::collections::BTreeMap::new();
    for t in times {
        let name = t.op.rsplit('/').next().unwrap_or(&t.op);
        let e = by.entry(name).or_insert_with(|| OpTime { op: name.into(), seconds: 0.0, flops: 0.0, bytes: 0.0 });
        e.seconds += t.seconds;
        e.flops += t.flops;
        e.bytes += t.bytes;
    }
    let mut all: Vec<_> = by.into_values().collect();
    all.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    all
}

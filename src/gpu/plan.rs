//! A plan: pipelines, parameters and bind groups made once; running it only records dispatches.

use super::shader::BindingKind;
use super::{DType, Engine, Error, Pipeline, Result, ShaderSource, Tensor, Variant};
use bytemuck::Pod;
use std::sync::Arc;

/// Estimated work of one dispatch, for profiles and for cutting long submissions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Floating-point operations (a multiply-add is two).
    pub flops: f64,
    /// Bytes that must cross memory at least once.
    pub bytes: f64,
}

impl Cost {
    /// Bytes alone: an op bound by memory.
    pub fn bytes(bytes: u64) -> Self {
        Self { flops: 0.0, bytes: bytes as f64 }
    }

    /// Floating-point operations alone.
    pub fn flops(flops: f64) -> Self {
        Self { flops, bytes: 0.0 }
    }
}

/// How exactly products and convolutions multiply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// In f32.
    #[default]
    Full,
    /// Both factors are rounded to f16, whatever the kernel; sums are f32. Where a device has cooperative matrices (tensor cores), it
    /// multiplies with them. A network hands f16 on between convolutions, where the device has f16 in shaders; its weights,
    /// their gradients, its inputs and outputs are f32. What exceeds 65,504 between them becomes infinite.
    Mixed,
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full => "full precision",
            Self::Mixed => "mixed precision",
        })
    }
}

/// The number of workgroups of a dispatch.
#[derive(Debug, Clone, Copy)]
pub enum Groups {
    /// A linear count, folded into two dimensions; the shader recovers it with `fold_group` and must skip groups beyond it.
    Linear(u64),
    /// Explicit dimensions, each at most 65,535.
    Grid(u32, u32, u32),
}

impl Groups {
    /// Enough groups of `size` invocations for `items`.
    pub fn for_items(items: usize, size: usize) -> Self {
        Self::Linear(items.div_ceil(size) as u64)
    }

    fn fold(self, op: &str, max: u32) -> Result<[u32; 3]> {
        let over = |need: u64| Error::Limit {
            op: op.into(),
            what: "the number of workgroups".into(),
            need,
            limit: u64::from(max),
            advice: "use a smaller batch".into(),
        };
        match self {
            Self::Linear(n) if n <= u64::from(max) => Ok([n as u32, 1, 1]),
            Self::Linear(n) => {
                let y = n.div_ceil(u64::from(max));
                let x = n.div_ceil(y);
                if y > u64::from(max) { Err(over(n)) } else { Ok([x as u32, y as u32, 1]) }
            }
            Self::Grid(x, y, z) => match [x, y, z].into_iter().find(|v| *v > max) {
                Some(v) => Err(over(v.into())),
                None => Ok([x, y, z]),
            },
        }
    }
}

/// What is bound to a slot of a shader: a tensor or a texture array.
#[derive(Debug, Clone, Copy)]
pub enum Binding<'a> {
    /// A storage buffer.
    Tensor(&'a Tensor),
    /// A `texture_2d_array<f32>` view.
    Texture(&'a wgpu::TextureView),
}

impl<'a> From<&'a Tensor> for Binding<'a> {
    fn from(t: &'a Tensor) -> Self {
        Self::Tensor(t)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) bind_group: wgpu::BindGroup,
    pub(crate) groups: [u32; 3],
    pub(crate) op: String,
    pub(crate) cost: Cost,
}

/// A recorded list of dispatches, ready to run any number of times.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub(crate) steps: Vec<Step>,
}

/// Work in one submission is cut near this many floating-point operations (about 50 ms on a small GPU; a byte moved weighs as 50),
/// because Windows resets a device that is busy for 2 s.
const SUBMISSION_FLOPS: f64 = 5e10;

impl Plan {
    /// Number of dispatches.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The sum of the dispatches' floating-point operations.
    pub fn flops(&self) -> f64 {
        self.steps.iter().map(|s| s.cost.flops).sum()
    }

    /// The sum of the bytes that the dispatches must move.
    pub fn bytes(&self) -> f64 {
        self.steps.iter().map(|s| s.cost.bytes).sum()
    }

    /// Appends the dispatches of another plan.
    pub fn extend(&mut self, other: Plan) {
        self.steps.extend(other.steps);
    }

    /// The first `n` dispatches, and the others.
    #[must_use]
    pub fn split_at(mut self, n: usize) -> [Self; 2] {
        let rest = self.steps.split_off(n.min(self.steps.len()));
        [self, Self { steps: rest }]
    }

    /// Records all dispatches into a compute pass of the caller's; never submits or polls.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        record_steps(&self.steps, pass);
    }

    /// Submits the plan on the engine's queue in pieces that stay well under a driver's time-out. Does not wait.
    ///
    /// # Errors
    /// Whatever the device reported so far: lost, out of memory, validation.
    pub fn submit(&self, engine: &Engine) -> Result<()> {
        let mut start = 0;
        while start < self.steps.len() {
            let (mut end, mut flops) = (start, 0.0);
            // A byte weighs as 50 operations: about 1 GB a submission where nothing is computed.
            let work = |s: &Step| s.cost.flops + 50.0 * s.cost.bytes;
            while end < self.steps.len() && (end == start || flops + work(&self.steps[end]) <= SUBMISSION_FLOPS) {
                flops += work(&self.steps[end]);
                end += 1;
            }
            engine.scoped("plan", 0, || {
                let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("plan") });
                record_steps(&self.steps[start..end], &mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
                engine.queue().submit([encoder.finish()]);
            })?;
            start = end;
        }
        Ok(())
    }
}

fn record_steps(steps: &[Step], pass: &mut wgpu::ComputePass<'_>) {
    let mut last: *const Pipeline = std::ptr::null();
    for step in steps {
        if !std::ptr::eq(last, Arc::as_ptr(&step.pipeline)) {
            pass.set_pipeline(&step.pipeline.raw);
            last = Arc::as_ptr(&step.pipeline);
        }
        pass.set_bind_group(0, &step.bind_group, &[]);
        pass.dispatch_workgroups(step.groups[0], step.groups[1], step.groups[2]);
    }
}

/// Builds a [`Plan`]: kernels append their dispatches to it.
#[derive(Debug)]
pub struct PlanBuilder<'e> {
    engine: &'e Engine,
    plan: Plan,
    scope: String,
    precision: Precision,
    scratch: Vec<(&'static str, Tensor)>,
}

impl<'e> PlanBuilder<'e> {
    /// An empty plan on an engine.
    pub fn new(engine: &'e Engine) -> Self {
        Self { engine, plan: Plan::default(), scope: String::new(), precision: Precision::Full, scratch: Vec::new() }
    }

    /// The engine the plan is for.
    pub fn engine(&self) -> &'e Engine {
        self.engine
    }

    /// Number of dispatches so far.
    pub fn len(&self) -> usize {
        self.plan.len()
    }

    /// Whether nothing is recorded yet.
    pub fn is_empty(&self) -> bool {
        self.plan.is_empty()
    }

    /// A prefix for the op names that follow (a layer's name, for instance); empty for none.
    pub fn scope(&mut self, name: &str) {
        self.scope = name.into();
    }

    /// How products and convolutions that follow multiply; in full at first.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    /// How products and convolutions multiply now.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// A tensor for what a kernel's own dispatches hand on to each other. The next call with the same label may be given the same memory (where it is
    /// enough, else larger one in its place), so that a deep network does not hold a layer's intermediate results once a layer; of one label no two
    /// may be in use at a time. For what is as large as images: a few sums are not worth it.
    ///
    /// # Errors
    /// Device limits or memory.
    pub fn scratch(&mut self, label: &'static str, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let bytes = (shape.iter().product::<usize>() * dtype.bytes()) as u64;
        if let Some((_, t)) = self.scratch.iter().find(|(l, t)| *l == label && t.bytes() >= bytes) {
            return Tensor::from_buffer(t.buffer().clone(), 0, shape, dtype);
        }
        let t = self.engine.tensor(label, shape, dtype)?;
        self.scratch.retain(|(l, _)| *l != label);
        self.scratch.push((label, t.clone()));
        Ok(t)
    }

    /// Appends one dispatch. `bindings` fill the shader's slots in order; `params`, when the shader has a uniform as its
    /// last slot, is copied into a buffer of its own.
    ///
    /// # Errors
    /// Wrong number of bindings, a uniform of another size, a tensor over the binding limit, too many groups, one buffer
    /// bound for reading and for writing.
    pub fn dispatch<P: Pod>(
        &mut self,
        op: &str,
        source: &ShaderSource,
        variant: &Variant,
        bindings: &[Binding<'_>],
        params: &P,
        groups: Groups,
        cost: Cost,
    ) -> Result<()> {
        let op = if self.scope.is_empty() { op.to_string() } else { format!("{}/{op}", self.scope) };
        let engine = self.engine;
        let caps = engine.caps();
        if variant.has_f16() && !caps.f16 {
            let reason =
                "this device has no f16 in shaders, or was opened without, or ECHOGRID_DISABLE switches it off: keep the tensors in F32";
            return Err(Error::shape(op, reason));
        }
        let pipeline = engine.pipeline(source, variant)?;
        let groups = groups.fold(&op, caps.max_groups)?;
        if groups.contains(&0) {
            return Ok(());
        }
        let uniform = pipeline.bindings.iter().any(|(_, k)| matches!(k, BindingKind::Uniform(_)));
        let expected = pipeline.bindings.len() - usize::from(uniform);
        if bindings.len() != expected {
            return Err(Error::shape(op, format!("{} takes {expected} bindings, {} given", pipeline.label, bindings.len())));
        }
        let mut entries = Vec::with_capacity(pipeline.bindings.len());
        for (i, binding) in bindings.iter().enumerate() {
            let (name, kind) = &pipeline.bindings[i];
            let resource = match (binding, kind) {
                (Binding::Tensor(t), BindingKind::Read | BindingKind::ReadWrite) => {
                    if t.bytes() > caps.max_binding {
                        return Err(Error::Limit {
                            op,
                            what: format!("bytes of `{name}` {:?}", t.shape()),
                            need: t.bytes(),
                            limit: caps.max_binding,
                            advice: "use a smaller batch or a smaller image".into(),
                        });
                    }
                    t.binding()
                }
                (Binding::Texture(v), BindingKind::TextureArray) => wgpu::BindingResource::TextureView(v),
                _ => return Err(Error::shape(op, format!("{}: slot {i} `{name}` does not take what was bound", pipeline.label))),
            };
            entries.push(wgpu::BindGroupEntry { binding: i as u32, resource });
        }
        for (i, a) in bindings.iter().enumerate() {
            for (j, b) in bindings.iter().enumerate().skip(i + 1) {
                if let (Binding::Tensor(x), Binding::Tensor(y)) = (a, b)
                    && x.same_buffer(y)
                    && (pipeline.bindings[i].1 == BindingKind::ReadWrite || pipeline.bindings[j].1 == BindingKind::ReadWrite)
                {
                    return Err(Error::shape(op, format!("{}: slots {i} and {j} share a buffer that is written", pipeline.label)));
                }
            }
        }
        let buffer;
        if uniform {
            let (name, kind) = pipeline.bindings.last().expect("a uniform is there");
            let bytes = bytemuck::bytes_of(params);
            if *kind != BindingKind::Uniform(bytes.len() as u32) {
                return Err(Error::shape(
                    op,
                    format!("{}: `{name}` must be the last slot and {kind:?}, given {} bytes", pipeline.label, bytes.len()),
                ));
            }
            buffer = engine.buffer_init(&op, bytes, wgpu::BufferUsages::UNIFORM)?;
            entries.push(wgpu::BindGroupEntry { binding: bindings.len() as u32, resource: buffer.as_entire_binding() });
        }
        let bind_group = engine.scoped(&op, 0, || {
            engine.device().create_bind_group(&wgpu::BindGroupDescriptor { label: Some(&op), layout: &pipeline.layout, entries: &entries })
        })?;
        self.plan.steps.push(Step { pipeline, bind_group, groups, op, cost });
        Ok(())
    }

    /// The finished plan.
    pub fn finish(self) -> Plan {
        self.plan
    }
}

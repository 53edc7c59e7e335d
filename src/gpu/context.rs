//! The engine: an adapter, a device and what is cached on it.

use super::caps::cooperative_side;
use super::pipeline::PipelineCache;
use super::transfer::Staging;
use super::{Caps, DType, Error, Requirements, Result, Tensor, Tuning};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Which adapter to open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// The fastest: discrete before integrated before virtual before software.
    #[default]
    Best,
    /// The first whose name, driver or backend contains this text (case ignored), or whose number in `echogrid info` it is.
    Named(String),
}

impl AdapterChoice {
    /// From an option's value, else from `ECHOGRID_ADAPTER`, else the best.
    pub fn from_option(name: Option<&str>) -> Self {
        match name.map(str::to_owned).or_else(|| std::env::var("ECHOGRID_ADAPTER").ok()).filter(|s| !s.trim().is_empty()) {
            Some(name) => Self::Named(name.trim().to_owned()),
            None => Self::Best,
        }
    }
}

/// An adapter as `echogrid info` lists it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct AdapterSummary {
    /// Name given by the driver.
    pub name: String,
    /// Backend: Vulkan, Metal, DX12.
    pub backend: String,
    /// Kind of device: DiscreteGpu, IntegratedGpu, VirtualGpu, Cpu, Other.
    pub kind: String,
    /// Driver and its version.
    pub driver: String,
}

impl AdapterSummary {
    fn new(info: &wgpu::AdapterInfo) -> Self {
        Self {
            name: info.name.clone(),
            backend: info.backend.to_string(),
            kind: format!("{:?}", info.device_type),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
        }
    }
}

impl std::fmt::Display for AdapterSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {}; {})", self.name, self.backend, if self.kind == "Cpu" { "software" } else { &self.kind }, self.driver)
    }
}

/// Every adapter the machine offers, best first.
pub async fn list_adapters() -> Vec<AdapterSummary> {
    adapters().await.iter().map(|a| AdapterSummary::new(&a.get_info())).collect()
}

async fn adapters() -> Vec<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let mut all: Vec<_> = instance.enumerate_adapters(wgpu::Backends::all()).await;
    all.sort_by_key(|a| {
        let info = a.get_info();
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        };
        // One device may be there twice: OpenGL offers less.
        (kind, info.backend == wgpu::Backend::Gl)
    });
    all
}

#[derive(Debug, Default)]
struct Faults {
    lost: Option<String>,
    error: Option<String>,
    out_of_memory: Option<String>,
}

/// A device with its pipelines: everything runs on one.
#[derive(Debug)]
pub struct Engine {
    device: wgpu::Device,
    queue: wgpu::Queue,
    caps: Caps,
    summary: AdapterSummary,
    tuning: Tuning,
    pipelines: PipelineCache,
    faults: Arc<Mutex<Faults>>,
    foreign: bool,
    staging: Staging,
    checked: bool,
}

impl Engine {
    /// Opens a device of its own on the chosen adapter with all it can use.
    ///
    /// # Errors
    /// No such adapter, or the driver refuses a device.
    pub async fn new(choice: &AdapterChoice) -> Result<Self> {
        Self::open(choice, false).await
    }

    /// Opens a device with `Limits::default()` and no feature: the least an embedding app offers.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub async fn new_baseline(choice: &AdapterChoice) -> Result<Self> {
        Self::open(choice, true).await
    }

    async fn open(choice: &AdapterChoice, baseline: bool) -> Result<Self> {
        let all = adapters().await;
        let found: Vec<_> = all.iter().map(|a| AdapterSummary::new(&a.get_info())).collect();
        let index = match choice {
            AdapterChoice::Best => (!found.is_empty()).then_some(0),
            AdapterChoice::Named(name) => name.parse().ok().filter(|i| *i < found.len()).or_else(|| {
                let name = name.to_lowercase();
                found.iter().position(|a| a.to_string().to_lowercase().contains(&name))
            }),
        };
        let Some(index) = index else {
            return Err(Error::NoAdapter {
                wanted: match choice {
                    AdapterChoice::Best => "at all".into(),
                    AdapterChoice::Named(n) => format!("matching `{n}`"),
                },
                found: if found.is_empty() { "none".into() } else { found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ") },
            });
        };
        let adapter = &all[index];
        let request = async |want: Requirements| {
            let descriptor = wgpu::DeviceDescriptor {
                label: Some("echogrid"),
                required_features: want.features,
                required_limits: want.limits,
                experimental_features: want.experimental,
                memory_hints: wgpu::MemoryHints::Performance,
                ..Default::default()
            };
            adapter.request_device(&descriptor).await
        };
        let opened = match baseline {
            true => request(Requirements::baseline()).await,
            // A driver may offer an experimental feature and refuse it.
            false => match request(Requirements::best(adapter).cooperative(adapter)).await {
                Ok(opened) => Ok(opened),
                Err(_) => request(Requirements::best(adapter)).await,
            },
        };
        let (device, queue) = opened.map_err(|e| Error::Device { adapter: found[index].to_string(), reason: e.to_string() })?;
        let faults = Arc::new(Mutex::new(Faults::default()));
        let slot = faults.clone();
        device.set_device_lost_callback(move |reason, message| {
            slot.lock().expect("no panic under the lock").lost = Some(format!("{reason:?} {message}"));
        });
        let slot = faults.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            let mut faults = slot.lock().expect("no panic under the lock");
            match error {
                wgpu::Error::OutOfMemory { source } => faults.out_of_memory = Some(source.to_string()),
                other => faults.error = Some(other.to_string()),
            }
        }));
        let mut engine = Self::from_device(device, queue).with_cooperative(adapter);
        engine.faults = faults;
        engine.foreign = false;
        Ok(engine)
    }

    /// Runs on a device of the app's own. No handler is installed on it; errors come back as values.
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let (caps, summary) = (Caps::new(&device), AdapterSummary::new(&device.adapter_info()));
        // A software adapter that is to choose what a GPU would run must not go by its own measurements.
        let own = caps.software || summary.kind != "Cpu";
        Self {
            tuning: Tuning::shipped(&summary.name, caps.lanes()).filter(|_| own).unwrap_or_default(),
            caps,
            summary,
            device,
            queue,
            pipelines: PipelineCache::default(),
            faults: Arc::default(),
            foreign: true,
            staging: Staging::default(),
            checked: std::env::var("ECHOGRID_CHECKED").is_ok_and(|v| v == "1"),
        }
    }

    /// Told which cooperative matrices the device's adapter has: a device alone does not say. Without them nothing is lost but speed under
    /// [`Precision::Mixed`](super::Precision).
    #[must_use]
    pub fn with_cooperative(mut self, adapter: &wgpu::Adapter) -> Self {
        self.caps = self.caps.with_cooperative(&self.device, cooperative_side(adapter));
        self
    }

    /// What to ask an adapter for so that an engine on its device is at its best; [`Requirements::cooperative`] adds what wgpu calls experimental.
    pub fn requirements(adapter: &wgpu::Adapter) -> Requirements {
        Requirements::best(adapter)
    }

    /// With measurements of this device (`echogrid::tune` makes them) instead of those shipped for its like, if any.
    #[must_use]
    pub fn with_tuning(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// The measurements by which kernels are chosen.
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// The queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// The device's capabilities.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The adapter's name, backend and driver.
    pub fn adapter(&self) -> &AdapterSummary {
        &self.summary
    }

    pub(crate) fn staging(&self) -> &Staging {
        &self.staging
    }

    pub(crate) fn pipelines(&self) -> &PipelineCache {
        &self.pipelines
    }

    /// Whether shaders run with wgpu's bounds and loop checks (`ECHOGRID_CHECKED=1`).
    pub fn checked(&self) -> bool {
        self.checked
    }

    /// What the device has reported since it was opened, as an error of `op`.
    ///
    /// # Errors
    /// Lost, out of memory, validation.
    pub fn check(&self, op: &str) -> Result<()> {
        if self.foreign && !self.alive() {
            return Err(Error::Lost { op: op.into(), reason: "it takes no more work".into() });
        }
        let mut faults = self.faults.lock().expect("no panic under the lock");
        if let Some(reason) = &faults.lost {
            return Err(Error::Lost { op: op.into(), reason: reason.clone() });
        }
        if let Some(reason) = faults.out_of_memory.take() {
            return Err(Error::OutOfMemory { op: op.into(), bytes: 0, reason });
        }
        match faults.error.take() {
            Some(reason) => Err(Error::Validation { op: op.into(), reason }),
            None => Ok(()),
        }
    }

    /// Whether a device that we may set no handler on still makes buffers. wgpu tells a loss to the handler alone, but the
    /// memory of a buffer that a lost device made cannot be had.
    fn alive(&self) -> bool {
        let usage = wgpu::BufferUsages::COPY_SRC;
        let probe = self.device.create_buffer(&wgpu::BufferDescriptor { label: Some("probe"), size: 4, usage, mapped_at_creation: true });
        probe.get_mapped_range_mut(..).is_ok()
    }

    /// Runs `make` under error scopes and turns what they catch into an error value of `op`.
    pub(crate) fn scoped<T>(&self, op: &str, bytes: u64, make: impl FnOnce() -> T) -> Result<T> {
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let value = make();
        let (memory, internal, validation) = (ready(memory.pop()), ready(internal.pop()), ready(validation.pop()));
        self.check(op)?;
        if let Some(e) = memory.flatten() {
            return Err(Error::OutOfMemory { op: op.into(), bytes, reason: e.to_string() });
        }
        match internal.flatten().or(validation.flatten()) {
            Some(e) => Err(Error::Validation { op: op.into(), reason: e.to_string() }),
            None => Ok(value),
        }
    }

    /// A buffer of `bytes` (rounded up to whole words).
    pub(crate) fn buffer(&self, op: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let size = bytes.checked_next_multiple_of(4).unwrap_or(bytes).max(4);
        if size > self.caps.max_buffer {
            return Err(Error::Limit {
                op: op.into(),
                what: "bytes of a buffer".into(),
                need: size,
                limit: self.caps.max_buffer,
                advice: "use a smaller batch or a smaller image".into(),
            });
        }
        self.scoped(op, size, || {
            self.device.create_buffer(&wgpu::BufferDescriptor { label: Some(op), size, usage, mapped_at_creation: false })
        })
    }

    pub(crate) fn buffer_init(&self, op: &str, data: &[u8], usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let buffer = self.buffer(op, data.len() as u64, usage | wgpu::BufferUsages::COPY_DST)?;
        self.write_bytes(&buffer, 0, data);
        Ok(buffer)
    }

    pub(crate) fn write_bytes(&self, buffer: &wgpu::Buffer, offset: u64, data: &[u8]) {
        let whole = data.len() & !3;
        if whole > 0 {
            self.queue.write_buffer(buffer, offset, &data[..whole]);
        }
        if whole < data.len() {
            let mut tail = [0u8; 4];
            tail[..data.len() - whole].copy_from_slice(&data[whole..]);
            self.queue.write_buffer(buffer, offset + whole as u64, &tail);
        }
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// Over the largest buffer, or out of memory.
    pub fn tensor(&self, name: &str, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let bytes = shape.iter().fold(dtype.bytes() as u64, |n, d| n.saturating_mul(*d as u64));
        Ok(Tensor::new(Arc::new(self.buffer(name, bytes, usage)?), shape, dtype))
    }
}

/// The result of a future that is ready at once, as wgpu's error scopes are on native backends.
fn ready<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(v) => Some(v),
        Poll::Pending => None,
    }
}

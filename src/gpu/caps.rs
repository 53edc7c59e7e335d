//! What a device can do, and what to ask an adapter for.

use serde::Serialize;

/// Features and limits to request from an adapter so that every variant it can carry is available.
#[derive(Debug, Clone)]
pub struct Requirements {
    /// Features to request; a subset of the adapter's.
    pub features: wgpu::Features,
    /// Limits to request; at most the adapter's.
    pub limits: wgpu::Limits,
    /// To request with them: what wgpu calls experimental must be allowed by name.
    pub experimental: wgpu::ExperimentalFeatures,
}

impl Requirements {
    /// Everything useful that `adapter` offers. A device opened with less still works: kernels fall back.
    pub fn best(adapter: &wgpu::Adapter) -> Self {
        let shaders = wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16 | wgpu::Features::SHADER_INT64;
        let wanted = shaders | wgpu::Features::TIMESTAMP_QUERY;
        let have = adapter.limits();
        let base = wgpu::Limits::default();
        let limits = wgpu::Limits {
            max_storage_buffer_binding_size: have.max_storage_buffer_binding_size,
            max_buffer_size: have.max_buffer_size,
            max_compute_workgroup_storage_size: have.max_compute_workgroup_storage_size,
            max_compute_invocations_per_workgroup: have.max_compute_invocations_per_workgroup,
            max_compute_workgroup_size_x: have.max_compute_workgroup_size_x,
            max_texture_array_layers: have.max_texture_array_layers,
            ..base
        };
        Self { features: adapter.features() & wanted, limits, experimental: wgpu::ExperimentalFeatures::disabled() }
    }

    /// With cooperative matrices too, where `adapter` has those that kernels take: wgpu calls them experimental. An engine uses them under
    /// [`Precision::Mixed`](super::Precision) alone, and once they were held against their twin (`echogrid::tune`);
    /// [`Engine::with_cooperative`](super::Engine::with_cooperative) tells it of them.
    #[must_use]
    pub fn cooperative(mut self, adapter: &wgpu::Adapter) -> Self {
        if enabled("coop")
            && cooperative_side(adapter).is_some()
            && self.features.contains(wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP)
        {
            self.features |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
            // SAFETY: the feature is experimental in that wgpu's API and its validation may have holes; the kernels that use it are our own and
            // are held against their twin on the device before they are trusted.
            self.experimental = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        self
    }

    /// The baseline tier: no feature, `Limits::default()`.
    pub fn baseline() -> Self {
        Self { features: wgpu::Features::empty(), limits: wgpu::Limits::default(), experimental: wgpu::ExperimentalFeatures::disabled() }
    }
}

/// Whether `ECHOGRID_DISABLE` does not name it.
fn enabled(name: &str) -> bool {
    !std::env::var("ECHOGRID_DISABLE").unwrap_or_default().split(',').any(|s| s.trim() == name)
}

/// Side of the square matrices, f16 times f16 onto f32, that a subgroup of the adapter multiplies as one; the largest.
pub(super) fn cooperative_side(adapter: &wgpu::Adapter) -> Option<u32> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let all = adapter.cooperative_matrix_properties();
    let ours = all.iter().filter(|p| p.ab_type == F16 && p.cr_type == F32 && p.m_size == p.n_size && p.n_size == p.k_size);
    ours.map(|p| p.m_size).max()
}

/// Capabilities of an open device, after switches in `ECHOGRID_DISABLE` (a comma list of `f16`, `int64`, `subgroup`, `coop`, `timestamp`, and
/// `software` to choose on a software adapter what a GPU would run, for tests).
#[derive(Debug, Clone, Serialize)]
pub struct Caps {
    /// Subgroup operations may be used.
    pub subgroup: bool,
    /// Smallest subgroup size the adapter declares (0 where unknown).
    pub subgroup_min: u32,
    /// Largest subgroup size the adapter declares (0 where unknown).
    pub subgroup_max: u32,
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// 64-bit integers in shaders.
    pub int64: bool,
    /// Side of the square matrices (f16 times f16 onto f32) that a subgroup multiplies as one; 0 where it does not.
    pub cooperative: u32,
    /// Timestamp queries around compute passes.
    pub timestamp: bool,
    /// The adapter computes on the CPU: kernels choose variants that load little.
    pub software: bool,
    /// Largest storage binding, bytes.
    pub max_binding: u64,
    /// Largest buffer, bytes.
    pub max_buffer: u64,
    /// Most workgroups in one dimension.
    pub max_groups: u32,
    /// Workgroup memory, bytes.
    pub max_workgroup_bytes: u32,
    /// Most invocations in a workgroup.
    pub max_invocations: u32,
    /// Most storage buffers in one dispatch.
    pub max_storage_buffers: u32,
    /// Most layers in a 2-D texture array.
    pub max_texture_layers: u32,
}

impl Caps {
    /// Widths of subgroups that kernels are written for.
    pub(crate) const LANES: [u32; 5] = [4, 8, 16, 32, 64];

    pub(crate) fn new(device: &wgpu::Device) -> Self {
        let (features, limits, info) = (device.features(), device.limits(), device.adapter_info());
        let on = |name: &str, f: wgpu::Features| features.contains(f) && enabled(name);
        Self {
            subgroup: on("subgroup", wgpu::Features::SUBGROUP),
            subgroup_min: info.subgroup_min_size,
            subgroup_max: info.subgroup_max_size,
            f16: on("f16", wgpu::Features::SHADER_F16),
            int64: on("int64", wgpu::Features::SHADER_INT64),
            cooperative: 0,
            timestamp: on("timestamp", wgpu::Features::TIMESTAMP_QUERY),
            software: info.device_type == wgpu::DeviceType::Cpu && enabled("software"),
            // Kernels count elements in u32 and look a few steps ahead.
            max_binding: limits.max_storage_buffer_binding_size.min((1 << 31) - 256),
            max_buffer: limits.max_buffer_size,
            max_groups: limits.max_compute_workgroups_per_dimension,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_texture_layers: limits.max_texture_array_layers,
        }
    }

    /// With cooperative matrices of this side, if the device has the feature and nothing that they need is switched off.
    pub(super) fn with_cooperative(mut self, device: &wgpu::Device, side: Option<u32>) -> Self {
        let usable = self.f16 && enabled("coop") && device.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
        self.cooperative = side.filter(|_| usable && self.lanes().is_some()).unwrap_or(0);
        self
    }

    /// Lanes of every subgroup, where they all have as many and a workgroup of so many is one.
    pub fn lanes(&self) -> Option<usize> {
        let size = self.subgroup_min;
        (self.subgroup && size == self.subgroup_max && Self::LANES.contains(&size)).then_some(size as usize)
    }

    /// Whether every subgroup on this device has exactly `size` lanes.
    pub fn subgroup_is(&self, size: u32) -> bool {
        self.subgroup && self.subgroup_min == size && self.subgroup_max == size
    }
}

//! Compute pipelines with layouts reflected from the shader, built once for each variant.

use super::shader::{BindingKind, expand, reflect};
use super::{Engine, Error, Result, ShaderSource, Variant};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// A compiled variant of a shader.
#[derive(Debug)]
pub struct Pipeline {
    pub(crate) raw: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
    pub(crate) bindings: Vec<(String, BindingKind)>,
    /// `stem[variant]`, for messages and profiles.
    pub label: String,
}

#[derive(Debug, Default)]
pub(crate) struct PipelineCache {
    map: Mutex<HashMap<(&'static str, Variant), Arc<Pipeline>>>,
}

impl Engine {
    /// The pipeline of a shader's variant, compiled at first use.
    ///
    /// # Errors
    /// A shader that does not parse or validate; workgroup memory, invocations or storage buffers over the device's limits
    /// (wgpu itself does not check the first).
    pub fn pipeline(&self, source: &ShaderSource, variant: &Variant) -> Result<Arc<Pipeline>> {
        let key = (source.stem, variant.clone());
        if let Some(p) = self.pipelines().map.lock().expect("no panic under the lock").get(&key) {
            return Ok(p.clone());
        }
        let pipeline = Arc::new(self.compile(source, variant)?);
        self.pipelines().map.lock().expect("no panic under the lock").insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn compile(&self, source: &ShaderSource, variant: &Variant) -> Result<Pipeline> {
        let label = format!("{}[{variant}]", source.stem);
        let wgsl = expand(source, variant)?;
        let reflection = reflect(source.stem, &variant.to_string(), &wgsl)?;
        let caps = self.caps();
        let over = |what: &str, need: u64, limit: u64| Error::Limit {
            op: label.clone(),
            what: what.into(),
            need,
            limit,
            advice: "another variant of this kernel must be chosen: please report this".into(),
        };
        let storage = reflection.bindings.iter().filter(|(_, k)| matches!(k, BindingKind::Read | BindingKind::ReadWrite)).count();
        let invocations: u32 = reflection.workgroup_size.iter().product();
        for (what, need, limit) in [
            ("workgroup memory in bytes", reflection.workgroup_bytes, caps.max_workgroup_bytes),
            ("invocations in a workgroup", invocations, caps.max_invocations),
            ("storage buffers", storage as u32, caps.max_storage_buffers),
        ] {
            if need > limit {
                return Err(over(what, need.into(), limit.into()));
            }
        }
        let entries: Vec<_> = reflection
            .bindings
            .iter()
            .enumerate()
            .map(|(i, (_, kind))| wgpu::BindGroupLayoutEntry {
                binding: i as u32,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: match kind {
                    BindingKind::TextureArray => wgpu::BindingType::Texture {
                        sample_type: wgpu::TextureSampleType::Float { filterable: false },
                        view_dimension: wgpu::TextureViewDimension::D2Array,
                        multisampled: false,
                    },
                    BindingKind::Uniform(_) => buffer_binding(wgpu::BufferBindingType::Uniform),
                    BindingKind::Read => buffer_binding(wgpu::BufferBindingType::Storage { read_only: true }),
                    BindingKind::ReadWrite => buffer_binding(wgpu::BufferBindingType::Storage { read_only: false }),
                },
                count: None,
            })
            .collect();
        let device = self.device();
        let started = std::time::Instant::now();
        let (raw, layout) = self.scoped(&label, 0, || {
            let descriptor =
                wgpu::ShaderModuleDescriptor { label: Some(&label), source: wgpu::ShaderSource::Naga(Cow::Owned(reflection.module)) };
            // SAFETY: the shaders are our own; every index is in range by construction, no loop is endless, no divisor is
            // zero, and the test suite runs each variant with the checks on (ECHOGRID_CHECKED=1).
            let module = if self.checked() {
                device.create_shader_module(descriptor)
            } else {
                unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
            };
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(&label),
                bind_group_layouts: &[Some(&layout)],
                ..Default::default()
            });
            let raw = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&label),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions { constants: &[], zero_initialize_workgroup_memory: false },
                cache: None,
            });
            (raw, layout)
        })?;
        tracing::debug!("compiled {label} in {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
        Ok(Pipeline { raw, layout, bindings: reflection.bindings, label })
    }
}

fn buffer_binding(ty: wgpu::BufferBindingType) -> wgpu::BindingType {
    wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None }
}

//! An app with its own device and pipeline, whose buffer is searched where it lies.
//!
//! The app's shader fills a buffer with unit vectors; echogrid finds those most like a few queries in the same compute pass, right behind it. The
//! vectors never leave the device, and nothing is copied. Run with `cargo run --release --example search`.

use echogrid::gpu::{DType, Engine, PlanBuilder, Tensor};
use echogrid::kernels::topk::TopK;

const ROWS: usize = 20_000;
const DIM: usize = 64;
const K: usize = 3;

/// Row r is cos(a (d + 1) (r + 1)), d < DIM, scaled to unit length: what an app might make of its own data.
const FILL: &str = "
@group(0) @binding(0) var<storage, read_write> rows: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= arrayLength(&rows) / 64u { return; }
    var length = 0.0;
    for (var d = 0u; d < 64u; d++) {
        let v = cos(0.000731 * f32((d + 1u) * (id.x + 1u) % 8192u));
        rows[id.x * 64u + d] = v;
        length += v * v;
    }
    for (var d = 0u; d < 64u; d++) { rows[id.x * 64u + d] *= inverseSqrt(length); }
}";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The app's own GPU set-up: default limits, no feature.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;
    let vectors = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("the app's vectors"),
        size: (4 * ROWS * DIM) as u64,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(FILL.into()) });
    let fill = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &fill.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: vectors.as_entire_binding() }],
    });

    // echogrid on the same device. The queries are rows 5, 700 and 19,999 themselves: copied on the device, once they are there.
    let engine = Engine::from_device(device.clone(), queue.clone());
    let wanted = [5usize, 700, 19_999];
    let rows = Tensor::from_buffer(vectors.clone(), 0, &[ROWS, DIM], DType::F32)?;
    let queries = engine.tensor("queries", &[wanted.len(), DIM], DType::F32)?;
    let top = TopK::new(&engine, wanted.len(), K, ROWS)?;
    let mut plan = PlanBuilder::new(&engine);
    top.begin(&mut plan)?;
    top.add_shard(&mut plan, &queries, &rows, 0, ROWS)?;
    let plan = plan.finish();

    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&fill);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(ROWS.div_ceil(64) as u32, 1, 1);
    }
    for (i, row) in wanted.iter().enumerate() {
        let bytes = (4 * DIM) as u64;
        encoder.copy_buffer_to_buffer(&vectors, *row as u64 * bytes, queries.buffer(), i as u64 * bytes, bytes);
    }
    plan.record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
    queue.submit([encoder.finish()]);

    let (ids, scores): (Vec<u32>, Vec<f32>) = (engine.read(top.ids())?, engine.read(top.scores())?);
    println!("{}", engine.adapter());
    for ((row, ids), scores) in wanted.iter().zip(ids.chunks(K)).zip(scores.chunks(K)) {
        println!("most like row {row}: rows {ids:?} with cosines {scores:.4?}");
        // Rows come again every 8,192; of equals the lower number is first.
        if ids[0] as usize % 8192 != row % 8192 || (scores[0] - 1.0).abs() > 1e-5 {
            return Err(format!("row {row} is not most like itself").into());
        }
    }
    Ok(())
}

//! echogrid inside another GPU app: one device, one compute pass, no copy and no second queue.
//!
//! The app owns the instance, the device (default limits, no feature), the buffers and the submission; echogrid adds its
//! dispatches to the app's pass. Here the app brightens an image with a shader of its own, echogrid convolves it, and the
//! result stays in the app's buffer. Run with `cargo run --release --example embed`.

use echogrid::gpu::{DType, Engine, PlanBuilder, Tensor};
use echogrid::kernels::conv::{self, Conv};

const BRIGHTEN: &str = "
@group(0) @binding(0) var<storage, read_write> image: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < arrayLength(&image) { image[id.x] = 2.0 * image[id.x]; }
}";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The app's own GPU set-up. For all that echogrid can use, ask for `Engine::requirements(&adapter)` instead of the default.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;
    let storage = |floats: usize| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * floats as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        })
    };
    const SIDE: usize = 64;
    let (image, filter, edges) = (storage(SIDE * SIDE), storage(9), storage(SIDE * SIDE));
    let square = |i: usize| (16..48).contains(&(i % SIDE)) && (16..48).contains(&(i / SIDE));
    let pixels: Vec<f32> = (0..SIDE * SIDE).map(|i| if square(i) { 1.0 } else { 0.0 }).collect();
    queue.write_buffer(&image, 0, bytemuck::cast_slice(&pixels));
    queue.write_buffer(&filter, 0, bytemuck::cast_slice(&[0.0f32, -1.0, 0.0, -1.0, 4.0, -1.0, 0.0, -1.0, 0.0]));
    let module =
        device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(BRIGHTEN.into()) });
    let brighten = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &brighten.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: image.as_entire_binding() }],
    });

    // echogrid on that device: tensors wrap the app's buffers, a plan holds pipelines and bind groups. Errors are values.
    let engine = Engine::from_device(device.clone(), queue.clone());
    let x = Tensor::from_buffer(image, 0, &[1, SIDE, SIDE, 1], DType::F32)?;
    let w = Tensor::from_buffer(filter, 0, &[9, 1, 1], DType::F32)?;
    let y = Tensor::from_buffer(edges, 0, &[1, SIDE, SIDE, 1], DType::F32)?;
    let mut builder = PlanBuilder::new(&engine);
    conv::forward(&mut builder, &Conv::square(3, 1, 1), &x, &w, None, false, &y)?;
    let plan = builder.finish();

    // One pass, submitted by the app. A plan may be recorded any number of times.
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&brighten);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups((SIDE * SIDE / 64) as u32, 1, 1);
        plan.record(&mut pass);
    }
    queue.submit([encoder.finish()]);

    // The app may read its buffer as it likes; this is the short way.
    let edges: Vec<f32> = engine.read(&y)?;
    let count = edges.iter().filter(|v| **v > 0.0).count();
    println!("{}: {count} pixels on the square's border (want 124)", engine.adapter());
    if count == 124 { Ok(()) } else { Err("the convolution is wrong".into()) }
}

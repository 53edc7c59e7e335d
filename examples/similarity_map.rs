//! A windowless render loop that draws how alike a query is to every cell of a map, as a texture, on the app's device.
//!
//! Each frame the query moves; echogrid multiplies it with the cells' vectors in the frame's compute pass, and the app's fragment shader colours the
//! scores out of the same buffer in the frame's render pass: one encoder, one submission a frame, and no read-back until the last, which is written to
//! `similarity_map.png` in the system's folder for temporary files. Run with `cargo run --release --example similarity_map`.

use echogrid::gpu::{DType, Engine, PlanBuilder, Tensor};
use echogrid::kernels::matmul::{Op, matmul};

/// Cells a side, values a vector, pixels a cell, frames.
const SIDE: usize = 64;
const DIM: usize = 32;
const PIXELS: u32 = 8;
const FRAMES: usize = 30;

const DRAW: &str = "
@group(0) @binding(0) var<storage, read> scores: array<f32>;
@vertex fn corner(@builtin(vertex_index) i: u32) -> @builtin(position) vec4<f32> {
    // One triangle that covers all.
    return vec4(f32(i32(i & 1u) * 4 - 1), f32(i32(i >> 1u) * 4 - 1), 0.0, 1.0);
}
@fragment fn colour(@builtin(position) at: vec4<f32>) -> @location(0) vec4<f32> {
    let cell = vec2<u32>(at.xy) / 8u;
    let s = clamp(scores[cell.y * 64u + cell.x], 0.0, 1.0);
    return vec4(s * s, 0.15 + 0.6 * s, 0.35 + 0.3 * s, 1.0);
}";

/// The vector of a place: cosines and sines of a few directions, so that near places are alike. Of unit length.
fn vector(x: f32, y: f32) -> Vec<f32> {
    let pairs = DIM / 2;
    let wave = |i: usize| {
        let (angle, pitch) = (i as f32 * 2.4, 0.05 + 0.02 * i as f32);
        pitch * (angle.cos() * x + angle.sin() * y)
    };
    (0..pairs).flat_map(|i| [wave(i).cos(), wave(i).sin()].map(|v| v / (pairs as f32).sqrt())).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::env::temp_dir().join("similarity_map.png");
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;
    let buffer = |floats: usize| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * floats as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    };
    let (cells, query, scores) = (buffer(SIDE * SIDE * DIM), buffer(DIM), buffer(SIDE * SIDE));
    let vectors: Vec<f32> = (0..SIDE * SIDE).flat_map(|i| vector((i % SIDE) as f32, (i / SIDE) as f32)).collect();
    queue.write_buffer(&cells, 0, bytemuck::cast_slice(&vectors));

    // echogrid: scores = cells * query. The plan is made once and recorded every frame.
    let engine = Engine::from_device(device.clone(), queue.clone());
    let tensor = |b: &wgpu::Buffer, shape: &[usize]| Tensor::from_buffer(b.clone(), 0, shape, DType::F32);
    let (x, q, s) = (tensor(&cells, &[SIDE * SIDE, DIM])?, tensor(&query, &[1, DIM])?, tensor(&scores, &[SIDE * SIDE, 1])?);
    let mut plan = PlanBuilder::new(&engine);
    matmul(&mut plan, &x, Op::Plain, &q, Op::Transposed, &s)?;
    let plan = plan.finish();

    // The app's own render pipeline.
    let width = SIDE as u32 * PIXELS;
    let format = wgpu::TextureFormat::Rgba8UnormSrgb;
    let texture = device.create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width, height: width, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
        view_formats: &[],
    });
    let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(DRAW.into()) });
    let pipeline = device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: None,
        layout: None,
        vertex: wgpu::VertexState { module: &module, entry_point: None, compilation_options: Default::default(), buffers: &[] },
        primitive: wgpu::PrimitiveState::default(),
        depth_stencil: None,
        multisample: wgpu::MultisampleState::default(),
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: None,
            compilation_options: Default::default(),
            targets: &[Some(format.into())],
        }),
        multiview_mask: None,
        cache: None,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: scores.as_entire_binding() }],
    });

    let place = |frame: usize| [10.0 + 1.5 * frame as f32, 32.0 + 20.0 * (0.2 * frame as f32).sin()];
    let begun = std::time::Instant::now();
    for frame in 0..FRAMES {
        let [x, y] = place(frame);
        queue.write_buffer(&query, 0, bytemuck::cast_slice(&vector(x, y)));
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        plan.record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
        {
            let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                    view: &view,
                    depth_slice: None,
                    resolve_target: None,
                    ops: wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color::BLACK), store: wgpu::StoreOp::Store },
                })],
                ..Default::default()
            });
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.draw(0..3, 0..1);
        }
        queue.submit([encoder.finish()]);
    }

    // Once, at the end: the picture. Rows of 512 pixels of 4 bytes are already aligned as a copy wants them.
    let picture = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: u64::from(4 * width * width),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.copy_texture_to_buffer(
        texture.as_image_copy(),
        wgpu::TexelCopyBufferInfo {
            buffer: &picture,
            layout: wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * width), rows_per_image: None },
        },
        texture.size(),
    );
    queue.submit([encoder.finish()]);
    picture.slice(..).map_async(wgpu::MapMode::Read, |_| {});
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let seconds = begun.elapsed().as_secs_f64();
    let pixels = picture.slice(..).get_mapped_range()?.to_vec();
    let image = image::RgbaImage::from_raw(width, width, pixels).ok_or("too few pixels")?;
    image.save(&out)?;
    println!("{}: {FRAMES} frames in {seconds:.2} s, the last in {}", engine.adapter(), out.display());

    // The brightest cell is where the query was.
    let bright = |i: &usize| u32::from(image.get_pixel((i % SIDE) as u32 * PIXELS + 4, (i / SIDE) as u32 * PIXELS + 4).0[0]);
    let best = (0..SIDE * SIDE).max_by_key(bright).ok_or("no cell")?;
    let [x, y] = place(FRAMES - 1);
    let off = ((best % SIDE) as f32 - x).abs().max(((best / SIDE) as f32 - y).abs());
    if off <= 1.0 { Ok(()) } else { Err(format!("the brightest cell is {off} cells from the query").into()) }
}

//! Inside another app: its instance, its device with no feature and default limits, its buffers, its pass, its submission.

use crate::common::*;
use echogrid::gpu::{DType, Engine, Error, PlanBuilder, Tensor};
use echogrid::kernels::conv::{self, Conv};
use echogrid::reference::conv as twin;
use std::sync::{Arc, Mutex};

/// y = x + 1, the app's own shader.
const OWN: &str = "
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < arrayLength(&x) { x[id.x] += 1.0; }
}";

fn buffer(device: &wgpu::Device, floats: usize) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("the app's"),
        size: 4 * floats as u64,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// Reads a buffer with nothing of echogrid.
fn read(device: &wgpu::Device, queue: &wgpu::Queue, from: &wgpu::Buffer) -> Vec<f32> {
    let staging = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: from.size(),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.copy_buffer_to_buffer(from, 0, &staging, 0, from.size());
    queue.submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |r| r.unwrap());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let view = staging.get_mapped_range(..).unwrap();
    bytemuck::cast_slice(&view).to_vec()
}

#[test]
fn records_into_the_apps_pass() {
    let (_, _lock) = engine();
    let (device, queue) = foreign();
    let engine = Engine::from_device(device.clone(), queue.clone());
    assert!(!engine.caps().subgroup && !engine.caps().f16 && !engine.caps().timestamp);
    assert!(device.features().is_empty());

    // A convolution between two of the app's own dispatches: y = conv(x + 1, w) + 1, with the image in the middle of a buffer.
    let geometry = Conv::square(3, 1, 1);
    let (xs, ws, co) = ([1, 9, 11, 4], [9, 4, 8], 8);
    let (n, m) = (9 * 11 * 4, 9 * 11 * co);
    let (x, w) = (random(n, 1), random(9 * 4 * co, 2));
    let (bx, bw, by) = (buffer(&device, 64 + n), buffer(&device, w.len()), buffer(&device, m));
    queue.write_buffer(&bx, 256, bytemuck::cast_slice(&x));
    queue.write_buffer(&bw, 0, bytemuck::cast_slice(&w));
    let tx = Tensor::from_buffer(bx.clone(), 256, &xs, DType::F32).unwrap();
    let tw = Tensor::from_buffer(bw, 0, &ws, DType::F32).unwrap();
    let ty = Tensor::from_buffer(by.clone(), 0, &[1, 9, 11, co], DType::F32).unwrap();
    let mut builder = PlanBuilder::new(&engine);
    conv::forward(&mut builder, &geometry, &tx, &tw, None, false, &ty).unwrap();
    let plan = builder.finish();

    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(OWN.into()) });
    let own = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let group = |b: &wgpu::Buffer| {
        device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &own.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: b.as_entire_binding() }],
        })
    };
    let (on_x, on_y) = (group(&bx), group(&by));
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&own);
        pass.set_bind_group(0, &on_x, &[]);
        pass.dispatch_workgroups(((64 + n) as u32).div_ceil(64), 1, 1);
        plan.record(&mut pass);
        pass.set_pipeline(&own);
        pass.set_bind_group(0, &on_y, &[]);
        pass.dispatch_workgroups((m as u32).div_ceil(64), 1, 1);
    }
    queue.submit([encoder.finish()]);

    let s = twin::Sizes::new(&geometry, xs, co).unwrap();
    let moved: Vec<f64> = x.iter().map(|v| f64::from(v + 1.0)).collect();
    let mut want = twin::forward(&geometry, s, &moved, &f64s(&w), None);
    want.iter_mut().for_each(|v| *v += 1.0);
    // 36 products of numbers below 2, and the last addition.
    close(&read(&device, &queue, &by), &want, 37.0 * 37.0 * 2.0 * EPS, 0.0);
    // What lies before the image is the app's dispatch alone.
    assert!(read(&device, &queue, &bx)[..64].iter().all(|v| *v == 1.0));
}

/// The app's errors reach the app's handler and nobody else's; ours come back as values and do not reach it.
#[test]
fn leaves_the_apps_handler_alone() {
    let (_, _lock) = engine();
    let (device, queue) = foreign();
    let heard = Arc::new(Mutex::new(Vec::<String>::new()));
    let slot = heard.clone();
    device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| slot.lock().unwrap().push(e.to_string())));
    let engine = Engine::from_device(device.clone(), queue);
    let x = up(&engine, &[4], &[1.0; 4]);

    // An error of the app's own.
    let _ = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("wrong usage"),
        size: 4,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    assert_eq!(heard.lock().unwrap().len(), 1);
    assert!(heard.lock().unwrap()[0].contains("wrong usage"), "{heard:?}");
    engine.check("ours").unwrap();
    assert_eq!(engine.read::<f32>(&x).unwrap(), [1.0; 4]);

    // Errors of ours: a buffer that can neither be read, written nor bound.
    let sealed = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("sealed"),
        size: 16,
        usage: wgpu::BufferUsages::VERTEX,
        mapped_at_creation: false,
    });
    let t = Tensor::from_buffer(sealed, 0, &[4], DType::F32).unwrap();
    let y = up(&engine, &[4], &[0.0; 4]);
    for err in [
        engine.read::<f32>(&t).unwrap_err(),
        engine.write(&t, &[0.0f32; 4]).unwrap_err(),
        echogrid::kernels::elementwise::scaled_copy(&mut PlanBuilder::new(&engine), &t, 1.0, &y).unwrap_err(),
    ] {
        assert!(matches!(err, Error::Validation { .. }) && err.to_string().contains("sealed"), "{err}");
    }
    assert_eq!(heard.lock().unwrap().len(), 1, "{heard:?}");
    assert_eq!(engine.read::<f32>(&x).unwrap(), [1.0; 4]);
}

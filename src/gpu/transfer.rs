//! Uploads and readbacks.

use super::{DType, Engine, Error, Result, Tensor};
use bytemuck::Pod;
use std::sync::mpsc;

/// How long the host waits for the device before it calls it hung.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(120);

/// A readback under way: the copy is submitted, the bytes come when the device is done.
#[derive(Debug)]
pub struct Readback {
    staging: wgpu::Buffer,
    done: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
    bytes: usize,
}

impl Engine {
    /// A tensor with the given elements.
    ///
    /// # Errors
    /// The count differs from the shape; out of memory.
    pub fn upload<T: Pod>(&self, name: &str, shape: &[usize], dtype: DType, data: &[T]) -> Result<Tensor> {
        let t = self.tensor(name, shape, dtype)?;
        self.write(&t, data)?;
        Ok(t)
    }

    /// An f32 tensor with the given elements.
    ///
    /// # Errors
    /// As [`Engine::upload`].
    pub fn upload_f32(&self, name: &str, shape: &[usize], data: &[f32]) -> Result<Tensor> {
        self.upload(name, shape, DType::F32, data)
    }

    /// Overwrites a whole tensor; it takes effect before work submitted later.
    ///
    /// # Errors
    /// The bytes differ from the tensor's.
    pub fn write<T: Pod>(&self, tensor: &Tensor, data: &[T]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        if bytes.len() != tensor.len() * tensor.dtype().bytes() {
            return Err(Error::shape("write", format!("{} bytes for a tensor {:?} of {:?}", bytes.len(), tensor.shape(), tensor.dtype())));
        }
        self.scoped("write", 0, || self.write_bytes(tensor.buffer(), tensor.offset, bytes))
    }

    /// Starts reading a tensor back; work submitted before is seen.
    ///
    /// # Errors
    /// Out of memory.
    pub fn start_read(&self, tensor: &Tensor) -> Result<Readback> {
        let size = tensor.bytes();
        let staging = self.buffer("readback", size, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)?;
        self.scoped("readback", size, || {
            let mut encoder = self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("readback") });
            encoder.copy_buffer_to_buffer(tensor.buffer(), tensor.offset, &staging, 0, size);
            self.queue().submit([encoder.finish()]);
        })?;
        let (tell, done) = mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |r| {
            let _ = tell.send(r);
        });
        Ok(Readback { staging, done, bytes: tensor.len() * tensor.dtype().bytes() })
    }

    /// Waits for all submitted work.
    ///
    /// # Errors
    /// Device lost, or no end after two minutes.
    pub fn wait(&self, op: &str) -> Result<()> {
        let polled = self.device().poll(wgpu::PollType::Wait { submission_index: None, timeout: Some(TIMEOUT) });
        self.check(op)?;
        polled.map(|_| ()).map_err(|e| Error::Lost { op: op.into(), reason: format!("no answer within {} s ({e})", TIMEOUT.as_secs()) })
    }

    /// Reads a tensor back, waiting for the device.
    ///
    /// # Errors
    /// Device lost, out of memory.
    pub fn read<T: Pod>(&self, tensor: &Tensor) -> Result<Vec<T>> {
        self.start_read(tensor)?.finish(self)
    }
}

impl Readback {
    /// Waits for the device and returns the elements.
    ///
    /// # Errors
    /// Device lost or hung.
    pub fn finish<T: Pod>(self, engine: &Engine) -> Result<Vec<T>> {
        let lost = |reason: String| Error::Lost { op: "readback".into(), reason };
        let mut answer = self.done.try_recv();
        if answer == Err(mpsc::TryRecvError::Empty) {
            // The device may be done and the answer still on its way: another thread polled.
            engine.wait("readback")?;
            answer = self.done.recv_timeout(TIMEOUT).map_err(|_| mpsc::TryRecvError::Disconnected);
        }
        match answer {
            Ok(Ok(())) => {}
            Ok(Err(e)) => {
                engine.check("readback")?;
                return Err(lost(e.to_string()));
            }
            Err(_) => return Err(lost("no answer".into())),
        }
        let view = self.staging.get_mapped_range(..).map_err(|e| Error::Validation { op: "readback".into(), reason: e.to_string() })?;
        let mut out = vec![T::zeroed(); self.bytes / size_of::<T>()];
        bytemuck::cast_slice_mut(&mut out).copy_from_slice(&view[..self.bytes]);
        drop(view);
        self.staging.unmap();
        Ok(out)
    }
}

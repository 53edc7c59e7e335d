//! Uploads and readbacks. Uploads go through wgpu's own ring of staging memory; readbacks through a ring of ours.

use super::{DType, Engine, Error, Result, Tensor};
use bytemuck::Pod;
use std::sync::{Mutex, mpsc};

/// How long the host waits for the device before it calls it hung.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(120);

/// A readback under way: the copy is submitted, the bytes come when the device is done.
#[derive(Debug)]
pub struct Readback {
    staging: wgpu::Buffer,
    submission: wgpu::SubmissionIndex,
    done: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
    bytes: usize,
}

/// Staging buffers that wait for the next readback.
#[derive(Debug, Default)]
pub(crate) struct Staging(Mutex<Vec<wgpu::Buffer>>);

/// Staging buffers kept.
const KEPT: usize = 8;

impl Staging {
    /// The smallest buffer of at least `size` bytes that does not waste more than three quarters.
    fn take(&self, size: u64) -> Option<wgpu::Buffer> {
        let mut free = self.0.lock().expect("no panic under the lock");
        let fits = |b: &wgpu::Buffer| (size..=4 * size).contains(&b.size());
        let best = free.iter().enumerate().filter(|(_, b)| fits(b)).min_by_key(|(_, b)| b.size()).map(|(i, _)| i)?;
        Some(free.swap_remove(best))
    }

    fn give(&self, buffer: wgpu::Buffer) {
        let mut free = self.0.lock().expect("no panic under the lock");
        if free.len() == KEPT {
            free.remove(0);
        }
        free.push(buffer);
    }
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

    /// Overwrites the first elements of a tensor; the others keep what they hold.
    ///
    /// # Errors
    /// More bytes than the tensor's, or a number that is no multiple of 4.
    pub fn write_front<T: Pod>(&self, tensor: &Tensor, data: &[T]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        if bytes.len() > tensor.len() * tensor.dtype().bytes() || !bytes.len().is_multiple_of(4) {
            return Err(Error::shape("write", format!("{} bytes into a tensor {:?} of {:?}", bytes.len(), tensor.shape(), tensor.dtype())));
        }
        self.scoped("write", 0, || self.write_bytes(tensor.buffer(), tensor.offset, bytes))
    }

    /// Starts reading a tensor back; work submitted before is seen.
    ///
    /// # Errors
    /// Out of memory.
    pub fn start_read(&self, tensor: &Tensor) -> Result<Readback> {
        let size = tensor.bytes();
        let staging = match self.staging().take(size) {
            Some(buffer) => buffer,
            None => self.buffer("readback", size, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)?,
        };
        let submission = self.scoped("readback", size, || {
            let mut encoder = self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("readback") });
            encoder.copy_buffer_to_buffer(tensor.buffer(), tensor.offset, &staging, 0, size);
            self.queue().submit([encoder.finish()])
        })?;
        let (tell, done) = mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |r| {
            let _ = tell.send(r);
        });
        Ok(Readback { staging, submission, done, bytes: tensor.len() * tensor.dtype().bytes() })
    }

    /// Waits for all submitted work.
    ///
    /// # Errors
    /// Device lost, or no end after two minutes.
    pub fn wait(&self, op: &str) -> Result<()> {
        self.wait_for(op, None)
    }

    fn wait_for(&self, op: &str, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let polled = self.device().poll(wgpu::PollType::Wait { submission_index, timeout: Some(TIMEOUT) });
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
    /// Waits for the copy, not for work submitted after it, and returns the elements.
    ///
    /// # Errors
    /// Device lost or hung.
    pub fn finish<T: Pod>(self, engine: &Engine) -> Result<Vec<T>> {
        if size_of::<T>() == 0 || !self.bytes.is_multiple_of(size_of::<T>()) {
            let reason = format!("{} bytes are no whole number of elements of {} bytes", self.bytes, size_of::<T>());
            return Err(Error::shape("readback", reason));
        }
        let lost = |reason: String| Error::Lost { op: "readback".into(), reason };
        let mut answer = self.done.try_recv();
        if answer == Err(mpsc::TryRecvError::Empty) {
            // The device may be done and the answer still on its way: another thread polled.
            engine.wait_for("readback", Some(self.submission))?;
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
        engine.staging().give(self.staging);
        Ok(out)
    }
}

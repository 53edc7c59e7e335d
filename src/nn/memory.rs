//! Buffers shared by liveness: a buffer returns to the pool when its last reader has been recorded.

use crate::gpu::{DType, Engine, Result, Tensor};
use std::sync::Arc;

/// Hands out tensors over a pool of buffers.
#[derive(Debug)]
pub(crate) struct Memory<'e> {
    engine: &'e Engine,
    free: Vec<Arc<wgpu::Buffer>>,
    total: u64,
    share: bool,
}

impl<'e> Memory<'e> {
    pub(crate) fn new(engine: &'e Engine, share: bool) -> Self {
        Self { engine, free: Vec::new(), total: 0, share }
    }

    /// The smallest free buffer that fits without wasting more than half of it, else a new one.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let bytes = ((shape.iter().product::<usize>() * dtype.bytes()) as u64).next_multiple_of(4).max(4);
        let best =
            self.free.iter().enumerate().filter(|(_, b)| b.size() >= bytes && b.size() <= bytes * 2 + 4096).min_by_key(|(_, b)| b.size());
        if let Some((i, _)) = best {
            return Ok(Tensor::new(self.free.swap_remove(i), shape, dtype));
        }
        self.total += bytes;
        self.engine.tensor(name, shape, dtype)
    }

    pub(crate) fn give(&mut self, tensor: &Tensor) {
        if self.share {
            self.free.push(tensor.buffer.clone());
        }
    }

    /// Bytes in all buffers made so far.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

//! A pool of buffers that tensors take turns to use.

use crate::gpu::{DType, Engine, Result, Tensor};
use std::sync::Arc;

/// Things of some size that are free to be used again.
#[derive(Debug)]
struct Pool<B> {
    free: Vec<(u64, B)>,
}

impl<B> Pool<B> {
    /// The smallest that fits without wasting more than half of it (and a page).
    fn take(&mut self, bytes: u64) -> Option<B> {
        let fits = |size: u64| size >= bytes && size <= bytes * 2 + 4096;
        let (i, _) = self.free.iter().enumerate().filter(|(_, (size, _))| fits(*size)).min_by_key(|(_, (size, _))| *size)?;
        Some(self.free.swap_remove(i).1)
    }
}

/// Hands out tensors over a pool of buffers.
#[derive(Debug)]
pub(crate) struct Memory<'e> {
    engine: &'e Engine,
    pool: Pool<Arc<wgpu::Buffer>>,
    total: u64,
    share: bool,
}

impl<'e> Memory<'e> {
    pub(crate) fn new(engine: &'e Engine, share: bool) -> Self {
        Self { engine, pool: Pool { free: Vec::new() }, total: 0, share }
    }

    /// A tensor over a free buffer, where one fits, else over a new one.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let bytes = ((shape.iter().product::<usize>() * dtype.bytes()) as u64).next_multiple_of(4).max(4);
        if let Some(buffer) = self.pool.take(bytes) {
            return Ok(Tensor::new(buffer, shape, dtype));
        }
        self.total += bytes;
        self.engine.tensor(name, shape, dtype)
    }

    /// Takes back the buffer of a tensor whose last reader is recorded.
    pub(crate) fn give(&mut self, tensor: &Tensor) {
        if self.share {
            self.pool.free.push((tensor.buffer.size(), tensor.buffer.clone()));
        }
    }

    /// Bytes in all buffers made so far.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_that_fits_is_used_again_and_little_is_wasted() {
        let mut pool = Pool { free: vec![(1 << 20, 'a'), (70_000, 'b'), (60_000, 'c'), (60_000, 'd'), (100, 'e')] };
        assert_eq!(pool.take(60_000), Some('c'));
        assert_eq!(pool.take(60_001), Some('b'));
        // A megabyte for these would waste too much of it, 100 bytes are too few.
        assert_eq!(pool.take(60_001), None);
        assert_eq!(pool.take(101), None);
        assert_eq!(pool.take(4), Some('e'));
        assert_eq!(pool.take(524_288), Some('a'));
        assert_eq!(pool.take(1), None);
        assert_eq!(pool.free, [(60_000, 'd')]);
    }
}

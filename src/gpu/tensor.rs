//! A tensor: a shape over one storage buffer.

use std::sync::Arc;

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 16-bit float, two to a 32-bit word.
    F16,
    /// 32-bit unsigned integer.
    U32,
}

impl DType {
    /// Bytes an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::U32 => 4,
            Self::F16 => 2,
        }
    }
}

/// A dense row-major tensor on the device; images are NHWC. Clones share the buffer.
///
/// One buffer a tensor: wgpu rejects two ranges of one buffer bound as `read` and `read_write` in one dispatch.
#[derive(Debug, Clone)]
pub struct Tensor {
    pub(crate) buffer: Arc<wgpu::Buffer>,
    pub(crate) offset: u64,
    shape: Vec<usize>,
    dtype: DType,
}

impl Tensor {
    pub(crate) fn new(buffer: Arc<wgpu::Buffer>, shape: &[usize], dtype: DType) -> Self {
        Self { buffer, offset: 0, shape: shape.to_vec(), dtype }
    }

    /// Wraps a buffer of the app's own without a copy. It needs `STORAGE` usage (and `COPY_SRC`/`COPY_DST` to be read or
    /// written from the host); `offset` is in bytes, a multiple of the device's storage-offset alignment (256 by default).
    ///
    /// # Errors
    /// When the buffer is too small for the shape.
    pub fn from_buffer(buffer: wgpu::Buffer, offset: u64, shape: &[usize], dtype: DType) -> super::Result<Self> {
        let t = Self { buffer: Arc::new(buffer), offset, shape: shape.to_vec(), dtype };
        if offset + t.bytes() > t.buffer.size() {
            return Err(super::Error::shape(
                "Tensor::from_buffer",
                format!("shape {shape:?} at offset {offset} needs {} bytes, the buffer holds {}", offset + t.bytes(), t.buffer.size()),
            ));
        }
        Ok(t)
    }

    /// Extents, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes bound: the elements, rounded up to whole 32-bit words.
    pub fn bytes(&self) -> u64 {
        ((self.len() * self.dtype.bytes()) as u64).next_multiple_of(4).max(4)
    }

    /// The underlying buffer.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// When the counts differ.
    pub fn reshape(&self, shape: &[usize]) -> super::Result<Self> {
        if shape.iter().product::<usize>() != self.len() {
            return Err(super::Error::shape("reshape", format!("{:?} to {shape:?}", self.shape)));
        }
        Ok(Self { shape: shape.to_vec(), ..self.clone() })
    }

    /// The same words as u32: scratch is handed out as f32.
    pub(crate) fn bits(&self) -> Self {
        debug_assert_eq!(self.dtype.bytes(), 4);
        Self { dtype: DType::U32, ..self.clone() }
    }

    /// Whether both share a buffer.
    pub fn same_buffer(&self, other: &Self) -> bool {
        // Not the handles' addresses: an app may wrap clones of one buffer.
        *self.buffer == *other.buffer
    }

    pub(crate) fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: std::num::NonZeroU64::new(self.bytes()),
        })
    }
}

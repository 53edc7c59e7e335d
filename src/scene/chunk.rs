//! Decoded pixels in the file's own sample type.

use half::f16;

/// Samples of a decoded tile or strip.
#[derive(Debug, Clone)]
pub(super) enum Samples {
    /// No pixels are stored (a sparse tile).
    Missing,
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F16(Vec<f16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// Runs `$body` with `$v` as the vector of samples, whatever their type; `$none` where there are none.
macro_rules! each_type {
    ($samples:expr, $v:ident => $body:expr, $none:expr) => {
        match $samples {
            Samples::Missing => $none,
            Samples::U8($v) => $body,
            Samples::I8($v) => $body,
            Samples::U16($v) => $body,
            Samples::I16($v) => $body,
            Samples::U32($v) => $body,
            Samples::I32($v) => $body,
            Samples::F16($v) => $body,
            Samples::F32($v) => $body,
            Samples::F64($v) => $body,
        }
    };
}

/// A sample as a number.
trait Number: Copy {
    fn float(self) -> f32;
    fn equals(self, marker: Marker) -> bool;
}

macro_rules! integers {
    ($($t:ty)*) => {$(
        impl Number for $t {
            fn float(self) -> f32 {
                self as f32
            }
            fn equals(self, marker: Marker) -> bool {
                marker.whole == Some(i64::from(self))
            }
        }
    )*};
}

integers!(u8 i8 u16 i16 u32 i32);

impl Number for f16 {
    fn float(self) -> f32 {
        self.to_f32()
    }
    fn equals(self, marker: Marker) -> bool {
        self.to_f32().equals(marker)
    }
}

impl Number for f32 {
    fn float(self) -> f32 {
        self
    }
    fn equals(self, marker: Marker) -> bool {
        let n = marker.value as f32;
        self == n || (self - n).abs() < f32::EPSILON * (self + n).abs() * 2.0
    }
}

impl Number for f64 {
    fn float(self) -> f32 {
        self as f32
    }
    fn equals(self, marker: Marker) -> bool {
        let n = marker.value;
        self == n || (self - n).abs() < f64::EPSILON * (self + n).abs() * 2.0
    }
}

/// A no-data value, ready to be compared with samples as GDAL does: whole numbers exactly (none where the value is out of their range), floating
/// ones to two units in the last place. So a text that rounds the least float marks it, as the sum of the two overflows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Marker {
    value: f64,
    whole: Option<i64>,
}

impl Marker {
    pub(super) fn new(value: f64) -> Self {
        // 2^53: beyond, no type of whole numbers that is read has values.
        Self { value, whole: (value.abs() < 9e15).then_some(value.trunc() as i64) }
    }
}

impl Samples {
    pub(super) fn bytes(&self) -> usize {
        // Missing counts as something, so that a huge sparse file cannot grow the table without end.
        each_type!(self, v => size_of_val(&v[..]), 64)
    }

    /// `dst[i * dst_step] = samples[start + i * step]` for `i` in `0..n`.
    pub(super) fn copy(&self, start: usize, step: usize, n: usize, dst: &mut [f32], dst_step: usize) {
        fn run<T: Number>(src: &[T], step: usize, n: usize, dst: &mut [f32], dst_step: usize) {
            for (d, s) in dst.iter_mut().step_by(dst_step).zip(src.iter().step_by(step)).take(n) {
                *d = s.float();
            }
        }
        each_type!(self, v => run(&v[start..], step, n, dst, dst_step), ());
    }

    /// Adds one to `hits[i]` where `samples[start + i * step]` is the marker, for `i` in `0..n`.
    pub(super) fn count(&self, start: usize, step: usize, n: usize, marker: Marker, hits: &mut [u16]) {
        fn run<T: Number>(src: &[T], step: usize, n: usize, marker: Marker, hits: &mut [u16]) {
            for (h, s) in hits.iter_mut().zip(src.iter().step_by(step)).take(n) {
                *h += u16::from(s.equals(marker));
            }
        }
        each_type!(self, v => run(&v[start..], step, n, marker, hits), ());
    }
}

/// A decoded tile or strip: `height * width * samples_per_pixel` samples, row by row.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) samples: Samples,
    /// `[height, width]`: 0 where the pixel has no data; none where all have.
    pub(super) valid: Option<Vec<u8>>,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) samples_per_pixel: u32,
}

impl Chunk {
    pub(super) fn bytes(&self) -> usize {
        self.samples.bytes() + self.valid.as_ref().map_or(0, Vec::len)
    }
}

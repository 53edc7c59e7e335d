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

impl Samples {
    pub(super) fn bytes(&self) -> usize {
        match self {
            // Counted as something so that a huge sparse file cannot grow the table without end.
            Samples::Missing => 64,
            Samples::U8(v) => v.len(),
            Samples::I8(v) => v.len(),
            Samples::U16(v) => v.len() * 2,
            Samples::I16(v) => v.len() * 2,
            Samples::F16(v) => v.len() * 2,
            Samples::U32(v) => v.len() * 4,
            Samples::I32(v) => v.len() * 4,
            Samples::F32(v) => v.len() * 4,
            Samples::F64(v) => v.len() * 8,
        }
    }

    /// `dst[i * dst_step] = samples[start + i * step]` for `i` in `0..n`.
    pub(super) fn copy(
        &self,
        start: usize,
        step: usize,
        n: usize,
        dst: &mut [f32],
        dst_step: usize,
    ) {
        fn run<T: Copy>(
            src: &[T],
            step: usize,
            n: usize,
            dst: &mut [f32],
            dst_step: usize,
            f: impl Fn(T) -> f32,
        ) {
            for (d, s) in dst
                .iter_mut()
                .step_by(dst_step)
                .zip(src.iter().step_by(step))
                .take(n)
            {
                *d = f(*s);
            }
        }
        match self {
            Samples::Missing => {}
            Samples::U8(v) => run(&v[start..], step, n, dst, dst_step, f32::from),
            Samples::I8(v) => run(&v[start..], step, n, dst, dst_step, f32::from),
            Samples::U16(v) => run(&v[start..], step, n, dst, dst_step, f32::from),
            Samples::I16(v) => run(&v[start..], step, n, dst, dst_step, f32::from),
            Samples::U32(v) => run(&v[start..], step, n, dst, dst_step, |x| x as f32),
            Samples::I32(v) => run(&v[start..], step, n, dst, dst_step, |x| x as f32),
            Samples::F16(v) => run(&v[start..], step, n, dst, dst_step, f16::to_f32),
            Samples::F32(v) => run(&v[start..], step, n, dst, dst_step, |x| x),
            Samples::F64(v) => run(&v[start..], step, n, dst, dst_step, |x| x as f32),
        }
    }
}

/// A decoded tile or strip: `height * width * samples_per_pixel` samples, row by row.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) samples: Samples,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) samples_per_pixel: u32,
}

//! Twin of `shaders/concat.wgsl`.

/// dst[r, dst_off + k] = src[r, src_off + k]; `cs` and `cd` are the channels of both.
pub fn copy_channels(src: &[f64], cs: usize, src_off: usize, dst: &mut [f64], cd: usize, dst_off: usize, count: usize) {
    for (from, to) in src.chunks(cs).zip(dst.chunks_mut(cd)) {
        to[dst_off..dst_off + count].copy_from_slice(&from[src_off..src_off + count]);
    }
}

//! Twin of `shaders/dropout.wgsl`: the same integers make the mask.

use super::sampler::pcg3d;
use crate::kernels::dropout::Dropout;

/// y = x / (1 - rate) where an element is kept, else 0, for the state (seed, counter); on dy it gives dx. The factor is the kernel's,
/// rounded to f32, so that a product rounded once is the kernel's to the bit.
pub fn forward(dropout: Dropout, x: &[f64], [seed, counter]: [u32; 2]) -> Vec<f64> {
    let draws = f64::from(1 << 24);
    let dropped = (f64::from(dropout.rate) * draws).round();
    let scale = f64::from((draws / (draws - dropped)) as f32);
    let key = seed.wrapping_add(dropout.stream.wrapping_mul(0x9e37_79b9));
    let keeps = |i: usize| f64::from(pcg3d([i as u32, key, counter])[0] >> 8) >= dropped;
    x.iter().enumerate().map(|(i, v)| if keeps(i) { scale * v } else { 0.0 }).collect()
}

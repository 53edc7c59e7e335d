//! Twin of `shaders/sampler.wgsl`: the same integers choose the source pixels, and the same bits make the noise.

use crate::kernels::sampler::{MAX_LOOKS, PatchRecord};
use rayon::prelude::*;

/// Patches [N, `side`, `side`, 4]. `texel(image, x, y)` gives a pixel: three bands and validity, all 0 where there is no
/// data, outside the image, on an absent page and for an image that does not exist.
pub fn forward(
    texel: impl Fn(u32, i32, i32) -> [f32; 4] + Sync,
    records: &[PatchRecord],
    taps: u32,
    augment: bool,
    side: usize,
) -> Vec<f64> {
    let pixel = |k: usize| {
        let r = &records[k / (side * side)];
        let at = (k % (side * side)) as u32;
        let sum = gather(&texel, r, taps as i32, position(r, at, side));
        if sum[3] <= 0.0 {
            return [0.0; 4];
        }
        let v = [0, 1, 2].map(|b| sum[b] / sum[3]);
        let v = if augment { alter(r, at, v) } else { v };
        [v[0], v[1], v[2], sum[3] / if taps == 1 { 1.0 } else { f64::from(taps * taps) }]
    };
    (0..records.len() * side * side).into_par_iter().flat_map_iter(pixel).collect()
}

/// [`forward`] of records that share outputs ([`PatchRecord::onto`]): [N, `side`, `side`, 4], 0 where none writes.
pub fn forward_onto(
    texel: impl Fn(u32, i32, i32) -> [f32; 4] + Sync,
    records: &[PatchRecord],
    taps: u32,
    augment: bool,
    [outputs, side]: [usize; 2],
) -> Vec<f64> {
    let patches = forward(texel, records, taps, augment, side);
    let mut out = vec![0.0; outputs * side * side * 4];
    for (i, r) in records.iter().enumerate() {
        let output = if r.onto == 0 { i } else { r.onto as usize - 1 };
        let [x0, y0, x1, y1] = r.filled(side as u32);
        for at in (0..side * side).filter(|_| output < outputs) {
            let [x, y] = [at % side, at / side].map(|v| v as u32);
            if (x0..x1).contains(&x) && (y0..y1).contains(&y) {
                let [to, from] = [output, i].map(|n| 4 * (n * side * side + at));
                out[to..to + 4].copy_from_slice(&patches[from..from + 4]);
            }
        }
    }
    out
}

/// Where output pixel `at` lies, in 1/131072 px from the corner of the centre's pixel.
fn position(r: &PatchRecord, at: u32, side: usize) -> [i32; 2] {
    let centred = [at % side as u32, at / side as u32].map(|c| 2 * c as i32 + 1 - side as i32);
    let sub = [r.sub & 0xffff, r.sub >> 16];
    [0, 1].map(|d| {
        let (a, b) = (r.affine[2 * d], r.affine[2 * d + 1]);
        a.wrapping_mul(centred[0]).wrapping_add(b.wrapping_mul(centred[1])).wrapping_add(2 * sub[d] as i32)
    })
}

/// The weighted sum of the source pixels, with the weights of the valid ones last.
fn gather(texel: &impl Fn(u32, i32, i32) -> [f32; 4], r: &PatchRecord, taps: i32, at: [i32; 2]) -> [f64; 4] {
    let mut sum = [0.0; 4];
    let mut add = |x: i32, y: i32, weight: f64| {
        for (s, v) in sum.iter_mut().zip(texel(r.image, r.x.wrapping_add(x), r.y.wrapping_add(y))) {
            *s += weight * f64::from(v);
        }
    };
    if taps == 1 {
        let corner = at.map(|v| v.wrapping_sub(65536));
        let [x, y] = corner.map(|v| v >> 17);
        let [fx, fy] = corner.map(|v| f64::from(v >> 5 & 4095) / 4096.0);
        add(x, y, (1.0 - fx) * (1.0 - fy));
        add(x + 1, y, fx * (1.0 - fy));
        add(x, y + 1, (1.0 - fx) * fy);
        add(x + 1, y + 1, fx * fy);
    } else {
        let step = r.affine.map(|a| a / taps);
        for s in 0..taps {
            for t in 0..taps {
                let (u, v) = (2 * t + 1 - taps, 2 * s + 1 - taps);
                let [x, y] = [0, 1].map(|d| at[d].wrapping_add(step[2 * d] * u).wrapping_add(step[2 * d + 1] * v) >> 17);
                add(x, y, 1.0);
            }
        }
    }
    sum
}

/// Colour, speckle and noise of one output pixel.
fn alter(r: &PatchRecord, at: u32, v: [f64; 3]) -> [f64; 3] {
    let draw = |number: u32| pcg3d([at, r.stream, r.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9))]);
    let looks = r.looks.min(MAX_LOOKS);
    std::array::from_fn(|b| {
        if r.flags >> b & 1 == 0 {
            return 0.0;
        }
        let c = r.colour[b].map(f64::from);
        let mut value = c[0] * v[0] + c[1] * v[1] + c[2] * v[2] + c[3];
        if looks > 0 {
            // The products of up to four uniforms are rounded to f32 as the kernel's are; their logarithms are not.
            let uniforms: Vec<f32> = (0..looks).map(|l| ((draw(8 + l)[b] >> 9) as f32 + 0.5) / 8_388_608.0).collect();
            let g: f64 = uniforms.chunks(4).map(|c| -f64::from(c.iter().product::<f32>()).ln()).sum::<f64>() / f64::from(looks);
            value += f64::from(r.speckle) * 10.0 * g.log10();
        }
        if r.sigma > 0.0 {
            let z: u32 = (0..6).map(|d| draw(d)[b]).map(|w| (w & 0xffff) + (w >> 16)).sum();
            value += f64::from(r.sigma) * (f64::from(z) - 393_210.0) / 65536.0;
        }
        value
    })
}

/// As in `shaders/lib/rng.wgsl`.
pub(super) fn pcg3d(p: [u32; 3]) -> [u32; 3] {
    let [mut x, mut y, mut z] = p.map(|v| v.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let mix = |x: &mut u32, y: &mut u32, z: &mut u32| {
        *x = x.wrapping_add(y.wrapping_mul(*z));
        *y = y.wrapping_add(z.wrapping_mul(*x));
        *z = z.wrapping_add(x.wrapping_mul(*y));
    };
    mix(&mut x, &mut y, &mut z);
    [x, y, z] = [x, y, z].map(|v| v ^ v >> 16);
    mix(&mut x, &mut y, &mut z);
    [x, y, z]
}

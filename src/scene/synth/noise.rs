//! Counter-based random numbers and lattice noise.
//!
//! Only integer operations and correctly rounded float operations (`+ - * / sqrt floor`) are used, never the
//! platform's `sin`, `exp` or `ln`, so that a seed gives the same bytes on every machine.

/// A bijective mixer of 32 bits ("lowbias32").
#[inline]
pub(super) fn mix(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x7feb_352d);
    h ^= h >> 15;
    h = h.wrapping_mul(0x846c_a68b);
    h ^ (h >> 16)
}

/// Random bits of a lattice point in a stream.
#[inline]
pub(super) fn hash2(x: i32, y: i32, stream: u32) -> u32 {
    let (x, y) = ((x as u32).wrapping_mul(0x8da6_b343), (y as u32).wrapping_mul(0xd816_3841));
    mix(x.wrapping_add(y).wrapping_add(stream.wrapping_mul(0x9e37_79b1)))
}

/// Uniform in `0.0..1.0` from the high bits.
#[inline]
pub(super) fn unit(h: u32) -> f32 {
    (h >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// The `k`-th further uniform number of a hash.
#[inline]
pub(super) fn pick(h: u32, k: u32) -> f32 {
    unit(mix(h ^ k.wrapping_mul(0x9e37_79b9)))
}

/// Value noise in `-1..1` with unit lattice spacing.
#[inline]
pub(super) fn noise(x: f32, y: f32, stream: u32) -> f32 {
    let (fx, fy) = (x.floor(), y.floor());
    let (ix, iy) = (fx as i32, fy as i32);
    let (tx, ty) = (x - fx, y - fy);
    let (sx, sy) = (tx * tx * (3.0 - 2.0 * tx), ty * ty * (3.0 - 2.0 * ty));
    let corner = |dx: i32, dy: i32| unit(hash2(ix.wrapping_add(dx), iy.wrapping_add(dy), stream));
    let top = lerp(corner(0, 0), corner(1, 0), sx);
    let bottom = lerp(corner(0, 1), corner(1, 1), sx);
    lerp(top, bottom, sy) * 2.0 - 1.0
}

/// Fractal sum of [`noise`], in about `-1..1`; each octave is turned against the last to hide the lattice.
#[inline]
pub(super) fn fbm(mut x: f32, mut y: f32, octaves: u32, stream: u32) -> f32 {
    let (mut sum, mut gain, mut total) = (0.0, 1.0, 0.0);
    for k in 0..octaves {
        sum += gain * noise(x, y, stream.wrapping_add(k * 7919));
        total += gain;
        gain *= 0.5;
        (x, y) = (1.6 * x - 1.2 * y + 17.3, 1.2 * x + 1.6 * y - 9.1);
    }
    sum / total
}

/// Linear interpolation.
#[inline]
pub(super) fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// Hermite step from `a` to `b`.
#[inline]
pub(super) fn smooth(a: f32, b: f32, x: f32) -> f32 {
    let t = ((x - a) / (b - a)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// `(cos, sin)` of an angle in turns, good to 0.001.
pub(super) fn cos_sin(turns: f32) -> (f32, f32) {
    let sine = |t: f32| {
        let t = t - (t + 0.5).floor();
        let y = 8.0 * t - 16.0 * t * t.abs();
        0.225 * (y * y.abs() - y) + y
    };
    (sine(turns + 0.25), sine(turns))
}

/// Natural logarithm of a positive normal number, good to about 2e-6.
#[inline]
pub(super) fn ln(v: f32) -> f32 {
    let bits = v.to_bits();
    let exponent = (bits >> 23) as i32 - 127;
    let m = f32::from_bits((bits & 0x007f_ffff) | 0x3f80_0000);
    let z = (m - 1.0) / (m + 1.0);
    let z2 = z * z;
    let series = 1.0 + z2 * (1.0 / 3.0 + z2 * (0.2 + z2 * (1.0 / 7.0 + z2 / 9.0)));
    2.0 * z * series + exponent as f32 * std::f32::consts::LN_2
}

/// Unit-mean gamma variate with a whole shape `looks`: the intensity speckle of a multi-look image.
#[inline]
pub(super) fn gamma_speckle(x: i32, y: i32, looks: u32, stream: u32) -> f32 {
    let mut sum = 0.0;
    let mut left = looks;
    while left > 0 {
        // The logarithm of a product of four; (h + 1/2) / 2^24 is never 0, and the product stays a normal number.
        let group = left.min(4);
        let mut product = 1.0;
        for k in 0..group {
            let draw = hash2(x, y, stream.wrapping_add((left - k) * 0x3779));
            product *= unit(draw) + 0.5 / 16_777_216.0;
        }
        sum -= ln(product);
        left -= group;
    }
    sum / looks as f32
}

//! Twin of `shaders/upsample.wgsl`.

use crate::kernels::upsample::Upsample;

/// What of which elements of a line of `size` goes into element `o` of the enlarged one.
fn taps(mode: Upsample, o: usize, factor: usize, size: usize) -> [(usize, f64); 2] {
    match mode {
        Upsample::Nearest => [(o / factor, 1.0), (0, 0.0)],
        Upsample::Bilinear => {
            let at = ((o as f64 + 0.5) / factor as f64 - 0.5).max(0.0);
            let low = at.floor();
            [(low as usize, 1.0 - (at - low)), ((low as usize + 1).min(size - 1), at - low)]
        }
    }
}

/// Calls `f(index of y, index of x, weight)` for every pair.
fn each(mode: Upsample, factor: usize, [n, h, w, c]: [usize; 4], mut f: impl FnMut(usize, usize, f64)) {
    for (b, oy, ox) in (0..n).flat_map(|b| (0..h * factor).flat_map(move |y| (0..w * factor).map(move |x| (b, y, x)))) {
        for (iy, wy) in taps(mode, oy, factor, h) {
            for (ix, wx) in taps(mode, ox, factor, w) {
                (0..c).for_each(|k| f(((b * h * factor + oy) * w * factor + ox) * c + k, ((b * h + iy) * w + ix) * c + k, wy * wx));
            }
        }
    }
}

/// y [N, factor H, factor W, C] from x of `shape` [N, H, W, C].
pub fn forward(mode: Upsample, factor: usize, x: &[f64], shape: [usize; 4]) -> Vec<f64> {
    let mut y = vec![0.0; x.len() * factor * factor];
    each(mode, factor, shape, |o, i, weight| y[o] += weight * x[i]);
    y
}

/// dx of `shape` from dy.
pub fn backward(mode: Upsample, factor: usize, dy: &[f64], shape: [usize; 4]) -> Vec<f64> {
    let mut dx = vec![0.0; shape.iter().product()];
    each(mode, factor, shape, |o, i, weight| dx[i] += weight * dy[o]);
    dx
}

/// y [N, OH, OW, C] from x of `shape` [N, H, W, C]: to a size, the nearest element.
pub fn resize(x: &[f64], shape: [usize; 4], to: [usize; 2]) -> Vec<f64> {
    resized(shape, to).map(|i| x[i]).collect()
}

/// dx of `shape` from the dy of [`resize`].
pub fn resize_backward(dy: &[f64], shape: [usize; 4], to: [usize; 2]) -> Vec<f64> {
    let mut dx = vec![0.0; shape.iter().product()];
    resized(shape, to).zip(dy).for_each(|(i, v)| dx[i] += v);
    dx
}

/// For each element of y in order the element of x that it is.
fn resized([n, h, w, c]: [usize; 4], [oh, ow]: [usize; 2]) -> impl Iterator<Item = usize> {
    let row = move |b: usize, o: usize| (0..ow).flat_map(move |p| (0..c).map(move |k| ((b * h + o * h / oh) * w + p * w / ow) * c + k));
    (0..n).flat_map(move |b| (0..oh).flat_map(move |o| row(b, o)))
}

//! Twin of `shaders/conv.wgsl`.

use crate::kernels::conv::Conv;
use rayon::prelude::*;

/// Sizes of one problem: input [n, h, w, ci], output channels co.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Input extents [N, H, W, CI].
    pub x: [usize; 4],
    /// Output extents [N, OH, OW, CO].
    pub y: [usize; 4],
}

impl Sizes {
    /// The sizes of a convolution on an input.
    ///
    /// # Errors
    /// As [`Conv::output`].
    pub fn new(conv: &Conv, x: [usize; 4], co: usize) -> crate::gpu::Result<Self> {
        Ok(Self { x, y: conv.output(&x, co)? })
    }

    /// Calls `f(output position, tap, input position)` for each pair that meets in image `n`.
    fn pairs(&self, conv: &Conv, mut f: impl FnMut(usize, usize, usize)) {
        let [_, h, w, _] = self.x;
        let [_, oh, ow, _] = self.y;
        for oy in 0..oh {
            for ox in 0..ow {
                for ky in 0..conv.kernel[0] {
                    for kx in 0..conv.kernel[1] {
                        let (iy, ix) = (oy * conv.stride + ky * conv.dilation, ox * conv.stride + kx * conv.dilation);
                        if iy >= conv.pad[0] && iy < h + conv.pad[0] && ix >= conv.pad[1] && ix < w + conv.pad[1] {
                            f(oy * ow + ox, ky * conv.kernel[1] + kx, (iy - conv.pad[0]) * w + ix - conv.pad[1]);
                        }
                    }
                }
            }
        }
    }
}

/// y = conv(x, w) + bias.
pub fn forward(conv: &Conv, s: Sizes, x: &[f64], w: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    let [_, h, wd, ci] = s.x;
    let [n, oh, ow, co] = s.y;
    let (cig, cog) = (ci / conv.groups, co / conv.groups);
    let mut y = vec![0.0; n * oh * ow * co];
    y.par_chunks_mut((oh * ow * co).max(1)).enumerate().for_each(|(b, y)| {
        let x = &x[b * h * wd * ci..][..h * wd * ci];
        if let Some(bias) = bias {
            y.chunks_mut(co).for_each(|p| p.copy_from_slice(bias));
        }
        s.pairs(conv, |o, tap, i| {
            for g in 0..conv.groups {
                let y = &mut y[o * co + g * cog..][..cog];
                for k in 0..cig {
                    let (v, w) = (x[i * ci + g * cig + k], &w[(tap * cig + k) * co + g * cog..][..cog]);
                    y.iter_mut().zip(w).for_each(|(y, w)| *y += v * w);
                }
            }
        });
    });
    y
}

/// dx from dy.
pub fn backward_input(conv: &Conv, s: Sizes, dy: &[f64], w: &[f64]) -> Vec<f64> {
    let [_, h, wd, ci] = s.x;
    let [n, oh, ow, co] = s.y;
    let (cig, cog) = (ci / conv.groups, co / conv.groups);
    let mut dx = vec![0.0; n * h * wd * ci];
    dx.par_chunks_mut((h * wd * ci).max(1)).enumerate().for_each(|(b, dx)| {
        let dy = &dy[b * oh * ow * co..][..oh * ow * co];
        s.pairs(conv, |o, tap, i| {
            for c in 0..co {
                let g = c / cog;
                for k in 0..cig {
                    dx[i * ci + g * cig + k] += dy[o * co + c] * w[(tap * cig + k) * co + c];
                }
            }
        });
    });
    dx
}

/// dw from x and dy.
pub fn backward_weights(conv: &Conv, s: Sizes, x: &[f64], dy: &[f64]) -> Vec<f64> {
    let [_, h, wd, ci] = s.x;
    let [n, oh, ow, co] = s.y;
    let (cig, cog) = (ci / conv.groups, co / conv.groups);
    let size = conv.weights(ci, co).iter().product();
    (0..n)
        .into_par_iter()
        .map(|b| {
            let mut dw = vec![0.0; size];
            let (x, dy) = (&x[b * h * wd * ci..][..h * wd * ci], &dy[b * oh * ow * co..][..oh * ow * co]);
            s.pairs(conv, |o, tap, i| {
                for c in 0..co {
                    let g = c / cog;
                    for k in 0..cig {
                        dw[(tap * cig + k) * co + c] += dy[o * co + c] * x[i * ci + g * cig + k];
                    }
                }
            });
            dw
        })
        .reduce(|| vec![0.0; size], |a, b| a.iter().zip(&b).map(|(x, y)| x + y).collect())
}

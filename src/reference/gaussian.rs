//! Twin of `shaders/gaussian.wgsl`.

use crate::kernels::gaussian::weights;

/// Sums of the weights times `v` along rows, then along columns, of [N, H, W, C] with zeros outside.
fn passes(v: &[f64], [n, h, w, c]: [usize; 4], kernel: &[f64]) -> Vec<f64> {
    let radius = kernel.len() / 2;
    let along = |v: &[f64], length: usize, step: usize| -> Vec<f64> {
        (0..v.len())
            .map(|i| {
                let at = i / step % length;
                let low = at.saturating_sub(radius);
                let high = (at + radius).min(length - 1);
                (low..=high).map(|p| kernel[p + radius - at] * v[i - at * step + p * step]).sum()
            })
            .collect()
    };
    assert_eq!(v.len(), n * h * w * c);
    along(&along(v, w, c), h, w * c)
}

/// y [N, H, W, C] from x of `shape` and a mask [N, H, W, M], given with M, whose last channel is the validity.
pub fn blur(x: &[f64], shape: [usize; 4], mask: Option<(&[f64], usize)>, sigma: f32) -> Vec<f64> {
    let kernel = weights(sigma);
    let Some((mask, m)) = mask else { return passes(x, shape, &kernel) };
    let [n, h, w, c] = shape;
    let valid: Vec<f64> = mask.chunks(m).map(|v| v[m - 1].max(0.0)).collect();
    let weighted: Vec<f64> = x.iter().enumerate().map(|(i, v)| if valid[i / c] > 0.0 { valid[i / c] * v } else { 0.0 }).collect();
    let (above, below) = (passes(&weighted, shape, &kernel), passes(&valid, [n, h, w, 1], &kernel));
    above.iter().enumerate().map(|(i, v)| if below[i / c] > 0.0 { v / below[i / c] } else { 0.0 }).collect()
}

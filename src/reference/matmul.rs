//! Twin of `shaders/matmul.wgsl`.

use rayon::prelude::*;

/// c [m, n] = a [m, k] b [k, n], row-major.
pub fn matmul(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    c.par_chunks_mut(n.max(1)).enumerate().for_each(|(i, row)| {
        for (j, v) in row.iter_mut().enumerate() {
            *v = (0..k).map(|q| a[i * k + q] * b[q * n + j]).sum();
        }
    });
    c
}

/// The transpose of an [r, c] matrix.
pub fn transpose(a: &[f64], r: usize, c: usize) -> Vec<f64> {
    (0..c).flat_map(|j| (0..r).map(move |i| a[i * c + j])).collect()
}

//! Twin of `shaders/fft.wgsl`: radix 2, recursive.

use std::f64::consts::PI;

type Complex = (f64, f64);

/// The transform of a line whose length is a power of two; `sign` of the angle.
fn line(x: &[Complex], sign: f64) -> Vec<Complex> {
    let n = x.len();
    if n == 1 {
        return x.to_vec();
    }
    let half = |from: usize| line(&x[from..].iter().step_by(2).copied().collect::<Vec<_>>(), sign);
    let (even, odd) = (half(0), half(1));
    let mut y = vec![(0.0, 0.0); n];
    for k in 0..n / 2 {
        let (sin, cos) = (sign * 2.0 * PI * k as f64 / n as f64).sin_cos();
        let t = (odd[k].0 * cos - odd[k].1 * sin, odd[k].0 * sin + odd[k].1 * cos);
        y[k] = (even[k].0 + t.0, even[k].1 + t.1);
        y[k + n / 2] = (even[k].0 - t.0, even[k].1 - t.1);
    }
    y
}

/// Half spectrum [b, H / 2 + 1, W, c, 2] of x [b, h, w, c], zero beyond h and w up to `size` [H, W], times `scale`.
pub fn forward(x: &[f64], [b, h, w, c]: [usize; 4], [big_h, big_w]: [usize; 2], scale: f64) -> Vec<f64> {
    let rows = big_h / 2 + 1;
    let mut out = vec![0.0; b * rows * big_w * c * 2];
    for (image, channel) in (0..b).flat_map(|i| (0..c).map(move |k| (i, k))) {
        let mut grid = vec![vec![(0.0, 0.0); big_w]; big_h];
        for (y, row) in grid.iter_mut().enumerate().take(h) {
            (0..w).for_each(|col| row[col].0 = x[((image * h + y) * w + col) * c + channel]);
            *row = line(row, -1.0);
        }
        for kx in 0..big_w {
            let column = line(&grid.iter().map(|r| r[kx]).collect::<Vec<_>>(), -1.0);
            for (ky, z) in column.iter().enumerate().take(rows) {
                let at = (((image * rows + ky) * big_w + kx) * c + channel) * 2;
                (out[at], out[at + 1]) = (z.0 * scale, z.1 * scale);
            }
        }
    }
    out
}

/// The top left h x w of the inverse of a half spectrum [b, H / 2 + 1, W, c, 2], of extents [b, h, w, c], times `scale`: rows
/// ky and H - ky are conjugate after the sum over kx, rows 0 and H / 2 real.
pub fn inverse(spectrum: &[f64], [b, h, w, c]: [usize; 4], [big_h, big_w]: [usize; 2], scale: f64) -> Vec<f64> {
    let rows = big_h / 2 + 1;
    let mut out = vec![0.0; b * h * w * c];
    for (image, channel) in (0..b).flat_map(|i| (0..c).map(move |k| (i, k))) {
        let at = |ky: usize, kx: usize| (((image * rows + ky) * big_w + kx) * c + channel) * 2;
        let along_x: Vec<Vec<Complex>> = (0..rows)
            .map(|ky| line(&(0..big_w).map(|kx| (spectrum[at(ky, kx)], spectrum[at(ky, kx) + 1])).collect::<Vec<_>>(), 1.0))
            .collect();
        for x in 0..w {
            let mut column = vec![(0.0, 0.0); big_h];
            for (ky, row) in along_x.iter().enumerate() {
                if ky == 0 || ky == big_h / 2 {
                    column[ky] = (row[x].0, 0.0);
                } else {
                    column[ky] = row[x];
                    column[big_h - ky] = (row[x].0, -row[x].1);
                }
            }
            for (y, z) in line(&column, 1.0).iter().enumerate().take(h) {
                out[((image * h + y) * w + x) * c + channel] = z.0 * scale;
            }
        }
    }
    out
}

//! Twin of `shaders/spectrum.wgsl`. Complex numbers lie as (re, im).

/// Queries, maps, frequencies, channels.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Queries.
    pub q: usize,
    /// Maps.
    pub w: usize,
    /// Frequencies.
    pub f: usize,
    /// Channels.
    pub c: usize,
}

/// out += x y, or conj(x) y.
fn add(out: &mut [f64], x: &[f64], y: &[f64], conjugate: bool) {
    let im = if conjugate { -x[1] } else { x[1] };
    out[0] += x[0] * y[0] - im * y[1];
    out[1] += x[0] * y[1] + im * y[0];
}

/// Calls `g` with the places of a[q, f, c], b[w, f, c] and d[q, f, w] for all of them.
fn each(Sizes { q, w, f, c }: Sizes, mut g: impl FnMut(usize, usize, usize)) {
    for (i, j, k, l) in (0..q).flat_map(|i| (0..w).flat_map(move |j| (0..f).flat_map(move |k| (0..c).map(move |l| (i, j, k, l))))) {
        g(2 * ((i * f + k) * c + l), 2 * ((j * f + k) * c + l), 2 * ((i * f + k) * w + j));
    }
}

/// out [Q, F, W, 2] = sum_c conj(a[q, f, c]) b[w, f, c].
pub fn correlate(a: &[f64], b: &[f64], sizes: Sizes) -> Vec<f64> {
    let mut out = vec![0.0; sizes.q * sizes.f * sizes.w * 2];
    each(sizes, |i, j, k| add(&mut out[k..k + 2], &a[i..i + 2], &b[j..j + 2], true));
    out
}

/// [W, F, C, 2] = sum_q a[q, f, c] d[q, f, w].
pub fn gradient_b(a: &[f64], d: &[f64], sizes: Sizes) -> Vec<f64> {
    let mut out = vec![0.0; sizes.w * sizes.f * sizes.c * 2];
    each(sizes, |i, j, k| add(&mut out[j..j + 2], &a[i..i + 2], &d[k..k + 2], false));
    out
}

/// [Q, F, C, 2] = sum_w conj(d[q, f, w]) b[w, f, c].
pub fn gradient_a(b: &[f64], d: &[f64], sizes: Sizes) -> Vec<f64> {
    let mut out = vec![0.0; sizes.q * sizes.f * sizes.c * 2];
    each(sizes, |i, j, k| add(&mut out[i..i + 2], &d[k..k + 2], &b[j..j + 2], true));
    out
}

/// The cross-correlation of images by its definition: s [q, H - h + 1, W - w + 1, n] of a [q, h, w, c] inside b [n, H, W, c],
/// s(y, x) = sum over channels and u of a(u) b(u + (y, x)).
pub fn correlate_images(a: &[f64], [q, h, w, c]: [usize; 4], b: &[f64], [n, big_h, big_w, _]: [usize; 4]) -> Vec<f64> {
    let (rows, columns) = (big_h - h + 1, big_w - w + 1);
    let mut s = vec![0.0; q * rows * columns * n];
    for (i, y, x, j) in (0..q).flat_map(|i| (0..rows).flat_map(move |y| (0..columns).flat_map(move |x| (0..n).map(move |j| (i, y, x, j)))))
    {
        // A row of a against a run of b.
        let rows_of = (0..h).map(|u| (&a[(i * h + u) * w * c..][..w * c], &b[((j * big_h + y + u) * big_w + x) * c..][..w * c]));
        s[((i * rows + y) * columns + x) * n + j] = rows_of.flat_map(|(p, q)| p.iter().zip(q)).map(|(p, q)| p * q).sum();
    }
    s
}

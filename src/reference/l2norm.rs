//! Twin of `shaders/l2norm.wgsl`.

/// Unit rows and their lengths; `d` elements a row.
pub fn forward(x: &[f64], d: usize, eps: f64) -> (Vec<f64>, Vec<f64>) {
    let norm: Vec<f64> = x.chunks(d).map(|r| r.iter().map(|v| v * v).sum::<f64>().sqrt()).collect();
    let y = x.iter().enumerate().map(|(i, v)| v / norm[i / d].max(eps)).collect();
    (y, norm)
}

/// dx from the forward pass's outputs; zero for rows of no length.
pub fn backward(y: &[f64], dy: &[f64], norm: &[f64], d: usize, eps: f64) -> Vec<f64> {
    let mut dx = vec![0.0; y.len()];
    for (r, out) in dx.chunks_mut(d).enumerate().filter(|(r, _)| norm[*r] > eps) {
        let (y, dy) = (&y[r * d..][..d], &dy[r * d..][..d]);
        let along: f64 = y.iter().zip(dy).map(|(a, b)| a * b).sum();
        for (c, o) in out.iter_mut().enumerate() {
            *o = (dy[c] - y[c] * along) / norm[r];
        }
    }
    dx
}

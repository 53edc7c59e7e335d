//! Twin of `shaders/binary_xent.wgsl`.

/// Mean of softplus(-z) (target true) or softplus(z), the share of logits on the right side of 0, and the loss's gradient.
pub fn run(target: bool, z: &[f64]) -> (f64, f64, Vec<f64>) {
    let sign = if target { -1.0 } else { 1.0 };
    let n = z.len() as f64;
    let (mut loss, mut right, mut dz) = (0.0, 0.0, Vec::with_capacity(z.len()));
    for t in z.iter().map(|z| sign * z) {
        let small = (-t.abs()).exp();
        loss += t.max(0.0) + small.ln_1p();
        right += f64::from(u8::from(t < 0.0));
        dz.push(sign / n * if t >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) });
    }
    (loss / n, right / n, dz)
}

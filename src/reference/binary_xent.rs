//! Twin of `shaders/binary_xent.wgsl`.

use crate::kernels::binary_xent::Focal;

/// What the loss reads: logits, their targets, their weights (1 each where none), and what the sum is divided by (their number where none).
#[derive(Debug, Clone, Copy)]
pub struct BinaryXent<'a> {
    /// Logits.
    pub z: &'a [f64],
    /// 0 to 1.
    pub targets: &'a [f64],
    /// Factors; 0 masks.
    pub weights: Option<&'a [f64]>,
    /// Which terms count less.
    pub focal: Focal,
    /// Taken for 1 below 1.
    pub divisor: Option<f64>,
}

impl BinaryXent<'_> {
    /// Loss, accuracy and the loss's gradient in z.
    pub fn run(&self) -> (f64, f64, Vec<f64>) {
        let gamma = f64::from(self.focal.gamma);
        let [positive, negative] = self.focal.alpha.map_or([1.0; 2], |a| [f64::from(a), 1.0 - f64::from(a)]);
        let share = 1.0 / self.divisor.map_or(self.z.len() as f64, |d| d.max(1.0));
        let (mut loss, mut right, mut counted) = (0.0, 0.0, 0.0);
        let mut dz = vec![0.0; self.z.len()];
        for (i, (z, t)) in self.z.iter().zip(self.targets).enumerate() {
            let given = self.weights.map_or(1.0, |w| w[i]);
            if given == 0.0 {
                continue;
            }
            let [p, r] = [*z, -z].map(|z| 1.0 / (1.0 + (-z).exp()));
            let softplus = |z: f64| z.max(0.0) + (-z.abs()).exp().ln_1p();
            let xent = (1.0 - t) * softplus(*z) + t * softplus(-z);
            let q = p * (1.0 - t) + r * t;
            let factor = share * given * (negative + (positive - negative) * t) * q.powf(gamma);
            let bend = if gamma > 0.0 { gamma * xent * p * r * (1.0 - 2.0 * t) / q } else { 0.0 };
            loss += factor * xent;
            dz[i] = factor * (p * (1.0 - t) - r * t + bend);
            right += f64::from(u8::from(if *t > 0.5 { *z > 0.0 } else { *z < 0.0 }));
            counted += 1.0;
        }
        (loss, right / f64::max(counted, 1.0), dz)
    }
}

//! Twin of `shaders/infonce.wgsl`.

/// The loss's inputs: s [b, m], the log scale, w [b, b] or the identity, smoothing.
#[derive(Debug, Clone)]
pub struct InfoNce {
    /// Similarities.
    pub s: Vec<f64>,
    /// Rows.
    pub b: usize,
    /// Columns.
    pub m: usize,
    /// Logarithm of the logit scale.
    pub t: f64,
    /// Positive weights.
    pub w: Option<Vec<f64>>,
    /// Label smoothing.
    pub smoothing: f64,
}

impl InfoNce {
    fn scale(&self) -> f64 {
        self.t.exp().min(100.0)
    }

    fn weight(&self, i: usize, j: usize) -> f64 {
        match &self.w {
            Some(w) if j < self.b => w[i * self.b + j],
            Some(_) => 0.0,
            None => f64::from(u8::from(i == j)),
        }
    }

    /// Loss of one distribution and its gradient in z; `None` where there is no positive weight.
    fn one(&self, z: &[f64], w: &[f64]) -> Option<(f64, Vec<f64>)> {
        let sum: f64 = w.iter().sum();
        if sum <= 0.0 {
            return None;
        }
        let peak = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = peak + z.iter().map(|v| (v - peak).exp()).sum::<f64>().ln();
        let q: Vec<f64> = w.iter().map(|w| (1.0 - self.smoothing) * w / sum + self.smoothing / z.len() as f64).collect();
        let loss = q.iter().zip(z).map(|(q, z)| q * (lse - z)).sum();
        Some((loss, z.iter().zip(&q).map(|(z, q)| (z - lse).exp() - q).collect()))
    }

    /// Loss, accuracy of rows, and the loss's gradients in s and t.
    pub fn run(&self) -> (f64, f64, Vec<f64>, f64) {
        let (b, m, k) = (self.b, self.m, self.scale());
        let (mut loss, mut hits, mut dz) = (0.0, 0.0, vec![0.0; b * m]);
        for i in 0..b {
            let z: Vec<f64> = (0..m).map(|j| k * self.s[i * m + j]).collect();
            let w: Vec<f64> = (0..m).map(|j| self.weight(i, j)).collect();
            if let Some((l, d)) = self.one(&z, &w) {
                loss += l;
                d.iter().enumerate().for_each(|(j, d)| dz[i * m + j] += d);
                let top = (1..m).fold(0, |a, j| if z[j] > z[a] { j } else { a });
                hits += f64::from(u8::from(w.iter().all(|v| *v <= w[top])));
            }
        }
        for j in 0..b {
            let z: Vec<f64> = (0..b).map(|i| k * self.s[i * m + j]).collect();
            let w: Vec<f64> = (0..b).map(|i| self.weight(i, j)).collect();
            if let Some((l, d)) = self.one(&z, &w) {
                loss += l;
                d.iter().enumerate().for_each(|(i, d)| dz[i * m + j] += d);
            }
        }
        let n = 2.0 * b as f64;
        let along: f64 = dz.iter().zip(&self.s).map(|(d, s)| d * s).sum();
        let dt = if self.t.exp() > 100.0 { 0.0 } else { k * along / n };
        (loss / n, hits / b as f64, dz.iter().map(|d| d * k / n).collect(), dt)
    }
}

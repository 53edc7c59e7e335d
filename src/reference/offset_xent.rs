//! Twin of `shaders/offset_xent.wgsl`.

/// The loss's inputs: s of `shape` [P, V, U, W], the targets [P, 4], the log scale and what is fixed.
#[derive(Debug, Clone)]
pub struct OffsetXent {
    /// Scores.
    pub s: Vec<f64>,
    /// [P, V, U, W].
    pub shape: [usize; 4],
    /// Row, column, window of each patch, and a number not looked at.
    pub target: Vec<f64>,
    /// Logarithm of the logit scale.
    pub t: f64,
    /// Factor of the scores.
    pub factor: f64,
    /// Radius of the disc, pixels.
    pub radius: f64,
    /// Largest logit scale.
    pub most: f64,
}

/// What the loss gives.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Mean of the patches' losses.
    pub loss: f64,
    /// Share of patches whose largest score lies in the disc.
    pub accuracy: f64,
    /// Each patch's loss.
    pub losses: Vec<f64>,
    /// The loss's gradient in s.
    pub ds: Vec<f64>,
    /// The loss's gradient in t.
    pub dt: f64,
}

/// log sum exp and its softmax.
fn log_sum(z: &[f64]) -> (f64, Vec<f64>) {
    let peak = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lse = peak + z.iter().map(|v| (v - peak).exp()).sum::<f64>().ln();
    (lse, z.iter().map(|v| (v - lse).exp()).collect())
}

impl OffsetXent {
    /// Numbers of a patch's offsets in its disc.
    pub fn disc(&self, patch: usize) -> Vec<usize> {
        let [_, v, u, w] = self.shape;
        let [y, x, window] = [0, 1, 2].map(|i| self.target[4 * patch + i]);
        (0..v * u * w)
            .filter(|j| {
                let (row, column) = ((j / w / u) as f64, (j / w % u) as f64);
                (j % w) as f64 == window && (row - y).powi(2) + (column - x).powi(2) <= self.radius * self.radius
            })
            .collect()
    }

    /// Loss, accuracy and gradients.
    pub fn run(&self) -> Figures {
        let [p, v, u, w] = self.shape;
        let n = v * u * w;
        let k = self.t.exp().min(self.most) * self.factor;
        let mut out = Figures { loss: 0.0, accuracy: 0.0, losses: vec![0.0; p], ds: vec![0.0; p * n], dt: 0.0 };
        for patch in 0..p {
            let disc = self.disc(patch);
            if disc.is_empty() {
                continue;
            }
            let z: Vec<f64> = self.s[patch * n..][..n].iter().map(|s| k * s).collect();
            let near: Vec<f64> = disc.iter().map(|j| z[*j]).collect();
            let ((all, soft), (right, share)) = (log_sum(&z), log_sum(&near));
            out.losses[patch] = all - right;
            let mut d = soft;
            disc.iter().zip(share).for_each(|(j, q)| d[*j] -= q);
            out.dt += d.iter().zip(&z).map(|(d, z)| d * z).sum::<f64>() / p as f64;
            out.ds[patch * n..][..n].iter_mut().zip(d).for_each(|(o, d)| *o = d * k / p as f64);
            let top = (1..n).fold(0, |a, j| if z[j] > z[a] { j } else { a });
            out.accuracy += f64::from(u8::from(disc.contains(&top))) / p as f64;
        }
        out.loss = out.losses.iter().sum::<f64>() / p as f64;
        if self.t.exp() > self.most {
            out.dt = 0.0;
        }
        out
    }
}

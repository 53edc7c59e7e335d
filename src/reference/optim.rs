//! Twin of `shaders/optim.wgsl`.

use crate::kernels::optim::{AdamW, Sgd, Step};

/// One AdamW step in place; `factor` is the clip factor.
pub fn adamw(hyper: AdamW, step: Step, factor: f64, grad: &[f64], w: &mut [f64], m: &mut [f64], v: &mut [f64]) {
    let (b1, b2) = (f64::from(hyper.beta1), f64::from(hyper.beta2));
    let (c1, c2) = (1.0 - b1.powi(step.t as i32), 1.0 - b2.powi(step.t as i32));
    for i in 0..w.len() {
        let g = grad[i] * f64::from(step.grad_scale) * factor;
        m[i] = b1 * m[i] + (1.0 - b1) * g;
        v[i] = b2 * v[i] + (1.0 - b2) * g * g;
        w[i] -= f64::from(step.lr) * ((m[i] / c1) / ((v[i] / c2).sqrt() + f64::from(hyper.eps)) + f64::from(hyper.weight_decay) * w[i]);
    }
}

/// One SGD step in place; `factor` is the clip factor.
pub fn sgd(hyper: Sgd, step: Step, factor: f64, grad: &[f64], w: &mut [f64], m: &mut [f64]) {
    let momentum = f64::from(hyper.momentum);
    for i in 0..w.len() {
        let g = grad[i] * f64::from(step.grad_scale) * factor + f64::from(hyper.weight_decay) * w[i];
        m[i] = momentum * m[i] + g;
        w[i] -= f64::from(step.lr) * if hyper.nesterov { g + momentum * m[i] } else { m[i] };
    }
}

/// One step of the running mean in place.
pub fn mean(share: f64, w: &[f64], mean: &mut [f64]) {
    mean.iter_mut().zip(w).for_each(|(m, w)| *m += share * (w - *m));
}

/// Norm of all gradients times the scale, and the clip factor: `None` where the norm is not finite.
pub fn grad_norm(grads: &[&[f64]], scale: f64, max_norm: f64) -> (f64, Option<f64>) {
    let norm = grads.iter().flat_map(|g| g.iter()).map(|v| v * v).sum::<f64>().sqrt() * scale.abs();
    (norm, norm.is_finite().then(|| (max_norm / norm).min(1.0)))
}

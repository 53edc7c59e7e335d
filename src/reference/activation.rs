//! Twin of `shaders/activation.wgsl`.

use crate::kernels::activation::Activation;

/// y = f(x), elementwise.
pub fn forward(f: Activation, x: &[f64]) -> Vec<f64> {
    x.iter().map(|&v| apply(f, v)).collect()
}

/// dx = dy * f'(x), elementwise.
pub fn backward(f: Activation, x: &[f64], dy: &[f64]) -> Vec<f64> {
    x.iter().zip(dy).map(|(&v, &d)| d * slope(f, v)).collect()
}

fn apply(f: Activation, v: f64) -> f64 {
    match f {
        Activation::Relu => v.max(0.0),
        Activation::LeakyRelu(s) => {
            if v > 0.0 {
                v
            } else {
                f64::from(s) * v
            }
        }
        Activation::Silu => v / (1.0 + (-v).exp()),
        Activation::Sigmoid => 1.0 / (1.0 + (-v).exp()),
    }
}

fn slope(f: Activation, v: f64) -> f64 {
    match f {
        Activation::Relu => f64::from(u8::from(v > 0.0)),
        Activation::LeakyRelu(s) => {
            if v > 0.0 {
                1.0
            } else {
                f64::from(s)
            }
        }
        Activation::Silu => {
            let s = 1.0 / (1.0 + (-v).exp());
            s + v * s * (1.0 - s)
        }
        Activation::Sigmoid => {
            let small = (-v.abs()).exp();
            small / (1.0 + small).powi(2)
        }
    }
}

//! Twin of `shaders/sinkhorn_online.wgsl`: the same quantities from stored costs. The iteration is [`super::sinkhorn_small::solve`].

use super::sinkhorn_small;
use crate::kernels::sinkhorn_online::Ground;

/// Two clouds.
#[derive(Debug, Clone)]
pub struct Clouds {
    /// [n, d]
    pub x: Vec<f64>,
    /// [m, d]
    pub y: Vec<f64>,
    /// Dimensions.
    pub d: usize,
    /// Weights of x.
    pub a: Vec<f64>,
    /// Weights of y.
    pub b: Vec<f64>,
    /// The cost.
    pub ground: Ground,
}

impl Clouds {
    fn cost(&self, x: &[f64], y: &[f64]) -> Vec<f64> {
        sinkhorn_small::cost(self.ground == Ground::Cosine, x, y, self.d)
    }

    /// A whole step from potentials g of y: those of x for which the plan's rows sum to a.
    pub fn half(&self, g: &[f64], eps: f64) -> Vec<f64> {
        let c = self.cost(&self.x, &self.y);
        sinkhorn_small::half(self.a.len(), &self.b, g, eps, |i, j| c[i * self.b.len() + j])
    }

    /// The plan's rows from potentials g of y, each divided by its sum.
    pub fn plan_rows(&self, g: &[f64], eps: f64) -> Vec<f64> {
        let (c, f, m) = (self.cost(&self.x, &self.y), self.half(g, eps), self.b.len());
        c.iter().enumerate().map(|(at, c)| self.b[at % m] * ((f[at / m] + g[at % m] - c) / eps).exp()).collect()
    }

    /// Points as the cost sees them: as they are, or of unit length.
    fn seen(&self, x: &[f64]) -> Vec<f64> {
        let unit = |x: &[f64]| {
            let length = x.iter().map(|v| v * v).sum::<f64>().sqrt();
            x.iter().map(|v| if length > 0.0 { v / length } else { 0.0 }).collect::<Vec<_>>()
        };
        match self.ground {
            Ground::SquaredEuclidean => x.to_vec(),
            Ground::Cosine => x.chunks(self.d).flat_map(unit).collect(),
        }
    }

    /// The gradient of the divergence in x from potentials f of x with itself and g of y with x (envelope theorem).
    pub fn gradient(&self, f: &[f64], g: &[f64], eps: f64) -> Vec<f64> {
        let own = Self { y: self.x.clone(), b: self.a.clone(), ..self.clone() };
        let bary = |clouds: &Self, g: &[f64]| {
            let (p, y, m, d) = (clouds.plan_rows(g, eps), clouds.seen(&clouds.y), clouds.b.len(), clouds.d);
            super::matmul::matmul(&p, &y, clouds.a.len(), m, d)
        };
        let (own, other) = (bary(&own, f), bary(self, g));
        let mut dx = Vec::with_capacity(self.x.len());
        for (i, x) in self.x.chunks(self.d).enumerate() {
            let t: Vec<f64> = (0..self.d).map(|c| own[i * self.d + c] - other[i * self.d + c]).collect();
            let length = x.iter().map(|v| v * v).sum::<f64>().sqrt();
            let along = x.iter().zip(&t).map(|(x, t)| x * t).sum::<f64>();
            dx.extend(x.iter().zip(&t).map(|(x, t)| match self.ground {
                Ground::SquaredEuclidean => 2.0 * self.a[i] * t,
                Ground::Cosine if length == 0.0 => 0.0,
                Ground::Cosine => self.a[i] * (t - x * along / (length * length)) / length,
            }));
        }
        dx
    }
}

//! Transforms from map pixels to SAR pixels, and least squares through tie points. Coordinates are centred and scaled before solving.

use crate::scene::{compose, inverse};
use serde::{Deserialize, Serialize};

/// Most terms of a coordinate: those of degree 3.
const TERMS: usize = 10;

/// A SAR position and the map position that was found for it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TiePoint {
    /// Place in the SAR image, SAR pixels.
    pub sar_px: [f64; 2],
    /// Place on the map, map pixels.
    pub map_px: [f64; 2],
    /// What it counts, above 0; only ratios matter.
    pub weight: f64,
}

/// Kind of transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    /// Four numbers: shift, rotation, one scale; against how the image is said to lie.
    Similarity,
    /// Six numbers: shift, rotation, scales and shear.
    Affine,
    /// Degree 2, twelve numbers: bends the image once.
    Polynomial2,
    /// Degree 3, twenty numbers.
    Polynomial3,
}

impl ModelKind {
    /// Highest power of a coordinate.
    pub fn degree(self) -> usize {
        match self {
            Self::Similarity | Self::Affine => 1,
            Self::Polynomial2 => 2,
            Self::Polynomial3 => 3,
        }
    }

    /// Terms a coordinate.
    pub fn terms(self) -> usize {
        (self.degree() + 1) * (self.degree() + 2) / 2
    }

    /// Numbers that are fitted.
    pub fn numbers(self) -> usize {
        if self == Self::Similarity { 4 } else { 2 * self.terms() }
    }

    /// Agreeing tie points that a fit needs: twice what determines it, as each gives two numbers.
    pub fn needs(self) -> usize {
        self.numbers()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Similarity => "similarity",
            Self::Affine => "affine",
            Self::Polynomial2 => "polynomial of degree 2",
            Self::Polynomial3 => "polynomial of degree 3",
        }
    }
}

/// From map pixels to SAR pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its kind.
    pub kind: ModelKind,
    /// Map position at which u = v = 0.
    pub centre: [f64; 2],
    /// Map pixels of one unit of u and v.
    pub scale: f64,
    /// SAR x and y as sums over 1, u, v, u^2, uv, v^2, u^3, u^2 v, u v^2, v^3, as far as the degree goes.
    pub coefficients: [Vec<f64>; 2],
}

/// Powers of (u, v) up to degree 3.
fn basis(u: f64, v: f64) -> [f64; TERMS] {
    let (uu, uv, vv) = (u * u, u * v, v * v);
    [1.0, u, v, uu, uv, vv, uu * u, uu * v, u * vv, vv * v]
}

impl Model {
    /// The affine transform with this matrix (rows of (x, y), SAR pixels a map pixel) that brings `map_px` to `sar_px`.
    pub fn affine(matrix: [[f64; 2]; 2], map_px: [f64; 2], sar_px: [f64; 2]) -> Self {
        let coefficients = [0, 1].map(|d| vec![sar_px[d], matrix[d][0], matrix[d][1]]);
        Self { kind: ModelKind::Affine, centre: map_px, scale: 1.0, coefficients }
    }

    /// Where a map position lies in the SAR image.
    pub fn to_sar(&self, p: [f64; 2]) -> [f64; 2] {
        let [u, v] = [0, 1].map(|d| (p[d] - self.centre[d]) / self.scale);
        let b = basis(u, v);
        [0, 1].map(|d| self.coefficients[d].iter().zip(b).map(|(c, b)| c * b).sum())
    }

    /// Its derivative there: rows of (x, y), SAR pixels a map pixel.
    pub fn derivative(&self, p: [f64; 2]) -> [[f64; 2]; 2] {
        let [u, v] = [0, 1].map(|d| (p[d] - self.centre[d]) / self.scale);
        let du = [0.0, 1.0, 0.0, 2.0 * u, v, 0.0, 3.0 * u * u, 2.0 * u * v, v * v, 0.0];
        let dv = [0.0, 0.0, 1.0, 0.0, u, 2.0 * v, 0.0, u * u, 2.0 * u * v, 3.0 * v * v];
        let sum = |d: usize, b: &[f64; TERMS]| self.coefficients[d].iter().zip(b).map(|(c, b)| c * b).sum::<f64>() / self.scale;
        [0, 1].map(|d| [sum(d, &du), sum(d, &dv)])
    }

    /// Where a SAR position lies on the map: exact for an affine transform, by Newton's method else; none where that finds no place.
    pub fn to_map(&self, sar_px: [f64; 2]) -> Option<[f64; 2]> {
        let mut p = self.centre;
        for _ in 0..50 {
            let step = self.pull(p, sar_px);
            if !step.iter().all(|v| v.is_finite()) {
                return None;
            }
            p = [0, 1].map(|d| p[d] + step[d]);
            if step[0].hypot(step[1]) < 1e-7 {
                return Some(p);
            }
        }
        None
    }

    /// How far a SAR position's place on the map lies from `p`, to first order, map pixels.
    pub(super) fn pull(&self, p: [f64; 2], sar_px: [f64; 2]) -> [f64; 2] {
        let (q, j) = (self.to_sar(p), inverse(&self.derivative(p)));
        let d = [sar_px[0] - q[0], sar_px[1] - q[1]];
        j.map(|row| row[0] * d[0] + row[1] * d[1])
    }

    /// Where the transform puts a tie point's SAR position on the map, less where it was found; map pixels, to first order.
    pub fn residual(&self, point: &TiePoint) -> [f64; 2] {
        self.pull(point.map_px, point.sar_px)
    }

    /// Weighted least squares; `None` where the points do not determine it.
    pub(super) fn solve(kind: ModelKind, points: &[TiePoint], weights: &[f64], noise: &Noise) -> Option<Solved> {
        let total: f64 = weights.iter().sum();
        let mean = |d: usize| points.iter().zip(weights).map(|(p, w)| w * p.map_px[d]).sum::<f64>() / total;
        let centre = [mean(0), mean(1)];
        let spread = |p: &TiePoint| (p.map_px[0] - centre[0]).powi(2) + (p.map_px[1] - centre[1]).powi(2);
        let scale = (points.iter().zip(weights).map(|(p, w)| w * spread(p)).sum::<f64>() / total).sqrt();
        if !(total > 0.0 && scale > 0.0 && scale.is_finite()) {
            return None;
        }
        let at = |p: &TiePoint| [0, 1].map(|d| (p.map_px[d] - centre[d]) / scale);
        if kind == ModelKind::Similarity {
            // In map pixels, so that the two coordinates share rotation and scale: a (u, v) + b (-v, u) + shift.
            let (to_map, precision) = (inverse(&noise.base), inverse(&noise.covariance));
            let mut normal = [[0.0; TERMS]; TERMS];
            let mut right = [0.0; TERMS];
            for (p, w) in points.iter().zip(weights).filter(|(_, w)| **w > 0.0) {
                let rows = similarity_rows(at(p));
                let y = to_map.map(|r| r[0] * p.sar_px[0] + r[1] * p.sar_px[1]);
                for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    let w = w / total * precision[i][j];
                    for k in 0..4 {
                        (0..4).for_each(|l| normal[k][l] += w * rows[i][k] * rows[j][l]);
                        right[k] += w * rows[i][k] * y[j];
                    }
                }
            }
            let factor = cholesky(normal, 4)?;
            let [a, b, x, y, ..] = substitute(&factor, right, 4);
            let matrix = compose(noise.base, [[a, -b], [b, a]]);
            let coefficients = [0, 1].map(|d| vec![noise.base[d][0] * x + noise.base[d][1] * y, matrix[d][0], matrix[d][1]]);
            return Some(Solved { model: Self { kind, centre, scale, coefficients }, factor, total, precision });
        }
        let n = kind.terms();
        let mut normal = [[0.0; TERMS]; TERMS];
        let mut right = [[0.0; TERMS]; 2];
        for (p, w) in points.iter().zip(weights).filter(|(_, w)| **w > 0.0) {
            let [u, v] = at(p);
            let b = basis(u, v);
            let w = w / total;
            for i in 0..n {
                (0..=i).for_each(|j| normal[i][j] += w * b[i] * b[j]);
                (0..2).for_each(|d| right[d][i] += w * b[i] * p.sar_px[d]);
            }
        }
        let factor = cholesky(normal, n)?;
        let coefficients = right.map(|r| substitute(&factor, r, n)[..n].to_vec());
        let model = Self { kind, centre, scale, coefficients };
        Some(Solved { model, factor, total, precision: inverse(&noise.covariance) })
    }
}

/// What a similarity makes of its four numbers at (u, v): a row for each coordinate.
fn similarity_rows([u, v]: [f64; 2]) -> [[f64; 4]; 2] {
    [[u, -v, 1.0, 0.0], [v, u, 0.0, 1.0]]
}

/// What a similarity is fitted against: how the image is said to lie, and how errors spread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noise {
    /// SAR pixels (rows) a map pixel, but for rotation and scale.
    base: [[f64; 2]; 2],
    /// Of errors, map pixels squared: those of radar are larger along its line of sight.
    covariance: [[f64; 2]; 2],
}

impl Noise {
    pub(super) fn even(base: [[f64; 2]; 2]) -> Self {
        Self { base, covariance: [[1.0, 0.0], [0.0, 1.0]] }
    }

    /// With the covariance of weighted residuals, kept from becoming a line.
    pub(super) fn measured(base: [[f64; 2]; 2], residuals: &[[f64; 2]], weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        let moment = |i: usize, j: usize| residuals.iter().zip(weights).map(|(r, w)| w * r[i] * r[j]).sum::<f64>() / total;
        let (xx, xy, yy) = (moment(0, 0), moment(0, 1), moment(1, 1));
        let least = 0.02 * (xx + yy) + 1e-12;
        if !(xx + yy).is_finite() {
            return Self::even(base);
        }
        Self { base, covariance: [[xx + least, xy], [xy, yy + least]] }
    }

    /// Square of a residual's length in standard deviations.
    pub(super) fn distance2(&self, r: [f64; 2]) -> f64 {
        let p = inverse(&self.covariance);
        p[0][0] * r[0] * r[0] + (p[0][1] + p[1][0]) * r[0] * r[1] + p[1][1] * r[1] * r[1]
    }
}

/// A least-squares solution and what its leverages need.
pub(super) struct Solved {
    pub(super) model: Model,
    factor: [[f64; TERMS]; TERMS],
    total: f64,
    /// Inverse covariance that a similarity was fitted with.
    precision: [[f64; 2]; 2],
}

impl Solved {
    /// Share of a point of this weight in its own prediction, 0 to 1.
    pub(super) fn leverage(&self, point: &TiePoint, weight: f64) -> f64 {
        let (m, n) = (&self.model, self.model.kind.terms());
        let [u, v] = [0, 1].map(|d| (point.map_px[d] - m.centre[d]) / m.scale);
        if m.kind == ModelKind::Similarity {
            // The mean of both coordinates'.
            let rows = similarity_rows([u, v]);
            let mut sum = 0.0;
            for j in 0..2 {
                let mut row = [0.0; TERMS];
                row[..4].copy_from_slice(&rows[j]);
                let solved = substitute(&self.factor, row, 4);
                (0..2).for_each(|i| sum += self.precision[i][j] * (0..4).map(|k| rows[i][k] * solved[k]).sum::<f64>());
            }
            return weight / self.total * sum / 2.0;
        }
        let b = basis(u, v);
        let solved = substitute(&self.factor, b, n);
        weight / self.total * (0..n).map(|i| b[i] * solved[i]).sum::<f64>()
    }
}

/// Lower triangle L of L L' = a; `None` where a pivot all but vanishes: the terms depend on each other.
fn cholesky(mut a: [[f64; TERMS]; TERMS], n: usize) -> Option<[[f64; TERMS]; TERMS]> {
    for i in 0..n {
        let size = a[i][i];
        for j in 0..=i {
            let sum = a[i][j] - (0..j).map(|k| a[i][k] * a[j][k]).sum::<f64>();
            if i == j {
                if sum.is_nan() || sum <= 1e-7 * size {
                    return None;
                }
                a[i][i] = sum.sqrt();
            } else {
                a[i][j] = sum / a[j][j];
            }
        }
    }
    Some(a)
}

/// x of L L' x = b.
fn substitute(l: &[[f64; TERMS]; TERMS], mut b: [f64; TERMS], n: usize) -> [f64; TERMS] {
    for i in 0..n {
        b[i] = (b[i] - (0..i).map(|k| l[i][k] * b[k]).sum::<f64>()) / l[i][i];
    }
    for i in (0..n).rev() {
        b[i] = (b[i] - (i + 1..n).map(|k| l[k][i] * b[k]).sum::<f64>()) / l[i][i];
    }
    b
}

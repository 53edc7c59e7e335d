//! A transform from map pixels to SAR pixels through tie points of which many may be wrong.
//!
//! First a consensus: affine transforms through three points each, drawn at random (the same draws each time), are judged by the points
//! they bring together; one that chance explains as well is refused. Then least squares with Tukey's weights, the scale taken from
//! the median residual. Coordinates are centred and scaled before solving.

use crate::nn::splitmix;
use crate::scene::{compose, inverse};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Most terms of a coordinate: those of degree 3.
const TERMS: usize = 10;
/// Tukey's constant: 95 % efficient for normal errors.
const TUKEY: f64 = 4.685;
/// A consensus must be this unlikely by chance: at most so many expected among all the triples there are.
const CHANCE: f64 = 1e-3;
/// Points count as one line where their spread across it is this share of that along it.
const COLLINEAR: f64 = 0.02;

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
    fn pull(&self, p: [f64; 2], sar_px: [f64; 2]) -> [f64; 2] {
        let (q, j) = (self.to_sar(p), inverse(&self.derivative(p)));
        let d = [sar_px[0] - q[0], sar_px[1] - q[1]];
        j.map(|row| row[0] * d[0] + row[1] * d[1])
    }

    /// Where the transform puts a tie point's SAR position on the map, less where it was found; map pixels, to first order.
    pub fn residual(&self, point: &TiePoint) -> [f64; 2] {
        self.pull(point.map_px, point.sar_px)
    }

    /// Weighted least squares; `None` where the points do not determine it.
    fn solve(kind: ModelKind, points: &[TiePoint], weights: &[f64], noise: &Noise) -> Option<Solved> {
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
struct Noise {
    /// SAR pixels (rows) a map pixel, but for rotation and scale.
    base: [[f64; 2]; 2],
    /// Of errors, map pixels squared: those of radar are larger along its line of sight.
    covariance: [[f64; 2]; 2],
}

impl Noise {
    fn even(base: [[f64; 2]; 2]) -> Self {
        Self { base, covariance: [[1.0, 0.0], [0.0, 1.0]] }
    }

    /// With the covariance of weighted residuals, kept from becoming a line.
    fn measured(base: [[f64; 2]; 2], residuals: &[[f64; 2]], weights: &[f64]) -> Self {
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
    fn distance2(&self, r: [f64; 2]) -> f64 {
        let p = inverse(&self.covariance);
        p[0][0] * r[0] * r[0] + (p[0][1] + p[1][0]) * r[0] * r[1] + p[1][1] * r[1] * r[1]
    }
}

/// A least-squares solution and what its leverages need.
struct Solved {
    model: Model,
    factor: [[f64; TERMS]; TERMS],
    total: f64,
    /// Inverse covariance that a similarity was fitted with.
    precision: [[f64; 2]; 2],
}

impl Solved {
    /// Share of a point of this weight in its own prediction, 0 to 1.
    fn leverage(&self, point: &TiePoint, weight: f64) -> f64 {
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

/// What an affine transform may be, beside the one expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// The derivative expected: SAR pixels (rows) a map pixel.
    pub matrix: [[f64; 2]; 2],
    /// Degrees it may be turned against that.
    pub rotation_deg: f64,
    /// Share by which lengths may differ in any direction.
    pub stretch: f64,
}

impl Limits {
    /// Whether a transform from SAR to map pixels keeps within them.
    fn hold(&self, to_map: &[[f64; 2]; 2]) -> bool {
        let [[a, b], [c, d]] = compose(*to_map, self.matrix);
        // Singular values of a 2x2 matrix, and the angle of its rotation.
        let (e, f, g, h) = ((a + d) / 2.0, (c - b) / 2.0, (a - d) / 2.0, (b + c) / 2.0);
        let (q, r) = (e.hypot(f), g.hypot(h));
        q + r <= 1.0 + self.stretch && q - r >= 1.0 - self.stretch && f.atan2(e).abs() <= self.rotation_deg.to_radians()
    }
}

/// How a consensus is sought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConsensusConfig {
    /// A point agrees within so many map pixels.
    pub tolerance_px: f64,
    /// Square map pixels over which a wrong point would lie anywhere.
    pub area_px2: f64,
    /// What the transform may be.
    pub limits: Option<Limits>,
    /// Triples drawn at most.
    pub draws: usize,
    /// Seed of the draws.
    pub seed: u64,
}

/// What many points agree on.
#[derive(Debug, Clone, PartialEq)]
pub struct Consensus {
    /// Their affine transform.
    pub model: Model,
    /// The points that agree, one a group at most; in order.
    pub chosen: Vec<usize>,
    /// Transforms that would bring as many together expected by chance, logarithm to base 10.
    pub chance_log10: f64,
}

/// From SAR to map pixels.
#[derive(Debug, Clone, Copy)]
struct Affine {
    matrix: [[f64; 2]; 2],
    shift: [f64; 2],
}

impl Affine {
    /// Through three points; `None` where they lie on a line or close together.
    fn through(points: [&TiePoint; 3]) -> Option<Self> {
        let [a, b, c] = points;
        let sides = |p: fn(&TiePoint) -> [f64; 2]| {
            let ([x, y], b, c) = (p(a), p(b), p(c));
            [[b[0] - x, c[0] - x], [b[1] - y, c[1] - y]]
        };
        let (sar, map) = (sides(|t| t.sar_px), sides(|t| t.map_px));
        for m in [&sar, &map] {
            let longest = m[0][0].hypot(m[1][0]).max(m[0][1].hypot(m[1][1]));
            if (m[0][0] * m[1][1] - m[0][1] * m[1][0]).abs() <= COLLINEAR * longest * longest {
                return None;
            }
        }
        let matrix = compose(map, inverse(&sar));
        let shift = [0, 1].map(|d| a.map_px[d] - matrix[d][0] * a.sar_px[0] - matrix[d][1] * a.sar_px[1]);
        Some(Self { matrix, shift })
    }

    fn of(model: &Model) -> Self {
        let matrix = inverse(&model.derivative(model.centre));
        let at = model.to_sar(model.centre);
        let shift = [0, 1].map(|d| model.centre[d] - matrix[d][0] * at[0] - matrix[d][1] * at[1]);
        Self { matrix, shift }
    }

    fn off2(&self, p: &TiePoint) -> f64 {
        let d = [0, 1].map(|d| self.matrix[d][0] * p.sar_px[0] + self.matrix[d][1] * p.sar_px[1] + self.shift[d] - p.map_px[d]);
        d[0] * d[0] + d[1] * d[1]
    }
}

/// ln of n over k.
fn ln_choose(n: usize, k: usize) -> f64 {
    (0..k).map(|i| (((n - i) as f64) / ((i + 1) as f64)).ln()).sum()
}

/// Points by group, each group's in order.
fn grouped(groups: &[usize]) -> Vec<Vec<usize>> {
    let mut out: Vec<Vec<usize>> = Vec::new();
    for (i, g) in groups.iter().enumerate() {
        if out.len() <= *g {
            out.resize(g + 1, Vec::new());
        }
        out[*g].push(i);
    }
    out.retain(|g| !g.is_empty());
    out
}

/// Draws points by weight.
struct Draw {
    sums: Vec<f64>,
    key: u64,
    counter: u64,
}

impl Draw {
    fn new(points: &[TiePoint], seed: u64) -> Self {
        let mut sum = 0.0;
        let sums = points.iter().map(|p| {
            sum += p.weight;
            sum
        });
        Self { sums: sums.collect(), key: splitmix(seed), counter: 0 }
    }

    fn next(&mut self) -> usize {
        self.counter += 1;
        let unit = (splitmix(self.key.wrapping_add(self.counter)) >> 11) as f64 / (1u64 << 53) as f64;
        let at = unit * self.sums.last().copied().unwrap_or(0.0);
        self.sums.partition_point(|s| *s <= at).min(self.sums.len() - 1)
    }
}

/// The affine transform that brings most points together, of each group (a SAR patch with several candidate places) one at most.
///
/// # Errors
/// Fewer than four groups; no agreement beyond what chance explains; points on a line.
pub fn consensus(points: &[TiePoint], groups: &[usize], config: &ConsensusConfig) -> Result<Consensus> {
    check(points)?;
    if groups.len() != points.len() {
        return Err(Error::invalid(format!("{} points in {} groups' entries", points.len(), groups.len())));
    }
    let by_group = grouped(groups);
    let count = by_group.len();
    if count < 4 {
        return Err(Error::invalid(format!("{count} tie points are too few to agree on a transform: four at least, better fifty")));
    }
    let tolerance2 = config.tolerance_px * config.tolerance_px;
    // A group counts with the best of its points that agree: its weight, less the nearer it is to not agreeing.
    let support = |a: &Affine| -> (f64, usize) {
        let (mut sum, mut agree) = (0.0, 0);
        for group in &by_group {
            let best = group.iter().fold(0.0f64, |best, &i| best.max(points[i].weight * (1.0 - a.off2(&points[i]) / tolerance2)));
            sum += best;
            agree += usize::from(best > 0.0);
        }
        (sum, agree)
    };
    let choose = |a: &Affine| -> Vec<usize> {
        let credit = |i: usize| points[i].weight * (1.0 - a.off2(&points[i]) / tolerance2);
        by_group
            .iter()
            .filter_map(|g| g.iter().copied().filter(|&i| credit(i) > 0.0).max_by(|&i, &j| credit(i).total_cmp(&credit(j))))
            .collect()
    };
    let refit = |chosen: &[usize]| -> Option<Model> {
        let picked: Vec<TiePoint> = chosen.iter().map(|&i| points[i]).collect();
        let weights: Vec<f64> = picked.iter().map(|p| p.weight).collect();
        (picked.len() >= 3)
            .then(|| Model::solve(ModelKind::Affine, &picked, &weights, &Noise::even([[1.0, 0.0], [0.0, 1.0]])))
            .flatten()
            .map(|s| s.model)
    };
    let allowed = |a: &Affine| config.limits.is_none_or(|l| l.hold(&a.matrix));
    let mut draw = Draw::new(points, config.seed);
    let (mut tried, mut plausible) = (0u64, 0u64);
    let mut best: Option<(f64, usize, Affine)> = None;
    let mut needed = config.draws as f64;
    while (tried as f64) < needed {
        let (i, j, k) = (draw.next(), draw.next(), draw.next());
        tried += 1;
        if groups[i] == groups[j] || groups[i] == groups[k] || groups[j] == groups[k] {
            continue;
        }
        let Some(a) = Affine::through([&points[i], &points[j], &points[k]]).filter(&allowed) else { continue };
        plausible += 1;
        let (sum, agree) = support(&a);
        if best.as_ref().is_some_and(|b| b.0 >= sum) {
            continue;
        }
        best = Some((sum, agree, a));
        // Three near points make a poor lever: all that agree make a better one, which may find more.
        let mut now = a;
        for _ in 0..5 {
            let Some(next) = refit(&choose(&now)).map(|m| Affine::of(&m)).filter(&allowed) else { break };
            now = next;
            let (sum, agree) = support(&now);
            if best.as_ref().is_some_and(|b| sum <= b.0) {
                break;
            }
            best = Some((sum, agree, now));
        }
        let (_, _, a) = best.as_ref().expect("just set");
        // Draws until three that agree come up together with a probability of all but 1e-6.
        let all = draw.sums.last().copied().unwrap_or(1.0);
        let share = choose(a).iter().map(|&i| points[i].weight).sum::<f64>() / all;
        let miss = (1.0 - (share.powi(3) * 0.5).min(0.999_999)).ln();
        needed = ((1e-6f64).ln() / miss).max(200.0).min(config.draws as f64);
    }
    let none = || {
        Error::invalid(format!(
            "the {count} tie points agree on no transform: the SAR image may lie off the map, or be turned or scaled by more than is searched"
        ))
    };
    let (_, agree, a) = best.ok_or_else(none)?;
    // As many by chance: over all triples that are plausible, each other group agreeing with the probability that one of its points
    // falls near by.
    let each = points.len() as f64 / count as f64;
    let alpha = (each * std::f64::consts::PI * tolerance2 / config.area_px2.max(1.0)).min(1.0);
    let triples = ln_choose(count, 3) + 3.0 * each.ln() + (plausible as f64 / tried.max(1) as f64).max(1e-9).ln();
    let chance = if agree < 3 { 0.0 } else { triples + ln_choose(count, agree) + (agree - 3) as f64 * alpha.ln() };
    let chance_log10 = chance / std::f64::consts::LN_10;
    if agree < 4 || chance > CHANCE.ln() {
        return Err(Error::invalid(format!(
            "only {agree} of {count} tie points agree on a transform, no more than chance may bring together: the SAR image may lie off the map, or be turned or scaled by more than is searched"
        )));
    }
    let chosen = choose(&a);
    let picked: Vec<TiePoint> = chosen.iter().map(|&i| points[i]).collect();
    spread(&picked)?;
    let model = refit(&chosen).ok_or_else(none)?;
    Ok(Consensus { model, chosen, chance_log10 })
}

fn check(points: &[TiePoint]) -> Result<()> {
    let sound = |p: &TiePoint| p.sar_px.iter().chain(&p.map_px).all(|v| v.is_finite()) && p.weight.is_finite() && p.weight > 0.0;
    match points.iter().position(|p| !sound(p)) {
        Some(i) => Err(Error::invalid(format!("tie point {i} has a place or weight that is no number above 0: {:?}", points[i]))),
        None => Ok(()),
    }
}

/// Refuses points on a line, or at one place.
fn spread(points: &[TiePoint]) -> Result<()> {
    let n = points.len().max(1) as f64;
    let mean = [0, 1].map(|d| points.iter().map(|p| p.map_px[d]).sum::<f64>() / n);
    let moment = |i: usize, j: usize| points.iter().map(|p| (p.map_px[i] - mean[i]) * (p.map_px[j] - mean[j])).sum::<f64>() / n;
    let (xx, xy, yy) = (moment(0, 0), moment(0, 1), moment(1, 1));
    let (middle, half) = ((xx + yy) / 2.0, ((xx - yy) / 2.0).hypot(xy));
    if middle.is_nan() || middle + half <= 0.0 || (middle - half).max(0.0).sqrt() < COLLINEAR * (middle + half).sqrt() {
        return Err(Error::invalid(format!(
            "the {} tie points that agree lie on a line, which leaves the transform across it open; use more of them, or a larger part of the SAR image",
            points.len()
        )));
    }
    Ok(())
}

/// How tie points are fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitConfig {
    /// What is fitted.
    pub kind: ModelKind,
    /// How the image is said to lie: SAR pixels (rows) a map pixel. A similarity turns and scales this.
    pub base: [[f64; 2]; 2],
    /// How the first agreement is sought.
    pub consensus: ConsensusConfig,
}

/// A transform and how well the tie points fit it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The transform.
    pub model: Model,
    /// Which points it rests on.
    pub inlier: Vec<bool>,
    /// Of each point: where the transform puts it less where it was found, map pixels.
    pub residual_px: Vec<[f64; 2]>,
    /// Of each point: length of the residual of the fit that leaves this point out; that of [`Fit::residual_px`] where it is not used.
    pub held_out_px: Vec<f64>,
    /// Standard deviation of a coordinate that the residuals show, from their median.
    pub sigma_px: f64,
    /// Chance of so much agreement, as [`Consensus::chance_log10`].
    pub chance_log10: f64,
    /// What each point counted.
    weights: Vec<f64>,
    base: [[f64; 2]; 2],
}

/// Median of numbers; NaN of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

fn length(v: [f64; 2]) -> f64 {
    v[0].hypot(v[1])
}

impl Fit {
    /// How many points it rests on.
    pub fn inliers(&self) -> usize {
        self.inlier.iter().filter(|i| **i).count()
    }

    fn of_inliers<'a, T>(&'a self, values: &'a [T]) -> impl Iterator<Item = &'a T> {
        values.iter().zip(&self.inlier).filter(|(_, i)| **i).map(|(v, _)| v)
    }

    /// Median length of the inliers' residuals, map pixels.
    pub fn median_px(&self) -> f64 {
        median(self.of_inliers(&self.residual_px).map(|r| length(*r)).collect())
    }

    /// Root of the mean square of the inliers' residuals, map pixels.
    pub fn rms_px(&self) -> f64 {
        (self.of_inliers(&self.residual_px).map(|r| length(*r).powi(2)).sum::<f64>() / self.inliers().max(1) as f64).sqrt()
    }

    /// Median residual of inliers that the fit did not see, map pixels: well above [`Fit::median_px`] where a model has too many terms.
    pub fn held_out_median_px(&self) -> f64 {
        median(self.of_inliers(&self.held_out_px).copied().collect())
    }

    /// Root of their mean square.
    pub fn held_out_rms_px(&self) -> f64 {
        (self.of_inliers(&self.held_out_px).map(|r| r * r).sum::<f64>() / self.inliers().max(1) as f64).sqrt()
    }

    /// Standard error of the transform at a map position from the scatter of the points, map pixels along the worse axis: how well the place
    /// there is known, as far as errors are independent.
    pub fn standard_error_px(&self, points: &[TiePoint], at: [f64; 2]) -> f64 {
        let weights: Vec<f64> = self.inlier.iter().map(|i| f64::from(u8::from(*i))).collect();
        let n = self.inliers() as f64;
        let Some(solved) = Model::solve(self.model.kind, points, &weights, &self.noise()) else { return f64::NAN };
        let here = TiePoint { sar_px: [0.0; 2], map_px: at, weight: 1.0 };
        let per_axis = self.rms_px() / std::f64::consts::SQRT_2 * (n / (n - self.model.kind.numbers() as f64 / 2.0).max(1.0)).sqrt();
        per_axis * solved.leverage(&here, 1.0).max(0.0).sqrt()
    }

    fn noise(&self) -> Noise {
        Noise::measured(self.base, &self.residual_px, &self.weights)
    }

    /// Root mean square, in standard deviations of the scatter, of residuals from fits of `kind` that each leave a sixteenth of the area out:
    /// how well it predicts where there are no points. With the weights of this fit.
    fn predicts(&self, points: &[TiePoint], kind: ModelKind) -> f64 {
        const PARTS: f64 = 4.0;
        let used = || points.iter().zip(&self.weights).filter(|(_, w)| **w > 0.0);
        let low = [0, 1].map(|d| used().map(|(p, _)| p.map_px[d]).fold(f64::INFINITY, f64::min));
        let high = [0, 1].map(|d| used().map(|(p, _)| p.map_px[d]).fold(f64::NEG_INFINITY, f64::max));
        let part = |p: &TiePoint| {
            let [i, j] = [0, 1].map(|d| ((p.map_px[d] - low[d]) / (high[d] - low[d]).max(1e-9) * PARTS).floor().clamp(0.0, PARTS - 1.0));
            (i + PARTS * j) as usize
        };
        let noise = self.noise();
        let (mut sum, mut total) = (0.0, 0.0);
        for out in 0..(PARTS * PARTS) as usize {
            let weights: Vec<f64> = points.iter().zip(&self.weights).map(|(p, w)| if part(p) == out { 0.0 } else { *w }).collect();
            let Some(solved) = Model::solve(kind, points, &weights, &noise) else { return f64::INFINITY };
            for (p, w) in used().filter(|(p, _)| part(p) == out) {
                sum += w * noise.distance2(solved.model.residual(p));
                total += w;
            }
        }
        (sum / total).sqrt()
    }
}

/// Fits each of `kinds`, simplest first, and takes the one that predicts best where it has seen no points; a simpler one where that is
/// within a hundredth as good.
///
/// # Errors
/// As [`fit`], of the kind that has most numbers; no kind at all.
pub fn fit_best(points: &[TiePoint], config: &FitConfig, kinds: &[ModelKind]) -> Result<Fit> {
    let Some((last, simpler)) = kinds.split_last() else { return Err(Error::invalid("no kind of transform to fit")) };
    let full = fit(points, &FitConfig { kind: *last, ..*config })?;
    let scores: Vec<f64> = simpler.iter().map(|k| full.predicts(points, *k)).collect();
    let best = scores.iter().copied().fold(if simpler.is_empty() { 0.0 } else { full.predicts(points, *last) }, f64::min);
    for (kind, _) in simpler.iter().zip(&scores).filter(|(_, s)| **s <= 1.01 * best) {
        if let Ok(found) = fit(points, &FitConfig { kind: *kind, ..*config }) {
            return Ok(found);
        }
    }
    Ok(full)
}

/// Fits a transform to points of which many may be wrong.
///
/// # Errors
/// As [`consensus`]; fewer points that agree than [`ModelKind::needs`]; points that do not determine the model.
pub fn fit(points: &[TiePoint], config: &FitConfig) -> Result<Fit> {
    let kind = config.kind;
    if points.len() < kind.needs() {
        return Err(too_few(points.len(), points.len(), kind));
    }
    let groups: Vec<usize> = (0..points.len()).collect();
    let first = consensus(points, &groups, &config.consensus)?;
    let mean = points.iter().map(|p| p.weight).sum::<f64>() / points.len() as f64;
    let prior: Vec<f64> = points.iter().map(|p| p.weight / mean).collect();
    let undetermined = |n: usize| {
        Error::invalid(format!(
            "the {n} tie points that agree do not determine a {}: they lie too close together or along a curve; use a simpler --model, or more fixes",
            kind.name()
        ))
    };
    let reach = 2.0 * config.consensus.tolerance_px;
    let mut model = first.model;
    let mut sigma = 0.0;
    let mut weights = vec![0.0; points.len()];
    // Degree by degree, so that a bend is followed from the middle outwards.
    let steps: &[ModelKind] = match kind {
        ModelKind::Similarity => &[ModelKind::Similarity],
        ModelKind::Affine => &[ModelKind::Affine],
        ModelKind::Polynomial2 => &[ModelKind::Affine, ModelKind::Polynomial2],
        ModelKind::Polynomial3 => &[ModelKind::Affine, ModelKind::Polynomial2, ModelKind::Polynomial3],
    };
    let mut noise = Noise::even(config.base);
    for &step in steps {
        for _ in 0..100 {
            let off: Vec<f64> = points.iter().map(|p| length(model.residual(p))).collect();
            // The length of two normal errors has its median at 1.1774 standard deviations.
            let near: Vec<f64> = off.iter().copied().filter(|r| *r <= reach).collect();
            sigma = (median(near) / 1.1774).max(1e-3);
            if !sigma.is_finite() {
                return Err(too_few(0, points.len(), kind));
            }
            let cut = (TUKEY * sigma).min(reach);
            for ((w, p), r) in weights.iter_mut().zip(&prior).zip(&off) {
                *w = if *r < cut { p * (1.0 - (r / cut).powi(2)).powi(2) } else { 0.0 };
            }
            let used = weights.iter().filter(|w| **w > 0.0).count();
            if used < step.needs() {
                return Err(too_few(used, points.len(), kind));
            }
            let next = Model::solve(step, points, &weights, &noise).ok_or_else(|| undetermined(used))?.model;
            let moved = points.iter().map(|p| length(next.pull(p.map_px, model.to_sar(p.map_px)))).fold(0.0, f64::max);
            model = next;
            let residuals: Vec<[f64; 2]> = points.iter().map(|p| model.residual(p)).collect();
            noise = Noise::measured(config.base, &residuals, &weights);
            if moved < 1e-4 {
                break;
            }
        }
    }
    let inlier: Vec<bool> = weights.iter().map(|w| *w > 0.0).collect();
    let used: Vec<TiePoint> = points.iter().zip(&inlier).filter(|(_, i)| **i).map(|(p, _)| *p).collect();
    if used.len() < kind.needs() {
        return Err(too_few(used.len(), points.len(), kind));
    }
    spread(&used)?;
    let solved = Model::solve(kind, points, &weights, &noise).ok_or_else(|| undetermined(used.len()))?;
    let residual_px: Vec<[f64; 2]> = points.iter().map(|p| solved.model.residual(p)).collect();
    let held_out_px = points.iter().zip(&weights).zip(&residual_px);
    let held_out_px = held_out_px.map(|((p, w), r)| length(*r) / (1.0 - solved.leverage(p, *w)).max(1e-6)).collect();
    let chance_log10 = first.chance_log10;
    Ok(Fit { model: solved.model, inlier, residual_px, held_out_px, sigma_px: sigma, chance_log10, weights, base: config.base })
}

fn too_few(used: usize, all: usize, kind: ModelKind) -> Error {
    Error::invalid(format!(
        "{used} of {all} tie points agree, too few for this transform ({}, which needs {}); try more fixes (--fixes), larger patches (--patch), or a simpler --model",
        kind.name(),
        kind.needs()
    ))
}

#[cfg(test)]
mod tests;

//! From peaks to fixes: an error ellipse from the peak's shape, a probability from its height and the runner-up's.

use super::Peak;
use super::domain::{Distance, Domain, Statistics};
use serde::{Deserialize, Serialize};

/// What a correlation surface says about its highest peak.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Standard deviations of the peak above the surface's mean.
    pub height: f64,
    /// The same for the highest peak elsewhere; 0 where there is none.
    pub runner_up: f64,
    /// Offsets that were compared.
    pub offsets: f64,
}

impl Evidence {
    /// Two numbers that grow with the peak's credit: the logarithm of its height over sqrt(2 ln n), which the highest of n normal values is
    /// about; and that of how far it stands above the runner-up. Logarithms, because beyond a point more height makes a peak no surer: a map
    /// and a SAR image that are registered badly there are off all the same.
    fn terms(&self) -> [f64; 2] {
        let expected = (2.0 * self.offsets.max(2.0).ln()).sqrt();
        [(self.height.max(0.1) / expected).ln(), (self.height - self.runner_up).max(0.01).ln()]
    }
}

/// Least probability of a fix on images unlike those of the calibration. Where maps and radar are of another kind, peaks that are wrong
/// are higher, and at 0.5 up to 5 % of patches that are not on the map got a fix; at 0.7 under 1 % on each of several kinds (`studies/domain.py`).
const FOREIGN: f64 = 0.7;

fn foreign() -> f64 {
    FOREIGN
}

/// How evidence becomes a probability, and a peak's shape an error: fitted on scenes by [`Calibration::fit`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Logistic regression: constant, and factors of the two terms of [`Evidence`].
    pub weights: [f64; 3],
    /// A fix less probable than this is "not found".
    pub threshold: f64,
    /// Factor of the standard deviation that the peak's shape gives.
    pub peak_factor: f64,
    /// Standard deviation of what the shape does not tell along each axis, metres: the registration of map and SAR.
    pub floor_m: f64,
    /// Kinds of maps and SAR images that `weights` hold for; none for any.
    #[serde(default, alias = "domain", deserialize_with = "one_or_several", skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<Domain>,
    /// The threshold for images of another kind, where it is the higher one.
    #[serde(default = "foreign")]
    pub foreign_threshold: f64,
}

/// Files of one kind name it without a list.
fn one_or_several<'de, D: serde::Deserializer<'de>>(said: D) -> std::result::Result<Vec<Domain>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said {
        Several(Vec<Domain>),
        One(Box<Domain>),
    }
    Ok(match Option::<Said>::deserialize(said)? {
        Some(Said::Several(all)) => all,
        Some(Said::One(domain)) => vec![*domain],
        None => Vec::new(),
    })
}

/// A query whose truth is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Labelled {
    /// What the surface said.
    pub evidence: Evidence,
    /// Whether the highest peak was the right place.
    pub right: bool,
}

impl Default for Calibration {
    /// Knows nothing: every peak is as probable as not, and as wide as its shape says.
    fn default() -> Self {
        Self { weights: [0.0; 3], threshold: 0.5, peak_factor: 1.0, floor_m: 0.0, domains: Vec::new(), foreign_threshold: FOREIGN }
    }
}

impl Calibration {
    /// How far a map and a SAR image lie from the kind that is nearest of those it was fitted on; what is not known counts as like.
    pub fn distance(&self, map: Option<&Statistics>, sar: Option<&Statistics>) -> Distance {
        let all = self.domains.iter().map(|d| d.distance(map, sar));
        all.min_by(|a, b| a.largest().total_cmp(&b.largest())).unwrap_or(Distance::NONE)
    }

    /// For images so far from what it was fitted on: the threshold rises to `foreign_threshold`.
    #[must_use]
    pub fn at(&self, distance: &Distance) -> Self {
        let rise = (self.foreign_threshold - self.threshold).max(0.0);
        Self { threshold: self.threshold + distance.foreign() * rise, ..self.clone() }
    }

    /// The probability that the highest peak is the right place.
    pub fn probability(&self, evidence: &Evidence) -> f64 {
        let [a, b] = evidence.terms();
        let [w, wa, wb] = self.weights;
        1.0 / (1.0 + (-(w + wa * a + wb * b)).exp())
    }

    /// Logistic regression of `right` on the evidence by Newton's method, with a weak pull of the factors towards 0 (as of one
    /// observation of variance 100) so that separable cases stay finite. The other fields are kept.
    #[must_use]
    pub fn fit(mut self, cases: &[Labelled]) -> Self {
        const PULL: f64 = 0.01;
        // Terms of about one, so that the pull is the same for both.
        let rows: Vec<([f64; 3], f64)> = cases
            .iter()
            .map(|c| {
                let [a, b] = c.evidence.terms();
                ([1.0, a, b], f64::from(u8::from(c.right)))
            })
            .collect();
        let mut scale = [1.0; 3];
        for (i, s) in scale.iter_mut().enumerate().skip(1) {
            *s = (rows.iter().map(|r| r.0[i].abs()).sum::<f64>() / rows.len().max(1) as f64).max(1e-9);
        }
        let mut w = [0.0; 3];
        for _ in 0..100 {
            let mut gradient = w.map(|v| -PULL * v);
            let mut hessian = [[0.0; 3]; 3];
            (0..3).for_each(|i| hessian[i][i] = PULL);
            for (x, y) in &rows {
                let x = [x[0], x[1] / scale[1], x[2] / scale[2]];
                let p = 1.0 / (1.0 + (-(w[0] * x[0] + w[1] * x[1] + w[2] * x[2])).exp());
                for i in 0..3 {
                    gradient[i] += (y - p) * x[i];
                    (0..3).for_each(|j| hessian[i][j] += p * (1.0 - p) * x[i] * x[j]);
                }
            }
            let Some(step) = solve(hessian, gradient) else { break };
            // Halved where it is long: the first steps from 0 may overshoot.
            let length = step.iter().fold(0.0f64, |a, b| a.max(b.abs()));
            let factor = (2.0 / length.max(1e-12)).min(1.0);
            (0..3).for_each(|i| w[i] += factor * step[i]);
            if length < 1e-9 {
                break;
            }
        }
        self.weights = [w[0], w[1] / scale[1], w[2] / scale[2]];
        self
    }

    /// Fits the ellipse's factor and floor to fixes that are right: to each its covariance by the peak's shape alone (factor 1, floor 0), square
    /// metres, and its error, metres. The pair of a grid under which the errors are most likely, were they normal.
    #[must_use]
    pub fn fit_ellipse(mut self, cases: &[([f64; 3], [f64; 2])]) -> Self {
        let cost = |factor: f64, floor: f64| -> f64 {
            let one = |(c, e): &([f64; 3], [f64; 2])| {
                let [a, b, d] = c.map(|v| factor * factor * v).add([floor * floor, 0.0, floor * floor]);
                let det = (a * d - b * b).max(1e-9);
                det.ln() + (d * e[0] * e[0] - 2.0 * b * e[0] * e[1] + a * e[1] * e[1]) / det
            };
            cases.iter().map(one).sum()
        };
        let mut best = f64::INFINITY;
        for factor in [0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0] {
            for floor in (0..60).map(|i| 0.5 * 1.1f64.powi(i)) {
                let cost = cost(factor, floor);
                if cost < best {
                    best = cost;
                    (self.peak_factor, self.floor_m) = (factor, floor);
                }
            }
        }
        self
    }

    /// Covariance of a fix in feature pixels (xx, xy, yy), of pixels of `metres` each.
    ///
    /// Near its peak a surface is s - d'Hd/2 plus noise that is correlated as the surface itself is; its gradient's covariance is
    /// then (noise^2 / s) H, and that of the peak's place (noise^2 / s) H^-1.
    pub fn covariance(&self, peak: &Peak, noise: f64, metres: f64) -> [f64; 3] {
        let [hxx, hxy, hyy] = peak.curvature.map(f64::from);
        let floor = (self.floor_m / metres).powi(2);
        let det = hxx * hyy - hxy * hxy;
        let score = f64::from(peak.score).max(1e-6);
        // A flat or saddle-shaped peak tells nothing of its place below a few pixels.
        let flat = 9.0;
        let factor = self.peak_factor.powi(2) * noise * noise / score;
        if det <= 1e-12 || hxx <= 0.0 || hyy <= 0.0 {
            return [flat + floor, 0.0, flat + floor];
        }
        [factor * hyy / det, -factor * hxy / det, factor * hxx / det].map(|v| v.clamp(-4.0 * flat, 4.0 * flat)).add([floor, 0.0, floor])
    }
}

trait Add3 {
    fn add(self, other: Self) -> Self;
}

impl Add3 for [f64; 3] {
    fn add(self, other: Self) -> Self {
        [0, 1, 2].map(|i| self[i] + other[i])
    }
}

/// Solves a 3x3 symmetric positive system by Gaussian elimination with pivots.
fn solve(mut a: [[f64; 3]; 3], mut b: [f64; 3]) -> Option<[f64; 3]> {
    for i in 0..3 {
        let pivot = (i..3).max_by(|p, q| a[*p][i].abs().total_cmp(&a[*q][i].abs()))?;
        a.swap(i, pivot);
        b.swap(i, pivot);
        if a[i][i].abs() < 1e-300 {
            return None;
        }
        for k in i + 1..3 {
            let f = a[k][i] / a[i][i];
            (i..3).for_each(|j| a[k][j] -= f * a[i][j]);
            b[k] -= f * b[i];
        }
    }
    for i in (0..3).rev() {
        b[i] = (b[i] - (i + 1..3).map(|j| a[i][j] * b[j]).sum::<f64>()) / a[i][i];
    }
    Some(b)
}

/// An ellipse in which the true place lies with a probability of 95 %, were errors normal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ellipse {
    /// Half the longer axis, metres.
    pub major_m: f64,
    /// Half the shorter axis, metres.
    pub minor_m: f64,
    /// Direction of the longer axis, degrees clockwise from the map's up, 0 to 180.
    pub azimuth_deg: f64,
}

/// 95 % of a chi-square of two degrees of freedom.
const CHI2_95: f64 = 5.991;

impl Ellipse {
    /// From a covariance (xx, xy, yy; x to the right, y down) in units of `metres`.
    pub fn new(covariance: [f64; 3], metres: f64) -> Self {
        let [xx, xy, yy] = covariance;
        let (mean, half) = ((xx + yy) / 2.0, ((xx - yy) / 2.0).hypot(xy));
        let axis = |v: f64| (CHI2_95 * v.max(0.0)).sqrt() * metres;
        // Angle of the longer axis from x towards y (down).
        let angle = 0.5 * (2.0 * xy).atan2(xx - yy);
        Self { major_m: axis(mean + half), minor_m: axis(mean - half), azimuth_deg: (angle.to_degrees() + 90.0).rem_euclid(180.0) }
    }

    /// Whether an error of so many metres to the right and down lies inside.
    pub fn holds(&self, error_m: [f64; 2]) -> bool {
        let (sin, cos) = (self.azimuth_deg - 90.0).to_radians().sin_cos();
        let along = error_m[0] * cos + error_m[1] * sin;
        let across = error_m[1] * cos - error_m[0] * sin;
        (along / self.major_m.max(1e-9)).powi(2) + (across / self.minor_m.max(1e-9)).powi(2) <= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::unit;

    #[test]
    fn a_regression_finds_the_probabilities_it_was_drawn_from() {
        let truth = Calibration { weights: [-2.0, 0.3, 0.4], ..Calibration::default() };
        let cases: Vec<Labelled> = (0..20_000)
            .map(|i| {
                let height = 3.0 + 3.0 * unit(3 * i);
                let evidence = Evidence { height, runner_up: height - unit(3 * i + 1), offsets: 1e4 };
                Labelled { evidence, right: unit(3 * i + 2) < truth.probability(&evidence) }
            })
            .collect();
        let fitted = Calibration { weights: [0.0; 3], ..truth.clone() }.fit(&cases);
        for c in &cases[..200] {
            // Standard errors of 20,000 draws are near 0.01.
            assert!((fitted.probability(&c.evidence) - truth.probability(&c.evidence)).abs() < 0.05, "{fitted:?}");
        }
    }

    #[test]
    fn separable_cases_stay_finite() {
        let case = |height, right| Labelled { evidence: Evidence { height, runner_up: 3.0, offsets: 1e5 }, right };
        let cases = [case(9.0, true), case(8.5, true), case(4.0, false), case(3.9, false)];
        let fitted = Calibration::default().fit(&cases);
        assert!(fitted.weights.iter().all(|w| w.is_finite()));
        assert!(fitted.probability(&cases[0].evidence) > 0.9 && fitted.probability(&cases[2].evidence) < 0.1);
    }

    #[test]
    fn an_ellipse_is_fitted_to_its_errors() {
        let normal = |i: u64| (0..12).map(|k| unit(12 * i + k)).sum::<f64>() - 6.0;
        // Peaks of two shapes; errors of twice what they tell, and 20 m.
        let cases: Vec<([f64; 3], [f64; 2])> = (0..4000u64)
            .map(|i| {
                let v = if i % 2 == 0 { 100.0 } else { 2500.0 };
                let sigma = (4.0 * v + 400.0f64).sqrt();
                ([v, 0.0, v], [sigma * normal(2 * i), sigma * normal(2 * i + 1)])
            })
            .collect();
        let fitted = Calibration::default().fit_ellipse(&cases);
        assert!((fitted.peak_factor - 2.0).abs() < 1e-9 && (fitted.floor_m / 20.0 - 1.0).abs() < 0.15, "{fitted:?}");
    }

    #[test]
    fn an_ellipse_lies_along_the_larger_spread() {
        let e = Ellipse::new([4.0, 0.0, 1.0], 10.0);
        assert!((e.major_m - 20.0 * CHI2_95.sqrt()).abs() < 1e-9 && (e.minor_m - 10.0 * CHI2_95.sqrt()).abs() < 1e-9);
        assert!((e.azimuth_deg - 90.0).abs() < 1e-9);
        // Spread along x = y: to the right and down.
        let e = Ellipse::new([2.5, 1.5, 2.5], 1.0);
        assert!((e.azimuth_deg - 135.0).abs() < 1e-9, "{e:?}");
        assert!(e.holds([3.0, 3.0]) && !e.holds([3.0, -3.0]));
    }
}

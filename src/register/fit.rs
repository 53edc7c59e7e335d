//! A transform through tie points of which many may be wrong: least squares with Tukey's weights from a consensus on, the scale taken from
//! the median residual.

use super::consensus::{ConsensusConfig, consensus, spread};
use super::model::{Model, ModelKind, Noise, TiePoint};
use crate::{Error, Result};

/// Tukey's constant: 95 % efficient for normal errors.
const TUKEY: f64 = 4.685;

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
    /// Chance of so much agreement, as of the consensus that the fit starts from.
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

    /// What nine in ten of the inliers' residuals keep within (CE90), map pixels: the least length that does.
    pub fn ce90_px(&self) -> f64 {
        let mut all: Vec<f64> = self.of_inliers(&self.residual_px).map(|r| length(*r)).collect();
        all.sort_by(f64::total_cmp);
        all.get(((0.9 * all.len() as f64).ceil() as usize).saturating_sub(1)).copied().unwrap_or(f64::NAN)
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

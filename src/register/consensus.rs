//! What many points agree on though many may be wrong: affine transforms through three points each, drawn at random (the same draws each time),
//! are judged by the points they bring together; one that chance explains as well is refused.

use super::model::{Model, ModelKind, Noise, TiePoint};
use crate::random::{splitmix, unit};
use crate::scene::{compose, inverse};
use crate::{Error, Result};

/// A consensus must be this unlikely by chance: at most so many expected among all the triples there are.
const CHANCE: f64 = 1e-3;
/// Points count as one line where their spread across it is this share of that along it.
const COLLINEAR: f64 = 0.02;

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
    pub(super) fn hold(&self, to_map: &[[f64; 2]; 2]) -> bool {
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
        let at = unit(self.key.wrapping_add(self.counter)) * self.sums.last().copied().unwrap_or(0.0);
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
pub(super) fn spread(points: &[TiePoint]) -> Result<()> {
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

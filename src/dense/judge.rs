//! What a match is worth: its evidence, its fix by itself, and what is known beforehand of where it lies.

use super::fix::{Calibration, Ellipse, Evidence};
use super::search::{Match, Peak, SearchConfig};
use crate::Result;
use crate::index::{CellHit, Database};

/// A cell that may hold a patch's centre: what retrieval says beforehand.
///
/// A peak in one of its patch's cells rises by a weight times the cell's cosine, in standard deviations of the patch's surface: the
/// highest of several cells counts, cosines below 0 do not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hint {
    /// Left, top, right, bottom, map pixels.
    pub within: [f64; 4],
    /// Cosine of its best view.
    pub cosine: f32,
}

impl Hint {
    /// The cell of a hit: what lies nearer to its centre than to those of its neighbours.
    pub fn new(database: &Database, hit: &CellHit) -> Self {
        let grid = &database.manifest.grid;
        let half = f64::from(grid.cell.max(grid.stride)) / 2.0;
        let [x, y] = database.cell_px[hit.cell as usize];
        Self { within: [x - half, y - half, x + half, y + half], cosine: hit.score }
    }

    /// Whether a place on the map lies in it.
    pub fn holds(&self, [x, y]: [f64; 2]) -> bool {
        let [x0, y0, x1, y1] = self.within;
        (x0..=x1).contains(&x) && (y0..=y1).contains(&y)
    }
}

/// Height of a peak over a match's surface, standard deviations.
pub fn height(found: &Match, peak: &Peak) -> f64 {
    (f64::from(peak.score) - found.mean) / found.noise.max(1e-12)
}

/// What the highest peak of a match is worth.
pub fn evidence(found: &Match) -> Evidence {
    let at = |i: usize| found.peaks.get(i).map_or(0.0, |p| height(found, p));
    Evidence { height: at(0), runner_up: at(1), offsets: found.offsets }
}

/// Fix, probability and ellipse of a patch by itself.
pub fn fix(found: &Match, calibration: &Calibration, metres: f64) -> (Option<Peak>, f64, Option<Ellipse>) {
    let peak = found.peaks.first().copied();
    let probability = if peak.is_some() { calibration.probability(&evidence(found)) } else { 0.0 };
    let ellipse = peak.map(|p| Ellipse::new(calibration.covariance(&p, found.noise, metres), metres));
    (peak, probability, ellipse)
}

/// Keeps a match's peaks at places that pass; where higher ones elsewhere crowded out those, the best of each tile there stands in. The
/// match must have tiles; `step` is the map pixels a feature pixel.
///
/// # Errors
/// What `passes` returns.
pub fn keep_where(m: &mut Match, search: &SearchConfig, step: f64, passes: impl Fn([f64; 2]) -> Result<bool>) -> Result<()> {
    let apart = search.apart as f64 * step;
    let tiles = m.tiles.take().unwrap_or_default();
    let mut keep = Vec::with_capacity(m.peaks.len());
    for p in &m.peaks {
        if passes(p.map_px)? {
            keep.push(*p);
        }
    }
    let (variant, all) = (m.peaks.first().map_or(0, |p| p.variant), tiles.len());
    let mut others = Vec::new();
    for (at, score) in &tiles {
        let map_px = at.map(f64::from);
        if passes(map_px)? {
            // Its shape is not known: a fix to some feature pixels.
            others.push(Peak { map_px, score: *score, curvature: [0.0; 3], variant });
        }
    }
    m.offsets *= others.len() as f64 / all.max(1) as f64;
    others.sort_by(|a, b| b.score.total_cmp(&a.score));
    for p in others {
        if keep.len() >= search.top {
            break;
        }
        if keep.iter().all(|k: &Peak| (0..2).any(|d| (k.map_px[d] - p.map_px[d]).abs() > apart)) {
            keep.push(p);
        }
    }
    keep.sort_by(|a, b| b.score.total_cmp(&a.score));
    m.peaks = keep;
    m.tiles = search.tiles.then_some(tiles);
    Ok(())
}

/// Raises a match's peaks by `weight` standard deviations of its surface times the cosine of the cell they lie in: see [`Hint`].
pub fn raise(m: &mut Match, cells: &[Hint], weight: f64) {
    for peak in &mut m.peaks {
        let best = cells.iter().filter(|c| c.holds(peak.map_px)).map(|c| f64::from(c.cosine)).fold(0.0, f64::max);
        peak.score += (weight * best * m.noise) as f32;
    }
    m.peaks.sort_by(|a, b| b.score.total_cmp(&a.score));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_of_the_index_raises_its_peaks() {
        let peak = |x: f64, score| Peak { map_px: [x, 50.0], score, curvature: [1.0, 0.0, 1.0], variant: 0 };
        let m = Match { peaks: vec![peak(900.0, 0.5), peak(50.0, 0.48)], mean: 0.0, noise: 0.1, offsets: 1e4, tiles: None };
        let cell = Hint { within: [0.0, 0.0, 100.0, 100.0], cosine: 0.5 };
        for (weight, first) in [(1.0, 50.0), (0.1, 900.0), (0.0, 900.0)] {
            let mut found = m.clone();
            raise(&mut found, &[cell], weight);
            assert!((found.peaks[0].map_px[0] - first).abs() < 1e-12, "{weight}: {found:?}");
        }
    }
}

//! Patches of one image vote together: their places on the map differ as their places in the image do.

use crate::dense::{Match, Peak, Variant, height};

/// What the patches of an image agree on.
#[derive(Debug, Clone, PartialEq)]
pub struct Vote {
    /// Which of its peaks each patch takes; none for a patch with no peak near where the others put it.
    pub chosen: Vec<Option<usize>>,
    /// Patches whose peak agrees.
    pub agreeing: usize,
    /// What the agreement is worth: see [`vote`].
    pub credit: f64,
    /// The same for the best placement of the image that does not agree with the chosen one.
    pub runner_up: f64,
}

/// Placements that are tried, at most: those of the highest peaks.
const PIVOTS: usize = 2000;
/// Pairs of a placement and a peak that are compared at most, unless fewer than 50 placements were tried.
const PAIRS: usize = 40_000_000;
/// A patch takes no peak that lies more than so many standard deviations of its surface below its highest: there, the highest is the likelier
/// by e^(h^2 / 2 - (h - 1.5)^2 / 2), over a hundred for the heights of fixes.
const DROP: f64 = 1.5;

/// How the patches of an image lie to each other, and how far that is known.
#[derive(Debug, Clone, Copy)]
pub struct Lattice<'a> {
    /// Where each patch lies relative to the others, map pixels, as the image's frame says.
    pub expected: &'a [[f64; 2]],
    /// How the image may be turned and scaled against that; peaks name theirs by number.
    pub variants: &'a [Variant],
    /// How far two peaks may be off each other and still agree, map pixels.
    pub tolerance_px: f64,
    /// And that per map pixel between the patches, for what a scale and a direction are off within a variant.
    pub stretch: f64,
    /// Map pixels between two offsets of a match.
    pub step: f64,
    /// How much of a patch is its own: 1 where they lie side by side, less where they overlap.
    pub share: f64,
}

impl Lattice<'_> {
    /// How a peak's variant turns and scales offsets.
    fn variant(&self, number: usize) -> Variant {
        self.variants.get(number).copied().unwrap_or_default()
    }

    /// Where a peak at `map_px` of a patch puts another patch.
    fn place(&self, map_px: [f64; 2], variant: Variant, from: usize, to: usize) -> [f64; 2] {
        let [u, v] = [0, 1].map(|d| self.expected[to][d] - self.expected[from][d]);
        let m = variant.to_map();
        [0, 1].map(|d| map_px[d] + m[d][0] * u + m[d][1] * v)
    }

    /// Where a patch's peak puts another patch, map pixels.
    pub(super) fn place_of(&self, peak: &Peak, from: usize, to: usize) -> [f64; 2] {
        self.place(peak.map_px, self.variant(peak.variant), from, to)
    }

    /// How far a peak of one patch may lie from where another's puts it.
    fn reach(&self, a: usize, b: usize) -> f64 {
        let apart = [0, 1].map(|d| self.expected[a][d] - self.expected[b][d]);
        self.tolerance_px + self.stretch * apart[0].hypot(apart[1])
    }

    /// Steps between neighbouring turns (degrees) and scales.
    fn steps(&self) -> [f64; 2] {
        let least = |differences: &mut dyn Iterator<Item = f64>| differences.filter(|d| *d > 1e-9).fold(f64::INFINITY, f64::min);
        let first = self.variant(0);
        let turns = least(&mut self.variants.iter().map(|v| v.turn_between(first)));
        let scales = least(&mut self.variants.iter().map(|v| (v.scale - first.scale).abs()));
        [turns, scales]
    }
}

/// Chooses the placement of the image on the map (a shift, with the turn and scale of one of its variants) that the patches' peaks give most
/// credit, and each patch's peak there.
///
/// A peak puts every other patch somewhere, turned and scaled as its variant is; another patch's peak agrees if it lies there, and is of that
/// variant or of one beside it.
///
/// The credit is the logarithm of a ratio of likelihoods. The highest agreeing peak counts by how much more likely its height h is than
/// the surface's noise, h^2 / 2. Each further one counts by how unlikely it is that one of the k highest of n places falls among the m that
/// agree by chance, ln(n / (k m)): its height says no more, because the highest of many places are high anywhere. What it takes to say
/// which patches agree, ln of the number of such choices and of their possible numbers, is taken off: many patches of which few agree are
/// worth nothing. Patches that overlap see the same ground, and are wrong together: all but the highest peak's credit counts by
/// their [`share`](Lattice::share) only.
pub fn vote(matches: &[Match], lattice: &Lattice<'_>) -> Vote {
    struct Ballot {
        patch: usize,
        peak: usize,
        map_px: [f64; 2],
        variant: Variant,
        credit: f64,
    }
    let mut ballots: Vec<Ballot> = Vec::new();
    for (patch, m) in matches.iter().enumerate() {
        let heights: Vec<f64> = m.peaks.iter().map(|p| height(m, p)).collect();
        let highest = heights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for (peak, (p, h)) in m.peaks.iter().zip(&heights).enumerate().filter(|(_, (_, h))| **h >= highest - DROP) {
            ballots.push(Ballot {
                patch,
                peak,
                map_px: p.map_px,
                variant: lattice.variant(p.variant),
                credit: h.clamp(0.0, 30.0).powi(2) / 2.0,
            });
        }
    }
    ballots.sort_by(|a, b| b.credit.total_cmp(&a.credit));
    let voters = matches.iter().filter(|m| !m.peaks.is_empty()).count();
    let [turn_step, scale_step] = lattice.steps();
    let beside = |a: Variant, b: Variant| a.turn_between(b) <= 1.25 * turn_step && (a.scale - b.scale).abs() <= 1.25 * scale_step;
    // The agreeing patches but for the highest; the number of ways to choose them.
    let ways =
        |others: usize| (1..=others).map(|i| (((voters - 1 - others + i) as f64) / i as f64).ln()).sum::<f64>() + (voters as f64).ln();
    let off = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
    let mut best = Vote { chosen: vec![None; matches.len()], agreeing: 0, credit: f64::NEG_INFINITY, runner_up: 0.0 };
    // Of each pivot: what its placement gathers.
    let mut gathered = Vec::with_capacity(ballots.len().min(PIVOTS));
    let mut winner = 0;
    let pivots = PIVOTS.min((PAIRS / ballots.len().max(1)).max(50));
    for (i, b) in ballots.iter().take(pivots).enumerate() {
        // A place that agrees by chance is one of so many variants as well.
        let near = lattice.variants.iter().filter(|v| beside(b.variant, **v)).count().max(1) as f64;
        // Of each patch: peak, credit of its height, credit of its place.
        let mut chosen: Vec<Option<(usize, f64, f64)>> = vec![None; matches.len()];
        for c in &ballots {
            // The highest come first.
            if chosen[c.patch].is_some() || !beside(b.variant, c.variant) {
                continue;
            }
            let reach = lattice.reach(b.patch, c.patch);
            if off(lattice.place(b.map_px, b.variant, b.patch, c.patch), c.map_px) <= reach {
                let chance = std::f64::consts::PI * (reach / lattice.step).powi(2) * near * (c.peak + 1) as f64;
                chosen[c.patch] = Some((c.peak, c.credit, (matches[c.patch].offsets / chance.max(1.0)).ln().max(0.0)));
            }
        }
        let agreeing = chosen.iter().flatten().count();
        let highest = chosen.iter().flatten().max_by(|x, y| x.1.total_cmp(&y.1)).map_or((0.0, 0.0), |c| (c.1, c.2));
        let places = chosen.iter().flatten().map(|c| c.2).sum::<f64>() - highest.1;
        let credit = highest.0 + lattice.share * (places - ways(agreeing.saturating_sub(1))) - (voters as f64).ln();
        gathered.push(credit);
        if credit > best.credit {
            best = Vote { chosen: chosen.iter().map(|c| c.map(|c| c.0)).collect(), agreeing, credit, runner_up: 0.0 };
            winner = i;
        }
    }
    best.credit = best.credit.max(0.0);
    let Some(won) = ballots.get(winner) else { return best };
    for (b, credit) in ballots.iter().zip(gathered) {
        let apart = off(lattice.place(won.map_px, won.variant, won.patch, b.patch), b.map_px);
        if apart > 2.0 * lattice.reach(b.patch, won.patch) || !beside(won.variant, b.variant) && apart > lattice.reach(b.patch, won.patch) {
            best.runner_up = best.runner_up.max(credit);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::unit;

    /// Of an image that lies as its frame says.
    fn plain(expected: &[[f64; 2]], tolerance_px: f64, stretch: f64, step: f64) -> Lattice<'_> {
        Lattice { expected, variants: &[Variant::PLAIN], tolerance_px, stretch, step, share: 1.0 }
    }

    fn peak(x: f64, y: f64, score: f32) -> Peak {
        Peak { map_px: [x, y], score, curvature: [1.0, 0.0, 1.0], variant: 0 }
    }

    #[test]
    fn agreement_beats_single_heights() {
        let expected = [[0.0, 0.0], [200.0, 0.0], [400.0, 0.0]];
        let at = |x: f64, other: f64| Match {
            peaks: vec![peak(other, 50.0, 5.0), peak(x, 900.0, 4.5)],
            mean: 0.0,
            noise: 1.0,
            offsets: 100_000.0,
            tiles: None,
        };
        let matches = [at(1000.0, 3.0), at(1203.0, 9000.0), at(1398.0, 77.0)];
        let vote = vote(&matches, &plain(&expected, 10.0, 0.0, 2.0));
        assert_eq!(vote.chosen, [Some(1), Some(1), Some(1)]);
        assert_eq!(vote.agreeing, 3);
    }

    #[test]
    fn a_patch_without_a_peak_there_has_none() {
        let expected = [[0.0, 0.0], [100.0, 0.0]];
        let one = |p: Peak| Match { peaks: vec![p], mean: 0.0, noise: 1.0, offsets: 1e5, tiles: None };
        let v = vote(&[one(peak(10.0, 10.0, 6.0)), one(peak(5000.0, 10.0, 4.0))], &plain(&expected, 5.0, 0.0, 2.0));
        assert_eq!(v.chosen, [Some(0), None]);
        let none: Vote = vote(&[], &plain(&[], 1.0, 0.0, 1.0));
        assert!(none.chosen.is_empty());
    }

    #[test]
    fn a_turned_image_agrees_where_its_turn_puts_its_patches() {
        let variants = [-20.0, -10.0, 0.0, 10.0, 20.0].map(|d| Variant::new(d, 1.0));
        let expected: Vec<[f64; 2]> = (0..4).map(|i| [400.0 * f64::from(i % 2), 400.0 * f64::from(i / 2)]).collect();
        let m = variants[4].to_map();
        let matches: Vec<Match> = expected
            .iter()
            .enumerate()
            .map(|(i, e)| {
                let right = [0, 1].map(|d| 3000.0 + m[d][0] * e[0] + m[d][1] * e[1]);
                // A peak where the patch would lie were the image not turned, which three patches share: of other variants each.
                let decoy = Peak { variant: i % 4, ..peak(7000.0 + e[0], 7000.0 + e[1], 4.9) };
                let peaks = vec![Peak { variant: 4, ..peak(right[0], right[1], 5.0) }, decoy];
                Match { peaks, mean: 0.0, noise: 1.0, offsets: 1e6, tiles: None }
            })
            .collect();
        let lattice = Lattice { expected: &expected, variants: &variants, tolerance_px: 12.0, stretch: 0.05, step: 2.0, share: 1.0 };
        let v = vote(&matches, &lattice);
        assert_eq!((v.agreeing, &v.chosen[..]), (4, &[Some(0); 4][..]), "{v:?}");
        // As if the turn did not matter, the right ones do not agree.
        let blind = vote(&matches, &Lattice { variants: &[Variant::PLAIN; 5], ..lattice });
        assert_eq!(blind.chosen, [Some(1); 4]);
    }

    #[test]
    fn no_patch_takes_a_peak_well_below_its_best() {
        let expected = [[0.0, 0.0], [200.0, 0.0], [400.0, 0.0]];
        let low = |x: f64, other: f64| Match {
            peaks: vec![peak(other, 50.0, 9.0), peak(x, 900.0, 4.5)],
            mean: 0.0,
            noise: 1.0,
            offsets: 100_000.0,
            tiles: None,
        };
        let v = vote(&[low(1000.0, 3.0), low(1200.0, 9000.0), low(1400.0, 77.0)], &plain(&expected, 10.0, 0.0, 2.0));
        assert!(v.agreeing == 1 && v.chosen.iter().flatten().all(|peak| *peak == 0), "{v:?}");
    }

    #[test]
    fn patches_of_noise_agree_on_nothing() {
        let side = 2000.0;
        for trial in 0..20 {
            let mut draw = 1000 * trial;
            let mut next = || {
                draw += 1;
                unit(draw)
            };
            let expected: Vec<[f64; 2]> = (0..25).map(|i| [f64::from(i % 5) * 100.0, f64::from(i / 5) * 100.0]).collect();
            let matches: Vec<Match> = expected
                .iter()
                .map(|_| {
                    let peaks = (0..10).map(|i| peak(side * next(), side * next(), 4.8 - 0.08 * i as f32)).collect();
                    Match { peaks, mean: 0.0, noise: 1.0, offsets: (side / 10.0).powi(2), tiles: None }
                })
                .collect();
            let v = vote(&matches, &plain(&expected, 60.0, 0.01, 10.0));
            // A fix of such credit among 40,000 places is worth less than even odds.
            assert!(v.credit < 40_000f64.ln() + 3.0, "{trial}: {} agree, {} against {}", v.agreeing, v.credit, v.runner_up);
        }
    }
}

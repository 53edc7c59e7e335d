//! Patches of one image vote together: their places on the map differ as their places in the image do.

use super::Match;

/// What the patches of an image agree on.
#[derive(Debug, Clone, PartialEq)]
pub struct Vote {
    /// Which of its peaks each patch takes; none for a patch with no peak near where the others put it.
    pub chosen: Vec<Option<usize>>,
    /// Patches whose peak agrees.
    pub agreeing: usize,
    /// Sum over the agreeing patches of the credit of their peaks.
    pub credit: f64,
    /// The same for the best displacement that does not agree with the chosen one.
    pub runner_up: f64,
}

/// Chooses the displacement of the image on the map that the patches' peaks give most credit, and each patch's peak there.
///
/// `expected` is where each patch lies relative to the others, map pixels (its place in the image brought to the map's scale);
/// a peak's displacement is its place less that. Two displacements agree within `tolerance_px` map pixels plus `stretch`
/// times the distance between the patches (a scale or a direction that is a little off). A peak's credit is the logarithm of how much
/// more likely its height is than the surface's noise, h^2 / 2.
pub fn vote(matches: &[Match], expected: &[[f64; 2]], tolerance_px: f64, stretch: f64) -> Vote {
    struct Ballot {
        patch: usize,
        peak: usize,
        shift: [f64; 2],
        credit: f64,
    }
    let ballots: Vec<Ballot> = matches
        .iter()
        .enumerate()
        .flat_map(|(patch, m)| {
            m.peaks.iter().enumerate().map(move |(peak, p)| {
                let height = (f64::from(p.score) - m.mean) / m.noise.max(1e-12);
                let shift = [0, 1].map(|d| p.map_px[d] - expected[patch][d]);
                Ballot { patch, peak, shift, credit: height.clamp(0.0, 30.0).powi(2) / 2.0 }
            })
        })
        .collect();
    let mut best = Vote { chosen: vec![None; matches.len()], agreeing: 0, credit: 0.0, runner_up: 0.0 };
    // Of each ballot: what its displacement gathers.
    let mut gathered = Vec::with_capacity(ballots.len());
    let mut winner = 0;
    for (i, b) in ballots.iter().enumerate() {
        let mut chosen: Vec<Option<(usize, f64)>> = vec![None; matches.len()];
        for c in &ballots {
            let apart = [0, 1].map(|d| expected[c.patch][d] - expected[b.patch][d]);
            let reach = tolerance_px + stretch * apart[0].hypot(apart[1]);
            let off = (b.shift[0] - c.shift[0]).hypot(b.shift[1] - c.shift[1]);
            if off <= reach && chosen[c.patch].is_none_or(|(_, credit)| c.credit > credit) {
                chosen[c.patch] = Some((c.peak, c.credit));
            }
        }
        let credit: f64 = chosen.iter().flatten().map(|c| c.1).sum();
        gathered.push(credit);
        if credit > best.credit {
            let agreeing = chosen.iter().flatten().count();
            best = Vote { chosen: chosen.iter().map(|c| c.map(|c| c.0)).collect(), agreeing, credit, runner_up: 0.0 };
            winner = i;
        }
    }
    let Some(won) = ballots.get(winner) else { return best };
    for (b, credit) in ballots.iter().zip(gathered) {
        let apart = [0, 1].map(|d| expected[b.patch][d] - expected[won.patch][d]);
        let reach = 2.0 * (tolerance_px + stretch * apart[0].hypot(apart[1]));
        if (b.shift[0] - won.shift[0]).hypot(b.shift[1] - won.shift[1]) > reach {
            best.runner_up = best.runner_up.max(credit);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::Peak;
    use super::*;

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
            offsets: 1000.0,
            tiles: None,
        };
        let matches = [at(1000.0, 3.0), at(1203.0, 9000.0), at(1398.0, 77.0)];
        let vote = vote(&matches, &expected, 10.0, 0.0);
        assert_eq!(vote.chosen, [Some(1), Some(1), Some(1)]);
        assert_eq!(vote.agreeing, 3);
    }

    #[test]
    fn a_patch_without_a_peak_there_has_none() {
        let expected = [[0.0, 0.0], [100.0, 0.0]];
        let one = |p: Peak| Match { peaks: vec![p], mean: 0.0, noise: 1.0, offsets: 10.0, tiles: None };
        let v = vote(&[one(peak(10.0, 10.0, 6.0)), one(peak(5000.0, 10.0, 4.0))], &expected, 5.0, 0.0);
        assert_eq!(v.chosen, [Some(0), None]);
        let none: Vote = vote(&[], &[], 1.0, 0.0);
        assert!(none.chosen.is_empty());
    }
}

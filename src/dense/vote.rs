//! Patches of one image vote together: their places on the map differ as their places in the image do.

use super::Match;

/// What the patches of an image agree on.
#[derive(Debug, Clone, PartialEq)]
pub struct Vote {
    /// Which of its peaks each patch takes; none for a patch with no peak near where the others put it.
    pub chosen: Vec<Option<usize>>,
    /// Patches whose peak agrees.
    pub agreeing: usize,
    /// What the agreement is worth: see [`vote`].
    pub credit: f64,
    /// The same for the best displacement that does not agree with the chosen one.
    pub runner_up: f64,
}

/// Displacements that are tried, at most: those of the highest peaks.
const PIVOTS: usize = 2000;

/// Chooses the displacement of the image on the map that the patches' peaks give most credit, and each patch's peak there.
///
/// `expected` is where each patch lies relative to the others, map pixels (its place in the image brought to the map's scale);
/// a peak's displacement is its place less that. Two displacements agree within `tolerance_px` map pixels plus `stretch`
/// times the distance between the patches (a scale or a direction that is a little off). `step` is the map pixels between two offsets
/// of a match.
///
/// The credit is the logarithm of a ratio of likelihoods. The highest agreeing peak counts by how much more likely its height h is than
/// the surface's noise, h^2 / 2. Each further one counts by how unlikely it is that one of the k highest of n places falls among the m that
/// agree by chance, ln(n / (k m)): its height says no more, because the highest of many places are high anywhere. What it takes to say
/// which patches agree, ln of the number of such choices and of their possible numbers, is taken off: many patches of which few agree are
/// worth nothing. Patches that overlap see the same ground, and are wrong together: `share` says how much of a patch is its own (1 where
/// they lie side by side), and all but the highest peak's credit counts so far only.
pub fn vote(matches: &[Match], expected: &[[f64; 2]], tolerance_px: f64, stretch: f64, step: f64, share: f64) -> Vote {
    struct Ballot {
        patch: usize,
        peak: usize,
        shift: [f64; 2],
        credit: f64,
    }
    let mut ballots: Vec<Ballot> = matches
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
    ballots.sort_by(|a, b| b.credit.total_cmp(&a.credit));
    let voters = matches.iter().filter(|m| !m.peaks.is_empty()).count();
    let reach = |a: usize, b: usize| {
        let apart = [0, 1].map(|d| expected[a][d] - expected[b][d]);
        tolerance_px + stretch * apart[0].hypot(apart[1])
    };
    // The agreeing patches but for the highest; the number of ways to choose them.
    let ways =
        |others: usize| (1..=others).map(|i| (((voters - 1 - others + i) as f64) / i as f64).ln()).sum::<f64>() + (voters as f64).ln();
    let mut best = Vote { chosen: vec![None; matches.len()], agreeing: 0, credit: f64::NEG_INFINITY, runner_up: 0.0 };
    // Of each pivot: what its displacement gathers.
    let mut gathered = Vec::with_capacity(ballots.len().min(PIVOTS));
    let mut winner = 0;
    for (i, b) in ballots.iter().take(PIVOTS).enumerate() {
        // Of each patch: peak, credit of its height, credit of its place.
        let mut chosen: Vec<Option<(usize, f64, f64)>> = vec![None; matches.len()];
        for c in &ballots {
            let reach = reach(b.patch, c.patch);
            let off = (b.shift[0] - c.shift[0]).hypot(b.shift[1] - c.shift[1]);
            // The highest come first.
            if off <= reach && chosen[c.patch].is_none() {
                let near = std::f64::consts::PI * (reach / step).powi(2) * (c.peak + 1) as f64;
                chosen[c.patch] = Some((c.peak, c.credit, (matches[c.patch].offsets / near.max(1.0)).ln().max(0.0)));
            }
        }
        let agreeing = chosen.iter().flatten().count();
        let highest = chosen.iter().flatten().max_by(|x, y| x.1.total_cmp(&y.1)).map_or((0.0, 0.0), |c| (c.1, c.2));
        let places = chosen.iter().flatten().map(|c| c.2).sum::<f64>() - highest.1;
        let credit = highest.0 + share * (places - ways(agreeing.saturating_sub(1))) - (voters as f64).ln();
        gathered.push(credit);
        if credit > best.credit {
            best = Vote { chosen: chosen.iter().map(|c| c.map(|c| c.0)).collect(), agreeing, credit, runner_up: 0.0 };
            winner = i;
        }
    }
    best.credit = best.credit.max(0.0);
    let Some(won) = ballots.get(winner) else { return best };
    for (b, credit) in ballots.iter().zip(gathered) {
        if (b.shift[0] - won.shift[0]).hypot(b.shift[1] - won.shift[1]) > 2.0 * reach(b.patch, won.patch) {
            best.runner_up = best.runner_up.max(credit);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::Peak;
    use super::*;
    use crate::random::unit;

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
        let vote = vote(&matches, &expected, 10.0, 0.0, 2.0, 1.0);
        assert_eq!(vote.chosen, [Some(1), Some(1), Some(1)]);
        assert_eq!(vote.agreeing, 3);
    }

    #[test]
    fn a_patch_without_a_peak_there_has_none() {
        let expected = [[0.0, 0.0], [100.0, 0.0]];
        let one = |p: Peak| Match { peaks: vec![p], mean: 0.0, noise: 1.0, offsets: 1e5, tiles: None };
        let v = vote(&[one(peak(10.0, 10.0, 6.0)), one(peak(5000.0, 10.0, 4.0))], &expected, 5.0, 0.0, 2.0, 1.0);
        assert_eq!(v.chosen, [Some(0), None]);
        let none: Vote = vote(&[], &[], 1.0, 0.0, 1.0, 1.0);
        assert!(none.chosen.is_empty());
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
            let v = vote(&matches, &expected, 60.0, 0.01, 10.0, 1.0);
            // A fix of such credit among 40,000 places is worth less than even odds.
            assert!(v.credit < 40_000f64.ln() + 3.0, "{trial}: {} agree, {} against {}", v.agreeing, v.credit, v.runner_up);
        }
    }
}

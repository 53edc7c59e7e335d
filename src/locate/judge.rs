//! From the matches of an image's patches to their fixes, and to the image's.

use super::correlate::{Context, Job, Way};
use super::cut::Patch;
use super::fix::{Candidate, Fix, Place, Places, Verdict};
use super::vote::{Lattice, Vote, vote};
use super::whole::{Anchor, HERE, Located, Placed, doubts, place};
use crate::Result;
use crate::dense::{Calibration, Ellipse, Evidence, Match, Peak, Variant, fix};
use std::collections::BTreeMap;

impl Context<'_> {
    /// The answer for an image that lies as a way says; its peaks are of `metres` a feature pixel.
    pub(super) fn judge_way(&self, job: &Job, way: &Way, found: Vec<Match>, metres: f64) -> Result<Located> {
        let (frame, calibration, step) = (&way.frame, self.calibration, self.layout().step);
        let expected: Vec<[f64; 2]> = way.patches.iter().map(|p| frame.relative(p.sar_px)).collect();
        let share = (f64::from(job.squares.step) / f64::from(job.squares.patch)).min(1.0).powi(2);
        let lattice = Lattice {
            expected: &expected,
            variants: &job.variants,
            // Registration errors differ by some pixels from patch to patch; a rotation or scale between those tried bends the image.
            tolerance_px: 6.0 * step,
            stretch: if job.searched { 0.01 + 3.0 / (job.side as f64 / std::f64::consts::SQRT_2) / 2.0 } else { 0.01 },
            step,
            share,
        };
        let votes = (self.options.vote && way.patches.len() > 1).then(|| vote(&found, &lattice)).filter(|v| v.agreeing > 0);
        let together = votes.as_ref().filter(|v| v.agreeing > 1);
        let mut fixes = Vec::with_capacity(way.patches.len());
        let mut anchors: Vec<(Anchor, usize)> = Vec::new();
        let digits = found.len().to_string().len().max(3);
        for (i, (patch, m)) in way.patches.iter().zip(&found).enumerate() {
            let mut fix = Fix::new(format!("p{:0digits$}", i + 1), patch.sar_px);
            fix.claimed = patch.own_px.and_then(|p| self.places.at(p).ok());
            let chosen = self.chosen(m, metres, together.map(|v| (v, i)), &lattice, &found, f64::from(job.squares.patch));
            fix.agrees = votes.as_ref().map(|v| v.chosen[i].is_some() && v.agreeing > 1);
            self.fill(&mut fix, m, chosen, job, metres)?;
            if let (Some(c), Some(true)) = (chosen, fix.agrees) {
                anchors.push(anchor(patch, c.peak, m, calibration, metres));
            }
            fixes.push(fix);
        }
        let image_probability = self.image_probability(&fixes, together, &found);
        if anchors.is_empty() {
            // No two agree: the image lies where its surest patch does.
            let surest =
                (0..fixes.len()).max_by(|a, b| fixes[*a].probability.unwrap_or(0.0).total_cmp(&fixes[*b].probability.unwrap_or(0.0)));
            if let Some((i, peak)) = surest.and_then(|i| Some((i, found[i].peaks.first()?))) {
                anchors.push(anchor(&way.patches[i], *peak, &found[i], calibration, metres));
            }
        }
        let alone = way.patches.len() == 1;
        let accepted = image_probability >= self.threshold() && !anchors.is_empty();
        let verdict = match accepted {
            true if image_probability >= HERE && (alone || together.is_some()) => Verdict::Here,
            true => Verdict::Check,
            false => Verdict::NotHere,
        };
        let variant = anchors.first().map_or(Variant::PLAIN, |(_, v)| job.variants[(*v).min(job.variants.len() - 1)]);
        let size = [job.image.raster.width(), job.image.raster.height()];
        let only: Vec<Anchor> = anchors.iter().map(|(a, _)| *a).collect();
        let placed: Option<Placed> = (!only.is_empty()).then(|| place(frame, size, &only, variant, job.searched, share, Some(calibration)));
        let mut located = Located {
            file: job.name.clone(),
            method: self.method,
            verdict,
            place: None,
            probability: Some(image_probability),
            footprint: Vec::new(),
            to_map: None,
            geotransform: None,
            variant: Variant::PLAIN,
            agreeing: votes.as_ref().map(|v| if v.agreeing > 1 { v.agreeing } else { 0 }),
            fixes,
            claimed: None,
            displaced: None,
            // Turns and scales are told against the image's own frame.
            frame: if job.pose == Variant::PLAIN { frame.clone() } else { frame.turned(job.pose.to_map()) },
            size: [job.image.raster.width(), job.image.raster.height()],
            image: self.options.surfaces.then(|| job.image.clone()),
            side_px: job.side as f64 * step,
            step: job.squares.step,
            threshold: Some(self.threshold()),
            variants: job.variants.len(),
            no_data: way.no_data,
            outside: way.outside,
            matches: found,
            seconds: BTreeMap::new(),
            warnings: doubts(&job.image, frame, job.searched || verdict == Verdict::Here),
        };
        located.settle(self.places, placed)?;
        located.variant = job.pose.then(located.variant);
        Ok(located)
    }

    /// The peak that is a patch's fix, and how probable it is, with what the others of the image say (`together`, and which patch it is).
    fn chosen(
        &self,
        m: &Match,
        metres: f64,
        together: Option<(&Vote, usize)>,
        lattice: &Lattice<'_>,
        found: &[Match],
        side: f64,
    ) -> Option<Chosen> {
        let (peak, alone, _) = fix(m, self.calibration, metres);
        let highest = Chosen { peak: peak?, number: 0, probability: alone };
        let Some((vote, i)) = together else { return Some(highest) };
        let joint = self.joint(vote, m.offsets);
        Some(match vote.chosen[i] {
            // The image's place is right with the joint probability, or the patch's own best is, elsewhere: both cannot be.
            Some(number) if number > 0 => {
                let [joint, alone] = [joint, alone].map(|p| p.min(1.0 - 1e-9));
                let odds = joint * (1.0 - alone);
                let probability = joint.min(odds / (odds + alone * (1.0 - joint)).max(1e-12));
                Chosen { peak: m.peaks[number], number, probability }
            }
            Some(_) => Chosen { probability: alone.max(joint), ..highest },
            // An image is whole: what lies elsewhere is right only if those that agree are wrong.
            None if contradicts(lattice, vote, found, i, highest.peak.map_px, side) => {
                Chosen { probability: alone * (1.0 - joint), ..highest }
            }
            None => highest,
        })
    }

    /// What an agreement is worth, for a surface of so many offsets.
    fn joint(&self, vote: &Vote, offsets: f64) -> f64 {
        let root = |credit: f64| (2.0 * credit.max(0.0)).sqrt();
        self.calibration.probability(&Evidence { height: root(vote.credit), runner_up: root(vote.runner_up), offsets })
    }

    /// That the image lies where its agreeing patches, or its surest, put it.
    fn image_probability(&self, fixes: &[Fix], together: Option<&Vote>, found: &[Match]) -> f64 {
        let best = |f: &dyn Fn(&Fix) -> bool| fixes.iter().filter(|x| f(x)).filter_map(|x| x.probability).fold(0.0, f64::max);
        match together {
            Some(vote) => {
                let offsets = found.iter().map(|m| m.offsets).fold(0.0, f64::max);
                // A single patch that is sure of itself is no less so because others agree.
                self.joint(vote, offsets).max(best(&|f| f.agrees == Some(true)))
            }
            // Several patches, of which no two agree, are worth less than the surest says.
            None if fixes.len() > 2 => best(&|_| true) * 0.5f64.powf((fixes.len() as f64).log10()),
            None => best(&|_| true),
        }
    }

    /// Writes what was chosen into a fix.
    fn fill(&self, fix: &mut Fix, m: &Match, chosen: Option<Chosen>, job: &Job, metres: f64) -> Result<()> {
        let Some(c) = chosen else {
            fix.probability = Some(0.0);
            return Ok(());
        };
        let variant = job.variants[c.peak.variant.min(job.variants.len() - 1)];
        let answer = Answer {
            number: c.number,
            probability: c.probability,
            accepted: c.probability >= self.threshold(),
            ellipse: Some(Ellipse::new(self.calibration.covariance(&c.peak, m.noise, metres), metres)),
            variant,
        };
        fill_peaks(fix, m, &answer, job.side as f64 * self.layout().step, self.options.top, self.places)?;
        fix.variant = fix.variant.filter(|_| job.searched).map(|v| job.pose.then(v));
        Ok(())
    }
}

/// What a patch's match comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// Which of the peaks is the fix.
    pub number: usize,
    /// That it is right.
    pub probability: f64,
    /// Whether that is enough to claim it.
    pub accepted: bool,
    /// Where the truth lies with a probability of 95 %.
    pub ellipse: Option<Ellipse>,
    /// How the patch was turned and scaled.
    pub variant: Variant,
}

/// Writes the peaks of a patch of `side` map pixels into its fix, at most `top`, that of the answer first.
///
/// # Errors
/// A position outside the projection's domain.
pub fn fill_peaks(fix: &mut Fix, m: &Match, answer: &Answer, side: f64, top: usize, places: &Places) -> Result<()> {
    let order = std::iter::once(answer.number).chain((0..m.peaks.len()).filter(|n| *n != answer.number));
    for (rank, peak) in order.filter_map(|n| m.peaks.get(n)).take(top.max(1)).enumerate() {
        let place = places.at(peak.map_px)?;
        fix.candidates.push(Candidate { rank: rank as u32 + 1, cell: None, score: peak.score, place, distance_m: None, right: None });
    }
    fix.probability = Some(answer.probability);
    let Some(peak) = m.peaks.get(answer.number) else { return Ok(()) };
    fix.score = peak.score;
    let others = m.peaks.iter().enumerate().filter(|(n, _)| *n != answer.number).map(|(_, p)| p.score);
    fix.margin = others.reduce(f32::max).map_or(0.0, |best| peak.score - best);
    if answer.accepted {
        fix.place = Some(Place { probability: Some(answer.probability), ellipse: answer.ellipse, ..places.at(peak.map_px)? });
        fix.variant = Some(answer.variant);
        fix.footprint = places.ring(square(peak.map_px, side))?;
    }
    Ok(())
}

/// Corners of a square of so many map pixels about a place: what is compared of a patch lies along the map, however its image is turned.
pub(super) fn square(centre: [f64; 2], side: f64) -> [[f64; 2]; 4] {
    let h = side / 2.0;
    [[-h, -h], [h, -h], [h, h], [-h, h]].map(|[x, y]| [centre[0] + x, centre[1] + y])
}

/// A patch's peak that was chosen.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    peak: Peak,
    /// Which of the patch's peaks it is.
    number: usize,
    probability: f64,
}

/// A fix as an anchor of its image, and the number of its variant.
fn anchor(patch: &Patch, peak: Peak, m: &Match, calibration: &Calibration, metres: f64) -> (Anchor, usize) {
    let covariance_m2 = calibration.covariance(&peak, m.noise, metres).map(|v| v * metres * metres);
    (Anchor { sar_px: patch.sar_px, map_px: peak.map_px, covariance_m2 }, peak.variant)
}

/// Whether a place lies more than half a patch from where the nearest agreeing patch, no farther than three patches off, puts it.
fn contradicts(lattice: &Lattice<'_>, vote: &Vote, found: &[Match], patch: usize, place: [f64; 2], side: f64) -> bool {
    let apart = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
    let expected = lattice.expected;
    let agreed = vote.chosen.iter().enumerate().filter_map(|(i, c)| Some((i, found[i].peaks.get((*c)?)?)));
    let nearest = agreed.min_by(|a, b| apart(expected[a.0], expected[patch]).total_cmp(&apart(expected[b.0], expected[patch])));
    nearest.is_some_and(|(i, peak)| {
        let there = lattice.place_of(peak, i, patch);
        apart(expected[i], expected[patch]) <= 3.0 * side && apart(there, place) > side / 2.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_far_from_where_neighbours_put_it_contradicts_them() {
        let peak = |x, y| Peak { map_px: [x, y], score: 1.0, curvature: [1.0, 0.0, 1.0], variant: 0 };
        let m = |p| Match { peaks: vec![p], mean: 0.0, noise: 1.0, offsets: 1e4, tiles: None };
        let found = [m(peak(1000.0, 500.0)), m(peak(1205.0, 500.0)), m(peak(0.0, 0.0))];
        for (expected, place, want) in [
            ([200.0, 200.0], [1210.0, 690.0], false),
            ([200.0, 200.0], [1210.0, 590.0], true),
            ([0.0, 200.0], [4000.0, 4000.0], true),
            // Too far from any of them to tell.
            ([2000.0, 200.0], [4000.0, 4000.0], false),
        ] {
            let all = [[0.0, 0.0], [200.0, 0.0], expected];
            let lattice = Lattice { expected: &all, variants: &[Variant::PLAIN], tolerance_px: 12.0, stretch: 0.01, step: 2.0, share: 1.0 };
            let vote = |chosen: Vec<Option<usize>>| Vote { chosen, agreeing: 2, credit: 30.0, runner_up: 0.0 };
            assert_eq!(contradicts(&lattice, &vote(vec![Some(0), Some(0), None]), &found, 2, place, 200.0), want, "{expected:?} {place:?}");
            assert!(!contradicts(&lattice, &vote(vec![None; 3]), &found, 2, place, 200.0));
        }
    }
}

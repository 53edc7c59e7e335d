//! Areas whose truth is known: what became of patches of each on its own map, and of patches of the others.

use crate::cli::common::Global;
use crate::cli::cost::weigh_dense;
use crate::cli::databases::build_dense_with_bar;
use crate::dense::{Calibration, DenseDatabase, DenseModel, Labelled, Layout, Matcher, SearchConfig};
use crate::eval::dense::{DenseResult, RIGHT_M, dense_matches, dense_queries, dense_results, labelled};
use crate::eval::metrics::calibration_error;
use crate::gpu::Engine;
use crate::index::RESIDENT_BYTES;
use crate::scene::{MapInfo, ScenePair};
use crate::{Error, Result};
use std::collections::HashSet;

/// What is sought.
pub(super) struct Wanted<'a> {
    /// Sides, map pixels.
    pub(super) patches: &'a [u32],
    /// Patches of each size.
    pub(super) queries: usize,
    pub(super) seed: u64,
    pub(super) threshold: f64,
}

/// What became of the patches of one size at a place.
pub(super) struct Judged {
    /// The place's number and name.
    place: (usize, String),
    patch: u32,
    /// Of its own.
    present: Vec<DenseResult>,
    /// Of other places, sought on its map.
    absent: Vec<DenseResult>,
}

/// Refuses one SAR image as two places: its patches are on the map of the other, where they would count as not being there.
pub(super) fn check_distinct<'p>(places: impl Iterator<Item = &'p ScenePair>) -> Result<()> {
    let mut seen = HashSet::new();
    for place in places {
        let path = place.sar.raster.path();
        if !seen.insert(path.canonicalize().unwrap_or_else(|_| path.into())) {
            return Err(Error::file(path, "is named for two places: patches of it that are on the map would count as not being there"));
        }
    }
    Ok(())
}

/// Seeks patches of `here`, and as many of the `others`, which share in them, on the map of `here`: each size by itself.
pub(super) fn judge(
    global: &Global,
    engine: &Engine,
    wanted: &Wanted<'_>,
    model: &DenseModel,
    place: &(usize, String),
    here: &ScenePair,
    others: &[&ScenePair],
) -> Result<Vec<Judged>> {
    let info = MapInfo::of(&here.map)?;
    let largest = wanted.patches.iter().copied().max().unwrap_or(200);
    let layout = Layout::new(&info, model.metres(), f64::from(largest), 0)?;
    weigh_dense(global, &here.map, &layout, model, None)?;
    let (database, _) = build_dense_with_bar(global, engine, model, &here.map, &layout, DenseDatabase::temporary())?;
    let matcher = Matcher::new(engine, &database, model, RESIDENT_BYTES)?;
    let mut all = Vec::new();
    for patch in wanted.patches {
        let side = layout.query_side(f64::from(*patch))?;
        let seek = |pair: &ScenePair, count: usize| -> Result<Vec<DenseResult>> {
            let scale = info.ground_m() / MapInfo::of(&pair.map)?.ground_m();
            let queries = dense_queries(pair, &layout, side, scale, count, wanted.seed)?;
            let bar = global.bar(0, "searching");
            let advance = |done, total| bar.advance(done, total);
            let found = dense_matches(&matcher, pair, &queries, side, 4, SearchConfig::default(), advance)?.found;
            bar.finish_and_clear();
            dense_results(&matcher, model.calibration(), &queries, &found, wanted.threshold)
        };
        let present = seek(here, wanted.queries)?;
        let mut absent = Vec::new();
        for (i, other) in others.iter().enumerate() {
            let count = (wanted.queries + i) / others.len();
            if count > 0 {
                absent.extend(seek(other, count)?);
            }
        }
        all.push(Judged { place: place.clone(), patch: *patch, present, absent });
    }
    Ok(all)
}

impl Judged {
    fn cases(&self) -> Vec<Labelled> {
        labelled(&self.present, &self.absent)
    }

    /// Its patches that were found right.
    fn right(&self) -> impl Iterator<Item = &DenseResult> {
        self.present.iter().filter(|r| r.error_m.is_some_and(|e| e <= RIGHT_M))
    }

    /// The probability of each patch's fix, and whether it was right.
    pub(super) fn probabilities(&self, calibration: &Calibration) -> Vec<(f64, bool)> {
        self.cases().iter().map(|c| (calibration.probability(&c.evidence), c.right)).collect()
    }

    /// What a calibration says of it.
    pub(super) fn under(&self, calibration: &Calibration) -> Reliability {
        let accepted = |r: &&DenseResult| calibration.probability(&r.evidence) >= calibration.threshold;
        Reliability {
            place: self.place.1.clone(),
            patch: self.patch,
            present: self.present.len(),
            right: self.right().count(),
            found: self.present.iter().filter(accepted).count(),
            found_right: self.right().filter(accepted).count(),
            absent: self.absent.len(),
            false_fixes: self.absent.iter().filter(accepted).count(),
            calibration_error: calibration_error(&self.probabilities(calibration)),
        }
    }
}

/// How far probabilities hold for patches of one size at a place.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Reliability {
    pub(super) place: String,
    /// Their side, map pixels.
    pub(super) patch: u32,
    /// Patches of its own.
    pub(super) present: usize,
    /// Of those the right peaks.
    pub(super) right: usize,
    /// Those above the threshold.
    pub(super) found: usize,
    /// Of those the right ones.
    pub(super) found_right: usize,
    /// Patches of elsewhere.
    pub(super) absent: usize,
    /// Of those the fixes above the threshold.
    pub(super) false_fixes: usize,
    /// Expected calibration error, ten bins.
    pub(super) calibration_error: f64,
}

/// Fits a calibration to what was found at some places.
pub(super) fn fit<'j>(start: &Calibration, judged: impl Iterator<Item = &'j Judged> + Clone) -> Calibration {
    let shapes = judged.clone().flat_map(Judged::right).filter_map(|r| r.shape_m2.zip(r.offset_m)).collect::<Vec<_>>();
    start.clone().fit(&judged.flat_map(Judged::cases).collect::<Vec<_>>()).fit_ellipse(&shapes)
}

/// Of each place, what a calibration of all the others says of it; nothing of a single place.
pub(super) fn left_out(start: &Calibration, judged: &[Judged]) -> Vec<Reliability> {
    let mut all = Vec::new();
    for one in judged {
        let others = judged.iter().filter(|j| j.place != one.place);
        if others.clone().next().is_some() {
            all.push(one.under(&fit(start, others)));
        }
    }
    all
}

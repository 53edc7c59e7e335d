//! Locating by retrieval: each patch of an image is encoded and looked up among the map's cells.

use super::cut::{self, Patch, Squares};
use super::fix::{Candidate, Fix, Places, Verdict};
use super::near::Area;
use super::options::{Method, Options, STRIP};
use super::query::{Near, Query};
use super::vote::{Lattice, vote};
use super::whole::{Anchor, Located, doubts, place};
use crate::dense::{Match, Peak, Variant};
use crate::index::{CellHit, Database, Embedder, Searcher};
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::Modality;
use crate::refine::{Prepared, Request, Strip, refine};
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{Frame, Image, PageCache, ValidityMask, inverse, lonlat_distance_m};
use crate::{Error, Result};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// Candidates that agree by chance are worth less than this, a logarithm of a ratio of likelihoods.
const CREDIT: f64 = 3.0;

/// What all images of a search share.
pub(super) struct Context<'c> {
    pub(super) embedder: &'c Embedder<'c>,
    pub(super) searcher: &'c Searcher<'c>,
    pub(super) database: &'c Database,
    pub(super) refine: Option<&'c Prepared>,
    pub(super) options: &'c Options,
    pub(super) places: &'c Places,
    /// Candidates wanted of each patch, before refinement.
    pub(super) top: usize,
}

/// An image as it may lie.
#[derive(Debug)]
struct Way {
    frame: Frame,
    patches: Vec<Patch>,
    no_data: usize,
    outside: usize,
    /// The cells that a prior leaves each patch.
    allowed: Option<Vec<HashSet<u32>>>,
}

/// An image ready to be looked up.
#[derive(Debug)]
pub(super) struct Job {
    image: Arc<Image>,
    name: String,
    ways: Vec<Way>,
    squares: Squares,
}

/// Candidates of an image's patches, in the way that fits best.
pub(super) struct Looked {
    pub(super) frame: Frame,
    pub(super) patches: Vec<Patch>,
    pub(super) hits: Vec<Vec<CellHit>>,
    no_data: usize,
    outside: usize,
    seconds: BTreeMap<String, f64>,
}

impl Looked {
    pub(super) fn seconds(&self) -> &BTreeMap<String, f64> {
        &self.seconds
    }
}

impl Context<'_> {
    /// Cuts an image into patches of the database's cell, or as asked.
    pub(super) fn job(&self, query: &Query, image: Arc<Image>) -> Result<Job> {
        let frame = Frame::new(&self.database.manifest.map, &image, query.pixel_m)?;
        query.check_prior(&frame)?;
        let patch = self.options.patch.unwrap_or(self.database.manifest.grid.cell);
        let squares = Squares { patch, step: self.options.step.unwrap_or(patch) };
        let name = query.name();
        let mut ways = Vec::new();
        let mask = ValidityMask::new(&image.raster)?;
        for frame in frame.ways(query.mirrored)? {
            let (patches, no_data) = cut::patches(&image, &mask, &frame, squares, self.embedder.input())?;
            let mut way = Way { frame, patches, no_data, outside: 0, allowed: None };
            if let Some(near) = query.near {
                self.limit(&mut way, near, &image)?;
            }
            ways.push(way);
        }
        if ways.iter().all(|w| w.patches.is_empty()) {
            return Err(query.nowhere(&format!("a cell of {}", self.database.path.display())));
        }
        Ok(Job { image, name, ways, squares })
    }

    /// Leaves the patches, and for each the cells, that a prior allows.
    fn limit(&self, way: &mut Way, near: Near, image: &Image) -> Result<()> {
        let (mut patches, mut allowed) = (Vec::new(), Vec::new());
        let count = way.patches.len();
        for patch in std::mem::take(&mut way.patches) {
            let area = Area::of(self.places, near, image, &way.frame, &patch, [0.0; 2])?;
            let cells = area.map_or_else(|| Ok(HashSet::new()), |a| self.cells_near(&a))?;
            if !cells.is_empty() {
                patches.push(patch);
                allowed.push(cells);
            }
        }
        way.outside = count - patches.len();
        (way.patches, way.allowed) = (patches, Some(allowed));
        Ok(())
    }

    /// Cells of which some part lies in a circle.
    fn cells_near(&self, area: &Area) -> Result<HashSet<u32>> {
        let (middle, metres) = area.circle();
        let here = self.places.at(middle)?.lonlat;
        let half = f64::from(self.database.manifest.grid.cell) / 2.0;
        // Twice the map's mean pixel is more than any projection in use stretches one.
        let reach = metres + 4.0 * half * self.database.manifest.map.pixel_m.iter().fold(0.0, |a, b| b.max(a));
        let mut cells = HashSet::new();
        for (i, (centre, place)) in self.database.cell_px.iter().zip(&self.database.cell_lonlat).enumerate() {
            // A degree of latitude is 110.5 km at least.
            let far = (place[1] - here[1]).abs() * 110_500.0 > reach || lonlat_distance_m((place[0], place[1]), here.into()) > reach;
            if far {
                continue;
            }
            let nearest = [0, 1].map(|d| middle[d].clamp(centre[d] - half, centre[d] + half));
            if lonlat_distance_m(self.places.at(nearest)?.lonlat.into(), here.into()) <= metres {
                cells.insert(i as u32);
            }
        }
        Ok(cells)
    }

    /// Encodes an image's patches and looks them up, in all its ways; keeps the way whose candidates look more alike.
    /// `progress(done, total)` counts patches.
    pub(super) fn look_up(&self, job: &Job, progress: &mut dyn FnMut(usize, usize)) -> Result<Looked> {
        let likeness = |l: &Looked| l.hits.iter().filter_map(|h| h.first()).map(|h| f64::from(h.score)).sum::<f64>();
        let total = job.work();
        let (mut best, mut before): (Option<Looked>, usize) = (None, 0);
        for way in job.ways.iter().filter(|w| !w.patches.is_empty()) {
            let one = self.look_up_as(job, way, &mut |done| progress(before + done, total))?;
            before += way.patches.len();
            if best.as_ref().is_none_or(|b| likeness(&one) > likeness(b)) {
                best = Some(one);
            }
        }
        best.ok_or_else(|| Error::invalid(format!("{}: no patch is left to be looked up", job.name)))
    }

    fn look_up_as(&self, job: &Job, way: &Way, progress: &mut dyn FnMut(usize)) -> Result<Looked> {
        let start = Instant::now();
        let (embedder, engine) = (self.embedder, self.embedder.engine());
        let records: Vec<PatchRecord> = way.patches.iter().map(|p| p.record).collect();
        let mut cache = PageCache::new(engine, vec![job.image.clone()], DEFAULT_PAGES)?;
        let taps = sampler::taps_for(way.frame.scale() * f64::from(job.squares.patch) / embedder.input() as f64);
        let dim = embedder.dim();
        let mut vectors = vec![0.0; records.len() * dim];
        embedder.embed(Modality::Sar, &mut cache, &records, taps, |first, rows| {
            vectors[first * dim..][..rows.len()].copy_from_slice(rows);
            progress(first + rows.len() / dim);
            Ok(())
        })?;
        let encode_s = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let k = self.top.min(self.database.cells());
        let mut hits = match &way.allowed {
            Some(allowed) => self.searcher.search_among(engine, &vectors, k, allowed)?,
            None => self.searcher.search(engine, &vectors, k)?,
        };
        let search_s = start.elapsed().as_secs_f64();
        let start = Instant::now();
        if let Some(prepared) = self.refine.filter(|p| !p.is_none()) {
            hits = self.refined(prepared, job, way, &vectors, &hits)?;
        }
        let refine_s = start.elapsed().as_secs_f64();
        let seconds = [("encode", encode_s), ("search", search_s), ("refine", refine_s)];
        Ok(Looked {
            frame: way.frame.clone(),
            patches: way.patches.clone(),
            hits,
            no_data: way.no_data,
            outside: way.outside,
            seconds: seconds.into_iter().map(|(name, s)| (name.to_string(), s)).collect(),
        })
    }

    /// Refines the candidates of all patches, in strips along the image's rows.
    fn refined(&self, prepared: &Prepared, job: &Job, way: &Way, vectors: &[f32], hits: &[Vec<CellHit>]) -> Result<Vec<Vec<CellHit>>> {
        let to_map = inverse(&way.frame.matrix);
        let metres = |d: [f64; 2]| self.database.metres(to_map.map(|row| row[0] * d[0] + row[1] * d[1]));
        let strips = strips(&way.patches, job.squares.step, self.options.strip.unwrap_or(STRIP), metres, way.frame.scale());
        let request = Request {
            searcher: self.searcher,
            database: self.database,
            queries: vectors,
            hits,
            strips: &strips,
            top: prepared.top,
            slider: prepared.slider.as_ref(),
            refiner: prepared.refiner.as_ref(),
        };
        refine(self.embedder.engine(), prepared.method, &request)
    }

    /// The answer for an image, from the candidates of its patches.
    pub(super) fn judge(&self, job: &Job, looked: Looked) -> Result<Located> {
        let Looked { frame, patches, hits, no_data, outside, seconds } = looked;
        let digits = patches.len().to_string().len().max(3);
        let side = f64::from(job.squares.patch);
        let mut fixes = Vec::with_capacity(patches.len());
        for (i, (patch, hits)) in patches.iter().zip(&hits).enumerate() {
            let mut fix = Fix::new(format!("p{:0digits$}", i + 1), patch.sar_px);
            fix.claimed = patch.own_px.and_then(|p| self.places.at(p).ok());
            fill_cells(&mut fix, hits, self.options.top, side, self.places)?;
            fixes.push(fix);
        }
        let (agreeing, anchors) = self.agreement(job, &frame, &patches, &hits);
        if let Some(agrees) = &agreeing {
            fixes.iter_mut().zip(agrees).for_each(|(f, a)| f.agrees = Some(*a));
        }
        let count = agreeing.as_ref().map(|a| a.iter().filter(|a| **a).count());
        // A cell says nothing of how sure it is: one patch, or several that agree, are worth a look.
        let verdict = if anchors.is_empty() { Verdict::NotHere } else { Verdict::Check };
        let size = [job.image.raster.width(), job.image.raster.height()];
        let share = (f64::from(job.squares.step) / f64::from(job.squares.patch)).min(1.0).powi(2);
        let placed = (!anchors.is_empty()).then(|| place(&frame, size, &anchors, Variant::PLAIN, false, share, None));
        let warnings = doubts(&job.image, &frame, false);
        let mut located = Located {
            file: job.name.clone(),
            method: Method::Index,
            verdict,
            place: None,
            probability: None,
            footprint: Vec::new(),
            to_map: None,
            geotransform: None,
            variant: Variant::PLAIN,
            agreeing: count,
            fixes,
            claimed: None,
            displaced: None,
            frame,
            size: [job.image.raster.width(), job.image.raster.height()],
            image: self.options.surfaces.then(|| job.image.clone()),
            side_px: side,
            step: job.squares.step,
            threshold: None,
            variants: 1,
            no_data,
            outside,
            matches: Vec::new(),
            seconds,
            warnings,
        };
        located.settle(self.places, placed)?;
        Ok(located)
    }

    /// Which patches agree on a place of the image, and where they put it. One patch has nothing to agree with.
    fn agreement(&self, job: &Job, frame: &Frame, patches: &[Patch], hits: &[Vec<CellHit>]) -> (Option<Vec<bool>>, Vec<Anchor>) {
        let anchor = |i: usize, h: &CellHit| Anchor { sar_px: patches[i].sar_px, map_px: h.centre_px, covariance_m2: [0.0; 3] };
        if let [one] = hits {
            return (None, one.first().map(|h| anchor(0, h)).into_iter().collect());
        }
        let grid = &self.database.manifest.grid;
        let stride = f64::from(grid.stride.max(1));
        let peak = |h: &CellHit| Peak { map_px: h.centre_px, score: h.score, curvature: [0.0; 3], variant: 0 };
        // Cosines are no heights over a surface: all that counts is where the candidates lie.
        let one = |h: &Vec<CellHit>| Match {
            peaks: h.iter().take(self.options.top).map(peak).collect(),
            mean: 0.0,
            noise: 1.0,
            offsets: self.database.cells() as f64,
            tiles: None,
        };
        let matches: Vec<Match> = hits.iter().map(one).collect();
        let expected: Vec<[f64; 2]> = patches.iter().map(|p| frame.relative(p.sar_px)).collect();
        let share = (f64::from(job.squares.step) / f64::from(job.squares.patch)).min(1.0).powi(2);
        let lattice =
            Lattice { expected: &expected, variants: &[Variant::PLAIN], tolerance_px: stride / 3.0, stretch: 0.01, step: stride, share };
        let v = vote(&matches, &lattice);
        if v.agreeing < 2 || v.credit < CREDIT {
            return (Some(vec![false; hits.len()]), Vec::new());
        }
        let agreed = |i: usize| v.chosen[i].map(|n| &hits[i][n]);
        let anchors = (0..hits.len()).filter_map(|i| Some(anchor(i, agreed(i)?))).collect();
        (Some(v.chosen.iter().map(Option::is_some).collect()), anchors)
    }
}

/// Writes candidates, best first, into a fix of a patch of `side` map pixels. Without any, it has no place.
///
/// # Errors
/// A position outside the projection's domain.
pub fn fill_cells(fix: &mut Fix, hits: &[CellHit], top: usize, side: f64, places: &Places) -> Result<()> {
    let Some(best) = hits.first() else { return Ok(()) };
    for (rank, hit) in hits.iter().take(top.max(1)).enumerate() {
        fix.candidates.push(Candidate {
            rank: rank as u32 + 1,
            cell: Some(hit.cell),
            score: hit.score,
            place: places.at(hit.centre_px)?,
            distance_m: None,
            right: None,
        });
    }
    fix.place = Some(places.at(best.centre_px)?);
    fix.footprint = places.ring(super::judge::square(best.centre_px, side))?;
    (fix.score, fix.margin) = (best.score, hits.get(1).map_or(0.0, |second| best.score - second.score));
    Ok(())
}

impl Job {
    /// Patches in all ways.
    pub(super) fn work(&self) -> usize {
        self.ways.iter().map(|w| w.patches.len()).sum()
    }
}

/// Runs of up to `most` neighbours along the image's rows, `step` map pixels apart; `metres` is what an offset in SAR pixels is on the map,
/// `scale` SAR pixels a map pixel.
fn strips(patches: &[Patch], step: u32, most: usize, metres: impl Fn([f64; 2]) -> [f64; 2], scale: f64) -> Vec<Strip> {
    let apart = 1.5 * f64::from(step) * scale;
    let mut out: Vec<Strip> = Vec::new();
    for (i, p) in patches.iter().enumerate() {
        if let Some(last) = out.last_mut().filter(|s| s.queries.len() < most) {
            let (first, before) = (patches[last.queries.start].sar_px, patches[i - 1].sar_px);
            if before[1] == p.sar_px[1] && (p.sar_px[0] - before[0]).abs() <= apart {
                last.queries.end = i + 1;
                last.offsets_m.push(metres([p.sar_px[0] - first[0], p.sar_px[1] - first[1]]));
                continue;
            }
        }
        out.push(Strip { queries: i..i + 1, offsets_m: vec![[0.0; 2]] });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_end_at_rows_gaps_and_their_length() {
        let at = |x: f64, y: f64| Patch { sar_px: [x, y], record: PatchRecord::empty(), own_px: None };
        // Patches every 200 map pixels are 400 SAR pixels apart.
        let patches: Vec<Patch> = [0.0, 400.0, 800.0, 1200.0, 2000.0].map(|x| at(x, 0.0)).into_iter().chain([at(2400.0, 400.0)]).collect();
        let all = strips(&patches, 200, 3, |d| d.map(|v| v / 2.0), 2.0);
        let ranges: Vec<_> = all.iter().map(|s| s.queries.clone()).collect();
        assert_eq!(ranges, [0..3, 3..4, 4..5, 5..6]);
        assert_eq!(all[0].offsets_m, [[0.0, 0.0], [200.0, 0.0], [400.0, 0.0]]);
    }
}

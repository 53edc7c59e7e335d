//! Locating by dense matching: each patch of an image is correlated with the whole map, or with the part of it where it is said to lie.
//!
//! The image's own place is not used: only the ground size of its pixels and the direction of north. Patches of many images go through one
//! search; each image is judged by itself.

use super::cut::{self, Patch, Squares};
use super::fix::Places;
use super::near::Area;
use super::options::{Method, Options};
use super::query::Query;
use super::whole::Located;
use crate::dense::{
    Calibration, Closer, DenseDatabase, Hint, Layout, Match, Matcher, SearchConfig, Variant, distance, keep_where, raise, variant_records,
    variants_around,
};
use crate::index::RESIDENT_BYTES;
use crate::kernels::sampler::{self, PatchRecord};
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{Frame, Image, Mirrored, PageCache, ValidityMask, compose};
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

/// The cells that retrieval found for each patch, and what they add to a peak.
pub(super) struct Cells {
    /// Of each patch, by the bits of its centre in the image.
    pub(super) hints: HashMap<[u64; 2], Vec<Hint>>,
    /// Standard deviations for a cosine of 1.
    pub(super) weight: f64,
}

/// An image as it may lie: one of the ways of its mirroring.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) frame: Frame,
    pub(super) patches: Vec<Patch>,
    pub(super) no_data: usize,
    /// Patches that a prior leaves nowhere.
    pub(super) outside: usize,
    /// Where a prior leaves each patch.
    areas: Vec<Area>,
}

/// An image ready to be searched.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) image: Arc<Image>,
    pub(super) name: String,
    ways: Vec<Way>,
    pub(super) squares: Squares,
    /// Feature pixels a side of a patch.
    pub(super) side: usize,
    pub(super) variants: Vec<Variant>,
    /// How the frames of its ways lie against its own.
    pub(super) pose: Variant,
    /// Whether turns and scales were searched for.
    pub(super) searched: bool,
    /// Seconds that it took so far.
    seconds: f64,
}

/// What images must share to be searched together: side of a patch, taps, variants; and a number where one is searched alone.
type Kind = (usize, u32, usize, usize);

/// What all images of a search share.
#[derive(Clone, Copy)]
pub(super) struct Context<'c> {
    pub(super) database: &'c DenseDatabase,
    pub(super) options: &'c Options,
    pub(super) places: &'c Places,
    pub(super) calibration: &'c Calibration,
    /// The map's pixels, where they are needed.
    pub(super) map: Option<&'c Arc<Image>>,
    pub(super) method: Method,
}

impl Context<'_> {
    pub(super) fn layout(&self) -> &Layout {
        &self.database.manifest.layout
    }

    fn search_config(&self, patches: usize) -> SearchConfig {
        let plain = SearchConfig::default();
        let tiles = self.options.surfaces && self.database.room_for_surfaces(patches);
        SearchConfig { top: self.options.top.max(plain.top), tiles, ..plain }
    }

    pub(super) fn threshold(&self) -> f64 {
        self.options.threshold.unwrap_or(self.calibration.threshold)
    }

    /// Cuts an image that lies as `pose` says against its frame, or turned (degrees) and scaled (share) by up to `range` either way.
    pub(super) fn job(&self, query: &Query, image: Arc<Image>, pose: Variant, range: [f64; 2], mirrored: Mirrored) -> Result<Job> {
        let start = Instant::now();
        let map = &self.database.manifest.map;
        let mut frame = Frame::new(map, &image, query.pixel_m)?;
        if pose != Variant::PLAIN {
            frame = frame.turned(pose.from_map());
        }
        query.check_prior(&frame)?;
        let patch = self.patch(&image, &frame)?;
        let squares = Squares { patch, step: self.options.step.unwrap_or(patch) };
        let side = self.layout().query_side(f64::from(patch))?;
        let variants = variants_around(Variant::PLAIN, range[0], range[1], side);
        let mut ways = Vec::new();
        let mask = ValidityMask::new(&image.raster)?;
        for frame in frame.ways(mirrored)? {
            let (patches, no_data) = cut::patches(&image, &mask, &frame, squares, side)?;
            let mut way = Way { frame, patches, no_data, outside: 0, areas: Vec::new() };
            if let Some(near) = query.near {
                way.limit(self.places, near, &image, range)?;
            }
            ways.push(way);
        }
        let name = query.name();
        if ways.iter().all(|w| w.patches.is_empty()) {
            return Err(query.nowhere("the map"));
        }
        let searched = variants.len() > 1 || pose != Variant::PLAIN;
        Ok(Job { image, name, ways, squares, side, variants, pose, searched, seconds: start.elapsed().as_secs_f64() })
    }

    /// The side of its patches, map pixels: as asked, or the largest that the database is for and the image holds.
    fn patch(&self, image: &Image, frame: &Frame) -> Result<u32> {
        let layout = self.layout();
        let most = cut::room(image, frame).floor();
        let wanted = f64::from(self.options.patch.unwrap_or_else(|| layout.largest_patch()));
        if wanted <= most {
            return Ok(wanted as u32);
        }
        let raster = &image.raster;
        let shown = format!("{}: {}x{} px of {:.2} m", raster.path().display(), raster.width(), raster.height(), frame.pixel_m);
        match (self.options.patch, layout.query_side(most)) {
            (None, Ok(_)) => Ok(most as u32),
            (Some(_), Ok(_)) => Err(Error::invalid(format!(
                "{shown} is smaller than one patch of {wanted:.0} map pixels: it covers {most:.0}; give --patch {most:.0} or less, or take a larger image (or check --pixel-size)"
            ))),
            (_, Err(_)) => Err(Error::invalid(format!(
                "{shown} is smaller than one patch: it covers {most:.0} map pixels, too little to be found; take a larger image (or check --pixel-size)"
            ))),
        }
    }

    /// Searches some images and judges each by itself. `progress(done, total)` counts patches in all their ways.
    pub(super) fn locate(
        &self,
        matcher: &Matcher<'_>,
        jobs: Vec<Job>,
        cells: Option<&Cells>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Vec<Result<Located>> {
        let total: usize = jobs.iter().map(Job::work).sum();
        let mut out: Vec<Option<Result<Located>>> = jobs.iter().map(|_| None).collect();
        let mut done = 0;
        // What is limited to a part of the map has a search of its own; the others share one if their patches are of one size.
        let mut groups: BTreeMap<Kind, Vec<(usize, Job)>> = BTreeMap::new();
        for (i, job) in jobs.into_iter().enumerate() {
            let alone = if job.limited() || self.options.closer_m.is_some() { i + 1 } else { 0 };
            groups.entry((job.side, job.taps(self.layout()), job.variants.len(), alone)).or_default().push((i, job));
        }
        for group in groups.into_values() {
            let work: usize = group.iter().map(|(_, j)| j.work()).sum();
            // A search counts parts of the map; an image's work is its patches.
            let mut step = |now: usize, all: usize| progress(done + work * now / all.max(1), total);
            let jobs: Vec<&Job> = group.iter().map(|(_, j)| j).collect();
            match self.search(matcher, &jobs, cells, total, &mut step) {
                Ok(all) => group.iter().zip(all).for_each(|((i, _), located)| out[*i] = Some(located)),
                Err(e) if group.len() == 1 => out[group[0].0] = Some(Err(e)),
                // One of them is to blame: each by itself tells which.
                Err(_) => {
                    for (i, job) in &group {
                        let one = self.search(matcher, &[job], cells, total, &mut |_, _| {});
                        out[*i] = Some(one.and_then(|mut all| all.remove(0)));
                    }
                }
            }
            done += work;
            progress(done, total);
        }
        out.into_iter().map(|l| l.expect("each is in a group")).collect()
    }

    /// Searches images of one size of patch together; `total` is the patches of all that are located.
    fn search(
        &self,
        matcher: &Matcher<'_>,
        jobs: &[&Job],
        cells: Option<&Cells>,
        total: usize,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Result<Located>>> {
        let start = Instant::now();
        let limited = match jobs {
            [one] if one.limited() => Some(one.matcher(matcher, self)?),
            _ => None,
        };
        let matcher = limited.as_ref().unwrap_or(matcher);
        let (layout, first) = (self.layout(), jobs[0]);
        let mut records = Vec::new();
        for (number, job) in jobs.iter().enumerate() {
            records.extend(job.records(layout, number as u32)?);
        }
        let images: Vec<Arc<Image>> = jobs.iter().map(|j| j.image.clone()).collect();
        let mut cache = PageCache::new(matcher.engine(), images, DEFAULT_PAGES)?;
        let kept = self.search_config(total);
        // The best of each tile, too, where peaks are chosen by more than their height.
        let config = SearchConfig { tiles: kept.tiles || limited.is_some(), ..kept };
        let variants = first.variants.len();
        let mut search = matcher.prepare(&cache, first.side, first.taps(layout), records.len(), config)?;
        let mut found = search.run(&mut cache, &records, variants, progress)?.into_iter();
        let spent = start.elapsed().as_secs_f64() / jobs.len() as f64;
        let mut out = Vec::with_capacity(jobs.len());
        for job in jobs {
            let own = job.ways.iter().map(|w| found.by_ref().take(w.patches.len()).collect()).collect();
            out.push(self.judge(matcher, job, own, &mut cache, cells, &kept, spent));
        }
        Ok(out)
    }

    /// The answer for an image, from the matches of its ways: that whose fixes are more probable. `kept` says what a match keeps.
    fn judge(
        &self,
        matcher: &Matcher<'_>,
        job: &Job,
        found: Vec<Vec<Match>>,
        cache: &mut PageCache,
        cells: Option<&Cells>,
        kept: &SearchConfig,
        spent: f64,
    ) -> Result<Located> {
        let start = Instant::now();
        let sure = |l: &Located| l.fixes.iter().filter_map(|f| f.probability).sum::<f64>();
        let scale = job.ways[0].frame.scale() * self.layout().step;
        let distance = distance(matcher, &job.image, scale)?;
        let calibration = self.calibration.at(&distance);
        let here = Context { calibration: &calibration, ..*self };
        let mut best: Option<Located> = None;
        for (way, mut found) in job.ways.iter().zip(found) {
            // A place that is right by chance is as likely in each way.
            found.iter_mut().for_each(|m| m.offsets *= job.ways.len() as f64);
            if let Some(cells) = cells {
                for (m, patch) in found.iter_mut().zip(&way.patches) {
                    if let Some(hints) = cells.hints.get(&patch.sar_px.map(f64::to_bits)) {
                        raise(m, hints, cells.weight);
                    }
                }
            }
            for (m, area) in found.iter_mut().zip(&way.areas) {
                keep_where(m, kept, self.layout().step, |p| area.holds(self.places, p))?;
            }
            let metres = self.look_closer(matcher, job, way, &mut found, cache)?;
            let one = here.judge_way(job, way, found, metres)?;
            if best.as_ref().is_none_or(|b| sure(&one) > sure(b)) {
                best = Some(one);
            }
        }
        let mut best = best.ok_or_else(|| Error::invalid(format!("{}: no way it may lie leaves a patch to be searched", job.name)))?;
        best.warnings.extend(distance.warning(self.calibration));
        best.seconds.insert("match".into(), job.seconds + spent + start.elapsed().as_secs_f64());
        Ok(best)
    }

    /// Searches the best places again, finer, where that is asked for; metres a feature pixel of what the matches then say.
    fn look_closer(&self, matcher: &Matcher<'_>, job: &Job, way: &Way, found: &mut [Match], cache: &mut PageCache) -> Result<f64> {
        let map = &self.database.manifest.map;
        let Some((metres, image)) = self.options.closer_m.zip(self.map) else { return Ok(map.ground_m() * self.layout().step) };
        let closer = Closer { metres, ..Closer::than(self.database) };
        for (m, patch) in found.iter_mut().zip(&way.patches) {
            let number = m.peaks.first().map_or(0, |p| p.variant.min(job.variants.len() - 1));
            let pose = (patch.sar_px, compose(way.frame.matrix_at(patch.sar_px), job.variants[number].from_map()));
            let side = f64::from(job.squares.patch);
            let mut fine = closer.look(matcher.engine(), matcher.model(), image, cache, self.database, pose, side, m)?;
            fine.peaks.iter_mut().for_each(|p| p.variant = number);
            *m = Match { tiles: m.tiles.take(), ..fine };
        }
        Ok(metres)
    }
}

impl Way {
    /// Leaves the patches that may lie on the map within a prior.
    fn limit(&mut self, places: &Places, near: super::Near, image: &Image, range: [f64; 2]) -> Result<()> {
        let all = std::mem::take(&mut self.patches);
        let count = all.len();
        for patch in all {
            if let Some(area) = Area::of(places, near, image, &self.frame, &patch, range)? {
                self.patches.push(patch);
                self.areas.push(area);
            }
        }
        self.outside = count - self.patches.len();
        Ok(())
    }
}

impl Job {
    /// Patches in all ways.
    fn work(&self) -> usize {
        self.ways.iter().map(|w| w.patches.len()).sum()
    }

    fn limited(&self) -> bool {
        self.ways.iter().any(|w| !w.areas.is_empty())
    }

    fn taps(&self, layout: &Layout) -> u32 {
        sampler::taps_for(self.ways[0].frame.scale() * layout.step)
    }

    /// What cuts its patches, each in all its variants, way by way.
    fn records(&self, layout: &Layout, image: u32) -> Result<Vec<PatchRecord>> {
        let mut out = Vec::new();
        for way in &self.ways {
            for p in &way.patches {
                let matrix = compose(way.frame.matrix_at(p.sar_px), [[layout.step, 0.0], [0.0, layout.step]]);
                out.extend(variant_records(p.sar_px, matrix, &self.variants, self.side)?.into_iter().map(|r| PatchRecord { image, ..r }));
            }
        }
        Ok(out)
    }

    /// A matcher of those blocks alone that hold one of its areas.
    fn matcher<'d>(&self, whole: &Matcher<'d>, context: &Context<'_>) -> Result<Matcher<'d>> {
        let layout = context.layout();
        let (span, half) = (layout.offsets() as f64 * layout.step, self.side as f64 / 2.0);
        let boxes: Vec<[f64; 4]> = self.ways.iter().flat_map(|w| w.areas.iter().map(Area::bounds)).collect();
        let database = whole.database();
        let keep = |block: usize| {
            let [x, y] = layout.to_map(database.origins[block].map(|v| f64::from(v) + half));
            boxes.iter().any(|b| b[0] <= x + span && b[2] >= x && b[1] <= y + span && b[3] >= y)
        };
        if !(0..database.len()).any(keep) {
            return Err(Error::invalid(format!(
                "{}: no part of the map with data lies within its prior; use a larger --prior, or none (--near LON,LAT may lie off the map)",
                self.name
            )));
        }
        Matcher::among(whole.engine(), database, whole.model(), RESIDENT_BYTES, keep)
    }
}

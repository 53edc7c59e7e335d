//! Finding patches by dense matching.

use super::{Candidate, Finder, Hunt, Query};
use crate::Result;
use crate::dense::{
    Calibration, DenseDatabase, DenseModel, Evidence, Layout, Match, Matcher, Peak, Pose, PoseConfig, SearchConfig, Variant, build,
    build_at, find_pose, variant_records,
};
use crate::gpu::Engine;
use crate::index::RESIDENT_BYTES;
use crate::kernels::sampler::{self, PatchRecord};
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{Frame, Image, MapInfo, PageCache, compose};
use std::sync::Arc;

/// Patches whose surroundings are transformed and searched together.
const GROUP: usize = 16;
/// Peaks kept of a patch over all blocks of its group: each block gives a few.
const PEAKS: usize = 128;

/// Finds patches by correlating features: over the whole map, whose spectra are made when first asked for; or in blocks of the map around
/// where each patch is expected.
#[derive(Debug)]
pub struct DenseFinder<'a> {
    engine: &'a Engine,
    model: &'a DenseModel,
    map: Arc<Image>,
    info: MapInfo,
    sar: Arc<Image>,
    batch: usize,
    /// Map pixels a feature pixel.
    step: f64,
    whole: Option<DenseDatabase>,
}

impl<'a> DenseFinder<'a> {
    /// Of patches of `sar` on `map`, `batch` at once.
    ///
    /// # Errors
    /// A map without georeference; reading.
    pub fn new(engine: &'a Engine, model: &'a DenseModel, map: Arc<Image>, sar: Arc<Image>, batch: usize) -> Result<Self> {
        let info = MapInfo::of(&map)?;
        let step = Layout::new(&info, model.metres(), 100.0 * model.metres() / info.ground_m(), 0)?.step;
        Ok(Self { engine, model, map, info, sar, batch, step, whole: None })
    }

    /// What the map says of itself.
    pub fn info(&self) -> &MapInfo {
        &self.info
    }

    fn records(&self, queries: &[Query], layout: &Layout, side: usize, variants: &[Variant]) -> Result<Vec<PatchRecord>> {
        let grid = [[layout.step, 0.0], [0.0, layout.step]];
        let of = |q: &Query| variant_records(q.sar_px, compose(q.matrix, grid), variants, side);
        Ok(queries.iter().map(of).collect::<Result<Vec<_>>>()?.concat())
    }

    /// Transforms the whole map for patches of `patch` map pixels, unless it is already: what the first search anywhere does else.
    /// `progress(done, total)` counts blocks.
    ///
    /// # Errors
    /// A map without data, reading, the device, no room for temporary files.
    pub fn transform_map(&mut self, patch: u32, progress: impl FnMut(usize, usize)) -> Result<()> {
        let layout = Layout::new(&self.info, self.model.metres(), f64::from(patch), 0)?;
        if self.whole.as_ref().is_none_or(|w| w.manifest.layout != layout) {
            self.whole = Some(build(self.engine, self.model, &self.map, &layout, DenseDatabase::temporary(), progress)?);
        }
        Ok(())
    }

    fn anywhere(&mut self, queries: &[Query], hunt: &Hunt, progress: &mut dyn FnMut(usize, usize)) -> Result<Vec<Vec<Candidate>>> {
        self.transform_map(hunt.patch, |_, _| {})?;
        let whole = self.whole.as_ref().expect("just made");
        let layout = &whole.manifest.layout;
        let side = layout.query_side(f64::from(hunt.patch))?;
        let records = self.records(queries, layout, side, &hunt.variants)?;
        let matcher = Matcher::new(self.engine, whole, self.model, RESIDENT_BYTES)?;
        let config = SearchConfig { top: hunt.top, ..SearchConfig::default() };
        let mut cache = PageCache::new(self.engine, vec![self.sar.clone()], DEFAULT_PAGES)?;
        let mut search = matcher.prepare(&cache, side, taps(&records), self.batch, config)?;
        let found = search.run(&mut cache, &records, hunt.variants.len(), progress)?;
        let metres = self.info.ground_m() * layout.step;
        let calibration = self.model.calibration();
        Ok(found.iter().map(|m| candidates(m, &m.peaks, m.offsets, calibration, metres, layout.step)).collect())
    }

    fn nearby(&self, queries: &[Query], hunt: &Hunt, progress: &mut dyn FnMut(usize, usize)) -> Result<Vec<Vec<Candidate>>> {
        // Blocks that hold a patch wherever it may lie within reach of the middle, and some pixels for what rounding makes of it.
        let reach = (hunt.reach_px / self.step).ceil() as usize;
        let query = Layout::new(&self.info, self.model.metres(), f64::from(hunt.patch), 0)?.query;
        let block = (query + 2 * reach + 4).max(query + query / 2).next_power_of_two().clamp(64, 4096);
        let layout = Layout::new(&self.info, self.model.metres(), f64::from(hunt.patch), block)?;
        let side = layout.query_side(f64::from(hunt.patch))?;
        let metres = self.info.ground_m() * layout.step;
        let calibration = self.model.calibration();
        let mut cache = PageCache::new(self.engine, vec![self.sar.clone()], DEFAULT_PAGES)?;
        let mut out = vec![Vec::new(); queries.len()];
        // Neighbours together: they share pages of the map.
        let mut order: Vec<usize> = (0..queries.len()).collect();
        let place = |i: usize| queries[i].near.unwrap_or_default();
        let strip = block as f64 * layout.step;
        order.sort_by(|&i, &j| {
            let row = |i: usize| (place(i)[1] / strip).floor();
            row(i).total_cmp(&row(j)).then(place(i)[0].total_cmp(&place(j)[0]))
        });
        let mut done = 0;
        for group in order.chunks(GROUP) {
            let corner = |i: &usize| place(*i).map(|v| (v / layout.step - block as f64 / 2.0).round() as i32);
            let origins: Vec<[i32; 2]> = group.iter().map(corner).collect();
            let writer = DenseDatabase::temporary();
            let database = build_at(self.engine, self.model, &self.map, &self.info, &layout, &origins, writer, |_, _| {})?;
            let matcher = Matcher::new(self.engine, &database, self.model, RESIDENT_BYTES)?;
            let config = SearchConfig { top: PEAKS, ..SearchConfig::default() };
            let asked: Vec<Query> = group.iter().map(|&i| queries[i]).collect();
            let records = self.records(&asked, &layout, side, &hunt.variants)?;
            let mut search = matcher.prepare(&cache, side, taps(&records), self.batch, config)?;
            let found = search.run(&mut cache, &records, hunt.variants.len(), |_, _| {})?;
            let offsets = std::f64::consts::PI * (hunt.reach_px / layout.step).powi(2);
            for (&i, m) in group.iter().zip(&found) {
                let near = |p: &&Peak| (p.map_px[0] - place(i)[0]).hypot(p.map_px[1] - place(i)[1]) <= hunt.reach_px;
                let peaks: Vec<Peak> = m.peaks.iter().filter(near).copied().collect();
                out[i] = candidates(m, &peaks, offsets, calibration, metres, layout.step);
                out[i].truncate(hunt.top);
            }
            done += group.len();
            progress(done, queries.len());
        }
        Ok(out)
    }
}

/// Taps for the coarsest of some records.
fn taps(records: &[PatchRecord]) -> u32 {
    sampler::taps_for(records.iter().map(PatchRecord::scale).fold(0.0, f64::max))
}

/// Peaks among `offsets` places as candidates, best first.
fn candidates(m: &Match, peaks: &[Peak], offsets: f64, calibration: &Calibration, metres: f64, step: f64) -> Vec<Candidate> {
    let height = |p: Option<&Peak>| p.map_or(0.0, |p| (f64::from(p.score) - m.mean) / m.noise.max(1e-12));
    let one = |(rank, p): (usize, &Peak)| {
        let runner_up = height(peaks.get(if rank == 0 { 1 } else { 0 }));
        let [xx, xy, yy] = calibration.covariance(p, m.noise, metres);
        let worst = (xx + yy) / 2.0 + ((xx - yy) / 2.0).hypot(xy);
        Candidate {
            map_px: p.map_px,
            // Higher peaks are right more often, and so are first ones.
            credit: (height(Some(p)).max(0.1).powi(2) / (1.0 + rank as f64)).min(1e3),
            probability: calibration.probability(&Evidence { height: height(Some(p)), runner_up, offsets }),
            sigma_px: worst.max(0.0).sqrt() * step,
        }
    };
    peaks.iter().enumerate().map(one).collect()
}

impl Finder for DenseFinder<'_> {
    fn step_px(&self) -> f64 {
        self.step
    }

    fn pose(&mut self, frame: &Frame, config: &PoseConfig, progress: &mut dyn FnMut(usize, usize)) -> Result<Option<Pose>> {
        let poses = find_pose(self.engine, self.model, (&self.map, &self.info), (&self.sar, frame), config, progress);
        match poses {
            Ok(poses) => Ok(poses.into_iter().next()),
            // Too small or too empty for it: patches may still be found as the map lies.
            Err(e @ crate::Error::Invalid(_)) => {
                tracing::info!("{e}");
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn find(&mut self, queries: &[Query], hunt: &Hunt, progress: &mut dyn FnMut(usize, usize)) -> Result<Vec<Vec<Candidate>>> {
        match queries.first() {
            None => Ok(Vec::new()),
            Some(q) if q.near.is_none() => self.anywhere(queries, hunt, progress),
            Some(_) => self.nearby(queries, hunt, progress),
        }
    }
}

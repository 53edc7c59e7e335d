//! Patches against a dense database: batches of them against each shard, peaks put together.

use super::features::Extractor;
use super::matcher::{Matcher, fill, room};
use super::prepare::{Correlation, Normalisation, Outputs, PEAKS, Parts, batch_of, encoding};
use crate::gpu::{Plan, Readback, Tensor};
use crate::kernels::peaks::{NOWHERE, REFINED, TILE};
use crate::kernels::sampler::PatchRecord;
use crate::nn::Modality;
use crate::scene::PageCache;
use crate::{Error, Result};
use std::ops::Range;

/// How patches are searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchConfig {
    /// Peaks kept for each patch.
    pub top: usize,
    /// Peaks this close, feature pixels along both axes, are one.
    pub apart: usize,
    /// Share of a window that must have data.
    pub min_valid: f32,
    /// Keeps the highest score of each tile, for pictures.
    pub tiles: bool,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self { top: 10, apart: 10, min_valid: 0.75, tiles: false }
    }
}

/// A place where a patch fits well.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// Centre of the patch there, map pixels.
    pub map_px: [f64; 2],
    /// Normalised cross-correlation, -1..=1.
    pub score: f32,
    /// Minus the second derivatives of the score (xx, xy, yy), a square feature pixel.
    pub curvature: [f32; 3],
    /// Which of the patch's variants it was, where several were tried.
    pub variant: usize,
}

/// What became of a patch.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// Its peaks, highest first; none where no window of the map has enough data.
    pub peaks: Vec<Peak>,
    /// Mean of all scores.
    pub mean: f64,
    /// Their standard deviation.
    pub noise: f64,
    /// How many there were.
    pub offsets: f64,
    /// The highest score of each tile of [`TILE`](crate::kernels::peaks::TILE) feature pixels: centre (map pixels) and score; where asked for.
    pub tiles: Option<Vec<([f32; 2], f32)>>,
}

/// A prepared search: patches of one size from one set of images.
#[derive(Debug)]
pub struct Search<'m> {
    matcher: &'m Matcher<'m>,
    config: SearchConfig,
    patch: usize,
    batch: usize,
    extractor: Extractor,
    /// Sampler, features, transform of the patches.
    encode: Plan,
    /// Normalisation of each shard (or of the one that is streamed), to be run once (or each time).
    norms: Vec<Plan>,
    /// Correlation and peaks of each shard, or of the streamed one.
    plans: Vec<Plan>,
    staging: Option<[Tensor; 2]>,
    normalised: bool,
    outputs: Outputs,
}

impl<'d> Matcher<'d> {
    /// Prepares the search of patches of `patch` feature pixels from the images of `cache`, up to `batch` at once.
    ///
    /// # Errors
    /// A patch larger than the database was made for; the device.
    pub fn prepare(&self, cache: &PageCache, patch: usize, taps: u32, batch: usize, config: SearchConfig) -> Result<Search<'_>> {
        Search::new(self, cache, patch, taps, batch, config)
    }
}

impl<'m> Search<'m> {
    fn new(matcher: &'m Matcher<'m>, cache: &PageCache, patch: usize, taps: u32, batch: usize, config: SearchConfig) -> Result<Self> {
        let (engine, layout) = (matcher.engine(), &matcher.database().manifest.layout);
        if patch > layout.query || patch < 2 {
            return Err(Error::invalid(format!("patches of {patch} feature pixels in a database for {}", layout.query)));
        }
        let batch = batch_of(matcher, batch);
        let parts = Parts::new(matcher, patch, batch)?;
        let extractor = matcher.model().extractor(engine, Modality::Sar, batch, patch)?;
        let (encode, query) = encoding(&parts, cache, taps, &extractor)?;
        let outputs = Outputs::new(&parts)?;
        let normalisation = Normalisation::new(&parts, matcher.model().centres_windows(), config.min_valid)?;
        let correlation = Correlation::new(&parts, query, config.apart)?;
        let streamed = matcher.shards.iter().any(|s| s.resident.is_none());
        let staging = if streamed { Some(room(engine, matcher.database(), matcher.width)?) } else { None };
        let slots: Vec<&[Tensor; 2]> = match &staging {
            Some(s) => vec![s],
            None => matcher.shards.iter().filter_map(|s| s.resident.as_ref()).collect(),
        };
        let (mut norms, mut plans) = (Vec::new(), Vec::new());
        for [map, planes] in slots {
            let norm = parts.surface("norm", 1)?;
            norms.push(normalisation.plan(&parts, map, planes, &norm)?);
            plans.push(correlation.plan(&parts, map, &norm, &outputs)?);
        }
        Ok(Self { matcher, config, patch, batch, extractor, encode, norms, plans, staging, normalised: false, outputs })
    }

    /// Side of the patches, feature pixels.
    pub fn patch(&self) -> usize {
        self.patch
    }

    /// Bytes that the kernels read and write at least for a patch of a full batch, each element of a tensor once; what a shard's normalisation
    /// takes is not among them.
    pub fn bytes_a_patch(&self) -> f64 {
        // One plan a shard, or one for all that are streamed.
        let plans = self.plans.iter().cycle().take(self.matcher.shards.len());
        (self.encode.bytes() + plans.map(Plan::bytes).sum::<f64>()) / self.batch as f64
    }

    /// Finds each patch. `variants` records in a row are the same patch, tried in several ways: the best counts. `progress(done, total)` counts
    /// parts of the map (shards), once for each batch of patches.
    ///
    /// # Errors
    /// Records that are no whole number of patches; reading, the device.
    pub fn run(
        &mut self,
        cache: &mut PageCache,
        records: &[PatchRecord],
        variants: usize,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Vec<Match>> {
        if variants == 0 || !records.len().is_multiple_of(variants) {
            return Err(Error::invalid(format!("{} records are no whole number of patches of {variants} variants", records.len())));
        }
        let mut single: Vec<Match> = Vec::with_capacity(records.len());
        let shards = self.matcher.shards.len();
        let total = records.len().div_ceil(self.batch) * shards;
        progress(0, total);
        for (i, chunk) in records.chunks(self.batch).enumerate() {
            let found = self.batch(cache, chunk, |done| progress(i * shards + done, total))?;
            single.extend(found);
        }
        let mut out = Vec::with_capacity(single.len() / variants);
        let mut rest = single.into_iter();
        for _ in 0..records.len() / variants {
            out.push(self.merge(rest.by_ref().take(variants).collect()));
        }
        Ok(out)
    }

    /// One batch of patches against every shard. `searched` is told how many are done.
    fn batch(&mut self, cache: &mut PageCache, records: &[PatchRecord], mut searched: impl FnMut(usize)) -> Result<Vec<Match>> {
        let engine = self.matcher.engine();
        cache.require(engine, records, self.extractor.input)?;
        let mut words = records.to_vec();
        words.resize(self.batch, PatchRecord::empty());
        engine.write(&self.extractor.records, &words)?;
        self.encode.submit(engine)?;
        let mut found: Vec<Partial> = vec![Partial::default(); records.len()];
        let mut flight = None;
        let o = &self.outputs;
        for (i, shard) in self.matcher.shards.iter().enumerate() {
            let slot = match &self.staging {
                Some(staging) => {
                    fill(engine, self.matcher.database(), &shard.blocks, staging)?;
                    self.norms[0].submit(engine)?;
                    0
                }
                None => {
                    if !self.normalised {
                        self.norms[i].submit(engine)?;
                    }
                    i
                }
            };
            self.plans[slot].submit(engine)?;
            let next = InFlight {
                blocks: shard.blocks.clone(),
                sums: engine.start_read(&o.sums)?,
                refined: engine.start_read(&o.refined)?,
                places: engine.start_read(&o.places)?,
                tiles: if self.config.tiles { Some([engine.start_read(&o.best)?, engine.start_read(&o.at)?]) } else { None },
            };
            if let Some(done) = flight.replace(next) {
                self.collect(done, &mut found)?;
                searched(i);
            }
        }
        self.normalised = self.staging.is_none();
        flight.map_or(Ok(()), |last| self.collect(last, &mut found))?;
        searched(self.matcher.shards.len());
        Ok(found.into_iter().map(|f| self.merge(vec![f.finish(self.config.tiles)])).collect())
    }

    /// Waits for what a shard says of each patch, and puts it to what the others said.
    fn collect(&self, done: InFlight, found: &mut [Partial]) -> Result<()> {
        let engine = self.matcher.engine();
        let (sums, refined): (Vec<f32>, Vec<f32>) = (done.sums.finish(engine)?, done.refined.finish(engine)?);
        let places: Vec<u32> = done.places.finish(engine)?;
        let rows = |q: usize| done.blocks.clone().enumerate().map(move |(w, block)| (q * self.matcher.width + w, block));
        for (q, partial) in found.iter_mut().enumerate() {
            for (row, block) in rows(q) {
                partial.sums.iter_mut().zip(&sums[row * 3..][..3]).for_each(|(s, v)| *s += f64::from(*v));
                let peaks = places[row * PEAKS..][..PEAKS].iter().zip(refined[row * PEAKS * REFINED..].chunks_exact(REFINED));
                partial.peaks.extend(peaks.filter(|(place, _)| **place != NOWHERE).map(|(place, r)| Peak {
                    map_px: self.centre(block, *place, [f64::from(r[1]), f64::from(r[0])]),
                    score: r[2],
                    curvature: [-r[4], -r[5], -r[3]],
                    variant: 0,
                }));
            }
        }
        let Some([best, places]) = done.tiles else { return Ok(()) };
        let (best, places): (Vec<f32>, Vec<u32>) = (best.finish(engine)?, places.finish(engine)?);
        let each = self.matcher.database().manifest.layout.offsets().div_ceil(TILE).pow(2);
        for (q, partial) in found.iter_mut().enumerate() {
            for (row, block) in rows(q) {
                let tiles = best[row * each..][..each].iter().zip(&places[row * each..][..each]);
                let centre = |place: u32| self.centre(block, place, [0.0; 2]).map(|v| v as f32);
                partial.tiles.extend(tiles.filter(|(_, place)| **place != NOWHERE).map(|(score, place)| (centre(*place), *score)));
            }
        }
        Ok(())
    }

    /// Centre of the patch at an offset of a block and this much beside it, map pixels.
    fn centre(&self, block: usize, place: u32, beside: [f64; 2]) -> [f64; 2] {
        let database = self.matcher.database();
        let (layout, origin) = (&database.manifest.layout, database.origins[block]);
        let v = layout.offsets() as u32;
        let (x, y) = (f64::from(place % v) + beside[0], f64::from(place / v) + beside[1]);
        let half = self.patch as f64 / 2.0;
        layout.to_map([f64::from(origin[0]) + x + half, f64::from(origin[1]) + y + half])
    }

    /// The best peaks of some matches of one patch, none closer to a higher one than `apart`.
    fn merge(&self, mut all: Vec<Match>) -> Match {
        let apart = self.config.apart as f64 * self.matcher.database().manifest.layout.step;
        let mut peaks: Vec<Peak> =
            all.iter().enumerate().flat_map(|(i, m)| m.peaks.iter().map(move |p| Peak { variant: i.max(p.variant), ..*p })).collect();
        peaks.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut kept: Vec<Peak> = Vec::new();
        for p in peaks {
            if kept.len() == self.config.top {
                break;
            }
            if kept.iter().all(|k| (0..2).any(|d| (k.map_px[d] - p.map_px[d]).abs() > apart)) {
                kept.push(p);
            }
        }
        let best = kept.first().map_or(0, |p| p.variant.min(all.len() - 1));
        let offsets = all.iter().map(|m| m.offsets).sum();
        let chosen = all.swap_remove(best);
        Match { peaks: kept, offsets, ..chosen }
    }
}

/// What a shard says of a batch, on its way back.
struct InFlight {
    blocks: Range<usize>,
    sums: Readback,
    refined: Readback,
    places: Readback,
    /// The highest scores of tiles and where they are, where asked for.
    tiles: Option<[Readback; 2]>,
}

/// What the shards so far have said of a patch.
#[derive(Debug, Clone, Default)]
struct Partial {
    /// Count, sum, sum of squares.
    sums: [f64; 3],
    peaks: Vec<Peak>,
    tiles: Vec<([f32; 2], f32)>,
}

impl Partial {
    fn finish(self, tiles: bool) -> Match {
        let [n, sum, squares] = self.sums;
        let mean = sum / n.max(1.0);
        let noise = (squares / n.max(1.0) - mean * mean).max(0.0).sqrt();
        Match { peaks: self.peaks, mean, noise, offsets: n, tiles: tiles.then_some(self.tiles) }
    }
}

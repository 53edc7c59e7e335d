//! Patches against a dense database: correlation by overlap-save, normalisation, peaks.

use super::features::{DenseModel, Extractor};
use super::store::DenseDatabase;
use crate::gpu::{DType, Engine, Plan, PlanBuilder, Tensor};
use crate::kernels::peaks::{self, NOWHERE, REFINED, TILE};
use crate::kernels::sampler::{self, PatchRecord};
use crate::kernels::{fft, spectrum};
use crate::nn::Modality;
use crate::scene::PageCache;
use crate::{Error, Result};
use std::ops::Range;

/// Least energy a valid pixel of a window, of features of unit length less a mean: below, a window is flat but for rounding.
const MIN_ENERGY: f32 = 1e-4;
/// Channels whose means are found at once.
const MEANS: usize = 4;
/// Peaks kept a block.
const PEAKS: usize = 4;
/// Complex surface values of one dispatch, bytes at most: queries times blocks.
const SURFACE_BYTES: usize = 96 << 20;
/// Bytes of a shard's spectra at most.
const SHARD_BYTES: usize = 96 << 20;

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

/// Blocks that are searched in one dispatch.
#[derive(Debug)]
struct Shard {
    blocks: Range<usize>,
    /// Their spectra and planes, where they stay on the device.
    resident: Option<[Tensor; 2]>,
}

/// A dense database ready to be searched.
#[derive(Debug)]
pub struct Matcher<'d> {
    engine: &'d Engine,
    database: &'d DenseDatabase,
    model: &'d DenseModel,
    shards: Vec<Shard>,
    /// Blocks a shard; the last is filled up with blocks without data.
    width: usize,
}

impl<'d> Matcher<'d> {
    /// Uploads the spectra, if they take at most `resident_bytes`; else each search streams them.
    ///
    /// # Errors
    /// A database of other features; device memory.
    pub fn new(engine: &'d Engine, database: &'d DenseDatabase, model: &'d DenseModel, resident_bytes: u64) -> Result<Self> {
        database.check_model(model.name(), model.hash())?;
        let block = database.spectra(0..1).len();
        let most = (SHARD_BYTES.min(engine.caps().max_binding as usize) / block).max(2);
        let width = (most / 2 * 2).min(database.len().next_multiple_of(2));
        let total = (database.len() * (block + database.planes(0..1).len())) as u64;
        let mut shards = Vec::new();
        for start in (0..database.len()).step_by(width) {
            let blocks = start..(start + width).min(database.len());
            let resident = match total <= resident_bytes {
                true => {
                    let shard = Self::room(engine, database, width)?;
                    fill(engine, database, &blocks, &shard)?;
                    Some(shard)
                }
                false => None,
            };
            shards.push(Shard { blocks, resident });
        }
        Ok(Self { engine, database, model, shards, width })
    }

    fn room(engine: &Engine, database: &DenseDatabase, width: usize) -> Result<[Tensor; 2]> {
        let n = database.manifest.layout.side;
        let tensor = |name, channels| engine.tensor(name, &[width, n / 2 + 1, n, channels, 2], DType::F16);
        Ok([tensor("map spectra", database.manifest.channels)?, tensor("map planes", 2)?])
    }

    /// The database.
    pub fn database(&self) -> &'d DenseDatabase {
        self.database
    }

    /// The features.
    pub fn model(&self) -> &'d DenseModel {
        self.model
    }

    /// The engine.
    pub fn engine(&self) -> &'d Engine {
        self.engine
    }

    /// Prepares the search of patches of `patch` feature pixels from the images of `cache`, up to `batch` at once.
    ///
    /// # Errors
    /// A patch larger than the database was made for; the device.
    pub fn prepare(&self, cache: &PageCache, patch: usize, taps: u32, batch: usize, config: SearchConfig) -> Result<Search<'_>> {
        Search::new(self, cache, patch, taps, batch, config)
    }
}

fn fill(engine: &Engine, database: &DenseDatabase, blocks: &Range<usize>, shard: &[Tensor; 2]) -> Result<()> {
    // What lies beyond the last block keeps what it held: its norm says that it has no data.
    engine.write_front(&shard[0], database.spectra(blocks.clone()))?;
    engine.write_front(&shard[1], database.planes(blocks.clone()))?;
    Ok(())
}

/// Tensors that shards take turns to use.
#[derive(Debug)]
struct Outputs {
    best: Tensor,
    at: Tensor,
    sums: Tensor,
    scores: Tensor,
    places: Tensor,
    refined: Tensor,
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

impl<'m> Search<'m> {
    fn new(matcher: &'m Matcher<'m>, cache: &PageCache, patch: usize, taps: u32, batch: usize, config: SearchConfig) -> Result<Self> {
        let (engine, layout) = (matcher.engine, &matcher.database.manifest.layout);
        let (n, width, channels) = (layout.side, matcher.width, matcher.model.channels());
        if patch > layout.query || patch < 2 {
            return Err(Error::invalid(format!("patches of {patch} feature pixels in a database for {}", layout.query)));
        }
        let (half, v) = (n / 2 + 1, layout.offsets());
        // The patches' spectra take as much as the surfaces of so many blocks as there are channels.
        let batch = batch.clamp(1, (SURFACE_BYTES / (half * n * width.max(channels) * 8)).max(1));
        let scratch = fft::Scratch::new(engine, [n, n], width.max(channels), batch)?;
        let extractor = matcher.model.extractor(engine, Modality::Sar, batch, patch)?;
        let mut builder = PlanBuilder::new(engine);
        sampler::forward(&mut builder, cache.array(), cache.table(), &extractor.records, taps, false, &extractor.patches)?;
        let mut encode = builder.finish();
        encode.extend(extractor.plan.clone());
        let query = engine.tensor("query spectra", &[batch, half, n, channels, 2], DType::F32)?;
        let mut builder = PlanBuilder::new(engine);
        // The database's spectra carry 1/N; with this one's the product's inverse needs no factor.
        let scale = 1.0 / n as f32;
        fft::forward_with(&mut builder, &scratch, &extractor.features, &query, scale)?;
        encode.extend(builder.finish());

        let ones = vec![1.0f32; patch * patch];
        let window = |plane: usize| -> Result<Tensor> {
            let values: Vec<f32> = ones.iter().flat_map(|v| if plane == 0 { [*v, 0.0] } else { [0.0, *v] }).collect();
            let image = engine.upload_f32("window", &[1, patch, patch, 2], &values)?;
            let spectrum = engine.tensor("window spectrum", &[1, half, n, 2, 2], DType::F32)?;
            let mut builder = PlanBuilder::new(engine);
            fft::forward_with(&mut builder, &scratch, &image, &spectrum, scale)?;
            builder.finish().submit(engine)?;
            Ok(spectrum)
        };
        let windows = [window(0)?, window(1)?];
        // A window of one channel each, some channels at a time.
        let group = channels.min(MEANS);
        let mut channel_windows = Vec::new();
        let centred = if matcher.model.centres_windows() { channels } else { 0 };
        for first in (0..centred).step_by(group) {
            let count = group.min(channels - first);
            let mut values = vec![0.0f32; count * patch * patch * channels];
            for (i, image) in values.chunks_exact_mut(patch * patch * channels).enumerate() {
                image.chunks_exact_mut(channels).for_each(|pixel| pixel[first + i] = 1.0);
            }
            let image = engine.upload_f32("channel windows", &[count, patch, patch, channels], &values)?;
            let spectrum = engine.tensor("channel window spectra", &[count, half, n, channels, 2], DType::F32)?;
            let mut builder = PlanBuilder::new(engine);
            fft::forward_with(&mut builder, &scratch, &image, &spectrum, scale)?;
            builder.finish().submit(engine)?;
            channel_windows.push(spectrum);
        }
        let product = engine.tensor("product", &[batch, half, n, width, 2], DType::F32)?;
        let surface = engine.tensor("surface", &[batch, v, v, width], DType::F32)?;
        let (single, energy, valid) = {
            let plane = |name| engine.tensor(name, &[1, v, v, width], DType::F32);
            (engine.tensor("window product", &[1, half, n, width, 2], DType::F32)?, plane("energy")?, plane("validity")?)
        };
        let tiles = v.div_ceil(TILE);
        let outputs = Outputs {
            best: engine.tensor("tile scores", &[batch, width, tiles, tiles], DType::F32)?,
            at: engine.tensor("tile places", &[batch, width, tiles, tiles], DType::U32)?,
            sums: engine.tensor("score sums", &[batch, width, 3], DType::F32)?,
            scores: engine.tensor("peak scores", &[batch, width, PEAKS], DType::F32)?,
            places: engine.tensor("peak places", &[batch, width, PEAKS], DType::U32)?,
            refined: engine.tensor("refined peaks", &[batch, width, PEAKS, REFINED], DType::F32)?,
        };
        let scales = engine.upload_f32("scales", &[batch], &vec![1.0; batch])?;
        let count = engine.upload_f32("valid pixels", &[1], &[(patch * patch) as f32])?;
        let streamed = matcher.shards.iter().any(|s| s.resident.is_none());
        let staging = if streamed { Some(Matcher::room(engine, matcher.database, width)?) } else { None };
        let mut rooms: Vec<(Tensor, Tensor)> = Vec::new();
        let mut channel_room = |count: usize| -> Result<(Tensor, Tensor)> {
            if let Some((p, s)) = rooms.iter().find(|(p, _)| p.shape()[0] == count) {
                return Ok((p.clone(), s.clone()));
            }
            let product = engine.tensor("channel products", &[count, half, n, width, 2], DType::F32)?;
            let sums = engine.tensor("channel sums", &[count, v, v, width], DType::F32)?;
            rooms.push((product.clone(), sums.clone()));
            Ok((product, sums))
        };
        let (mut norms, mut plans) = (Vec::new(), Vec::new());
        let slots: Vec<&[Tensor; 2]> = match &staging {
            Some(s) => vec![s],
            None => matcher.shards.iter().filter_map(|s| s.resident.as_ref()).collect(),
        };
        for [map, planes] in slots {
            let norm = engine.tensor("norm", &[1, v, v, width], DType::F32)?;
            let mut builder = PlanBuilder::new(engine);
            for (window, out) in windows.iter().zip([&energy, &valid]) {
                spectrum::correlate(&mut builder, window, planes, &single)?;
                fft::inverse_with(&mut builder, &scratch, &single, out, 1.0)?;
            }
            for window in &channel_windows {
                let count = window.shape()[0];
                let (product, sums) = channel_room(count)?;
                spectrum::correlate(&mut builder, window, map, &product)?;
                fft::inverse_with(&mut builder, &scratch, &product, &sums, 1.0)?;
                peaks::remove_means(&mut builder, &sums, &valid, &energy)?;
            }
            peaks::inverse_norm(&mut builder, &energy, &valid, &count, config.min_valid, MIN_ENERGY, &norm)?;
            norms.push(builder.finish());
            let mut builder = PlanBuilder::new(engine);
            spectrum::correlate(&mut builder, &query, map, &product)?;
            fft::inverse_with(&mut builder, &scratch, &product, &surface, 1.0)?;
            peaks::tiles(&mut builder, &surface, &norm, &scales, &outputs.best, &outputs.at, &outputs.sums)?;
            peaks::select(&mut builder, &outputs.best, &outputs.at, v, config.apart, &outputs.scores, &outputs.places)?;
            peaks::refine(&mut builder, &surface, &norm, &scales, &outputs.places, &outputs.refined)?;
            plans.push(builder.finish());
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
        let engine = self.matcher.engine;
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
                    fill(engine, self.matcher.database, &shard.blocks, staging)?;
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
            let reads = [&o.sums, &o.refined].map(|t| engine.start_read(t));
            let tiles = if self.config.tiles { Some([engine.start_read(&o.best)?, engine.start_read(&o.at)?]) } else { None };
            let [sums, refined] = reads;
            let next = (shard.blocks.clone(), sums?, refined?, engine.start_read(&o.places)?, tiles);
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

    fn collect(&self, done: InFlight, found: &mut [Partial]) -> Result<()> {
        let engine = self.matcher.engine;
        let (blocks, sums, refined, peaks, tiles) = done;
        let (sums, refined): (Vec<f32>, Vec<f32>) = (sums.finish(engine)?, refined.finish(engine)?);
        let at: Vec<u32> = peaks.finish(engine)?;
        let (layout, width) = (&self.matcher.database.manifest.layout, self.matcher.width);
        let v = layout.offsets();
        let centre = |block: usize, x: f64, y: f64| {
            let origin = self.matcher.database.origins[block];
            let half = self.patch as f64 / 2.0;
            layout.to_map([f64::from(origin[0]) + x + half, f64::from(origin[1]) + y + half])
        };
        for (q, partial) in found.iter_mut().enumerate() {
            for (w, block) in blocks.clone().enumerate() {
                let row = q * width + w;
                for (s, v) in partial.sums.iter_mut().zip(&sums[row * 3..][..3]) {
                    *s += f64::from(*v);
                }
                for k in 0..PEAKS {
                    let place = at[row * PEAKS + k];
                    if place == NOWHERE {
                        continue;
                    }
                    let r = &refined[(row * PEAKS + k) * REFINED..][..REFINED];
                    let (x, y) = (f64::from(place % v as u32), f64::from(place / v as u32));
                    partial.peaks.push(Peak {
                        map_px: centre(block, x + f64::from(r[1]), y + f64::from(r[0])),
                        score: r[2],
                        curvature: [-r[4], -r[5], -r[3]],
                        variant: 0,
                    });
                }
            }
        }
        if let Some([best, places]) = tiles {
            let (best, places): (Vec<f32>, Vec<u32>) = (best.finish(engine)?, places.finish(engine)?);
            let each = v.div_ceil(TILE).pow(2);
            for (q, partial) in found.iter_mut().enumerate() {
                for (w, block) in blocks.clone().enumerate() {
                    let row = (q * width + w) * each;
                    for (score, place) in best[row..row + each].iter().zip(&places[row..row + each]) {
                        if *place != NOWHERE {
                            let p = centre(block, f64::from(place % v as u32), f64::from(place / v as u32));
                            partial.tiles.push((p.map(|v| v as f32), *score));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The best peaks of some matches of one patch, none closer to a higher one than `apart`.
    fn merge(&self, mut all: Vec<Match>) -> Match {
        let apart = self.config.apart as f64 * self.matcher.database.manifest.layout.step;
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

type InFlight = (Range<usize>, crate::gpu::Readback, crate::gpu::Readback, crate::gpu::Readback, Option<[crate::gpu::Readback; 2]>);

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

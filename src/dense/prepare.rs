//! What a search is made of: the transform of the patches, the windows that find each offset's energy and its share of data, the plans of
//! a shard.

use super::features::Extractor;
use super::matcher::Matcher;
use crate::Result;
use crate::gpu::{DType, Engine, Plan, PlanBuilder, Tensor};
use crate::kernels::peaks::{self, REFINED, TILE};
use crate::kernels::{fft, sampler, spectrum};
use crate::scene::PageCache;

/// Least energy a valid pixel of a window, of features of unit length less a mean: below, a window is flat but for rounding.
const MIN_ENERGY: f32 = 1e-4;
/// Channels whose means are found at once.
const MEANS: usize = 4;
/// Peaks kept a block.
pub(super) const PEAKS: usize = 4;
/// Complex surface values of one dispatch, bytes at most: queries times blocks.
const SURFACE_BYTES: usize = 96 << 20;

/// How many of `batch` patches go through at once.
pub(super) fn batch_of(matcher: &Matcher<'_>, batch: usize) -> usize {
    let n = matcher.database().manifest.layout.side;
    // The patches' spectra take as much as the surfaces of so many blocks as there are channels.
    batch.clamp(1, (SURFACE_BYTES / ((n / 2 + 1) * n * matcher.width.max(matcher.model().channels()) * 8)).max(1))
}

/// What all parts of a search share: sizes, and the scratch of the transforms.
pub(super) struct Parts<'e> {
    engine: &'e Engine,
    scratch: fft::Scratch,
    /// Side of a block, and rows of half its spectrum.
    side: usize,
    half: usize,
    /// Offsets along an axis.
    offsets: usize,
    /// Blocks a shard.
    width: usize,
    channels: usize,
    patch: usize,
    batch: usize,
}

impl<'e> Parts<'e> {
    pub(super) fn new(matcher: &Matcher<'e>, patch: usize, batch: usize) -> Result<Self> {
        let (engine, layout) = (matcher.engine(), &matcher.database().manifest.layout);
        let (side, width, channels) = (layout.side, matcher.width, matcher.model().channels());
        let scratch = fft::Scratch::new(engine, [side, side], width.max(channels), batch)?;
        Ok(Self { engine, scratch, side, half: side / 2 + 1, offsets: layout.offsets(), width, channels, patch, batch })
    }

    /// `count` half spectra of `channels` channels, or blocks.
    fn spectra(&self, name: &str, count: usize, channels: usize) -> Result<Tensor> {
        Ok(self.engine.tensor(name, &[count, self.half, self.side, channels, 2], DType::F32)?)
    }

    /// `count` values for each offset of a shard.
    pub(super) fn surface(&self, name: &str, count: usize) -> Result<Tensor> {
        Ok(self.engine.tensor(name, &[count, self.offsets, self.offsets, self.width], DType::F32)?)
    }

    /// Appends the transform of images. The database's spectra carry 1/N; with this one's the product's inverse needs no factor.
    fn transform(&self, builder: &mut PlanBuilder<'_>, images: &Tensor, spectra: &Tensor) -> Result<()> {
        Ok(fft::forward_with(builder, &self.scratch, images, spectra, 1.0 / self.side as f32)?)
    }

    /// Appends a product with a shard's spectra, and its way back to offsets.
    fn correlate(&self, builder: &mut PlanBuilder<'_>, query: &Tensor, map: &Tensor, product: &Tensor, surface: &Tensor) -> Result<()> {
        spectrum::correlate(builder, query, map, product)?;
        Ok(fft::inverse_with(builder, &self.scratch, product, surface, 1.0)?)
    }

    /// The spectra of `count` windows of a patch's size whose pixels are what `pixel` puts into zeros, transformed at once.
    fn windows(&self, name: &str, count: usize, channels: usize, pixel: impl Fn(usize, &mut [f32])) -> Result<Tensor> {
        let area = self.patch * self.patch;
        let mut values = vec![0.0f32; count * area * channels];
        for (i, window) in values.chunks_exact_mut(area * channels).enumerate() {
            window.chunks_exact_mut(channels).for_each(|p| pixel(i, p));
        }
        let image = self.engine.upload_f32(name, &[count, self.patch, self.patch, channels], &values)?;
        let spectra = self.spectra(name, count, channels)?;
        let mut builder = PlanBuilder::new(self.engine);
        self.transform(&mut builder, &image, &spectra)?;
        builder.finish().submit(self.engine)?;
        Ok(spectra)
    }
}

/// Sampler, features and transform of the patches, and the spectra that come out.
pub(super) fn encoding(parts: &Parts<'_>, cache: &PageCache, taps: u32, extractor: &Extractor) -> Result<(Plan, Tensor)> {
    let mut builder = PlanBuilder::new(parts.engine);
    sampler::forward(&mut builder, cache.array(), cache.table(), &extractor.records, taps, false, &extractor.patches)?;
    let mut encode = builder.finish();
    encode.extend(extractor.plan.clone());
    let query = parts.spectra("query spectra", parts.batch, parts.channels)?;
    let mut builder = PlanBuilder::new(parts.engine);
    parts.transform(&mut builder, &extractor.features, &query)?;
    encode.extend(builder.finish());
    Ok((encode, query))
}

/// Tensors that shards take turns to use.
#[derive(Debug)]
pub(super) struct Outputs {
    pub(super) best: Tensor,
    pub(super) at: Tensor,
    pub(super) sums: Tensor,
    pub(super) scores: Tensor,
    pub(super) places: Tensor,
    pub(super) refined: Tensor,
}

impl Outputs {
    pub(super) fn new(parts: &Parts<'_>) -> Result<Self> {
        let &Parts { engine, batch, width, .. } = parts;
        let tiles = parts.offsets.div_ceil(TILE);
        Ok(Self {
            best: engine.tensor("tile scores", &[batch, width, tiles, tiles], DType::F32)?,
            at: engine.tensor("tile places", &[batch, width, tiles, tiles], DType::U32)?,
            sums: engine.tensor("score sums", &[batch, width, 3], DType::F32)?,
            scores: engine.tensor("peak scores", &[batch, width, PEAKS], DType::F32)?,
            places: engine.tensor("peak places", &[batch, width, PEAKS], DType::U32)?,
            refined: engine.tensor("refined peaks", &[batch, width, PEAKS, REFINED], DType::F32)?,
        })
    }
}

/// What the correlation is divided by: of each offset's window the energy, without each channel's mean where features want it, and whether it
/// has data enough.
pub(super) struct Normalisation {
    /// A window over either of the map's planes: energy and validity.
    planes: [Tensor; 2],
    /// A window of one channel each, some channels at a time; none where means stay.
    channels: Vec<Tensor>,
    /// Product and sums of so many channels, which all shards share.
    rooms: Vec<(Tensor, Tensor)>,
    product: Tensor,
    energy: Tensor,
    valid: Tensor,
    /// Pixels of a patch.
    count: Tensor,
    min_valid: f32,
}

impl Normalisation {
    pub(super) fn new(parts: &Parts<'_>, centred: bool, min_valid: f32) -> Result<Self> {
        let window = |plane: usize| parts.windows("window", 1, 2, |_, pixel| pixel[plane] = 1.0);
        let planes = [window(0)?, window(1)?];
        let (group, all) = (parts.channels.min(MEANS), if centred { parts.channels } else { 0 });
        let (mut channels, mut rooms) = (Vec::new(), Vec::<(Tensor, Tensor)>::new());
        for first in (0..all).step_by(group) {
            let count = group.min(parts.channels - first);
            channels.push(parts.windows("channel windows", count, parts.channels, |i, pixel| pixel[first + i] = 1.0)?);
            if rooms.iter().all(|(p, _)| p.shape()[0] != count) {
                rooms.push((parts.spectra("channel products", count, parts.width)?, parts.surface("channel sums", count)?));
            }
        }
        Ok(Self {
            planes,
            channels,
            rooms,
            product: parts.spectra("window product", 1, parts.width)?,
            energy: parts.surface("energy", 1)?,
            valid: parts.surface("validity", 1)?,
            count: parts.engine.upload_f32("valid pixels", &[1], &[(parts.patch * parts.patch) as f32])?,
            min_valid,
        })
    }

    /// The plan that writes a shard's factors to `norm`.
    pub(super) fn plan(&self, parts: &Parts<'_>, map: &Tensor, planes: &Tensor, norm: &Tensor) -> Result<Plan> {
        let mut builder = PlanBuilder::new(parts.engine);
        for (window, out) in self.planes.iter().zip([&self.energy, &self.valid]) {
            parts.correlate(&mut builder, window, planes, &self.product, out)?;
        }
        for window in &self.channels {
            let room = self.rooms.iter().find(|(p, _)| p.shape()[0] == window.shape()[0]);
            let (product, sums) = room.expect("made with the windows");
            parts.correlate(&mut builder, window, map, product, sums)?;
            peaks::remove_means(&mut builder, sums, &self.valid, &self.energy)?;
        }
        peaks::inverse_norm(&mut builder, &self.energy, &self.valid, &self.count, self.min_valid, MIN_ENERGY, norm)?;
        Ok(builder.finish())
    }
}

/// The patches against a shard.
pub(super) struct Correlation {
    query: Tensor,
    product: Tensor,
    surface: Tensor,
    scales: Tensor,
    apart: usize,
}

impl Correlation {
    pub(super) fn new(parts: &Parts<'_>, query: Tensor, apart: usize) -> Result<Self> {
        Ok(Self {
            query,
            product: parts.spectra("product", parts.batch, parts.width)?,
            surface: parts.surface("surface", parts.batch)?,
            scales: parts.engine.upload_f32("scales", &[parts.batch], &vec![1.0; parts.batch])?,
            apart,
        })
    }

    /// The plan that finds a shard's peaks, normalised by `norm`.
    pub(super) fn plan(&self, parts: &Parts<'_>, map: &Tensor, norm: &Tensor, o: &Outputs) -> Result<Plan> {
        let mut builder = PlanBuilder::new(parts.engine);
        parts.correlate(&mut builder, &self.query, map, &self.product, &self.surface)?;
        peaks::tiles(&mut builder, &self.surface, norm, &self.scales, &o.best, &o.at, &o.sums)?;
        peaks::select(&mut builder, &o.best, &o.at, parts.offsets, self.apart, &o.scores, &o.places)?;
        peaks::refine(&mut builder, &self.surface, norm, &self.scales, &o.places, &o.refined)?;
        Ok(builder.finish())
    }
}

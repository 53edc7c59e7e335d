//! A detector at work: images of any size to boxes.

use super::boxes::BBox;
use super::dataset::Detection;
use super::heads::{Candidate, Described, Heads};
use super::letterbox::Letterbox;
use super::tiles::{Merge, Tile, cover};
use crate::gpu::{DType, Engine, Plan, PlanBuilder, Tensor};
use crate::kernels::nms::{self, Nms};
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::{DetectorConfig, DetectorFile, Weights};
use crate::scene::{Image, PageCache};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The shipped detector of ships.
const SHIPPED: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/ships.safetensors"));

/// Detections of an image that figures count, as COCO has it.
pub const MAX_DETECTIONS: usize = 100;

/// What counts as a detection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectOptions {
    /// Least score, 0 to 1.
    pub score: f64,
    /// Boxes of one class that overlap by more are one: the surest stays. Of neighbouring tiles a half is enough.
    pub iou: f64,
    /// Detections of an image at most; of one that is searched by tiles, of each tile.
    pub most: usize,
    /// Side of the tiles that large images are searched by, pixels; that of the detector's training images where it is none.
    pub tile: Option<u32>,
}

impl Default for DetectOptions {
    /// For figures: whatever the detector may mean.
    fn default() -> Self {
        Self { score: 0.01, iou: 0.45, most: MAX_DETECTIONS, tile: None }
    }
}

/// An image whose longer side is up to this many tiles' is searched whole: it is shown no smaller than many in training.
const WHOLE: f64 = 1.5;
/// Tiles overlap by this share of their side, so that what a border cuts is whole in a neighbour unless it is longer.
const OVERLAP: f64 = 0.25;
/// Inputs that go through the network at once, at most.
pub(crate) const BATCH: usize = 8;
/// Candidates of an input that may suppress each other, the surest ones.
const CANDIDATES: usize = 1024;
/// Pages of images on the device at most.
const PAGES: u32 = 128;

/// A detector on a device.
pub struct Detector<'e> {
    engine: &'e Engine,
    config: DetectorConfig,
    network: Heads,
    records: Tensor,
    /// Boxes, scores and classes of candidates.
    candidates: [Tensor; 3],
}

impl std::fmt::Debug for Detector<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What one input shows.
struct View {
    /// Number of the image.
    image: usize,
    tile: Tile,
}

impl View {
    /// How the tile fits the input.
    fn letterbox(&self, input: usize) -> Letterbox {
        Letterbox::new([self.tile.width, self.tile.height], input as u32)
    }

    /// Image pixels for one of the input.
    fn scale(&self, input: usize) -> f64 {
        1.0 / self.letterbox(input).scale
    }

    /// Taps a side that the sampler cuts it with.
    fn taps(&self, input: usize) -> u32 {
        sampler::taps_for(self.scale(input))
    }

    fn record(&self, input: usize) -> Result<PatchRecord> {
        let Tile { x, y, width, height } = self.tile;
        let middle = [f64::from(x) + f64::from(width) / 2.0, f64::from(y) + f64::from(height) / 2.0];
        Ok(PatchRecord::new(self.image as u32, middle, self.scale(input), 0.0, false, input)?)
    }

    /// A candidate in pixels of the tile, cut at its borders; none where nothing of it is inside.
    fn placed(&self, c: &Candidate, input: usize) -> Option<Detection> {
        let bbox = self.letterbox(input).back(&BBox::from_corners(c.corners.map(f64::from)));
        let bbox = bbox.clip([self.tile.width, self.tile.height].map(f64::from))?;
        Some(Detection { bbox, score: f64::from(c.score), category: c.class as usize })
    }
}

impl<'e> Detector<'e> {
    /// A detector's file, or the shipped one where no path is given, and what it is called.
    ///
    /// # Errors
    /// A file that cannot be read or holds no detector. A checkpoint counts as the detector it would become.
    pub fn file_of(path: Option<&Path>) -> Result<(DetectorFile, PathBuf)> {
        match path {
            Some(path) => Ok((DetectorFile::load(path)?, path.to_path_buf())),
            None => Ok((DetectorFile::parse(Path::new("(shipped)"), SHIPPED)?, PathBuf::from("(shipped)"))),
        }
    }

    /// Of a model's file; `path` is for messages. `images` are how many it will see at once, if that is known: one alone is not computed as eight.
    ///
    /// # Errors
    /// Parameters that do not fit; device memory.
    pub fn new(engine: &'e Engine, file: &DetectorFile, path: &Path, images: Option<usize>) -> Result<Self> {
        let (config, batch) = (&file.manifest.encoder, images.unwrap_or(BATCH).clamp(1, BATCH));
        let described = Described::new(config, batch)?;
        let weights = Weights::from_file(engine, &described.graph, file, path)?;
        Self::of(engine, config, described.build(engine, &weights)?)
    }

    /// With weights that stay shared: training them changes what comes out.
    ///
    /// # Errors
    /// Device limits or memory.
    pub(crate) fn with_weights(engine: &'e Engine, config: &DetectorConfig, weights: &Weights, batch: usize) -> Result<Self> {
        Self::of(engine, config, Described::new(config, batch)?.build(engine, weights)?)
    }

    fn of(engine: &'e Engine, config: &DetectorConfig, network: Heads) -> Result<Self> {
        let batch = network.batch();
        let tensor = |name: &str, shape: &[usize], dtype| engine.tensor(name, shape, dtype);
        let candidates = [
            tensor("boxes", &[batch, CANDIDATES, 4], DType::F32)?,
            tensor("scores", &[batch, CANDIDATES], DType::F32)?,
            tensor("classes", &[batch, CANDIDATES], DType::U32)?,
        ];
        Ok(Self { engine, config: config.clone(), network, records: sampler::records(engine, batch)?, candidates })
    }

    /// Names of the classes that detections number.
    pub fn classes(&self) -> &[String] {
        &self.config.classes
    }

    /// The objects of each image, pixels of the image, the surest first. Images far larger than those of the training are searched by tiles.
    ///
    /// # Errors
    /// Options that make no sense; reading; the device.
    pub fn detect(&self, images: &[Arc<Image>], options: &DetectOptions) -> Result<Vec<Vec<Detection>>> {
        options.check()?;
        let views = self.views(images, options)?;
        let mut cache = PageCache::new(self.engine, images.to_vec(), PAGES)?;
        let suppress = self.suppression(options)?;
        let mut found: Vec<Vec<(Tile, Vec<Detection>)>> = images.iter().map(|_| Vec::new()).collect();
        // A plan for each number of taps: how a view is cut must not hang on what goes through the network beside it.
        let mut sampling: BTreeMap<u32, Plan> = BTreeMap::new();
        let mut left = views.as_slice();
        while let Some(first) = left.first() {
            let taps = first.taps(self.config.input);
            let alike = left.iter().take(self.network.batch()).take_while(|v| v.taps(self.config.input) == taps);
            let records = alike.map(|v| v.record(self.config.input)).collect::<Result<Vec<_>>>()?;
            let (batch, rest) = left.split_at(cache.fitting(&records, self.config.input));
            if batch.is_empty() {
                let side = first.tile.width.max(first.tile.height);
                return Err(Error::invalid(format!("a tile of {side} px covers more pages of its image than fit; take smaller ones")));
            }
            cache.require(self.engine, &records[..batch.len()], self.config.input)?;
            let cut = match sampling.entry(taps) {
                Entry::Occupied(plan) => plan.into_mut(),
                Entry::Vacant(none) => none.insert(self.sampling(&cache, taps)?),
            };
            let kept = self.batch(batch, &records[..batch.len()], cut, &suppress, options)?;
            for (view, boxes) in batch.iter().zip(kept) {
                found[view.image].push((view.tile, boxes));
            }
            left = rest;
        }
        let merging = Merge { iou: options.iou.min(Merge::default().iou), ..Merge::default() };
        let merge = |(image, mut tiles): (&Arc<Image>, Vec<(Tile, Vec<Detection>)>)| match tiles.len() {
            1 => tiles.remove(0).1,
            _ => merging.merge([image.raster.width(), image.raster.height()], &tiles),
        };
        Ok(images.iter().zip(found).map(merge).collect())
    }

    /// What each input shows.
    fn views(&self, images: &[Arc<Image>], options: &DetectOptions) -> Result<Vec<View>> {
        // A network that was never trained knows no size: all is searched whole.
        let side = options.tile.unwrap_or(if self.config.extent > 0 { self.config.extent } else { u32::MAX });
        let mut views = Vec::new();
        for (image, of) in images.iter().enumerate() {
            let size = [of.raster.width(), of.raster.height()];
            let whole = f64::from(size[0].max(size[1])) <= WHOLE * f64::from(side);
            let side = if whole { size[0].max(size[1]) } else { side };
            let tiles = cover(size, side, (f64::from(side) * OVERLAP) as u32)?;
            views.extend(tiles.into_iter().map(|tile| View { image, tile }));
        }
        Ok(views)
    }

    /// The plan that suppresses candidates, and what it keeps.
    fn suppression(&self, options: &DetectOptions) -> Result<(Plan, Tensor)> {
        let [boxes, scores, classes] = &self.candidates;
        let most = options.most.min(CANDIDATES);
        let kept = self.engine.tensor("kept", &[self.network.batch(), most], DType::U32)?;
        let count = self.engine.tensor("count", &[self.network.batch()], DType::U32)?;
        let mut builder = PlanBuilder::new(self.engine);
        // Candidates reach the least score already; a slot without one has none.
        let how = Nms { iou: options.iou as f32, score: f32::NEG_INFINITY };
        nms::nms(&mut builder, how, boxes, scores, classes, &kept, &count)?;
        Ok((builder.finish(), kept))
    }

    /// The plan that cuts views out of images into the network's input.
    fn sampling(&self, cache: &PageCache, taps: u32) -> Result<Plan> {
        let mut builder = PlanBuilder::new(self.engine);
        sampler::forward(&mut builder, cache.array(), cache.table(), &self.records, taps, false, self.network.images())?;
        Ok(builder.finish())
    }

    /// The detections of a batch of views whose pages are there, pixels of each view's tile.
    fn batch(
        &self,
        views: &[View],
        records: &[PatchRecord],
        cut: &Plan,
        (suppress, kept): &(Plan, Tensor),
        options: &DetectOptions,
    ) -> Result<Vec<Vec<Detection>>> {
        let input = self.config.input;
        let mut records = records.to_vec();
        records.resize(self.network.batch(), PatchRecord::empty());
        self.engine.write(&self.records, &records)?;
        cut.submit(self.engine)?;
        let mut candidates = self.network.candidates(self.engine, views.len(), options.score as f32)?;
        for all in &mut candidates {
            // Stable: of equal scores the one that the network says first goes first.
            all.sort_by(|a, b| b.score.total_cmp(&a.score));
            all.truncate(CANDIDATES);
        }
        self.write_candidates(&candidates)?;
        suppress.submit(self.engine)?;
        let kept: Vec<u32> = self.engine.read(kept)?;
        let each = kept.len() / self.network.batch();
        let one = |(n, view): (usize, &View)| {
            let stay = kept[n * each..(n + 1) * each].iter().take_while(|i| **i != nms::EMPTY);
            let of_image = |i: &u32| candidates[n].get(*i as usize).and_then(|c| view.placed(c, input));
            stay.filter_map(of_image).collect()
        };
        Ok(views.iter().enumerate().map(one).collect())
    }

    fn write_candidates(&self, candidates: &[Vec<Candidate>]) -> Result<()> {
        let slots = self.network.batch() * CANDIDATES;
        let (mut boxes, mut scores, mut classes) = (vec![0.0f32; slots * 4], vec![f32::NEG_INFINITY; slots], vec![0u32; slots]);
        for (n, of) in candidates.iter().enumerate() {
            for (i, c) in of.iter().enumerate() {
                let at = n * CANDIDATES + i;
                boxes[4 * at..][..4].copy_from_slice(&c.corners);
                (scores[at], classes[at]) = (c.score, c.class);
            }
        }
        let [b, s, c] = &self.candidates;
        self.engine.write(b, &boxes)?;
        self.engine.write(s, &scores)?;
        Ok(self.engine.write(c, &classes)?)
    }
}

impl DetectOptions {
    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<()> {
        let share = |v: f64| (0.0..=1.0).contains(&v);
        match self {
            o if !share(o.score) || !share(o.iou) => Err(Error::invalid("score and IoU of detections are shares, 0 to 1")),
            o if o.most == 0 || o.tile == Some(0) => Err(Error::invalid("detections of an image and the side of tiles must be above 0")),
            _ => Ok(()),
        }
    }
}

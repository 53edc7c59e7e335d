//! From places in images to unit vectors: sampler and encoder in one stream of batches.

use crate::gpu::{Engine, OpTime, Plan, PlanBuilder, Precision, Readback, Tensor};
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::{EncoderConfig, Graph, InferencePlan, Modality, WeightFile, Weights};
use crate::scene::PageCache;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The shipped weights.
const SHIPPED: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/echogrid.safetensors"));

/// A model read from a file, and its hash.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    /// Manifest and parameters.
    pub file: WeightFile,
    /// What databases are tied to.
    pub hash: String,
    /// Where it came from; `(shipped)` for the built-in one.
    pub path: PathBuf,
    pub(crate) precision: Precision,
}

impl LoadedModel {
    /// Reads a model, or the shipped one where no path is given.
    ///
    /// # Errors
    /// A file that cannot be read or holds no weights. A checkpoint counts as the model it would become.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let (file, path) = match path {
            Some(path) => (WeightFile::load(path)?, path.to_path_buf()),
            None if SHIPPED.is_empty() => {
                return Err(Error::invalid(
                    "this build carries no weights of its own; give a model with --model, or train one (`echogrid train`)",
                ));
            }
            None => (WeightFile::parse(Path::new("(shipped)"), SHIPPED)?, PathBuf::from("(shipped)")),
        };
        Ok(Self { hash: file.hash(), file, path, precision: Precision::Full })
    }

    /// The same model, its encoders run under `precision`. Vectors of either precision may be searched among those of the other.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// How its encoders multiply.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The encoder's configuration.
    pub fn encoder(&self) -> &EncoderConfig {
        &self.file.manifest.encoder
    }

    /// Encoders of both modalities on an engine.
    ///
    /// # Errors
    /// Parameters that do not fit; device memory.
    pub fn embedder<'e>(&self, engine: &'e Engine, batch: usize) -> Result<Embedder<'e>> {
        let config = self.encoder();
        let mut graph = Graph::new();
        for modality in [Modality::Map, Modality::Sar] {
            let x = graph.input("patch", &[batch, config.input, config.input, 4]);
            config.tower(&mut graph, modality, x)?;
        }
        let weights = Weights::from_file(engine, &graph, &self.file, &self.path)?;
        Embedder::new(engine, config, &weights, batch, self.precision)
    }
}

struct Tower {
    inference: InferencePlan,
    records: Tensor,
}

/// Encodes patches of either modality in batches; while the device works on one, the host prepares the next.
pub struct Embedder<'e> {
    engine: &'e Engine,
    batch: usize,
    input: usize,
    dim: usize,
    /// Of the map, of SAR.
    towers: [Tower; 2],
    batches: AtomicUsize,
    starved: AtomicUsize,
}

/// How well a device was supplied. One that works inside the submission itself, as Mesa's software adapter does, is always starved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Supply {
    /// Batches that followed others.
    pub batches: usize,
    /// Of those, how many came when the device had nothing left to do.
    pub starved: usize,
}

impl std::fmt::Debug for Embedder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder").field("batch", &self.batch).field("input", &self.input).field("dim", &self.dim).finish_non_exhaustive()
    }
}

/// Batches in flight: results are fetched this far behind.
const DEPTH: usize = 2;

impl<'e> Embedder<'e> {
    /// Encoders with the given weights, which stay shared: training them changes what comes out.
    ///
    /// # Errors
    /// Device limits or memory.
    pub fn new(engine: &'e Engine, config: &EncoderConfig, weights: &Weights, batch: usize, precision: Precision) -> Result<Self> {
        let tower = |modality| -> Result<Tower> {
            let (mut graph, out) = config.tower_graph(modality, batch)?;
            graph.set_precision(precision);
            let inference = graph.inference(engine, weights, &[out])?;
            Ok(Tower { inference, records: sampler::records(engine, batch)? })
        };
        let towers = [tower(Modality::Map)?, tower(Modality::Sar)?];
        let (batches, starved) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Ok(Self { engine, batch, input: config.input, dim: config.dim(), towers, batches, starved })
    }

    /// Length of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Side of a patch in network pixels.
    pub fn input(&self) -> usize {
        self.input
    }

    /// The engine.
    pub fn engine(&self) -> &'e Engine {
        self.engine
    }

    /// How well the device was supplied so far.
    pub fn supply(&self) -> Supply {
        Supply { batches: self.batches.load(Ordering::Relaxed), starved: self.starved.load(Ordering::Relaxed) }
    }

    /// The sampler and the encoder of a modality.
    fn whole_plan(&self, modality: Modality, cache: &PageCache, taps: u32) -> Result<Plan> {
        let tower = &self.towers[modality as usize];
        let mut builder = PlanBuilder::new(self.engine);
        sampler::forward(&mut builder, cache.array(), cache.table(), &tower.records, taps, false, &tower.inference.inputs[0])?;
        let mut plan = builder.finish();
        plan.extend(tower.inference.plan.clone());
        Ok(plan)
    }

    /// Times of each dispatch for a batch of `records` (the rest of a batch is empty patches), sampler first.
    ///
    /// # Errors
    /// As [`Embedder::embed`].
    pub fn profile(&self, modality: Modality, cache: &mut PageCache, records: &[PatchRecord], taps: u32) -> Result<Vec<OpTime>> {
        let mut words = records[..cache.fitting(records, self.input).min(self.batch)].to_vec();
        cache.require(self.engine, &words, self.input)?;
        words.resize(self.batch, PatchRecord::empty());
        self.engine.write(&self.towers[modality as usize].records, &words)?;
        Ok(self.whole_plan(modality, cache, taps)?.profile(self.engine)?)
    }

    /// Encodes patches in order and hands each batch of vectors (rows of [`Embedder::dim`]) to `sink` with the number of its
    /// first patch. `taps` as [`sampler::taps_for`] gives it for the patches' scale.
    ///
    /// # Errors
    /// Reading the images, the device, or what `sink` returns.
    pub fn embed(
        &self,
        modality: Modality,
        cache: &mut PageCache,
        records: &[PatchRecord],
        taps: u32,
        mut sink: impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let tower = &self.towers[modality as usize];
        let plan = self.whole_plan(modality, cache, taps)?;
        let mut last: Option<Arc<AtomicBool>> = None;
        let output = &tower.inference.outputs[0];
        let mut flight: std::collections::VecDeque<(usize, usize, Readback)> = std::collections::VecDeque::new();
        let mut finish = |(first, count, read): (usize, usize, Readback)| {
            let rows: Vec<f32> = read.finish(self.engine)?;
            sink(first, &rows[..count * self.dim])
        };
        let mut start = 0;
        while start < records.len() {
            let end = (start + self.batch).min(records.len());
            let count = cache.fitting(&records[start..end], self.input);
            if count == 0 {
                return Err(Error::invalid(format!(
                    "a patch covers more of the image than {} pages hold; use smaller cells or a map of coarser pixels",
                    cache.array().layers()
                )));
            }
            let chunk = &records[start..start + count];
            cache.require(self.engine, chunk, self.input)?;
            let mut words = chunk.to_vec();
            words.resize(self.batch, PatchRecord::empty());
            self.engine.write(&tower.records, &words)?;
            if let Some(done) = last.take() {
                // So that the callback below is heard.
                let _ = self.engine.device().poll(wgpu::PollType::Poll);
                self.batches.fetch_add(1, Ordering::Relaxed);
                self.starved.fetch_add(usize::from(done.load(Ordering::Relaxed)), Ordering::Relaxed);
            }
            plan.submit(self.engine)?;
            flight.push_back((start, count, self.engine.start_read(output)?));
            let done = Arc::new(AtomicBool::new(false));
            last = Some(done.clone());
            self.engine.queue().on_submitted_work_done(move || done.store(true, Ordering::Relaxed));
            if flight.len() > DEPTH {
                finish(flight.pop_front().expect("not empty"))?;
            }
            start += count;
        }
        flight.into_iter().try_for_each(finish)
    }

    /// Encodes patches into one matrix of rows.
    ///
    /// # Errors
    /// As [`Embedder::embed`].
    pub fn embed_all(&self, modality: Modality, cache: &mut PageCache, records: &[PatchRecord], taps: u32) -> Result<Vec<f32>> {
        let mut all = vec![0.0; records.len() * self.dim];
        self.embed(modality, cache, records, taps, |first, rows| {
            all[first * self.dim..][..rows.len()].copy_from_slice(rows);
            Ok(())
        })?;
        Ok(all)
    }
}

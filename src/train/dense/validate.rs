//! Validation of dense features: SAR patches of the validation scene against a fixed set of its windows.

use super::batch::{Batch, Sizes, Windows, map_scale};
use super::config::{DenseAugment, DenseTrainConfig};
use super::taps;
use crate::Result;
use crate::gpu::{Engine, PlanBuilder};
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::ops::Correlate;
use crate::nn::{DenseEncoderConfig, Graph, Modality, Weights};
use crate::scene::{PageCache, ScenePair};
use crate::train::sampling::{pages, sar_scale};
use serde_json::{Value, json};

/// A fix this near is right, feature pixels.
const WITHIN: f64 = 5.0;
/// Patches and windows correlated at once: their spectra must stay under the smallest limit of a binding.
const PATCHES: usize = 16;
const WINDOWS: usize = 8;

/// The fixed set.
#[derive(Debug)]
pub(super) struct Validation {
    map: PageCache,
    sar: PageCache,
    batch: Batch,
    window: usize,
    patch: usize,
    /// Taps of the sampler for map and SAR.
    taps: [u32; 2],
}

impl Validation {
    pub(super) fn new(engine: &Engine, config: &DenseTrainConfig, val: &ScenePair, pixel_m: f64) -> Result<Self> {
        let sizes = Sizes {
            windows: config.validate_windows,
            window: config.validate_window,
            patches: config.validate_patches,
            patch: config.validate_patch,
        };
        let scene = std::slice::from_ref(val);
        let mut batch = Windows::new(scene, &[], pixel_m, sizes, DenseAugment::none(), 7)?.fixed()?;
        // As many of each window, and no more than asked for.
        batch.sar.truncate(config.validate_patches);
        batch.targets.truncate(4 * config.validate_patches);
        let scale = map_scale(val, pixel_m)?;
        Ok(Self {
            map: pages(engine, scene, |s| (&s.map, &s.map_mask))?,
            sar: pages(engine, scene, |s| (&s.sar, &s.sar_mask))?,
            batch,
            window: config.validate_window,
            patch: config.validate_patch,
            taps: [taps(scale), taps(sar_scale(val, scale)?)],
        })
    }

    /// Share of the patches whose highest score over all offsets of all windows lies within [`WITHIN`] pixels of the truth.
    pub(super) fn run(&mut self, engine: &Engine, encoder: &DenseEncoderConfig, weights: &Weights) -> Result<Value> {
        let mut encode = |modality| self.encode(engine, encoder, weights, modality);
        let (maps, templates) = (encode(Modality::Map)?, encode(Modality::Sar)?);
        let (patches, windows) = (self.batch.sar.len(), self.batch.map.len());
        // The transform takes maps in pairs.
        let together = [PATCHES.min(patches), WINDOWS.min(windows.next_multiple_of(2))];
        let mut graph = Graph::new();
        let template = graph.input("template", &[together[0], self.patch, self.patch, encoder.channels]);
        let map = graph.input("map", &[together[1], self.window, self.window, encoder.channels]);
        let scores = graph.add("correlate", Correlate, &[template, map])?;
        let columns = graph.shape(scores)[2];
        let plan = graph.inference(engine, weights, &[scores])?;
        let put = |input: usize, values: &[f32]| {
            let mut all = values.to_vec();
            all.resize(plan.inputs[input].len(), 0.0);
            engine.write(&plan.inputs[input], &all)
        };
        // Score, row, column, window of each patch's best.
        let mut best = vec![(f32::NEG_INFINITY, [0usize; 3]); patches];
        for (i, some) in templates.chunks(plan.inputs[0].len()).enumerate() {
            put(0, some)?;
            for (k, maps) in maps.chunks(plan.inputs[1].len()).enumerate() {
                put(1, maps)?;
                plan.plan.submit(engine)?;
                let scores: Vec<f32> = engine.read(&plan.outputs[0])?;
                let there = (windows - k * together[1]).min(together[1]);
                for (best, row) in best[i * together[0]..].iter_mut().zip(scores.chunks(scores.len() / together[0])) {
                    for (j, v) in row.iter().enumerate().filter(|(j, _)| j % together[1] < there) {
                        if *v > best.0 {
                            let pixel = j / together[1];
                            *best = (*v, [pixel / columns, pixel % columns, k * together[1] + j % together[1]]);
                        }
                    }
                }
            }
        }
        let found = best.iter().zip(self.batch.targets.chunks(4)).filter(|((_, at), truth)| {
            let d = [0, 1].map(|k| at[k] as f64 - f64::from(truth[k]));
            at[2] as f32 == truth[2] && d[0].hypot(d[1]) <= WITHIN
        });
        Ok(json!({
            "found": found.count() as f64 / patches as f64,
            "within_px": WITHIN,
            "patches": patches,
            "patch": self.patch,
            "windows": windows,
            "window": self.window,
        }))
    }

    /// Features of all windows, or templates of all patches, one after the other.
    fn encode(&mut self, engine: &Engine, encoder: &DenseEncoderConfig, weights: &Weights, modality: Modality) -> Result<Vec<f32>> {
        let (records, cache, side, taps) = match modality {
            Modality::Map => (&self.batch.map, &mut self.map, self.window, self.taps[0]),
            Modality::Sar => (&self.batch.sar, &mut self.sar, self.patch, self.taps[1]),
        };
        // About as many pixels as a window of 256 has, for the sake of memory.
        let together = (65_536 / (side * side)).clamp(1, records.len());
        let (mut graph, mut features) = encoder.tower_graph(modality, together, side)?;
        if modality == Modality::Sar {
            features = DenseEncoderConfig::template(&mut graph, features)?;
        }
        let plan = graph.inference(engine, weights, &[features])?;
        let written = sampler::records(engine, together)?;
        let mut builder = PlanBuilder::new(engine);
        sampler::forward(&mut builder, cache.array(), cache.table(), &written, taps, false, &plan.inputs[0])?;
        let mut work = builder.finish();
        work.extend(plan.plan);
        let mut all = Vec::with_capacity(records.len() * side * side * encoder.channels);
        for some in records.chunks(together) {
            let mut padded = some.to_vec();
            padded.resize(together, PatchRecord::empty());
            cache.require(engine, some, side)?;
            engine.write(&written, &padded)?;
            work.submit(engine)?;
            let values: Vec<f32> = engine.read(&plan.outputs[0])?;
            all.extend_from_slice(&values[..some.len() * side * side * encoder.channels]);
        }
        Ok(all)
    }
}

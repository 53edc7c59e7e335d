//! Refinement by the graph network: candidates get probabilities, a fix gets its place.

use super::batch::{Batch, Candidates, Turn};
use super::network::{Inputs, RefinerConfig, Refining};
use super::slide::Slider;
use super::{Strip, vote};
use crate::gpu::Engine;
use crate::index::CellHit;
use crate::nn::{EncoderConfig, Graph, InferencePlan, WeightFile, Weights};
use crate::{Error, Result};
use rayon::prelude::*;
use std::path::Path;

/// Queries in one run of the network at most; longer strips are refused.
const ROOM: usize = 32;

/// The network ready to refine.
#[derive(Debug)]
pub struct Refiner {
    config: RefinerConfig,
    dim: usize,
    slider: Option<Slider>,
    plan: InferencePlan,
    inputs: Inputs,
}

impl Refiner {
    /// The one that a model carries; `path` is for messages.
    ///
    /// # Errors
    /// A model without one; parameters that are missing or do not fit; device memory.
    pub fn new(engine: &Engine, file: &WeightFile, path: &Path) -> Result<Self> {
        let config = file.manifest.refiner.clone().ok_or_else(|| {
            Error::file(path, "carries no graph network; train one onto it with `echogrid train --refine`, or choose another --refine")
        })?;
        let config: RefinerConfig =
            serde_json::from_value(config).map_err(|e| Error::file(path, format!("its graph network cannot be read ({e})")))?;
        let encoder = &file.manifest.encoder;
        let (graph, net) = Self::describe(&config, encoder)?;
        let weights = Weights::from_file(engine, &graph, file, path)?;
        Self::with(engine, &config, encoder, &graph, &net, &weights)
    }

    /// With start values.
    #[cfg(test)]
    pub(super) fn random(engine: &Engine, config: &RefinerConfig, encoder: &EncoderConfig) -> Result<Self> {
        let (graph, net) = Self::describe(config, encoder)?;
        let weights = Weights::init(engine, &graph, 5)?;
        Self::with(engine, config, encoder, &graph, &net, &weights)
    }

    /// With the weights of a network that is being trained.
    pub(crate) fn of(engine: &Engine, config: &RefinerConfig, encoder: &EncoderConfig, trained: &Weights) -> Result<Self> {
        let (graph, net) = Self::describe(config, encoder)?;
        let mut weights = Weights::init(engine, &graph, 0)?;
        weights.adopt(trained)?;
        Self::with(engine, config, encoder, &graph, &net, &weights)
    }

    fn describe(config: &RefinerConfig, encoder: &EncoderConfig) -> Result<(Graph, Refining)> {
        config.check().map_err(Error::invalid)?;
        let mut graph = Graph::new();
        let dim = encoder.dim();
        let queries = graph.input("queries", &[ROOM, dim]);
        let candidates = graph.input("candidates", &[ROOM * config.top, dim]);
        let net = config.append(&mut graph, queries, candidates, encoder.squares())?;
        Ok((graph, net))
    }

    fn with(
        engine: &Engine,
        config: &RefinerConfig,
        encoder: &EncoderConfig,
        graph: &Graph,
        net: &Refining,
        weights: &Weights,
    ) -> Result<Self> {
        let dim = encoder.dim();
        let slider = config.slides(encoder.squares())?.map(|slide| Slider::of(engine, dim, slide)).transpose()?;
        let plan = graph.inference(engine, weights, &[net.scores])?;
        let inputs = Inputs::new(graph, net, &plan.inputs)?;
        Ok(Self { config: config.clone(), dim, slider, plan, inputs })
    }

    /// The network.
    pub fn config(&self) -> &RefinerConfig {
        &self.config
    }

    /// What slides its candidates.
    pub fn slider(&self) -> Option<&Slider> {
        self.slider.as_ref()
    }

    /// Puts the candidates of `queries` [n, dim] in order, the most probable first: the score is the probability that the candidate's cell
    /// is the right one (what they lack to 1, that none is). In a strip the centre is the mean of where its queries put it, weighted by
    /// their cosines. Candidates beyond the network's number are left out.
    ///
    /// # Errors
    /// A strip of more than 32 queries; the device.
    pub(crate) fn refine(&self, engine: &Engine, queries: &[f32], c: &Candidates<'_>) -> Result<Vec<Vec<CellHit>>> {
        if let Some(s) = c.strips.iter().find(|s| s.queries.len() > ROOM) {
            return Err(Error::invalid(format!("a strip of {} queries; the graph network takes up to {ROOM}: cut it", s.queries.len())));
        }
        let mut out = Vec::with_capacity(c.hits.len());
        let mut strips = c.strips;
        while let Some(first) = strips.first() {
            let start = first.queries.start;
            let count = strips.iter().take_while(|s| s.queries.end - start <= ROOM).count();
            let (now, rest) = strips.split_at(count);
            let end = now[count - 1].queries.end;
            let moved: Vec<Strip> = now
                .iter()
                .map(|s| Strip { queries: s.queries.start - start..s.queries.end - start, offsets_m: s.offsets_m.clone() })
                .collect();
            let part = Candidates { database: c.database, hits: &c.hits[start..end], strips: &moved, cells: &c.cells[start..end] };
            out.extend(self.run(engine, &queries[start * self.dim..end * self.dim], &part)?);
            strips = rest;
        }
        Ok(out)
    }

    fn run(&self, engine: &Engine, queries: &[f32], c: &Candidates<'_>) -> Result<Vec<Vec<CellHit>>> {
        let (config, nodes) = (&self.config, self.config.nodes());
        let mut vectors = queries.to_vec();
        vectors.resize(ROOM * self.dim, 0.0);
        engine.write(&self.plan.inputs[0], &vectors)?;
        engine.write(&self.plan.inputs[1], &rows(config, self.dim, c, ROOM))?;
        Batch::new(config, self.inputs.slide, c, Turn::NONE, ROOM)?.write(engine, &self.inputs)?;
        self.plan.plan.submit(engine)?;
        let scores: Vec<f32> = engine.read(&self.plan.outputs[0])?;
        let refined = |(q, hits): (usize, &Vec<CellHit>)| {
            let shares = softmax(&scores[q * nodes..][..nodes]);
            let there = hits.len().min(config.top);
            let mut order: Vec<usize> = (0..there).collect();
            order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]).then(a.cmp(b)));
            order.into_iter().map(|i| CellHit { score: shares[i], ..hits[i] }).collect()
        };
        // Before: a cosine says better than a probability which of the strip's places is precise.
        let settled = vote::settle(c.database, c.strips, c.hits);
        Ok(settled.iter().enumerate().map(refined).collect())
    }
}

/// The vectors of the candidates of `room` queries.
pub(crate) fn rows(config: &RefinerConfig, dim: usize, c: &Candidates<'_>, room: usize) -> Vec<f32> {
    let mut all = vec![0.0; room * config.top * dim];
    c.hits.par_iter().zip(all.par_chunks_mut(config.top * dim)).for_each(|(hits, rows)| {
        hits.iter().zip(rows.chunks_mut(dim)).for_each(|(h, row)| c.database.read_row(h.row as usize, row));
    });
    all
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|v| (v - most).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.iter().map(|p| p / sum).collect()
}

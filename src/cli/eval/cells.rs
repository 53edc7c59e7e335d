//! Dense queries around the best cells of a retrieval index: `echogrid eval --protocol dense --method both`.

use super::args::Args;
use crate::Result;
use crate::cli::common::Global;
use crate::cli::databases::build_with_bar;
use crate::dense::{Hint, Layout, Match, SearchConfig, keep_where, raise};
use crate::eval::dense::DenseQuery;
use crate::gpu::Engine;
use crate::index::{Database, Embedder, IndexConfig, RESIDENT_BYTES, Searcher};
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::Modality;
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{Image, PageCache, ScenePair};
use std::sync::Arc;

/// A retrieval index of the map, of cells as large as the patches.
pub(super) struct Cells<'e> {
    embedder: Embedder<'e>,
    database: Database,
}

impl<'e> Cells<'e> {
    pub(super) fn new(global: &Global, engine: &'e Engine, args: &Args, map: &Arc<Image>, patch: u32) -> Result<Self> {
        let model = args.dense.what.encoder(args.model.as_deref())?;
        let embedder = model.embedder(engine, args.grid.batch as usize)?;
        let grid = IndexConfig { cell: patch, stride: patch, ..args.grid.config() };
        let (database, _) = build_with_bar(global, &embedder, &model, map, &grid, Database::in_memory())?;
        Ok(Self { embedder, database })
    }

    /// Leaves each match what lies in its patch's best cells, and raises it by their cosine.
    pub(super) fn narrow(&self, args: &Args, pair: &ScenePair, queries: &[DenseQuery], layout: &Layout, found: &mut [Match]) -> Result<()> {
        let engine = self.embedder.engine();
        let input = self.embedder.input();
        let shrink = f64::from(self.database.manifest.grid.cell) / input as f64 / layout.step;
        // The queries' own records, with the encoder's pixels instead of the features'.
        let records = queries.iter().map(|q| q.record.resized(shrink, input)).collect::<crate::gpu::Result<Vec<_>>>()?;
        let mut cache = PageCache::new(engine, vec![pair.sar.clone()], DEFAULT_PAGES)?;
        let taps = sampler::taps_for(records.first().map_or(1.0, PatchRecord::scale));
        let vectors = self.embedder.embed_all(Modality::Sar, &mut cache, &records, taps)?;
        let searcher = Searcher::new(engine, &self.database, RESIDENT_BYTES)?;
        let search = SearchConfig::default();
        for (m, hits) in found.iter_mut().zip(searcher.search(engine, &vectors, self.database.cells().min(args.cells as usize))?) {
            let hints: Vec<Hint> = hits.iter().map(|h| Hint::new(&self.database, h)).collect();
            keep_where(m, &search, layout.step, |p| Ok(hints.iter().any(|h| h.holds(p))))?;
            raise(m, &hints, args.index_credit);
        }
        Ok(())
    }
}

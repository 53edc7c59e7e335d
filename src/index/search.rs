//! Cosine top-k over a database: sharded under the binding limit, streamed where the device cannot hold it all.

use super::embed::Embedder;
use super::store::Database;
use crate::gpu::{DType, Engine, PlanBuilder, Tensor};
use crate::kernels::topk::{EMPTY, TopK};
use crate::{Error, Result};
use std::collections::HashSet;
use std::ops::Range;

/// A cell found for a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellHit {
    /// The cell's number.
    pub cell: u32,
    /// Cosine similarity of its best view, -1..=1.
    pub score: f32,
    /// Centre of that view, map pixels.
    pub centre_px: [f64; 2],
}

/// Rows kept on the device by default, bytes; a larger database is streamed through at each search.
pub const RESIDENT_BYTES: u64 = 1 << 30;
/// Bytes of one shard at most.
const SHARD_BYTES: u64 = 64 << 20;
/// Queries searched at once.
const QUERIES: usize = 256;

/// A database ready to be searched.
#[derive(Debug)]
pub struct Searcher<'d> {
    database: &'d Database,
    shards: Vec<(Range<usize>, Option<Tensor>)>,
    most_views: usize,
}

impl<'d> Searcher<'d> {
    /// Uploads the rows, if they take at most `resident_bytes`; else each search streams them.
    ///
    /// # Errors
    /// Device memory.
    pub fn new(engine: &Engine, database: &'d Database, resident_bytes: u64) -> Result<Self> {
        let width = database.dim() as u64 * 2;
        if !database.dim().is_multiple_of(2) {
            return Err(Error::invalid(format!("rows of {} values cannot be packed in pairs", database.dim())));
        }
        let per_shard = (SHARD_BYTES.min(engine.caps().max_binding) / width).max(1) as usize;
        let count = database.rows.len();
        let resident = count as u64 * width <= resident_bytes;
        let mut shards = Vec::new();
        for start in (0..count).step_by(per_shard) {
            let range = start..(start + per_shard).min(count);
            let tensor = match resident {
                true => Some(upload(engine, database, range.clone())?),
                false => None,
            };
            shards.push((range, tensor));
        }
        let mut views = vec![0usize; database.cells()];
        database.rows.iter().for_each(|r| views[r.cell as usize] += 1);
        Ok(Self { database, shards, most_views: views.into_iter().max().unwrap_or(1).max(1) })
    }

    /// The k best cells for each row of `queries` [n, dim]; ties go to the lower cell. Fewer than k come back where the
    /// database has fewer cells.
    ///
    /// # Errors
    /// Queries of another length; the device.
    pub fn search(&self, embedder: &Embedder<'_>, queries: &[f32], k: usize) -> Result<Vec<Vec<CellHit>>> {
        let engine = embedder.engine();
        let dim = self.database.dim();
        if queries.is_empty() || k == 0 {
            return Ok(vec![Vec::new(); queries.len() / dim]);
        }
        if !queries.len().is_multiple_of(dim) {
            return Err(Error::invalid(format!("queries of {} values for rows of {dim}", queries.len())));
        }
        // A cell has at most `most_views` rows: among this many rows there are k cells, and the first row of each is its best.
        let rows = (k * self.most_views).min(self.database.rows.len());
        let largest = self.shards.iter().map(|s| s.0.len()).max().unwrap_or(1);
        let mut out = Vec::with_capacity(queries.len() / dim);
        for chunk in queries.chunks(QUERIES * dim) {
            let count = chunk.len() / dim;
            let top = TopK::new(engine, count, rows, largest)?;
            let q = embedder.upload_rows(chunk)?;
            let mut first = true;
            for (range, resident) in &self.shards {
                let streamed;
                let tensor = match resident {
                    Some(t) => t,
                    None => {
                        streamed = upload(engine, self.database, range.clone())?;
                        &streamed
                    }
                };
                let mut plan = PlanBuilder::new(engine);
                if first {
                    top.begin(&mut plan)?;
                    first = false;
                }
                top.add_shard(&mut plan, &q, tensor, range.start as u32, range.len())?;
                plan.finish().submit(engine)?;
                if resident.is_none() {
                    // Let go of this shard's memory before the next one takes as much.
                    engine.wait("search")?;
                }
            }
            let scores: Vec<f32> = engine.read(top.scores())?;
            let ids: Vec<u32> = engine.read(top.ids())?;
            out.extend(scores.chunks(rows).zip(ids.chunks(rows)).map(|(s, i)| self.cells(s, i, k)));
        }
        Ok(out)
    }

    /// As [`Searcher::search`], but query i finds only the cells of `allowed[i]`, at most k of them. More and more cells are
    /// asked for until each query has its own.
    ///
    /// # Errors
    /// As [`Searcher::search`]; another number of sets than of queries.
    pub fn search_among(&self, embedder: &Embedder<'_>, queries: &[f32], k: usize, allowed: &[HashSet<u32>]) -> Result<Vec<Vec<CellHit>>> {
        let dim = self.database.dim();
        if queries.len() != allowed.len() * dim {
            return Err(Error::invalid(format!("{} values of queries of {dim} for {} sets of cells", queries.len(), allowed.len())));
        }
        let mut out = vec![Vec::new(); allowed.len()];
        let mut pending: Vec<usize> = (0..allowed.len()).collect();
        let mut ask = k.min(self.database.cells());
        loop {
            // The lists of scores and rows of one search stay under 64 MiB.
            let rows = (ask * self.most_views).min(self.database.rows.len());
            for chunk in pending.chunks(((8 << 20) / rows.max(1)).max(1)) {
                let vectors: Vec<f32> = chunk.iter().flat_map(|i| &queries[i * dim..][..dim]).copied().collect();
                for (i, hits) in chunk.iter().zip(self.search(embedder, &vectors, ask)?) {
                    out[*i] = hits.into_iter().filter(|h| allowed[*i].contains(&h.cell)).take(k).collect();
                }
            }
            pending.retain(|i| out[*i].len() < k.min(allowed[*i].len()));
            if pending.is_empty() || ask >= self.database.cells() {
                return Ok(out);
            }
            ask = (ask * 4).min(self.database.cells());
        }
    }

    fn cells(&self, scores: &[f32], ids: &[u32], k: usize) -> Vec<CellHit> {
        let mut hits: Vec<CellHit> = Vec::with_capacity(k);
        let mut seen = HashSet::new();
        for (score, id) in scores.iter().zip(ids).filter(|(_, id)| **id != EMPTY) {
            let row = self.database.rows[*id as usize];
            if seen.insert(row.cell) {
                hits.push(CellHit { cell: row.cell, score: *score, centre_px: row.centre_px });
                if hits.len() == k {
                    break;
                }
            }
        }
        hits
    }
}

fn upload(engine: &Engine, database: &Database, rows: Range<usize>) -> Result<Tensor> {
    let shape = [rows.len(), database.dim()];
    Ok(engine.upload("database shard", &shape, DType::F16, database.row_bytes(rows))?)
}

//! Cosine top-k over a database: sharded under the binding limit, streamed where the device cannot hold it all.

use super::store::Database;
use crate::gpu::{DType, Engine, PlanBuilder, Tensor};
use crate::kernels::topk::{EMPTY, GROUPED_ROWS, TopK};
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
    /// Number of that view's row in the database.
    pub row: u32,
}

/// Rows kept on the device by default, bytes; a larger database is streamed through at each search.
pub const RESIDENT_BYTES: u64 = 1 << 30;
/// Bytes of one shard at most.
const SHARD_BYTES: u64 = 64 << 20;
/// Queries searched at once.
const QUERIES: usize = 256;

/// Whole cells that are searched together.
#[derive(Debug)]
struct Shard {
    rows: Range<usize>,
    /// First row of each cell, from the shard's first, and the end.
    starts: Tensor,
    /// The rows, where they stay on the device.
    resident: Option<Tensor>,
}

/// A database ready to be searched.
#[derive(Debug)]
pub struct Searcher<'d> {
    database: &'d Database,
    shards: Vec<Shard>,
}

impl<'d> Searcher<'d> {
    /// Uploads the rows, if they take at most `resident_bytes`; else each search streams them.
    ///
    /// # Errors
    /// Device memory; cells of more views than a shard holds.
    pub fn new(engine: &Engine, database: &'d Database, resident_bytes: u64) -> Result<Self> {
        Self::with_shards(engine, database, resident_bytes, SHARD_BYTES)
    }

    /// [`Searcher::new`] with shards of another size, for tests.
    pub(super) fn with_shards(engine: &Engine, database: &'d Database, resident_bytes: u64, shard_bytes: u64) -> Result<Self> {
        let width = database.dim() as u64 * 2;
        if !database.dim().is_multiple_of(2) {
            return Err(Error::invalid(format!("rows of {} values cannot be packed in pairs", database.dim())));
        }
        let most = ((shard_bytes.min(engine.caps().max_binding) / width) as usize).min(GROUPED_ROWS);
        let resident = database.len() as u64 * width <= resident_bytes;
        let mut searcher = Self { database, shards: Vec::new() };
        // Rows of the shard under way, and where its cells start.
        let (mut first, mut starts, mut cell) = (0, Vec::new(), u32::MAX);
        for row in 0..database.len() {
            let here = database.row(row).cell;
            if here == cell {
                continue;
            }
            let end = row + (database.manifest.grid.views_a_cell() as usize).min(database.len() - row);
            if end - first > most && row > first {
                searcher.close(engine, first..row, std::mem::take(&mut starts), resident)?;
                first = row;
            }
            cell = here;
            starts.push((row - first) as u32);
        }
        searcher.close(engine, first..database.len(), starts, resident)?;
        Ok(searcher)
    }

    fn close(&mut self, engine: &Engine, rows: Range<usize>, mut starts: Vec<u32>, resident: bool) -> Result<()> {
        starts.push(rows.len() as u32);
        let resident = match resident {
            true => Some(upload(engine, self.database, rows.clone())?),
            false => None,
        };
        self.shards.push(Shard { rows, starts: engine.upload("cells of a shard", &[starts.len()], DType::U32, &starts)?, resident });
        Ok(())
    }

    /// The k best cells for each row of `queries` [n, dim]; ties go to the lower cell. Fewer than k come back where the
    /// database has fewer cells.
    ///
    /// # Errors
    /// Queries of another length; the device.
    pub fn search(&self, engine: &Engine, queries: &[f32], k: usize) -> Result<Vec<Vec<CellHit>>> {
        let dim = self.database.dim();
        if queries.is_empty() || k == 0 {
            return Ok(vec![Vec::new(); queries.len() / dim]);
        }
        if !queries.len().is_multiple_of(dim) {
            return Err(Error::invalid(format!("queries of {} values for rows of {dim}", queries.len())));
        }
        let k = k.min(self.database.cells());
        let largest = self.shards.iter().map(|s| s.rows.len()).max().unwrap_or(1);
        let mut out = Vec::with_capacity(queries.len() / dim);
        for chunk in queries.chunks(QUERIES * dim) {
            let top = TopK::grouped(engine, chunk.len() / dim, k, largest)?;
            let q = engine.upload_f32("queries", &[chunk.len() / dim, dim], chunk)?;
            for (i, shard) in self.shards.iter().enumerate() {
                let streamed;
                let rows = match &shard.resident {
                    Some(t) => t,
                    None => {
                        streamed = upload(engine, self.database, shard.rows.clone())?;
                        &streamed
                    }
                };
                let mut plan = PlanBuilder::new(engine);
                if i == 0 {
                    top.begin(&mut plan)?;
                }
                top.add_grouped_shard(&mut plan, &q, rows, shard.rows.start as u32, shard.rows.len(), &shard.starts)?;
                plan.finish().submit(engine)?;
                if shard.resident.is_none() {
                    // Let go of this shard's memory before the next one takes as much.
                    engine.wait("search")?;
                }
            }
            let scores: Vec<f32> = engine.read(top.scores())?;
            let ids: Vec<u32> = engine.read(top.ids())?;
            out.extend(scores.chunks(k).zip(ids.chunks(k)).map(|(s, i)| self.hits(s, i)));
        }
        Ok(out)
    }

    /// As [`Searcher::search`], but query i finds only the cells of `allowed[i]`, at most k of them. More and more cells are
    /// asked for until each query has its own.
    ///
    /// # Errors
    /// As [`Searcher::search`]; another number of sets than of queries.
    pub fn search_among(&self, engine: &Engine, queries: &[f32], k: usize, allowed: &[HashSet<u32>]) -> Result<Vec<Vec<CellHit>>> {
        let dim = self.database.dim();
        if queries.len() != allowed.len() * dim {
            return Err(Error::invalid(format!("{} values of queries of {dim} for {} sets of cells", queries.len(), allowed.len())));
        }
        let mut out = vec![Vec::new(); allowed.len()];
        let mut pending: Vec<usize> = (0..allowed.len()).collect();
        let mut ask = k.min(self.database.cells());
        loop {
            // The lists of scores and rows of one search stay under 64 MiB.
            for chunk in pending.chunks(((8 << 20) / ask.max(1)).max(1)) {
                let vectors: Vec<f32> = chunk.iter().flat_map(|i| &queries[i * dim..][..dim]).copied().collect();
                for (i, hits) in chunk.iter().zip(self.search(engine, &vectors, ask)?) {
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

    fn hits(&self, scores: &[f32], ids: &[u32]) -> Vec<CellHit> {
        let found = scores.iter().zip(ids).filter(|(s, id)| **id != EMPTY && **s > f32::NEG_INFINITY);
        found
            .map(|(score, id)| {
                let row = self.database.row(*id as usize);
                CellHit { cell: row.cell, score: *score, centre_px: row.centre_px, row: *id }
            })
            .collect()
    }
}

fn upload(engine: &Engine, database: &Database, rows: Range<usize>) -> Result<Tensor> {
    let shape = [rows.len(), database.dim()];
    Ok(engine.upload("database shard", &shape, DType::F16, database.row_bytes(rows))?)
}

//! The two protocols: queries cut on the grid itself (aligned), or anywhere (arbitrary).

use super::metrics::QueryResult;
use crate::index::{CellHit, Database, Embedder, Searcher};
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::Modality;
use crate::random::Random;
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{PageCache, ScenePair, compose, lonlat_distance_m};
use crate::{Error, Result};
use std::time::Instant;

/// Where queries lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// On the cells of the grid.
    Aligned,
    /// Anywhere on the map.
    Arbitrary,
}

/// A query with its true place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Query {
    /// Centre, map pixels.
    pub map_px: [f64; 2],
    /// What cuts its patch out of the SAR image.
    pub record: PatchRecord,
}

/// What became of the queries.
#[derive(Debug)]
pub struct Evaluation {
    /// The queries.
    pub queries: Vec<Query>,
    /// Candidates of each, best first.
    pub hits: Vec<Vec<CellHit>>,
    /// Rank and error of each.
    pub results: Vec<QueryResult>,
    /// Seconds for cutting and encoding the queries.
    pub encode_s: f64,
    /// Seconds for the search.
    pub search_s: f64,
}

/// Ranks beyond this count as not found (0 in the mean reciprocal rank).
pub const MAX_RANK: usize = 100;
/// A query's SAR patch has data in at least this share of its pixels.
const QUERY_VALID: f64 = 0.99;

/// Draws queries: every cell of the database (at most `count`, a random subset of more), or `count` random places. A query's
/// SAR patch must have data in 99 % of its pixels, and a cell of the database must lie within half a cell of it.
///
/// # Errors
/// No place fulfils that.
pub fn queries(pair: &ScenePair, database: &Database, protocol: Protocol, count: usize, input: usize, seed: u64) -> Result<Vec<Query>> {
    let side = f64::from(database.manifest.grid.cell);
    let make = |p: [f64; 2]| -> Result<Option<Query>> {
        if pair.sar_share(p, side)? < QUERY_VALID {
            return Ok(None);
        }
        let scale = side / input as f64;
        let matrix = compose(pair.link().jacobian(p)?, [[scale, 0.0], [0.0, scale]]);
        Ok(Some(Query { map_px: p, record: PatchRecord::from_affine(0, pair.link().apply(p)?, matrix, input)? }))
    };
    let mut random = Random::new(seed, 1);
    let mut out = Vec::new();
    match protocol {
        Protocol::Aligned => {
            let mut cells = database.cell_px.clone();
            let subset = cells.len() > count;
            for i in 0..cells.len() {
                if out.len() == count {
                    break;
                }
                if subset {
                    let j = i + random.below(cells.len() - i);
                    cells.swap(i, j);
                }
                out.extend(make(cells[i])?);
            }
        }
        Protocol::Arbitrary => {
            let (w, h) = (f64::from(database.manifest.map.width), f64::from(database.manifest.map.height));
            let near = Nearby::new(database);
            // Most of a mosaic may be empty: a thousand tries for each query before giving up.
            for _ in 0..count.saturating_mul(1000) {
                if out.len() == count {
                    break;
                }
                let p = [random.range(side / 2.0, w - side / 2.0), random.range(side / 2.0, h - side / 2.0)];
                if near.any_right(p) {
                    out.extend(make(p)?);
                }
            }
        }
    }
    if out.is_empty() {
        return Err(Error::invalid(format!(
            "no place on the map has a cell of the index and a SAR patch of {side:.0} map pixels with data: do {} and the index overlap?",
            pair.sar.raster.path().display()
        )));
    }
    Ok(out)
}

/// Cells binned by place.
struct Nearby<'d> {
    database: &'d Database,
    bins: std::collections::HashMap<(i64, i64), Vec<u32>>,
}

impl<'d> Nearby<'d> {
    fn new(database: &'d Database) -> Self {
        let side = f64::from(database.manifest.grid.cell);
        let mut bins: std::collections::HashMap<_, Vec<u32>> = std::collections::HashMap::new();
        for (i, p) in database.cell_px.iter().enumerate() {
            bins.entry(((p[0] / side) as i64, (p[1] / side) as i64)).or_default().push(i as u32);
        }
        Self { database, bins }
    }

    fn any_right(&self, p: [f64; 2]) -> bool {
        let side = f64::from(self.database.manifest.grid.cell);
        let (x, y) = ((p[0] / side) as i64, (p[1] / side) as i64);
        (y - 1..=y + 1)
            .any(|y| (x - 1..=x + 1).any(|x| self.bins.get(&(x, y)).is_some_and(|b| b.iter().any(|c| right(self.database, *c, p)))))
    }
}

/// A candidate is right when its centre lies within half a cell of the query's centre in both axes.
pub fn right(database: &Database, cell: u32, p: [f64; 2]) -> bool {
    let half = f64::from(database.manifest.grid.cell) / 2.0;
    let c = database.cell_px[cell as usize];
    (c[0] - p[0]).abs() <= half && (c[1] - p[1]).abs() <= half
}

/// Encodes and searches the queries, and compares with the truth.
///
/// # Errors
/// Reading, the device.
pub fn evaluate(
    embedder: &Embedder<'_>,
    pair: &ScenePair,
    database: &Database,
    searcher: &Searcher<'_>,
    queries: Vec<Query>,
) -> Result<Evaluation> {
    let engine = embedder.engine();
    let start = Instant::now();
    let mut cache = PageCache::new(engine, vec![pair.sar.clone()], DEFAULT_PAGES)?;
    let records: Vec<PatchRecord> = queries.iter().map(|q| q.record).collect();
    let scale = queries.first().map_or(1.0, |q| q.record.scale());
    let vectors = embedder.embed_all(Modality::Sar, &mut cache, &records, sampler::taps_for(scale))?;
    let encode_s = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let hits = searcher.search(embedder.engine(), &vectors, MAX_RANK.min(database.cells()))?;
    let search_s = start.elapsed().as_secs_f64();
    let (geo, crs) = database.georeference()?;
    let lonlat = |p: [f64; 2]| {
        let (x, y) = geo.pixel_to_map(p[0], p[1]);
        crs.to_lonlat(x, y)
    };
    let mut results = Vec::with_capacity(queries.len());
    for (query, hits) in queries.iter().zip(&hits) {
        let rank = hits.iter().position(|h| right(database, h.cell, query.map_px)).map(|i| i as u32 + 1);
        let error_m = match hits.first() {
            Some(h) => Some(lonlat_distance_m(lonlat(h.centre_px)?, lonlat(query.map_px)?)),
            None => None,
        };
        results.push(QueryResult { right_rank: rank, error_m });
    }
    Ok(Evaluation { queries, hits, results, encode_s, search_s })
}

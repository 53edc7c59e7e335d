//! Queries encoded, searched for and held against the truth.

use super::draw::Query;
use super::metrics::QueryResult;
use crate::Result;
use crate::index::{CellHit, Database, Embedder, Searcher};
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::Modality;
use crate::refine::{Method, Refiner, Request, Slider, Strip, refine};
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{PageCache, ScenePair, lonlat_distance_m};
use std::time::Instant;

/// What became of the queries.
#[derive(Debug)]
pub struct Evaluation {
    /// The queries.
    pub queries: Vec<Query>,
    /// Candidates of each, best first, as refined.
    pub hits: Vec<Vec<CellHit>>,
    /// Rank and error of each.
    pub results: Vec<QueryResult>,
    /// Seconds for cutting and encoding the queries.
    pub encode_s: f64,
    /// Seconds for the search.
    pub search_s: f64,
    /// Seconds for the refinement.
    pub refine_s: f64,
}

/// What is done with the candidates before they are held against the truth.
#[derive(Debug, Clone, Copy)]
pub struct Refinement<'a> {
    /// The method.
    pub method: Method,
    /// Candidates of each query that it puts in a new order.
    pub top: usize,
    /// Which queries lie along one strip.
    pub strips: &'a [Strip],
    /// Slides the candidates first.
    pub slider: Option<&'a Slider>,
    /// The network of [`Method::Graph`].
    pub refiner: Option<&'a Refiner>,
}

/// Ranks beyond this count as not found (0 in the mean reciprocal rank).
pub const MAX_RANK: usize = 100;

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
    let strips = Strip::singles(queries.len());
    let refinement = Refinement { method: Method::None, top: MAX_RANK, strips: &strips, slider: None, refiner: None };
    evaluate_refined(embedder, pair, database, searcher, queries, &refinement)
}

/// Encodes and searches the queries, refines their candidates, and compares with the truth.
///
/// # Errors
/// Reading, the device; strips that do not fit the queries.
pub fn evaluate_refined(
    embedder: &Embedder<'_>,
    pair: &ScenePair,
    database: &Database,
    searcher: &Searcher<'_>,
    queries: Vec<Query>,
    refinement: &Refinement<'_>,
) -> Result<Evaluation> {
    let engine = embedder.engine();
    let start = Instant::now();
    let vectors = encode(embedder, pair, &queries)?;
    let encode_s = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let found = searcher.search(engine, &vectors, MAX_RANK.max(refinement.top).min(database.cells()))?;
    let search_s = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let Refinement { method, top, strips, slider, refiner } = *refinement;
    let request = Request { searcher, database, queries: &vectors, hits: &found, strips, top, slider, refiner };
    let mut hits = refine(engine, method, &request)?;
    let refine_s = start.elapsed().as_secs_f64();
    hits.iter_mut().for_each(|h| h.truncate(MAX_RANK));
    let results = judge(database, &queries, &hits)?;
    Ok(Evaluation { queries, hits, results, encode_s, search_s, refine_s })
}

/// Encodes the SAR patches of queries, [n, dim].
///
/// # Errors
/// Reading, the device.
pub fn encode(embedder: &Embedder<'_>, pair: &ScenePair, queries: &[Query]) -> Result<Vec<f32>> {
    let mut cache = PageCache::new(embedder.engine(), vec![pair.sar.clone()], DEFAULT_PAGES)?;
    let records: Vec<PatchRecord> = queries.iter().map(|q| q.record).collect();
    let scale = queries.first().map_or(1.0, |q| q.record.scale());
    embedder.embed_all(Modality::Sar, &mut cache, &records, sampler::taps_for(scale))
}

/// Holds candidates against the truth: a query's right rank, and how far its first candidate is off.
///
/// # Errors
/// A database without georeference.
pub fn judge(database: &Database, queries: &[Query], hits: &[Vec<CellHit>]) -> Result<Vec<QueryResult>> {
    let (geo, crs) = database.georeference()?;
    let lonlat = |p: [f64; 2]| {
        let (x, y) = geo.pixel_to_map(p[0], p[1]);
        crs.to_lonlat(x, y)
    };
    let mut results = Vec::with_capacity(queries.len());
    for (query, hits) in queries.iter().zip(hits) {
        let rank = hits.iter().position(|h| database.cell_holds(h.cell, query.map_px)).map(|i| i as u32 + 1);
        let error_m = match hits.first() {
            Some(h) => Some(lonlat_distance_m(lonlat(h.centre_px)?, lonlat(query.map_px)?)),
            None => None,
        };
        results.push(QueryResult { right_rank: rank, error_m });
    }
    Ok(results)
}

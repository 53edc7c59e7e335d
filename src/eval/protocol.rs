//! The two protocols: queries cut on the grid itself (aligned), or anywhere (arbitrary), there in strips as well.

use super::held_out::HeldOut;
use super::metrics::QueryResult;
use crate::index::{CellHit, Database, Embedder, Searcher};
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::Modality;
use crate::random::Random;
use crate::refine::{Method, Refiner, Request, Slider, Strip, refine};
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
/// A query's SAR patch has data in at least this share of its pixels.
const QUERY_VALID: f64 = 0.99;

/// How queries are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// Where they lie.
    pub protocol: Protocol,
    /// How many at most.
    pub count: usize,
    /// How many lie a cell apart along a random heading; 1 for queries by themselves.
    pub strip: usize,
    /// Everything random hangs on it.
    pub seed: u64,
    /// The ground they must lie in, where the SAR image was held out of training.
    pub held_out: Option<HeldOut>,
}

impl Draw {
    /// Queries by themselves, anywhere.
    pub fn new(protocol: Protocol, count: usize, seed: u64) -> Self {
        Self { protocol, count, strip: 1, seed, held_out: None }
    }
}

/// Draws queries: every cell of the database (at most `count`, a random subset of more), or `count` random places. A query's
/// SAR patch must have data in 99 % of its pixels, and a cell of the database must lie within half a cell of it.
///
/// # Errors
/// No place fulfils that.
pub fn queries(pair: &ScenePair, database: &Database, protocol: Protocol, count: usize, input: usize, seed: u64) -> Result<Vec<Query>> {
    Ok(draw(pair, database, input, &Draw::new(protocol, count, seed))?.0)
}

/// Draws queries as [`queries`] does, in whole strips, `count` queries in all at most: the `strip` queries of one lie a cell apart from a
/// random place along a random heading, and each fulfils what a query must. With a strip of 1 these are the queries of [`queries`].
///
/// # Errors
/// Strips of nothing, of more than `count`, or of several under [`Protocol::Aligned`]; no place for any.
pub fn draw(pair: &ScenePair, database: &Database, input: usize, draw: &Draw) -> Result<(Vec<Query>, Vec<Strip>)> {
    let Draw { protocol, count, strip, seed, held_out } = *draw;
    if strip == 0 || strip > count {
        return Err(Error::invalid(format!("{count} queries make no strip of {strip}: take more queries, or strips of 1 or more of them")));
    }
    if strip > 1 && protocol == Protocol::Aligned {
        return Err(Error::invalid("strips lie askew to the grid, aligned queries on it: take the arbitrary protocol, or strips of 1"));
    }
    let side = f64::from(database.manifest.grid.cell);
    let make = |p: [f64; 2]| -> Result<Option<Query>> {
        if held_out.is_some_and(|h| !h.holds(p[1], side)) || pair.sar_share(p, side)? < QUERY_VALID {
            return Ok(None);
        }
        let scale = side / input as f64;
        let matrix = compose(pair.link().jacobian(p)?, [[scale, 0.0], [0.0, scale]]);
        Ok(Some(Query { map_px: p, record: PatchRecord::from_affine(0, pair.link().apply(p)?, matrix, input)? }))
    };
    let mut random = Random::new(seed, 1);
    let mut out: Vec<Query> = Vec::new();
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
            let size = [database.manifest.map.width, database.manifest.map.height].map(f64::from);
            let near = Nearby::new(database);
            let wanted = count / strip * strip;
            // Most of a mosaic may be empty: a thousand tries for each query before giving up.
            for tried in 0..wanted.saturating_mul(1000) {
                if out.len() == wanted || out.is_empty() && tried > super::dense::MAX_TRIES {
                    break;
                }
                let first = size.map(|s| random.range(side / 2.0, s - side / 2.0));
                // A single query has no heading: its random numbers are those of its place alone.
                let heading = if strip == 1 { 0.0 } else { random.range(0.0, std::f64::consts::TAU) };
                let places = along(first, heading, side, strip);
                let inside = |p: &[f64; 2]| p.iter().zip(size).all(|(p, s)| (side / 2.0..=s - side / 2.0).contains(p));
                if !places.iter().all(|p| inside(p) && near.any_right(*p)) {
                    continue;
                }
                let start = out.len();
                for p in places {
                    match make(p)? {
                        Some(query) => out.push(query),
                        None => {
                            out.truncate(start);
                            break;
                        }
                    }
                }
            }
        }
    }
    if out.is_empty() {
        let (sar, long) = (pair.sar.raster.path().display(), side * strip as f64);
        return Err(Error::invalid(match strip {
            1 if held_out.is_some() => format!(
                "no patch of {side:.0} map pixels with data lies on the ground of {sar} that training held out: is it a scene of the training?"
            ),
            1 => format!(
                "no place on the map has a cell of the index and a SAR patch of {side:.0} map pixels with data: do {sar} and the index overlap?"
            ),
            _ => format!(
                "no strip of {strip} SAR patches, {long:.0} map pixels long, was found whose patches all have data and a cell of the index: take shorter strips, smaller cells, or check that {sar} and the index overlap"
            ),
        }));
    }
    let offset = |from: &Query, to: &Query| {
        let [a, b] = [from, to].map(|q| database.metres(q.map_px));
        [b[0] - a[0], b[1] - a[1]]
    };
    let strips = (0..out.len() / strip)
        .map(|i| {
            let queries = i * strip..(i + 1) * strip;
            let offsets_m = out[queries.clone()].iter().map(|q| offset(&out[queries.start], q)).collect();
            Strip { queries, offsets_m }
        })
        .collect();
    Ok((out, strips))
}

/// Places `step` apart along a heading (0 to the right, a quarter turn down), from the first.
fn along(first: [f64; 2], heading: f64, step: f64, count: usize) -> Vec<[f64; 2]> {
    let (sin, cos) = heading.sin_cos();
    (0..count).map(|i| i as f64 * step).map(|d| [first[0] + d * cos, first[1] + d * sin]).collect()
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
            .any(|y| (x - 1..=x + 1).any(|x| self.bins.get(&(x, y)).is_some_and(|b| b.iter().any(|c| self.database.cell_holds(*c, p)))))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strip_runs_along_its_heading() {
        assert_eq!(along([3.0, 4.0], 0.0, 200.0, 3), [[3.0, 4.0], [203.0, 4.0], [403.0, 4.0]]);
        let down = along([3.0, 4.0], std::f64::consts::FRAC_PI_2, 10.0, 2);
        assert!((down[1][0] - 3.0).abs() < 1e-9 && (down[1][1] - 14.0).abs() < 1e-9, "{down:?}");
    }
}

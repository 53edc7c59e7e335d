//! The dense protocol: random patches against a whole map, to the metre; and patches of another area, which must not be found.

use super::metrics::{Interval, MetricsError, QueryResult, Summary};
use crate::dense::{Calibration, Distance, Ellipse, Evidence, Labelled, Layout, Match, Matcher, SearchConfig, evidence, fix};
use crate::gpu::Precision;
use crate::kernels::sampler::{self, PatchRecord};
pub use crate::locate::RIGHT_M;
use crate::random::Random;
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{PageCache, ScenePair, compose, lonlat_distance_m};
use crate::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// A query's SAR patch has data in at least this share of its pixels.
const QUERY_VALID: f64 = 0.99;
/// And the map below it in this share.
const MAP_VALID: f64 = 0.75;
/// Places tried before the first is found.
pub(super) const MAX_TRIES: usize = 1 << 20;

/// A query with its true place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DenseQuery {
    /// Centre, pixels of its own area's map.
    pub map_px: [f64; 2],
    /// What cuts its patch out of the SAR image.
    pub record: PatchRecord,
}

/// Draws `count` random places of patches of `side` feature pixels of `layout`. The SAR patch has data in 99 % of its pixels, the
/// map below in 75 %. `scale` is the map pixels of the area a map pixel of the layout's map is worth: 1 for its own area.
///
/// # Errors
/// No such place.
pub fn dense_queries(pair: &ScenePair, layout: &Layout, side: usize, scale: f64, count: usize, seed: u64) -> Result<Vec<DenseQuery>> {
    let step = layout.step * scale;
    let extent = side as f64 * step;
    let (w, h) = (f64::from(pair.map.raster.width()), f64::from(pair.map.raster.height()));
    let mut random = Random::new(seed, 2);
    let mut out = Vec::new();
    for tried in 0..count.saturating_mul(1000) {
        if out.len() == count || out.is_empty() && tried > MAX_TRIES {
            break;
        }
        let p = [
            random.range(extent / 2.0, (w - extent / 2.0).max(extent / 2.0)),
            random.range(extent / 2.0, (h - extent / 2.0).max(extent / 2.0)),
        ];
        if pair.map_share(p, extent) < MAP_VALID || pair.sar_share(p, extent)? < QUERY_VALID {
            continue;
        }
        let matrix = compose(pair.link().jacobian(p)?, [[step, 0.0], [0.0, step]]);
        out.push(DenseQuery { map_px: p, record: PatchRecord::from_affine(0, pair.link().apply(p)?, matrix, side)? });
    }
    if out.is_empty() {
        return Err(Error::invalid(format!(
            "no place on the map has a SAR patch of {extent:.0} map pixels with data: do {} and the map overlap?",
            pair.sar.raster.path().display()
        )));
    }
    Ok(out)
}

/// What a search of queries came to.
#[derive(Debug)]
pub struct DenseSearched {
    /// The match of each query.
    pub found: Vec<Match>,
    /// Seconds, features included.
    pub seconds: f64,
    /// Bytes that the kernels read and write at least for a query of a full batch: [`Search::bytes_a_patch`](crate::dense::Search::bytes_a_patch).
    pub bytes_a_query: f64,
}

/// Finds every query on the matcher's map, `batch` at once.
///
/// # Errors
/// Reading, the device.
pub fn dense_matches(
    matcher: &Matcher<'_>,
    pair: &ScenePair,
    queries: &[DenseQuery],
    side: usize,
    batch: usize,
    config: SearchConfig,
    progress: impl FnMut(usize, usize),
) -> Result<DenseSearched> {
    let mut cache = PageCache::new(matcher.engine(), vec![pair.sar.clone()], DEFAULT_PAGES)?;
    let records: Vec<PatchRecord> = queries.iter().map(|q| q.record).collect();
    let taps = sampler::taps_for(queries.first().map_or(1.0, |q| q.record.scale()));
    let mut search = matcher.prepare(&cache, side, taps, batch, config)?;
    // Pages are decoded and the normalisation is made once, before the clock starts.
    search.run(&mut cache, &records[..1.min(records.len())], 1, |_, _| {})?;
    for chunk in records.chunks(batch) {
        cache.require(matcher.engine(), chunk, side)?;
    }
    let start = Instant::now();
    let found = search.run(&mut cache, &records, 1, progress)?;
    Ok(DenseSearched { found, seconds: start.elapsed().as_secs_f64(), bytes_a_query: search.bytes_a_patch() })
}

/// Peaks of each query that [`dense_ranks`] looks at.
const RANKED: usize = 64;
/// Queries that it correlates at once.
const AT_ONCE: usize = 4;

/// Where the queries at `places` (map pixels; patches of `side`) rank among the peaks of the whole map: a peak within half a patch of the truth along both
/// axes is right, as a cell's centre is of [`Database::cell_holds`](crate::index::Database::cell_holds), so that correlation compares with an index.
///
/// # Errors
/// Reading, the device; a position outside a projection's domain.
pub fn dense_ranks(
    matcher: &Matcher<'_>,
    pair: &ScenePair,
    places: &[[f64; 2]],
    side: f64,
    progress: impl FnMut(usize, usize),
) -> Result<Vec<QueryResult>> {
    let manifest = &matcher.database().manifest;
    let patch = manifest.layout.query_side(side)?;
    let step = manifest.layout.step;
    let cut = |p: &[f64; 2]| -> Result<DenseQuery> {
        let matrix = compose(pair.link().jacobian(*p)?, [[step, 0.0], [0.0, step]]);
        Ok(DenseQuery { map_px: *p, record: PatchRecord::from_affine(0, pair.link().apply(*p)?, matrix, patch)? })
    };
    let queries = places.iter().map(cut).collect::<Result<Vec<_>>>()?;
    let config = SearchConfig { top: RANKED, ..SearchConfig::default() };
    let found = dense_matches(matcher, pair, &queries, patch, AT_ONCE, config, progress)?.found;
    let (geo, crs) = manifest.map.georeference()?;
    let lonlat = |p: [f64; 2]| {
        let (x, y) = geo.pixel_to_map(p[0], p[1]);
        crs.to_lonlat(x, y)
    };
    let one = |(truth, m): (&[f64; 2], &Match)| -> Result<QueryResult> {
        let right = |p: [f64; 2]| (0..2).all(|d| (p[d] - truth[d]).abs() <= side / 2.0);
        let error_m = match m.peaks.first() {
            Some(p) => Some(lonlat_distance_m(lonlat(p.map_px)?, lonlat(*truth)?)),
            None => None,
        };
        Ok(QueryResult { right_rank: m.peaks.iter().position(|p| right(p.map_px)).map(|i| i as u32 + 1), error_m })
    };
    places.iter().zip(&found).map(one).collect()
}

/// What became of one query.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DenseResult {
    /// Distance on the ground between fix and truth, metres; none without a peak.
    pub error_m: Option<f64>,
    /// Probability that the fix is right.
    pub probability: f64,
    /// Whether that is above the threshold.
    pub accepted: bool,
    /// Whether the truth lies in the ellipse.
    pub in_ellipse: Option<bool>,
    /// What the surface said.
    pub evidence: Evidence,
    /// Of the highest peak.
    pub score: f64,
    /// The ellipse.
    pub ellipse: Option<Ellipse>,
    /// Error to the right and down, metres.
    pub offset_m: Option<[f64; 2]>,
    /// Covariance by the peak's shape alone (xx, xy, yy), square metres.
    pub shape_m2: Option<[f64; 3]>,
}

/// How far a matcher's map and the SAR image of queries lie from what the features were calibrated on.
///
/// # Errors
/// Reading.
pub fn dense_distance(matcher: &Matcher<'_>, pair: &ScenePair, queries: &[DenseQuery]) -> Result<Distance> {
    crate::dense::distance(matcher, &pair.sar, queries.first().map_or(1.0, |q| q.record.scale()))
}

/// Compares matches with the truth, under a calibration.
///
/// # Errors
/// A position outside a projection's domain.
pub fn dense_results(
    matcher: &Matcher<'_>,
    calibration: &Calibration,
    queries: &[DenseQuery],
    found: &[Match],
    threshold: f64,
) -> Result<Vec<DenseResult>> {
    let map = &matcher.database().manifest.map;
    let (geo, crs) = map.georeference()?;
    let lonlat = |p: [f64; 2]| {
        let (x, y) = geo.pixel_to_map(p[0], p[1]);
        crs.to_lonlat(x, y)
    };
    let metres = map.ground_m() * matcher.database().manifest.layout.step;
    let bare = Calibration { peak_factor: 1.0, floor_m: 0.0, ..calibration.clone() };
    let one = |(query, m): (&DenseQuery, &Match)| -> Result<DenseResult> {
        let (peak, probability, ellipse) = fix(m, calibration, metres);
        let offset_m = peak.map(|p| [0, 1].map(|d| (query.map_px[d] - p.map_px[d]) * map.pixel_m[d]));
        let error_m = match peak {
            Some(p) => Some(lonlat_distance_m(lonlat(p.map_px)?, lonlat(query.map_px)?)),
            None => None,
        };
        Ok(DenseResult {
            error_m,
            probability,
            accepted: peak.is_some() && probability >= threshold,
            in_ellipse: ellipse.zip(offset_m).map(|(e, o)| e.holds(o)),
            evidence: evidence(m),
            score: peak.map_or(f64::NAN, |p| f64::from(p.score)),
            ellipse,
            offset_m,
            shape_m2: peak.map(|p| bare.covariance(&p, m.noise, metres).map(|v| v * metres * metres)),
        })
    };
    queries.iter().zip(found).map(one).collect()
}

/// Evidence with what was right, for [`crate::dense::Calibration::fit`]. `absent` are queries that are not on the map.
pub fn labelled(present: &[DenseResult], absent: &[DenseResult]) -> Vec<Labelled> {
    let of = |r: &DenseResult, right: bool| Labelled { evidence: r.evidence, right };
    let here = present.iter().map(|r| of(r, r.error_m.is_some_and(|e| e <= RIGHT_M)));
    here.chain(absent.iter().map(|r| of(r, false))).collect()
}

/// Figures of the dense protocol, as printed.
#[derive(Debug, Clone, Serialize)]
pub struct DenseReport {
    /// `dense`.
    pub protocol: &'static str,
    /// Name of the features.
    pub features: String,
    /// Side of a patch, map pixels.
    pub patch: u32,
    /// Queries.
    pub queries: usize,
    /// Share of all queries whose highest peak is within so many metres of the truth.
    pub within_m: BTreeMap<u32, f64>,
    /// Their 95 % intervals.
    pub within_m_ci95: BTreeMap<u32, Interval>,
    /// Median distance between the highest peak and the truth, metres.
    pub median_error_m: Option<f64>,
    /// Its 95 % interval.
    pub median_error_ci95: Option<Interval>,
    /// The same of those within 100 m.
    pub median_error_of_right_m: Option<f64>,
    /// A fix less probable than this is "not found".
    pub threshold: f64,
    /// Share of queries with a fix above the threshold.
    pub accepted: f64,
    /// Share of those fixes that are within 100 m.
    pub accepted_right: Option<f64>,
    /// How far map and SAR image lie from what the features were calibrated on.
    pub distance: Distance,
    /// Expected calibration error of the probabilities, ten bins.
    pub calibration_error: f64,
    /// Share of the right fixes whose truth lies in the 95 % ellipse.
    pub ellipse_holds: Option<f64>,
    /// Queries that are not on the map.
    pub absent: Option<Absent>,
    /// How learned features were made.
    pub precision: Precision,
    /// Seconds a query, features included, `batch` at once.
    pub seconds_a_query: f64,
    /// Bytes that the kernels read and write at least for a query of a full batch, each element of a tensor once.
    pub bytes_a_query: f64,
    /// Queries at once.
    pub batch: usize,
    /// Seconds by part.
    pub seconds: BTreeMap<String, f64>,
    /// Size of the map in feature pixels with data, in blocks, and their side.
    pub map: BTreeMap<String, f64>,
    /// Adapter.
    pub adapter: String,
}

/// Queries that are not on the map.
#[derive(Debug, Clone, Serialize)]
pub struct Absent {
    /// How many.
    pub queries: usize,
    /// How many of them got a fix.
    pub false_fixes: usize,
    /// Their share.
    pub share: f64,
    /// How far the map and their SAR image lie from what the features were calibrated on.
    pub distance: Distance,
}

/// Shares and medians with their intervals.
///
/// # Errors
/// No queries.
pub fn dense_summary(results: &[DenseResult], seed: u64) -> Result<Summary, MetricsError> {
    let plain: Vec<QueryResult> = results.iter().map(|r| QueryResult { right_rank: None, error_m: r.error_m }).collect();
    Summary::new(&plain, seed)
}

//! What a trained way finds.

use super::train::Behind;
use super::ways::{BASE, Found};
use super::{STRIP, Study};
use crate::Result;
use crate::dense::{DenseDatabase, DenseModel, FeatureKind, Layout, Matcher, SearchConfig, build as build_dense};
use crate::eval::dense::{DenseQuery, dense_matches};
use crate::eval::metrics::QueryResult;
use crate::eval::{Draw, HeldOut, MAX_RANK, Protocol, Query, draw, encode, judge};
use crate::gpu::Precision;
use crate::index::{CellHit, Database, Embedder, IndexConfig, LoadedModel, RESIDENT_BYTES, Searcher, build};
use crate::kernels::sampler::PatchRecord;
use crate::refine::{DEPTH, Method, Request, Strip, refine};
use crate::scene::{MapInfo, ScenePair, compose, lonlat_distance_m};
use crate::train::TrainConfig;

/// Patches encoded at once.
const BATCH: usize = 64;
/// Seed of the queries.
pub(super) const SEED: u64 = 7;

/// Ground that is judged on: a scene, or what training held out of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) pair: &'a ScenePair,
    pub(super) held_out: Option<HeldOut>,
}

/// Some ground as one encoder sees it.
pub(super) struct Seen<'a> {
    ground: Ground<'a>,
    pub(super) database: Database,
}

/// Queries and what became of them.
pub(super) struct Answers {
    pub(super) queries: Vec<Query>,
    pub(super) hits: Vec<Vec<CellHit>>,
}

impl<'a> Seen<'a> {
    /// Builds the index that a model's training was meant for.
    pub(super) fn new(embedder: &Embedder<'_>, model: &LoadedModel, config: &TrainConfig, ground: Ground<'a>) -> Result<Self> {
        let grid = IndexConfig { cell: config.patch, stride: config.patch, views: config.views, ..IndexConfig::default() };
        Ok(Self { ground, database: build(embedder, model, &ground.pair.map, &grid, Database::in_memory(), |_, _| {})? })
    }

    /// Looks for queries; the same ones whatever the encoder.
    pub(super) fn answers(&self, embedder: &Embedder<'_>, behind: &Behind, protocol: Protocol, count: usize) -> Result<Answers> {
        let (engine, pair) = (embedder.engine(), self.ground.pair);
        let strip = if protocol == Protocol::Arbitrary && self.ground.held_out.is_none() { STRIP } else { 1 };
        let wanted = Draw { protocol, count, strip, seed: SEED, held_out: self.ground.held_out };
        let (queries, strips) = draw(pair, &self.database, embedder.input(), &wanted)?;
        let strips = if behind.in_strips { strips } else { Strip::singles(queries.len()) };
        let vectors = encode(embedder, pair, &queries)?;
        let searcher = Searcher::new(engine, &self.database, RESIDENT_BYTES)?;
        let depth = DEPTH.max(MAX_RANK).min(self.database.cells());
        let hits = searcher.search(engine, &vectors, depth)?;
        let top = behind.refiner.as_ref().map_or(MAX_RANK, |r| r.config().top);
        let Behind { method, slider, refiner, .. } = behind;
        // Votes take as many candidates as the graph network by itself would.
        let top = if *method == Method::Vote { crate::refine::RefinerConfig::default().top } else { top };
        let (slider, refiner) = (slider.as_ref(), refiner.as_ref());
        let request = Request {
            searcher: &searcher,
            database: &self.database,
            queries: &vectors,
            hits: &hits,
            strips: &strips,
            top,
            slider,
            refiner,
        };
        let mut hits = refine(engine, *method, &request)?;
        hits.iter_mut().for_each(|h| h.truncate(MAX_RANK));
        Ok(Answers { queries, hits })
    }
}

/// What an encoder finds with what stands behind it, over all of the ground.
pub(super) fn judge_encoder(study: &Study<'_>, model: &LoadedModel, behind: &Behind, ground: &[Ground<'_>]) -> Result<Found> {
    let config = TrainConfig::of(&model.file.manifest).unwrap_or_else(|| study.recipe.train.clone());
    let embedder = model.embedder(&study.runs.engine, BATCH)?;
    let (mut arbitrary, mut aligned) = (Vec::new(), Vec::new());
    let count = study.runs.options.queries / ground.len() / STRIP * STRIP;
    for ground in ground {
        let seen = Seen::new(&embedder, model, &config, *ground)?;
        let found = |protocol| -> Result<Vec<QueryResult>> {
            let Answers { queries, hits } = seen.answers(&embedder, behind, protocol, count)?;
            judge(&seen.database, &queries, &hits)
        };
        arbitrary.extend(found(Protocol::Arbitrary)?);
        if !behind.in_strips {
            aligned.extend(found(Protocol::Aligned)?);
        }
    }
    Ok(Found { arbitrary, aligned: (!behind.in_strips).then_some(aligned) })
}

/// What correlation finds of the same queries anywhere: a place within half a cell of the truth along both axes is right, as a cell's is.
pub(super) fn judge_dense(study: &Study<'_>, kind: FeatureKind, pair: &ScenePair, seed: u64) -> Result<Found> {
    let engine = &study.runs.engine;
    let config = &study.recipe.train;
    let side = f64::from(config.patch);
    let model = DenseModel::of(kind, None, Precision::Full)?;
    let info = MapInfo::of(&pair.map)?;
    let layout = Layout::new(&info, model.metres(), side, 0)?;
    let queries = places(study, pair, seed)?;
    let patch = layout.query_side(side)?;
    let cut = |q: &Query| -> Result<DenseQuery> {
        let matrix = compose(pair.link().jacobian(q.map_px)?, [[layout.step, 0.0], [0.0, layout.step]]);
        let record = PatchRecord::from_affine(0, pair.link().apply(q.map_px)?, matrix, patch)?;
        Ok(DenseQuery { map_px: q.map_px, record })
    };
    let cut = queries.iter().map(cut).collect::<Result<Vec<_>>>()?;
    let database = build_dense(engine, &model, &pair.map, &layout, DenseDatabase::temporary(), |_, _| {})?;
    let matcher = Matcher::new(engine, &database, &model, RESIDENT_BYTES)?;
    let bar = study.runs.global.bar(0, "correlating");
    let search = SearchConfig { top: MAX_RANK.min(64), ..SearchConfig::default() };
    let found = dense_matches(&matcher, pair, &cut, patch, 4, search, |done, total| bar.advance(done, total))?.found;
    bar.finish_and_clear();
    let (geo, crs) = info.georeference()?;
    let lonlat = |p: [f64; 2]| {
        let (x, y) = geo.pixel_to_map(p[0], p[1]);
        crs.to_lonlat(x, y)
    };
    let mut arbitrary = Vec::with_capacity(queries.len());
    for (query, m) in queries.iter().zip(&found) {
        let right = |p: [f64; 2]| (0..2).all(|d| (p[d] - query.map_px[d]).abs() <= side / 2.0);
        let error_m = match m.peaks.first() {
            Some(p) => Some(lonlat_distance_m(lonlat(p.map_px)?, lonlat(query.map_px)?)),
            None => None,
        };
        let right_rank = m.peaks.iter().position(|p| right(p.map_px)).map(|i| i as u32 + 1);
        arbitrary.push(QueryResult { right_rank, error_m });
    }
    Ok(Found { arbitrary, aligned: None })
}

/// The queries anywhere of the scene never trained on, as every encoder is asked them.
pub(super) fn places(study: &Study<'_>, pair: &ScenePair, seed: u64) -> Result<Vec<Query>> {
    let config = &study.recipe.train;
    // Where cells lie is all that queries want of an index: any encoder's will do.
    let model = study.encoder(BASE, seed)?;
    let embedder = model.embedder(&study.runs.engine, BATCH)?;
    let seen = Seen::new(&embedder, &model, &TrainConfig { views: 1, ..config.clone() }, Ground { pair, held_out: None })?;
    let wanted = Draw { strip: STRIP, ..Draw::new(Protocol::Arbitrary, study.runs.options.queries / STRIP * STRIP, SEED) };
    Ok(draw(pair, &seen.database, config.encoder.input, &wanted)?.0)
}

//! What a trained way finds.

use super::outcome::Found;
use super::study::{STRIP, Study};
use crate::Result;
use crate::cli::study::runs::{Ledger, Runs};
use crate::dense::{DenseDatabase, DenseModel, FeatureKind, Layout, Matcher, build as build_dense};
use crate::eval::dense::dense_ranks;
use crate::eval::{Draw, Evaluation, Ground, MAX_RANK, Protocol, Query, Refinement, draw, evaluate_refined};
use crate::gpu::Precision;
use crate::index::{Database, Embedder, LoadedModel, RESIDENT_BYTES, Searcher, build};
use crate::refine::{Method, Refiner, RefinerConfig, Slider, Strip};
use crate::scene::{MapInfo, ScenePair};
use crate::train::TrainConfig;

/// Patches encoded at once.
const BATCH: usize = 64;
/// Seed of the queries.
const SEED: u64 = 7;

/// What stands behind an encoder.
pub(super) struct Behind {
    pub(super) method: Method,
    pub(super) slider: Option<Slider>,
    pub(super) refiner: Option<Refiner>,
    pub(super) in_strips: bool,
}

/// A scene, and the ground of it that is judged on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged<'a> {
    pub(super) pair: &'a ScenePair,
    pub(super) ground: Ground,
}

/// A scene as one encoder sees it.
pub(super) struct Seen<'a> {
    judged: Judged<'a>,
    pub(super) database: Database,
}

impl<'a> Seen<'a> {
    /// Builds the index that a model's training was meant for.
    pub(super) fn new(embedder: &Embedder<'_>, model: &LoadedModel, config: &TrainConfig, judged: Judged<'a>) -> Result<Self> {
        let grid = config.grid(config.views);
        Ok(Self { judged, database: build(embedder, model, &judged.pair.map, &grid, Database::in_memory(), |_, _| {})? })
    }

    /// The queries; the same ones whatever the encoder.
    fn queries(&self, input: usize, protocol: Protocol, count: usize) -> Result<(Vec<Query>, Vec<Strip>)> {
        // Strips of queries do not fit on strips of the ground.
        let strip = if protocol == Protocol::Arbitrary && self.judged.ground == Ground::All { STRIP } else { 1 };
        draw(self.judged.pair, &self.database, input, &Draw { protocol, count, strip, seed: SEED, ground: self.judged.ground })
    }

    /// Looks for queries.
    pub(super) fn answers(&self, embedder: &Embedder<'_>, behind: &Behind, protocol: Protocol, count: usize) -> Result<Evaluation> {
        let (queries, strips) = self.queries(embedder.input(), protocol, count)?;
        let strips = if behind.in_strips { strips } else { Strip::singles(queries.len()) };
        let Behind { method, slider, refiner, .. } = behind;
        let top = match (refiner, method) {
            (Some(refiner), _) => refiner.config().top,
            // Votes take as many candidates as the graph network by itself would.
            (None, Method::Vote) => RefinerConfig::default().top,
            (None, _) => MAX_RANK,
        };
        let refinement = Refinement { method: *method, top, strips: &strips, slider: slider.as_ref(), refiner: refiner.as_ref() };
        let searcher = Searcher::new(embedder.engine(), &self.database, RESIDENT_BYTES)?;
        evaluate_refined(embedder, self.judged.pair, &self.database, &searcher, queries, &refinement)
    }
}

/// What an encoder finds with what stands behind it, over all of the ground.
pub(super) fn judge_encoder(study: &Study<'_>, model: &LoadedModel, behind: &Behind, ground: &[Judged<'_>]) -> Result<Found> {
    let config = TrainConfig::of(&model.file.manifest).unwrap_or_else(|| study.recipe.train.clone());
    let embedder = model.embedder(&study.runs.ledger.engine, BATCH)?;
    let (mut arbitrary, mut aligned) = (Vec::new(), Vec::new());
    let count = study.runs.options.queries / ground.len() / STRIP * STRIP;
    for judged in ground {
        let seen = Seen::new(&embedder, model, &config, *judged)?;
        arbitrary.extend(seen.answers(&embedder, behind, Protocol::Arbitrary, count)?.results);
        if !behind.in_strips {
            aligned.extend(seen.answers(&embedder, behind, Protocol::Aligned, count)?.results);
        }
    }
    Ok(Found { arbitrary, aligned: (!behind.in_strips).then_some(aligned) })
}

/// The queries anywhere of the scene never trained on, as every encoder is asked them. Where cells lie is all that they want of an index: any
/// encoder's will do.
pub(super) fn places(study: &Study<'_>, model: &LoadedModel) -> Result<Vec<Query>> {
    let config = TrainConfig { views: 1, ..study.recipe.train.clone() };
    let embedder = model.embedder(&study.runs.ledger.engine, BATCH)?;
    let seen = Seen::new(&embedder, model, &config, Judged { pair: &study.runs.val, ground: Ground::All })?;
    Ok(seen.queries(embedder.input(), Protocol::Arbitrary, study.runs.options.queries / STRIP * STRIP)?.0)
}

/// What correlation with the whole map finds of these queries.
pub(super) fn judge_dense(study: &Study<'_>, kind: FeatureKind, queries: &[Query]) -> Result<Found> {
    let Runs { ledger: Ledger { engine, global, .. }, val, .. } = &study.runs;
    let side = f64::from(study.recipe.train.patch);
    let model = DenseModel::of(kind, None, Precision::Full)?;
    let layout = Layout::new(&MapInfo::of(&val.map)?, model.metres(), side, 0)?;
    let database = build_dense(engine, &model, &val.map, &layout, DenseDatabase::temporary(), |_, _| {})?;
    let matcher = Matcher::new(engine, &database, &model, RESIDENT_BYTES)?;
    let bar = global.bar(0, "correlating");
    let places: Vec<[f64; 2]> = queries.iter().map(|q| q.map_px).collect();
    let arbitrary = dense_ranks(&matcher, val, &places, side, |done, total| bar.advance(done, total))?;
    bar.finish_and_clear();
    Ok(Found { arbitrary, aligned: None })
}

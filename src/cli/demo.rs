//! `echogrid demo`.

use super::common::{Global, check_file, check_output, name_of, print_json};
use super::databases::{build_dense_with_bar, build_with_bar};
use super::present::{features_name, meta, model_name, overview_with, pictured};
use crate::Result;
use crate::dense::{DenseDatabase, DenseModel, FeatureKind, Layout};
use crate::eval::MAX_RANK;
use crate::eval::metrics::{QueryResult, Summary, recall_curve};
use crate::gpu::{Engine, Precision};
use crate::index::{Database, IndexConfig, LoadedModel};
use crate::locate::{Located, Locator, Method, Options, Query, dense_beside};
use crate::report::pictures::Subject;
use crate::report::{Outcome, csv, figures, geojson, html::Page, write_atomically};
use crate::scene::{Image, MapInfo};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Everything once: a synthetic city, its databases, its SAR image located by dense matching and by retrieval, a report to look at
///
/// Needs no data and takes under two minutes on two processor cores. The patches lie anywhere, not on the grid; those that are not probable
/// enough are "not found".
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for the scene, the index, the fixes and report.html; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "echogrid-demo")]
    out: PathBuf,
    /// Model [default: the shipped weights]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Seed of the city
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Width and height of the city, pixels of 10 m
    #[arg(long, value_name = "PX", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(600..=16384))]
    size: u32,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Distance between the patches: shares no factor with the cells, so that they lie anywhere against the grid.
const STEP: u32 = 137;
/// Side of a patch, map pixels.
const PATCH: u32 = 200;

/// Locates the image by a method, its own georeference the truth.
fn locate(global: &Global, engine: &Engine, db: &Path, sar: &Path, options: Options) -> Result<Located> {
    let locator = Locator::open(engine, db, options)?;
    let bar = global.bar(0, "locating");
    let mut all = locator.locate(&[Query::file(sar)], |done, total| bar.advance(done, total))?;
    bar.finish_and_clear();
    let mut located = all.remove(0)?;
    locator.own_is_true(&mut located);
    Ok(located)
}

/// Rank and error of each patch.
fn results(located: &Located) -> Vec<QueryResult> {
    located.fixes.iter().map(|f| QueryResult { right_rank: f.right_rank(), error_m: f.error_m() }).collect()
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let whole = Instant::now();
    let model = LoadedModel::load(args.model.as_deref())?;
    let features = DenseModel::of(FeatureKind::Learned, None, Precision::Full)?;
    let engine = global.engine()?;
    let mut seconds = BTreeMap::new();
    let mut lap = Instant::now();
    let mut stage = |name: &str, lap: &mut Instant| {
        seconds.insert(name.to_string(), lap.elapsed().as_secs_f64());
        *lap = Instant::now();
    };
    let scene = super::synth::write(global, &args.out, args.seed, args.size)?;
    let file = |name: &str| args.out.join(name);
    let (db, geo, table, page) = (file("index.safetensors"), file("fixes.geojson"), file("fixes.csv"), file("report.html"));
    check_file(&db)?;
    [&geo, &table, &page].into_iter().try_for_each(|p| check_output(p))?;
    stage("synth", &mut lap);

    let map = Arc::new(Image::map(&scene.map)?);
    let embedder = model.embedder(&engine, 64)?;
    let (database, _) = build_with_bar(global, &embedder, &model, &map, &IndexConfig::default(), Database::writer(&db))?;
    let layout = Layout::new(&MapInfo::of(&map)?, features.metres(), f64::from(PATCH), 0)?;
    let cells = database.cells();
    drop((database, embedder));
    let writer = DenseDatabase::writer(&dense_beside(&db));
    drop(build_dense_with_bar(global, &engine, &features, &map, &layout, writer)?);
    stage("index", &mut lap);

    let both = Options { step: Some(STEP), patch: Some(PATCH), ..Options::default() };
    let dense = Options { method: Some(Method::Dense), surfaces: true, ..both.clone() };
    let located = locate(global, &engine, &db, &scene.sar, dense)?;
    stage("dense matching", &mut lap);
    let index = Options { method: Some(Method::Index), model: args.model.clone(), top: MAX_RANK, ..both };
    let retrieved = locate(global, &engine, &db, &scene.sar, index)?;
    stage("retrieval", &mut lap);

    let outcome: [Outcome<'_>; 1] = [Ok(&located)];
    geojson::write(&geo, &outcome)?;
    write_atomically(&table, csv::images(&outcome)?.as_bytes())?;
    let (summary, found) = (Summary::new(&results(&retrieved), 7)?, results(&located));
    let depth = (cells as u32).min(MAX_RANK as u32);
    let curve = recall_curve(&results(&retrieved), depth, 7)?;
    let errors = figures::error_cdf(&[("dense matching", &found), ("retrieval", &results(&retrieved))])?;
    let figures = [
        ("Share of patches whose fix is at most so far off; what was not found counts as off".to_string(), errors),
        (
            "Retrieval beside it: share of patches whose right cell is among the first k".to_string(),
            figures::recall_curve(&[("cells", &curve)])?,
        ),
    ];
    let right = located.fixes.iter().filter(|f| f.right() == Some(true)).count();
    let percent = |k: u32| summary.recall.get(&k).map_or(0.0, |e| 100.0 * e.value);
    let beside = format!("{:.1} % at the first place, {:.1} % among ten", percent(1), percent(10));
    let rows = vec![
        ("Patches".into(), format!("{} of {PATCH} map pixels, every {STEP}", located.fixes.len())),
        ("Compared with".into(), "the truth, which the generator knows exactly and the search does not".into()),
        ("Retrieval beside it".into(), format!("the right one of {cells} cells: {beside}")),
        ("Cells by".into(), model_name(&model)),
    ];
    let adapter = engine.adapter().to_string();
    let meta = meta(
        "Radar patches of a synthetic city, found on its map",
        "optical.tif (synthetic)",
        "sar.tif (synthetic)",
        features_name(&features),
        &adapter,
        rows,
    );
    let database = DenseDatabase::open(&dense_beside(&db))?;
    let subject = |(fix, found)| -> Subject<'_> {
        let fix: &crate::locate::Fix = fix;
        let matrix = located.frame.matrix_at(fix.sar_px);
        Subject { sar: located.image.as_deref(), matrix, side: located.side_px, map: Some(&map), surface: Some((found, &database)) }
    };
    let subjects: Vec<Subject<'_>> = located.fixes.iter().zip(&located.matches).map(subject).collect();
    let pictures = pictured(global, &located.fixes, &subjects, &[subjects.len()])?;
    let overview = overview_with(global, &map, &[&located])?;
    Page { images: &outcome, pictures: &pictures, overview: Some(&overview), figures: &figures, ..Page::new(&meta, &located.fixes) }
        .write(&page)?;
    stage("report", &mut lap);

    let all_s = whole.elapsed().as_secs_f64();
    if args.json {
        return print_json(&serde_json::json!({
            "verdict": located.verdict.name(), "probability": located.probability, "patches": located.fixes.len(), "found": located.found(),
            "right": right, "retrieval": { "cells": cells, "r_at_1": percent(1) / 100.0, "r_at_10": percent(10) / 100.0 },
            "report": page, "fixes": geo, "seconds": seconds, "all_s": all_s, "adapter": adapter,
        }));
    }
    out!("{}: {}", name_of(&scene.sar), located.verdict.words());
    out!(
        "dense matching  {} of {} patches found, {right} of them right, {} not found",
        located.found(),
        found.len(),
        found.len() - located.found()
    );
    out!("retrieval       {beside} of {cells} cells");
    out!("time            {all_s:.1} s on {adapter}");
    out!("open {} in a browser; {} goes into any GIS", page.display(), geo.display());
    Ok(())
}

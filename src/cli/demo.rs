//! `echogrid demo`.

use super::common::{Global, check_file, check_output, name_of, print_json};
use super::index::build_with_bar;
use super::locate::{found, rows};
use super::present::{add_pictures, fixes, meta, model_name, overview};
use crate::Result;
use crate::eval::metrics::{EvalReport, QueryResult, Summary, recall_curve};
use crate::eval::{MAX_RANK, right};
use crate::index::{Database, IndexConfig, LoadedModel, LocateConfig, RESIDENT_BYTES, Searcher, locate};
use crate::report::{csv, figures, geojson, html::Page};
use crate::scene::Image;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Everything once: a synthetic city, its index, its SAR patches located, a report to look at
///
/// Needs no data and takes under two minutes on two processor cores. The patches lie anywhere, not on the grid.
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

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let whole = Instant::now();
    let model = LoadedModel::load(args.model.as_deref())?;
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
    let sar = Arc::new(Image::sar(&scene.sar, None)?);
    let embedder = model.embedder(&engine, 64)?;
    stage("start", &mut lap);
    let (database, index_s) = build_with_bar(global, &embedder, &model, &map, &IndexConfig::default(), Database::writer(&db))?;
    let searcher = Searcher::new(&engine, &database, RESIDENT_BYTES)?;
    stage("index", &mut lap);

    let config = LocateConfig { step: STEP, top: MAX_RANK, ..LocateConfig::new(&database) };
    let bar = global.bar(0, "locating");
    let located = locate(&embedder, &database, &searcher, &sar, &config, |done, total| bar.advance(done, total))?;
    bar.finish_and_clear();
    stage("locate", &mut lap);

    let found = found(&located);
    let side = f64::from(config.patch);
    let mut fixes = fixes(&database, &found, side, 10)?;
    geojson::write(&geo, &fixes)?;
    csv::write_fixes(&table, &fixes)?;
    let results: Vec<QueryResult> = found
        .iter()
        .zip(&fixes)
        .map(|(f, fix)| QueryResult {
            right_rank: f.truth_px.and_then(|p| f.hits.iter().position(|h| right(&database, h.cell, p))).map(|i| i as u32 + 1),
            error_m: fix.error_m(),
        })
        .collect();
    add_pictures(global, &mut fixes, &found, side, &sar, Some(&map))?;
    let overview = overview(global, &map)?;
    let summary = Summary::new(&results, 7)?;
    let depth = (database.cells() as u32).min(MAX_RANK as u32);
    let curve = recall_curve(&results, depth, 7)?;
    let figures = [
        ("Share of queries whose right cell is among the first k".to_string(), figures::recall_curve(&[("synthetic city", &curve)])?),
        ("Share of queries whose fix is at most so far off".to_string(), figures::error_cdf(&[("synthetic city", &results)])?),
    ];
    stage("report", &mut lap);
    let report = EvalReport::new("arbitrary", database.cells(), engine.adapter().to_string(), seconds, &summary);
    let mut rows = rows(&located, &config, &name_of(&scene.map));
    rows.push(("Compared with".into(), "the truth, which the generator knows exactly and the search does not".into()));
    let adapter = engine.adapter().to_string();
    let meta = meta(
        "Radar patches of a synthetic city, found on its map",
        "optical.tif (synthetic)",
        "sar.tif (synthetic)",
        model_name(&model),
        &adapter,
        rows,
    );
    Page { summary: Some(&report), overview: Some(&overview), figures: &figures, ..Page::new(&meta, &fixes) }.write(&page)?;

    if args.json {
        let mut value = serde_json::to_value(&report).unwrap_or_default();
        value["report"] = serde_json::json!(page);
        value["fixes"] = serde_json::json!(geo);
        value["all_s"] = serde_json::json!(whole.elapsed().as_secs_f64());
        return print_json(&value);
    }
    out!("{report}");
    out!(
        "{} cells indexed in {index_s:.1} s, {} patches located; {:.1} s in all",
        database.cells(),
        fixes.len(),
        whole.elapsed().as_secs_f64()
    );
    out!("open {} in a browser; {} goes into any GIS", page.display(), geo.display());
    Ok(())
}

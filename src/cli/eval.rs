//! `echogrid eval`.

use super::common::{Global, MapArgs, SarArgs, check_output, name_of, print_json};
use super::cost::weigh_index;
use super::dense_args::{DenseArgs, MatchArgs};
use super::index::{GridArgs, build_with_bar};
use super::present::{meta, model_name, overview, pictured};
use super::refine_args::RefineArgs;
use crate::eval::metrics::{EvalReport, Refined, Summary, calibration_error, recall_curve_of_strips};
use crate::eval::{Evaluation, MAX_RANK, Protocol, Refinement, evaluate_refined, strips};
use crate::index::{Database, LoadedModel, RESIDENT_BYTES, Searcher};
use crate::locate::Method;
use crate::locate::{Fix, Places, fill_cells};
use crate::refine::Prepared;
use crate::report::pictures::Subject;
use crate::report::{figures, html::Page};
use crate::scene::ScenePair;
use crate::{Error, Result, refine};
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProtocolArg {
    /// Queries cut on the grid itself
    Aligned,
    /// Queries anywhere
    Arbitrary,
    /// Queries anywhere, correlated with the whole map to the metre
    Dense,
}

/// Measure how well SAR patches are found on a map
///
/// Both images must be georeferenced: that is the truth. A candidate cell is right when its centre lies within half a cell of
/// the query's centre in both axes. Errors are distances on the ground from the best view of the first candidate.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(super) map: MapArgs,
    /// SAR image of the same area
    #[arg(long, value_name = "SAR")]
    pub(super) sar: PathBuf,
    /// Model [default: the shipped weights]
    #[arg(long, value_name = "MODEL")]
    pub(super) model: Option<PathBuf>,
    /// Where queries lie
    #[arg(long, value_enum)]
    protocol: ProtocolArg,
    /// Number of queries (aligned: at most one a cell)
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub(super) queries: usize,
    /// Seed of the places and of the intervals
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub(super) seed: u64,
    #[command(flatten)]
    pub(super) grid: GridArgs,
    #[command(flatten)]
    pub(super) reading: SarArgs,
    #[command(flatten)]
    pub(super) dense: DenseArgs,
    /// How to look (dense protocol): over the whole map, or around the best cells of a retrieval index only
    #[arg(long, value_enum, default_value_t = Method::Dense, help_heading = "Dense matching")]
    pub(super) method: Method,
    /// Cells looked into for each patch, with --method both
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Dense matching")]
    pub(super) cells: u32,
    /// Standard deviations of the surface that a cosine of 1 adds to a peak, with --method both
    #[arg(long, value_name = "F", default_value_t = 1.0, hide = true)]
    pub(super) index_credit: f64,
    #[command(flatten)]
    pub(super) matching: MatchArgs,
    /// Map and SAR image of another area, whose patches must not be found (dense protocol)
    #[arg(long, num_args = 2, value_names = ["MAP", "SAR"])]
    pub(super) absent: Option<Vec<PathBuf>>,
    /// Write every query's result (dense protocol)
    #[arg(long, value_name = "FILE.json")]
    pub(super) dump: Option<PathBuf>,
    #[command(flatten)]
    refinement: RefineArgs,
    /// Queries in strips of N, a cell apart along a random heading and refined together; --queries counts all of them (arbitrary protocol)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Refinement")]
    strip: u32,
    /// A page with figures and pictures to look at
    #[arg(long, value_name = "FILE.html")]
    pub(super) report: Option<PathBuf>,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
}

/// Writes the page.
fn write_page(
    global: &Global,
    args: &Args,
    path: &Path,
    model: &LoadedModel,
    pair: &ScenePair,
    database: &Database,
    evaluation: &Evaluation,
    report: &EvalReport,
) -> Result<()> {
    let side = f64::from(args.grid.cell);
    let places = Places::new(&database.manifest.map)?;
    let digits = evaluation.queries.len().to_string().len().max(3);
    let (mut fixes, mut subjects) = (Vec::new(), Vec::new());
    for (i, (query, hits)) in evaluation.queries.iter().zip(&evaluation.hits).enumerate() {
        let (p, link) = (query.map_px, pair.link());
        let mut fix = Fix::new(format!("p{:0digits$}", i + 1), link.apply(p)?);
        fill_cells(&mut fix, hits, 10, side, &places)?;
        fix.set_truth(places.at(p)?, |c, _| c.cell.is_some_and(|cell| database.cell_holds(cell, p)));
        fixes.push(fix);
        subjects.push(Subject { sar: &pair.sar, matrix: link.jacobian(p)?, side, map: Some(&pair.map), surface: None });
    }
    let pictures = pictured(global, &fixes, &subjects, &[fixes.len()])?;
    let overview = overview(global, &pair.map)?;
    let depth = (database.cells() as u32).min(MAX_RANK as u32);
    let curve = recall_curve_of_strips(&evaluation.results, args.strip as usize, depth, args.seed)?;
    let name = report.protocol.as_str();
    let mut figures = vec![
        ("Share of queries whose right cell is among the first k".to_string(), figures::recall_curve(&[(name, &curve)])?),
        ("Share of queries whose fix is at most so far off".to_string(), figures::error_cdf(&[(name, &evaluation.results)])?),
    ];
    if let Some(cases) = report.refine.and_then(|r| probabilities(evaluation, r.method)) {
        figures.push(("How often a first candidate of such a probability is right".into(), figures::reliability(&cases)?));
    }
    let mut rows = vec![("Compared with".into(), "the georeferences of both images, not used in the search".into())];
    rows.extend(report.refine.map(|r| ("Refinement".into(), r.to_string())));
    let (map, sar) = (args.map.name(), name_of(&args.sar));
    let meta = meta(&format!("How well {sar} is found on {map}"), &map, &sar, model_name(model), &report.adapter, rows);
    Page { summary: Some(report), pictures: &pictures, overview: Some(&overview), figures: &figures, ..Page::new(&meta, &fixes) }
        .write(path)?;
    global.say(format_args!("wrote {}", path.display()));
    Ok(())
}

/// Probability of each query's first candidate and whether it is right, where the method gives probabilities.
fn probabilities(evaluation: &Evaluation, method: refine::Method) -> Option<Vec<(f64, bool)>> {
    let cases = || {
        evaluation.hits.iter().zip(&evaluation.results).filter_map(|(h, r)| Some((f64::from(h.first()?.score), r.right_rank == Some(1))))
    };
    (method == refine::Method::Graph).then(|| cases().collect())
}

/// Refuses options of refinement that make no sense together.
fn check_refinement(args: &Args) -> Result<()> {
    args.refinement.choice().check()?;
    let e = match args.protocol {
        ProtocolArg::Dense if !args.refinement.choice().is_none() || args.strip > 1 => {
            "--refine, --refine-top, --slide and --strip are about cells, and dense matching finds places without them: leave them out, or take --protocol arbitrary".into()
        }
        ProtocolArg::Aligned if args.strip > 1 => {
            "--strip lays queries askew to the grid: take --protocol arbitrary, or leave it out".into()
        }
        _ if args.strip as usize > args.queries.max(1) => {
            format!("{} queries make no strip of {}: take more --queries or a shorter --strip", args.queries, args.strip)
        }
        _ => return Ok(()),
    };
    Err(Error::Invalid(e))
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    check_refinement(args)?;
    [&args.report, &args.dump].into_iter().flatten().try_for_each(|p| check_output(p))?;
    if matches!(args.protocol, ProtocolArg::Dense) {
        return super::eval_dense::run(global, args);
    }
    let start = Instant::now();
    let model = args.dense.what.encoder(args.model.as_deref())?;
    let pair = args.reading.pair(&args.map, &args.sar)?;
    weigh_index(global, &pair.map, &args.grid.config(), model.encoder().dim(), None)?;
    let mut seconds = BTreeMap::from([("open".to_string(), start.elapsed().as_secs_f64())]);
    let start = Instant::now();
    let engine = global.engine()?;
    let embedder = model.embedder(&engine, args.grid.batch as usize)?;
    seconds.insert("start".into(), start.elapsed().as_secs_f64());
    let start = Instant::now();
    let grid = args.grid.config();
    let (database, _) = build_with_bar(global, &embedder, &model, &pair.map, &grid, Database::in_memory())?;
    let searcher = Searcher::new(&engine, &database, RESIDENT_BYTES)?;
    seconds.insert("index".into(), start.elapsed().as_secs_f64());
    let (name, protocol) = match args.protocol {
        ProtocolArg::Aligned => ("aligned", Protocol::Aligned),
        _ => ("arbitrary", Protocol::Arbitrary),
    };
    let strip = args.strip as usize;
    let (queries, strips) = strips(&pair, &database, protocol, args.queries, strip, embedder.input(), args.seed)?;
    let prepared = args.refinement.choice().prepare(&engine, &model)?;
    let Prepared { method, top, ref slider, ref refiner } = prepared;
    let refinement = Refinement { method, top, strips: &strips, slider: slider.as_ref(), refiner: refiner.as_ref() };
    let evaluation = evaluate_refined(&embedder, &pair, &database, &searcher, queries, &refinement)?;
    seconds.insert("encode".into(), evaluation.encode_s);
    seconds.insert("search".into(), evaluation.search_s);
    seconds.insert("refine".into(), evaluation.refine_s);
    let summary = Summary::of_strips(&evaluation.results, strip, args.seed)?;
    let mut report = EvalReport::new(name, database.cells(), engine.adapter().to_string(), seconds, &summary);
    report.precision = model.precision();
    report.refine = Some(Refined { method, top, strip, slide: prepared.slide() });
    report.calibration_error = probabilities(&evaluation, method).map(|cases| calibration_error(&cases));
    if let Some(path) = &args.report {
        write_page(global, args, path, &model, &pair, &database, &evaluation, &report)?;
    }
    if args.json {
        return print_json(&report);
    }
    out!("{report}");
    Ok(())
}

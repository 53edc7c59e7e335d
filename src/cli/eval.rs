//! `echogrid eval`.

use super::common::{Global, Unit, print_json};
use crate::Result;
use crate::eval::metrics::{EvalReport, Summary};
use crate::eval::{Protocol, evaluate, queries};
use crate::index::{DEFAULT_VIEWS, Database, IndexConfig, LoadedModel, RESIDENT_BYTES, Searcher, build};
use crate::scene::ScenePair;
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProtocolArg {
    /// Queries cut on the grid itself
    Aligned,
    /// Queries anywhere
    Arbitrary,
}

/// Measure how well SAR patches are found on a map
///
/// Both images must be georeferenced: that is the truth. A candidate cell is right when its centre lies within half a cell of
/// the query's centre in both axes. Errors are distances on the ground from the best view of the first candidate.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Optical map
    #[arg(long)]
    map: PathBuf,
    /// SAR image of the same area
    #[arg(long)]
    sar: PathBuf,
    /// Model [default: the shipped weights]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Where queries lie
    #[arg(long, value_enum)]
    protocol: ProtocolArg,
    /// Number of queries (aligned: at most one a cell)
    #[arg(long, default_value_t = 500)]
    queries: usize,
    /// Seed of the places and of the intervals
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Side of a cell, map pixels
    #[arg(long, default_value_t = 200)]
    cell: u32,
    /// Distance between cells, map pixels [default: the cell]
    #[arg(long)]
    stride: Option<u32>,
    /// Positions a side at which each cell is encoded (odd)
    #[arg(long, default_value_t = DEFAULT_VIEWS)]
    views: u32,
    /// Patches encoded at once
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// What the SAR values measure [default: guessed]
    #[arg(long, value_enum)]
    sar_unit: Option<Unit>,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let start = Instant::now();
    let model = LoadedModel::load(args.model.as_deref())?;
    let pair = ScenePair::open(&args.map, &args.sar, args.sar_unit.map(Into::into))?;
    let mut seconds = BTreeMap::from([("open".to_string(), start.elapsed().as_secs_f64())]);
    let start = Instant::now();
    let engine = global.engine()?;
    let embedder = model.embedder(&engine, args.batch)?;
    seconds.insert("start".into(), start.elapsed().as_secs_f64());
    let start = Instant::now();
    let grid = IndexConfig { cell: args.cell, stride: args.stride.unwrap_or(args.cell), views: args.views, ..IndexConfig::default() };
    let bar = global.bar(0, "indexing");
    let database = build(&embedder, &model, &pair.map, &grid, Database::in_memory(), |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let searcher = Searcher::new(&engine, &database, RESIDENT_BYTES)?;
    seconds.insert("index".into(), start.elapsed().as_secs_f64());
    let (name, protocol) = match args.protocol {
        ProtocolArg::Aligned => ("aligned", Protocol::Aligned),
        ProtocolArg::Arbitrary => ("arbitrary", Protocol::Arbitrary),
    };
    let queries = queries(&pair, &database, protocol, args.queries, embedder.input(), args.seed)?;
    let evaluation = evaluate(&embedder, &pair, &database, &searcher, queries)?;
    seconds.insert("encode".into(), evaluation.encode_s);
    seconds.insert("search".into(), evaluation.search_s);
    let summary = Summary::new(&evaluation.results, args.seed)?;
    let report = EvalReport::new(name, database.cells(), engine.adapter().to_string(), seconds, &summary);
    if args.json {
        print_json(&report)?;
    } else {
        println!("{report}");
    }
    Ok(())
}

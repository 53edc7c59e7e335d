//! `echogrid eval`.

mod args;
mod cells;
mod dense;
mod dense_page;
mod matching;
mod page;

pub use args::Args;

use super::common::{Global, check_apart, check_output, print_json};
use super::cost::weigh_index;
use super::databases::build_with_bar;
use crate::eval::metrics::{EvalReport, Refined, Summary, calibration_error};
use crate::eval::{Draw, Ground, HeldOut, Protocol, Refinement, draw, evaluate_refined};
use crate::index::{Database, LoadedModel, RESIDENT_BYTES, Searcher};
use crate::refine::Prepared;
use crate::scene::ScenePair;
use crate::train::{TrainConfig, scene_records};
use crate::{Error, Result};
use args::ProtocolArg;
use page::{probabilities, write_page};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Refuses options of refinement that make no sense together.
fn check_refinement(args: &Args) -> Result<()> {
    args.refinement.choice().check()?;
    let e = match args.protocol {
        ProtocolArg::Dense if !args.refinement.choice().is_none() || args.strip > 1 => {
            "--refine, --refine-top, --slide and --strip are about cells, and dense matching finds places without them: leave them out, or take --protocol arbitrary".into()
        }
        ProtocolArg::Dense if args.held_out => {
            "--held-out is about encoders, whose training says what it held out: take --protocol aligned or arbitrary, or leave it out".into()
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

/// The ground of a scene whose SAR image the model's training held out.
fn held_out(model: &LoadedModel, pair: &ScenePair) -> Result<HeldOut> {
    let manifest = &model.file.manifest;
    let strips = TrainConfig::of(manifest).and_then(|c| c.held_out()).ok_or_else(|| {
        Error::file(&model.path, "was trained on all the ground of its scenes; --held-out takes a model trained with held_out above 0")
    })?;
    let own = scene_records(std::slice::from_ref(pair))?;
    match manifest.scenes.iter().any(|s| s.is(&own[0])) {
        true => Ok(strips),
        false => {
            let names: Vec<&str> = manifest.scenes.iter().map(|s| s.map.as_str()).collect();
            Err(Error::invalid(format!(
                "--held-out is about the scenes that the model was trained on, and this is none of them: {}",
                names.join(", ")
            )))
        }
    }
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    check_refinement(args)?;
    let outputs: Vec<&Path> = [&args.report, &args.dump, &args.figure].into_iter().flatten().map(PathBuf::as_path).collect();
    outputs.iter().try_for_each(|p| check_output(p))?;
    let absent = args.absent.iter().chain(&args.absent_pairs).flatten();
    let read = args.scene.inputs().chain(absent).chain(&args.model);
    check_apart(&outputs, read.map(PathBuf::as_path))?;
    if args.pairwise {
        return matching::run(global, args);
    }
    if matches!(args.protocol, ProtocolArg::Dense) {
        return dense::run(global, args);
    }
    if let Some(path) = &args.dense.what.dense_model {
        return Err(Error::invalid(format!(
            "--dense-model {}: features for --protocol dense; name a retrieval model with --model",
            path.display()
        )));
    }
    let start = Instant::now();
    let model = args.dense.what.encoder(args.model.as_deref())?;
    let grid = args.grid.config();
    let ground = args.scene.ground()?;
    ground.check_holds("a cell (--cell)", grid.cell)?;
    let pair = args.scene.open(&ground, &args.reading, grid.stride)?;
    let held_out = args.held_out.then(|| held_out(&model, &pair)).transpose()?;
    weigh_index(global, &pair.map, &grid, model.encoder().dim(), None)?;
    let mut seconds = BTreeMap::from([("open".to_string(), start.elapsed().as_secs_f64())]);
    let start = Instant::now();
    let engine = global.engine()?;
    let embedder = model.embedder(&engine, args.grid.batch as usize)?;
    seconds.insert("start".into(), start.elapsed().as_secs_f64());
    let start = Instant::now();
    let (database, _) = build_with_bar(global, &embedder, &model, &pair.map, &grid, Database::in_memory())?;
    let searcher = Searcher::new(&engine, &database, RESIDENT_BYTES)?;
    seconds.insert("index".into(), start.elapsed().as_secs_f64());
    let (name, protocol) = match args.protocol {
        ProtocolArg::Aligned => ("aligned", Protocol::Aligned),
        _ => ("arbitrary", Protocol::Arbitrary),
    };
    let strip = args.strip as usize;
    let wanted = Draw { protocol, count: args.queries, strip, seed: args.seed, ground: held_out.map_or(Ground::All, Ground::HeldOut) };
    let (queries, strips) = draw(&pair, &database, embedder.input(), &wanted)?;
    let prepared = args.refinement.choice().prepare(&engine, &model)?;
    let Prepared { method, top, ref slider, ref refiner } = prepared;
    let refinement = Refinement { method, top, strips: &strips, slider: slider.as_ref(), refiner: refiner.as_ref() };
    let evaluation = evaluate_refined(&embedder, &pair, &database, &searcher, queries, &refinement)?;
    seconds.insert("encode".into(), evaluation.encode_s);
    seconds.insert("search".into(), evaluation.search_s);
    seconds.insert("refine".into(), evaluation.refine_s);
    let summary = Summary::of_strips(&evaluation.results, strip, args.seed)?;
    let mut report = EvalReport::new(name, database.cells(), engine.adapter().to_string(), seconds, &summary);
    report.held_out = held_out.map(|h| h.share);
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

//! `echogrid locate`.

mod args;
mod json;
mod page;
mod show;

pub use args::Args;

use super::common::{Global, Outcome, check_apart, check_output, warn};
use super::inputs;
use crate::locate::{Locator, Query, Verdict, dense_beside};
use crate::report::{Failed, Outcome as Image, csv, geojson, write_atomically};
use crate::{Error, Result};
use show::Run;
use std::path::Path;
use std::time::Instant;

/// Warnings that are said, of all images together.
const WARNINGS: usize = 10;

pub(super) fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let start = Instant::now();
    let outputs: Vec<&Path> =
        [Some(&args.out), args.csv.as_ref(), args.report.as_ref()].into_iter().flatten().map(|p| p.as_path()).collect();
    outputs.iter().try_for_each(|p| check_output(p))?;
    let files = inputs::images(&args.sar, "--sar")?;
    let beside = dense_beside(&args.index);
    let read = files.iter().chain(args.map()).chain([&args.index, &beside]).map(|p| p.as_path());
    check_apart(&outputs, read)?;
    let queries: Vec<Query> = files.into_iter().map(|f| args.query(f)).collect();
    let mut options = args.options();
    let engine = global.engine()?;
    options.surfaces = args.report.is_some();
    let locator = Locator::open(&engine, &args.index, options)?;
    let session = locator.session()?;
    let bar = global.bar(0, "locating");
    let mut located = session.locate(&queries, |done, total| bar.advance(done, total));
    bar.finish_and_clear();
    let mut doubts: Vec<String> = Vec::new();
    for image in located.iter_mut().flatten() {
        doubts.extend(image.warnings.iter().filter(|w| !doubts.contains(w)).cloned().collect::<Vec<_>>());
        if args.truth {
            locator.own_is_true(image);
        }
    }
    doubts.iter().take(WARNINGS).for_each(warn);
    if doubts.len() > WARNINGS {
        warn(format_args!("and {} more warnings of this kind; --json lists each image's", doubts.len() - WARNINGS));
    }
    // One image that fails fails the command, as it is; of several the others go on.
    if let ([Err(_)], true) = (&located[..], located.len() == 1) {
        return Err(located.remove(0).expect_err("just matched"));
    }
    let names: Vec<String> = queries.iter().map(Query::name).collect();
    let images: Vec<Image<'_>> =
        located.iter().zip(&names).map(|(l, file)| l.as_ref().map_err(|e| Failed { file, problem: e.to_string() })).collect();
    write_atomically(&args.out, &geojson::text(&geojson::collection(&images)?)?)?;
    if let Some(path) = &args.csv {
        write_atomically(path, csv::images(&images)?.as_bytes())?;
    }
    let run = Run { global, args, locator: &locator, session: &session, images: &images, adapter: engine.adapter().to_string() };
    if let Some(path) = &args.report {
        run.write_page(path)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    if args.json {
        run.print_json(seconds)?;
    } else {
        run.print(seconds, &outputs);
    }
    let failed: Vec<&Failed<'_>> = images.iter().filter_map(|i| i.as_ref().err()).collect();
    if !failed.is_empty() {
        failed.iter().for_each(|f| eprintln!("failed: {}", f.problem));
        return Err(Error::invalid(format!("{} of {} images could not be located", failed.len(), images.len())));
    }
    let found = images.iter().flatten().any(|i| i.verdict != Verdict::NotHere);
    Ok(if found { Outcome::Done } else { Outcome::NothingFound })
}

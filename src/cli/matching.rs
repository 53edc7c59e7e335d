//! `echogrid match`.

use super::common::{Global, MapNoData, SarArgs, name_of, print_json, warn, warn_of_many};
use crate::gpu::Precision;
use crate::matching::{FileMatch, MatchModel, Reading, match_each, match_files};
use crate::scene::{OpenOptions, expand_paths};
use crate::{Error, Result};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Tell whether a SAR image and an optical image show the same ground
///
/// Two files are compared, and said to match where the distance of their vectors lies below the model's threshold. Of two folders whose images have the same
/// names each pair is compared; else the nearest optical image is looked for to each SAR image. All images are patches as the model was trained on:
/// of larger ones the middle is seen. They are standardised as the model's own, so that what is said of a pair does not hang on what lies beside it; an image of another kind goes by its own
/// statistics, which is said.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// SAR image, or a folder of them
    #[arg(long, value_name = "FILE|DIR")]
    sar: PathBuf,
    /// Optical image, or a folder of them
    #[arg(long, value_name = "FILE|DIR")]
    opt: PathBuf,
    /// Matching model that `echogrid train --match` wrote
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    #[command(flatten)]
    reading: SarArgs,
    #[command(flatten)]
    no_data: MapNoData,
    /// How networks multiply and store what they hand on
    #[arg(long, value_enum, default_value_t = Precision::Full)]
    precision: Precision,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Patches encoded at once, at most.
const BATCH: usize = 64;

/// The images that a path names, by their names without the format's end.
fn images(path: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut all = BTreeMap::new();
    for file in expand_paths(&[path.into()])? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(other) = all.insert(name, file.clone()) {
            return Err(Error::file(&file, format!("has the name of {}; leave one of them out", other.display())));
        }
    }
    match all.is_empty() {
        true => Err(Error::file(path, "holds no image (.tif, .png, .jpg)")),
        false => Ok(all),
    }
}

/// The files to compare: pair by pair, or each SAR image with all optical ones.
enum Asked {
    Each(Vec<(PathBuf, PathBuf)>),
    Nearest(Vec<PathBuf>, Vec<PathBuf>),
}

fn asked(args: &Args) -> Result<Asked> {
    if !args.sar.is_dir() && !args.opt.is_dir() {
        return Ok(Asked::Each(vec![(args.sar.clone(), args.opt.clone())]));
    }
    let (sars, mut opticals) = (images(&args.sar)?, images(&args.opt)?);
    if sars.keys().eq(opticals.keys()) {
        let beside = |(name, sar)| opticals.remove(&name).map(|optical| (sar, optical));
        return Ok(Asked::Each(sars.into_iter().filter_map(beside).collect()));
    }
    let known = sars.keys().filter(|n| opticals.contains_key(*n)).count();
    let alone = sars.keys().find(|n| !opticals.contains_key(*n)).or_else(|| opticals.keys().find(|n| !sars.contains_key(*n)));
    if let (1.., Some(name)) = (known, alone) {
        warn(format_args!(
            "`{name}` has no image of its name in the other folder, so the nearest image is looked for to each: {known} names are in both"
        ));
    }
    Ok(Asked::Nearest(sars.into_values().collect(), opticals.into_values().collect()))
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let model = MatchModel::load(args.model.as_deref())?;
    if model.threshold().is_none() {
        warn(format_args!("{}: has no threshold of its own, as of a run that is not over: 0.5 is taken", model.path.display()));
    }
    let asked = asked(args)?;
    let engine = global.engine()?;
    let (sars, opticals) = match &asked {
        Asked::Each(pairs) => (pairs.len(), pairs.len()),
        Asked::Nearest(sars, opticals) => (sars.len(), opticals.len()),
    };
    let embedder = model.embedder(&engine, sars.max(opticals).min(BATCH), args.precision)?;
    let bar = global.bar((sars + opticals) as u64, "encoding");
    let done = |n: usize| bar.set_position(n as u64);
    let plain = Reading::default();
    let reading = Reading {
        sar: args.reading.options_or(plain.sar.bands),
        optical: OpenOptions { bands: plain.optical.bands, ..args.no_data.options() },
        unit: args.reading.unit(),
    };
    let (way, found) = match &asked {
        Asked::Each(pairs) => ("each", match_each(&embedder, &model, pairs, &reading, done)?),
        Asked::Nearest(sars, opticals) => ("nearest", match_files(&embedder, &model, sars, opticals, &reading, done)?),
    };
    bar.finish_and_clear();
    let doubts: BTreeSet<&String> = found.iter().flat_map(|m| &m.doubts).collect();
    warn_of_many(doubts);
    let unlike = found.iter().filter(|m| m.unlike).count();
    if unlike > 0 {
        warn(format_args!(
            "{unlike} of {} hold an image of another kind than the model's (its bands, or what its values measure), standardised by its own statistics: the threshold was not made for that",
            found.len()
        ));
    }
    let matching = found.iter().filter(|m| m.matches).count();
    if args.json {
        return print_json(&json!({
            "compared": way,
            "threshold": model.line(),
            "pairs": found,
            "matching": matching,
            "model": model.file.hash(),
            "adapter": engine.adapter().to_string(),
        }));
    }
    show(&found, model.line());
    if found.len() > 1 {
        out!("\n{matching} of {} match", found.len());
    }
    Ok(())
}

/// A line for each SAR image.
fn show(found: &[FileMatch], line: f64) {
    let width = |name: fn(&FileMatch) -> &PathBuf| found.iter().map(|m| name_of(name(m)).chars().count()).max().unwrap_or(0);
    let (a, b) = (width(|m| &m.sar), width(|m| &m.optical));
    for m in found {
        let (sar, optical) = (name_of(&m.sar), name_of(&m.optical));
        let verdict = if m.matches { "match" } else { "no match" };
        let next = m.next.map_or_else(String::new, |d| format!(", the next at {d:.4}"));
        out!("{sar:<a$}  {optical:<b$}  distance {:.4}: {verdict} (below {line:.4}){next}", m.distance);
    }
}

//! `echogrid calibrate`.

mod place;

use super::common::{APART, Global, Ground, JudgedArgs, SarArgs, SizedPairs, check_apart, check_file, check_output, print_json};
use super::dense_args::FeatureArgs;
use crate::dense::{Calibration, DenseModel, Domain, FeatureKind};
use crate::eval::metrics::calibration_error;
use crate::scene::ScenePair;
use crate::{Error, Result};
use place::{Reliability, Wanted};
use std::path::{Path, PathBuf};

/// Fit what a dense fix is worth: its probability and its error ellipse
///
/// Random patches of several sizes are sought on a map where the truth is known, and patches of another area, which are not on it. Learned
/// features are written anew with what was found; for plain structure a JSON file is written. Use scenes that the features were not
/// trained on.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    scene: JudgedArgs,
    /// Map and SAR image of another area, whose patches are not on the map
    #[arg(long, num_args = 2, value_names = ["MAP", "SAR"], required_unless_present_any = ["pairs", "pairs_list", "absent_pairs"])]
    absent: Vec<PathBuf>,
    /// Pairs of another area, whose patches are not on the map; of --pairs without these the second half is kept for it
    #[arg(long, num_args = 2, value_names = ["SAR", "OPT"], conflicts_with = "absent", help_heading = "Pairs")]
    absent_pairs: Vec<PathBuf>,
    /// Further places to calibrate on, each on its own map; patches of the other places are then sought there too, and must not be found. What
    /// probabilities that were fitted to all others are worth at each place is told
    #[arg(long, num_args = 2, value_names = ["MAP", "SAR"])]
    also: Vec<PathBuf>,
    /// The same, of pairs
    #[arg(long, num_args = 2, value_names = ["SAR", "OPT"], help_heading = "Pairs")]
    also_pairs: Vec<PathBuf>,
    /// Scenes of the kind that the features are for, as those they were trained on: images unlike these, and unlike each of --also-pairs, are warned of [default: the scenes above]
    #[arg(long, num_args = 2, value_names = ["MAP", "SAR"])]
    like: Vec<PathBuf>,
    #[command(flatten)]
    what: FeatureArgs,
    /// Sides of the patches, map pixels
    #[arg(long, value_name = "PX", value_delimiter = ',', default_value = "200,100,64")]
    patches: Vec<u32>,
    /// Patches of each size, and as many that are not on the map; 0 keeps the features' fit, and measures the kind of the scenes alone
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(0..=1_000_000))]
    queries: usize,
    /// Seed of the places
    #[arg(long, value_name = "N", default_value_t = 11)]
    seed: u64,
    /// A fix less probable than this is "not found"
    #[arg(long, value_name = "P", default_value_t = 0.5)]
    threshold: f64,
    #[command(flatten)]
    reading: SarArgs,
    /// Learned features: the model to write; plain structure: a JSON file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// What is said of patches that are too large.
const PATCHES: &str = "one of --patches";

/// Learned features with a calibration, or that of plain structure.
fn write(path: &Path, model: &DenseModel, fitted: &Calibration) -> Result<()> {
    match model.file() {
        Some(file) => {
            let mut file = file.clone();
            file.manifest.calibration = Some(serde_json::to_value(fitted).expect("plain numbers"));
            Ok(file.save(path)?)
        }
        None => Ok(crate::report::write_atomically(path, serde_json::to_string_pretty(fitted).expect("plain numbers").as_bytes())?),
    }
}

/// The area that patches are sought on, as it was named and opened, and the other one.
fn areas(args: &Args, patch: u32) -> Result<(Ground, ScenePair, ScenePair)> {
    let mut ground = args.scene.ground()?;
    ground.check_holds(PATCHES, patch)?;
    let other = match (&args.absent[..], &args.absent_pairs[..], &mut ground) {
        ([], [sar, optical], ground) => {
            let other = args.scene.others(&[sar.clone(), optical.clone()], PATCHES, patch)?;
            if let Ground::Pairs(here) = ground {
                here.check_apart(&other)?;
            }
            Some(other)
        }
        ([], _, Ground::Pairs(all)) => {
            let (here, elsewhere) = all.set.split(0.5, 1);
            if here.is_empty() || elsewhere.is_empty() {
                return Err(Error::invalid(
                    "these pairs are too few to keep half of them for patches that are not on the map: name others with --absent-pairs SAR OPT",
                ));
            }
            let pixel_m = all.pixel_m;
            all.set = here;
            Some(SizedPairs { set: elsewhere, pixel_m })
        }
        _ => None,
    };
    let elsewhere = match other {
        Some(other) => args.scene.open_pairs(&other, &args.reading, APART)?,
        None => args.reading.pair_of(&args.absent)?,
    };
    let here = args.scene.open(&ground, &args.reading, APART)?;
    Ok((ground, here, elsewhere))
}

/// A place's name: what was given for it, with the folder around it.
fn place_name(path: &Path) -> String {
    let parts: Vec<_> = path.components().rev().take(2).map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}

/// The places to calibrate on with their names, and the area whose patches are on none of them.
fn places(args: &Args) -> Result<(Vec<(String, ScenePair)>, ScenePair)> {
    let largest = args.patches.iter().copied().max().unwrap_or(200);
    let (ground, here, elsewhere) = areas(args, largest)?;
    let mut places = vec![(args.scene.map_name(), here)];
    for files in args.also.chunks(2) {
        places.push((place_name(&files[0]), args.reading.pair_of(files)?));
    }
    for folders in args.also_pairs.chunks(2) {
        let pairs = args.scene.others(&[folders[0].clone(), folders[1].clone()], PATCHES, largest)?;
        if let Ground::Pairs(first) = &ground {
            first.check_apart(&pairs)?;
        }
        places.push((place_name(&folders[1]), args.scene.open_pairs(&pairs, &args.reading, APART)?));
    }
    place::check_distinct(places.iter().map(|(_, p)| p).chain([&elsewhere]))?;
    Ok((places, elsewhere))
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let model = args.what.model(FeatureKind::Learned)?;
    if model.file().is_some() {
        check_file(&args.out)?
    } else {
        check_output(&args.out)?
    }
    // The model may be calibrated where it lies.
    let further = args.absent.iter().chain(&args.absent_pairs).chain(&args.like).chain(&args.also).chain(&args.also_pairs);
    check_apart(&[&args.out], args.scene.inputs().chain(further).map(PathBuf::as_path))?;
    let (places, elsewhere) = places(args)?;
    let like = args.like.chunks(2).map(|files| args.reading.pair_of(files)).collect::<Result<Vec<_>>>()?;
    let like: Vec<&ScenePair> = match like.is_empty() {
        true => places.iter().take(1 + args.also.len() / 2).map(|(_, p)| p).chain([&elsewhere]).collect(),
        false => like.iter().collect(),
    };
    // Kinds: of the scenes together, and of each further set of pairs.
    let sets = places.iter().skip(1 + args.also.len() / 2).map(|(_, p)| vec![p]);
    let kinds = std::iter::once(like).chain(sets).map(|pairs| Domain::of(&pairs, model.metres())).collect::<Result<Vec<_>>>()?;
    let start = Calibration { threshold: args.threshold, domains: kinds.into_iter().flatten().collect(), ..model.calibration().clone() };
    if args.queries == 0 {
        write(&args.out, &model, &start)?;
        out!("wrote {}", args.out.display());
        return Ok(());
    }
    let engine = global.engine()?;
    let wanted = Wanted { patches: &args.patches, queries: args.queries, seed: args.seed, threshold: args.threshold };
    let mut judged = Vec::new();
    for (i, (name, here)) in places.iter().enumerate() {
        let others = places.iter().enumerate().filter(|(k, _)| *k != i).map(|(_, (_, p))| p).chain([&elsewhere]).collect::<Vec<_>>();
        judged.extend(place::judge(global, &engine, &wanted, &model, &(i, name.clone()), here, &others)?);
    }
    let fitted = place::fit(&start, judged.iter());
    write(&args.out, &model, &fitted)?;
    let (held, left_out) = (judged.iter().map(|j| j.under(&fitted)).collect::<Vec<_>>(), place::left_out(&start, &judged));
    let cases: Vec<(f64, bool)> = judged.iter().flat_map(|j| j.probabilities(&fitted)).collect();
    let sum = |of: fn(&Reliability) -> usize| held.iter().map(of).sum::<usize>();
    let (present, right, found) = (sum(|r| r.present), sum(|r| r.right), sum(|r| r.found));
    let (absent, false_fixes, error) = (sum(|r| r.absent), sum(|r| r.false_fixes), calibration_error(&cases));
    if args.json {
        return print_json(&serde_json::json!({
            "out": args.out, "calibration": fitted, "present": present, "right": right, "found": found, "absent": absent, "false_fixes": false_fixes,
            "calibration_error": error, "places": held, "left_out": left_out, "adapter": engine.adapter().to_string(),
        }));
    }
    out!("{present} patches on the map: {right} right, {found} found at probability {} and above", fitted.threshold);
    out!("{absent} patches of elsewhere: {false_fixes} found");
    out!("expected calibration error {error:.3} (on the patches it was fitted to)");
    for (what, all) in [("", &held), (", left out", &left_out)] {
        for r in all {
            let Reliability { place, patch, present, right, found, found_right, absent, false_fixes, calibration_error } = r;
            out!(
                "{place}, {patch} px{what}: {right} of {present} right, {found} found and {found_right} of these right, {false_fixes} of {absent} of elsewhere found; calibration error {calibration_error:.3}"
            );
        }
    }
    out!("ellipse: {} times the peak's own spread, and {:.1} m", fitted.peak_factor, fitted.floor_m);
    out!("wrote {}", args.out.display());
    Ok(())
}

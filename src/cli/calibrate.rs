//! `echogrid calibrate`.

use super::common::{APART, Global, Ground, JudgedArgs, SarArgs, SizedPairs, check_apart, check_file, check_output, print_json};
use super::cost::weigh_dense;
use super::databases::build_dense_with_bar;
use super::dense_args::FeatureArgs;
use crate::dense::{Calibration, DenseDatabase, DenseModel, Domain, FeatureKind, Layout, Matcher, SearchConfig};
use crate::eval::dense::{DenseResult, RIGHT_M, dense_matches, dense_queries, dense_results, labelled};
use crate::eval::metrics::calibration_error;
use crate::index::RESIDENT_BYTES;
use crate::scene::{MapInfo, ScenePair};
use crate::{Error, Result};
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
    /// Scenes of the kind that the features are for, as those they were trained on: images unlike these are warned of [default: those above]
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

/// The area that patches are sought on, and the other one.
fn areas(args: &Args, patch: u32) -> Result<(ScenePair, ScenePair)> {
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
    Ok((args.scene.open(&ground, &args.reading, APART)?, elsewhere))
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let model = args.what.model(FeatureKind::Learned)?;
    if model.file().is_some() {
        check_file(&args.out)?
    } else {
        check_output(&args.out)?
    }
    // The model may be calibrated where it lies.
    let read = args.scene.inputs().chain(&args.absent).chain(&args.absent_pairs).chain(&args.like).map(PathBuf::as_path);
    check_apart(&[&args.out], read)?;
    let largest = args.patches.iter().copied().max().unwrap_or(200);
    let (here, elsewhere) = areas(args, largest)?;
    let (info, other) = (MapInfo::of(&here.map)?, MapInfo::of(&elsewhere.map)?);
    let like = args.like.chunks(2).map(|files| args.reading.pair_of(files)).collect::<Result<Vec<_>>>()?;
    let like: Vec<&ScenePair> = if like.is_empty() { vec![&here, &elsewhere] } else { like.iter().collect() };
    let domain = Domain::of(&like, model.metres())?;
    let start = Calibration { threshold: args.threshold, domain, ..*model.calibration() };
    if args.queries == 0 {
        write(&args.out, &model, &start)?;
        out!("wrote {}", args.out.display());
        return Ok(());
    }
    let layout = Layout::new(&info, model.metres(), f64::from(largest), 0)?;
    weigh_dense(global, &here.map, &layout, &model, None)?;
    let engine = global.engine()?;
    let (database, _) = build_dense_with_bar(global, &engine, &model, &here.map, &layout, DenseDatabase::temporary())?;
    let matcher = Matcher::new(&engine, &database, &model, RESIDENT_BYTES)?;
    let (mut present, mut absent): (Vec<DenseResult>, Vec<DenseResult>) = (Vec::new(), Vec::new());
    for patch in &args.patches {
        let side = layout.query_side(f64::from(*patch))?;
        for (pair, scale, out) in [(&here, 1.0, &mut present), (&elsewhere, info.ground_m() / other.ground_m(), &mut absent)] {
            let queries = dense_queries(pair, &layout, side, scale, args.queries, args.seed)?;
            let bar = global.bar(0, "searching");
            let advance = |done, total| bar.advance(done, total);
            let found = dense_matches(&matcher, pair, &queries, side, 4, SearchConfig::default(), advance)?.found;
            bar.finish_and_clear();
            out.extend(dense_results(&matcher, model.calibration(), &queries, &found, args.threshold)?);
        }
    }
    let right = |r: &&DenseResult| r.error_m.is_some_and(|e| e <= RIGHT_M);
    let shapes: Vec<([f64; 3], [f64; 2])> = present.iter().filter(right).filter_map(|r| r.shape_m2.zip(r.offset_m)).collect();
    let fitted = start.fit(&labelled(&present, &absent)).fit_ellipse(&shapes);
    write(&args.out, &model, &fitted)?;
    let cases: Vec<(f64, bool)> = present
        .iter()
        .map(|r| (fitted.probability(&r.evidence), right(&r)))
        .chain(absent.iter().map(|r| (fitted.probability(&r.evidence), false)))
        .collect();
    let false_fixes = absent.iter().filter(|r| fitted.probability(&r.evidence) >= fitted.threshold).count();
    let found = present.iter().filter(|r| fitted.probability(&r.evidence) >= fitted.threshold).count();
    if args.json {
        return print_json(&serde_json::json!({
            "out": args.out, "calibration": fitted, "present": present.len(), "right": shapes.len(), "found": found,
            "absent": absent.len(), "false_fixes": false_fixes, "calibration_error": calibration_error(&cases),
            "adapter": engine.adapter().to_string(),
        }));
    }
    out!("{} patches on the map: {} right, {found} found at probability {} and above", present.len(), shapes.len(), fitted.threshold);
    out!("{} patches of elsewhere: {false_fixes} found", absent.len());
    out!("expected calibration error {:.3} (on the patches it was fitted to)", calibration_error(&cases));
    out!("ellipse: {} times the peak's own spread, and {:.1} m", fitted.peak_factor, fitted.floor_m);
    out!("wrote {}", args.out.display());
    Ok(())
}

//! `echogrid train`.

mod course;
mod dense;
mod ground;
mod matching;
mod session;
mod words;

use super::common::{Global, warn};
use crate::align::Align;
use crate::index::LoadedModel;
use crate::train::{
    Event, InitFrom, Loss, Outcome, Recipe, RefineTrainConfig, TrainConfig, check_fits, export, export_dense, train, train_dense,
    train_refiner,
};
use crate::{Error, Result};
use ground::{GroundArgs, Sets};
use matching::Asked;
use serde::Serialize;
use session::{Run, Wanted, export_batches, session};
use std::path::PathBuf;
use words::{dense_figures, recall_figures, refine_figures};

pub(super) use course::CourseArgs;
pub(super) use session::{follow, show};
pub(super) use words::Words;

/// How a graph network is trained onto an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Refine {
    /// Behind the encoder, which stays as it is
    TwoStage,
    /// Together with the encoder: gradients reach it through the candidates
    Joint,
}

/// Train an encoder, features for dense correlation, or a graph network over candidates, on pairs of a map and a SAR image of the same area
///
/// An encoder (of an index's cells) by default; with --dense, features a pixel whose correlation finds the place of a SAR patch; with --match, a network that tells whether two patches show the same ground; with --refine, a graph network that puts an encoder's candidates in order, in one model with it. Writes checkpoints beside MODEL (MODEL.checkpoint) and a log (MODEL.log.jsonl, drawn at the end in a .svg of the same name). Ctrl-C saves and stops; --resume goes on to
/// the same bits as a run that was never stopped, on the same adapter with the same measurements (`echogrid tune`); but of --refine joint, whose candidates are then those of the encoder as it is.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    ground: GroundArgs,
    /// The model to write
    #[arg(long, value_name = "MODEL", required_unless_present_any = ["print_config", "export"])]
    out: Option<PathBuf>,
    /// Instead of training, write what would be trained on into this new folder: every batch as the device cuts it, the start values, of an encoder the cells and queries of the validation scene; to train the same network elsewhere
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["out", "refine", "resume", "print_config"])]
    export: Option<PathBuf>,
    /// Train features for dense correlation instead of an encoder; they have settings of their own
    #[arg(long)]
    dense: bool,
    /// Train a network that tells whether a SAR and an optical patch show the same ground, on --pairs; it has settings of its own
    #[arg(long = "match", conflicts_with_all = ["dense", "refine", "loss", "align", "align_weight", "scale", "scene", "val"])]
    matching: bool,
    /// Train a graph network over the candidates of an encoder's index; it has settings of its own
    #[arg(long, value_enum, conflicts_with_all = ["dense", "align", "align_weight"])]
    refine: Option<Refine>,
    /// The encoder that --refine starts from [default: the shipped weights]
    #[arg(long, value_name = "MODEL", requires = "refine")]
    model: Option<PathBuf>,
    /// Start from the weights of a model, or of the shipped one (`shipped`), instead of from random ones: to fit it to scenes of your own; without --config its network is taken too
    #[arg(long, value_name = "MODEL", conflicts_with = "refine")]
    init_from: Option<InitFrom>,
    /// What draws a place's two vectors together [default: that of the configuration]
    #[arg(long, value_enum, conflicts_with_all = ["dense", "refine"])]
    loss: Option<Loss>,
    /// Draw the embeddings of the two modalities together by this loss [default: that of the configuration]
    #[arg(long, value_enum, conflicts_with = "dense")]
    align: Option<Align>,
    /// Weight of that loss [default: that of the configuration, or the method's own]
    #[arg(long, value_name = "W", conflicts_with = "dense")]
    align_weight: Option<f64>,
    #[command(flatten)]
    course: CourseArgs,
    /// Settings in TOML; `echogrid train --print-config` (with --dense, --match or --refine for those of these) shows all of them
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Scale of a recipe: a table `scale.NAME` of --config
    #[arg(long, value_name = "NAME", requires = "config", conflicts_with = "dense")]
    scale: Option<String>,
    /// Print all settings as they would be used, in TOML, and stop
    #[arg(long)]
    print_config: bool,
    /// Go on from MODEL.checkpoint
    #[arg(long)]
    resume: bool,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    // The parser lets go of what an option needs where another option excludes that.
    if args.model.is_some() && args.refine.is_none() {
        return Err(Error::invalid("--model is the encoder of --refine; to start from a model's weights take --init-from MODEL"));
    }
    if args.matching {
        let (config, out, export) = (args.config.as_deref(), args.out.as_deref(), args.export.as_deref());
        let (init_from, print_config, resume) = (args.init_from.as_ref(), args.print_config, args.resume);
        return matching::run(global, &args.ground, &args.course, &Asked { config, init_from, out, export, print_config, resume });
    }
    let sets = args.ground.sets()?;
    // What nobody has set suits the pairs; what was set must.
    let (least, own) = (sets.least(), args.config.is_none());
    if args.dense {
        let config = dense::settings(args.config.as_deref(), args.init_from.as_ref(), &args.course, &args.ground, &sets)?;
        if let Some(folder) = &args.export {
            let ground = (&args.ground, &sets, None);
            return export_batches(global, ground, folder, config.total_steps(), |engine, scenes, val, on| {
                export_dense(engine, &config, scenes, val, folder, on)
            });
        }
        let words = Words { total: config.total_steps(), items: config.patches, item: "SAR patches", figures: dense_figures };
        let ground = (&sets, [None; 2]);
        go(global, args, ground, &config, &words, |r, on| train_dense(r.engine, &config, r.scenes, r.val, r.out, args.resume, r.stop, on))
    } else if let Some(refine) = args.refine {
        let mut config = match (&args.config, &args.scale) {
            (Some(file), Some(scale)) => Recipe::load(file, Some(scale))?.refine,
            (Some(file), None) => RefineTrainConfig::load(file)?,
            (None, _) => RefineTrainConfig::default(),
        };
        args.course.change(&mut config.epochs, &mut config.seed, &mut config.precision, &mut config.optimizer);
        config.joint = refine == Refine::Joint;
        if let Some(shortest) = least {
            config = if own { config.suiting(shortest) } else { config };
            check_fits("patch", config.patch, shortest)?;
        }
        config.check()?;
        let words = Words { total: config.total_steps(), items: config.queries, item: "queries", figures: refine_figures };
        let model = LoadedModel::load(args.model.as_deref())?;
        match TrainConfig::of(&model.file.manifest) {
            Some(own) if own.patch != config.patch => warn(format_args!(
                "cells are {} map pixels, the encoder was trained on patches of {}; `patch` in --config sets them",
                config.patch, own.patch
            )),
            _ => {}
        }
        let ground = (&sets, [Some(config.patch); 2]);
        go(global, args, ground, &config, &words, |r, on| {
            train_refiner(r.engine, &config, &model, r.scenes, r.val, r.out, args.resume, r.stop, on)
        })
    } else {
        let mut config = match (&args.config, &args.scale, &args.init_from) {
            (Some(file), Some(scale), _) => Recipe::load(file, Some(scale))?.train,
            (Some(file), None, _) => TrainConfig::load(file)?,
            (None, _, Some(from)) => TrainConfig::from_model(from.clone())?,
            (None, _, None) => TrainConfig::default(),
        };
        config.init_from = args.init_from.clone().or(config.init_from);
        args.course.change(&mut config.epochs, &mut config.seed, &mut config.precision, &mut config.optimizer);
        config.loss = args.loss.unwrap_or(config.loss);
        config.align.method = args.align.unwrap_or(config.align.method);
        config.align.weight = args.align_weight.or(config.align.weight);
        if let Some(shortest) = least {
            config = if own { config.suiting(shortest) } else { config };
            check_fits("patch", config.patch, shortest)?;
        }
        config.check()?;
        if least.is_some() && config.held_out > 0.0 {
            return Err(Error::invalid(
                "held_out keeps strips of scenes; pairs are held out by --val-pairs, --val-share or a table's column `split`: set held_out = 0",
            ));
        }
        if let Some(folder) = &args.export {
            let ground = (&args.ground, &sets, Some(config.patch));
            return export_batches(global, ground, folder, config.total_steps(), |engine, scenes, val, on| {
                export(engine, &config, scenes, val, folder, on)
            });
        }
        let words = Words { total: config.total_steps(), items: config.batch, item: "pairs", figures: recall_figures };
        let ground = (&sets, [None, Some(config.patch)]);
        go(global, args, ground, &config, &words, |r, on| train(r.engine, &config, r.scenes, r.val, r.out, args.resume, r.stop, on))
    }
}

/// Prints the settings, or runs with them.
fn go(
    global: &Global,
    args: &Args,
    (sets, lattice): (&Sets, [Option<u32>; 2]),
    config: &impl Serialize,
    words: &Words,
    run: impl FnOnce(Run<'_>, &mut dyn FnMut(Event)) -> Result<Outcome>,
) -> Result<()> {
    if args.print_config {
        return show(config);
    }
    let out = args.out.as_deref().ok_or_else(|| Error::invalid("--out MODEL is missing"))?;
    let wanted = Wanted { ground: &args.ground, sets, lattice, out, resume: args.resume };
    session(global, &wanted, words, run)
}

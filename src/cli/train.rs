//! `echogrid train`.

use super::common::{Global, SarArgs, check_regular, interrupt_flag};
use crate::align::Align;
use crate::gpu::{Engine, Precision};
use crate::index::LoadedModel;
use crate::nn::OptimizerConfig;
use crate::report::figures::{self, Series};
use crate::scene::ScenePair;
use crate::train::{
    DenseTrainConfig, Event, InitFrom, Outcome, RefineTrainConfig, TrainConfig, refuse_unfinished, train, train_dense, train_refiner,
};
use crate::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

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
/// An encoder (of an index's cells) by default; with --dense, features a pixel whose correlation finds the place of a SAR patch; with --refine, a graph network that puts an encoder's candidates in order, in one model with it. Writes checkpoints beside MODEL (MODEL.checkpoint) and a log (MODEL.log.jsonl, drawn at the end in a .svg of the same name). Ctrl-C saves and stops; --resume goes on to
/// the same bits as a run that was never stopped, on the same adapter with the same measurements (`echogrid tune`).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A map and a SAR image of one area, both georeferenced; may be given several times
    #[arg(long, num_args = 2, value_names = ["MAP", "SAR"], required_unless_present = "print_config", action = clap::ArgAction::Append)]
    scene: Vec<PathBuf>,
    /// A map and a SAR image to validate on; never trained on
    #[arg(long, num_args = 2, value_names = ["MAP", "SAR"], required_unless_present = "print_config")]
    val: Vec<PathBuf>,
    /// The model to write
    #[arg(long, value_name = "MODEL", required_unless_present = "print_config")]
    out: Option<PathBuf>,
    /// Train features for dense correlation instead of an encoder; they have settings of their own
    #[arg(long)]
    dense: bool,
    /// Train a graph network over the candidates of an encoder's index; it has settings of its own
    #[arg(long, value_enum, conflicts_with_all = ["dense", "align", "align_weight"])]
    refine: Option<Refine>,
    /// The encoder that --refine starts from [default: the shipped weights]
    #[arg(long, value_name = "MODEL", requires = "refine")]
    model: Option<PathBuf>,
    /// Start from the weights of a model, or of the shipped one (`shipped`), instead of from random ones: to fit it to scenes of your own; without --config its network is taken too
    #[arg(long, value_name = "MODEL", conflicts_with = "refine")]
    init_from: Option<InitFrom>,
    /// Draw the embeddings of the two modalities together by this loss [default: that of the configuration]
    #[arg(long, value_enum, conflicts_with = "dense")]
    align: Option<Align>,
    /// Weight of that loss [default: that of the configuration, or the method's own]
    #[arg(long, value_name = "W", conflicts_with = "dense")]
    align_weight: Option<f64>,
    /// Passes [default: that of the configuration]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Highest learning rate [default: that of the configuration]
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    /// How layers multiply [default: that of the configuration]
    #[arg(long, value_enum)]
    precision: Option<Precision>,
    /// Settings in TOML; `echogrid train --print-config` (with --dense or --refine for those of these) shows all of them
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print all settings as they would be used, in TOML, and stop
    #[arg(long)]
    print_config: bool,
    /// Seed of everything random [default: that of the configuration]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    reading: SarArgs,
    /// Go on from MODEL.checkpoint
    #[arg(long)]
    resume: bool,
}

impl Args {
    /// Puts what was given in place of what the configuration says.
    fn change(&self, epochs: &mut usize, seed: &mut u64, precision: &mut Precision, optimizer: &mut OptimizerConfig) {
        *epochs = self.epochs.unwrap_or(*epochs);
        *seed = self.seed.unwrap_or(*seed);
        *precision = self.precision.unwrap_or(*precision);
        optimizer.lr = self.lr.unwrap_or(optimizer.lr);
    }
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    if args.dense {
        let mut config = match (&args.config, &args.init_from) {
            (Some(file), _) => DenseTrainConfig::load(file)?,
            (None, Some(from)) => DenseTrainConfig::from_model(from.clone())?,
            (None, None) => DenseTrainConfig::default(),
        };
        config.init_from = args.init_from.clone().or(config.init_from);
        args.change(&mut config.epochs, &mut config.seed, &mut config.precision, &mut config.optimizer);
        config.check()?;
        let words = Words { total: config.total_steps(), items: config.patches, item: "SAR patches", figures: dense_figures };
        session(global, args, &config, &words, |r, on| train_dense(r.engine, &config, r.scenes, r.val, r.out, args.resume, r.stop, on))
    } else if let Some(refine) = args.refine {
        let mut config = args.config.as_deref().map_or_else(|| Ok(RefineTrainConfig::default()), RefineTrainConfig::load)?;
        args.change(&mut config.epochs, &mut config.seed, &mut config.precision, &mut config.optimizer);
        config.joint = refine == Refine::Joint;
        config.check()?;
        let words = Words { total: config.total_steps(), items: config.queries, item: "queries", figures: refine_figures };
        let model = LoadedModel::load(args.model.as_deref())?;
        session(global, args, &config, &words, |r, on| {
            train_refiner(r.engine, &config, &model, r.scenes, r.val, r.out, args.resume, r.stop, on)
        })
    } else {
        let mut config = match (&args.config, &args.init_from) {
            (Some(file), _) => TrainConfig::load(file)?,
            (None, Some(from)) => TrainConfig::from_model(from.clone())?,
            (None, None) => TrainConfig::default(),
        };
        config.init_from = args.init_from.clone().or(config.init_from);
        args.change(&mut config.epochs, &mut config.seed, &mut config.precision, &mut config.optimizer);
        config.align.method = args.align.unwrap_or(config.align.method);
        config.align.weight = args.align_weight.or(config.align.weight);
        config.check()?;
        let words = Words { total: config.total_steps(), items: config.batch, item: "pairs", figures: recall_figures };
        session(global, args, &config, &words, |r, on| train(r.engine, &config, r.scenes, r.val, r.out, args.resume, r.stop, on))
    }
}

/// What is said of a run.
struct Words {
    /// Steps.
    total: usize,
    /// What a step consists of, and what they are called.
    items: usize,
    item: &'static str,
    /// A line about a validation.
    figures: fn(&Value) -> String,
}

/// What a run is given.
struct Run<'a> {
    engine: &'a Engine,
    scenes: &'a [ScenePair],
    val: &'a ScenePair,
    out: &'a Path,
    stop: &'a AtomicBool,
}

fn percent(v: &Value) -> f64 {
    100.0 * v.as_f64().unwrap_or(f64::NAN)
}

fn recall_figures(figures: &Value) -> String {
    let show = |p: &str| ["1", "5", "10"].map(|k| format!("{:.1}", percent(&figures[p][k]))).join("/");
    format!("R@1/5/10 in %: aligned {}, arbitrary {} ({} views a side)", show("aligned"), show("arbitrary"), figures["views"])
}

fn refine_figures(figures: &Value) -> String {
    let f = |k: &str| format!("{:.1}", percent(&figures[k]));
    format!(
        "R@1 in % of {} queries anywhere: {} as searched{}, {} refined, {} refined in strips of {}",
        figures["queries"],
        f("coarse"),
        if figures["slide"].as_u64() > Some(0) { " and slid" } else { "" },
        f("refined"),
        f("refined_strips"),
        figures["strip"]
    )
}

fn dense_figures(figures: &Value) -> String {
    let f = |k: &str| &figures[k];
    format!(
        "{:.1} % of {} SAR patches of {} px found within {} px in {} windows of {} px",
        percent(f("found")),
        f("patches"),
        f("patch"),
        f("within_px"),
        f("windows"),
        f("window")
    )
}

/// Opens what a run needs, runs it, and tells of it: bar, lines, log.
fn session(
    global: &Global,
    args: &Args,
    config: &impl Serialize,
    words: &Words,
    go: impl FnOnce(Run<'_>, &mut dyn FnMut(Event)) -> Result<Outcome>,
) -> Result<()> {
    if args.print_config {
        out_raw!("{}", toml::to_string(config).map_err(|e| Error::invalid(format!("cannot be printed as TOML: {e}")))?);
        return Ok(());
    }
    let out = args.out.as_deref().ok_or_else(|| Error::invalid("--out MODEL is missing"))?;
    check_regular(out)?;
    let open = |pair: &[PathBuf]| args.reading.pair_of(pair);
    let scenes = args.scene.chunks(2).map(open).collect::<Result<Vec<_>, _>>()?;
    let val = open(&args.val)?;
    let engine = global.engine()?;
    let stop = interrupt_flag()?;

    if !args.resume {
        // Before its log is cut.
        refuse_unfinished(out)?;
    }
    let log_path = out.with_file_name(format!("{}.log.jsonl", out.file_name().unwrap_or_default().to_string_lossy()));
    let mut log = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .append(args.resume)
        .truncate(!args.resume)
        .open(&log_path)
        .map_err(|e| Error::file(&log_path, format!("cannot be written ({e}); does the folder exist, and may you write there?")))?;
    let mut write = |value: Value| {
        // The log is a convenience: a full disk must not end a run whose checkpoint may still fit.
        if let Err(e) = writeln!(log, "{value}") {
            tracing::warn!("{}: {e}", log_path.display());
        }
    };
    let bar = global.bar(words.total as u64, "training");
    let quiet = bar.is_hidden();
    let mut on = |event| match event {
        Event::Start { step, total, parameters, flops, bytes } => {
            bar.start_at(step as u64);
            global.say(format_args!(
                "{parameters} parameters, {:.1} GFLOP a step of {} {}, {:.0} MiB of activations, steps {step} to {total}",
                flops * 1e-9,
                words.items,
                words.item,
                bytes as f64 / f64::from(1 << 20)
            ));
        }
        Event::Step { step, loss, accuracy, lr, rate, figures } => {
            let mut right = accuracy.map_or(String::new(), |a| format!(", {:.0} % right", 100.0 * a));
            figures.iter().for_each(|(name, v)| right += &format!(", {} {v:.4}", name.replace('_', " ")));
            bar.set_position(step as u64);
            bar.set_message(format!("loss {loss:.3}{right}, {rate:.1} {}/s", words.item));
            if quiet && step.is_multiple_of(10) {
                global.say(format_args!("step {step}/{}: loss {loss:.4}{right}, {rate:.1} {}/s", words.total, words.item));
            }
            let mut value = serde_json::json!({ "step": step, "loss": loss, "lr": lr, "pairs_per_s": rate });
            if let Some(a) = accuracy {
                value["accuracy"] = a.into();
            }
            figures.iter().for_each(|(name, v)| value[*name] = (*v).into());
            write(value);
        }
        Event::Validation { step, figures } => {
            bar.suspend(|| global.say(format_args!("step {step}: validation {}", (words.figures)(&figures))));
            write(figures);
        }
        Event::Checkpoint(step) => tracing::info!("checkpoint at step {step}"),
        Event::Skipped(step) => tracing::warn!("step {step}: the loss is not finite; the step is left out"),
    };
    let run = Run { engine: &engine, scenes: &scenes, val: &val, out, stop: &stop };
    let outcome = go(run, &mut on)?;
    bar.finish_and_clear();
    let figure = out.with_extension("svg");
    draw_log(&log_path, &figure)?;
    match outcome {
        Outcome::Finished => {
            global.say(format_args!(
                "wrote {}, {} (what was told of each step) and {}",
                out.display(),
                log_path.display(),
                figure.display()
            ));
            Ok(())
        }
        Outcome::Stopped { step } => {
            Err(Error::Interrupted(format!("stopped at step {step}; the checkpoint is saved, --resume goes on from it")))
        }
    }
}

/// Draws what the log of a run says: every number of its steps and validations against the step.
fn draw_log(log: &Path, figure: &Path) -> Result<()> {
    let text = std::fs::read_to_string(log).map_err(|e| Error::file(log, e))?;
    let mut all: Vec<Series> = Vec::new();
    let mut add = |name: String, share: bool, step: f64, value: f64| match all.iter_mut().find(|s| s.name == name) {
        Some(s) => s.points.push((step, value)),
        None => all.push(Series { name, points: vec![(step, value)], share }),
    };
    for line in text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()) {
        let (Some(step), Some(fields)) = (line["step"].as_f64(), line.as_object()) else { continue };
        if let Some(found) = line["found"].as_f64() {
            add("validation: found".into(), true, step, found);
            continue;
        }
        for protocol in ["aligned", "arbitrary"] {
            if let Some(recall) = line[protocol]["1"].as_f64() {
                add(format!("validation: R@1, {protocol}"), true, step, recall);
            }
        }
        for (name, value) in fields {
            if let Some(value) = value.as_f64().filter(|_| !["step", "lr", "pairs_per_s", "views"].contains(&name.as_str())) {
                add(name.replace('_', " "), name.ends_with("accuracy"), step, value);
            }
        }
    }
    // The loss first; the sort is stable.
    all.sort_by_key(|s| s.name != "loss");
    Ok(figures::write(figure, &figures::training_curves(&all)?)?)
}

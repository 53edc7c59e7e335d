//! A run from its files to its figure, and what is told of it.

use super::ground::{GroundArgs, Sets};
use super::words::Words;
use crate::cli::common::{Global, Progress, check_apart, check_regular, interrupt_flag};
use crate::gpu::Engine;
use crate::report::figures;
use crate::scene::ScenePair;
use crate::train::{Event, Log, Outcome, refuse_unfinished};
use crate::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// What the command line asks for.
pub(super) struct Wanted<'a> {
    pub(super) ground: &'a GroundArgs,
    pub(super) sets: &'a Sets,
    /// Of what pairs begin at multiples, in training and in validation, px.
    pub(super) lattice: [Option<u32>; 2],
    pub(super) out: &'a Path,
    pub(super) resume: bool,
}

/// What a run is given.
pub(super) struct Run<'a> {
    pub(super) engine: &'a Engine,
    pub(super) scenes: &'a [ScenePair],
    pub(super) val: &'a ScenePair,
    pub(super) out: &'a Path,
    pub(super) stop: &'a AtomicBool,
}

/// Opens what a run needs, runs it, and tells of it: bar, lines, log.
pub(super) fn session(
    global: &Global,
    wanted: &Wanted<'_>,
    words: &Words,
    go: impl FnOnce(Run<'_>, &mut dyn FnMut(Event)) -> Result<Outcome>,
) -> Result<()> {
    let Wanted { out, .. } = *wanted;
    check_regular(out)?;
    check_apart(&[out], wanted.ground.inputs().map(PathBuf::as_path))?;
    let (scenes, val) = wanted.ground.open(global, wanted.sets, wanted.lattice)?;
    follow(global, out, wanted.resume, words, |engine, stop, on| go(Run { engine, scenes: &scenes, val: &val, out, stop }, on))
}

/// Prints settings in TOML.
pub(in crate::cli) fn show(config: &impl Serialize) -> Result<()> {
    out_raw!("{}", toml::to_string(config).map_err(|e| Error::invalid(format!("cannot be printed as TOML: {e}")))?);
    Ok(())
}

/// Runs, and tells of it.
pub(in crate::cli) fn follow(
    global: &Global,
    out: &Path,
    resume: bool,
    words: &Words,
    go: impl FnOnce(&Engine, &AtomicBool, &mut dyn FnMut(Event)) -> Result<Outcome>,
) -> Result<()> {
    let engine = global.engine()?;
    let stop = interrupt_flag()?;

    if !resume {
        refuse_unfinished(out)?;
    }
    let mut log = Log::beside(out)?;
    let bar = global.bar(words.total as u64, "training");
    let mut on = |event| {
        log.note(&event);
        tell(global, words, &bar, event);
    };
    let outcome = go(&engine, &stop, &mut on)?;
    bar.finish_and_clear();
    let figure = out.with_extension("svg");
    let told = std::fs::read_to_string(log.path()).map_err(|e| Error::io(log.path(), e.to_string(), e))?;
    figures::write(&figure, &figures::training_log(&told)?)?;
    match outcome {
        Outcome::Finished => {
            global.say(format_args!(
                "wrote {}, {} (what was told of each step) and {}",
                out.display(),
                log.path().display(),
                figure.display()
            ));
            Ok(())
        }
        Outcome::Stopped { step } => {
            Err(Error::Interrupted(format!("stopped at step {step}; the checkpoint is saved, --resume goes on from it")))
        }
    }
}

/// Writes a run's batches instead of training on them. `write` hears what to say of each step.
pub(super) fn export_batches(
    global: &Global,
    (ground, sets, patch): (&GroundArgs, &Sets, Option<u32>),
    folder: &Path,
    steps: usize,
    write: impl FnOnce(&Engine, &[ScenePair], &ScenePair, &dyn Fn(usize)) -> Result<()>,
) -> Result<()> {
    let (scenes, val) = ground.open(global, sets, [None, patch])?;
    let bar = global.bar(steps as u64, "writing batches");
    write(&global.engine()?, &scenes, &val, &|step| bar.set_position(step as u64))?;
    bar.finish_and_clear();
    global.say(format_args!("wrote {steps} steps into {}", folder.display()));
    Ok(())
}

/// Shows an event on the bar, or in lines where there is none.
fn tell(global: &Global, words: &Words, bar: &Progress, event: Event) {
    match event {
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
        Event::Step { step, loss, accuracy, rate, figures, .. } => {
            let mut right = accuracy.map_or(String::new(), |a| format!(", {:.0} % right", 100.0 * a));
            figures.iter().for_each(|(name, v)| right += &format!(", {} {v:.4}", name.replace('_', " ")));
            bar.set_position(step as u64);
            bar.set_message(format!("loss {loss:.3}{right}, {rate:.1} {}/s", words.item));
            if bar.is_hidden() && step.is_multiple_of(10) {
                global.say(format_args!("step {step}/{}: loss {loss:.4}{right}, {rate:.1} {}/s", words.total, words.item));
            }
        }
        Event::Validation { step, figures } => {
            bar.suspend(|| global.say(format_args!("step {step}: validation {}", (words.figures)(&figures))));
        }
        Event::Checkpoint(step) => tracing::info!("checkpoint at step {step}"),
        Event::Skipped(step) => tracing::warn!("step {step}: the loss is not finite; the step is left out"),
    }
}

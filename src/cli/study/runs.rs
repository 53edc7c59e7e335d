//! What every study does: it runs each way with each seed once, keeps what it found, and goes on where it was stopped; most on scenes that it opens.

use super::words::write;
use crate::cli::common::{Global, SarArgs, interrupt_flag};
use crate::gpu::Engine;
use crate::nn::NetworkManifest;
use crate::scene::ScenePair;
use crate::train::{Event, Log, Outcome, RefineTrainConfig, checkpoint_path};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Options of every study.
#[derive(Debug, clap::Args)]
pub(super) struct LedgerArgs {
    /// Where everything goes
    #[arg(long, value_name = "FOLDER", default_value = "studies")]
    pub(super) out: PathBuf,
    /// Seeds of training
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Settings of training in TOML, as `train` takes them; of `study cmpc` and `study ships` a recipe
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Stop after this many minutes; the same command goes on from there
    #[arg(long, value_name = "MIN")]
    minutes: Option<f64>,
}

/// Options of studies on scenes.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// A map and a SAR image to train on; may be given several times
    #[arg(long, num_args = 2, value_names = ["MAP", "SAR"], required = true, action = clap::ArgAction::Append)]
    scene: Vec<PathBuf>,
    /// A map and a SAR image to judge on; never trained on
    #[arg(long, num_args = 2, value_names = ["MAP", "SAR"], required = true)]
    val: Vec<PathBuf>,
    /// Queries to judge on
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub(super) queries: usize,
    #[command(flatten)]
    pub(super) ledger: LedgerArgs,
    #[command(flatten)]
    reading: SarArgs,
}

/// What a study keeps of its runs.
pub(super) struct Ledger<'a> {
    pub(super) global: &'a Global,
    pub(super) args: &'a LedgerArgs,
    pub(super) engine: Engine,
    stop: Arc<AtomicBool>,
    folder: PathBuf,
    start: Instant,
}

/// The runs of a study on scenes.
pub(super) struct Runs<'a> {
    pub(super) ledger: Ledger<'a>,
    pub(super) options: &'a Options,
    pub(super) scenes: Vec<ScenePair>,
    pub(super) val: ScenePair,
}

impl<'a> Runs<'a> {
    /// Opens the scenes and the device; outcomes of single runs go to `folder`, below that of the study.
    pub(super) fn open(global: &'a Global, options: &'a Options, folder: &str) -> Result<Self> {
        let open = |pair: &[PathBuf]| options.reading.pair_of(pair);
        let scenes = options.scene.chunks(2).map(open).collect::<Result<Vec<_>, _>>()?;
        let val = open(&options.val)?;
        Ok(Self { ledger: Ledger::open(global, &options.ledger, folder)?, options, scenes, val })
    }
}

impl<'a> Ledger<'a> {
    /// Opens the device; outcomes of single runs go to `folder`, below that of the study.
    pub(super) fn open(global: &'a Global, args: &'a LedgerArgs, folder: &str) -> Result<Self> {
        let (start, folder) = (Instant::now(), args.out.join(folder));
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, format!("cannot be made ({e}); name another --out"), e))?;
        Ok(Self { global, args, engine: global.engine()?, stop: interrupt_flag()?, folder, start })
    }

    /// The seeds, each once, in order.
    pub(super) fn seeds(&self) -> Vec<u64> {
        let mut seeds = self.args.seeds.clone();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    /// Every way with every seed, seed by seed, so that a study that is stopped early has compared every way.
    pub(super) fn all<W, R>(&self, ways: &[&W], one: impl Fn(&W, u64) -> Result<R>) -> Result<Vec<R>> {
        let seeds = self.seeds();
        self.global.say(format_args!("{} runs: {} ways with {} seeds", ways.len() * seeds.len(), ways.len(), seeds.len()));
        let mut all = Vec::new();
        for (seed, way) in seeds.into_iter().flat_map(|s| ways.iter().map(move |w| (s, w))) {
            if self.args.minutes.is_some_and(|m| self.start.elapsed().as_secs_f64() > 60.0 * m) {
                self.global.say(format_args!("the time is up; the same command goes on from here"));
                break;
            }
            all.push(one(way, seed)?);
        }
        match all.is_empty() {
            true => Err(Error::invalid("no run ended in that time; give more --minutes, or none")),
            false => Ok(all),
        }
    }

    /// What an earlier call has found, if it was of `these` settings, or what `run` finds now, which is kept.
    pub(super) fn kept<R>(&self, name: &str, these: impl Fn(&R) -> bool, run: impl FnOnce() -> Result<R>) -> Result<R>
    where
        R: Serialize + DeserializeOwned,
    {
        let path = self.folder.join(format!("{name}.json"));
        if let Ok(text) = std::fs::read_to_string(&path) {
            return read(&text, these).map_err(|e| Error::file(&path, e));
        }
        let found = run()?;
        write(&path, &serde_json::to_string(&found).map_err(|e| Error::invalid(e.to_string()))?)?;
        Ok(found)
    }

    /// Where a run's model lies.
    pub(super) fn model(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.safetensors"))
    }

    /// Trains a run's model by `train` (to where, whether it goes on, when to stop, whom to tell), unless an earlier call has done so and was
    /// stopped before it had judged: the caller sees to it that it was of the same settings ([`stale`]).
    pub(super) fn train<F>(&self, name: &str, steps: usize, train: F) -> Result<PathBuf>
    where
        F: FnOnce(&Path, bool, &AtomicBool, &mut dyn FnMut(Event)) -> Result<Outcome>,
    {
        let path = self.model(name);
        if path.exists() {
            return Ok(path);
        }
        let bar = self.global.bar(steps as u64, "training");
        let mut log = Log::beside(&path)?;
        let mut told = |event| {
            log.note(&event);
            if let Event::Step { step, loss, .. } = event {
                bar.set_position(step as u64);
                bar.set_message(format!("{name}: loss {loss:.3}"));
            }
        };
        let unfinished = checkpoint_path(&path);
        let outcome = train(&path, unfinished.exists(), &self.stop, &mut told).map_err(|e| match (&e, unfinished.exists()) {
            (Error::File { .. }, true) => {
                Error::file(&unfinished, format!("an earlier call left this ({e}); name another --out, or delete it"))
            }
            _ => e,
        })?;
        bar.finish_and_clear();
        match outcome {
            Outcome::Finished => Ok(path),
            Outcome::Stopped { step } => {
                Err(Error::Interrupted(format!("{name} stopped at step {step}; the same command goes on from there")))
            }
        }
    }
}

/// A model that an earlier call has trained by something else, and was stopped before it had judged: what it finds is not what is asked for.
pub(super) fn stale(path: &Path) -> Error {
    Error::file(path, "is of other settings, scenes or start values; name another --out, or delete it")
}

/// Whether the graph network of a file was trained by these settings.
pub(super) fn graph_is_of<N>(manifest: &NetworkManifest<N>, config: &RefineTrainConfig) -> bool {
    let told = match config.joint {
        true => Some(&manifest.training),
        false => manifest.refiner_training.as_ref().map(|t| &t["training"]),
    };
    told.and_then(|t| RefineTrainConfig::deserialize(t).ok()).as_ref() == Some(config)
}

/// What an earlier call has written, if it was of `these` settings; a setting that is newer than the file had its default there.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read<R: DeserializeOwned>(text: &str, these: impl Fn(&R) -> bool) -> Result<R, String> {
    let run = serde_json::from_str(text).map_err(|e| format!("{e}; delete it to run it anew"))?;
    match these(&run) {
        true => Ok(run),
        false => Err("is of other settings; name another --out, or delete it and the model of its name".into()),
    }
}

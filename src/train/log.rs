//! The log of a run: a line of JSON for every step and every validation, beside the model.

use super::event::Event;
use crate::atomic::AtomicFile;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What was told of each step, `MODEL.log.jsonl`.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Opens the log beside a model; what it holds stays until the run begins.
    ///
    /// # Errors
    /// A folder that is not there or cannot be written.
    pub fn beside(model: &Path) -> Result<Self> {
        let mut name = model.file_name().unwrap_or_default().to_os_string();
        name.push(".log.jsonl");
        let path = model.with_file_name(name);
        let file = open(&path)
            .map_err(|e| Error::io(&path, format!("cannot be written ({e}); does the folder exist, and may you write there?"), e))?;
        Ok(Self { path, file })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down what is told of steps and validations. At a run's start the log is cut back to the step that the run goes on from: what
    /// was done after its checkpoint is done, and told, again.
    ///
    /// The log is a convenience: a full disk must not end a run whose checkpoint may still fit, so what cannot be written is warned of.
    pub fn note(&mut self, event: &Event) {
        let done = match event {
            Event::Start { step, .. } => self.cut(*step),
            Event::Step { step, loss, accuracy, lr, rate, figures } => {
                let mut value = json!({ "step": step, "loss": loss, "lr": lr, "pairs_per_s": rate });
                if let Some(a) = accuracy {
                    value["accuracy"] = (*a).into();
                }
                figures.iter().for_each(|(name, v)| value[*name] = (*v).into());
                writeln!(self.file, "{value}")
            }
            Event::Validation { figures, .. } => writeln!(self.file, "{figures}"),
            Event::Checkpoint(_) | Event::Skipped(_) => Ok(()),
        };
        if let Err(e) = done {
            tracing::warn!("{}: {e}", self.path.display());
        }
    }

    /// Leaves only whole lines of steps up to this one.
    fn cut(&mut self, step: usize) -> io::Result<()> {
        let text = std::fs::read_to_string(&self.path)?;
        let kept: String = text.split_inclusive('\n').filter(|l| l.ends_with('\n') && belongs(l, step)).collect();
        if kept != text {
            AtomicFile::write(&self.path, kept.as_bytes())?;
            self.file = open(&self.path)?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Whether a line tells of a step up to this one.
fn belongs(line: &str, step: usize) -> bool {
    serde_json::from_str::<Value>(line).is_ok_and(|v| v["step"].as_u64().is_some_and(|s| s > 0 && s <= step as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: usize) -> Event {
        Event::Step { step, loss: 0.5, accuracy: Some(0.25), lr: 1e-3, rate: 8.0, figures: vec![("loss scale", 2.0)] }
    }

    fn start(step: usize) -> Event {
        Event::Start { step, total: 9, parameters: 1, flops: 1.0, bytes: 1 }
    }

    #[test]
    fn a_run_that_goes_on_cuts_the_log_back_to_its_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("model");
        let steps = || -> Vec<u64> {
            let text = std::fs::read_to_string(dir.path().join("model.log.jsonl")).unwrap();
            text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["step"].as_u64().unwrap()).collect()
        };
        let mut log = Log::beside(&model).unwrap();
        log.note(&start(0));
        (1..=4).for_each(|s| log.note(&step(s)));
        log.note(&Event::Validation { step: 4, figures: json!({ "step": 4, "found": 0.5 }) });
        (5..=7).for_each(|s| log.note(&step(s)));
        // Killed in the middle of a line; opening alone changes nothing, as the run may be refused.
        write!(log.file, "{{\"step\":8,\"lo").unwrap();
        drop(log);
        let before = std::fs::read(dir.path().join("model.log.jsonl")).unwrap();
        let mut log = Log::beside(&model).unwrap();
        assert_eq!(std::fs::read(log.path()).unwrap(), before);
        log.note(&start(4));
        assert_eq!(steps(), [1, 2, 3, 4, 4]);
        (5..=9).for_each(|s| log.note(&step(s)));
        assert_eq!(steps(), [1, 2, 3, 4, 4, 5, 6, 7, 8, 9]);
        // A new run begins a new log.
        let mut log = Log::beside(&model).unwrap();
        log.note(&start(0));
        assert!(steps().is_empty());
        log.note(&step(1));
        let text = std::fs::read_to_string(log.path()).unwrap();
        assert_eq!(text, "{\"accuracy\":0.25,\"loss\":0.5,\"loss scale\":2.0,\"lr\":0.001,\"pairs_per_s\":8.0,\"step\":1}\n");
    }
}

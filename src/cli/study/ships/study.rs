//! One run of `study ships`.

use super::ways::{Run, Start, Way};
use crate::cli::study::runs::{Ledger, stale};
use crate::container;
use crate::detect::{AnnotatedImages, DetectOptions, Detection, Detector, MAX_DETECTIONS, ap};
use crate::nn::{DetectorFile, SceneRecord};
use crate::train::{DetectTrainConfig, InitFrom, RecipeOfDetectors, train_detector};
use crate::{Error, Result};
use serde::Deserialize;
use std::path::Path;

/// What all runs share.
pub(super) struct Study<'a> {
    /// What the ways `osm` and `imagenet` start from.
    pub(super) osm: &'a Path,
    pub(super) imagenet: Option<&'a Path>,
    pub(super) recipe: RecipeOfDetectors,
    pub(super) ledger: Ledger<'a>,
    pub(super) data: AnnotatedImages,
    pub(super) val: AnnotatedImages,
    /// What manifests say of both.
    pub(super) records: [SceneRecord; 2],
}

impl Study<'_> {
    /// The file that a way starts from.
    fn start(&self, way: Way) -> Option<&Path> {
        match way.start {
            Start::Random => None,
            Start::Osm => Some(self.osm),
            Start::Imagenet => self.imagenet,
        }
    }

    /// Trains and judges one way with one seed, or reads what an earlier call has found.
    pub(super) fn one(&self, way: Way, seed: u64) -> Result<Run> {
        let config = DetectTrainConfig { seed, ..way.head.of(&self.recipe).clone() };
        let from = self.start(way).map(hash).transpose()?;
        let name = format!("{}-{seed}", way.name());
        let these = |run: &Run| run.config == config && run.from == from && run.records == self.records;
        self.ledger.kept(&name, these, || {
            let found = self.found(way, &name, &config)?;
            let figures = ap::coco(&self.val.dataset, &found, MAX_DETECTIONS)?;
            self.ledger.global.say(format_args!("{name}: AP50 {:.1} %", 100.0 * figures.ap50.unwrap_or(0.0)));
            let adapter = self.ledger.engine.adapter().to_string();
            Ok(Run {
                head: way.head,
                start: way.start,
                seed,
                config: config.clone(),
                from: from.clone(),
                records: self.records.clone(),
                adapter,
                found,
            })
        })
    }

    /// The settings of a way's run, with what it starts from.
    pub(super) fn settings(&self, way: Way, config: &DetectTrainConfig) -> DetectTrainConfig {
        DetectTrainConfig { init_from: self.start(way).map(|p| InitFrom::File(p.into())), ..config.clone() }
    }

    fn found(&self, way: Way, name: &str, config: &DetectTrainConfig) -> Result<Vec<Vec<Detection>>> {
        let (engine, data, val) = (&self.ledger.engine, &self.data, &self.val);
        let config = self.settings(way, config);
        let total = config.epochs * config.steps_of(data.images.len());
        let train = |out: &Path, resume, stop: &_, on: &mut dyn FnMut(_)| train_detector(engine, &config, data, val, out, resume, stop, on);
        let path = self.ledger.train(name, total, train)?;
        let file = DetectorFile::load(&path)?;
        let trained = DetectTrainConfig::deserialize(&file.manifest.training).ok();
        // Where the start lies is no setting of the network's.
        let alike = |c: DetectTrainConfig| DetectTrainConfig { init_from: None, ..c };
        let wanted = alike(config.fitted(&data.dataset)?);
        if trained.map(alike) != Some(wanted) || file.manifest.scenes != self.records[..1] {
            return Err(stale(&path));
        }
        let detector = Detector::new(engine, &file, &path, None)?;
        let mut found = detector.detect(&val.images, &DetectOptions::default())?;
        found.iter_mut().for_each(|f| f.truncate(MAX_DETECTIONS));
        Ok(found)
    }
}

/// Of a file, SHA-256.
fn hash(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e.to_string(), e))?;
    Ok(container::sha256(bytes))
}

//! Each way with each seed: trained, or taken from an earlier call.

use super::judge::{Behind, Judged, judge_dense, judge_encoder, places};
use super::outcome::{Found, Run, Settings};
use super::rows::recall;
use super::study::{STRIP, Study};
use super::ways::{BASE, How, Way, way};
use crate::cli::study::runs::{Ledger, Runs, graph_is_of, stale};
use crate::cli::study::words::percent;
use crate::eval::Ground;
use crate::index::LoadedModel;
use crate::refine::{Method, Refiner, Slider};
use crate::train::{TrainConfig, train, train_refiner};
use crate::{Error, Result};

/// What a model's training found at its validations.
fn validations(model: &LoadedModel) -> Vec<serde_json::Value> {
    model.file.manifest.validation.as_array().cloned().unwrap_or_default()
}

impl Study<'_> {
    /// The settings of a way with one seed.
    pub(super) fn settings(&self, way: &Way, seed: u64) -> Result<Settings> {
        let train = way.encoder(&self.recipe.train, seed);
        let refine = way.graph(&self.recipe.refine, seed);
        train.iter().try_for_each(TrainConfig::check)?;
        refine.iter().try_for_each(crate::train::RefineTrainConfig::check)?;
        let (patch, scenes) = (self.recipe.train.patch, self.files.clone());
        Ok(Settings { train, refine, patch, queries: self.runs.options.queries, strip: STRIP, scenes })
    }

    /// Trains and judges one way with one seed, or reads what an earlier call has found. What is not trained is one run for all seeds.
    pub(super) fn one(&self, way: &Way, seed: u64) -> Result<Run> {
        let name = match way.how {
            How::Dense(_) => way.name.into(),
            _ => format!("{}-{seed}", way.name),
        };
        let settings = self.settings(way, seed)?;
        let run = self.runs.ledger.kept(&name, |run: &Run| run.settings == settings, || self.found(way, seed, &settings))?;
        Ok(Run { seed, ..run })
    }

    fn found(&self, way: &Way, seed: u64, settings: &Settings) -> Result<Run> {
        let Runs { ledger: Ledger { engine, global, .. }, val, .. } = &self.runs;
        let (cross, same, gap) = match way.how {
            How::Dense(kind) => (judge_dense(self, kind, &places(self, &self.encoder(BASE, seed)?)?)?, None, Vec::new()),
            _ => {
                let (model, behind) = self.trained(way, seed, settings)?;
                let strips = settings.train.as_ref().and_then(TrainConfig::held_out).filter(|_| !behind.in_strips);
                let cross = judge_encoder(self, &model, &behind, &[Judged { pair: val, ground: Ground::All }])?;
                let known = |strips| -> Vec<Judged<'_>> {
                    self.runs.scenes.iter().map(|pair| Judged { pair, ground: Ground::HeldOut(strips) }).collect()
                };
                let same = strips.map(|s| judge_encoder(self, &model, &behind, &known(s))).transpose()?;
                let watched = matches!(way.how, How::Encoder(_));
                (cross, same, if watched { validations(&model) } else { Vec::new() })
            }
        };
        let right = |f: &Found| percent(recall(&f.arbitrary, 1));
        let known = same.as_ref().map_or(String::new(), |f| format!(", on known ground {} %", right(f)));
        global.say(format_args!("{}-{seed}: R@1 {} %{known}", way.name, right(&cross)));
        Ok(Run { way: way.name.into(), seed, settings: settings.clone(), adapter: engine.adapter().to_string(), cross, same, gap })
    }

    /// A way's encoder and what stands behind it; trained unless an earlier call has done so.
    pub(super) fn trained(&self, way: &Way, seed: u64, settings: &Settings) -> Result<(LoadedModel, Behind)> {
        let engine = &self.runs.ledger.engine;
        let mut model = self.encoder(way.behind().unwrap_or(way.name), seed)?;
        let none = Behind { method: Method::None, slider: None, refiner: None, in_strips: way.in_strips() };
        let behind = match (way.how, &settings.refine) {
            (How::Graph(..), Some(config)) => {
                let Runs { scenes, val, .. } = &self.runs;
                let name = format!("{}-{seed}", way.name);
                let path = self.runs.ledger.train(&name, config.total_steps(), |out, resume, stop, on| {
                    train_refiner(engine, config, &model, scenes, val, out, resume, stop, on)
                })?;
                let own = LoadedModel::load(Some(&path))?;
                let manifest = &own.file.manifest;
                let behind = if config.joint { manifest.init_hash.as_ref() } else { Some(&own.hash) };
                if !graph_is_of(manifest, config) || behind != Some(&model.hash) {
                    return Err(stale(&path));
                }
                let refiner = Some(Refiner::new(engine, &own.file, &path)?);
                if config.joint {
                    model = own;
                }
                Behind { method: Method::Graph, refiner, ..none }
            }
            (How::Slid(_, strips), _) => {
                let slider = Some(Slider::new(engine, model.encoder(), 1)?);
                Behind { method: if strips { Method::Vote } else { Method::None }, slider, ..none }
            }
            _ => none,
        };
        Ok((model, behind))
    }

    /// The encoder of a way, trained unless an earlier call has done so by the same settings.
    pub(super) fn encoder(&self, name: &str, seed: u64) -> Result<LoadedModel> {
        let config = way(name).encoder(&self.recipe.train, seed).ok_or_else(|| Error::invalid(format!("{name} has no encoder")))?;
        let Runs { ledger: Ledger { engine, .. }, scenes, val, .. } = &self.runs;
        let path = self.runs.ledger.train(&format!("{name}-{seed}"), config.total_steps(), |out, resume, stop, on| {
            train(engine, &config, scenes, val, out, resume, stop, on)
        })?;
        let model = LoadedModel::load(Some(&path))?;
        let manifest = &model.file.manifest;
        let scenes = manifest.scenes.len() == self.records.len() && manifest.scenes.iter().zip(&self.records).all(|(a, b)| a.is(b));
        match TrainConfig::of(manifest) == Some(config) && scenes {
            true => Ok(model),
            false => Err(stale(&path)),
        }
    }
}

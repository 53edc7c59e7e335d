//! What a run that trains a graph network is told.

use crate::gpu::Precision;
use crate::index::IndexConfig;
use crate::nn::OptimizerConfig;
use crate::refine::{RefineLoss, RefinerConfig};
use crate::train::config::MOST;
use crate::train::course::Course;
use crate::train::recipe::read_toml;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A run that trains a graph network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefineTrainConfig {
    /// The graph network.
    pub refiner: RefinerConfig,
    /// Its losses.
    pub loss: RefineLoss,
    /// Trains the encoder too, which drops no values then; `train --refine joint` sets it.
    pub joint: bool,
    /// Side of a cell, map pixels.
    pub patch: u32,
    /// Views a side of the indexes that candidates come from, one after the other; validation takes the last.
    pub views: Vec<u32>,
    /// Each strip is looked for in a part of the map, of at least this share of its cells: how sure one may be hangs on how many there are.
    pub part: f64,
    /// Queries along a strip, in the steps that show strips.
    pub strip: usize,
    /// Share of the steps that show single queries.
    pub singles: f64,
    /// Share of the strips from whose candidates the right one is taken: they are to be told that none is right. Where the search misses
    /// enough of them by itself, more only makes the network doubt.
    pub withheld: f64,
    /// Queries in a step; a whole number of strips.
    pub queries: usize,
    /// Queries drawn on each scene, by themselves and as many in strips.
    pub pool: usize,
    /// Joint training: epochs after which the index is built anew with the encoder as it is then.
    pub refresh: usize,
    /// Passes.
    pub epochs: usize,
    /// Steps in a pass.
    pub steps: usize,
    /// Everything random hangs on it.
    pub seed: u64,
    /// Share of all steps over which the learning rate rises; then it falls as a cosine.
    pub warmup: f64,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// How layers multiply: `full`, or `mixed` with factors in f16, where tensor cores have them, and the loss scaled.
    pub precision: Precision,
    /// Validation every so many epochs, and after the last.
    pub validate_every: usize,
    /// Queries of a validation.
    pub validate_queries: usize,
    /// A checkpoint every so many steps.
    pub checkpoint_every: usize,
}

impl Default for RefineTrainConfig {
    fn default() -> Self {
        Self {
            refiner: RefinerConfig::default(),
            loss: RefineLoss::default(),
            joint: false,
            patch: 200,
            views: vec![3, 5, crate::index::DEFAULT_VIEWS],
            part: 0.1,
            strip: 5,
            singles: 0.5,
            withheld: 0.0,
            queries: 20,
            pool: 1500,
            refresh: 2,
            epochs: 48,
            steps: 100,
            seed: 1,
            warmup: 0.05,
            optimizer: OptimizerConfig::default(),
            precision: Precision::Full,
            validate_every: 12,
            validate_queries: 300,
            checkpoint_every: 100,
        }
    }
}

impl RefineTrainConfig {
    /// Reads a TOML file: settings by themselves, or the table `refine` of a recipe ([`super::super::Recipe`]).
    ///
    /// # Errors
    /// Not there, not TOML, an unknown or senseless value; with the place.
    pub fn load(path: &Path) -> Result<Self> {
        let config: Self = read_toml(path, "refine")?;
        config.check()?;
        Ok(config)
    }

    /// Refuses values that make no sense.
    ///
    /// # Errors
    /// The field and what it may be.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::invalid(format!("refinement configuration: {what}")));
        match self {
            c if c.strip == 0 || c.queries == 0 || !c.queries.is_multiple_of(c.strip) => {
                refuse("queries must be a multiple of strip, and both above 0")
            }
            c if c.pool < c.queries => refuse("pool must be at least one step's queries"),
            c if c.pool.max(c.validate_queries) > MOST => refuse("pool and validate_queries are at most 1,000,000"),
            c if !(0.0..=1.0).contains(&c.singles) || !(0.0..=1.0).contains(&c.withheld) => {
                refuse("singles and withheld are shares, 0 to 1")
            }
            c if c.views.is_empty() || c.views.iter().any(|v| v.is_multiple_of(2) || *v > 255) => {
                refuse("views must be odd numbers, and at most 255")
            }
            c if !(c.part > 0.0 && c.part <= 1.0) => refuse("part must be above 0, and at most 1"),
            c if c.patch == 0 || c.refresh == 0 || c.validate_queries == 0 => refuse("patch, refresh and validate_queries must be above 0"),
            c => c.refiner.check().and(c.course().check()).or_else(refuse),
        }
    }

    /// Steps in all.
    pub fn total_steps(&self) -> usize {
        self.epochs * self.steps
    }

    pub(super) fn course(&self) -> Course {
        Course {
            epochs: self.epochs,
            steps: self.steps,
            items: self.queries,
            seed: self.seed,
            warmup: self.warmup,
            hold: 0.0,
            optimizer: self.optimizer,
            precision: self.precision,
            validate_every: self.validate_every,
            checkpoint_every: self.checkpoint_every,
        }
    }

    /// Views a side of the index that judges the network.
    pub fn last_views(&self) -> u32 {
        self.views.last().copied().unwrap_or(crate::index::DEFAULT_VIEWS)
    }

    /// The index of so many views a side.
    pub fn grid(&self, views: u32) -> IndexConfig {
        IndexConfig { cell: self.patch, stride: self.patch, views, ..IndexConfig::default() }
    }
}

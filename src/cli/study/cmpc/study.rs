//! A study in its settings.

use super::ways::{BASE, How, Way};
use crate::cli::common::warn;
use crate::cli::study::runs::Runs;
use crate::nn::SceneRecord;
use crate::train::{Recipe, scene_records};
use crate::{Error, Result};

/// Queries of the arbitrary protocol come in strips of so many, and are taken one by one but where a way says otherwise.
pub(super) const STRIP: usize = 5;

/// A study in its settings.
pub(super) struct Study<'a> {
    pub(super) recipe: Recipe,
    pub(super) runs: Runs<'a>,
    /// The scenes to train on.
    pub(super) records: Vec<SceneRecord>,
    /// SHA-256 of the files of all scenes.
    pub(super) files: Vec<String>,
}

impl<'a> Study<'a> {
    /// Refuses queries too few to be drawn on every scene.
    pub(super) fn new(mut recipe: Recipe, runs: Runs<'a>) -> Result<Self> {
        // Validations watch the gap; the study's own evaluation is what counts.
        (recipe.train.validate_gap, recipe.train.validate_views) = (true, 1);
        let least = STRIP * runs.scenes.len();
        if runs.options.queries < least {
            return Err(Error::invalid(format!(
                "--queries {} are too few: they come in strips of {STRIP} on each scene, {least} at least",
                runs.options.queries
            )));
        }
        if recipe.refine.refiner.slide > 0 && recipe.train.encoder.squares().is_none() {
            return Err(Error::invalid(
                "the recipe's vectors have no layout, so candidates cannot slide: it must say refine.refiner.slide = 0",
            ));
        }
        let records = scene_records(&runs.scenes)?;
        let judged = scene_records(std::slice::from_ref(&runs.val))?;
        if records.iter().any(|r| r.is(&judged[0])) {
            warn("the scene to judge on is one of those to train on: its figures flatter");
        }
        let files = records.iter().chain(&judged).flat_map(|r| [r.map_sha256.clone(), r.sar_sha256.clone()]).collect();
        Ok(Self { recipe, runs, records, files })
    }

    /// Whether a way is one of its own in this recipe, and not `base` again.
    pub(super) fn differs(&self, way: &Way) -> bool {
        let settings = |way: &Way| way.encoder(&self.recipe.train, 1);
        way.name == BASE || !matches!(way.how, How::Encoder(_)) || settings(way) != settings(super::ways::way(BASE))
    }
}

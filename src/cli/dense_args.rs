//! Options of dense matching that several subcommands share.

use crate::dense::{DenseModel, FeatureKind, Layout};
use crate::gpu::Precision;
use crate::index::LoadedModel;
use crate::scene::MapInfo;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Largest patch of a dense database unless told otherwise, map pixels.
pub(super) const LARGEST_PATCH: u32 = 200;

/// The networks, and how they are run.
#[derive(Debug, clap::Args)]
pub(super) struct FeatureArgs {
    /// Features to correlate [default: learned; in `register` structure, which leans to no side]
    #[arg(long, value_enum, help_heading = "Dense matching")]
    pub(super) features: Option<FeatureKind>,
    /// Learned features to use instead of the shipped ones
    #[arg(long, value_name = "MODEL", help_heading = "Dense matching")]
    pub(super) dense_model: Option<PathBuf>,
    /// How networks multiply and store what they hand on; mixed, in f16: half the memory, and matrix units where the device has them
    #[arg(long, value_enum, default_value_t = Precision::Full)]
    pub(super) precision: Precision,
}

impl FeatureArgs {
    /// The model of the retrieval database, or the shipped one where no path is given.
    pub(super) fn encoder(&self, path: Option<&Path>) -> Result<LoadedModel> {
        Ok(LoadedModel::load(path)?.with_precision(self.precision))
    }

    /// The features chosen, or those of `default`; a model of learned ones chooses those.
    pub(super) fn model(&self, default: FeatureKind) -> Result<DenseModel> {
        let default = if self.dense_model.is_some() { FeatureKind::Learned } else { default };
        match (self.features.unwrap_or(default), &self.dense_model) {
            (FeatureKind::Structure, Some(path)) => Err(Error::invalid(format!(
                "--dense-model {}: learned features, which --features structure does not use; leave one of them out",
                path.display()
            ))),
            (kind, path) => DenseModel::of(kind, path.as_deref(), self.precision),
        }
    }
}

/// What is correlated, and how a map is cut for it.
#[derive(Debug, clap::Args)]
pub(super) struct DenseArgs {
    #[command(flatten)]
    pub(super) what: FeatureArgs,
    /// Side of a patch, map pixels; when a dense database is made, the largest that it is for [default: 200; in `locate` that of the database]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) patch: Option<u32>,
    /// Ground size of a feature pixel [default: the features' own; of a stored database, its own]
    #[arg(long, value_name = "METRES", help_heading = "Dense matching")]
    pub(super) scale: Option<f64>,
    /// Side of a block of the map, feature pixels, a power of two [default: by the patch]
    #[arg(long, value_name = "PX", default_value_t = 0, hide_default_value = true, help_heading = "Dense matching")]
    pub(super) block: usize,
}

/// How patches are correlated and judged.
#[derive(Debug, clap::Args)]
pub(super) struct MatchArgs {
    /// Patches correlated at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64), help_heading = "Dense matching")]
    pub(super) at_once: usize,
    /// A fix less probable than this is "not found" [default: the features' own]
    #[arg(long, value_name = "P", help_heading = "Dense matching")]
    pub(super) threshold: Option<f64>,
}

impl DenseArgs {
    pub(super) fn layout(&self, map: &MapInfo, model: &DenseModel, query_px: f64) -> Result<Layout> {
        Layout::new(map, self.scale.unwrap_or(model.metres()), query_px, self.block)
    }
}

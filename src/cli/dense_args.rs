//! Options of dense matching that several subcommands share.

use crate::Result;
use crate::dense::{DenseModel, Layout, Structure};
use crate::scene::MapInfo;
use clap::ValueEnum;

/// What is correlated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FeatureKind {
    /// Oriented gradients: no weights, any sensor
    Structure,
}

/// Dense matching.
#[derive(Debug, clap::Args)]
pub(super) struct DenseArgs {
    /// Features to correlate
    #[arg(long, value_enum, default_value_t = FeatureKind::Structure)]
    pub(super) features: FeatureKind,
    /// Side of a patch, map pixels
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) patch: Option<u32>,
    /// Ground size of a feature pixel [default: the features' own]
    #[arg(long, value_name = "METRES")]
    pub(super) scale: Option<f64>,
    /// Side of a block of the map, feature pixels, a power of two [default: by the patch]
    #[arg(long, value_name = "PX", default_value_t = 0)]
    pub(super) block: usize,
    /// Patches correlated at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub(super) at_once: usize,
    /// A fix less probable than this is "not found" [default: the features' own]
    #[arg(long, value_name = "P")]
    pub(super) threshold: Option<f64>,
}

impl DenseArgs {
    pub(super) fn model(&self) -> Result<DenseModel> {
        match self.features {
            FeatureKind::Structure => Ok(DenseModel::structure(Structure::default())),
        }
    }

    pub(super) fn layout(&self, map: &MapInfo, model: &DenseModel, query_px: f64) -> Result<Layout> {
        Layout::new(map, self.scale.unwrap_or(model.metres()), query_px, self.block)
    }
}

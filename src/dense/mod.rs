//! Dense matching: correlates feature maps of SAR patches over a whole map by FFT, and turns peaks into fixes.
//!
//! [`DenseModel`] makes features, [`build`] writes the spectra of a map's blocks into a [`DenseDatabase`], a [`Matcher`] holds them on the
//! device and finds the [`Match`] of each patch, [`Calibration`] says what a match is worth, [`find_pose`] finds how an image lies whose direction
//! and scale are not known. [`crate::locate`] puts an image's patches together.

mod build;
mod closer;
mod domain;
mod features;
mod fix;
mod judge;
mod layout;
mod matcher;
mod pose;
mod prepare;
mod search;
mod store;
#[cfg(test)]
mod tests;
mod variants;

pub use build::{build, build_at};
pub use closer::Closer;
pub use domain::{Distance, Domain, Statistics, distance};
pub use features::{DenseModel, Extractor, FeatureKind, Features, Structure};
pub use fix::{Calibration, Ellipse, Evidence, Labelled};
pub use judge::{Hint, evidence, fix, height, keep_where, raise};
pub use layout::Layout;
pub use matcher::Matcher;
pub use pose::{Pose, PoseConfig, find_pose};
pub use search::{Match, Peak, Search, SearchConfig};
pub use store::{DenseDatabase, DenseManifest, DenseWriter};
pub(crate) use variants::variant_records;
pub use variants::{Variant, spread, variants_around};

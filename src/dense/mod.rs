//! Dense matching: correlates feature maps of SAR patches over a whole map by FFT, and turns peaks into fixes.
//!
//! [`DenseModel`] makes features, [`build`] writes the spectra of a map's blocks into a [`DenseDatabase`], a [`Matcher`] holds them on the
//! device and finds the [`Match`] of each patch, [`Calibration`] says what a match is worth, [`vote()`] lets the patches of one image agree,
//! [`find_pose`] finds how an image lies whose direction and scale are not known.

mod build;
mod closer;
mod features;
mod fix;
mod layout;
mod locate;
mod matcher;
mod pose;
mod store;
#[cfg(test)]
mod tests;
mod vote;

pub use build::{build, build_at};
pub use closer::Closer;
pub use features::{DenseModel, Extractor, Features, Structure};
pub use fix::{Calibration, Ellipse, Evidence, Labelled};
pub use layout::Layout;
pub(crate) use locate::variant_records;
pub use locate::{DenseConfig, DenseFix, DenseLocated, Hint, Hints, evidence, fix, keep_where, locate_dense, raise, spread, turn};
pub use matcher::{Match, Matcher, Peak, Search, SearchConfig};
pub use pose::{Pose, PoseConfig, find_pose};
pub use store::{DenseDatabase, DenseManifest, DenseWriter};
pub use vote::{Vote, vote};

//! Matching: whether a SAR patch and an optical patch show the same ground, by a bridge network ([`crate::nn::BridgeNetwork`]).
//!
//! [`MatchModel`] is such a network from its file, [`Spots`] are the places of a set of pairs that it is trained on or judged at, and
//! [`match_files`] compares image files by it.

mod files;
mod model;
mod spots;

pub use files::{FileMatch, Reading, match_each, match_files};
pub use model::{MatchModel, Threshold};
pub(crate) use spots::{MIN_VALID, negatives, usable};
pub use spots::{Spot, Spots, distances};

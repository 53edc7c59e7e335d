//! Evaluation: protocols, metrics, intervals.

pub mod dense;
pub mod gap;
pub mod metrics;
mod paired;
mod protocol;

pub use paired::{holm, paired_difference, paired_test};
pub use protocol::{Evaluation, MAX_RANK, Protocol, Query, Refinement, encode, evaluate, evaluate_refined, judge, queries, strips};

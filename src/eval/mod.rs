//! Evaluation: protocols, metrics, intervals.

pub mod dense;
pub mod gap;
mod held_out;
pub mod metrics;
mod paired;
mod protocol;

pub use held_out::HeldOut;
pub use paired::{holm, paired_difference, paired_test};
pub use protocol::{Draw, Evaluation, MAX_RANK, Protocol, Query, Refinement, draw, encode, evaluate, evaluate_refined, judge, queries};

//! Evaluation: protocols, metrics, intervals.

pub mod dense;
pub mod metrics;
mod protocol;
mod random;

pub use protocol::{Evaluation, MAX_RANK, Protocol, Query, evaluate, queries, right};
pub use random::Random;

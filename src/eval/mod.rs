//! Evaluation: protocols, metrics, intervals.

pub mod metrics;
mod protocol;
mod random;

pub use protocol::{Evaluation, MAX_RANK, Protocol, Query, evaluate, queries};
pub use random::Random;

//! Evaluation: protocols, metrics, intervals.

pub mod dense;
mod draw;
pub mod gap;
mod held_out;
pub mod metrics;
mod paired;
mod protocol;
mod verification;

pub use draw::{Draw, Protocol, Query, draw, queries};
pub use held_out::{Ground, HeldOut};
pub use paired::{holm, paired_difference, paired_test};
pub use protocol::{Evaluation, MAX_RANK, Refinement, encode, evaluate, evaluate_refined, judge};
pub use verification::{Confusion, Distances, RocPoint, Verification};

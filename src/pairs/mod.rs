//! Pairs: many SAR images, each with an optical image of the same ground, pixel on pixel, as patch-matching data sets come (QXS-SAROPT,
//! SEN1-2, OMBRIA).
//!
//! A [`PairSet`] is found in two folders or in a table, and checked by what the files' headers say: a file without a partner, or one of another size
//! or type, is named. Pixels are read when they are asked for. [`PairSet::scene`] lays all pairs side by side as one
//! [`ScenePair`](crate::scene::ScenePair), with no data between them, so that whatever works on scenes works on pairs.
//! [`mod@build`] makes pairs of two large images.

pub mod build;
mod fault;
mod find;
mod list;
mod scene;
mod set;

pub use fault::{Fault, Faults};
pub use scene::{PairPlace, PairScene, SceneOptions};
pub use set::{Pair, PairSet};

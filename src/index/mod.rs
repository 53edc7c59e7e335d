//! The grid database: build, store, map from disk, search.

mod build;
mod config;
mod embed;
mod search;
mod store;
#[cfg(test)]
mod tests;

pub use build::{build, profile_encoding};
pub use config::{DEFAULT_VIEWS, IndexConfig, MAX_VIEWS};
pub use embed::{Embedder, LoadedModel, Supply};
pub use search::{CellHit, RESIDENT_BYTES, Searcher};
pub use store::{Database, DatabaseManifest, Row, Writer};

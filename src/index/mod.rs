//! The grid database: build, store, map from disk, search.

mod build;
mod embed;
mod search;
mod store;
#[cfg(test)]
mod tests;

pub use build::{DEFAULT_VIEWS, IndexConfig, build, profile_encoding};
pub use embed::{Embedder, LoadedModel, Supply};
pub use search::{CellHit, RESIDENT_BYTES, Searcher};
pub use store::{Database, DatabaseManifest, Row, Writer};

//! The grid database: build, store, map from disk, search, locate.

mod build;
mod embed;
mod locate;
mod search;
mod store;
#[cfg(test)]
mod tests;

pub use build::{DEFAULT_VIEWS, IndexConfig, MAX_VIEWS, build, profile_encoding};
pub use embed::{Embedder, LoadedModel, Supply};
pub use locate::{LocateConfig, Located, PATCH_MIN_VALID, Patch, locate, patches};
pub use search::{CellHit, RESIDENT_BYTES, Searcher};
pub use store::{Database, DatabaseManifest, Row, Writer};

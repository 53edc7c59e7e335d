//! The grid of a database: cells, and the views of each.

use crate::scene::DEFAULT_MAX_MISSING;
use serde::{Deserialize, Serialize};

/// Views a side of each cell.
pub const DEFAULT_VIEWS: u32 = 7;

/// Most views a side.
pub const MAX_VIEWS: u32 = 255;

/// The grid of a database.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct IndexConfig {
    /// Side of a cell, map pixels.
    pub cell: u32,
    /// Distance between cells, map pixels.
    pub stride: u32,
    /// Each cell is encoded at `views` x `views` positions spread over its stride, so that a query that lies anywhere is close
    /// to one of them; the cell's score is the best of them. Odd, so that one lies on the cell itself.
    pub views: u32,
    /// A cell may lack this share of its pixels.
    pub max_missing: f32,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self { cell: 200, stride: 200, views: DEFAULT_VIEWS, max_missing: DEFAULT_MAX_MISSING }
    }
}

impl IndexConfig {
    /// Views of a cell at most.
    pub fn views_a_cell(&self) -> u32 {
        self.views * self.views
    }

    /// Offset of a view (0 to `views_a_cell`, row by row) from its cell's centre, map pixels.
    pub fn offset(&self, view: u32) -> [f64; 2] {
        let n = f64::from(self.views);
        let along = |i: u32| (f64::from(i) - (n - 1.0) / 2.0) * f64::from(self.stride) / n;
        [along(view % self.views), along(view / self.views)]
    }
}

//! Parts of a map that a strip is looked for in.

use crate::eval::{Query, right};
use crate::index::Database;
use crate::random::Random;

/// Which cells belong to a part of about `share` of the map's: a rectangle that holds the cells where the strip's queries are right, somewhere
/// in it.
pub(super) fn around(database: &Database, queries: &[Query], share: f64, random: &mut Random) -> Vec<bool> {
    let cells = &database.cell_px;
    let side = f64::from(database.manifest.grid.cell);
    let bounds = |points: &mut dyn Iterator<Item = [f64; 2]>, d: usize| {
        points.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| (low.min(p[d]), high.max(p[d])))
    };
    // As if the cells filled the map's rectangle.
    let width = [0, 1].map(|d| {
        let (low, high) = bounds(&mut cells.iter().copied(), d);
        (high - low + side) * share.sqrt()
    });
    let [x, y] = [0, 1].map(|d| {
        let (low, high) = bounds(&mut queries.iter().map(|q| q.map_px), d);
        let (low, high) = (low - side, high + side);
        let room = (width[d] - (high - low)).max(0.0);
        let start = low - random.range(0.0, 1.0) * room;
        start..=start + width[d].max(high - low)
    });
    let mut part: Vec<bool> = cells.iter().map(|c| x.contains(&c[0]) && y.contains(&c[1])).collect();
    for (cell, inside) in part.iter_mut().enumerate() {
        *inside |= queries.iter().any(|q| right(database, cell as u32, q.map_px));
    }
    part
}

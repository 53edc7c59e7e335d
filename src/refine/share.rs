//! Candidates that the queries of a strip give each other: where most of a strip agrees, each of its queries looks, whether the search put
//! that cell among its first or not.

use super::vote::{Vote, spacing_m, support};
use super::{Request, Strip};
use crate::index::{CellHit, Database};
use rayon::prelude::*;
use std::collections::HashMap;

/// Places of a strip that all of its queries look at.
const PLACES: usize = 8;

/// Cells by where they lie.
struct Lookup<'d> {
    database: &'d Database,
    side: f64,
    bins: HashMap<[i64; 2], Vec<u32>>,
}

impl<'d> Lookup<'d> {
    fn new(database: &'d Database) -> Self {
        let side = f64::from(database.manifest.grid.cell);
        let mut bins: HashMap<[i64; 2], Vec<u32>> = HashMap::new();
        for (cell, p) in database.cell_px.iter().enumerate() {
            bins.entry(p.map(|v| (v / side).floor() as i64)).or_default().push(cell as u32);
        }
        Self { database, side, bins }
    }

    /// The cell whose centre is nearest, if its square holds the place.
    fn cell(&self, map_px: [f64; 2]) -> Option<u32> {
        let [x, y] = map_px.map(|v| (v / self.side).floor() as i64);
        let around = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| [x + dx, y + dy]));
        let distance = |cell: &u32| {
            let c = self.database.cell_px[*cell as usize];
            (c[0] - map_px[0]).abs().max((c[1] - map_px[1]).abs())
        };
        let near = around.filter_map(|b| self.bins.get(&b)).flatten();
        near.copied().min_by(|a, b| distance(a).total_cmp(&distance(b))).filter(|c| distance(c) <= self.side / 2.0)
    }

    /// A cell as a candidate of a query, by its best view.
    fn hit(&self, query: &[f32], cell: u32) -> Option<CellHit> {
        let views = self.database.rows_of(cell).map(|row| {
            let score = self.database.cosine(row, query);
            CellHit { cell, score, centre_px: self.database.row(row).centre_px, row: row as u32 }
        });
        views.reduce(|a, b| if b.score > a.score { b } else { a })
    }
}

/// Of the candidates `all_hits` of all queries, `request.top` of each at most: of strips of several queries the last make room for cells of the places
/// that most of the strip agrees on. Best cosine first, as the search has it.
pub(super) fn share(request: &Request<'_>, all_hits: &[Vec<CellHit>]) -> Vec<Vec<CellHit>> {
    let first = |hits: &Vec<CellHit>| hits.iter().take(request.top).copied().collect::<Vec<_>>();
    if request.strips.iter().all(|s| s.queries.len() < 2) {
        return all_hits.iter().map(first).collect();
    }
    let lookup = Lookup::new(request.database);
    let strip = |strip: &Strip| -> Vec<Vec<CellHit>> {
        let hits: Vec<Vec<CellHit>> = all_hits[strip.queries.clone()].iter().map(first).collect();
        let places = places(request.database, strip, &hits);
        let own = |(i, hits): (usize, &Vec<CellHit>)| {
            let along = strip.offsets_m[i];
            let cells = places.iter().filter_map(|p| lookup.cell(request.database.pixels([p[0] + along[0], p[1] + along[1]])));
            let mut new: Vec<u32> = Vec::new();
            for cell in cells {
                if !new.contains(&cell) && !hits.iter().any(|h| h.cell == cell) {
                    new.push(cell);
                }
            }
            new.truncate(request.top / 2);
            let query = request.query(strip.queries.start + i);
            let mut all = hits[..hits.len().min(request.top - new.len())].to_vec();
            let found = &all_hits[strip.queries.start + i];
            all.extend(
                new.into_iter().filter_map(|cell| found.iter().find(|h| h.cell == cell).copied().or_else(|| lookup.hit(query, cell))),
            );
            all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.cell.cmp(&b.cell)));
            all
        };
        hits.iter().enumerate().map(own).collect()
    };
    request.strips.par_iter().flat_map_iter(strip).collect()
}

/// Where the strip's first query may lie, metres: the places with most support, no two within a view of each other.
fn places(database: &Database, strip: &Strip, hits: &[Vec<CellHit>]) -> Vec<[f64; 2]> {
    let reach = spacing_m(database);
    let lists: Vec<Vec<Vote>> = hits.iter().zip(&strip.offsets_m).map(|(h, along)| Vote::all(database, h, *along)).collect();
    let mut all: Vec<(f64, [f64; 2])> =
        lists.iter().flatten().zip(support(&lists, reach).into_iter().flatten()).map(|(v, s)| (s.votes, v.place_m)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut kept: Vec<[f64; 2]> = Vec::new();
    for (_, p) in all {
        if kept.len() == PLACES {
            break;
        }
        if kept.iter().all(|k| (k[0] - p[0]).hypot(k[1] - p[1]) > reach) {
            kept.push(p);
        }
    }
    kept
}

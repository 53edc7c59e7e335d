//! Where on a map each of two ways finds queries.

use super::super::Error;
use super::super::graticule::round_below;
use super::chart::{GRID, LINES, SOFT, draw_under, heading, nothing, round_distance};
use super::hand::{Mark, caption, haloed, hex, legend, scale_bar};
use plotters::prelude::RGBColor;

/// A query of [`found_map`].
#[derive(Debug, Clone, PartialEq)]
pub struct FoundQuery {
    /// Its number, said beside it where one way alone found it.
    pub number: usize,
    /// Where it truly lies: metres from the map's upper left corner, x to the right and y down.
    pub at_m: [f64; 2],
    /// Whether the first way found it, and the second.
    pub found: [bool; 2],
}

/// Two ways over the same queries, a panel of [`found_map`].
#[derive(Debug, Clone, PartialEq)]
pub struct FoundPanel {
    /// Said above it.
    pub title: String,
    /// Names of the two ways.
    pub ways: [String; 2],
    /// The queries; one that is off the map is left out.
    pub queries: Vec<FoundQuery>,
}

/// What the marks are, in the order they are drawn: those that one way alone found lie on top.
const CLASSES: [([bool; 2], Mark, RGBColor, f64); 4] = [
    ([false, false], Mark::Cross, SOFT, 0.65),
    ([true, true], Mark::Dot, LINES[2], 0.55),
    ([true, false], Mark::Up, LINES[1], 1.0),
    ([false, true], Mark::Diamond, LINES[0], 1.0),
];
/// Columns of panels, by how many there are, and the most width of a map among so many.
const COLUMNS: [usize; 5] = [1, 1, 2, 3, 2];
const WIDTHS: [f64; 4] = [0.0, 688.0, 404.0, 404.0];
/// Tallest map, pixels.
const TALLEST: f64 = 520.0;
/// Room for the key beside a map of less width, and for the title.
const NARROWEST: [f64; 2] = [290.0, 560.0];
const MARGIN: f64 = 16.0;
const GAP: f64 = 26.0;

/// A map of `size_m` metres (width and height) a pair of ways: a dot where both found a query, a triangle where the first alone did, a
/// diamond where the second alone did, a cross where neither did, each class with its count. Queries that one way alone found bear their
/// number where there is room for it.
///
/// # Errors
/// [`Error::Figure`] for a map of no size, and when no query lies on it.
pub fn found_map(title: &str, line: &str, size_m: [f64; 2], panels: &[FoundPanel]) -> Result<String, Error> {
    if !size_m.iter().all(|v| v.is_finite() && *v > 0.0) {
        return Err(Error::Figure(format!("a map of {} x {} m has no size", size_m[0], size_m[1])));
    }
    let on_map = |q: &&FoundQuery| (0..2).all(|d| (0.0..=size_m[d]).contains(&q.at_m[d]));
    let queries: Vec<Vec<&FoundQuery>> = panels.iter().map(|p| p.queries.iter().filter(on_map).collect()).collect();
    if queries.iter().all(Vec::is_empty) {
        return Err(nothing());
    }
    let columns = COLUMNS.get(panels.len()).copied().unwrap_or(3);
    let scale = (WIDTHS[columns] / size_m[0]).min(TALLEST / size_m[1]);
    let map = size_m.map(|v| v * scale);
    let width = map[0].max(NARROWEST[0]);
    let legends: Vec<[String; 4]> = panels.iter().zip(&queries).map(|(p, q)| names(&p.ways, q)).collect();
    let keyed = |i: usize, left: f64, top: f64| {
        // By what is asked first: both, each alone, neither.
        let order = [1, 2, 3, 0];
        let names = order.map(|c| legends[i][c].as_str());
        legend(&names, [left, left + width], top, 9.0, |n, [x, y]| {
            let (_, mark, color, opacity) = CLASSES[order[n]];
            mark.draw([[x + 4.5, y]], 4.5, color, opacity)
        })
    };
    let key_height = (0..panels.len()).map(|i| keyed(i, 0.0, 0.0).1).fold(0.0, f64::max);
    // Title, key, map, scale bar.
    let height = 26.0 + key_height + 8.0 + map[1] + 34.0;
    let rows = panels.len().div_ceil(columns);
    let full = (2.0 * MARGIN + columns as f64 * (width + GAP) - GAP).max(NARROWEST[1]);
    draw_under((full.round() as u32, (66.0 + rows as f64 * height) as u32), |root| {
        heading(root, title, line, &[])?;
        let mut out = String::new();
        for (i, panel) in panels.iter().enumerate() {
            let left = MARGIN + (i % columns) as f64 * (width + GAP);
            let top = 66.0 + (i / columns) as f64 * height;
            out += &caption([left, top + 14.0], &panel.title);
            out += &keyed(i, left, top + 24.0).0;
            let corner = [left, top + 26.0 + key_height + 8.0];
            out += &one(corner, map, &queries[i], scale);
            let (bar, _) = round_below(size_m[0] / 4.0);
            out += &scale_bar([left + map[0], corner[1] + map[1] + 16.0], bar * scale, &round_distance(bar));
        }
        Ok(out)
    })
}

/// What the key says of each class: who found them, and how many they are.
fn names(ways: &[String; 2], queries: &[&FoundQuery]) -> [String; 4] {
    CLASSES.map(|(found, ..)| {
        let who = match found {
            [true, true] => "both".to_string(),
            [true, false] => format!("{} alone", ways[0]),
            [false, true] => format!("{} alone", ways[1]),
            [false, false] => "neither".to_string(),
        };
        format!("{who}: {}", queries.iter().filter(|q| q.found == found).count())
    })
}

/// The map of a panel, its upper left corner at `corner`, `size` pixels wide and high, `scale` pixels a metre.
fn one(corner: [f64; 2], size: [f64; 2], queries: &[&FoundQuery], scale: f64) -> String {
    let [x, y] = corner;
    let mut out = format!(
        r##"<rect x="{x:.1}" y="{y:.1}" width="{:.1}" height="{:.1}" fill="#656D75" fill-opacity="0.06" stroke="{}"/>"##,
        size[0],
        size[1],
        hex(GRID)
    );
    let at = |q: &FoundQuery| [0, 1].map(|d| corner[d] + q.at_m[d] * scale);
    // As large as leaves marks apart, were they spread evenly.
    let r = ((size[0] * size[1] / queries.len().max(1) as f64).sqrt() / 5.0).clamp(2.4, 5.0);
    for (found, mark, color, opacity) in CLASSES {
        let alone = found[0] != found[1];
        let places = queries.iter().filter(|q| q.found == found).map(|q| at(q));
        out += &mark.draw(places, if alone { r } else { 0.8 * r }, color, opacity);
    }
    let mut taken: Vec<Box> = queries.iter().map(|q| Box::about(at(q), [r, r])).collect();
    let inside = Box { low: corner, high: [x + size[0], y + size[1]] };
    for q in queries.iter().filter(|q| q.found[0] != q.found[1]) {
        let label = q.number.to_string();
        let half = [3.0 * label.len() as f64 + 0.5, 4.0];
        let (dx, dy) = (r + 2.5 + half[0], r + 2.5 + half[1]);
        let [x, y] = at(q);
        let places = [[x + dx, y], [x - dx, y], [x, y - dy], [x, y + dy]];
        let free = |p: &&[f64; 2]| {
            let b = Box::about(**p, half);
            inside.holds(&b) && !taken.iter().any(|t| t.meets(&b))
        };
        if let Some(place) = places.iter().find(free) {
            taken.push(Box::about(*place, half));
            haloed(&mut out, [place[0], place[1] + 3.5], "middle", if q.found[0] { LINES[1] } else { LINES[0] }, &label);
        }
    }
    out
}

/// What a mark or a number takes up.
struct Box {
    low: [f64; 2],
    high: [f64; 2],
}

impl Box {
    fn about(middle: [f64; 2], half: [f64; 2]) -> Self {
        Self { low: [0, 1].map(|d| middle[d] - half[d]), high: [0, 1].map(|d| middle[d] + half[d]) }
    }

    fn meets(&self, other: &Self) -> bool {
        (0..2).all(|d| self.low[d] < other.high[d] && other.low[d] < self.high[d])
    }

    fn holds(&self, other: &Self) -> bool {
        (0..2).all(|d| self.low[d] <= other.low[d] && other.high[d] <= self.high[d])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(number: usize, at_m: [f64; 2], found: [bool; 2]) -> FoundQuery {
        FoundQuery { number, at_m, found }
    }

    fn panel(queries: Vec<FoundQuery>) -> FoundPanel {
        FoundPanel { title: "a & b".into(), ways: ["<a>".into(), "b".into()], queries }
    }

    #[test]
    fn classes_are_counted_and_the_lone_ones_numbered() {
        let queries = vec![
            query(71, [100.0, 100.0], [true, false]),
            query(72, [500.0, 100.0], [false, true]),
            query(73, [100.0, 500.0], [true, true]),
            query(74, [500.0, 500.0], [false, false]),
            query(75, [900.0, 500.0], [false, false]),
            query(76, [f64::NAN, 500.0], [true, false]),
            query(77, [500.0, 1001.0], [true, false]),
        ];
        let svg = found_map("t", "l", [1000.0, 1000.0], &[panel(queries)]).unwrap();
        for said in [">both: 1<", ">&lt;a&gt; alone: 1<", ">b alone: 1<", ">neither: 2<", ">a &amp; b<", ">71<", ">72<", ">200 m<"] {
            assert!(svg.contains(said), "{said} in {svg}");
        }
        for silent in [">73<", ">74<", ">76<", ">77<", "NaN", "<a>"] {
            assert!(!svg.contains(silent), "{silent} in {svg}");
        }
    }

    #[test]
    fn numbers_stand_only_where_there_is_room() {
        // A hundred on a spot: the first four take the sides.
        let crowd = (0..100).map(|i| query(1000 + i, [500.0, 500.0], [true, false])).collect();
        let svg = found_map("t", "l", [1000.0, 1000.0], &[panel(crowd)]).unwrap();
        assert_eq!(svg.matches("paint-order").count(), 4);
        // In a corner, none leaves the map.
        let svg = found_map("t", "l", [1000.0, 1000.0], &[panel(vec![query(1, [0.0, 0.0], [true, false])])]).unwrap();
        assert_eq!(svg.matches("paint-order").count(), 0);
    }

    #[test]
    fn panels_share_the_scale_and_nothing_is_an_error() {
        let some = || panel(vec![query(1, [10.0, 10.0], [true, true])]);
        for n in 1..8 {
            let svg = found_map("t", "l", [4000.0, 1000.0], &vec![some(); n]).unwrap();
            assert_eq!(svg.matches("<rect ").count(), n + 1);
        }
        assert!(found_map("t", "l", [1000.0, 1000.0], &[]).is_err());
        assert!(found_map("t", "l", [1000.0, 1000.0], &[panel(vec![query(1, [-1.0, 0.0], [true, true])])]).is_err());
        assert!(found_map("t", "l", [1000.0, f64::NAN], &[some()]).is_err());
    }
}

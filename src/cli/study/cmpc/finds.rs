//! Who finds what: for every pair of ways the queries that one alone finds.

use super::judge::places;
use super::outcome::Run;
use super::study::{STRIP, Study};
use super::ways::BASE;
use crate::Result;
use crate::report::figures::{self, FoundPanel, FoundQuery};
use crate::scene::MapInfo;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Two ways, and the numbers (from 1) of the queries that each alone finds.
#[derive(Debug, Serialize)]
pub(super) struct Pair {
    pub(super) ways: [String; 2],
    pub(super) alone: [Vec<usize>; 2],
    pub(super) both: usize,
    pub(super) none: usize,
}

/// The pairs that are drawn and listed in words: those of the published system.
const SHOWN: [[&str; 2]; 4] = [["base", "critic-light"], ["base", "graph"], ["critic-light", "light-graph"], ["base", "light-graph"]];

/// Whether each query is found first in more than half of a way's runs; queries anywhere on the scene never trained on.
fn found(all: &[Run]) -> BTreeMap<&str, Vec<bool>> {
    let mut right: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
    for run in all {
        let results = &run.cross.arbitrary;
        let own = right.entry(&run.way).or_insert_with(|| vec![(0, 0); results.len()]);
        for (count, q) in own.iter_mut().zip(results) {
            count.0 += usize::from(q.right_rank == Some(1));
            count.1 += 1;
        }
    }
    right.into_iter().map(|(way, counts)| (way, counts.into_iter().map(|(n, of)| 2 * n > of).collect())).collect()
}

/// Every pair of the ways in `order`.
pub(super) fn pairs(order: &[&str], all: &[Run]) -> Vec<Pair> {
    let found = found(all);
    let known: Vec<&str> = order.iter().copied().filter(|w| found.contains_key(w)).collect();
    let mut pairs = Vec::new();
    for (i, a) in known.iter().enumerate() {
        for b in &known[i + 1..] {
            let (x, y) = (&found[a], &found[b]);
            let numbers = |f: &dyn Fn(bool, bool) -> bool| -> Vec<usize> {
                x.iter().zip(y).enumerate().filter(|(_, (x, y))| f(**x, **y)).map(|(q, _)| q + 1).collect()
            };
            let alone = [numbers(&|x, y| x && !y), numbers(&|x, y| y && !x)];
            let (both, none) = (numbers(&|x, y| x && y).len(), numbers(&|x, y| !x && !y).len());
            pairs.push(Pair { ways: [(*a).into(), (*b).into()], alone, both, none });
        }
    }
    pairs
}

fn is(pair: &Pair, ways: [&str; 2]) -> bool {
    pair.ways[0] == ways[0] && pair.ways[1] == ways[1]
}

/// How many queries each way finds that another does not, and the numbers of those of the published system, as Markdown.
pub(super) fn table(order: &[&str], pairs: &[Pair]) -> String {
    let known: Vec<&&str> = order.iter().filter(|w| pairs.iter().any(|p| p.ways.iter().any(|n| n == **w))).collect();
    let mut text = String::from("| found by the row, not by the column |");
    known.iter().for_each(|w| text.push_str(&format!(" `{w}` |")));
    text.push_str("\n| --- |");
    known.iter().for_each(|_| text.push_str(" --- |"));
    for row in &known {
        let _ = write!(text, "\n| `{row}` |");
        for column in &known {
            let alone = pairs.iter().find_map(|p| match () {
                () if is(p, [row, column]) => Some(&p.alone[0]),
                () if is(p, [column, row]) => Some(&p.alone[1]),
                () => None,
            });
            let _ = write!(text, " {} |", alone.map_or("-".into(), |a| a.len().to_string()));
        }
    }
    text.push('\n');
    for p in SHOWN.iter().filter_map(|ways| pairs.iter().find(|p| is(p, *ways))) {
        for (way, other, alone) in [(&p.ways[0], &p.ways[1], &p.alone[0]), (&p.ways[1], &p.ways[0], &p.alone[1])] {
            let numbers: Vec<String> = alone.iter().map(usize::to_string).collect();
            let _ = write!(
                text,
                "\n- Found by `{way}`, not by `{other}` ({}): {}.",
                alone.len(),
                if alone.is_empty() { "none".into() } else { numbers.join(", ") }
            );
        }
    }
    text.push('\n');
    text
}

/// Draws the pairs of the published system on the map; whether there was one.
pub(super) fn picture(study: &Study<'_>, all: &[Run]) -> Result<bool> {
    let found = found(all);
    let shown: Vec<[&str; 2]> = SHOWN.into_iter().filter(|ways| ways.iter().all(|w| found.contains_key(w))).collect();
    let pair = &study.runs.val;
    let Some(seed) = study.runs.ledger.seeds().first().copied().filter(|_| !shown.is_empty()) else { return Ok(false) };
    let pixel = MapInfo::of(&pair.map)?.pixel_m;
    let queries = places(study, &study.encoder(BASE, seed)?)?;
    let panels: Vec<FoundPanel> = shown
        .iter()
        .map(|ways| {
            let place = |q: usize| [0, 1].map(|d| queries[q].map_px[d] * pixel[d]);
            let query = |q| FoundQuery { number: q + 1, at_m: place(q), found: ways.map(|w| found[w][q]) };
            FoundPanel {
                title: format!("{} and {}", ways[0], ways[1]),
                ways: ways.map(String::from),
                queries: (0..queries.len()).map(query).collect(),
            }
        })
        .collect();
    let raster = &pair.map.raster;
    let size = [f64::from(raster.width()) * pixel[0], f64::from(raster.height()) * pixel[1]];
    let line = format!("{} queries in strips of {STRIP}; found: first, in most seeds", queries.len());
    figures::write(&study.runs.options.ledger.out.join("cmpc-finds.svg"), &figures::found_map("Who finds what", &line, size, &panels)?)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::outcome::{Found, Settings};
    use super::*;
    use crate::eval::metrics::QueryResult;

    fn run(way: &str, seed: u64, right: [bool; 4]) -> Run {
        let result = |r: bool| QueryResult { right_rank: Some(if r { 1 } else { 2 }), error_m: None };
        let arbitrary = right.map(result).to_vec();
        let settings = Settings { train: None, refine: None, patch: 1, queries: 4, strip: 1, scenes: Vec::new() };
        let cross = Found { arbitrary, aligned: None };
        Run { way: way.into(), seed, settings, adapter: String::new(), cross, same: None, gap: Vec::new() }
    }

    #[test]
    fn most_seeds_decide_what_is_found() {
        let all = [
            run("base", 1, [true, true, false, false]),
            run("base", 2, [true, false, false, false]),
            run("base", 3, [true, false, false, true]),
            run("graph", 1, [true, true, true, false]),
            run("graph", 2, [false, true, true, false]),
            run("graph", 3, [false, true, false, false]),
        ];
        let order = ["base", "critic", "graph"];
        let pairs = pairs(&order, &all);
        assert_eq!(pairs.len(), 1);
        assert_eq!((&pairs[0].alone[0], &pairs[0].alone[1]), (&vec![1], &vec![2, 3]));
        assert_eq!((pairs[0].both, pairs[0].none), (0, 1));
        let text = table(&order, &pairs);
        assert!(text.contains("| `base` | - | 1 |") && text.contains("| `graph` | 2 | - |") && text.contains("(2): 2, 3."), "{text}");
    }
}

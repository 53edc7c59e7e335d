//! The table of a study of refinement.

use super::ways::{Found, Run, Way, recall};
use crate::Result;
use crate::cli::study::words::{interval, percent, percents, seeds};
use crate::eval::metrics::{Estimate, QueryResult, Summary, calibration_error};
use crate::eval::paired_difference;
use serde::Serialize;
use std::fmt::Write;

/// Mean over each strip of whether its queries are right: queries of a strip hang together, so that strips are what intervals are drawn of.
fn right(results: &[QueryResult], strip: usize) -> Vec<f64> {
    let share = |s: &[QueryResult]| s.iter().filter(|q| q.right_rank == Some(1)).count() as f64 / s.len() as f64;
    results.chunks(strip).map(share).collect()
}

/// What is said of a way, of queries by themselves or in strips.
#[derive(Debug, Serialize)]
pub(super) struct Side {
    /// R@1 of each seed.
    pub(super) each: Vec<f64>,
    pub(super) recall1: f64,
    median_error_m: f64,
    /// Difference of R@1 to `none`.
    gain: Option<Estimate>,
    /// R@1 of `graph` less this way's.
    graph_less_it: Option<Estimate>,
    calibration_error: Option<f64>,
}

/// What is said of a way.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) way: &'static str,
    what: &'static str,
    seeds: Vec<u64>,
    pub(super) single: Side,
    pub(super) strips: Side,
    /// R@1 of the search with the run's own encoder.
    pub(super) coarse1: Option<f64>,
}

/// What is said of some runs of one way.
fn side(strip: usize, runs: &[&Run], all: &[Run], pick: fn(&Run) -> &Found) -> Result<Side> {
    let of = |name: &str, seed: u64| all.iter().find(|r| r.way == name && r.seed == seed);
    // This way's outcomes and another's, seed by seed.
    let against = |name: &str| -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let pair = |r: &&&Run| of(name, r.seed).map(|o| (right(&pick(r).results, strip), right(&pick(o).results, strip)));
        runs.iter().filter_map(|r| pair(&r)).unzip()
    };
    let difference = |a: &[Vec<f64>], b: &[Vec<f64>]| match a.is_empty() {
        true => Ok(None),
        false => paired_difference(a, b, 7).map(Some),
    };
    let way = runs[0].way.as_str();
    let each: Vec<f64> = runs.iter().map(|r| recall(&pick(r).results)).collect();
    let medians = runs
        .iter()
        .map(|r| Ok(Summary::of_strips(&pick(r).results, strip, 7)?.median_error_m.map_or(f64::NAN, |e| e.value)))
        .collect::<Result<Vec<_>>>()?;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let cases = |r: &&Run| -> Vec<(f64, bool)> {
        let found = pick(r);
        found.probabilities.iter().zip(&found.results).map(|(p, q)| (*p, q.right_rank == Some(1))).collect()
    };
    let errors: Vec<f64> = runs.iter().map(cases).filter(|c| !c.is_empty()).map(|c| calibration_error(&c)).collect();
    let ((own, none), (less, graph)) = (against("none"), against("graph"));
    Ok(Side {
        recall1: mean(&each),
        each,
        median_error_m: mean(&medians),
        gain: if way == "none" { None } else { difference(&none, &own)? },
        graph_less_it: if way == "graph" { None } else { difference(&less, &graph)? },
        calibration_error: (!errors.is_empty()).then(|| mean(&errors)),
    })
}

/// What is said of each way that was run, in strips of so many queries.
pub(super) fn rows(strip: usize, chosen: &[&Way], all: &[Run]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for way in chosen {
        let runs: Vec<&Run> = all.iter().filter(|r| r.way == way.name).collect();
        if runs.is_empty() {
            continue;
        }
        let coarse: Vec<f64> = runs.iter().filter_map(|r| Some(recall(r.coarse.as_ref()?))).collect();
        rows.push(Row {
            way: way.name,
            what: way.what,
            seeds: runs.iter().map(|r| r.seed).collect(),
            single: side(strip, &runs, all, |r| &r.single)?,
            strips: side(strip, &runs, all, |r| &r.strips)?,
            coarse1: (!coarse.is_empty()).then(|| coarse.iter().sum::<f64>() / coarse.len() as f64),
        });
    }
    Ok(rows)
}

/// The rows as Markdown.
pub(super) fn table(rows: &[Row], pick: fn(&Row) -> &Side) -> String {
    let mut text = String::from(
        "| way | what | seeds | R@1 | of each seed | less `none` | `graph` less it | median error, m | ECE |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for r in rows {
        let side = pick(r);
        // Without training all seeds are one.
        let each = if side.each.windows(2).all(|w| w[0] == w[1]) { &side.each[..1] } else { &side.each[..] };
        let of = |e: &Option<Estimate>| e.as_ref().map_or("-".into(), interval);
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {} | {:.0} | {} |",
            r.way,
            r.what,
            seeds(&r.seeds),
            percent(side.recall1),
            percents(each),
            of(&side.gain),
            of(&side.graph_less_it),
            side.median_error_m,
            side.calibration_error.map_or("-".into(), |e| format!("{e:.3}")),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_are_the_unit_of_outcomes() {
        let results: Vec<QueryResult> =
            [Some(1), Some(2), Some(1), Some(1), None, None].map(|right_rank| QueryResult { right_rank, error_m: None }).to_vec();
        assert_eq!(right(&results, 2), [0.5, 1.0, 0.0]);
        assert_eq!(recall(&results), 0.5);
    }

    #[test]
    fn a_row_says_all_of_a_way() {
        let side = |each: Vec<f64>| Side {
            recall1: 0.375,
            each,
            median_error_m: 20.4,
            gain: Some(Estimate { value: 0.1, ci95: [-0.05, 0.2] }),
            graph_less_it: None,
            calibration_error: Some(0.0321),
        };
        let row =
            Row { way: "graph", what: "it", seeds: vec![1, 2], single: side(vec![0.5, 0.25]), strips: side(vec![0.375; 2]), coarse1: None };
        let line = |pick: fn(&Row) -> &Side| table(std::slice::from_ref(&row), pick).lines().last().unwrap().to_string();
        assert_eq!(line(|r| &r.single), "| `graph` | it | 1 2 | 37.5 | 50.0 25.0 | +10.0 [-5.0, +20.0] | - | 20 | 0.032 |");
        assert_eq!(line(|r| &r.strips), "| `graph` | it | 1 2 | 37.5 | 37.5 | +10.0 [-5.0, +20.0] | - | 20 | 0.032 |");
    }
}

//! The table of a study of refinement.

use crate::cli::study::{interval, percent};
use crate::eval::metrics::Estimate;
use serde::Serialize;
use std::fmt::Write;

/// What is said of a way, of queries by themselves or in strips.
#[derive(Debug, Serialize)]
pub(super) struct Side {
    /// R@1 of each seed.
    pub(super) each: Vec<f64>,
    pub(super) recall1: f64,
    pub(super) median_error_m: f64,
    /// Difference of R@1 to `none`.
    pub(super) gain: Option<Estimate>,
    /// R@1 of `graph` less this way's.
    pub(super) graph_less_it: Option<Estimate>,
    pub(super) calibration_error: Option<f64>,
}

/// What is said of a way.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) way: &'static str,
    pub(super) what: &'static str,
    pub(super) seeds: Vec<u64>,
    pub(super) single: Side,
    pub(super) strips: Side,
    /// R@1 of the search with the run's own encoder.
    pub(super) coarse1: Option<f64>,
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
            r.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
            percent(side.recall1),
            each.iter().map(|v| percent(*v)).collect::<Vec<_>>().join(" "),
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

//! The rows of the tables.

use super::outcome::Run;
use super::study::STRIP;
use super::ways::{BASE, Way};
use crate::Result;
use crate::cli::study::words::{interval, percent, percents};
use crate::eval::metrics::{Estimate, QueryResult, Summary};
use crate::eval::paired_difference;
use serde::Serialize;
use std::fmt::Write;

/// Share of queries with a right candidate among the first `k`.
pub(super) fn recall(results: &[QueryResult], k: u32) -> f64 {
    results.iter().filter(|q| q.right_rank.is_some_and(|r| r <= k)).count() as f64 / results.len().max(1) as f64
}

/// What is found first of each strip: queries of a strip hang together, so that strips are what intervals are drawn of.
pub(super) fn right(results: &[QueryResult]) -> Vec<f64> {
    results.chunks(STRIP).map(|s| recall(s, 1)).collect()
}

/// Figures of some queries, means over the seeds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figures {
    /// R@1 of each seed.
    pub(super) each: Vec<f64>,
    pub(super) recall: [f64; 3],
    pub(super) mrr: f64,
    pub(super) median_error_m: f64,
    pub(super) within_250_m: f64,
}

impl Figures {
    fn new(runs: &[&Vec<QueryResult>]) -> Result<Self> {
        let summaries = runs.iter().map(|r| Ok(Summary::new(r, 7)?)).collect::<Result<Vec<_>>>()?;
        let mean = |f: &dyn Fn(&Summary) -> f64| summaries.iter().map(f).sum::<f64>() / summaries.len() as f64;
        Ok(Self {
            each: summaries.iter().map(|s| s.recall[&1].value).collect(),
            recall: [1, 5, 10].map(|k| mean(&|s| s.recall[&k].value)),
            mrr: mean(&|s| s.mrr.value),
            median_error_m: mean(&|s| s.median_error_m.map_or(f64::NAN, |e| e.value)),
            within_250_m: mean(&|s| s.within_m[&250].value),
        })
    }

    /// R@1, 5 and 10 in per cent.
    fn recalls(&self) -> String {
        self.recall.map(percent).join(" / ")
    }
}

/// What is said of a way.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) way: &'static str,
    what: &'static str,
    seeds: Vec<u64>,
    /// On the scene never trained on: anywhere, and on the grid.
    pub(super) cross: Figures,
    cross_aligned: Option<Figures>,
    /// On ground whose map was seen in training.
    pub(super) same: Option<Figures>,
    same_aligned: Option<Figures>,
    /// R@1 anywhere (cross) over seeds and strips.
    pub(super) recall1: Estimate,
    /// The same less that of `base`.
    pub(super) gain: Option<Estimate>,
}

/// Outcomes of one way and of another, seed by seed.
pub(super) fn paired<T>(all: &[Run], a: &str, b: &str, of: impl Fn(&Run) -> Option<T>) -> (Vec<T>, Vec<T>) {
    let runs = all.iter().filter(|r| r.way == a);
    let pair = |r: &Run| Some((of(r)?, of(all.iter().find(|o| o.way == b && o.seed == r.seed)?)?));
    runs.filter_map(pair).unzip()
}

/// What is said of each way that was run.
pub(super) fn rows(chosen: &[&Way], all: &[Run]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for way in chosen {
        let runs: Vec<&Run> = all.iter().filter(|r| r.way == way.name).collect();
        if runs.is_empty() {
            continue;
        }
        let some = |of: &dyn for<'r> Fn(&'r Run) -> Option<&'r Vec<QueryResult>>| -> Result<Option<Figures>> {
            let found: Vec<_> = runs.iter().filter_map(|r| of(r)).collect();
            if found.is_empty() { Ok(None) } else { Figures::new(&found).map(Some) }
        };
        let own: Vec<Vec<f64>> = runs.iter().map(|r| right(&r.cross.arbitrary)).collect();
        let nothing: Vec<Vec<f64>> = own.iter().map(|r| vec![0.0; r.len()]).collect();
        let (base, paired) = paired(all, BASE, way.name, |r| Some(right(&r.cross.arbitrary)));
        let compared = way.name != BASE && !base.is_empty();
        rows.push(Row {
            way: way.name,
            what: way.what,
            seeds: runs.iter().map(|r| r.seed).collect(),
            cross: Figures::new(&runs.iter().map(|r| &r.cross.arbitrary).collect::<Vec<_>>())?,
            cross_aligned: some(&|r| r.cross.aligned.as_ref())?,
            same: some(&|r| r.same.as_ref().map(|f| &f.arbitrary))?,
            same_aligned: some(&|r| r.same.as_ref()?.aligned.as_ref())?,
            recall1: paired_difference(&nothing, &own, 7)?,
            gain: compared.then(|| paired_difference(&base, &paired, 7)).transpose()?,
        });
    }
    Ok(rows)
}

/// The scene never trained on, queries anywhere, as Markdown.
pub(super) fn cross_table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| way | what | R@1 | of each seed | less `base` | R@5 | R@10 | MRR | within 250 m | median error, m |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for r in rows {
        let f = &r.cross;
        // What is not trained is one for all seeds.
        let each = if f.each.windows(2).all(|w| w[0] == w[1]) { &f.each[..1] } else { &f.each[..] };
        let [low, high] = r.recall1.ci95.map(percent);
        let _ = writeln!(
            text,
            "| `{}` | {} | {} [{low}, {high}] | {} | {} | {} | {} | {:.3} | {} | {:.0} |",
            r.way,
            r.what,
            percent(f.recall[0]),
            percents(each),
            r.gain.as_ref().map_or("-".into(), interval),
            percent(f.recall[1]),
            percent(f.recall[2]),
            f.mrr,
            percent(f.within_250_m),
            f.median_error_m,
        );
    }
    text
}

/// All four settings as Markdown.
pub(super) fn protocols_table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| way | cross-area, anywhere | cross-area, on the grid | same-area, anywhere | same-area, on the grid | MRR of these |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for r in rows {
        let all = [Some(&r.cross), r.cross_aligned.as_ref(), r.same.as_ref(), r.same_aligned.as_ref()];
        let cells = all.map(|f| f.map_or("-".into(), Figures::recalls)).join(" | ");
        let mrr = all.map(|f| f.map_or("-".into(), |f| format!("{:.2}", f.mrr))).join(" / ");
        let _ = writeln!(text, "| `{}` | {cells} | {mrr} |", r.way);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_are_the_unit_of_outcomes() {
        let results: Vec<QueryResult> = [Some(1), Some(2), Some(1), Some(1), None, Some(6), None, Some(1), Some(10), Some(11)]
            .map(|right_rank| QueryResult { right_rank, error_m: Some(1.0) })
            .to_vec();
        assert_eq!(right(&results), [0.6, 0.2]);
        assert_eq!([1, 5, 10].map(|k| recall(&results, k)), [0.4, 0.5, 0.7]);
        let figures = Figures::new(&[&results, &results]).unwrap();
        assert_eq!((figures.recall, figures.each), ([0.4, 0.5, 0.7], vec![0.4, 0.4]));
    }
}

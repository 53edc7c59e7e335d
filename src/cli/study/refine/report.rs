//! What a study of refinement has to say: the table, the figures.

use super::table::{Row, Side, table};
use super::ways::Way;
use super::{Found, Run, Seen, Study};
use crate::Result;
use crate::cli::study::{command, percent, write};
use crate::eval::metrics::{QueryResult, Summary, calibration_error};
use crate::eval::paired_difference;
use crate::index::{CellHit, LoadedModel};
use crate::refine::{Method, Refiner};
use crate::report::figures::{self, Bar, BeforeAfter};
use std::fmt::Write;

/// Mean over each strip of whether its queries are right: queries of a strip hang together, so that strips are what intervals are drawn of.
fn right(results: &[QueryResult], strip: usize) -> Vec<f64> {
    let share = |s: &[QueryResult]| s.iter().filter(|q| q.right_rank == Some(1)).count() as f64 / s.len() as f64;
    results.chunks(strip).map(share).collect()
}

pub(super) fn recall(results: &[QueryResult]) -> f64 {
    results.iter().filter(|q| q.right_rank == Some(1)).count() as f64 / results.len() as f64
}

impl Study<'_> {
    fn side(&self, runs: &[&Run], all: &[Run], pick: fn(&Run) -> &Found) -> Result<Side> {
        let strip = self.base.strip;
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

    fn rows(&self, chosen: &[&Way], all: &[Run]) -> Result<Vec<Row>> {
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
                single: self.side(&runs, all, |r| &r.single)?,
                strips: self.side(&runs, all, |r| &r.strips)?,
                coarse1: (!coarse.is_empty()).then(|| coarse.iter().sum::<f64>() / coarse.len() as f64),
            });
        }
        Ok(rows)
    }

    pub(super) fn report(&self, chosen: &[&Way], all: &[Run], seen: &Seen) -> Result<()> {
        let rows = self.rows(chosen, all)?;
        let (queries, c) = (seen.queries.len(), &self.base);
        let mut text = String::new();
        let _ = writeln!(
            text,
            "# What decides among the candidates\n\nWritten by `echogrid {}`.\n\nAdapter: {}. {} queries anywhere on a scene never trained on, in \
             {} strips of {}, taken one by one and strip by strip; index of {v} x {v} views a cell. Graph networks: {} steps of {} queries. R@1 in per \
             cent, means over the seeds; differences in points of R@1 with 95 % intervals from a two-level bootstrap (seeds, then strips, \
             paired): an interval that holds 0 shows no difference. ECE: expected calibration error of the first candidate's probability.\n",
            command(),
            self.runs.engine.adapter(),
            queries,
            queries / c.strip,
            c.strip,
            c.total_steps(),
            c.queries,
            v = c.last_views(),
        );
        for (title, pick) in [("One by one", (|r| &r.single) as fn(&Row) -> &Side), ("In strips", |r| &r.strips)] {
            let _ = writeln!(text, "## {title}\n\n{}", table(&rows, pick));
        }
        for row in &rows {
            if let Some(coarse) = row.coarse1 {
                let _ = writeln!(text, "The search alone with the encoder of `{}`: R@1 {}.\n", row.way, percent(coarse));
            }
        }
        text.push_str("![R@1 in strips](refine.svg)\n");
        let strips = self.pictures(all, seen)?;
        if !strips.is_empty() {
            text.push_str("\n![Candidates before and after](refine-strips.svg)\n");
            let line = "dots: where candidates put the strip, sized by cosine, then by probability; cross: the truth";
            let figure = figures::before_after("Candidates of strips, before and after the graph network", line, &strips)?;
            figures::write(&self.runs.options.out.join("refine-strips.svg"), &figure)?;
        }
        out_raw!("{text}");
        write(&self.runs.options.out.join("refine.md"), &text)?;
        let json = serde_json::json!({ "adapter": self.runs.engine.adapter().to_string(), "config": self.base, "rows": rows });
        write(&self.runs.options.out.join("refine.json"), &format!("{json:#}\n"))?;
        let bars: Vec<Bar> = rows
            .iter()
            .map(|r| Bar { name: r.way.into(), value: r.strips.recall1, interval: None, points: r.strips.each.clone() })
            .collect();
        let line = "share of queries in strips whose right cell comes first; dots: seeds";
        Ok(figures::write(&self.runs.options.out.join("refine.svg"), &figures::bars("Recall at 1 in strips", line, &bars)?)?)
    }

    /// The first strips that the graph network changes, by the first seed.
    fn pictures(&self, all: &[Run], seen: &Seen) -> Result<Vec<BeforeAfter>> {
        const SHOWN: usize = 4;
        let Some(run) = all.iter().find(|r| r.way == "graph") else { return Ok(Vec::new()) };
        let path = self.runs.model(&format!("graph-{}", run.seed));
        let refiner = Refiner::new(&self.runs.engine, &LoadedModel::load(Some(&path))?.file, &path)?;
        let after = self.refined(seen, Method::Graph, &seen.strips, None, Some(&refiner))?;
        let top = refiner.config().top;
        let mut rows = Vec::new();
        for (i, strip) in seen.strips.iter().enumerate() {
            if rows.len() == SHOWN || strip.queries.clone().all(|q| after[q][0].cell == seen.hits[q][0].cell) {
                continue;
            }
            let side = |hits: &[Vec<CellHit>], weight: &dyn Fn(&[CellHit], usize) -> f64| -> Vec<([f64; 2], f64)> {
                let of = |q: usize| {
                    let truth = seen.database.metres(seen.queries[q].map_px);
                    let list = &hits[q][..hits[q].len().min(top)];
                    (0..list.len())
                        .map(|k| {
                            let at = seen.database.metres(list[k].centre_px);
                            ([at[0] - truth[0], at[1] - truth[1]], weight(list, k))
                        })
                        .collect::<Vec<_>>()
                };
                strip.queries.clone().flat_map(of).collect()
            };
            let cosine = |list: &[CellHit], k: usize| {
                let (most, least) = (list[0].score, list[list.len() - 1].score);
                f64::from((list[k].score - least) / (most - least).max(1e-6))
            };
            let before = side(&seen.hits, &cosine);
            let after = side(&after, &|list, k| f64::from(list[k].score));
            rows.push(BeforeAfter { name: format!("strip {}", i + 1), sides: [before, after] });
        }
        Ok(rows)
    }
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
}

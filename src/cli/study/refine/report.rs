//! What a study of refinement has to say: the text, the figures.

use super::judge::{Seen, Study};
use super::rows::{Row, Side, rows, table};
use super::ways::{Run, Way};
use crate::Result;
use crate::cli::study::words::{command, percent, write};
use crate::index::{CellHit, LoadedModel};
use crate::refine::{Method, Refiner};
use crate::report::figures::{self, Bar, BeforeAfter};
use std::fmt::Write;

/// Writes the table and the figures.
pub(super) fn report(study: &Study<'_>, chosen: &[&Way], all: &[Run], seen: &Seen) -> Result<()> {
    let rows = rows(study.base.strip, chosen, all)?;
    let (queries, c) = (seen.queries.len(), &study.base);
    let mut text = String::new();
    let _ = writeln!(
        text,
        "# What decides among the candidates\n\nWritten by `echogrid {}`.\n\nAdapter: {}. {} queries anywhere on a scene never trained on, in \
         {} strips of {}, taken one by one and strip by strip; index of {v} x {v} views a cell. Graph networks: {} steps of {} queries. R@1 in per \
         cent, means over the seeds; differences in points of R@1 with 95 % intervals from a two-level bootstrap (seeds, then strips, \
         paired): an interval that holds 0 shows no difference. ECE: expected calibration error of the first candidate's probability.\n",
        command(),
        study.runs.ledger.engine.adapter(),
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
    let strips = pictures(study, all, seen)?;
    if !strips.is_empty() {
        text.push_str("\n![Candidates before and after](refine-strips.svg)\n");
        let line = "dots: where candidates put the strip, sized by cosine, then by probability; cross: the truth";
        let figure = figures::before_after("Candidates of strips, before and after the graph network", line, &strips)?;
        figures::write(&study.runs.options.ledger.out.join("refine-strips.svg"), &figure)?;
    }
    out_raw!("{text}");
    write(&study.runs.options.ledger.out.join("refine.md"), &text)?;
    let json = serde_json::json!({ "adapter": study.runs.ledger.engine.adapter().to_string(), "config": study.base, "rows": rows });
    write(&study.runs.options.ledger.out.join("refine.json"), &format!("{json:#}\n"))?;
    let bars: Vec<Bar> =
        rows.iter().map(|r| Bar { name: r.way.into(), value: r.strips.recall1, interval: None, points: r.strips.each.clone() }).collect();
    let line = "share of queries in strips whose right cell comes first; dots: seeds";
    Ok(figures::write(&study.runs.options.ledger.out.join("refine.svg"), &figures::bars("Recall at 1 in strips", line, &bars)?)?)
}

/// The first strips that the graph network changes, by the first seed.
fn pictures(study: &Study<'_>, all: &[Run], seen: &Seen) -> Result<Vec<BeforeAfter>> {
    const SHOWN: usize = 4;
    let Some(run) = all.iter().find(|r| r.way == "graph") else { return Ok(Vec::new()) };
    let path = study.runs.ledger.model(&format!("graph-{}", run.seed));
    let refiner = Refiner::new(&study.runs.ledger.engine, &LoadedModel::load(Some(&path))?.file, &path)?;
    let after = study.refined(seen, Method::Graph, &seen.strips, None, Some(&refiner))?;
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

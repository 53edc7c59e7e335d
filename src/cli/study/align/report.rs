//! What a study of alignment has to say: the table, the figure.

use super::ways::{Run, Way};
use crate::Result;
use crate::cli::study::runs::Runs;
use crate::cli::study::words::{command, interval, percent, percents, seeds, write};
use crate::eval::metrics::{Estimate, Summary};
use crate::eval::paired_difference;
use crate::report::figures::{self, Bar};
use crate::train::TrainConfig;
use serde::Serialize;
use std::fmt::Write;

/// What is said of a way.
#[derive(Debug, Serialize)]
struct Row {
    way: String,
    what: &'static str,
    seeds: Vec<u64>,
    /// R@1 of arbitrary queries, of each seed, and its mean.
    each: Vec<f64>,
    recall1: f64,
    aligned1: f64,
    median_error_m: f64,
    /// Difference of R@1 (arbitrary) to `none`.
    difference: Option<Estimate>,
}

/// What is said of each way that was run.
fn rows(chosen: &[&Way], all: &[Run]) -> Result<Vec<Row>> {
    let of = |name: &str| -> Vec<&Run> { all.iter().filter(|r| r.way == name).collect() };
    let none = of("none");
    let mut rows = Vec::new();
    for way in chosen {
        let runs = of(way.name);
        if runs.is_empty() {
            continue;
        }
        let summaries = runs.iter().map(|r| Ok(Summary::new(&r.arbitrary, 7)?)).collect::<Result<Vec<_>>>()?;
        let aligned = runs.iter().map(|r| Ok(Summary::new(&r.aligned, 7)?.recall[&1].value)).collect::<Result<Vec<_>>>()?;
        let each: Vec<f64> = summaries.iter().map(|s| s.recall[&1].value).collect();
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let paired: (Vec<_>, Vec<_>) =
            runs.iter().filter_map(|r| none.iter().find(|n| n.seed == r.seed).map(|n| (n.right(), r.right()))).unzip();
        let difference = match way.name != "none" && !paired.0.is_empty() {
            true => Some(paired_difference(&paired.0, &paired.1, 7)?),
            false => None,
        };
        let errors: Vec<f64> = summaries.iter().filter_map(|s| Some(s.median_error_m?.value)).collect();
        rows.push(Row {
            way: way.name.into(),
            what: way.what,
            seeds: runs.iter().map(|r| r.seed).collect(),
            recall1: mean(&each),
            each,
            aligned1: mean(&aligned),
            median_error_m: mean(&errors),
            difference,
        });
    }
    Ok(rows)
}

/// Writes the table and the figure of a study in the settings `base`.
pub(super) fn report(runs: &Runs<'_>, base: &TrainConfig, chosen: &[&Way], all: &[Run]) -> Result<()> {
    let rows = rows(chosen, all)?;
    let mut text = String::new();
    let queries = all.first().map_or(0, |r| r.arbitrary.len());
    let _ = writeln!(
        text,
        "# Drawing the modalities together\n\nWritten by `echogrid {}`.\n\nAdapter: {}. {} steps of {} pairs each; judged on {queries} \
         queries anywhere on a scene never trained on. R@1 in per cent, means over the seeds. Differences to `none` with 95 % intervals from a \
         two-level bootstrap (seeds, then queries, paired); an interval that holds 0 shows no difference.\n",
        command(),
        runs.ledger.engine.adapter(),
        base.total_steps(),
        base.batch
    );
    text.push_str(&table(&rows));
    let of = |name: &str| -> Vec<Vec<f64>> { all.iter().filter(|r| r.way == name).map(Run::right).collect() };
    let (critic, class) = (of("critic-gp"), of("class"));
    if !critic.is_empty() && critic.len() == class.len() {
        let d = paired_difference(&class, &critic, 7)?;
        let _ = writeln!(text, "\nWasserstein critic (`critic-gp`) less class adversary (`class`): {} points of R@1.", interval(&d));
    }
    let _ = writeln!(text, "\n![R@1 of each way](align.svg)");
    out_raw!("{text}");
    write(&runs.options.ledger.out.join("align.md"), &text)?;
    let json = serde_json::json!({ "adapter": runs.ledger.engine.adapter().to_string(), "config": base, "rows": rows });
    write(&runs.options.ledger.out.join("align.json"), &format!("{json:#}\n"))?;
    picture(runs, &rows)
}

/// R@1 of each way, drawn.
fn picture(runs: &Runs<'_>, rows: &[Row]) -> Result<()> {
    let none = rows.iter().find(|r| r.way == "none").map_or(0.0, |r| r.recall1);
    let bars: Vec<Bar> = rows
        .iter()
        .map(|r| Bar {
            name: r.way.clone(),
            value: r.recall1,
            interval: r.difference.as_ref().map(|d| [none + d.ci95[0], none + d.ci95[1]]),
            points: r.each.clone(),
        })
        .collect();
    let line = "share of queries anywhere that are found first; bars: 95 % of the difference to `none`; dots: seeds";
    Ok(figures::write(&runs.options.ledger.out.join("align.svg"), &figures::bars("Recall at 1", line, &bars)?)?)
}

/// The rows as Markdown.
fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| way | what | seeds | R@1 anywhere | of each seed | difference | R@1 on the grid | median error, m |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for r in rows {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {} | {:.0} |",
            r.way,
            r.what,
            seeds(&r.seeds),
            percent(r.recall1),
            percents(&r.each),
            r.difference.as_ref().map_or("-".into(), interval),
            percent(r.aligned1),
            r.median_error_m,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_all_of_a_way() {
        let row = Row {
            way: "none".into(),
            what: "nothing",
            seeds: vec![1, 2],
            each: vec![0.5, 0.25],
            recall1: 0.375,
            aligned1: 0.5,
            median_error_m: 20.0,
            difference: None,
        };
        let text = table(&[row]);
        assert_eq!(text.lines().last(), Some("| `none` | nothing | 1 2 | 37.5 | 50.0 25.0 | - | 50.0 | 20 |"), "{text}");
    }
}

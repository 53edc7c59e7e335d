//! What the study has to say: tables, claims, figures.

use super::outcome::Run;
use super::rows::{Row, cross_table, protocols_table, rows};
use super::study::{STRIP, Study};
use super::ways::{BASE, Way};
use super::{claims, finds, gap};
use crate::Result;
use crate::cli::study::words::{command, write};
use crate::report::figures::{self, Bar};
use std::fmt::Write;

/// The ways whose finds are laid against each other in the table; all are in the JSON.
const COMPARED: [&str; 9] = ["base", "class", "critic", "critic-light", "graph", "light-graph", "infonce", "grid-slide", "dense-structure"];

/// Writes tables and figures.
pub(super) fn report(study: &Study<'_>, chosen: &[&Way], all: &[Run]) -> Result<()> {
    let rows = rows(chosen, all)?;
    let judged = claims::judge(all)?;
    let names: Vec<&str> = chosen.iter().map(|w| w.name).collect();
    let pairs = finds::pairs(&names, all);
    let (out, t, r) = (&study.runs.options.ledger.out, &study.recipe.train, &study.recipe.refine);
    let mut text = String::new();
    let queries = all.first().map_or(0, |r| r.cross.arbitrary.len());
    let _ = writeln!(
        text,
        "# The published system, part by part\n\nWritten by `echogrid {}`.\n\nAdapter: {}. Encoders: {} steps of {} pairs, patches of {} px of {} map px; graph \
         networks: {} steps of {} queries. Judged on {queries} queries, the same for every way: *cross-area* on a scene never trained on, *same-area* on ground of the training scenes \
         whose map was seen and whose SAR image was held out ({:.0} %). Queries anywhere of the former lie in strips of {STRIP} and are taken one by one, in `grid-strips` and `grid-graph` strip by strip; those of the latter lie by themselves, and overlap. \
         R@k in per cent, means over the seeds; 95 % intervals (cross-area) from a two-level bootstrap (seeds, then strips, paired): an interval that holds 0 shows no difference.\n",
        command(),
        study.runs.ledger.engine.adapter(),
        t.total_steps(),
        t.batch,
        t.encoder.input,
        t.patch,
        r.total_steps(),
        r.queries,
        100.0 * t.held_out,
    );
    let _ = writeln!(text, "## Cross-area, queries anywhere\n\n{}\n![R@1 of each way](cmpc.svg)\n", cross_table(&rows));
    let _ = writeln!(text, "## All protocols: R@1 / 5 / 10\n\n{}", protocols_table(&rows));
    let _ = writeln!(
        text,
        "## What is claimed, and what came of it\n\nDifferences of R@1 cross-area, anywhere; p is two-sided, by Holm's correction over all claims.\n\n{}",
        claims::table(&judged)
    );
    if gap::picture(study, all)? {
        let _ =
            writeln!(text, "## The gap between the modalities\n\n![Gap over training, before and after each adversary](cmpc-gap.svg)\n");
    }
    let _ = writeln!(
        text,
        "## Who finds what\n\nQueries found first in most seeds, cross-area, anywhere; all pairs with their numbers are in cmpc.json.\n\n{}",
        finds::table(&COMPARED, &pairs)
    );
    if finds::picture(study, all)? {
        let _ = writeln!(text, "![Queries that one way alone finds](cmpc-finds.svg)");
    }
    out_raw!("{text}");
    write(&out.join("cmpc.md"), &text)?;
    let json = serde_json::json!({
        "adapter": study.runs.ledger.engine.adapter().to_string(), "train": t, "refine": r, "rows": rows, "claims": judged, "finds": pairs,
    });
    write(&out.join("cmpc.json"), &format!("{json:#}\n"))?;
    picture(study, &rows)
}

/// R@1 of each way, drawn.
fn picture(study: &Study<'_>, rows: &[Row]) -> Result<()> {
    let base = rows.iter().find(|r| r.way == BASE).map_or(0.0, |r| r.cross.recall[0]);
    let bar = |r: &Row| Bar {
        name: r.way.into(),
        value: r.cross.recall[0],
        interval: Some(r.gain.as_ref().map_or(r.recall1.ci95, |g| g.ci95.map(|v| base + v))),
        points: r.cross.each.clone(),
    };
    let bars: Vec<Bar> = rows.iter().map(bar).collect();
    let line = "cross-area, queries anywhere; lines: 95 % of the difference to base (of base: of itself); dots: seeds";
    Ok(figures::write(&study.runs.options.ledger.out.join("cmpc.svg"), &figures::bars("Recall at 1", line, &bars)?)?)
}

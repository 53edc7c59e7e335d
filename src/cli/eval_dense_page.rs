//! The page of `echogrid eval --protocol dense`.

use super::common::{Global, name_of};
use super::eval::Args;
use super::present::{features_name, meta, overview};
use super::present_dense::{Query, add_pictures, fixes};
use crate::Result;
use crate::dense::{Match, Matcher};
use crate::eval::dense::{DenseQuery, DenseReport, DenseResult};
use crate::eval::metrics::QueryResult;
use crate::report::{figures, html::Page};
use crate::scene::ScenePair;
use std::path::Path;

/// What a page shows.
pub(super) struct Shown<'a> {
    pub(super) matcher: &'a Matcher<'a>,
    pub(super) pair: &'a ScenePair,
    pub(super) queries: &'a [DenseQuery],
    pub(super) found: &'a [Match],
    pub(super) results: &'a [DenseResult],
    /// Feature pixels.
    pub(super) side: usize,
}

/// Writes the page. `cases` are probabilities with whether they were right, of absent patches too.
pub(super) fn write_page(
    global: &Global,
    args: &Args,
    path: &Path,
    shown: &Shown<'_>,
    report: &DenseReport,
    cases: &[(f64, bool)],
) -> Result<()> {
    let (database, model) = (shown.matcher.database(), shown.matcher.model());
    let link = shown.pair.link();
    let mut all = Vec::with_capacity(shown.queries.len());
    for ((q, found), r) in shown.queries.iter().zip(shown.found).zip(shown.results) {
        all.push(Query {
            sar_px: link.apply(q.map_px)?,
            matrix: link.jacobian(q.map_px)?,
            truth_px: Some(q.map_px),
            found,
            peak: found.peaks.first().copied(),
            probability: r.probability,
            accepted: r.accepted,
            ellipse: r.ellipse,
            variant: (0.0, 1.0),
        });
    }
    let side = shown.side as f64 * database.manifest.layout.step;
    let mut fixes = fixes(&database.manifest.map, &all, side, 10)?;
    add_pictures(global, &mut fixes, &all, database, side, &shown.pair.sar, Some(&shown.pair.map))?;
    let overview = overview(global, &shown.pair.map)?;
    let errors: Vec<QueryResult> = shown.results.iter().map(|r| QueryResult { right_rank: None, error_m: r.error_m }).collect();
    let figures = [
        ("Share of queries whose best peak is at most so far off".to_string(), figures::error_cdf(&[(&report.features, &errors)])?),
        ("How often a fix of such a probability is within 100 m".to_string(), figures::reliability(cases)?),
    ];
    let mut rows = vec![
        ("Searched".into(), format!("the whole map, {} blocks of {} feature pixels", database.len(), database.manifest.layout.side)),
        ("Threshold".into(), format!("not found below a probability of {}", report.threshold)),
        ("Compared with".into(), "the georeferences of both images, not used in the search".into()),
    ];
    if let Some(absent) = &args.absent {
        rows.push(("Patches not on the map".into(), absent[1].display().to_string()));
    }
    let (map, sar) = (args.map.name(), name_of(&args.sar));
    let meta = meta(&format!("How well {sar} is found on {map}"), &map, &sar, features_name(model), &report.adapter, rows);
    Page { dense: Some(report), overview: Some(&overview), figures: &figures, ..Page::new(&meta, &fixes) }.write(path)?;
    global.say(format_args!("wrote {}", path.display()));
    Ok(())
}

//! The page of `echogrid eval --protocol dense`.

use super::args::Args;
use crate::Result;
use crate::cli::common::Global;
use crate::cli::present::{features_name, meta, overview, pictured};
use crate::dense::{Match, Matcher};
use crate::eval::dense::{DenseQuery, DenseReport, DenseResult};
use crate::eval::metrics::QueryResult;
use crate::locate::{Answer, Fix, Places, RIGHT_M, Variant, fill_peaks};
use crate::report::pictures::Subject;
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
    let side = shown.side as f64 * database.manifest.layout.step;
    let places = Places::new(&database.manifest.map)?;
    let digits = shown.queries.len().to_string().len().max(3);
    let (mut fixes, mut subjects) = (Vec::new(), Vec::new());
    for (i, ((q, found), r)) in shown.queries.iter().zip(shown.found).zip(shown.results).enumerate() {
        let mut fix = Fix::new(format!("p{:0digits$}", i + 1), link.apply(q.map_px)?);
        let answer = Answer { number: 0, probability: r.probability, accepted: r.accepted, ellipse: r.ellipse, variant: Variant::PLAIN };
        fill_peaks(&mut fix, found, &answer, side, 10, &places)?;
        fix.set_truth(places.at(q.map_px)?, |_, off| off <= RIGHT_M);
        fixes.push(fix);
        let matrix = link.jacobian(q.map_px)?;
        subjects.push(Subject { sar: Some(&shown.pair.sar), matrix, side, map: Some(&shown.pair.map), surface: Some((found, database)) });
    }
    let pictures = pictured(global, &fixes, &subjects, &[fixes.len()])?;
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
    if let Some(absent) = args.absent.as_ref().or(args.absent_pairs.as_ref()) {
        rows.push(("Patches not on the map".into(), absent[1].display().to_string()));
    }
    let (map, sar) = (args.scene.map_name(), args.scene.sar_name());
    let meta = meta(&format!("How well {sar} is found on {map}"), &map, &sar, features_name(model), &report.adapter, rows);
    Page { dense: Some(report), pictures: &pictures, overview: Some(&overview), figures: &figures, ..Page::new(&meta, &fixes) }
        .write(path)?;
    global.say(format_args!("wrote {}", path.display()));
    Ok(())
}

//! The page of `echogrid eval` by cells.

use super::args::Args;
use crate::cli::common::Global;
use crate::cli::present::{meta, model_name, overview, pictured};
use crate::eval::metrics::{EvalReport, recall_curve_of_strips};
use crate::eval::{Evaluation, MAX_RANK};
use crate::index::{Database, LoadedModel};
use crate::locate::{Fix, Places, fill_cells};
use crate::report::pictures::Subject;
use crate::report::{figures, html::Page};
use crate::scene::ScenePair;
use crate::{Result, refine};
use std::path::Path;

/// Writes the page.
pub(super) fn write_page(
    global: &Global,
    args: &Args,
    path: &Path,
    model: &LoadedModel,
    pair: &ScenePair,
    database: &Database,
    evaluation: &Evaluation,
    report: &EvalReport,
) -> Result<()> {
    let side = f64::from(args.grid.cell);
    let places = Places::new(&database.manifest.map)?;
    let digits = evaluation.queries.len().to_string().len().max(3);
    let (mut fixes, mut subjects) = (Vec::new(), Vec::new());
    for (i, (query, hits)) in evaluation.queries.iter().zip(&evaluation.hits).enumerate() {
        let (p, link) = (query.map_px, pair.link());
        let mut fix = Fix::new(format!("p{:0digits$}", i + 1), link.apply(p)?);
        fill_cells(&mut fix, hits, 10, side, &places)?;
        fix.set_truth(places.at(p)?, |c, _| c.cell.is_some_and(|cell| database.cell_holds(cell, p)));
        fixes.push(fix);
        subjects.push(Subject { sar: Some(&pair.sar), matrix: link.jacobian(p)?, side, map: Some(&pair.map), surface: None });
    }
    let pictures = pictured(global, &fixes, &subjects, &[fixes.len()])?;
    let overview = overview(global, &pair.map)?;
    let depth = (database.cells() as u32).min(MAX_RANK as u32);
    let curve = recall_curve_of_strips(&evaluation.results, args.strip as usize, depth, args.seed)?;
    let name = report.protocol.as_str();
    let mut figures = vec![
        ("Share of queries whose right cell is among the first k".to_string(), figures::recall_curve(&[(name, &curve)])?),
        ("Share of queries whose fix is at most so far off".to_string(), figures::error_cdf(&[(name, &evaluation.results)])?),
    ];
    if let Some(cases) = report.refine.and_then(|r| probabilities(evaluation, r.method)) {
        figures.push(("How often a first candidate of such a probability is right".into(), figures::reliability(&cases)?));
    }
    let mut rows = vec![("Compared with".into(), "the georeferences of both images, not used in the search".into())];
    rows.extend(report.held_out.map(|s| ("Ground".into(), format!("queries on the {:.0} % that training held out alone", 100.0 * s))));
    rows.extend(report.refine.map(|r| ("Refinement".into(), r.to_string())));
    let (map, sar) = (args.scene.map_name(), args.scene.sar_name());
    let meta = meta(&format!("How well {sar} is found on {map}"), &map, &sar, model_name(model), &report.adapter, rows);
    Page { summary: Some(report), pictures: &pictures, overview: Some(&overview), figures: &figures, ..Page::new(&meta, &fixes) }
        .write(path)?;
    global.say(format_args!("wrote {}", path.display()));
    Ok(())
}

/// Probability of each query's first candidate and whether it is right, where the method gives probabilities.
pub(super) fn probabilities(evaluation: &Evaluation, method: refine::Method) -> Option<Vec<(f64, bool)>> {
    let cases = || {
        evaluation.hits.iter().zip(&evaluation.results).filter_map(|(h, r)| Some((f64::from(h.first()?.score), r.right_rank == Some(1))))
    };
    (method == refine::Method::Graph).then(|| cases().collect())
}

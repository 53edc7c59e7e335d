//! `echogrid eval --protocol dense`.

use super::args::Args;
use super::cells::Cells;
use super::dense_page::{Shown, write_page};
use crate::cli::common::{APART, Global, print_json, warn};
use crate::cli::cost::weigh_dense;
use crate::cli::databases::build_dense_with_bar;
use crate::cli::dense_args::LARGEST_PATCH;
use crate::dense::{DenseDatabase, FeatureKind, Matcher, SearchConfig};
use crate::eval::dense::{
    Absent, DenseReport, DenseResult, RIGHT_M, dense_distance, dense_matches, dense_queries, dense_results, dense_summary,
};
use crate::eval::metrics::calibration_error;
use crate::index::RESIDENT_BYTES;
use crate::locate::Method;
use crate::scene::{MapInfo, ScenePair};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::time::Instant;

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    if args.method == Method::Index {
        return Err(Error::invalid("--method index finds cells: use --protocol arbitrary, which gives its shares within metres too"));
    }
    if let (Some(path), Method::Dense) = (&args.model, args.method) {
        return Err(Error::invalid(format!(
            "--model {}: a retrieval model, of which --protocol dense makes no use; name features with --dense-model",
            path.display()
        )));
    }
    let mut seconds = BTreeMap::new();
    let start = Instant::now();
    let model = args.dense.what.model(FeatureKind::Learned)?;
    let ground = args.scene.ground()?;
    let patch = args.dense.patch.unwrap_or_else(|| ground.suiting(LARGEST_PATCH));
    ground.check_holds("a patch (--patch)", patch)?;
    let pair = args.scene.open(&ground, &args.reading, if args.method == Method::Both { patch } else { APART })?;
    let info = MapInfo::of(&pair.map)?;
    let layout = args.dense.layout(&info, &model, f64::from(patch))?;
    weigh_dense(global, &pair.map, &layout, &model, None)?;
    let side = layout.query_side(f64::from(patch))?;
    let queries = dense_queries(&pair, &layout, side, 1.0, args.queries, args.seed)?;
    seconds.insert("open".to_string(), start.elapsed().as_secs_f64());
    let engine = global.engine()?;
    let (database, built) = build_dense_with_bar(global, &engine, &model, &pair.map, &layout, DenseDatabase::temporary())?;
    seconds.insert("index".into(), built);
    let start = Instant::now();
    let matcher = Matcher::new(&engine, &database, &model, RESIDENT_BYTES)?;
    seconds.insert("upload".into(), start.elapsed().as_secs_f64());
    let cells = (args.method == Method::Both).then(|| Cells::new(global, &engine, args, &pair.map, patch)).transpose()?;
    let tiles = cells.is_some() || args.report.is_some() && database.room_for_surfaces(queries.len());
    let search = SearchConfig { tiles, ..SearchConfig::default() };
    let bar = global.bar(0, "searching");
    let searched = dense_matches(&matcher, &pair, &queries, side, args.matching.at_once, search, |done, total| bar.advance(done, total))?;
    bar.finish_and_clear();
    let mut found = searched.found;
    if let Some(cells) = &cells {
        cells.narrow(args, &pair, &queries, &layout, &mut found)?;
    }
    seconds.insert("search".into(), searched.seconds);
    let distance = dense_distance(&matcher, &pair, &queries)?;
    if let Some(text) = distance.warning(model.calibration()) {
        warn(text);
    }
    let calibration = model.calibration().at(&distance);
    let threshold = args.matching.threshold.unwrap_or(calibration.threshold);
    let results = dense_results(&matcher, &calibration, &queries, &found, threshold)?;
    let absent = match absent(args, patch)? {
        Some(other) => {
            let scale = info.ground_m() / MapInfo::of(&other.map)?.ground_m();
            let queries = dense_queries(&other, &layout, side, scale, args.queries, args.seed)?;
            let search = SearchConfig { tiles: cells.is_some(), ..SearchConfig::default() };
            let mut found = dense_matches(&matcher, &other, &queries, side, args.matching.at_once, search, |_, _| {})?.found;
            if let Some(cells) = &cells {
                cells.narrow(args, &other, &queries, &layout, &mut found)?;
            }
            let distance = dense_distance(&matcher, &other, &queries)?;
            let calibration = model.calibration().at(&distance);
            let threshold = args.matching.threshold.unwrap_or(calibration.threshold);
            Some((dense_results(&matcher, &calibration, &queries, &found, threshold)?, distance))
        }
        None => None,
    };
    let summary = dense_summary(&results, args.seed)?;
    let right = |r: &&DenseResult| r.error_m.is_some_and(|e| e <= RIGHT_M);
    let accepted: Vec<&DenseResult> = results.iter().filter(|r| r.accepted).collect();
    let share = |n: usize, of: usize| (of > 0).then(|| n as f64 / of as f64);
    let mut errors: Vec<f64> = results.iter().filter(right).filter_map(|r| r.error_m).collect();
    errors.sort_by(f64::total_cmp);
    let cases: Vec<(f64, bool)> = results
        .iter()
        .map(|r| (r.probability, right(&r)))
        .chain(absent.iter().flat_map(|a| &a.0).map(|r| (r.probability, false)))
        .collect();
    let report = DenseReport {
        protocol: "dense",
        features: model.name().into(),
        patch,
        queries: results.len(),
        within_m: summary.within_m.iter().map(|(m, e)| (*m, e.value)).collect(),
        within_m_ci95: summary.within_m.iter().map(|(m, e)| (*m, e.ci95)).collect(),
        median_error_m: summary.median_error_m.map(|e| e.value),
        median_error_ci95: summary.median_error_m.map(|e| e.ci95),
        median_error_of_right_m: errors.get(errors.len() / 2).copied(),
        threshold,
        accepted: accepted.len() as f64 / results.len() as f64,
        accepted_right: share(accepted.iter().copied().filter(right).count(), accepted.len()),
        distance,
        calibration_error: calibration_error(&cases),
        ellipse_holds: share(
            results.iter().filter(right).filter(|r| r.in_ellipse == Some(true)).count(),
            results.iter().filter(right).count(),
        ),
        absent: absent.as_ref().map(|(a, distance)| {
            let false_fixes = a.iter().filter(|r| r.accepted).count();
            Absent { queries: a.len(), false_fixes, share: false_fixes as f64 / a.len() as f64, distance: *distance }
        }),
        precision: model.precision(),
        seconds_a_query: searched.seconds / results.len() as f64,
        bytes_a_query: searched.bytes_a_query,
        batch: args.matching.at_once,
        seconds,
        map: BTreeMap::from([
            ("width".to_string(), f64::from(info.width)),
            ("height".into(), f64::from(info.height)),
            ("blocks".into(), database.len() as f64),
            ("blocks_without_gaps".into(), layout.blocks([info.width, info.height]) as f64),
            ("side".into(), layout.side as f64),
            ("map_pixels_a_feature_pixel".into(), layout.step),
        ]),
        adapter: engine.adapter().to_string(),
    };
    if let Some(path) = &args.dump {
        crate::report::write_atomically(
            path,
            serde_json::to_string(&Dump { present: &results, absent: absent.as_ref().map(|a| &a.0[..]) })
                .expect("plain numbers")
                .as_bytes(),
        )?;
    }
    if let Some(path) = &args.report {
        let shown = Shown { matcher: &matcher, pair: &pair, queries: &queries, found: &found, results: &results, side };
        write_page(global, args, path, &shown, &report, &cases)?;
    }
    if args.json {
        return print_json(&report);
    }
    out!("{} features, {} patches of {patch} px against the whole map", report.features, report.queries);
    for ((m, share), [low, high]) in report.within_m.iter().zip(report.within_m_ci95.values()) {
        out!("within {m:>3} m    {:.1} % [{:.1}, {:.1}]", 100.0 * share, 100.0 * low, 100.0 * high);
    }
    if let Some((e, [low, high])) = report.median_error_m.zip(report.median_error_ci95) {
        out!("median error    {e:.0} m [{low:.0}, {high:.0}]");
    }
    out!("found           {:.1} % (probability {threshold} and above)", 100.0 * report.accepted);
    if let Some(s) = report.accepted_right {
        out!("of those right  {:.1} %", 100.0 * s);
    }
    if let Some(a) = &report.absent {
        out!("false fixes     {} of {} patches that are not on the map ({:.1} %)", a.false_fixes, a.queries, 100.0 * a.share);
    }
    out!("calibration     expected error {:.3}", report.calibration_error);
    out!("time            {:.3} s a query, {} at once; the map's transform {built:.1} s", report.seconds_a_query, report.batch);
    out!("adapter         {}, {}", report.adapter, report.precision);
    Ok(())
}

/// The area whose patches are not on the map, if one is named.
fn absent(args: &Args, patch: u32) -> Result<Option<ScenePair>> {
    if let Some([sar, optical]) = args.absent_pairs.as_deref() {
        let others = args.scene.others(&[sar.clone(), optical.clone()], "a patch (--patch)", patch)?;
        return args.scene.open_pairs(&others, &args.reading, APART).map(Some);
    }
    args.absent.as_ref().map(|files| args.reading.pair_of(files)).transpose()
}

/// Every query's result.
#[derive(serde::Serialize)]
struct Dump<'a> {
    present: &'a [DenseResult],
    absent: Option<&'a [DenseResult]>,
}

//! Tables of evaluations.

use maud::{Markup, html};

use super::super::distance_text;
use super::words::plural;
use crate::eval::dense::DenseReport;
use crate::eval::metrics::{EvalReport, Interval};

/// Figures of retrieval.
pub(super) fn summary_table(report: &EvalReport) -> Markup {
    let bar = |value: f64, ci: Option<&Interval>| {
        let percent = |v: f64| format!("{:.2}%", 100.0 * v.clamp(0.0, 1.0));
        html! {
            div.bar {
                div.fill style={ "width:" (percent(value)) } {}
                @if let Some([lo, hi]) = ci {
                    div.ci style={ "left:" (percent(*lo)) ";width:" (percent(hi - lo)) } {}
                }
            }
        }
    };
    let shares = report.recall.iter().map(|(k, v)| (*v, report.recall_ci95.get(k)));
    let shares = shares.chain([(report.mrr, Some(&report.mrr_ci95))]).map(Some).chain([None, None]);
    let shares = shares.chain(report.within_m.iter().map(|(m, v)| Some((*v, report.within_m_ci95.get(m)))));
    let most = report.ranks.iter().map(|b| b.count).max().unwrap_or(1).max(1);
    html! {
        section {
            h2 { "Result" }
            p.note {
                "Protocol " strong { (report.protocol) } ", " (plural(report.queries, "query", "queries")) " over "
                (plural(report.cells, "map cell", "map cells")) ". Intervals: 95 % bootstrap."
            }
            div.result {
                table.figures-table {
                    thead { tr { th scope="col" { "Measure" } th.num scope="col" { "Value" } th.num scope="col" { "95 % interval" } th.wide scope="col" aria-label="Bar" {} } }
                    tbody {
                        @for ([name, value, ci], share) in report.rows().into_iter().zip(shares) {
                            tr {
                                th scope="row" { (name) }
                                td.num { strong { (value) } }
                                td.num.soft { (ci) }
                                td.wide { @if let Some((value, ci)) = share { (bar(value, ci)) } }
                            }
                        }
                    }
                }
                div.side {
                    h3 { "Rank of the right cell" }
                    table.hist {
                        @for bin in &report.ranks {
                            tr {
                                th scope="row" { (bin.ranks) }
                                td.wide { div.bar { div.fill style={ "width:" (format!("{:.2}%", 100.0 * bin.count as f64 / most as f64)) } {} } }
                                td.num { (bin.count) }
                            }
                        }
                    }
                    @if !report.seconds.is_empty() {
                        h3 { "Seconds" }
                        table.hist { @for (stage, seconds) in &report.seconds { tr { th scope="row" { (stage) } td.num { (format!("{seconds:.2}")) } } } }
                    }
                }
            }
        }
    }
}

/// Figures of dense matching.
pub(super) fn dense_table(report: &DenseReport) -> Markup {
    let percent = |v: f64| format!("{:.1} %", 100.0 * v);
    let ci = |e: &Interval| format!("{:.1} to {:.1} %", 100.0 * e[0], 100.0 * e[1]);
    let mut rows: Vec<(String, String, String, Option<f64>)> = Vec::new();
    for (m, share) in &report.within_m {
        let interval = report.within_m_ci95.get(m).map(ci).unwrap_or_default();
        rows.push((format!("Best peak within {m} m"), percent(*share), interval, Some(*share)));
    }
    if let Some((e, [low, high])) = report.median_error_m.zip(report.median_error_ci95) {
        rows.push(("Median error".into(), distance_text(e), format!("{} to {}", distance_text(low), distance_text(high)), None));
    }
    if let Some(m) = report.median_error_of_right_m {
        rows.push(("Median error of those within 100 m".into(), distance_text(m), String::new(), None));
    }
    rows.push((
        format!("Found: probability {} and above", report.threshold),
        percent(report.accepted),
        String::new(),
        Some(report.accepted),
    ));
    if let Some(v) = report.accepted_right {
        rows.push(("Of those within 100 m".into(), percent(v), String::new(), Some(v)));
    }
    if let Some(v) = report.ellipse_holds {
        rows.push(("Right fixes whose truth lies in the 95 % ellipse".into(), percent(v), String::new(), Some(v)));
    }
    if let Some(a) = &report.absent {
        rows.push((
            format!("False fixes among {} patches that are not on the map", a.queries),
            percent(a.share),
            String::new(),
            Some(a.share),
        ));
    }
    rows.push(("Calibration error of the probabilities".into(), format!("{:.3}", report.calibration_error), String::new(), None));
    rows.push(("Seconds a query".into(), format!("{:.3}", report.seconds_a_query), String::new(), None));
    html! {
        section {
            h2 { "Result" }
            p.note {
                strong { (report.features) } " features, " (plural(report.queries, "patch", "patches")) " of " (report.patch)
                " map pixels, each correlated with the whole map. Intervals: 95 % bootstrap."
            }
            div.result {
                table.figures-table {
                    thead { tr { th scope="col" { "Measure" } th.num scope="col" { "Value" } th.num scope="col" { "95 % interval" } th.wide scope="col" aria-label="Bar" {} } }
                    tbody {
                        @for (name, value, ci, share) in &rows {
                            tr {
                                th scope="row" { (name) }
                                td.num { strong { (value) } }
                                td.num.soft { (ci) }
                                td.wide { @if let Some(v) = share { div.bar { div.fill style={ "width:" (format!("{:.2}%", 100.0 * v.clamp(0.0, 1.0))) } {} } } }
                            }
                        }
                    }
                }
                div.side {
                    h3 { "Map" }
                    table.hist { @for (name, value) in &report.map { tr { th scope="row" { (name.replace('_', " ")) } td.num { (format!("{value:.2}").trim_end_matches(".00")) } } } }
                    h3 { "Seconds" }
                    table.hist { @for (stage, seconds) in &report.seconds { tr { th scope="row" { (stage) } td.num { (format!("{seconds:.2}")) } } } }
                }
            }
        }
    }
}

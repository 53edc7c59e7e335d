//! What is said of a run's validations.

use serde_json::Value;

/// What is said of a run.
pub(in crate::cli) struct Words {
    /// Steps.
    pub(in crate::cli) total: usize,
    /// What a step consists of, and what they are called.
    pub(in crate::cli) items: usize,
    pub(in crate::cli) item: &'static str,
    /// A line about a validation.
    pub(in crate::cli) figures: fn(&Value) -> String,
}

fn percent(v: &Value) -> f64 {
    100.0 * v.as_f64().unwrap_or(f64::NAN)
}

/// Of an encoder.
pub(super) fn recall_figures(figures: &Value) -> String {
    let show = |p: &str| ["1", "5", "10"].map(|k| format!("{:.1}", percent(&figures[p][k]))).join("/");
    format!("R@1/5/10 in %: aligned {}, arbitrary {} ({} views a side)", show("aligned"), show("arbitrary"), figures["views"])
}

/// Of a graph network.
pub(super) fn refine_figures(figures: &Value) -> String {
    let f = |k: &str| format!("{:.1}", percent(&figures[k]));
    format!(
        "R@1 in % of {} queries anywhere: {} as searched{}, {} refined, {} refined in strips of {}",
        figures["queries"],
        f("coarse"),
        if figures["slide"].as_u64() > Some(0) { " and slid" } else { "" },
        f("refined"),
        f("refined_strips"),
        figures["strip"]
    )
}

/// Of dense features.
pub(super) fn dense_figures(figures: &Value) -> String {
    let f = |k: &str| &figures[k];
    format!(
        "{:.1} % of {} SAR patches of {} px found within {} px in {} windows of {} px",
        percent(f("found")),
        f("patches"),
        f("patch"),
        f("within_px"),
        f("windows"),
        f("window")
    )
}

/// Of a matching model.
pub(super) fn match_figures(figures: &Value) -> String {
    let f = |k: &str| format!("{:.1}", percent(&figures[format!("validation_{k}")]));
    format!(
        "{} % of pairs and negatives told below a distance of {:.3}, {} % below 0.5, FPR at 95 % recall {} %, AUC {:.4}, {} pairs",
        f("accuracy"),
        figures["threshold"].as_f64().unwrap_or(f64::NAN),
        f("half_accuracy"),
        f("fpr95"),
        figures["validation_auc"].as_f64().unwrap_or(f64::NAN),
        figures["of"][0]
    )
}

//! A run of training against its steps.

use super::super::Error;
use super::chart::{Area, Figure, LINES, SIZE, draw, fail, nothing, percent, short, span, thousands};
use plotters::prelude::*;
use serde_json::Value;

/// Points a line keeps; longer ones are averaged in buckets.
pub(super) const MAX_POINTS: usize = 800;

/// What a run's log tells of one quantity: its name, steps and values, and whether these are shares in 0..1.
#[derive(Debug, Clone, Default)]
pub struct Series {
    /// Title of the panel.
    pub name: String,
    /// Step and value; values that are not finite are skipped.
    pub points: Vec<(f64, f64)>,
    /// Drawn from 0 in per cent.
    pub share: bool,
}

/// Quantities of a training run against the step, one panel each, two in a row; a panel without points is left out.
///
/// # Errors
/// [`Error::Figure`] when there is nothing to draw.
pub fn training_curves(series: &[Series]) -> Result<String, Error> {
    let finite = |s: &Series| -> Vec<(f64, f64)> { s.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect() };
    let panels: Vec<_> = series.iter().map(|s| (s, finite(s))).filter(|(_, points)| !points.is_empty()).collect();
    if panels.is_empty() {
        return Err(nothing());
    }
    let columns = panels.len().min(2);
    let rows = panels.len().div_ceil(columns);
    let height = if rows == 1 { SIZE.1 } else { rows as u32 * 300 };
    draw((SIZE.0, height), |root| {
        for (area, (series, points)) in root.split_evenly((rows, columns)).iter().zip(&panels) {
            panel(area, &series.name, points, series.share)?;
        }
        Ok(())
    })
}

/// The curves of a run's log (`MODEL.log.jsonl`): every number of its steps and validations against the step.
///
/// # Errors
/// As [`training_curves`].
pub fn training_log(text: &str) -> Result<String, Error> {
    training_curves(&logged(text))
}

fn logged(text: &str) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    let mut add = |name: String, share: bool, step: f64, value: f64| match all.iter_mut().find(|s| s.name == name) {
        Some(s) => s.points.push((step, value)),
        None => all.push(Series { name, points: vec![(step, value)], share }),
    };
    for line in text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()) {
        let (Some(step), Some(fields)) = (line["step"].as_f64(), line.as_object()) else { continue };
        if let Some(found) = line["found"].as_f64() {
            add("validation: found".into(), true, step, found);
            continue;
        }
        for protocol in ["aligned", "arbitrary"] {
            if let Some(recall) = line[protocol]["1"].as_f64() {
                add(format!("validation: R@1, {protocol}"), true, step, recall);
            }
        }
        for (name, value) in fields {
            if let Some(value) = value.as_f64().filter(|_| !["step", "lr", "pairs_per_s", "views"].contains(&name.as_str())) {
                add(name.replace('_', " "), name.ends_with("accuracy"), step, value);
            }
        }
    }
    // The loss first; the sort is stable.
    all.sort_by_key(|s| s.name != "loss");
    all
}

fn panel(area: &Area<'_>, title: &str, points: &[(f64, f64)], share: bool) -> Result<(), Error> {
    let last = points[points.len() - 1];
    let now = if share { percent(&last.1) } else { format!("{:.3}", last.1) };
    let line = format!("{now} at step {:.0}", last.0);
    let x = span(points.iter().map(|p| p.0));
    let y = if share { 0.0..span(points.iter().map(|p| p.1)).end.clamp(0.05, 1.0) } else { span(points.iter().map(|p| p.1)) };
    let range = y.end - y.start;
    let tick = |v: &f64| {
        if share { percent(v) } else { short(*v, range) }
    };
    let steps = |s: &f64| thousands(*s);
    let figure = Figure { right: 20, y_tick: &tick, ..Figure::new(title, &line, "step", &steps) };
    figure.draw_in(area, x, y, |chart| {
        let color = LINES[usize::from(share)];
        let raw = thin(points);
        if share {
            chart.draw_series(LineSeries::new(raw.clone(), color.stroke_width(2))).map_err(fail)?;
            if raw.len() <= 60 {
                chart.draw_series(raw.iter().map(|&p| Circle::new(p, 3, color.filled()))).map_err(fail)?;
            }
        } else {
            chart.draw_series(LineSeries::new(raw, color.mix(0.35).stroke_width(1))).map_err(fail)?;
            chart.draw_series(LineSeries::new(thin(&smooth(points)), color.stroke_width(2))).map_err(fail)?;
        }
        Ok(())
    })
}

/// Mean over the 1 % of the points before and the 1 % after each.
pub(super) fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len() / 100;
    let mut sums = vec![0.0];
    for (i, p) in points.iter().enumerate() {
        sums.push(sums[i] + p.1);
    }
    let mean = |i: usize| {
        // As far on both sides, so that a slope is not bent at the ends.
        let reach = reach.min(i).min(points.len() - 1 - i);
        (sums[i + reach + 1] - sums[i - reach]) / (2 * reach + 1) as f64
    };
    points.iter().enumerate().map(|(i, p)| (p.0, mean(i))).collect()
}

/// At most [`MAX_POINTS`] points, each the mean of its bucket.
pub(super) fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(MAX_POINTS).max(1);
    points
        .chunks(size)
        .map(|c| {
            let n = c.len() as f64;
            (c.iter().map(|p| p.0).sum::<f64>() / n, c.iter().map(|p| p.1).sum::<f64>() / n)
        })
        .collect()
}

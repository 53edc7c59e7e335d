//! How well places are found: recall, errors, honesty.

use super::super::Error;
use super::chart::{Figure, INK, LINES, SOFT, fail, font, line_color, names, nothing, percent, round_distance};
use super::training::MAX_POINTS;
use crate::eval::metrics::{CurvePoint, QueryResult, RECALL_AT};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Recall at k against k, each curve with its 95 % band; `curves` are names and points.
///
/// # Errors
/// [`Error::Figure`] when no curve has a point.
pub fn recall_curve(curves: &[(&str, &[CurvePoint])]) -> Result<String, Error> {
    let last = curves.iter().flat_map(|(_, c)| c.iter()).map(|p| p.k).max().unwrap_or_default();
    if last == 0 {
        return Err(nothing());
    }
    let first = |c: &[CurvePoint]| c.iter().find(|p| p.k == 1).map_or_else(String::new, |p| format!(", R@1 {}", percent(&p.recall)));
    let legend: Vec<String> = match curves {
        [_] => Vec::new(),
        _ => curves.iter().map(|(name, c)| format!("{name}{}", first(c))).collect(),
    };
    let legend: Vec<&str> = legend.iter().map(String::as_str).collect();
    let mut labels: Vec<(u32, f64)> = Vec::new();
    let figure = Figure {
        legend: &legend,
        ..Figure::new("Recall at k", "share of queries with a right cell among the first k", "k", &|k| format!("{k:.0}"))
    };
    figure.draw(1f64..f64::from(last).max(2.0), 0f64..1f64, |chart| {
        for (i, (_, curve)) in curves.iter().enumerate() {
            let color = line_color(i);
            let at = |p: &CurvePoint, y: f64| (f64::from(p.k), y.clamp(0.0, 1.0));
            let band = curve.iter().map(|p| at(p, p.ci95[0])).chain(curve.iter().rev().map(|p| at(p, p.ci95[1])));
            chart.draw_series([Polygon::new(band.collect::<Vec<_>>(), color.mix(0.16))]).map_err(fail)?;
            let line: Vec<_> = curve.iter().map(|p| at(p, p.recall)).collect();
            chart.draw_series(LineSeries::new(line, color.stroke_width(2))).map_err(fail)?;
            for p in curve.iter().filter(|p| RECALL_AT.contains(&p.k)) {
                let (x, y) = at(p, p.recall);
                // A label too near an earlier one is left out; with several curves the first point's is in the legend.
                let near = |q: &(u32, f64)| q.0 == p.k && (q.1 - y).abs() < 0.07;
                let text = if labels.iter().any(near) || (p.k == 1 && curves.len() > 1) {
                    String::new()
                } else {
                    labels.push((p.k, y));
                    percent(&y)
                };
                // Beside the first point and beneath the rising line, above the others; the last stays inside.
                let (place, offset) = match p.k {
                    1 if y > 0.08 => (Pos::new(HPos::Left, VPos::Top), (7, 5)),
                    1 => (Pos::new(HPos::Left, VPos::Bottom), (7, -7)),
                    k if k == last => (Pos::new(HPos::Right, VPos::Bottom), (4, -8)),
                    _ => (Pos::new(HPos::Center, VPos::Bottom), (0, -8)),
                };
                let style = font(13).color(&INK).pos(place);
                let label = EmptyElement::at((x, y)) + Circle::new((0, 0), 4, color.filled()) + Text::new(text, offset, style);
                chart.draw_series([label]).map_err(fail)?;
            }
        }
        Ok(())
    })
}

/// Share of queries with an error of at most so many metres, on a logarithmic axis. Queries without a fix count as never
/// within reach; `curves` are names and results.
///
/// # Errors
/// [`Error::Figure`] when no query has an error.
pub fn error_cdf(curves: &[(&str, &[QueryResult])]) -> Result<String, Error> {
    let sorted: Vec<Vec<f64>> = curves
        .iter()
        .map(|(_, c)| {
            let mut errors: Vec<f64> = c.iter().filter_map(|q| q.error_m).filter(|e| e.is_finite()).collect();
            errors.sort_unstable_by(f64::total_cmp);
            errors
        })
        .collect();
    let worst = sorted.iter().filter_map(|e| e.last()).copied().reduce(f64::max).ok_or_else(nothing)?;
    let best = sorted.iter().filter_map(|e| e.first()).copied().fold(worst, f64::min);
    let from = 10f64.powf(best.max(1.0).log10().floor());
    let to = 10f64.powf(worst.max(from * 10.0).log10().ceil());
    let figure = Figure {
        legend: &names(curves),
        ..Figure::new(
            "Error of the first candidate",
            "share of queries within a distance of the truth",
            "distance from the truth (logarithmic)",
            &|m| round_distance(*m),
        )
    };
    figure.draw((from..to).log_scale(), 0f64..1f64, |chart| {
        for (i, errors) in sorted.iter().enumerate() {
            let color = line_color(i);
            let n = curves[i].1.len() as f64;
            let stride = errors.len().div_ceil(MAX_POINTS).max(1);
            let mut line = vec![(from, 0.0)];
            for (j, &e) in errors.iter().enumerate() {
                if j % stride == 0 || j + 1 == errors.len() {
                    let x = e.max(from);
                    line.push((x, line[line.len() - 1].1));
                    line.push((x, (j + 1) as f64 / n));
                }
            }
            line.push((to, line[line.len() - 1].1));
            chart.draw_series(LineSeries::new(line, color.stroke_width(2))).map_err(fail)?;
        }
        Ok(())
    })
}

/// Share right against probability: ten bins of predictions (probability, whether right), each a bar of the share that was right with
/// its mean probability as a tick and its number above; bars that end on the diagonal are honest.
///
/// # Errors
/// [`Error::Figure`] when there is no prediction.
pub fn reliability(cases: &[(f64, bool)]) -> Result<String, Error> {
    if cases.is_empty() {
        return Err(nothing());
    }
    let mut bins = [(0usize, 0.0f64, 0usize); 10];
    for (p, right) in cases {
        let bin = &mut bins[((p * 10.0) as usize).min(9)];
        *bin = (bin.0 + 1, bin.1 + p, bin.2 + usize::from(*right));
    }
    let figure =
        Figure::new("Reliability", "share right by predicted probability; numbers count the queries of a bin", "probability", &|p| {
            format!("{p:.1}")
        });
    figure.draw(0f64..1f64, 0f64..1.08f64, |chart| {
        chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], SOFT.stroke_width(1))).map_err(fail)?;
        for (i, (count, sum, right)) in bins.iter().enumerate().filter(|(_, b)| b.0 > 0) {
            let (x, n) = (i as f64 / 10.0, *count as f64);
            let (share, mean) = (*right as f64 / n, sum / n);
            chart.draw_series([Rectangle::new([(x + 0.012, 0.0), (x + 0.088, share)], LINES[0].mix(0.45).filled())]).map_err(fail)?;
            chart.draw_series(LineSeries::new([(x + 0.012, mean), (x + 0.088, mean)], LINES[1].stroke_width(3))).map_err(fail)?;
            let style = font(13).color(&INK).pos(Pos::new(HPos::Center, VPos::Bottom));
            chart.draw_series([Text::new(count.to_string(), (x + 0.05, share.max(mean) + 0.015), style)]).map_err(fail)?;
        }
        Ok(())
    })
}

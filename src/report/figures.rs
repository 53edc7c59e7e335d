//! Figures as SVG text: recall at k, the spread of errors, how honest probabilities are, training curves.
//!
//! Each is a picture of its own that follows the reader's light or dark setting, in a page or by itself.

use std::fmt::Display;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Error, distance_text, write_atomically};
use crate::eval::metrics::{CurvePoint, QueryResult, RECALL_AT};

/// Width and height of a figure in pixels.
const SIZE: (u32, u32) = (720, 420);
/// Points a line keeps; longer ones are averaged in buckets.
const MAX_POINTS: usize = 800;

const PAPER: RGBColor = RGBColor(0xFE, 0xFE, 0xFE);
const INK: RGBColor = RGBColor(0x24, 0x29, 0x2E);
const SOFT: RGBColor = RGBColor(0x65, 0x6D, 0x75);
const GRID: RGBColor = RGBColor(0xE3, 0xE6, 0xEA);
/// Blue, orange, green, purple: told apart by readers who do not see red and green apart.
pub(super) const LINES: [RGBColor; 4] =
    [RGBColor(0x15, 0x65, 0xC0), RGBColor(0xD9, 0x6B, 0x00), RGBColor(0x1B, 0x85, 0x5E), RGBColor(0x8E, 0x44, 0xAD)];

/// Follows the reader's light or dark setting: the colours above are the light ones, matched here by value.
const STYLE: &str = concat!(
    "<style>text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}",
    "@media (prefers-color-scheme:dark){",
    "[fill='#FEFEFE']{fill:#161b22}[fill='#24292E']{fill:#e6edf3}[stroke='#24292E']{stroke:#e6edf3}",
    "[fill='#656D75']{fill:#9aa4ae}[stroke='#656D75']{stroke:#9aa4ae}[stroke='#E3E6EA']{stroke:#30363d}",
    "[fill='#1565C0']{fill:#58a6ff}[stroke='#1565C0']{stroke:#58a6ff}",
    "[fill='#D96B00']{fill:#f0883e}[stroke='#D96B00']{stroke:#f0883e}",
    "[fill='#1B855E']{fill:#3fb984}[stroke='#1B855E']{stroke:#3fb984}",
    "[fill='#8E44AD']{fill:#c297ff}[stroke='#8E44AD']{stroke:#c297ff}}</style>"
);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

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
    draw(|root| {
        let body = heading(root, "Recall at k", "share of queries with a right cell among the first k", &legend)?;
        let mut chart = ChartBuilder::on(&body)
            .margin(4)
            .margin_right(24)
            .x_label_area_size(42)
            .y_label_area_size(52)
            .build_cartesian_2d(1f64..f64::from(last).max(2.0), 0f64..1f64)
            .map_err(fail)?;
        mesh(&mut chart, "k", &|k| format!("{k:.0}"), &percent)?;
        for (i, (_, curve)) in curves.iter().enumerate() {
            let color = LINES[i % LINES.len()];
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
    draw(|root| {
        let body = heading(root, "Error of the first candidate", "share of queries within a distance of the truth", &names(curves))?;
        let mut chart = ChartBuilder::on(&body)
            .margin(4)
            .margin_right(24)
            .x_label_area_size(42)
            .y_label_area_size(52)
            .build_cartesian_2d((from..to).log_scale(), 0f64..1f64)
            .map_err(fail)?;
        mesh(&mut chart, "distance from the truth (logarithmic)", &|m| round_distance(*m), &percent)?;
        for (i, errors) in sorted.iter().enumerate() {
            let color = LINES[i % LINES.len()];
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
    draw(|root| {
        let body = heading(root, "Reliability", "share right by predicted probability; numbers count the queries of a bin", &[])?;
        let mut chart = ChartBuilder::on(&body)
            .margin(4)
            .margin_right(24)
            .x_label_area_size(42)
            .y_label_area_size(52)
            .build_cartesian_2d(0f64..1f64, 0f64..1.08f64)
            .map_err(fail)?;
        mesh(&mut chart, "probability", &|p| format!("{p:.1}"), &percent)?;
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
    draw_sized((SIZE.0, height), |root| {
        for (area, (series, points)) in root.split_evenly((rows, columns)).iter().zip(&panels) {
            panel(area, &series.name, points, series.share)?;
        }
        Ok(())
    })
}

/// How long residuals are, in map pixels: those of the fit, and of fits that leave each point out.
///
/// # Errors
/// [`Error::Figure`] when there are none.
pub fn residual_histogram(residuals: &[f64], held_out: &[f64]) -> Result<String, Error> {
    const BINS: usize = 24;
    let mut sorted: Vec<f64> = residuals.iter().chain(held_out).copied().filter(|v| v.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = *sorted.last().ok_or_else(nothing)?;
    // The last bin takes what little lies beyond 99 %.
    let to = sorted[sorted.len() * 99 / 100].max(last / 3.0).max(1e-3);
    let count = |values: &[f64]| -> Vec<f64> {
        let mut bins = vec![0.0; BINS];
        values.iter().filter(|v| v.is_finite()).for_each(|v| bins[((v / to * BINS as f64) as usize).min(BINS - 1)] += 1.0);
        bins
    };
    let (fitted, held) = (count(residuals), count(held_out));
    let top = fitted.iter().chain(&held).copied().fold(1.0, f64::max) * 1.08;
    draw(|root| {
        let body = heading(root, "Residuals", "tie points by the length of their residual", &["fitted", "left out"])?;
        let mut chart = ChartBuilder::on(&body)
            .margin(4)
            .margin_right(24)
            .x_label_area_size(42)
            .y_label_area_size(52)
            .build_cartesian_2d(0f64..to, 0f64..top)
            .map_err(fail)?;
        mesh(&mut chart, "map pixels", &|v| short(*v, to), &|v| format!("{v:.0}"))?;
        let width = to / BINS as f64;
        let bars = fitted.iter().enumerate().map(|(i, n)| {
            let left = i as f64 * width;
            Rectangle::new([(left + 0.06 * width, 0.0), (left + 0.94 * width, *n)], LINES[0].mix(0.55).filled())
        });
        chart.draw_series(bars).map_err(fail)?;
        let mut line = vec![(0.0, 0.0)];
        for (i, n) in held.iter().enumerate() {
            line.extend([(i as f64 * width, *n), ((i + 1) as f64 * width, *n)]);
        }
        line.push((to, 0.0));
        chart.draw_series(LineSeries::new(line, LINES[1].stroke_width(2))).map_err(fail)?;
        Ok(())
    })
}

/// One row of [`bars`].
#[derive(Debug, Clone)]
pub struct Bar {
    /// Said at its left.
    pub name: String,
    /// Length of the bar, a share in 0..1.
    pub value: f64,
    /// Drawn as a line over it.
    pub interval: Option<[f64; 2]>,
    /// Single outcomes, drawn as dots.
    pub points: Vec<f64>,
}

/// Shares side by side, one horizontal bar each, in the order given.
///
/// # Errors
/// [`Error::Figure`] when there is no finite one.
pub fn bars(title: &str, line: &str, rows: &[Bar]) -> Result<String, Error> {
    let rows: Vec<&Bar> = rows.iter().filter(|r| r.value.is_finite()).collect();
    let most = rows.iter().flat_map(|r| r.interval.iter().flatten().chain(&r.points).copied().chain([r.value])).fold(0.0, f64::max);
    if rows.is_empty() {
        return Err(nothing());
    }
    let n = rows.len() as f64;
    draw_sized((SIZE.0, 120 + 34 * rows.len() as u32), |root| {
        let body = heading(root, title, line, &[])?;
        let mut chart = ChartBuilder::on(&body)
            .margin(4)
            .margin_right(56)
            .x_label_area_size(42)
            .y_label_area_size(130)
            .build_cartesian_2d(0f64..(most * 1.08).clamp(0.01, 1.0), 0f64..n)
            .map_err(fail)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .y_labels(0)
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .x_label_formatter(&percent)
            .label_style(font(13).color(&SOFT))
            .draw()
            .map_err(fail)?;
        for (i, row) in rows.iter().enumerate() {
            let middle = n - i as f64 - 0.5;
            let at = |v: f64, dy: f64| (v.max(0.0), middle + dy);
            chart.draw_series([Rectangle::new([at(0.0, -0.32), at(row.value, 0.32)], LINES[0].mix(0.45).filled())]).map_err(fail)?;
            if let Some([low, high]) = row.interval {
                chart.draw_series(LineSeries::new([at(low, 0.0), at(high, 0.0)], LINES[1].stroke_width(3))).map_err(fail)?;
            }
            chart.draw_series(row.points.iter().map(|v| Circle::new(at(*v, 0.0), 3, INK.filled()))).map_err(fail)?;
            let style = font(13).color(&INK).pos(Pos::new(HPos::Right, VPos::Center));
            chart.draw_series([EmptyElement::at(at(0.0, 0.0)) + Text::new(row.name.clone(), (-8, 0), style)]).map_err(fail)?;
        }
        Ok(())
    })
}

/// Points of several clouds in one plane: names and positions; `line` says what the axes are.
///
/// # Errors
/// [`Error::Figure`] when no point is finite.
pub fn clouds(title: &str, line: &str, clouds: &[(&str, &[[f64; 2]])]) -> Result<String, Error> {
    let finite = |points: &[[f64; 2]]| -> Vec<(f64, f64)> {
        points.iter().filter(|p| p.iter().all(|v| v.is_finite())).map(|p| (p[0], p[1])).collect()
    };
    let all: Vec<(&str, Vec<(f64, f64)>)> = clouds.iter().map(|(name, points)| (*name, finite(points))).collect();
    if all.iter().all(|(_, points)| points.is_empty()) {
        return Err(nothing());
    }
    let x = span(all.iter().flat_map(|(_, p)| p.iter().map(|p| p.0)));
    let y = span(all.iter().flat_map(|(_, p)| p.iter().map(|p| p.1)));
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    draw_sized((SIZE.0, 560), |root| {
        let body = heading(root, title, line, &names)?;
        let mut chart = ChartBuilder::on(&body)
            .margin(4)
            .margin_right(24)
            .x_label_area_size(42)
            .y_label_area_size(52)
            .build_cartesian_2d(x.clone(), y.clone())
            .map_err(fail)?;
        let (width, height) = (x.end - x.start, y.end - y.start);
        mesh(&mut chart, "first component", &|v| short(*v, width), &|v| short(*v, height))?;
        for (i, (_, points)) in all.iter().enumerate() {
            let color = LINES[i % LINES.len()];
            chart.draw_series(points.iter().map(|p| Circle::new(*p, 3, color.mix(0.6).filled()))).map_err(fail)?;
        }
        Ok(())
    })
}

/// Kernels under the roofline of a device: points of [operations a byte, GFLOP/s], both axes logarithmic, below the lesser of `gflops` and
/// what `gbytes` a second supply (Williams, Waterman, Patterson, "Roofline", 2009).
///
/// # Errors
/// [`Error::Figure`] when no point lies above 0.
pub fn roofline(title: &str, line: &str, points: &[[f64; 2]], gflops: f64, gbytes: f64) -> Result<String, Error> {
    let points: Vec<(f64, f64)> = points.iter().filter(|p| p.iter().all(|v| v.is_finite() && *v > 0.0)).map(|p| (p[0], p[1])).collect();
    if points.is_empty() || !(gflops > 0.0 && gbytes > 0.0) {
        return Err(nothing());
    }
    let ridge = gflops / gbytes;
    let least = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
    let (x0, y0) = (least(&mut points.iter().map(|p| p.0).chain([ridge])) / 2.0, least(&mut points.iter().map(|p| p.1)) / 2.0);
    let x1 = points.iter().map(|p| p.0).fold(ridge, f64::max) * 2.0;
    let y1 = points.iter().map(|p| p.1).fold(gflops, f64::max) * 2.0;
    draw_sized((SIZE.0, 520), |root| {
        let body = heading(root, title, line, &["limit", "kernels"])?;
        let mut chart = ChartBuilder::on(&body)
            .margin(4)
            .margin_right(24)
            .x_label_area_size(42)
            .y_label_area_size(62)
            .build_cartesian_2d((x0..x1).log_scale(), (y0..y1).log_scale())
            .map_err(fail)?;
        let plain = |v: &f64| format!("{v}");
        mesh(&mut chart, "operations a byte; upwards GFLOP/s", &plain, &plain)?;
        let foot = x0.max(y0 / gbytes);
        let roof = [(foot, foot * gbytes), (ridge, gflops), (x1, gflops)];
        chart.draw_series(LineSeries::new(roof, LINES[0].stroke_width(2))).map_err(fail)?;
        chart.draw_series(points.iter().map(|p| Circle::new(*p, 3, LINES[1].mix(0.6).filled()))).map_err(fail)?;
        Ok(())
    })
}

/// Places that candidates name for one thing, before and after something was done.
#[derive(Debug, Clone)]
pub struct BeforeAfter {
    /// What they are of.
    pub name: String,
    /// Where each puts it, metres from the truth, x to the right and y down, and its weight, 0 to 1, which sizes its dot.
    pub sides: [Vec<([f64; 2], f64)>; 2],
}

/// One row for each thing: its candidates before on the left, after on the right, and a cross where the truth lies.
///
/// # Errors
/// [`Error::Figure`] when there is no place.
pub fn before_after(title: &str, line: &str, rows: &[BeforeAfter]) -> Result<String, Error> {
    let all = rows.iter().flat_map(|r| r.sides.iter().flatten()).flat_map(|(p, _)| *p).filter(|v| v.is_finite());
    let far = all.fold(0.0f64, |m, v| m.max(v.abs())) / 1000.0;
    if rows.is_empty() || far == 0.0 {
        return Err(nothing());
    }
    draw_sized((SIZE.0, 70 + 320 * rows.len() as u32), |root| {
        let body = heading(root, title, line, &[])?;
        for (row, area) in rows.iter().zip(body.split_evenly((rows.len(), 1))) {
            for (i, (points, area)) in row.sides.iter().zip(area.split_evenly((1, 2))).enumerate() {
                let caption = format!("{}, {}", row.name, ["before", "after"][i]);
                let mut chart = ChartBuilder::on(&area)
                    .margin(6)
                    .caption(caption, font(13).color(&INK))
                    .x_label_area_size(24)
                    .y_label_area_size(40)
                    .build_cartesian_2d(-far..far, far..-far)
                    .map_err(fail)?;
                chart
                    .configure_mesh()
                    .light_line_style(TRANSPARENT)
                    .bold_line_style(GRID)
                    .axis_style(SOFT)
                    .label_style(font(11).color(&SOFT))
                    .x_labels(5)
                    .y_labels(5)
                    .x_label_formatter(&|v| format!("{v:.0} km"))
                    .y_label_formatter(&|v| format!("{v:.0}"))
                    .draw()
                    .map_err(fail)?;
                let dot = |(p, weight): &([f64; 2], f64)| {
                    Circle::new((p[0] / 1000.0, p[1] / 1000.0), 2 + (8.0 * weight.clamp(0.0, 1.0)) as i32, LINES[i].mix(0.5).filled())
                };
                chart.draw_series(points.iter().filter(|(p, _)| p.iter().all(|v| v.is_finite())).map(dot)).map_err(fail)?;
                chart.draw_series([Cross::new((0.0, 0.0), 7, INK.stroke_width(2))]).map_err(fail)?;
            }
        }
        Ok(())
    })
}

/// Writes a figure to a file.
///
/// # Errors
/// [`Error::Write`].
pub fn write(path: &Path, svg: &str) -> Result<(), Error> {
    write_atomically(path, svg.as_bytes())
}

fn panel(area: &Area<'_>, title: &str, points: &[(f64, f64)], share: bool) -> Result<(), Error> {
    let last = points[points.len() - 1];
    let now = if share { percent(&last.1) } else { format!("{:.3}", last.1) };
    let body = heading(area, title, &format!("{now} at step {:.0}", last.0), &[])?;
    let x = span(points.iter().map(|p| p.0));
    let y = if share { 0.0..span(points.iter().map(|p| p.1)).end.clamp(0.05, 1.0) } else { span(points.iter().map(|p| p.1)) };
    let mut chart = ChartBuilder::on(&body)
        .margin(4)
        .margin_right(20)
        .x_label_area_size(42)
        .y_label_area_size(52)
        .build_cartesian_2d(x, y.clone())
        .map_err(fail)?;
    let tick = |v: &f64| {
        if share { percent(v) } else { short(*v, y.end - y.start) }
    };
    mesh(&mut chart, "step", &|s| thousands(*s), &tick)?;
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
}

pub(super) fn draw(paint: impl FnOnce(&Area<'_>) -> Result<(), Error>) -> Result<String, Error> {
    draw_sized(SIZE, paint)
}

fn draw_sized(size: (u32, u32), paint: impl FnOnce(&Area<'_>) -> Result<(), Error>) -> Result<String, Error> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&PAPER).map_err(fail)?;
        paint(&root)?;
        root.present().map_err(fail)?;
    }
    let head = svg.find('>').map_or(0, |at| at + 1);
    svg.insert_str(head, STYLE);
    Ok(svg)
}

/// Title, one line of what is shown and, for several curves, their names; returns the area below.
pub(super) fn heading<'a>(area: &Area<'a>, title: &str, line: &str, names: &[&str]) -> Result<Area<'a>, Error> {
    area.draw(&Text::new(title.to_string(), (16, 14), font(18).color(&INK))).map_err(fail)?;
    area.draw(&Text::new(line.to_string(), (16, 38), font(13).color(&SOFT))).map_err(fail)?;
    let width = area.dim_in_pixel().0 as i32;
    let room: i32 = names.iter().map(|n| label_width(n)).sum();
    let mut x = (width - 24 - room).max(16);
    for (i, name) in names.iter().enumerate() {
        let color = LINES[i % LINES.len()];
        area.draw(&Rectangle::new([(x, 19), (x + 14, 22)], color.filled())).map_err(fail)?;
        area.draw(&Text::new((*name).to_string(), (x + 20, 14), font(13).color(&INK))).map_err(fail)?;
        x += label_width(name);
    }
    Ok(area.margin(62, 4, 4, 4))
}

fn label_width(name: &str) -> i32 {
    40 + 7 * name.chars().count() as i32
}

type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

pub(super) fn mesh<'b, X, Y>(
    chart: &mut Chart<'_, 'b, X, Y>,
    x_name: &str,
    x_tick: &dyn Fn(&f64) -> String,
    y_tick: &dyn Fn(&f64) -> String,
) -> Result<(), Error>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(SOFT)
        .label_style(font(13).color(&SOFT))
        .axis_desc_style(font(13).color(&SOFT))
        .x_labels(8)
        .y_labels(6)
        .x_label_formatter(x_tick)
        .y_label_formatter(y_tick)
        .x_desc(x_name)
        .draw()
        .map_err(fail)
}

fn font(size: u32) -> TextStyle<'static> {
    // plotters draws a font at size / 1.24.
    ("sans-serif", (f64::from(size) * 1.24).round()).into_text_style(&SIZE)
}

/// Names for the legend; none for a single curve.
fn names<'a, T>(curves: &[(&'a str, T)]) -> Vec<&'a str> {
    match curves {
        [_] => Vec::new(),
        _ => curves.iter().map(|(name, _)| *name).collect(),
    }
}

fn percent(share: &f64) -> String {
    let percent = share * 100.0;
    if (percent - percent.round()).abs() < 1e-6 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

fn round_distance(metres: f64) -> String {
    let text = distance_text(metres);
    text.replace(".00 km", " km").replace(".0 m", " m")
}

fn thousands(step: f64) -> String {
    if step.abs() >= 10_000.0 { format!("{}k", (step / 100.0).round() / 10.0) } else { format!("{step:.0}") }
}

/// A tick label with as many decimals as the range needs.
fn short(value: f64, range: f64) -> String {
    let decimals = (1.0 - range.max(1e-9).log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.decimals$}")
}

/// A range around the values, never empty.
fn span(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (lo, hi) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
    if hi > lo { lo..hi } else { lo - 0.5..hi + 0.5 }
}

/// Mean over the 1 % of the points before and the 1 % after each.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
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
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(MAX_POINTS).max(1);
    points
        .chunks(size)
        .map(|c| {
            let n = c.len() as f64;
            (c.iter().map(|p| p.0).sum::<f64>() / n, c.iter().map(|p| p.1).sum::<f64>() / n)
        })
        .collect()
}

fn nothing() -> Error {
    Error::Figure("there are no points to draw".to_string())
}

pub(super) fn fail(error: impl Display) -> Error {
    Error::Figure(error.to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::eval::metrics::recall_curve as curve;

    pub(crate) fn results(shift: u32) -> Vec<QueryResult> {
        (0..300u32)
            .map(|i| {
                let u = f64::from((i * 7919 + 13) % 300) / 300.0;
                let rank = (u * u * f64::from(60 + shift)) as u32 + 1;
                let error = if rank == 1 { 8.0 + 60.0 * u } else { 200.0 + 9000.0 * u };
                QueryResult { right_rank: (rank <= 50).then_some(rank), error_m: Some(error) }
            })
            .collect()
    }

    fn series(points: &[(f64, f64)]) -> Series {
        Series { name: "<script>".into(), points: points.to_vec(), share: false }
    }

    #[test]
    fn figures_are_svg_with_escaped_names() {
        let (a, b) = (results(0), results(300));
        let (ca, cb) = (curve(&a, 20, 1).unwrap(), curve(&b, 20, 1).unwrap());
        let hostile = "<script>&\"";
        let figures = [
            recall_curve(&[(hostile, &ca), ("arbitrary", &cb)]).unwrap(),
            error_cdf(&[(hostile, &a), ("arbitrary", &b)]).unwrap(),
            reliability(&[(0.0, false), (0.55, true), (1.0, true), (1.0, false)]).unwrap(),
            training_curves(&[series(&[(0.0, 4.0), (1.0, f64::NAN), (2.0, 3.0)]), series(&[(2.0, 0.4)]), series(&[])]).unwrap(),
            bars(hostile, hostile, &[Bar { name: hostile.into(), value: 0.4, interval: Some([-0.1, 0.5]), points: vec![0.3, 0.5] }])
                .unwrap(),
            clouds(hostile, hostile, &[(hostile, &[[0.0, 1.0], [f64::NAN, 1.0]]), ("b", &[[2.0, -1.0]])]).unwrap(),
            roofline(hostile, hostile, &[[0.25, 1.0], [f64::NAN, 1.0], [100.0, 40.0]], 80.0, 4.0).unwrap(),
        ];
        for svg in figures {
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
            assert!(!svg.contains("<script") && !svg.contains("NaN"), "{svg}");
        }
    }

    #[test]
    fn residuals_fill_their_bins() {
        let some: Vec<f64> = (0..200).map(|i| f64::from(i % 20) / 4.0).collect();
        let svg = residual_histogram(&some, &[0.0, f64::NAN, 30.0]).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("left out") && !svg.contains("NaN"), "{svg}");
        assert!(residual_histogram(&[], &[]).is_err());
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        assert!(recall_curve(&[]).is_err());
        assert!(recall_curve(&[("a", &[])]).is_err());
        assert!(reliability(&[]).is_err());
        assert!(error_cdf(&[("a", &[QueryResult::default()])]).is_err());
        assert!(training_curves(&[series(&[(f64::NAN, 1.0)])]).is_err());
        assert!(bars("", "", &[]).is_err());
        assert!(clouds("", "", &[("a", &[[f64::NAN, 0.0]])]).is_err());
        assert!(roofline("", "", &[[0.0, 1.0]], 1.0, 1.0).is_err());
        assert!(roofline("", "", &[[1.0, 1.0]], 0.0, 1.0).is_err());
    }

    #[test]
    fn long_lines_are_thinned() {
        let points: Vec<(f64, f64)> = (0..10_001).map(|i| (f64::from(i), 1.0)).collect();
        assert!(thin(&points).len() <= MAX_POINTS);
        assert!(training_curves(&[series(&points)]).unwrap().len() < 60_000);
    }
}

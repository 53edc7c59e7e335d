//! Methods beside each other: bars, and candidates before and after.

use super::super::Error;
use super::chart::{GRID, INK, LINES, SIZE, SOFT, draw, fail, font, heading, nothing, percent};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Width of a letter of a row's name, about, px.
const LETTER: u32 = 7;

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
    let longest = rows.iter().map(|r| r.name.chars().count()).max().unwrap_or(0) as u32;
    draw((SIZE.0, 120 + 34 * rows.len() as u32), |root| {
        let body = heading(root, title, line, &[])?;
        let mut chart = ChartBuilder::on(&body)
            .margin(4)
            .margin_right(56)
            .x_label_area_size(42)
            .y_label_area_size((LETTER * longest + 14).clamp(130, SIZE.0 / 2))
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
    draw((SIZE.0, 70 + 320 * rows.len() as u32), |root| {
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

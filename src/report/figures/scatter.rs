//! Points in a plane: clouds, kernels under a roofline.

use super::super::Error;
use super::chart::{Figure, LINES, SIZE, fail, line_color, nothing, short, span};
use plotters::prelude::*;

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
    let (width, height) = (x.end - x.start, y.end - y.start);
    let (across, up) = (|v: &f64| short(*v, width), |v: &f64| short(*v, height));
    let figure = Figure { legend: &names, size: (SIZE.0, 560), y_tick: &up, ..Figure::new(title, line, "first component", &across) };
    figure.draw(x, y, |chart| {
        for (i, (_, points)) in all.iter().enumerate() {
            let color = line_color(i);
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
    let plain = |v: &f64| format!("{v}");
    let figure = Figure {
        legend: &["limit", "kernels"],
        size: (SIZE.0, 520),
        left: 62,
        y_tick: &plain,
        ..Figure::new(title, line, "operations a byte; upwards GFLOP/s", &plain)
    };
    figure.draw((x0..x1).log_scale(), (y0..y1).log_scale(), |chart| {
        let foot = x0.max(y0 / gbytes);
        let roof = [(foot, foot * gbytes), (ridge, gflops), (x1, gflops)];
        chart.draw_series(LineSeries::new(roof, LINES[0].stroke_width(2))).map_err(fail)?;
        chart.draw_series(points.iter().map(|p| Circle::new(*p, 3, LINES[1].mix(0.6).filled()))).map_err(fail)?;
        Ok(())
    })
}

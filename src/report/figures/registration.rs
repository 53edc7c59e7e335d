//! How well a registration fits.

use super::super::Error;
use super::chart::{Figure, LINES, fail, nothing, short};
use plotters::prelude::*;

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
    let pixels = |v: &f64| short(*v, to);
    let figure = Figure {
        legend: &["fitted", "left out"],
        y_tick: &|v| format!("{v:.0}"),
        ..Figure::new("Residuals", "tie points by the length of their residual", "map pixels", &pixels)
    };
    figure.draw(0f64..to, 0f64..top, |chart| {
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

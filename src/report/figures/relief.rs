//! The figure of residuals against the height of the ground.

use plotters::prelude::*;

use super::super::{Error, Tie};
use super::chart::{Figure, LINES, fail};
use crate::register::Relief;
use crate::scene::MapInfo;

/// Residuals along the direction in which they follow height best, against height: a dot a tie point, and the line through them.
///
/// # Errors
/// [`Error::Figure`] where no point has a height.
pub fn residuals_by_height(map: &MapInfo, relief: &Relief, ties: &[Tie]) -> Result<String, Error> {
    let metres = |t: &Tie| relief.along([t.residual_px[0] * map.pixel_m[0], t.residual_px[1] * map.pixel_m[1]]);
    let dots: Vec<(f64, f64)> = ties.iter().filter(|t| t.used).filter_map(|t| Some((t.height_m?, metres(t)))).collect();
    let range = |values: Vec<f64>| {
        let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
        let room = 0.06 * (high - low).max(1e-3);
        low - room..high + room
    };
    if dots.is_empty() {
        return Err(fail("no tie point has a height"));
    }
    let (x, y) = (range(dots.iter().map(|d| d.0).collect()), range(dots.iter().map(|d| d.1).collect()));
    let mean = dots.iter().map(|d| d.1).sum::<f64>() / dots.len() as f64;
    let line = [x.start, x.end].map(|h| (h, mean + relief.slope_m_per_m * (h - relief.mean_height_m)));
    let said = format!(
        "residual along {:.0}° from the map's up, metres; {:.3} m a metre of height, correlation {:.2}",
        relief.direction_clockwise_deg, relief.slope_m_per_m, relief.correlation
    );
    let figure =
        Figure { y_tick: &|v| format!("{v:.1}"), ..Figure::new("Residuals and height", &said, "height, metres", &|v| format!("{v:.0}")) };
    figure.draw(x, y, |chart| {
        chart.draw_series(dots.iter().map(|d| Circle::new(*d, 3, LINES[0].mix(0.7).filled()))).map_err(fail)?;
        chart.draw_series(LineSeries::new(line, LINES[1].stroke_width(2))).map_err(fail)?;
        Ok(())
    })
}

//! How well pairs are told from others.

use super::super::Error;
use super::chart::{Figure, SOFT, fail, line_color, names, nothing, percent};
use super::training::MAX_POINTS;
use crate::eval::RocPoint;
use plotters::prelude::*;

/// ROC curves: the share of pairs that is told against the share of others that is taken for pairs; `curves` are names and points, in ascending
/// order of the distance. The thin lines are chance and a recall of 95 %.
///
/// # Errors
/// [`Error::Figure`] when a curve has no point.
pub fn roc_curve(curves: &[(&str, &[RocPoint])], line: &str) -> Result<String, Error> {
    if curves.is_empty() || curves.iter().any(|(_, points)| points.is_empty()) {
        return Err(nothing());
    }
    let legend = names(curves);
    let figure =
        Figure { legend: &legend, size: (520, 520), ..Figure::new("ROC curve", line, "share of others taken for pairs", &percent) };
    figure.draw(0f64..1f64, 0f64..1f64, |chart| {
        for line in [[(0.0, 0.0), (1.0, 1.0)], [(0.0, 0.95), (1.0, 0.95)]] {
            chart.draw_series(LineSeries::new(line, SOFT.stroke_width(1))).map_err(fail)?;
        }
        for (i, (_, points)) in curves.iter().enumerate() {
            let stride = points.len().div_ceil(MAX_POINTS).max(1);
            let kept = points.iter().enumerate().filter(|(j, _)| j % stride == 0 || j + 1 == points.len()).map(|(_, p)| p);
            let line = std::iter::once((0.0, 0.0)).chain(kept.map(|p| (p.false_positives, p.recall)));
            chart.draw_series(LineSeries::new(line, line_color(i).stroke_width(2))).map_err(fail)?;
        }
        Ok(())
    })
}

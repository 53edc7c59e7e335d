//! Figures as SVG text: recall at k, the spread of errors, how honest probabilities are, training curves.
//!
//! Each is a picture of its own that follows the reader's light or dark setting, in a page or by itself.

mod chart;
mod comparison;
mod contact;
mod found;
mod hand;
mod over_time;
mod registration;
mod relief;
mod retrieval;
mod roc;
mod scatter;
mod training;

pub use comparison::{Bar, BeforeAfter, bars, before_after};
pub use contact::{Contact, contact_sheet};
pub use found::{FoundPanel, FoundQuery, found_map};
pub use over_time::{Moment, Run, gap_figure, over_time};
pub use registration::residual_histogram;
pub use relief::residuals_by_height;
pub use retrieval::{error_cdf, recall_curve, reliability};
pub use roc::roc_curve;
pub use scatter::{clouds, roofline};
pub use training::{Series, training_curves, training_log};

use super::{Error, write_atomically};
use std::path::Path;

/// Writes a figure to a file.
///
/// # Errors
/// [`Error::Write`].
pub fn write(path: &Path, svg: &str) -> Result<(), Error> {
    write_atomically(path, svg.as_bytes())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::training::{MAX_POINTS, thin};
    use super::*;
    use crate::eval::metrics::QueryResult;
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
    fn names_of_bars_fit_beside_them() {
        for name in ["none", "Faster R-CNN, optical-SAR matching"] {
            let svg = bars("", "", &[Bar { name: name.into(), value: 0.4, interval: None, points: Vec::new() }]).unwrap();
            let document = roxmltree::Document::parse(&svg).unwrap();
            let text = document.descendants().find(|n| n.text().is_some_and(|t| t.trim() == name)).unwrap();
            let x: f64 = text.attribute("x").unwrap().parse().unwrap();
            // Its end lies there; of 13 px a letter takes about half.
            assert!(text.attribute("text-anchor") == Some("end") && x >= 6.5 * name.len() as f64, "{name} ends at {x}");
        }
    }

    #[test]
    fn figures_are_svg_with_escaped_names() {
        let (a, b) = (results(0), results(300));
        let (ca, cb) = (curve(&a, 20, 1).unwrap(), curve(&b, 20, 1).unwrap());
        let hostile = "<script>&\"";
        let roc = crate::eval::Distances::new(vec![0.1, 0.9, 0.4, 0.3], 1).unwrap().roc();
        let figures = [
            recall_curve(&[(hostile, &ca), ("arbitrary", &cb)]).unwrap(),
            error_cdf(&[(hostile, &a), ("arbitrary", &b)]).unwrap(),
            reliability(&[(0.0, false), (0.55, true), (1.0, true), (1.0, false)]).unwrap(),
            training_curves(&[series(&[(0.0, 4.0), (1.0, f64::NAN), (2.0, 3.0)]), series(&[(2.0, 0.4)]), series(&[])]).unwrap(),
            bars(hostile, hostile, &[Bar { name: hostile.into(), value: 0.4, interval: Some([-0.1, 0.5]), points: vec![0.3, 0.5] }])
                .unwrap(),
            clouds(hostile, hostile, &[(hostile, &[[0.0, 1.0], [f64::NAN, 1.0]]), ("b", &[[2.0, -1.0]])]).unwrap(),
            roc_curve(&[(hostile, &roc), ("b", &roc)], hostile).unwrap(),
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
        assert!(roc_curve(&[], "").is_err() && roc_curve(&[("a", &[])], "").is_err());
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

//! The page of a registration.

use super::args::Args;
use crate::Result;
use crate::cli::common::{Global, name_of};
use crate::cli::present::{Averaged, averaged, features_name, meta, overview};
use crate::dense::DenseModel;
use crate::register::{Extent, Registration, Relief, extent_px};
use crate::report::checkerboard::{checkerboard, parts};
use crate::report::registration::RegistrationPage;
use crate::report::{MapOverview, Thumb, Tie, figures, registered};
use crate::scene::{Image, MapInfo, Radiometry};
use std::path::Path;

/// Longest side of the picture of the whole, pixels.
const WHOLE: u32 = 1600;
/// Squares along its longest side.
const WHOLE_SQUARES: u32 = 14;
/// Side of the pictures of parts, map pixels.
const PART: u32 = 400;
/// Squares along it.
const PART_SQUARES: u32 = 5;

/// What a page shows.
pub(super) struct Shown<'a> {
    pub(super) global: &'a Global,
    pub(super) args: &'a Args,
    pub(super) map: &'a Image,
    pub(super) info: &'a MapInfo,
    pub(super) sar: &'a Image,
    pub(super) model: &'a DenseModel,
    pub(super) found: &'a Registration,
    pub(super) ties: &'a [Tie],
    pub(super) relief: Option<&'a Relief>,
    /// What was written of the map's grid: left, top, width, height.
    pub(super) written: [u32; 4],
    pub(super) adapter: &'a str,
}

/// Pictures of the whole and of some parts; the map closer by, and the image on it.
fn checkerboards(shown: &Shown<'_>, overview: &mut MapOverview) -> Result<Vec<(String, Thumb)>> {
    let Shown { global, args, map, info, sar, found, written, .. } = *shown;
    let unit = match sar.standardisation.radiometry {
        Radiometry::Sar { unit, .. } => Some(unit),
        Radiometry::Optical => None,
    };
    let registered = Image::sar(&args.out, unit)?;
    let size = [sar.raster.width(), sar.raster.height()];
    let area = extent_px(Extent::Sar, info, size, &found.fit.model)?;
    let read = |[left, top, w, h]: [u32; 4], longest: u32| -> Result<[Averaged; 2]> {
        let shift = [i64::from(left) - i64::from(written[0]), i64::from(top) - i64::from(written[1])];
        let a = averaged(global, map, [i64::from(left), i64::from(top)], [w, h], longest)?;
        Ok([a, averaged(global, &registered, shift, [w, h], longest)?])
    };
    let both = |[a, b]: &[Averaged; 2], squares: u32| checkerboard([a.width, a.height], &a.pixels, &b.pixels, squares);
    let whole = read(area, WHOLE)?;
    let to_map = [[1.0, 0.0, f64::from(area[0])], [0.0, 1.0, f64::from(area[1])]];
    if whole[0].scale < 0.7 * overview.scale {
        overview.closer.push(whole[0].overlay(to_map)?);
    }
    overview.images.push(whole[1].overlay(to_map)?);
    let mut out = vec![("The whole image on the map".to_string(), both(&whole, WHOLE_SQUARES)?)];
    // About points that agree, spread over the image.
    let side = PART.min(area[2]).min(area[3]);
    let points: Vec<[f64; 2]> = found.points.iter().zip(&found.fit.inlier).filter(|(_, i)| **i).map(|(p, _)| p.map_px).collect();
    for ([left, top], p) in parts(area, side, &points) {
        let caption = format!("{side} x {side} map pixels about {:.0}, {:.0}", p[0], p[1]);
        out.push((caption, both(&read([left, top, side, side], PART)?, PART_SQUARES)?));
    }
    Ok(out)
}

/// Writes it.
pub(super) fn write(shown: &Shown<'_>, path: &Path) -> Result<()> {
    let Shown { global, args, map, info, model, found, ties, relief, written, adapter, .. } = *shown;
    let fit = &found.fit;
    let used = |values: Vec<f64>| -> Vec<f64> { values.into_iter().zip(&fit.inlier).filter(|(_, i)| **i).map(|(v, _)| v).collect() };
    let residuals = used(fit.residual_px.iter().map(|r| r[0].hypot(r[1])).collect());
    let histogram = figures::residual_histogram(&residuals, &used(fit.held_out_px.clone()))?;
    let mut figures =
        vec![("Residuals of the points the fit rests on; the line: of fits that each leave the point out".to_string(), histogram)];
    if let Some(relief) = relief {
        figures.push(("Residuals against the height of the ground".into(), figures::residuals_by_height(info, relief, ties)?));
    }
    let mut overview = overview(global, map)?;
    let checkerboards = checkerboards(shown, &mut overview)?;
    let (map_name, sar_name) = (args.map.name(), name_of(&args.sar));
    let [left, top, w, h] = written;
    let about = vec![("Written".into(), format!("{}: {w}x{h} px of the map's grid from {left}, {top}", name_of(&args.out)))];
    let meta = meta(&format!("{sar_name} registered to {map_name}"), &map_name, &sar_name, features_name(model), adapter, about);
    let lead = format!("{}; {} of {} fixes agree.", registered::words(found), fit.inliers(), found.sought);
    let mut table = registered::rows(found);
    table.extend(relief.iter().flat_map(|r| registered::relief_rows(r)));
    let page = RegistrationPage {
        meta: &meta,
        lead: &lead,
        table: &table,
        overview: &overview,
        ties,
        figures: &figures,
        checkerboards: &checkerboards,
    };
    Ok(page.write(path)?)
}

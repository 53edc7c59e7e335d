//! How a SAR image lies on an optical one: through points, found, or by georeferences.

use super::args::BuildArgs;
use crate::cli::common::{Global, Progress};
use crate::register::{ConsensusConfig, DenseFinder, FitConfig, Model, ModelKind, RegisterConfig, TiePoint, fit_best, register};
use crate::report::registered;
use crate::scene::{ControlPoints, Image, Laid, Link, OpenOptions, points};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// Triples of points that are tried at most.
const DRAWS: usize = 200_000;

/// How they lie on each other.
pub(super) struct Lie {
    way: Way,
    /// The same, for the manifest.
    pub(super) about: Value,
    /// And in words.
    pub(super) words: String,
}

enum Way {
    /// From optical pixels to SAR pixels.
    Fitted(Model),
    /// From SAR pixels to optical ones, and back.
    Own(Box<[Link; 2]>),
}

impl Lie {
    /// Where a position of the SAR image lies in the optical one.
    pub(super) fn on_optical(&self, p: [f64; 2]) -> Option<[f64; 2]> {
        match &self.way {
            Way::Fitted(model) => model.to_map(p),
            Way::Own(links) => links[0].apply(p).ok(),
        }
    }

    /// Where a position of the optical image lies in the SAR image.
    pub(super) fn on_sar(&self, p: [f64; 2]) -> Option<[f64; 2]> {
        match &self.way {
            Way::Fitted(model) => Some(model.to_sar(p)),
            Way::Own(links) => links[1].apply(p).ok(),
        }
    }

    /// SAR pixels (rows) an optical pixel about a position of the optical image.
    pub(super) fn derivative(&self, p: [f64; 2]) -> Option<[[f64; 2]; 2]> {
        let at = |x: f64, y: f64| self.on_sar([p[0] + x, p[1] + y]);
        let (l, r, t, b) = (at(-4.0, 0.0)?, at(4.0, 0.0)?, at(0.0, -4.0)?, at(0.0, 4.0)?);
        Some([0, 1].map(|d| [(r[d] - l[d]) / 8.0, (b[d] - t[d]) / 8.0]))
    }

    /// Pixel on pixel.
    pub(super) fn aligned(sar: &Image, optical: &Image) -> Result<Self> {
        let size = |i: &Image| [i.raster.width(), i.raster.height()];
        let ([w, h], [v, i]) = (size(sar), size(optical));
        if [w, h] != [v, i] {
            return Err(Error::invalid(format!(
                "--aligned: the SAR image has {w}x{h} px, the optical one {v}x{i}: images that lie pixel on pixel have one size"
            )));
        }
        let model = Model::affine([[1.0, 0.0], [0.0, 1.0]], [0.0; 2], [0.0; 2]);
        Ok(Self { way: Way::Fitted(model), about: json!({ "by": "pixels" }), words: "pixel on pixel".into() })
    }

    /// By what both images say of their place.
    pub(super) fn own(sar: &Image, optical: &Image) -> Result<Self> {
        let links = || Ok::<_, crate::scene::Error>((Link::new(sar, optical)?, Link::new(optical, sar)?));
        let (to_optical, to_sar) = links().map_err(|e| {
            Error::invalid(format!(
                "{e}. Or say how the images lie on each other: --points FILE, --aligned, or --register to have it found"
            ))
        })?;
        Ok(Self {
            way: Way::Own(Box::new([to_optical, to_sar])),
            about: json!({ "by": "georeferences" }),
            words: "by the georeferences of both images".into(),
        })
    }

    /// Through points of a file.
    pub(super) fn through(args: &BuildArgs, path: &Path, sar: &Image, optical: &Image) -> Result<Self> {
        let size = |i: &Image| [i.raster.width(), i.raster.height()];
        let read = points::read(path, Some((sar.raster.geo(), size(sar))))?;
        let points = ties(&read, optical)?;
        let kinds = args.model.kind().map_or_else(|| vec![ModelKind::Similarity, ModelKind::Affine], |k| vec![k]);
        // Few points determine a similarity alone.
        let kinds: Vec<ModelKind> = match kinds.iter().filter(|k| points.len() >= k.needs()).copied().collect::<Vec<_>>() {
            enough if enough.is_empty() => kinds[..1].to_vec(),
            enough => enough,
        };
        let area_px2 = size(optical).map(f64::from).iter().product();
        let consensus = ConsensusConfig { tolerance_px: args.tolerance, area_px2, limits: None, draws: DRAWS, seed: 1 };
        let config = FitConfig { kind: kinds[0], base: [[1.0, 0.0], [0.0, 1.0]], consensus };
        let fit = fit_best(&points, &config, &kinds).map_err(|e| Error::file(path, e.to_string()))?;
        let (used, all) = (fit.inliers(), points.len());
        Ok(Self {
            about: json!({
                "by": "points", "points": all, "used": used, "residual_px": { "median": fit.median_px(), "rms": fit.rms_px() }, "model": fit.model,
            }),
            words: format!(
                "{} through {used} of {all} points, residuals {:.2} px (median), {:.2} px (rms)",
                fit.model.kind.name(),
                fit.median_px(),
                fit.rms_px()
            ),
            way: Way::Fitted(fit.model),
        })
    }

    /// Found by dense matching.
    pub(super) fn found(global: &Global, args: &BuildArgs, sar: &Image, finder: &mut DenseFinder<'_>) -> Result<Self> {
        let pixel_m = sar.raster.placement().is_err().then_some(args.pixel_size);
        let info = finder.info().clone();
        // As many map pixels as at 10 m a pixel.
        let reach_m = RegisterConfig::default().reach_m * info.ground_m() / 10.0;
        let config = RegisterConfig { kind: args.model.kind(), pixel_m, reach_m, ..RegisterConfig::default() };
        let bars = [global.bar(0, "turning"), global.bar(0, "placing"), global.bar(0, "fixes")];
        let found = register(&info, sar, finder, &config, |round, done, total| bars[round as usize].advance(done, total))?;
        bars.iter().for_each(Progress::finish_and_clear);
        let mut about = registered::summary(&found);
        about["by"] = "register".into();
        let fit = &found.fit;
        let words = format!(
            "{} through {} of {} fixes, residuals {:.2} px (median)",
            fit.model.kind.name(),
            fit.inliers(),
            found.sought,
            fit.median_px()
        );
        Ok(Self { way: Way::Fitted(found.fit.model), about, words })
    }
}

/// The points that are to be used, with their positions in the optical image.
fn ties(read: &ControlPoints, optical: &Image) -> Result<Vec<TiePoint>> {
    let used: Vec<_> = read.points.iter().filter(|p| p.enabled).collect();
    let Ok((geo, crs)) = optical.raster.georeference() else {
        // Georeferencing programs count rows of an image without a place downwards, below 0.
        let up = used.iter().all(|p| p.map_xy[1] <= 0.0);
        let of = |[x, y]: [f64; 2]| [x, if up { -y } else { y }];
        return Ok(used.iter().map(|p| TiePoint { sar_px: p.sar_px, map_px: of(p.map_xy), weight: 1.0 }).collect());
    };
    let place = |[x, y]: [f64; 2]| -> Result<[f64; 2]> {
        let (x, y) = match &read.crs {
            Some(own) if own != crs => {
                let (lon, lat) = own.to_lonlat(x, y)?;
                crs.from_lonlat(lon, lat)?
            }
            _ => (x, y),
        };
        Ok(geo.map_to_pixel(x, y).into())
    };
    used.iter().map(|p| Ok(TiePoint { sar_px: p.sar_px, map_px: place(p.map_xy)?, weight: 1.0 })).collect()
}

/// An optical image as a map with a place: its own, or one that stands for none.
pub(super) fn as_map(path: &Path, optical: &Arc<Image>, options: &OpenOptions, pixel_m: f64) -> Result<Arc<Image>> {
    if optical.raster.georeference().is_ok() {
        return Ok(optical.clone());
    }
    let size = [optical.raster.width(), optical.raster.height()];
    let sheet = options.open_sheet(&[Laid { path: path.into(), at: [0, 0], size }], size, pixel_m)?;
    Ok(Arc::new(Image { raster: sheet, standardisation: optical.standardisation.clone() }))
}

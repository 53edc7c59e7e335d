//! `echogrid pairs build`.

use super::args::BuildArgs;
use super::lie::{Lie, as_map};
use super::sheet::Sheets;
use crate::cli::common::{Global, Progress, command_line, print_json, warn_of};
use crate::dense::{DenseModel, FeatureKind, Structure};
use crate::pairs::build::{BuildConfig, Crop, Manifest, Misfit, Onto, Reason, Round, Sources, Watch, build, check};
use crate::register::{DenseFinder, Finder, Hunt, Query};
use crate::scene::{Bands, Image, OpenOptions, Window};
use crate::{Error, Result};
use std::sync::Arc;

/// Around where the transform puts a crop it is sought so many times as far as it may lie off.
const REACH: f64 = 4.0;
/// Patches correlated at once.
const AT_ONCE: usize = 4;

/// What a crop's misfit is measured with.
struct Fit<'a, 'f> {
    finder: Option<&'f mut DenseFinder<'a>>,
    lie: &'f Lie,
    config: BuildConfig,
}

impl Fit<'_, '_> {
    /// The patch of a crop, and grid pixels an optical pixel there; none where the transform puts its middle nowhere.
    fn query(&self, crop: &Crop) -> Option<(Query, f64)> {
        let half = f64::from(self.config.size) / 2.0;
        let middle = crop.at.map(|v| f64::from(v) + half);
        let (sar_px, near) = match self.config.onto {
            Onto::Sar => (middle, self.lie.on_optical(middle)?),
            Onto::Optical => (self.lie.on_sar(middle)?, middle),
        };
        let matrix = self.lie.derivative(near)?;
        let scale = match self.config.onto {
            Onto::Sar => (matrix[0][0] * matrix[1][1] - matrix[0][1] * matrix[1][0]).abs().sqrt(),
            Onto::Optical => 1.0,
        };
        Some((Query { sar_px, matrix, near: Some(near) }, scale))
    }

    fn measure(&mut self, crops: &[Crop], global: &Global) -> Result<Option<Vec<Misfit>>> {
        let asked: Vec<_> = crops.iter().map(|c| self.query(c)).collect();
        let (Some(finder), Some(most)) = (self.finder.as_mut(), self.config.limits.misfit_px) else { return Ok(None) };
        let reach = REACH * most;
        let far = Misfit { px: reach, probability: 0.0 };
        let Some((_, scale)) = asked.iter().flatten().next() else { return Ok(Some(vec![far; crops.len()])) };
        let patch = (f64::from(self.config.size) / scale).round().max(1.0) as u32;
        let hunt = Hunt { patch, reach_px: reach / scale, variants: vec![crate::dense::Variant::PLAIN], top: 1 };
        let queries: Vec<Query> = asked.iter().flatten().map(|(q, _)| *q).collect();
        let bar = global.bar(0, "correlating");
        let mut found = finder.find(&queries, &hunt, &mut |done, total| bar.advance(done, total))?.into_iter();
        bar.finish_and_clear();
        let mut one = |(query, scale): &(Query, f64)| {
            let best = found.next().and_then(|c| c.first().copied());
            let near = query.near.unwrap_or_default();
            best.map(|c| Misfit { px: (c.map_px[0] - near[0]).hypot(c.map_px[1] - near[1]) * scale, probability: c.probability })
        };
        Ok(Some(asked.iter().map(|a| a.as_ref().and_then(&mut one).unwrap_or(far)).collect()))
    }
}

/// Measures, tells and shows.
struct Work<'a, 'f> {
    global: &'f Global,
    fit: Fit<'a, 'f>,
    sheets: Sheets<'f>,
    bars: [Progress; 2],
}

impl Watch for Work<'_, '_> {
    fn misfits(&mut self, crops: &[Crop]) -> Result<Option<Vec<Misfit>>> {
        self.fit.measure(crops, self.global)
    }

    fn dropped(&mut self, crop: &Crop, why: &[Reason], windows: &[Window; 2]) -> Result<()> {
        self.sheets.add(crop, why, windows)
    }

    fn progress(&mut self, round: Round, done: usize, total: usize) {
        self.bars[round as usize].advance(done, total);
    }
}

/// The features that are correlated: those that were chosen, or plain structure of two pixels of the coarser image.
fn features(args: &BuildArgs, map: &Image, sar: &Image) -> Result<DenseModel> {
    if args.what.features == Some(FeatureKind::Learned) || args.what.dense_model.is_some() {
        return args.what.model(FeatureKind::Learned);
    }
    let ground = |i: &Image| i.raster.ground_pixel_size().map(|(x, y)| (x * y).sqrt());
    let coarser = ground(map)?.max(ground(sar).unwrap_or(args.pixel_size));
    Ok(DenseModel::structure(Structure { metres: 2.0 * coarser, ..Structure::default() }))
}

pub(super) fn run(global: &Global, args: &BuildArgs) -> Result<()> {
    let config = args.config()?;
    for (name, v) in [("--pixel-size", args.pixel_size), ("--optical-pixel-size", args.optical_pixel_size), ("--tolerance", args.tolerance)]
    {
        if !(v > 0.0 && v.is_finite()) {
            return Err(Error::invalid(format!("{name} must be above 0, not {v}")));
        }
    }
    let sar = Arc::new(args.reading.open(&args.sar)?);
    let options = OpenOptions { bands: Bands::Colours, ..args.no_data.options() };
    let optical = Arc::new(Image::of_map(options.open(&args.optical)?)?);
    warn_of(&optical.raster);
    // Before the device is asked for, and the transform.
    check(&sar, &optical, &config, &args.out)?;
    let needs_device = args.register || args.max_misfit.0.is_some();
    let map = as_map(&args.optical, &optical, &options, args.optical_pixel_size)?;
    let model = features(args, &map, &sar)?;
    let engine = needs_device.then(|| global.engine()).transpose()?;
    let mut finder = engine.as_ref().map(|e| DenseFinder::new(e, &model, map, sar.clone(), AT_ONCE)).transpose()?;
    let lie = match (&args.points, &mut finder) {
        _ if args.aligned => Lie::aligned(&sar, &optical)?,
        (Some(path), _) => Lie::through(args, path, &sar, &optical)?,
        (None, Some(finder)) if args.register => Lie::found(global, args, &sar, finder)?,
        _ => Lie::own(&sar, &optical)?,
    };
    global.say(format_args!("{}", lie.words));
    let nowhere = [f64::NAN; 2];
    let place = |p: [f64; 2]| match config.onto {
        Onto::Sar => lie.on_optical(p),
        Onto::Optical => lie.on_sar(p),
    };
    let place = |p: [f64; 2]| place(p).unwrap_or(nowhere);
    let sources = Sources { sar: &sar, optical: &optical, place: &place };
    let finder = finder.as_mut().filter(|_| args.max_misfit.0.is_some());
    let mut work = Work {
        global,
        fit: Fit { finder, lie: &lie, config },
        sheets: Sheets::new([&sar, &optical], &args.out),
        bars: [global.bar(0, "measuring"), global.bar(0, "writing")],
    };
    let built = build(&sources, &config, lie.about.clone(), &args.out, &mut work);
    work.bars.iter().for_each(Progress::finish_and_clear);
    // Where nothing is left the sheets say why.
    work.sheets.flush()?;
    tell(args, &built?, &lie, &work.sheets)
}

fn tell(args: &BuildArgs, manifest: &Manifest, lie: &Lie, sheets: &Sheets<'_>) -> Result<()> {
    if args.json {
        let failing: serde_json::Map<_, _> = Reason::ALL.into_iter().map(|r| (r.name().to_string(), manifest.failing(r).into())).collect();
        return print_json(&serde_json::json!({
            "out": args.out, "pairs": manifest.pairs.len(), "dropped": manifest.dropped.len(), "empty": manifest.empty, "failing": failing,
            "transform": lie.about, "config": manifest.config, "sheets": sheets.written, "command": command_line(),
        }));
    }
    out!("{} pairs of {} px in {}", manifest.pairs.len(), manifest.config.size, args.out.display());
    out!("left out        {} ({})", manifest.dropped.len(), manifest.tally());
    out!("without data    {}", manifest.empty);
    out!("transform       {}", lie.words);
    sheets.written.iter().for_each(|p| out!("wrote {}", p.display()));
    Ok(())
}

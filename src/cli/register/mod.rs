//! `echogrid register`.

mod args;
mod page;

pub use args::Args;

use super::common::{Global, check_output, command_line, print_json, warn};
use super::dense_args::FeatureKind;
use crate::register::{DenseFinder, Extent, Registration, Round, best_affine, extent_px, register, write_on_map};
use crate::report::{Tie, csv, geojson, registered, write_atomically};
use crate::scene::points::{self, PointsFormat, PointsOf};
use crate::scene::{Image, MapInfo, Raster};
use crate::{Error, Result};
use args::ExtentArg;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Registers, with progress bars.
fn find(global: &Global, args: &Args, sar: &Image, finder: &mut DenseFinder<'_>) -> Result<(Registration, f64)> {
    let start = Instant::now();
    let bar = global.bar(0, "map");
    finder.transform_map(args.coarse_patch, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let bars = [global.bar(0, "placing"), global.bar(0, "fixes")];
    let info = finder.info().clone();
    let found = register(&info, sar, finder, &args.config(), |round, done, total| {
        let bar = &bars[usize::from(round == Round::Fine)];
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bars.iter().for_each(indicatif::ProgressBar::finish_and_clear);
    Ok((found, seconds))
}

/// Writes the tie points in the formats asked for, and says what is left out.
fn write_points(files: &[PathBuf], info: &MapInfo, image: &Raster, found: &Registration, ties: &[Tie]) -> Result<()> {
    for path in files {
        match PointsFormat::of(path)? {
            PointsFormat::GeoJson => geojson::write_ties(path, ties)?,
            PointsFormat::Csv => write_atomically(path, csv::ties(ties)?.as_bytes())?,
            format => {
                let world = format == PointsFormat::World;
                let affine = if world { Some(best_affine(info, &found.fit.model, [image.width(), image.height()])?) } else { None };
                if let Some((_, left_out)) = affine.filter(|_| found.fit.model.kind.degree() > 1) {
                    warn(format_args!(
                        "{}: a world file is an affine transform; it leaves out up to {:.1} m of the bend of the {}",
                        path.display(),
                        left_out * found.map_pixel_m,
                        found.fit.model.kind.name()
                    ));
                }
                let of = PointsOf { image, affine: affine.as_ref().map(|(geo, _)| geo) };
                points::write(path, &registered::control_points(info, found)?, of)?.iter().for_each(warn);
            }
        }
    }
    Ok(())
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let start = Instant::now();
    let outputs: Vec<&Path> = [&args.out].into_iter().chain(&args.report).chain(&args.points).map(PathBuf::as_path).collect();
    args.points.iter().try_for_each(|p| PointsFormat::of(p).map(drop))?;
    if outputs.iter().enumerate().any(|(i, p)| outputs[..i].contains(p)) {
        return Err(Error::invalid("two outputs have the same name; give each its own"));
    }
    if args.map.map.iter().chain([&args.sar]).any(|input| outputs.contains(&input.as_path())) {
        return Err(Error::invalid("an output has the name of an input; give it its own"));
    }
    outputs.iter().try_for_each(|p| check_output(p))?;
    let map = Arc::new(args.map.open()?);
    let sar = Arc::new(args.reading.open(&args.sar)?);
    let model = args.what.model(FeatureKind::Structure)?;
    let engine = global.engine()?;
    let mut finder = DenseFinder::new(&engine, &model, map.clone(), sar.clone(), args.at_once)?;
    let info = finder.info().clone();
    let (found, transform_s) = find(global, args, &sar, &mut finder)?;
    let extent = match args.extent {
        ExtentArg::Map => Extent::Map,
        ExtentArg::Sar => Extent::Sar,
    };
    let written = extent_px(extent, &info, [sar.raster.width(), sar.raster.height()], &found.fit.model)?;
    let warp = Instant::now();
    let bar = global.bar(u64::from(written[3]), "writing");
    write_on_map(&info, &sar.raster, &found.fit.model, written, &args.out, &[], |rows, _| bar.set_position(u64::from(rows)))?;
    bar.finish_and_clear();
    let warp_s = warp.elapsed().as_secs_f64();
    let ties = registered::ties(&info, &found)?;
    write_points(&args.points, &info, &sar.raster, &found, &ties)?;
    let adapter = engine.adapter().to_string();
    if let Some(path) = &args.report {
        let (ties, adapter, found) = (&ties[..], &adapter[..], &found);
        let shown = page::Shown { global, args, map: &map, info: &info, sar: &sar, model: &model, found, ties, written, adapter };
        page::write(&shown, path)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    if args.json {
        let mut all = registered::summary(&found);
        let run = serde_json::json!({
            "out": args.out, "written_px": written, "features": model.name(), "precision": model.precision(), "adapter": adapter,
            "command": command_line(),
            "seconds": { "map": transform_s, "first": found.seconds[0], "fixes": found.seconds[1], "write": warp_s, "all": seconds },
        });
        if let (Some(all), serde_json::Value::Object(run)) = (all.as_object_mut(), run) {
            all.extend(run);
        }
        return print_json(&all);
    }
    registered::lines(&found, seconds).iter().for_each(|line| out!("{line}"));
    outputs.iter().for_each(|p| out!("wrote {}", p.display()));
    Ok(())
}

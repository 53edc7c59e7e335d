//! `echogrid register`.

mod args;
mod outputs;
mod page;

pub use args::{Args, ModelArg};

use super::common::{Global, Progress, command_line, name_of, print_json};
use crate::Result;
use crate::dense::FeatureKind;
use crate::register::{DenseFinder, Extent, Registration, extent_px, register};
use crate::report::registered;
use crate::scene::Image;
use args::ExtentArg;
use std::sync::Arc;
use std::time::Instant;

/// Registers, with progress bars.
fn find(global: &Global, args: &Args, sar: &Image, finder: &mut DenseFinder<'_>) -> Result<(Registration, f64)> {
    let start = Instant::now();
    // One that does not say how it lies is sought as a whole first, and mostly needs no more.
    if sar.raster.placement().is_ok() {
        let bar = global.bar(0, "map");
        finder.transform_map(args.coarse_patch, |done, total| bar.advance(done, total))?;
        bar.finish_and_clear();
    }
    let seconds = start.elapsed().as_secs_f64();
    let bars = [global.bar(0, "turning"), global.bar(0, "placing"), global.bar(0, "fixes")];
    let info = finder.info().clone();
    let found = register(&info, sar, finder, &args.config(), |round, done, total| {
        bars[round as usize].advance(done, total);
    })?;
    bars.iter().for_each(Progress::finish_and_clear);
    Ok((found, seconds))
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let start = Instant::now();
    let outputs = outputs::Outputs::new(args)?;
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
    let about = registered::about(&found, &command_line(), &args.map.name(), &name_of(&args.sar));
    let place = outputs::Place { global, info: &info, found: &found, written, about: &about };
    place.image(&sar.raster, &args.out)?;
    outputs.apply.iter().try_for_each(|(raster, path)| place.image(raster, path))?;
    let warp_s = warp.elapsed().as_secs_f64();
    let mut ties = registered::ties(&info, &found)?;
    let relief = args.dem.as_ref().map(|dem| outputs::relief(dem, &info, &found, &mut ties)).transpose()?.flatten();
    outputs::points(&args.points, &info, &sar.raster, &found, &ties)?;
    let adapter = engine.adapter().to_string();
    if let Some(path) = &args.report {
        let (ties, adapter, found, relief) = (&ties[..], &adapter[..], &found, relief.as_ref());
        let shown = page::Shown { global, args, map: &map, info: &info, sar: &sar, model: &model, found, ties, relief, written, adapter };
        page::write(&shown, path)?;
    }
    if let Some(path) = &outputs.stac {
        place.stac(args, &sar.raster, &outputs, path)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    if args.json {
        let mut all = registered::summary(&found);
        let (place, footprint) = registered::place(&info, &found, [sar.raster.width(), sar.raster.height()])?;
        let run = serde_json::json!({
            "out": args.out, "lon": place.lonlat[0], "lat": place.lonlat[1], "footprint": footprint, "written_px": written, "features": model.name(), "precision": model.precision(), "adapter": adapter,
            "command": command_line(), "relief": relief, "applied": outputs.apply.iter().map(|(_, p)| p).collect::<Vec<_>>(),
            "seconds": { "map": transform_s, "first": found.seconds[0], "fixes": found.seconds[1], "write": warp_s, "all": seconds },
        });
        if let (Some(all), serde_json::Value::Object(run)) = (all.as_object_mut(), run) {
            all.extend(run);
        }
        return print_json(&all);
    }
    registered::lines(&found, seconds).iter().for_each(|line| out!("{line}"));
    outputs.all(args).for_each(|p| out!("wrote {}", p.display()));
    Ok(())
}

//! `echogrid synth`.

use super::common::{Global, check_file};
use super::cost::weigh_city;
use crate::scene::synth::{EPSG, SynthConfig, generate};
use crate::scene::{GeoTransform, SampleData, write_geotiff};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Make a synthetic city: a map and a SAR image of it, with known truth
///
/// Streets, blocks, water, fields and buildings with heights, as an optical image and as a side-looking radar sees them
/// (layover, shadow, double bounce, speckle). The same seed gives the same files on any machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for optical.tif, sar.tif and height.tif; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seed of the plan and of the noise
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Width and height, pixels of 10 m
    #[arg(long, value_name = "PX", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(64..=16384))]
    size: u32,
}

/// The files of a scene.
pub(super) struct Files {
    /// The map.
    pub(super) map: PathBuf,
    /// The SAR image.
    pub(super) sar: PathBuf,
    /// Height of the surface.
    pub(super) height: PathBuf,
}

/// Generates a scene and writes its files into a folder, which is made where it is missing.
pub(super) fn write(global: &Global, folder: &Path, seed: u64, size: u32) -> Result<Files> {
    std::fs::create_dir_all(folder)
        .map_err(|e| Error::io(folder, format!("this folder cannot be made ({e}); name another with --out"), e))?;
    let files = Files { map: folder.join("optical.tif"), sar: folder.join("sar.tif"), height: folder.join("height.tif") };
    for file in [&files.map, &files.sar, &files.height] {
        check_file(file)?;
    }
    weigh_city(global, size, folder)?;
    let scene = generate(&SynthConfig { seed, size, ..SynthConfig::default() });
    let geo = GeoTransform::new(scene.geotransform());
    let write = |path: &Path, bands, data, nodata| write_geotiff(path, size, size, bands, data, geo.as_ref(), Some(EPSG), nodata);
    write(&files.map, 3, SampleData::U8(&scene.optical), Some(0.0))?;
    write(&files.sar, 1, SampleData::U8(&scene.sar), Some(0.0))?;
    write(&files.height, 1, SampleData::F32(&scene.height_m), None)?;
    Ok(files)
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    let files = write(global, &args.out, args.seed, args.size)?;
    let (size, seed) = (args.size, args.seed);
    out!("{}  optical map, {size}x{size} px of 10 m, EPSG:{EPSG}, seed {seed}", files.map.display());
    out!("{}  SAR amplitude of the same ground", files.sar.display());
    out!("{}  height of the surface, metres", files.height.display());
    Ok(())
}

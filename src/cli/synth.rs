//! `echogrid synth`.

use super::common::{Global, check_file};
use super::cost::{Room, weigh, weigh_city};
use crate::detect::synthetic::{ANNOTATIONS, IMAGES, draw};
use crate::scene::synth::{EPSG, SynthConfig, generate};
use crate::scene::{GeoTransform, SampleData, write_geotiff};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Make a synthetic city, a map and a SAR image of it, with known truth; or SAR images of ships with their boxes
///
/// Streets, blocks, water, fields and buildings with heights, as an optical image and as a side-looking radar sees them
/// (layover, shadow, double bounce, speckle). With --ships radar images of ships instead, by turns at sea and in port, and their boxes. The same seed
/// gives the same files on any machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for optical.tif, sar.tif and height.tif, or with --ships for images/ and annotations.json (COCO); made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seed of the plan and of the noise
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Width and height, pixels: of 10 m, 2048 unless given; with --ships of 3 to 8 m, 400 unless given
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(64..=16384))]
    size: Option<u32>,
    /// Images of ships to draw, in place of a city
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    ships: Option<u32>,
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

/// Draws images of ships and writes them with their boxes.
fn write_ships(global: &Global, folder: &Path, count: u32, seed: u64, size: u32) -> Result<()> {
    let bytes = u128::from(count) * u128::from(size).pow(2);
    let (what, advice) = (format!("--ships {count} of --size {size}"), "take fewer or smaller images");
    weigh(global, bytes + 64 * u128::from(size).pow(2), Room::Memory, &what, advice)?;
    weigh(global, bytes, Room::Disk(Some(&folder.join(IMAGES))), &what, advice)?;
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, format!("this folder cannot be made ({e}); name another"), e))?;
    let drawn = draw(count, size, seed);
    drawn.write(folder)?;
    let (images, annotations) = (folder.join(IMAGES), folder.join(ANNOTATIONS));
    out!("{}  {count} SAR images of {size}x{size} px, by turns at sea and in port, seed {seed}", images.display());
    out!("{}  the boxes of their {} ships, COCO JSON", annotations.display(), drawn.dataset.boxes());
    Ok(())
}

pub(super) fn run(global: &Global, args: &Args) -> Result<()> {
    if let Some(count) = args.ships {
        return write_ships(global, &args.out, count, args.seed, args.size.unwrap_or(400));
    }
    let (size, seed) = (args.size.unwrap_or(2048), args.seed);
    let files = write(global, &args.out, seed, size)?;
    out!("{}  optical map, {size}x{size} px of 10 m, EPSG:{EPSG}, seed {seed}", files.map.display());
    out!("{}  SAR amplitude of the same ground", files.sar.display());
    out!("{}  height of the surface, metres", files.height.display());
    Ok(())
}

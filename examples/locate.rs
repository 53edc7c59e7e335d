//! Finds where on a map an array of SAR pixels lies: `cargo run --release --example locate`.

use echogrid::dense::{DenseDatabase, DenseModel, Layout, Structure, build};
use echogrid::gpu::{AdapterChoice, Engine};
use echogrid::locate::{Locator, Options, Query, Verdict};
use echogrid::scene::synth::{SynthConfig, generate};
use echogrid::scene::{GeoTransform, Image, MapInfo, SampleData, write_geotiff};
use std::sync::Arc;

fn main() -> echogrid::Result<()> {
    // A synthetic city stands for your map and your radar: an array of 300 x 300 pixels from 200, 250 on.
    let city = generate(&SynthConfig { seed: 5, size: 800, ..SynthConfig::default() });
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let (file, db) = (folder.path().join("map.tif"), folder.path().join("map.dense"));
    let (geo, pixels) = (GeoTransform::new(city.geotransform()), SampleData::U8(&city.optical));
    write_geotiff(&file, 800, 800, 3, pixels, geo.as_ref(), Some(3395), Some(0.0))?;
    let array: Vec<f32> = (0..300 * 300).map(|i| f32::from(city.sar[(250 + i / 300) * 800 + 200 + i % 300])).collect();

    // Once a map.
    let engine = pollster::block_on(Engine::new(&AdapterChoice::Best))?;
    let (map, features) = (Arc::new(Image::map(&file)?), DenseModel::structure(Structure::default()));
    let (info, pixel_m) = (MapInfo::of(&map)?, map.raster.ground_pixel_size()?.0);
    let layout = Layout::new(&info, features.metres(), 200.0, 0)?;
    build(&engine, &features, &map, &layout, DenseDatabase::writer(&db), |_, _| {})?;

    // For each array.
    let locator = Locator::open(&engine, &db, Options::default())?;
    let answers = locator.locate(&[Query::values(300, 300, array, pixel_m)?], |_, _| {})?;
    let found = answers.into_iter().next().expect("an answer for each")?;
    let place = found.place.expect("it lies on the map");
    println!("{}: {:?}, probability {:.3}", found.verdict.words(), place.lonlat, found.probability.unwrap_or(0.0));
    assert_eq!(found.verdict, Verdict::Here);
    assert!((0..2).all(|d| (place.map_px[d] - [350.0, 400.0][d]).abs() < 6.0), "{:?}", place.map_px);
    Ok(())
}

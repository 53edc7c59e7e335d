//! The search against brute force on the host, over a small synthetic city: overlap-save, normalisation, peaks and statistics at once.

use super::*;
use crate::gpu::{AdapterChoice, Engine, PlanBuilder};
use crate::kernels::sampler::{self, PatchRecord};
use crate::nn::{DenseEncoderConfig, Level, Modality, Skip, Weights};
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::synth::{EPSG, SynthConfig, generate};
use crate::scene::{GeoTransform, Image, MapInfo, PageCache, SampleData, write_geotiff};
use std::sync::Arc;

pub(super) fn engine() -> Engine {
    pollster::block_on(Engine::new(&AdapterChoice::from_option(None))).expect("a GPU adapter (see `make test`)")
}

const SIZE: u32 = 300;
/// Off the shares of whole rows of a window, of which there are many.
const MIN_VALID: f32 = 0.74;

/// A city with a hole in the map, and its SAR image.
fn city() -> (tempfile::TempDir, Arc<Image>, Arc<Image>) {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = generate(&SynthConfig { seed: 11, size: SIZE, ..SynthConfig::default() });
    for y in 100..150 {
        scene.optical[(y * SIZE as usize + 200) * 3..(y * SIZE as usize + 270) * 3].fill(0);
    }
    let geo = GeoTransform::new(scene.geotransform());
    let (map, sar) = (folder.path().join("map.tif"), folder.path().join("sar.tif"));
    write_geotiff(&map, SIZE, SIZE, 3, SampleData::U8(&scene.optical), geo.as_ref(), Some(EPSG), Some(0.0)).unwrap();
    write_geotiff(&sar, SIZE, SIZE, 1, SampleData::U8(&scene.sar), geo.as_ref(), Some(EPSG), Some(0.0)).unwrap();
    let (map, sar) = (Image::map(&map).unwrap(), Image::sar(&sar, None).unwrap());
    (folder, Arc::new(map), Arc::new(sar))
}

/// Features and planes of one record.
fn features(engine: &Engine, model: &DenseModel, image: &Arc<Image>, modality: Modality, side: usize, centre: [f64; 2]) -> [Vec<f32>; 2] {
    let mut cache = PageCache::new(engine, vec![image.clone()], DEFAULT_PAGES).unwrap();
    let e = model.extractor(engine, modality, 1, side).unwrap();
    let record = PatchRecord::new(0, centre, 1.0, 0.0, false, e.input).unwrap();
    cache.require(engine, &[record], e.input).unwrap();
    engine.write(&e.records, &[record]).unwrap();
    let mut builder = PlanBuilder::new(engine);
    sampler::forward(&mut builder, cache.array(), cache.table(), &e.records, 1, false, &e.patches).unwrap();
    let mut plan = builder.finish();
    plan.extend(e.plan.clone());
    plan.submit(engine).unwrap();
    [engine.read(&e.features).unwrap(), engine.read(&e.planes).unwrap()]
}

#[test]
fn a_side_that_levels_do_not_halve_evenly_is_seen_without_data_around_it() {
    let engine = engine();
    let (folder, _, sar) = city();
    // Three levels from random values.
    let (mut file, _) = DenseModel::file_of(None).unwrap();
    let level = |width| Level { width, dilations: vec![1] };
    file.manifest.encoder = DenseEncoderConfig { stem: 1, levels: [8, 12, 16].map(level).into(), skip: Skip::Add, channels: 4 };
    file.tensors.clear();
    for modality in [Modality::Map, Modality::Sar] {
        let (graph, _) = file.manifest.encoder.tower_graph(modality, 1, 24).unwrap();
        file.tensors.extend(Weights::init(&engine, &graph, 3).unwrap().read(&engine).unwrap());
    }
    let path = folder.path().join("model");
    file.save(&path).unwrap();
    let model = DenseModel::learned(Some(&path)).unwrap();
    // The same image with data in 22 x 22 px alone, seen at 24.
    let (centre, inside) = ([131.0, 140.0], 22.0);
    let window = sar.raster.read_window(0, 0, SIZE, SIZE).unwrap();
    let alone: Vec<u8> = (0..SIZE * SIZE)
        .map(|i| {
            let at = [i % SIZE, i / SIZE].map(|v| f64::from(v) + 0.5);
            let within = (0..2).all(|d| (at[d] - centre[d]).abs() < inside / 2.0);
            if within { window.data[i as usize].max(1.0) as u8 } else { 0 }
        })
        .collect();
    let other = folder.path().join("alone.tif");
    let geo = GeoTransform::new([0.0, 1.0, 0.0, 0.0, 0.0, -1.0]);
    write_geotiff(&other, SIZE, SIZE, 1, SampleData::U8(&alone), geo.as_ref(), Some(EPSG), Some(0.0)).unwrap();
    let mut alone = Image::sar(&other, None).unwrap();
    alone.standardisation = sar.standardisation.clone();
    let [small, _] = features(&engine, &model, &sar, Modality::Sar, 22, centre);
    let [large, planes] = features(&engine, &model, &Arc::new(alone), Modality::Sar, 24, centre);
    let mut most = 0.0f32;
    for (i, v) in large.iter().enumerate() {
        let (y, x, c) = (i / 4 / 24, i / 4 % 24, i % 4);
        let within = [y, x].iter().all(|p| (1..23).contains(p));
        assert_eq!(planes[2 * (i / 4) + 1], f32::from(u8::from(within)));
        let expected = if within { small[((y - 1) * 22 + x - 1) * 4 + c] } else { 0.0 };
        most = most.max((v - expected).abs());
    }
    assert!(most < 1e-6 && small.iter().any(|v| v.abs() > 1e-3), "{most}");
}

#[test]
fn finds_what_brute_force_finds() {
    let engine = engine();
    let (_folder, map, sar) = city();
    let model = DenseModel::structure(Structure::default());
    let info = MapInfo::of(&map).unwrap();
    // Blocks of 128 answer for 89 offsets a side, so a map of 300 px needs several; a query smaller than the largest.
    let layout = Layout::new(&info, info.ground_m(), 40.0, 128).unwrap();
    assert_eq!((layout.step, layout.query, layout.offsets()), (1.0, 40, 89));
    let database = build(&engine, &model, &map, &layout, DenseDatabase::temporary(), |_, _| {}).unwrap();
    assert!(database.len() >= 9, "{}", database.len());
    let side = 32;
    let centres = [[100.0, 120.0], [231.0, 60.0], [60.0, 250.0]];
    let records: Vec<PatchRecord> = centres.iter().map(|c| PatchRecord::new(0, *c, 1.0, 0.0, false, side).unwrap()).collect();
    let run = |resident: u64| {
        let matcher = Matcher::new(&engine, &database, &model, resident).unwrap();
        let mut cache = PageCache::new(&engine, vec![sar.clone()], DEFAULT_PAGES).unwrap();
        let config = SearchConfig { top: 3, tiles: true, min_valid: MIN_VALID, ..SearchConfig::default() };
        let mut search = matcher.prepare(&cache, side, 1, 2, config).unwrap();
        search.run(&mut cache, &records, 1, |_, _| {}).unwrap()
    };
    let found = run(u64::MAX);
    // Streamed from the file instead of kept on the device: the same to the bit.
    assert_eq!(found, run(0));

    // The whole map at once; a margin as wide as the database's, a quarter of its largest query.
    let (whole, margin) = (SIZE as usize + 20, 10);
    let [m, planes] = features(&engine, &model, &map, Modality::Map, whole, [f64::from(SIZE) / 2.0; 2]);
    let c = model.channels();
    for (centre, got) in centres.iter().zip(&found) {
        let [q, _] = features(&engine, &model, &sar, Modality::Sar, side, *centre);
        let (mut best, mut sums, mut at) = (f64::NEG_INFINITY, [0.0; 3], [0, 0]);
        // Farther out no window has enough data.
        let end = whole - side + 1;
        let mut scores = vec![f64::NAN; end * end];
        for y in 0..end {
            for x in 0..end {
                let (mut dot, mut energy, mut count) = (0.0f64, 0.0f64, 0.0f64);
                let mut means = vec![0.0f64; c];
                for v in 0..side {
                    for u in 0..side {
                        let p = (y + v) * whole + x + u;
                        count += f64::from(planes[2 * p + 1]);
                        energy += f64::from(planes[2 * p]);
                        for k in 0..c {
                            let a = f64::from(m[p * c + k]);
                            means[k] += a;
                            dot += a * f64::from(q[(v * side + u) * c + k]);
                        }
                    }
                }
                if count < f64::from(MIN_VALID) * (side * side) as f64 {
                    continue;
                }
                energy -= means.iter().map(|s| s * s).sum::<f64>() / count;
                let score = dot / energy.sqrt();
                scores[y * end + x] = score;
                sums = [sums[0] + 1.0, sums[1] + score, sums[2] + score * score];
                if score > best {
                    (best, at) = (score, [x, y]);
                }
            }
        }
        // Counts of valid pixels come back from f16 spectra: places within rounding of the limit may go either way.
        assert!((got.offsets - sums[0]).abs() < 1e-3 * sums[0], "{} {}", got.offsets, sums[0]);
        let mean = sums[1] / sums[0];
        let noise = (sums[2] / sums[0] - mean * mean).sqrt();
        // Spectra are stored in f16: 2^-11 of each value, at random; energy and dot product are off by about that share of their scale.
        assert!((got.mean - mean).abs() < 1e-3 && (got.noise - noise).abs() < 2e-3, "{} {mean} {} {noise}", got.mean, got.noise);
        let peak = got.peaks[0];
        let place = [0, 1].map(|d| at[d] as f64 - f64::from(margin) + side as f64 / 2.0);
        assert!((0..2).all(|d| (peak.map_px[d] - place[d]).abs() <= 1.0), "{peak:?} {place:?}");
        assert!((f64::from(peak.score) - best).abs() < 0.02, "{peak:?} {best}");
        let tiles = got.tiles.as_ref().unwrap();
        for (p, score) in tiles {
            let x = (f64::from(p[0]) + f64::from(margin) - side as f64 / 2.0).round() as usize;
            let y = (f64::from(p[1]) + f64::from(margin) - side as f64 / 2.0).round() as usize;
            assert!((f64::from(*score) - scores[y * end + x]).abs() < 0.02);
        }
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let engine = engine();
    let (folder, map, _) = city();
    let model = DenseModel::structure(Structure::default());
    let info = MapInfo::of(&map).unwrap();
    let layout = Layout::new(&info, 2.0 * info.ground_m(), 60.0, 64).unwrap();
    let path = folder.path().join("city.dense");
    let database = build(&engine, &model, &map, &layout, DenseDatabase::writer(&path), |_, _| {}).unwrap();
    assert!(DenseDatabase::is_one(&path) && !DenseDatabase::is_one(&folder.path().join("map.tif")));
    let again = DenseDatabase::open(&path).unwrap();
    assert_eq!((again.len(), &again.manifest), (database.len(), &database.manifest));
    let other = DenseModel::structure(Structure { power: 0.5, ..Structure::default() });
    let text = Matcher::new(&engine, &again, &other, 0).unwrap_err().to_string();
    assert!(text.contains("was made with structure features"), "{text}");
    let text = layout.query_side(100.0).unwrap_err().to_string();
    assert!(text.contains("larger than the database was made for (60)"), "{text}");
    let text = layout.query_side(10.0).unwrap_err().to_string();
    assert!(text.contains("use a larger --patch"), "{text}");
    assert!(Layout::new(&info, info.ground_m(), 60.0, 100).unwrap_err().to_string().contains("power of two"));
    let cut = std::fs::read(&path).unwrap();
    std::fs::write(&path, &cut[..cut.len() / 2]).unwrap();
    assert!(DenseDatabase::open(&path).unwrap_err().to_string().contains("make the database anew"));
}

#[test]
fn a_closer_look_stays_where_the_coarse_search_was_right() {
    let engine = engine();
    let (_folder, map, sar) = city();
    let model = DenseModel::structure(Structure::default());
    let info = MapInfo::of(&map).unwrap();
    let layout = Layout::new(&info, 2.0 * info.ground_m(), 80.0, 128).unwrap();
    let database = build(&engine, &model, &map, &layout, DenseDatabase::temporary(), |_, _| {}).unwrap();
    let matcher = Matcher::new(&engine, &database, &model, u64::MAX).unwrap();
    let mut cache = PageCache::new(&engine, vec![sar.clone()], DEFAULT_PAGES).unwrap();
    let centre = [111.0, 190.0];
    let record = PatchRecord::new(0, centre, 2.0, 0.0, false, 40).unwrap();
    let mut search = matcher.prepare(&cache, 40, sampler::taps_for(2.0), 1, SearchConfig::default()).unwrap();
    let found = search.run(&mut cache, &[record], 1, |_, _| {}).unwrap().remove(0);
    let pose = (centre, [[1.0, 0.0], [0.0, 1.0]]);
    let closer = Closer::than(&database);
    assert!((closer.metres - info.ground_m()).abs() < 1e-9);
    let fine = closer.look(&engine, &model, &map, &mut cache, &database, pose, 80.0, &found).unwrap();
    for m in [&found, &fine] {
        // Map and SAR image of the city share their grid; the features are blurred over some pixels.
        assert!((0..2).all(|d| (m.peaks[0].map_px[d] - centre[d]).abs() < 3.0), "{:?}", m.peaks);
    }
    assert!((fine.offsets / found.offsets - 4.0).abs() < 1e-9);
    let coarser = Closer { metres: 3.0 * info.ground_m(), ..closer };
    let text = coarser.look(&engine, &model, &map, &mut cache, &database, pose, 80.0, &found).unwrap_err().to_string();
    assert!(text.contains("must be finer"), "{text}");
}

//! On a small synthetic city: what batches hold, that the loss falls, that an interrupted run goes on to the same bits.

use super::batch::Batch;
use super::*;
use crate::gpu::AdapterChoice;
use crate::nn::{DenseFile, Level, Skip};
use crate::scene::synth::{EPSG, SynthConfig, generate};
use crate::scene::{GeoTransform, SampleData, write_geotiff};
use crate::train::InitFrom;
use std::sync::atomic::Ordering;

pub(in crate::train) fn engine() -> Engine {
    pollster::block_on(Engine::new(&AdapterChoice::from_option(None))).expect("a GPU adapter (see `make test`)")
}

pub(in crate::train) const SIZE: u32 = 480;

/// A city in a folder of its own.
pub(in crate::train) fn city() -> (tempfile::TempDir, ScenePair) {
    let folder = tempfile::tempdir().unwrap();
    let scene = generate(&SynthConfig { seed: 5, size: SIZE, ..SynthConfig::default() });
    let geo = GeoTransform::new(scene.geotransform());
    let (map, sar) = (folder.path().join("map.tif"), folder.path().join("sar.tif"));
    write_geotiff(&map, SIZE, SIZE, 3, SampleData::U8(&scene.optical), geo.as_ref(), Some(EPSG), Some(0.0)).unwrap();
    write_geotiff(&sar, SIZE, SIZE, 1, SampleData::U8(&scene.sar), geo.as_ref(), Some(EPSG), Some(0.0)).unwrap();
    let pair = ScenePair::open(&map, &sar, None).unwrap();
    (folder, pair)
}

fn small() -> DenseTrainConfig {
    DenseTrainConfig {
        encoder: DenseEncoderConfig {
            stem: 1,
            levels: vec![Level { width: 8, dilations: vec![] }, Level { width: 8, dilations: vec![1] }],
            skip: Skip::Add,
            channels: 4,
        },
        windows: 2,
        window: 32,
        patches: 4,
        patch: 16,
        epochs: 3,
        steps: 4,
        hard_from: 1,
        hard: 0.5,
        validate_every: 3,
        validate_patches: 6,
        validate_patch: 16,
        validate_windows: 3,
        validate_window: 32,
        checkpoint_every: 5,
        ..DenseTrainConfig::default()
    }
}

#[test]
fn the_rate_rises_holds_and_falls_as_a_cosine() {
    let config = DenseTrainConfig { epochs: 10, steps: 10, warmup: 0.1, hold: 0.5, ..small() };
    let rates: Vec<f64> = (0..100).map(|s| config.learning_rate(s) / config.optimizer.lr).collect();
    assert_eq!([rates[0], rates[4], rates[9]], [0.1, 0.5, 1.0]);
    assert!(rates[9..60].iter().all(|r| *r == 1.0) && rates[60] < 1.0, "{rates:?}");
    assert!((rates[79] - 0.5).abs() < 1e-12 && rates[99] < 1e-12, "{rates:?}");
    assert!(!config.holds_after(9) && config.holds_after(10) && config.holds_after(60) && !config.holds_after(61));
    let error = DenseTrainConfig { hold: 0.95, ..config }.check().unwrap_err().to_string();
    assert!(error.contains("hold is a share, 0 to 1 less warmup"), "{error}");
}

fn windows(city: &ScenePair, augment: DenseAugment) -> Windows<'_> {
    let sizes = Sizes { windows: 4, window: 64, patches: 8, patch: 24 };
    let pixel_m = 2.0 / map_scale(city, 1.0).unwrap();
    Windows::new(std::slice::from_ref(city), &[], pixel_m, sizes, augment, 3).unwrap()
}

/// Centre of a record in pixels, and its matrix.
fn pose(r: &sampler::PatchRecord) -> ([f64; 2], [f64; 4]) {
    let fixed = |v: f64| v / 65536.0;
    let sub = [f64::from(r.sub & 0xffff), f64::from(r.sub >> 16)];
    ([f64::from(r.x) + fixed(sub[0]), f64::from(r.y) + fixed(sub[1])], r.affine.map(|a| fixed(f64::from(a))))
}

#[test]
fn patches_lie_where_their_targets_say() {
    let still = DenseAugment { relative_rotation_deg: 0.0, relative_scale: 0.0, ..DenseAugment::default() };
    let (_folder, city) = city();
    let all = windows(&city, still);
    for step in 0..8 {
        let b: Batch = all.batch(step, &[], 0.0).unwrap();
        assert_eq!((b.map.len(), b.sar.len(), b.targets.len(), b.places.len()), (4, 8, 32, 4));
        for (sar, t) in b.sar.iter().zip(b.targets.chunks(4)) {
            let (middle, m) = pose(&b.map[t[2] as usize]);
            let (at, n) = pose(sar);
            let d = [t[1], t[0]].map(|o| f64::from(o) + 12.0 - 32.0);
            // The city's two images share their pixels. A window's matrix is rounded to 2^-17 a pixel, times 32 pixels and two terms.
            for i in 0..2 {
                assert!((middle[i] + m[2 * i] * d[0] + m[2 * i + 1] * d[1] - at[i]).abs() < 1e-3, "{t:?}: {middle:?} {at:?}");
            }
            assert!(m.iter().zip(n).all(|(a, b)| (a - b).abs() < 1e-3), "one transform: {m:?} {n:?}");
            let square = (m[0] * m[3] - m[1] * m[2]).abs().sqrt();
            assert!((1.93..2.07).contains(&square), "two map pixels: {square}");
        }
        for (i, a) in b.places.iter().enumerate() {
            for c in &b.places[..i] {
                assert!((0..2).any(|k| (a.map_px[k] - c.map_px[k]).abs() >= 128.0), "{a:?} and {c:?} share ground");
            }
        }
    }
}

#[test]
fn batches_hang_on_seed_and_step_alone() {
    let (_folder, city) = city();
    let [a, b] = [0; 2].map(|_| windows(&city, DenseAugment::default()));
    assert_eq!(a.batch(7, &[], 0.0).unwrap().sar, b.batch(7, &[], 0.0).unwrap().sar);
    assert_ne!(a.batch(7, &[], 0.0).unwrap().sar, b.batch(8, &[], 0.0).unwrap().sar);
    let hard = [Place { scene: 0, map_px: [100.0, 380.0] }];
    let near = a.batch(7, &hard, 0.25).unwrap();
    assert!((0..2).all(|k| (near.places[0].map_px[k] - hard[0].map_px[k]).abs() <= 40.0), "{:?}", near.places);
    assert_eq!(near.places.len(), 4);
    // A hard place beside one that is taken does not hold the batch up.
    assert_eq!(a.batch(7, &hard, 1.0).unwrap().places.len(), 4);
    let wide = Sizes { windows: 8, window: 128, patches: 8, patch: 24 };
    let pixel_m = 2.0 / map_scale(&city, 1.0).unwrap();
    let crowded = Windows::new(std::slice::from_ref(&city), &[], pixel_m, wide, DenseAugment::none(), 3).unwrap();
    let e = crowded.batch(0, &[], 0.0).unwrap_err().to_string();
    assert!(e.contains("8 windows of 256 map pixels") && e.contains("fewer or smaller windows"), "{e}");
    assert!((1..8).contains(&crowded.fixed().unwrap().places.len()));
}

#[test]
fn scenes_are_drawn_by_their_shares() {
    let ((_one, a), (_other, b)) = (city(), city());
    let (scenes, sizes) = ([a, b], Sizes { windows: 2, window: 64, patches: 4, patch: 24 });
    let pixel_m = 2.0 / map_scale(&scenes[0], 1.0).unwrap();
    let drawn = |shares: &[f64]| {
        let windows = Windows::new(&scenes, shares, pixel_m, sizes, DenseAugment::none(), 3).unwrap();
        (0..100).flat_map(|step| windows.batch(step, &[], 0.0).unwrap().places).filter(|p| p.scene == 1).count()
    };
    // Of 200 windows; a deviation of the halves is 7, of the quarter 6.
    assert!(drawn(&[0.0, 2.0]) == 200 && drawn(&[]).abs_diff(100) < 28 && drawn(&[3.0, 1.0]).abs_diff(50) < 24);
    let e = Windows::new(&scenes, &[1.0], pixel_m, sizes, DenseAugment::none(), 3).unwrap_err().to_string();
    assert!(e.contains("shares names 1 scenes") && e.contains("there are 2"), "{e}");
    let e = DenseTrainConfig { shares: vec![0.0, 0.0], ..small() }.check().unwrap_err().to_string();
    assert!(e.contains("shares must be"), "{e}");
}

#[test]
fn hard_places_are_the_worst_but_the_hopeless() {
    let place = |i: usize| Place { scene: 0, map_px: [i as f64, 0.0] };
    let mut memory = Memory { seen: (0..20).map(|i| (place(i), (i * 7 % 20) as f32)).collect(), hard: Vec::new() };
    memory.seen.push((place(99), f32::NAN));
    memory.turn();
    // Losses 19 and 18 are hopeless, 17 to 13 hard.
    let want: Vec<Place> = (13..18).rev().map(|l| place((0..20).find(|i| i * 7 % 20 == l).unwrap())).collect();
    assert_eq!(memory, Memory { seen: Vec::new(), hard: want });
}

#[test]
fn senseless_settings_are_refused_by_name() {
    let says = |change: fn(&mut DenseTrainConfig), word: &str| {
        let mut c = DenseTrainConfig::default();
        change(&mut c);
        let e = c.check().unwrap_err().to_string();
        assert!(e.contains(word), "{e}");
    };
    DenseTrainConfig::default().check().unwrap();
    small().check().unwrap();
    says(|c| c.window = 96, "window must be a power of two");
    says(|c| c.patch = 47, "patch must be above 0 and a multiple of 2");
    says(|c| c.patches = 14, "patches must be as many");
    says(|c| c.windows = 3, "even");
    says(|c| c.encoder.levels.clear(), "one to six levels");
    says(|c| c.logit_scale = 1001.0, "logit_scale");
    says(|c| c.augment.scale = f64::NAN, "augment.scale");
    says(|c| c.pixel_m = -1.0, "pixel_m must be 0 or above");
    says(|c| c.optimizer.lr = 0.0, "optimizer.lr");
    // What a file leaves out of the optimiser is this training's.
    let said: DenseTrainConfig = toml::from_str("optimizer = { clip = 1.5 }").unwrap();
    assert_eq!(said.optimizer, crate::nn::OptimizerConfig { clip: 1.5, ..DenseTrainConfig::default().optimizer });
    let config = small();
    assert_eq!(toml::from_str::<DenseTrainConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
    assert_eq!(serde_json::from_value::<DenseTrainConfig>(serde_json::to_value(&config).unwrap()).unwrap(), config);
}

/// Trains; stops after so many steps where asked.
fn go(
    engine: &Engine,
    city: &ScenePair,
    config: &DenseTrainConfig,
    out: &Path,
    resume: bool,
    stop_at: Option<usize>,
) -> (Outcome, Vec<f32>) {
    let stop = AtomicBool::new(false);
    let mut losses = Vec::new();
    let outcome = train_dense(engine, config, std::slice::from_ref(city), city, out, resume, &stop, |event| match event {
        Event::Step { step, loss, accuracy, .. } => {
            assert!((0.0..=1.0).contains(&accuracy.unwrap()));
            losses.push(loss);
            stop.store(stop_at.is_some_and(|s| step >= s), Ordering::Relaxed);
        }
        Event::Validation { figures, .. } => {
            assert_eq!(figures["patches"], 6, "{figures}");
            assert!((0.0..=1.0).contains(&figures["found"].as_f64().unwrap()), "{figures}");
        }
        _ => {}
    });
    (outcome.unwrap(), losses)
}

#[test]
fn what_is_exported_is_what_is_trained_on() {
    let (folder, city) = city();
    let export = |config: &DenseTrainConfig, to: &Path| export_dense(&engine(), config, std::slice::from_ref(&city), &city, to, |_| {});
    let config = DenseTrainConfig { epochs: 1, steps: 2, validate_every: 1, hard: 0.0, ..small() };
    let to = folder.path().join("batches");
    export(&config, &to).unwrap();
    let bytes = std::fs::read(to.join("batches-00000.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let shape = |name: &str| file.tensor(name).unwrap().shape().to_vec();
    assert_eq!([shape("map"), shape("sar"), shape("target")], [vec![2, 2, 32, 32, 4], vec![2, 4, 16, 16, 4], vec![2, 4, 4]]);
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(to.join("manifest.json")).unwrap()).unwrap();
    // The run's own first step is this one.
    let losses = go(&engine(), &city, &config, &folder.path().join("model"), false, None).1;
    assert_eq!(manifest["losses"][0].as_f64().unwrap() as f32, losses[0]);
    let e = export(&config, &to).unwrap_err().to_string();
    assert!(e.contains("is not empty"), "{e}");
    let e = export(&small(), &folder.path().join("hard")).unwrap_err().to_string();
    assert!(e.contains("hard = 0"), "{e}");
}

#[test]
fn the_loss_falls() {
    let (folder, city) = city();
    let still = DenseAugment {
        relative_rotation_deg: 0.0,
        relative_scale: 0.0,
        speckle_looks: 0,
        quarter_turns: false,
        mirror: false,
        ..DenseAugment::default()
    };
    let mut config = DenseTrainConfig { window: 64, patches: 8, patch: 32, radius: 2.0, augment: still, hard: 0.0, ..small() };
    (config.epochs, config.steps, config.validate_every, config.optimizer.lr) = (1, 60, 1, 0.01);
    let (outcome, losses) = go(&engine(), &city, &config, &folder.path().join("model"), false, None);
    assert_eq!(outcome, Outcome::Finished);
    let mean = |l: &[f32]| l.iter().sum::<f32>() / l.len() as f32;
    let (first, last) = (mean(&losses[..10]), mean(&losses[50..]));
    println!("loss {first} at first, {last} at last");
    // Chance is the logarithm of 33 x 33 offsets of two windows over the disc's 13: 5.12.
    assert!(last < 0.75 * first, "{first} {last}");
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bits() {
    let ((folder, city), engine, config) = (city(), engine(), small());
    let [whole, broken] = ["whole", "broken"].map(|n| folder.path().join(n));
    assert_eq!(go(&engine, &city, &config, &whole, false, None).0, Outcome::Finished);
    // In the second pass, whose hard windows hang on the first one's losses; and again in the third.
    assert!(matches!(go(&engine, &city, &config, &broken, false, Some(5)).0, Outcome::Stopped { .. }));
    let e = train_dense(
        &engine,
        &DenseTrainConfig { seed: 2, ..config.clone() },
        std::slice::from_ref(&city),
        &city,
        &broken,
        true,
        &AtomicBool::new(false),
        |_| {},
    );
    assert!(e.unwrap_err().to_string().contains("another configuration"));
    assert!(matches!(go(&engine, &city, &config, &broken, true, Some(9)).0, Outcome::Stopped { .. }));
    assert_eq!(go(&engine, &city, &config, &broken, true, None).0, Outcome::Finished);
    let (a, b) = (std::fs::read(&whole).unwrap(), std::fs::read(&broken).unwrap());
    assert!(a == b, "resumed weights differ");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 4);

    let file = DenseFile::load(&whole).unwrap();
    assert_eq!(file.manifest.encoder, config.encoder);
    assert!(file.manifest.pixel_m.unwrap() > 0.0 && !file.tensors.contains_key("loss.log_scale"));
    let e = crate::index::LoadedModel::load(Some(&whole)).unwrap_err().to_string();
    assert!(e.contains("is a dense-model") && e.contains("where a model is wanted"), "{e}");
}

#[test]
fn a_run_is_made_longer_while_its_rate_holds() {
    let ((folder, city), engine) = (city(), engine());
    let out = folder.path().join("model");
    let config = DenseTrainConfig { warmup: 0.0, hold: 0.5, ..small() };
    assert!(matches!(go(&engine, &city, &config, &out, false, Some(5)).0, Outcome::Stopped { .. }));
    let longer = DenseTrainConfig { epochs: 4, validate_every: 4, ..config.clone() };
    let refused = |config: &DenseTrainConfig| {
        let stop = AtomicBool::new(false);
        let e = train_dense(&engine, config, std::slice::from_ref(&city), &city, &out, true, &stop, |_| {}).unwrap_err().to_string();
        assert!(e.contains("another configuration"), "{e}");
    };
    refused(&longer);
    let longer = DenseTrainConfig { epochs: 4, ..config.clone() };
    let (outcome, losses) = go(&engine, &city, &longer, &out, true, Some(9));
    assert!(matches!(outcome, Outcome::Stopped { .. }) && losses.len() == 4, "{losses:?}");
    // Now it falls.
    refused(&DenseTrainConfig { epochs: 5, ..config });
    assert_eq!(go(&engine, &city, &longer, &out, true, None).0, Outcome::Finished);
}

#[test]
fn a_run_starts_from_a_model() {
    let ((folder, city), engine, config) = (city(), engine(), small());
    let [first, second] = ["first", "second"].map(|n| folder.path().join(n));
    assert_eq!(go(&engine, &city, &config, &first, false, None).0, Outcome::Finished);
    let model = DenseFile::load(&first).unwrap();
    assert_eq!(model.manifest.init_hash, None);
    // Other seed, no learning to speak of: another start would show.
    let mut on = DenseTrainConfig { seed: 9, epochs: 1, init_from: Some(InitFrom::File(first.clone())), ..config.clone() };
    on.optimizer.lr = 1e-12;
    // Interrupted, so that a resumed run says too where it came from.
    assert!(matches!(go(&engine, &city, &on, &second, false, Some(2)).0, Outcome::Stopped { .. }));
    assert_eq!(go(&engine, &city, &on, &second, true, None).0, Outcome::Finished);
    let next = DenseFile::load(&second).unwrap();
    assert_eq!(next.manifest.init_hash, Some(model.hash()));
    for (name, (_, values)) in model.tensors.iter().filter(|(n, _)| n.ends_with("conv.weight")) {
        assert!(next.tensors[name].1.iter().zip(values).all(|(a, b)| (a - b).abs() < 1e-6), "{name}");
    }
    let mut other = on.clone();
    other.encoder.channels = 6;
    let start = |c: &DenseTrainConfig| {
        let (out, stop) = (folder.path().join("third"), AtomicBool::new(false));
        train_dense(&engine, c, std::slice::from_ref(&city), &city, &out, false, &stop, |_| {}).unwrap_err().to_string()
    };
    let e = start(&other);
    assert!(e.contains("first") && e.contains("of another network") && e.contains("[encoder]\nstem = 1"), "{e}");
    on.init_from = Some(InitFrom::File(folder.path().join("map.tif")));
    assert!(start(&on).contains("map.tif"));
}

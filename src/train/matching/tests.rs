//! Matching models on small synthetic pairs: what batches hold, that they are learnt, and that a run goes on to the same bits.

use super::batch::Drawer;
use super::*;
use crate::matching::MatchModel;
use crate::nn::{Architecture, BridgeFile, EncoderConfig, Head, Sharing, Stage, WeightFile};
use crate::pairs::PairSet;
use crate::random::Random;
use crate::scene::{SampleData, write_geotiff};
use crate::train::dense::tests::engine;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Pairs of `side` px in two folders: ground of another brightness each, with waves of another length, height and direction; dark where SAR is
/// bright, with noise of their own.
pub(super) fn folders(count: usize, side: u32) -> (tempfile::TempDir, [PathBuf; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let both = ["sar", "opt"].map(|name| dir.path().join(name));
    both.iter().for_each(|f| std::fs::create_dir(f).unwrap());
    for i in 0..count {
        let mut random = Random::new(i as u64, 5);
        let (ground, height, length) = (random.range(-50.0, 50.0), random.range(6.0, 60.0), random.range(4.0, 16.0));
        let (sin, cos) = random.range(0.0, std::f64::consts::PI).sin_cos();
        let at = |p: u32| {
            let along = f64::from(p % side) * cos + f64::from(p / side) * sin;
            ground + height * (std::f64::consts::TAU * along / length).sin()
        };
        let mut noisy = |v: f64| (128.0 + v + random.range(-8.0, 8.0)) as u8;
        let sar: Vec<u8> = (0..side * side).map(|p| noisy(-at(p))).collect();
        let optical: Vec<u8> = (0..side * side).flat_map(|p| [noisy(at(p)), noisy(at(p)), noisy(at(p))]).collect();
        let name = format!("{i}.tif");
        write_geotiff(both[0].join(&name), side, side, 1, SampleData::U8(&sar), None, None, None).unwrap();
        write_geotiff(both[1].join(&name), side, side, 3, SampleData::U8(&optical), None, None, None).unwrap();
    }
    (dir, both)
}

fn small() -> MatchTrainConfig {
    let architecture = Architecture::Residual { stem: vec![8], stages: vec![Stage { channels: 12, blocks: 1, stride: 2, dilation: 1 }] };
    MatchTrainConfig {
        encoder: EncoderConfig::new(
            architecture,
            16,
            Sharing::Separate,
            Head::Bounded { channels: 12, hidden: 12, dim: 8, cells: 2, norm: true },
        ),
        batch: 6,
        epochs: 2,
        steps: 4,
        validate_every: 2,
        checkpoint_every: 3,
        ..MatchTrainConfig::default()
    }
}

fn train(config: &MatchTrainConfig, [scene, val]: [&PairScene; 2], out: &Path, resume: bool, until: usize) -> Vec<f32> {
    let stop = AtomicBool::new(false);
    let mut losses = Vec::new();
    let told = |event| {
        if let Event::Step { step, loss, accuracy, .. } = event {
            assert!(accuracy.is_some_and(|a| (0.0..=1.0).contains(&a)));
            losses.push(loss);
            stop.store(step >= until, Ordering::Relaxed);
        }
    };
    train_matching(&engine(), config, scene, val, out, resume, &stop, told).unwrap();
    losses
}

#[test]
fn a_run_goes_on_to_the_same_bits_and_leaves_a_model_with_its_threshold() {
    let (folder, [sar, optical]) = folders(14, 32);
    let (scene, val) = PairSet::folders(&sar, &optical).unwrap().split(0.35, 1);
    let (scene, val) = (scene.scene(1.0).unwrap(), val.scene(1.0).unwrap());
    let config = small();
    let [whole, parts] = ["whole", "parts"].map(|n| folder.path().join(n));
    let losses = train(&config, [&scene, &val], &whole, false, usize::MAX);
    assert!(losses.len() == 8 && losses.iter().all(|l| l.is_finite() && *l > 0.0), "{losses:?}");
    train(&config, [&scene, &val], &parts, false, 5);
    train(&config, [&scene, &val], &parts, true, usize::MAX);
    let [a, b] = [&whole, &parts].map(|p| BridgeFile::load(p).unwrap());
    assert!(!a.tensors.is_empty() && a.tensors == b.tensors, "resumed weights differ");
    let model = MatchModel::load(Some(&whole)).unwrap();
    assert_eq!((model.network().patch, model.threshold().unwrap().pairs), (32, val.places.len()));
    assert!(model.line() > 0.0 && model.line() < 1.1, "{}", model.line());
    // Settings are in the manifest, and a model of one kind is not taken for one of another.
    assert_eq!(serde_json::from_value::<MatchTrainConfig>(a.manifest.training).unwrap(), config);
    let e = WeightFile::load(&whole).unwrap_err().to_string();
    assert!(e.contains("is a matching model") && e.contains("--match"), "{e}");
    // The same vectors come out of the file.
    let engine = engine();
    let embedder = model.embedder(&engine, 4, Precision::Full).unwrap();
    let spots = Spots::new(&val, 32, 1, SEED).unwrap();
    let found = Distances::new(distances(&embedder, model.network(), &val, &spots).unwrap(), 1).unwrap();
    assert_eq!(found.confusion(model.line()).accuracy(), model.threshold().unwrap().accuracy);
}

/// A network that cannot tell pairs from others does best where all distances are a half: its loss is 1/4.
#[test]
fn pairs_are_learnt() {
    let (folder, [sar, optical]) = folders(24, 32);
    let scene = PairSet::folders(&sar, &optical).unwrap().scene(1.0).unwrap();
    let base = small();
    let config = MatchTrainConfig {
        batch: 16,
        epochs: 8,
        steps: 40,
        validate_every: 8,
        optimizer: crate::nn::OptimizerConfig { lr: 4e-3, ..base.optimizer },
        augment: MatchAugment { gain: 0.0, offset: 0.0, speckle_looks: 0, ..base.augment },
        ..base
    };
    let out = folder.path().join("model");
    let losses = train(&config, [&scene, &scene], &out, false, usize::MAX);
    let [first, last] = [&losses[..10], &losses[280..]].map(|l| l.iter().sum::<f32>() / l.len() as f32);
    let accuracy = MatchModel::load(Some(&out)).unwrap().threshold().unwrap().accuracy;
    assert!(last < 0.25 * first && accuracy > 0.9, "{first} to {last}, {accuracy}");
}

#[test]
fn batches_hold_what_is_asked() {
    let (_folder, [sar, optical]) = folders(9, 48);
    let scene = PairSet::folders(&sar, &optical).unwrap().scene(1.0).unwrap();
    let mut config = small();
    config.bridge.negatives = 2;
    config.augment = MatchAugment { gain: 0.0, offset: 0.0, mixing: 0.0, grey: 0.0, noise: 0.0, speckle_looks: 0, ..config.augment };
    let drawer = Drawer::new(&scene, &config, 24).unwrap();
    let mut turned = std::collections::BTreeSet::new();
    for step in 0..30 {
        let batch = drawer.batch(step).unwrap();
        assert_eq!(batch, drawer.batch(step).unwrap());
        assert_eq!((batch.map.len(), batch.sar.len(), batch.partners.len()), (6, 6, 12));
        let at = |r: &crate::kernels::sampler::PatchRecord| {
            [f64::from(r.x) + f64::from(r.sub & 0xffff) / 65536.0, f64::from(r.y) + f64::from(r.sub >> 16) / 65536.0]
        };
        let pair_of = |p: [f64; 2]| {
            let inside = |p: f64, from: u32, length: u32| p >= f64::from(from) + 12.0 && p <= f64::from(from + length) - 12.0;
            scene.places.iter().position(|q| inside(p[0], q.x, q.width) && inside(p[1], q.y, q.height)).expect("within a pair")
        };
        for (i, (map, sar)) in batch.map.iter().zip(&batch.sar).enumerate() {
            // One grid, turned and mirrored alike.
            assert!((0..2).all(|d| (at(map)[d] - at(sar)[d]).abs() < 1e-3), "step {step}");
            assert!(map.affine.iter().zip(&sar.affine).all(|(a, b)| (a - b).abs() <= 2), "{:?} {:?}", map.affine, sar.affine);
            turned.insert(map.affine.map(i32::signum));
            for j in &batch.partners[2 * i..2 * i + 2] {
                let (a, b) = (at(map), at(&batch.map[*j as usize]));
                let apart = (0..2).any(|d| (a[d] - b[d]).abs() >= 24.0 - 1e-3);
                let (p, q) = (pair_of(a), pair_of(b));
                assert!(*j as usize != i && apart && (p == q || p.abs_diff(q) > 1), "{p} and {q}");
            }
        }
    }
    assert_eq!(turned.len(), 8, "four turns, mirrored or not");
    let e = Drawer::new(&scene, &config, 49).unwrap_err().to_string();
    assert!(e.contains("pair `0` is 48x48 px, smaller than `patch` = 49"), "{e}");
    let e = Drawer::new(&scene, &MatchTrainConfig { batch: 10, ..config.clone() }, 48).unwrap_err().to_string();
    assert!(e.contains("9 pairs hold 9 patches of 48 px"), "{e}");
}

#[test]
fn what_is_exported_is_what_is_trained_on() {
    let (folder, [sar, optical]) = folders(12, 32);
    let (scene, val) = PairSet::folders(&sar, &optical).unwrap().split(0.4, 1);
    let (scene, val) = (scene.scene(1.0).unwrap(), val.scene(1.0).unwrap());
    let config = MatchTrainConfig { epochs: 1, steps: 2, ..small() };
    let to = folder.path().join("export");
    export_matching(&engine(), &config, &scene, &val, &to, |_| {}).unwrap();
    let read = |name: &str| std::fs::read(to.join(name)).unwrap();
    let bytes = read("batches-00000.safetensors");
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!((file.tensor("map").unwrap().shape(), file.tensor("partners").unwrap().shape()), (&[2, 6, 16, 16, 4][..], &[2, 6][..]));
    let bytes = read("judge.safetensors");
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("sar").unwrap().shape(), [val.places.len(), 16, 16, 4]);
    let start = read("start.safetensors");
    let names = safetensors::SafeTensors::deserialize(&start).unwrap();
    assert!(names.names().contains(&"sar.fc2.weight") && names.names().contains(&"map.project.bias"));
    let e = export_matching(&engine(), &config, &scene, &val, &to, |_| {}).unwrap_err().to_string();
    assert!(e.contains("is not empty"), "{e}");
}

#[test]
fn odd_settings_are_refused_by_name() {
    for (change, words) in [
        ((|c| c.encoder.head = Head::Grid { cells: 2, channels: 4 }) as fn(&mut MatchTrainConfig), "`bounded`"),
        (|c| c.batch = 3, "at least 4"),
        (|c| c.bridge.negatives = 0, "bridge.negatives"),
        (|c| c.bridge.negatives = c.batch, "bridge.negatives"),
        (|c| c.bridge.alpha = 0.0, "bridge.alpha"),
        (|c| c.bridge.eps = f32::NAN, "bridge.eps"),
        (|c| c.contrast = -1.0, "contrast"),
        (|c| c.encoder.head = Head::Bounded { channels: 12, hidden: 12, dim: 8, cells: 0, norm: true }, "cells"),
        (|c| c.epochs = 0, "epochs"),
    ] {
        let mut config = small();
        change(&mut config);
        let e = config.check().unwrap_err().to_string();
        assert!(e.contains(words), "{e}");
    }
    let bounded = crate::train::TrainConfig { encoder: small().encoder, ..Default::default() };
    let e = bounded.check().unwrap_err().to_string();
    assert!(e.contains("--match"), "{e}");
}

#[test]
fn the_published_networks_are_described() {
    let studies = Path::new(env!("CARGO_MANIFEST_DIR")).join("studies");
    for (name, architecture) in [("match-resnet50.toml", Architecture::Resnet50), ("match-darknet53.toml", Architecture::Darknet53)] {
        let config = MatchTrainConfig::load(&studies.join(name)).unwrap();
        assert_eq!((config.encoder.architecture, config.encoder.head, config.contrast), (architecture, Head::bounded(), 0.0));
    }
    // What `study ships` starts the small detectors from has their trunk.
    let small = MatchTrainConfig::load(&studies.join("match-small.toml")).unwrap();
    let detectors = crate::train::RecipeOfDetectors::load(&studies.join("ships-small.toml")).unwrap();
    let plain = crate::train::RecipeOfDetectors::default();
    assert_eq!(small.encoder.architecture, plain.yolo3.detector.architecture);
    let heads = |r: &crate::train::RecipeOfDetectors| [&r.yolo3, &r.faster_rcnn].map(|c| (c.detector.head.clone(), c.sampling));
    assert_eq!(heads(&detectors), heads(&plain), "the small detectors' heads are the default ones");
}

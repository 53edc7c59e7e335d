//! Detectors on small synthetic images: that they learn, that a run goes on to the same bits, and that trunks start others.

use super::*;
use crate::detect::synthetic;
use crate::nn::{Architecture, DetectorFile, FasterRcnn, Stage, Yolo3};
use crate::scene::OpenOptions;
use crate::train::dense::tests::engine;
use std::sync::atomic::Ordering;

/// Twelve images of 64 px with ships, in a folder.
fn ships() -> (tempfile::TempDir, AnnotatedImages) {
    let dir = tempfile::tempdir().unwrap();
    synthetic::draw(12, 64, 3).write(dir.path()).unwrap();
    let [images, annotations] = [synthetic::IMAGES, synthetic::ANNOTATIONS].map(|n| dir.path().join(n));
    let data = AnnotatedImages::open(&images, &annotations, &OpenOptions::default(), None).unwrap();
    (dir, data)
}

fn yolo(detector: &DetectorConfig) -> Yolo3 {
    match &detector.head {
        DetectorHead::Yolo3(yolo) => yolo.clone(),
        other => panic!("{other:?}"),
    }
}

fn small() -> DetectTrainConfig {
    let plain = DetectTrainConfig::default();
    let stage = |channels| Stage { channels, blocks: 1, stride: 2, dilation: 1 };
    let yolo = yolo(&plain.detector);
    let detector = DetectorConfig {
        architecture: Architecture::Residual { stem: vec![8], stages: vec![stage(12), stage(16)] },
        input: 64,
        head: DetectorHead::Yolo3(Yolo3 { widths: vec![8, 12], ..yolo }),
        ..plain.detector
    };
    DetectTrainConfig { detector, batch: 4, epochs: 2, steps: 3, validate_every: 2, checkpoint_every: 2, ..plain }
}

fn train(config: &DetectTrainConfig, data: &AnnotatedImages, out: &Path, resume: bool, until: usize) -> Vec<f32> {
    let stop = AtomicBool::new(false);
    let mut losses = Vec::new();
    let told = |event| {
        if let Event::Step { step, loss, .. } = event {
            losses.push(loss);
            stop.store(step >= until, Ordering::Relaxed);
        }
    };
    train_detector(&engine(), config, data, data, out, resume, &stop, told).unwrap();
    losses
}

fn load(path: &Path) -> DetectorFile {
    DetectorFile::load(path).unwrap()
}

#[test]
fn a_run_goes_on_to_the_same_bits_and_its_trunk_starts_another() {
    let (dir, data) = ships();
    let config = small();
    let [whole, parts, other] = ["whole", "parts", "other"].map(|n| dir.path().join(n));
    assert_eq!(train(&config, &data, &whole, false, usize::MAX).len(), 6);
    train(&config, &data, &parts, false, 4);
    // As a model, a checkpoint is its running mean.
    let held = load(&crate::train::checkpoint_path(&parts));
    assert!(held.network().all(|(name, value)| held.tensors[&format!("optimizer.mean.{name}")] == *value));
    let weight = "sar.layer1.0.conv1.weight";
    assert!(held.network().any(|(name, value)| name == weight && held.tensors[weight] != *value));
    train(&config, &data, &parts, true, usize::MAX);
    let model = load(&whole);
    assert!(model.tensors == load(&parts).tensors, "resumed weights differ");
    let d = &model.manifest.encoder;
    assert_eq!((d.classes.as_slice(), d.extent), (&["ship".to_string()][..], 64));
    assert_eq!(yolo(d).anchors.len(), 6, "three for each of two maps, of the data");
    assert!(model.manifest.validation[0]["ap50"].is_number());

    // Of the same: all of it and its anchors, whatever other boxes or another seed would have given.
    let still = crate::nn::OptimizerConfig { lr: 1e-12, ..config.optimizer };
    let from = Some(crate::train::InitFrom::File(whole.clone()));
    let on = DetectTrainConfig { init_from: from.clone(), seed: 9, epochs: 1, steps: 1, optimizer: still, ..config.clone() };
    assert!(on.start(&data.dataset).unwrap().unwrap().starts_with("starts from all of "));
    train(&on, &data, &other, false, usize::MAX);
    let started = load(&other);
    assert_eq!(started.manifest.encoder.head, d.head);
    let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
    assert!(started.network().filter(|(n, _)| n.ends_with("weight")).all(|(n, v)| v.1.iter().zip(&model.tensors[n].1).all(near)));
    let boats = DetectTrainConfig { detector: DetectorConfig { classes: vec!["boat".into()], ..on.detector.clone() }, ..on };
    let words = boats.start(&data.dataset).unwrap().unwrap();
    assert!(words.starts_with("starts from the trunk of ") && words.contains("alone: other classes"), "{words}");

    // Another head: the trunk alone is taken, and the hash says from where.
    let wide = yolo(&small().detector);
    let head = DetectorHead::Yolo3(Yolo3 { widths: vec![12, 12], ..wide });
    let second = DetectTrainConfig {
        detector: DetectorConfig { head, ..config.detector.clone() },
        init_from: from,
        epochs: 1,
        steps: 1,
        optimizer: still,
        ..config
    };
    train(&second, &data, &other, false, usize::MAX);
    let started = load(&other);
    assert_eq!(started.manifest.init_hash, Some(model.hash()));
    let (name, of) = ("sar.layer1.0.conv1.weight", |f: &DetectorFile, n: &str| f.tensors[n].1.clone());
    let apart = of(&started, name).iter().zip(of(&model, name)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-6, "{apart}");
    assert_ne!(of(&started, "head1.say.weight").len(), of(&model, "head0.say.weight").len());
}

fn small_faster() -> DetectTrainConfig {
    let DetectTrainConfig { detector, .. } = DetectTrainConfig::faster_rcnn();
    let DetectorHead::FasterRcnn(faster) = detector.head else { panic!("another head") };
    let head = FasterRcnn { maps: 2, pooled: true, width: 12, bins: 3, hidden: 32, candidates: 40, proposals: 20, ..faster };
    let sampling = RegionSampling { anchors: 64, regions: 24, ..RegionSampling::default() };
    let small = small();
    DetectTrainConfig { detector: DetectorConfig { head: DetectorHead::FasterRcnn(head), ..small.detector }, sampling, ..small }
}

#[test]
fn what_proposes_starts_from_small_values() {
    let (_dir, data) = ships();
    let config = small_faster().fitted(&data.dataset).unwrap();
    let network = super::Network::new(&config, &data.dataset).unwrap();
    let engine = engine();
    let learner = network.learner(&engine, &config.course(1), None).unwrap();
    let deviation = |values: &[f32]| (values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
    for (name, (_, values)) in learner.weights.read(&engine).unwrap().iter().filter(|(name, _)| name.ends_with(".weight")) {
        let small = ["proposals.", "regions.classes", "regions.boxes"].iter().any(|p| name.starts_with(p));
        assert_eq!(small, deviation(values) < 0.015, "{name}");
    }
}

#[test]
fn two_stages_go_on_to_the_same_bits_and_learn() {
    let (dir, data) = ships();
    let config = small_faster();
    let [whole, parts, long] = ["whole", "parts", "long"].map(|n| dir.path().join(n));
    assert_eq!(train(&config, &data, &whole, false, usize::MAX).len(), 6);
    train(&config, &data, &parts, false, 4);
    train(&config, &data, &parts, true, usize::MAX);
    assert!(load(&whole).tensors == load(&parts).tensors, "resumed weights differ");

    let optimizer = crate::nn::OptimizerConfig { lr: 5e-3, ..config.optimizer };
    let config = DetectTrainConfig { epochs: 1, steps: 80, optimizer, ..config };
    let losses = train(&config, &data, &long, false, usize::MAX);
    let mean = |l: &[f32]| l.iter().sum::<f32>() / l.len() as f32;
    let [first, last] = [mean(&losses[..5]), mean(&losses[75..])];
    assert!(last < 0.75 * first, "{first} to {last}");
}

#[test]
fn ships_are_learnt() {
    let (dir, data) = ships();
    let mut config = small();
    (config.epochs, config.steps, config.optimizer.lr) = (1, 60, 5e-3);
    let losses = train(&config, &data, &dir.path().join("model"), false, usize::MAX);
    let mean = |l: &[f32]| l.iter().sum::<f32>() / l.len() as f32;
    let [first, last] = [mean(&losses[..5]), mean(&losses[55..])];
    assert!(last < 0.75 * first, "{first} to {last}");
}

#[test]
fn what_a_file_leaves_out_of_the_optimiser_is_this_trainings() {
    let said: DetectTrainConfig = toml::from_str("optimizer = { lr = 1e-3 }").unwrap();
    let own = DetectTrainConfig::default().optimizer;
    assert_eq!(said.optimizer, crate::nn::OptimizerConfig { lr: 1e-3, ..own });
    assert!(own.average > 0.9 && toml::from_str::<DetectTrainConfig>("optimizer = { rate = 1 }").is_err());
}

#[test]
fn classes_must_be_those_of_the_annotations() {
    let (dir, data) = ships();
    let mut config = small();
    config.detector.classes = vec!["boat".into()];
    let out = dir.path().join("model");
    let e = train_detector(&engine(), &config, &data, &data, &out, false, &AtomicBool::new(false), |_| ()).unwrap_err().to_string();
    assert!(e.contains("annotations.json") && e.contains("ship") && e.contains("boat"), "{e}");
}

/// The full-size detectors have as many parameters as published: 61.5 million (Redmon's own, for one class) and 41.3 (torchvision's, for one).
#[test]
fn the_full_recipe_describes_the_published_networks() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("studies/ships.toml");
    let recipe = RecipeOfDetectors::load(&file).unwrap();
    let drawn = synthetic::draw(40, 512, 3).dataset;
    let millions = |config: &DetectTrainConfig| {
        let config = config.fitted(&drawn).unwrap();
        let network = Network::new(&config, &drawn).unwrap();
        let trained = network.graph().params().iter().filter(|(_, spec)| spec.kind != crate::nn::ParamKind::Statistic);
        trained.map(|(_, spec)| spec.shape.iter().product::<usize>()).sum::<usize>() as f64 / 1e6
    };
    let [yolo, faster] = [millions(&recipe.yolo3), millions(&recipe.faster_rcnn)];
    assert!((yolo - 61.5).abs() < 0.1 && (faster - 41.3).abs() < 0.1, "{yolo} {faster}");
}

#[test]
fn what_is_exported_is_what_is_trained_on() {
    let (dir, data) = ships();
    for (name, config) in [("one", small()), ("two", small_faster())] {
        let config = DetectTrainConfig { epochs: 1, steps: 2, ..config };
        let to = dir.path().join(name);
        export_detector(&engine(), &config, &data, &to, |_| {}).unwrap();
        let read = |name: &str| std::fs::read(to.join(name)).unwrap();
        let bytes = read("batches-00000.safetensors");
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!((file.tensor("images").unwrap().shape(), file.tensor("boxes").unwrap().shape()[0]), (&[2, 4, 64, 64, 4][..], 2));
        let bytes = read("first.safetensors");
        let first = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let loss: Vec<f32> = bytemuck::pod_collect_to_vec(first.tensor("loss").unwrap().data());
        // The run's own first step is this one.
        let losses = train(&config, &data, &dir.path().join(format!("{name}.model")), false, usize::MAX);
        assert!((losses[0] - loss[0]).abs() <= 1e-6 * losses[0].abs(), "{losses:?} {loss:?}");
        assert!(loss[1] != loss[0] && loss[1].is_finite());
        let e = export_detector(&engine(), &config, &data, &to, |_| {}).unwrap_err().to_string();
        assert!(e.contains("is not empty"), "{e}");
        // From another detector's weights, where the run would be.
        let model = dir.path().join(format!("{name}.model"));
        let (from, again) = (Some(crate::train::InitFrom::File(model.clone())), dir.path().join(format!("{name} again")));
        export_detector(&engine(), &DetectTrainConfig { init_from: from, ..config }, &data, &again, |_| {}).unwrap();
        let bytes = std::fs::read(again.join("start.safetensors")).unwrap();
        let start = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let first = "sar.layer1.0.conv1.weight";
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(start.tensor(first).unwrap().data());
        assert_eq!(values, load(&model).tensors[first].1);
    }
}

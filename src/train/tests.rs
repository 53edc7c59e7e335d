//! Encoders on a small synthetic city: what batches hold, and that a run with everything on goes on to the same bits.

use super::dense::tests::{SIZE, city, engine};
use super::*;
use crate::eval::{Draw, Ground, HeldOut, Protocol, draw};
use crate::gpu::Engine;
use crate::index::{Database, LoadedModel, build};
use crate::kernels::triplet::{Mining, Triplet};
use crate::nn::{Architecture, EncoderConfig, Head, Pooling, Sharing, Stage, WeightFile};
use crate::scene::ScenePair;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Patches of 40 map pixels, two pairs a place, strips of SAR held out, maps beside the pairs.
fn small() -> TrainConfig {
    let architecture = Architecture::Residual { stem: vec![8], stages: vec![Stage { channels: 8, blocks: 1, stride: 2, dilation: 1 }] };
    let head = Head::Pooled { pool: Pooling::Max, dim: Some(12), norm: true, dropout: 0.25 };
    TrainConfig {
        encoder: EncoderConfig { last_stride: Some(1), repeat_band: true, ..EncoderConfig::new(architecture, 16, Sharing::Full, head) },
        patch: 40,
        views: 1,
        batch: 6,
        epochs: 2,
        steps: 4,
        loss: Loss::Triplet,
        triplet: Triplet { mining: Mining::All, ..Triplet::default() },
        overlap: true,
        positives: 2,
        map_negatives: 3,
        held_out: 0.25,
        class_weight: 0.5,
        near: 0.5,
        similar: 0.0,
        validate_every: 2,
        validate_queries: 10,
        validate_views: 1,
        checkpoint_every: 3,
        ..TrainConfig::default()
    }
}

fn run(engine: &Engine, config: &TrainConfig, city: &ScenePair, out: &Path, resume: bool, until: usize) -> Vec<f32> {
    let stop = AtomicBool::new(false);
    let mut losses = Vec::new();
    let told = |event| {
        if let Event::Step { step, loss, .. } = event {
            losses.push(loss);
            stop.store(step >= until, Ordering::Relaxed);
        }
    };
    train(engine, config, std::slice::from_ref(city), city, out, resume, &stop, told).unwrap();
    losses
}

#[test]
fn a_run_with_everything_on_goes_on_to_the_same_bits() {
    let (engine, (folder, city)) = (engine(), city());
    for (name, change) in [
        ("triplet", (|_| {}) as fn(&mut TrainConfig)),
        ("infonce", |c| (c.loss, c.encoder.sharing, c.augment.mix_statistics) = (Loss::Infonce, Sharing::Trunk, 0.5)),
    ] {
        let mut config = small();
        change(&mut config);
        let [whole, parts] = ["whole", "parts"].map(|n| folder.path().join(format!("{name}-{n}")));
        let losses = run(&engine, &config, &city, &whole, false, usize::MAX);
        assert!(losses.len() == 8 && losses.iter().all(|l| l.is_finite() && *l > 0.0), "{losses:?}");
        run(&engine, &config, &city, &parts, false, 5);
        run(&engine, &config, &city, &parts, true, usize::MAX);
        let [a, b] = [&whole, &parts].map(|p| WeightFile::load(p).unwrap().tensors);
        assert!(!a.is_empty() && a == b, "{name}: resumed weights differ");
        // Nothing of the loss is in the model, and what it was trained by is.
        assert!(a.keys().all(|k| !k.starts_with("loss.")), "{:?}", a.keys());
        assert_eq!(TrainConfig::of(&WeightFile::load(&whole).unwrap().manifest), Some(config));
    }
}

#[test]
fn batches_hold_what_is_asked() {
    let (_folder, city) = city();
    let config = small();
    let batcher = Batcher::new(std::slice::from_ref(&city), &config).unwrap();
    let strips = config.held_out().unwrap();
    let side = f64::from(config.patch);
    let mut ignored = 0;
    for step in 0..20 {
        let places = batcher.places(step).unwrap();
        assert_eq!(places.len(), 3);
        let cuts = batcher.cuts(step, &places).unwrap();
        assert_eq!((cuts.map.len(), cuts.sar.len()), (9, 6));
        for sar in &cuts.sar {
            // Both rasters are one grid: the record's centre is the place; whatever turn and scale it has, it shows so much.
            let [_, _, c, d] = sar.affine.map(|v| f64::from(v).abs() / 65536.0);
            let (y, tall) = (f64::from(sar.y) + f64::from(sar.sub >> 16) / 65536.0, (c + d) * 16.0);
            assert!(!strips.touches(y, tall), "SAR at {y} lies on held-out ground");
        }
        let at = |r: &crate::kernels::sampler::PatchRecord| {
            [f64::from(r.x) + f64::from(r.sub & 0xffff) / 65536.0, f64::from(r.y) + f64::from(r.sub >> 16) / 65536.0]
        };
        for negative in &cuts.map[6..] {
            assert!(strips.touches(at(negative)[1], side), "negatives are of held-out ground");
            let shares = |sar| (0..2).all(|d| (at(sar)[d] - at(negative)[d]).abs() < side - 0.01);
            assert!(!cuts.sar.iter().any(shares), "and share none with the pairs");
        }
        // The pairs of a place lie alike, and its maps are right for both SAR patches.
        let turned = |i: usize| {
            let [a, b, c, d] = cuts.map[i].affine.map(f64::from);
            let size = (a * d - b * c).abs().sqrt();
            [a, b, c, d].map(|v| (v / size).round() as i32)
        };
        assert!((0..3).all(|p| turned(2 * p) == turned(2 * p + 1)));
        let w = batcher.weights(&places, &cuts);
        for i in 0..6 {
            for j in 0..6 {
                let (a, b) = (places[i / 2], places[j / 2]);
                let apart = |d: usize| (a.map_px[d] - b.map_px[d]).abs();
                match w[i * 6 + j] {
                    1.0 => assert_eq!(i / 2, j / 2),
                    0.0 => assert!(i / 2 != j / 2),
                    -1.0 => {
                        ignored += 1;
                        // A SAR patch is displaced by up to half a patch and the registration's error.
                        assert!(i / 2 != j / 2 && (0..2).all(|d| apart(d) < 1.5 * side + 3.0));
                    }
                    v => panic!("{v} is no mask"),
                }
            }
        }
        let labels = batcher.labels(&places);
        let across = SIZE.div_ceil(config.patch);
        let cell = |p: Place| (p.map_px[1] / side) as u32 * across + (p.map_px[0] / side) as u32;
        assert_eq!(labels, (0..6).map(|i| cell(places[i / 2])).collect::<Vec<_>>());
        assert!(labels.iter().all(|l| (*l as usize) < batcher.cells()));
    }
    assert!(ignored > 0, "clusters share ground");
    // InfoNCE takes the intersection over the union: 1 at most, the greatest of a row at its own place, where it is not displaced far.
    let infonce = TrainConfig { loss: Loss::Infonce, positives: 1, ..small() };
    let batcher = Batcher::new(std::slice::from_ref(&city), &infonce).unwrap();
    let places = batcher.places(0).unwrap();
    let cuts = batcher.cuts(0, &places).unwrap();
    let w = batcher.weights(&places, &cuts);
    for i in 0..6 {
        let d = [0, 1].map(|d| {
            let at = if d == 0 { cuts.sar[i].x } else { cuts.sar[i].y };
            (side - (f64::from(at) + f64::from((cuts.sar[i].sub >> (16 * d)) & 0xffff) / 65536.0 - places[i].map_px[d]).abs()).max(0.0)
        });
        let shared = d[0] * d[1];
        let iou = shared / (2.0 * side * side - shared);
        assert!((f64::from(w[i * 6 + i]) - iou).abs() < 1e-3, "{} {iou}", w[i * 6 + i]);
    }
}

#[test]
fn queries_lie_on_the_ground_that_was_held_out() {
    let (engine, (folder, city)) = (engine(), city());
    let config = TrainConfig { epochs: 1, steps: 1, ..small() };
    let out = folder.path().join("model");
    run(&engine, &config, &city, &out, false, usize::MAX);
    let model = LoadedModel::load(Some(&out)).unwrap();
    let embedder = model.embedder(&engine, 8).unwrap();
    let database = build(&embedder, &model, &city.map, &config.grid(1), Database::in_memory(), |_, _| {}).unwrap();
    let strips = HeldOut { patch: 40, share: 0.25 };
    assert_eq!(config.held_out(), Some(strips));
    for protocol in [Protocol::Aligned, Protocol::Arbitrary] {
        let wanted = Draw { ground: Ground::HeldOut(strips), ..Draw::new(protocol, 12, 3) };
        let (queries, _) = draw(&city, &database, embedder.input(), &wanted).unwrap();
        assert!(queries.len() == 12 && queries.iter().all(|q| strips.holds(q.map_px[1], 40.0)), "{queries:?}");
    }
}

#[test]
fn what_is_exported_is_what_is_trained_on() {
    let (engine, (folder, city)) = (engine(), city());
    let config = TrainConfig { epochs: 1, steps: 2, ..small() };
    let to = folder.path().join("export");
    export(&engine, &config, std::slice::from_ref(&city), &city, &to, |_| {}).unwrap();
    let read = |name: &str| std::fs::read(to.join(name)).unwrap();
    let bytes = read("batches-00000.safetensors");
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("map").unwrap().shape(), [2, 9, 16, 16, 4]);
    let sar = file.tensor("sar").unwrap();
    assert_eq!(sar.shape(), [2, 6, 16, 16, 4]);
    let values: Vec<half::f16> = sar.data().chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]])).collect();
    // One band and validity: the others are 0, and there is something to see.
    let channel = |c: usize| values.iter().skip(c).step_by(4).map(|v| v.to_f32());
    assert!(channel(1).chain(channel(2)).all(|v| v == 0.0) && channel(3).all(|v| v == 0.0 || v == 1.0));
    assert!(channel(0).any(|v| v > 0.5) && channel(0).any(|v| v < -0.5));
    let bytes = read("judge.safetensors");
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let cells = file.tensor("cells").unwrap().shape()[0];
    for protocol in ["aligned", "arbitrary"] {
        let right = file.tensor(&format!("right_{protocol}")).unwrap();
        assert_eq!(right.shape()[1], cells);
        assert_eq!(right.shape()[0], file.tensor(&format!("queries_{protocol}")).unwrap().shape()[0]);
        assert!(right.data().chunks_exact(cells).all(|row| row.contains(&1)), "each query has a right cell");
    }
    let bytes = read("start.safetensors");
    let names = safetensors::SafeTensors::deserialize(&bytes).unwrap().names().len();
    assert!(names > 10);
    let manifest: serde_json::Value = serde_json::from_slice(&read("manifest.json")).unwrap();
    assert_eq!(manifest["files"], serde_json::json!(["batches-00000.safetensors"]));
    assert_eq!(serde_json::from_value::<TrainConfig>(manifest["train"].clone()).unwrap(), config);
    // Batches that hang on the training cannot be known before it.
    let similar = TrainConfig { similar: 0.25, similar_from: 0, positives: 1, ..config.clone() };
    let again = export(&engine, &config, std::slice::from_ref(&city), &city, &to, |_| {}).unwrap_err().to_string();
    assert!(again.contains("is not empty"), "{again}");
    let e = export(&engine, &similar, std::slice::from_ref(&city), &city, &to, |_| {}).unwrap_err().to_string();
    assert!(e.contains("similar = 0"), "{e}");
}

/// Strips that hold nothing out of a scene, or leave no room, are not taken in silence.
#[test]
fn strips_must_fit_the_scenes() {
    let (_folder, city) = city();
    for (held_out, words) in [(0.02, "holds nothing out of"), (0.5, "leaves 80 map pixels between")] {
        let e = Batcher::new(std::slice::from_ref(&city), &TrainConfig { held_out, ..small() }).unwrap_err().to_string();
        assert!(e.contains(words), "{e}");
    }
}

#[test]
fn odd_settings_are_refused_by_name() {
    for (change, words) in [
        ((|c| c.positives = 4) as fn(&mut TrainConfig), "multiple of positives"),
        (|c| c.positives = 6, "two places"),
        (|c| c.positives = 0, "positives"),
        (|c| c.held_out = 0.6, "held_out"),
        (|c| c.class_weight = -1.0, "class_weight"),
        (|c| c.triplet.margin = f32::NAN, "triplet.margin"),
        (|c| c.triplet.eps = 0.0, "triplet.eps"),
        (|c| c.encoder.last_stride = Some(0), "last_stride"),
        (|c| c.encoder.architecture = Architecture::Residual { stem: vec![8], stages: vec![] }, "has not"),
        (|c| c.encoder.head = Head::Pooled { pool: Pooling::Max, dim: None, norm: false, dropout: 1.0 }, "dropout"),
        (|c| c.encoder.head = Head::pooled(Pooling::Max, 7), "an even number"),
        (|c| c.encoder.head = Head::pooled(Pooling::Max, 0), "an even number"),
    ] {
        let mut config = small();
        change(&mut config);
        let e = config.check().unwrap_err().to_string();
        assert!(e.contains(words), "{e}");
    }
}

//! The library from outside: weights files, and start values from torchvision's ResNets.

use echogrid::gpu::{AdapterChoice, Engine};
use echogrid::kernels::conv::Conv;
use echogrid::nn::{
    Architecture, EncoderConfig, Graph, Head, Manifest, Modality, Pooling, Sharing, TensorMap, WeightFile, Weights, import_torchvision,
};
use echogrid::reference::conv::{Sizes, forward};
use echogrid::train::{InitFrom, TrainConfig};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Numbers in [-1, 1) from a counter.
fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut s = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..n)
        .map(|_| {
            s = s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (s >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn config(architecture: Architecture, sharing: Sharing) -> EncoderConfig {
    EncoderConfig::new(architecture, 64, sharing, Head::pooled(Pooling::Gem, 8))
}

fn model() -> WeightFile {
    let training = TrainConfig::default();
    let manifest = Manifest {
        kind: "model".into(),
        version: "0".into(),
        encoder: training.encoder.clone(),
        pixel_m: None,
        calibration: None,
        refiner: None,
        refiner_training: None,
        encoder_training: None,
        patch_m: 400.0,
        init_hash: None,
        training: serde_json::to_value(&training).unwrap(),
        seed: 1,
        step: 2,
        scenes: Vec::new(),
        adapter: "none".into(),
        validation: serde_json::Value::Null,
    };
    let (graph, _) = training.encoder.tower_graph(Modality::Map, 1).unwrap();
    let tensors = graph.params().iter().map(|(n, s)| (n.clone(), (s.shape.clone(), random(s.shape.iter().product(), n.len() as u64))));
    WeightFile { manifest, tensors: tensors.collect() }
}

type Raw = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn raw(tensors: &TensorMap) -> Raw {
    tensors.iter().map(|(n, (s, v))| (n.clone(), (Dtype::F32, s.clone(), bytemuck::cast_slice(v).to_vec()))).collect()
}

fn write(path: &Path, tensors: &Raw, manifest: Option<String>) {
    let views = tensors.iter().map(|(n, (t, s, d))| (n.as_str(), TensorView::new(*t, s.clone(), d).unwrap()));
    let meta = manifest.map(|m| HashMap::from([("echogrid".to_string(), m)]));
    std::fs::write(path, safetensors::serialize(views, meta).unwrap()).unwrap();
}

#[test]
fn a_model_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let file = model();
    file.save(&path).unwrap();
    let read = WeightFile::load(&path).unwrap();
    assert_eq!(read.manifest, file.manifest);
    assert_eq!(read.tensors, file.tensors);
    assert_eq!(read.hash(), file.hash());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no temporary file stays");
    // The hash hangs on every value and on the configuration, not on the optimiser's state.
    let mut other = file.clone();
    other.tensors.get_mut("map.bn1.weight").unwrap().1[0] += 1.0;
    assert_ne!(other.hash(), file.hash());
    let mut other = file.clone();
    other.manifest.encoder.input = 64;
    assert_ne!(other.hash(), file.hash());
    let mut other = file.clone();
    other.tensors.insert("optimizer.m.x".into(), (vec![1], vec![1.0]));
    assert_eq!(other.hash(), file.hash());

    let engine = pollster::block_on(Engine::new(&AdapterChoice::from_option(None))).expect("a GPU adapter (see `make test`)");
    let (graph, _) = file.manifest.encoder.tower_graph(Modality::Map, 1).unwrap();
    let weights = Weights::from_file(&engine, &graph, &read, &path).unwrap();
    assert_eq!(weights.read(&engine).unwrap(), file.tensors);
    let refused = |change: &dyn Fn(&mut TensorMap), word: &str| {
        let mut file = file.clone();
        change(&mut file.tensors);
        let e = Weights::from_file(&engine, &graph, &file, &path).unwrap_err().to_string();
        assert!(e.contains("model.safetensors") && e.contains(word) && e.contains("echogrid train"), "{e}");
    };
    refused(&|t| drop(t.remove("map.conv2.weight")), "`map.conv2.weight` is missing");
    refused(&|t| t.get_mut("map.bn1.bias").unwrap().0 = vec![4, 8], "`map.bn1.bias` is [4, 8], the network wants [32]");
}

#[test]
fn broken_models_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let file = model();
    file.save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let says = |word: &str| {
        let e = WeightFile::load(&path).unwrap_err().to_string();
        assert!(e.contains("model.safetensors") && e.contains(word) && e.contains("echogrid train"), "{e}");
    };
    for cut in [0, 7, 8, 200, whole.len() / 2, whole.len() - 4] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        says("cut short");
    }
    // A header that claims 2^60 bytes is not believed.
    std::fs::write(&path, [&(1u64 << 60).to_le_bytes()[..], &whole[8..]].concat()).unwrap();
    says("not a weights file");
    std::fs::write(&path, vec![b'x'; 5000]).unwrap();
    says("not a weights file");
    let manifest = serde_json::to_string(&file.manifest).unwrap();
    write(&path, &raw(&file.tensors), None);
    says("no echogrid manifest");
    write(&path, &raw(&file.tensors), Some("{}".into()));
    says("its manifest cannot be read");
    let mut other = raw(&file.tensors);
    let t = other.get_mut("map.bn1.bias").unwrap();
    *t = (Dtype::I16, t.1.clone(), t.2[..t.2.len() / 2].to_vec());
    write(&path, &other, Some(manifest.clone()));
    says("`map.bn1.bias` is I16, not F32, F16 or BF16");
    for bad in [f32::NAN, f32::INFINITY] {
        let mut other = file.tensors.clone();
        other.get_mut("map.bn2.weight").unwrap().1[5] = bad;
        write(&path, &raw(&other), Some(manifest.clone()));
        says("`map.bn2.weight` holds values that are not finite");
    }
    assert!(WeightFile::load(&folder.path().join("none")).unwrap_err().to_string().contains("none"));
    let e = file.save(Path::new("/nonexistent/model.safetensors")).unwrap_err().to_string();
    assert!(e.contains("cannot be written") && e.contains("another path"), "{e}");
}

#[test]
fn models_of_16_bits_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let file = model();
    let mut tensors = raw(&file.tensors);
    let name = "map.conv2.weight";
    let values = &file.tensors[name].1;
    let t = tensors.get_mut(name).unwrap();
    *t = (Dtype::F16, t.1.clone(), values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect());
    write(&path, &tensors, Some(serde_json::to_string(&file.manifest).unwrap()));
    let read = WeightFile::load(&path).unwrap().tensors;
    assert!(read[name].1.iter().zip(values).all(|(a, b)| *a == half::f16::from_f32(*b).to_f32()));
    assert!(read.iter().all(|(n, t)| n == name || *t == file.tensors[n]));
}

/// Names and shapes of torchvision's ResNets, written down from its source, with random values.
fn torchvision(blocks: [usize; 4], bottleneck: bool) -> TensorMap {
    let mut all: Vec<(String, Vec<usize>)> = Vec::new();
    let mut conv = |name: String, norm: String, o: usize, i: usize, k: usize| {
        all.push((format!("{name}.weight"), vec![o, i, k, k]));
        all.extend(["weight", "bias", "running_mean", "running_var"].map(|p| (format!("{norm}.{p}"), vec![o])));
    };
    conv("conv1".into(), "bn1".into(), 64, 3, 7);
    let mut inside = 64;
    let grow = if bottleneck { 4 } else { 1 };
    for (stage, count) in blocks.into_iter().enumerate() {
        let width = 64 << stage;
        for block in 0..count {
            let p = format!("layer{}.{block}", stage + 1);
            let parts = if bottleneck {
                vec![(width, inside, 1), (width, width, 3), (4 * width, width, 1)]
            } else {
                vec![(width, inside, 3), (width, width, 3)]
            };
            for (n, (o, i, k)) in parts.into_iter().enumerate() {
                conv(format!("{p}.conv{}", n + 1), format!("{p}.bn{}", n + 1), o, i, k);
            }
            if block == 0 && (stage > 0 || bottleneck) {
                conv(format!("{p}.downsample.0"), format!("{p}.downsample.1"), grow * width, inside, 1);
            }
            inside = grow * width;
        }
    }
    all.push(("fc.weight".into(), vec![1000, inside]));
    all.push(("fc.bias".into(), vec![1000]));
    all.into_iter().enumerate().map(|(i, (n, s))| (n, (s.clone(), random(s.iter().product(), i as u64)))).collect()
}

fn with_counters(tensors: &TensorMap) -> Raw {
    let mut all = raw(tensors);
    for name in tensors.keys().filter_map(|n| n.strip_suffix(".running_var")) {
        all.insert(format!("{name}.num_batches_tracked"), (Dtype::I64, vec![], vec![0; 8]));
    }
    all
}

/// y of a convolution with weights in torch's layout on an NHWC image, by its definition.
fn torch_conv(w: &(Vec<usize>, Vec<f32>), stride: usize, pad: usize, x: &[f64], side: usize) -> Vec<f64> {
    let [co, ci, k, _] = w.0[..] else { panic!("{:?}", w.0) };
    let out = (side + 2 * pad - k) / stride + 1;
    let mut y = vec![0.0; out * out * co];
    for (at, v) in y.iter_mut().enumerate() {
        let (oy, ox, o) = (at / co / out, at / co % out, at % co);
        for i in 0..ci {
            for ky in 0..k {
                for kx in 0..k {
                    let (py, px) = (oy * stride + ky, ox * stride + kx);
                    if (pad..side + pad).contains(&py) && (pad..side + pad).contains(&px) {
                        *v += f64::from(w.1[((o * ci + i) * k + ky) * k + kx]) * x[((py - pad) * side + px - pad) * ci + i];
                    }
                }
            }
        }
    }
    y
}

/// The same with what was imported.
fn our_conv(w: &(Vec<usize>, Vec<f32>), kernel: usize, stride: usize, x: &[f64], side: usize) -> Vec<f64> {
    let conv = Conv::square(kernel, stride, 1);
    let s = Sizes::new(&conv, [1, side, side, w.0[1]], w.0[2]).unwrap();
    forward(&conv, s, x, &w.1.iter().map(|v| f64::from(*v)).collect::<Vec<_>>(), None)
}

fn equal(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).for_each(|(a, b)| assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} and {b}"));
}

#[test]
fn torchvisions_resnets_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resnet.safetensors");
    for (architecture, blocks, bottleneck) in [(Architecture::Resnet18, [2, 2, 2, 2], false), (Architecture::Resnet50, [3, 4, 6, 3], true)]
    {
        let source = torchvision(blocks, bottleneck);
        write(&path, &with_counters(&source), None);
        for (sharing, map, sar, trunk) in [
            (Sharing::Trunk, "map", "sar", vec!["shared"]),
            (Sharing::Separate, "map", "sar", vec!["map", "sar"]),
            (Sharing::Full, "shared", "shared", vec!["shared"]),
        ] {
            if bottleneck && sharing == Sharing::Separate {
                continue; // 47 million values prove nothing more.
            }
            let config = config(architecture.clone(), sharing);
            let got = import_torchvision(&path, &config).unwrap();
            // Every parameter of both towers but the head's, with its extents, and no other.
            let mut graph = Graph::new();
            for modality in [Modality::Map, Modality::Sar] {
                let x = graph.input("patch", &[1, 64, 64, 4]);
                config.tower(&mut graph, modality, x).unwrap();
            }
            let head = |n: &str| [".gem.p", ".fc.weight", ".fc.bias"].iter().any(|h| n.ends_with(h));
            let want: Vec<_> = graph.params().iter().filter(|p| !head(&p.0)).collect();
            assert_eq!(got.len(), want.len());
            want.iter().for_each(|(n, s)| assert_eq!(got[n].0, s.shape, "{n}"));
            // Every tensor of the file but the classifier is used, where it belongs; vectors are copied.
            let stem = source.keys().filter(|n| n.starts_with("conv1.") || n.starts_with("bn1."));
            assert_eq!(stem.count(), 5);
            for (name, (shape, values)) in source.iter().filter(|(n, _)| !n.starts_with("fc.")) {
                let of: Vec<&str> = if name.starts_with("conv1.") || name.starts_with("bn1.") { vec![map, sar] } else { trunk.clone() };
                for p in of {
                    let (s, v) = &got[&format!("{p}.{name}")];
                    assert!(shape.len() == 4 || (s, v) == (shape, values), "{p}.{name}");
                }
            }
            // Convolutions do what they did: the stem on colours with any validity, SAR's on grey, a strided layer of the trunk.
            let side = 11;
            let colour: Vec<f64> = random(side * side * 3, 1).into_iter().map(f64::from).collect();
            let patch: Vec<f64> = colour.chunks(3).flat_map(|c| [c[0], c[1], c[2], 1.0]).collect();
            let conv1 = format!("{map}.conv1.weight");
            equal(&our_conv(&got[&conv1], 7, 2, &patch, side), &torch_conv(&source["conv1.weight"], 2, 3, &colour, side));
            if sar == "sar" {
                let grey: Vec<f64> = colour.chunks(3).flat_map(|c| [c[0]; 3]).collect();
                let patch: Vec<f64> = colour.chunks(3).flat_map(|c| [c[0], 0.0, 0.0, 1.0]).collect();
                equal(&our_conv(&got["sar.conv1.weight"], 7, 2, &patch, side), &torch_conv(&source["conv1.weight"], 2, 3, &grey, side));
            }
            for (layer, k, stride) in
                [(if bottleneck { "layer2.0.conv2" } else { "layer2.0.conv1" }, 3, 2), ("layer2.0.downsample.0", 1, 2)]
            {
                let w = &source[&format!("{layer}.weight")];
                let x: Vec<f64> = random(25 * w.0[1], 2).into_iter().map(f64::from).collect();
                let ours = &got[&format!("{}.{layer}.weight", trunk[0])];
                equal(&our_conv(ours, k, stride, &x, 5), &torch_conv(w, stride, k / 2, &x, 5));
            }
        }
    }
}

#[test]
fn other_weights_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resnet.safetensors");
    let source = torchvision([2, 2, 2, 2], false);
    let small = config(Architecture::Resnet18, Sharing::Trunk);
    let says = |config: &EncoderConfig, word: &str| {
        let e = import_torchvision(&path, config).unwrap_err().to_string();
        assert!(e.contains("resnet.safetensors") && e.contains(word) && e.contains("torchvision's"), "{e}");
    };
    write(&path, &with_counters(&source), None);
    says(&config(Architecture::Resnet34, Sharing::Trunk), "`layer1.2.conv1.weight` is missing");
    says(&config(Architecture::Resnet50, Sharing::Trunk), "`layer1.0.conv1.weight` is [64, 64, 3, 3], expected [64, 64, ..] of 1 taps");
    says(&config(Architecture::Darknet53, Sharing::Trunk), "Darknet53 is not one of torchvision's ResNets");
    let change = |name: &str, value: Option<(Dtype, Vec<usize>, Vec<u8>)>| {
        let mut all = with_counters(&source);
        match value {
            Some(v) => drop(all.insert(name.into(), v)),
            None => drop(all.remove(name)),
        }
        write(&path, &all, None);
    };
    change("bn1.running_var", None);
    says(&small, "`bn1.running_var` is missing");
    change("bn1.bias", Some((Dtype::F32, vec![32], vec![0; 128])));
    says(&small, "`bn1.bias` is [32], expected [64]");
    change("bn1.bias", Some((Dtype::F64, vec![64], vec![0; 512])));
    says(&small, "`bn1.bias` is F64");
    change("bn1.bias", Some((Dtype::F32, vec![64], [0xff; 256].to_vec())));
    says(&small, "not finite");
    change("layer1.2.conv1.weight", Some((Dtype::F32, vec![1], vec![0; 4])));
    says(&small, "`layer1.2.conv1.weight` is no part of it");
    change("bn1.bias", Some((Dtype::BF16, vec![64], [0x80, 0x3f].repeat(64))));
    assert_eq!(import_torchvision(&path, &small).unwrap()["map.bn1.bias"].1, [1.0; 64]);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    says(&small, "cut short");
    std::fs::remove_file(&path).unwrap();
    assert!(import_torchvision(&path, &small).unwrap_err().to_string().contains("resnet.safetensors"));
}

#[test]
fn a_training_file_may_name_start_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.toml");
    let load = |text: &str| {
        std::fs::write(&path, text).unwrap();
        TrainConfig::load(&path)
    };
    let rest = "input = 64\nsharing = \"trunk\"\nhead = { kind = \"gem\", dim = 8 }\n";
    let config = load(&format!("init_from = \"r18.safetensors\"\n[encoder]\narchitecture = {{ kind = \"resnet18\" }}\n{rest}")).unwrap();
    assert_eq!(config.init_from, Some(InitFrom::File("r18.safetensors".into())));
    assert_eq!(load("init_from = \"shipped\"\n").unwrap().init_from, Some(InitFrom::Shipped));
    // A checkpoint carries the configuration as JSON, the user's file as TOML.
    for config in [config, TrainConfig::default()] {
        let json = serde_json::to_value(&config).unwrap();
        assert_eq!(serde_json::from_value::<TrainConfig>(json).unwrap(), config);
        assert_eq!(toml::from_str::<TrainConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
    }
}

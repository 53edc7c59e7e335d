//! What an encoder's run would see, as files: for training the same network elsewhere on the same batches.

use super::config::TrainConfig;
use super::encoder::Pairs;
use super::learner::Learner;
use super::loss::PairGraph;
use super::sampling::plain_patches;
use super::task::Task;
use crate::atomic::AtomicFile;
use crate::eval::{Protocol, queries};
use crate::gpu::{DType, Engine};
use crate::index::{Database, build};
use crate::kernels::sampler::PatchRecord;
use crate::scene::ScenePair;
use crate::{Error, Result};
use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use std::path::Path;

/// Steps in a file of batches.
pub(super) const STEPS_A_FILE: usize = 50;
/// Queries to judge on, of each protocol at most, and their seed: those of `echogrid eval` unless told otherwise.
const QUERIES: usize = 500;
const SEED: u64 = 7;
/// Patches that are cut at once.
const CHUNK: usize = 64;

/// Writes into `folder` what a run of this configuration trains on and is judged on, as the device cuts it: `batches-NNNNN.safetensors` (`map` and
/// `sar`, f16 [steps, batch, input, input, 4]; `map` has `map_negatives` more; f32, where the run has them: `weights` of the pairs, `cells`, `style`), `judge.safetensors` (the validation scene's `cells`, and `queries_` and `right_` of both protocols: which
/// cells hold which query), `start.safetensors` (the network's start values) and `manifest.json`. `on` is told of each step.
///
/// # Errors
/// As [`super::train`]; batches that hang on the training itself (`similar`); a folder that is not empty.
pub fn export(
    engine: &Engine,
    config: &TrainConfig,
    scenes: &[ScenePair],
    val: &ScenePair,
    folder: &Path,
    mut on: impl FnMut(usize),
) -> Result<()> {
    config.check()?;
    if config.similar > 0.0 && config.similar_from < config.epochs {
        return Err(Error::invalid(
            "batches of similar places hang on the training itself and cannot be written before it: set similar = 0",
        ));
    }
    empty_folder(folder)?;
    let (mut task, learner) = Pairs::new(engine, config, scenes, val, true)?;
    let input = config.encoder.input;
    let mut files = Vec::new();
    let mut held: [Vec<f16>; 2] = Default::default();
    let told = task.told();
    let mut rest: Vec<Vec<f32>> = vec![Vec::new(); told.len()];
    let mut state = Vec::new();
    for step in 0..config.total_steps() {
        task.start_step(engine, step, &mut state)?;
        task.sampling().submit(engine)?;
        for (held, at) in held.iter_mut().zip([PairGraph::MAP, PairGraph::SAR]) {
            held.extend(engine.read::<f32>(&learner.plan.inputs[at])?.into_iter().map(f16::from_f32));
        }
        for (rest, (_, tensor)) in rest.iter_mut().zip(&told) {
            match tensor.dtype() {
                DType::U32 => rest.extend(engine.read::<u32>(tensor)?.into_iter().map(|v| v as f32)),
                _ => rest.extend(engine.read::<f32>(tensor)?),
            }
        }
        let steps = step % STEPS_A_FILE + 1;
        if steps == STEPS_A_FILE || step + 1 == config.total_steps() {
            let name = format!("batches-{:05}.safetensors", step / STEPS_A_FILE);
            let shape = |n: usize| vec![steps, n, input, input, 4];
            let [map, sar] = std::mem::take(&mut held);
            let maps = config.batch + config.map_negatives;
            let mut tensors = vec![("map", shape(maps), Values::F16(map)), ("sar", shape(config.batch), Values::F16(sar))];
            for (rest, (name, tensor)) in rest.iter_mut().zip(&told) {
                let shape = [steps].iter().chain(tensor.shape()).copied().collect();
                tensors.push((*name, shape, Values::F32(std::mem::take(rest))));
            }
            write(&folder.join(&name), tensors)?;
            files.push(name);
        }
        on(step + 1);
    }
    write(&folder.join("judge.safetensors"), judge(engine, config, val, &task, &learner)?)?;
    write_start(engine, &learner, folder)?;
    let manifest = serde_json::json!({ "train": config, "files": files, "steps_per_file": STEPS_A_FILE });
    put(&folder.join("manifest.json"), format!("{manifest:#}\n").as_bytes())
}

/// Makes a folder, and refuses one that holds something: batches of another run among these could not be told apart.
pub(super) fn empty_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, format!("cannot be made ({e})"), e))?;
    match std::fs::read_dir(folder).map_err(|e| Error::io(folder, e.to_string(), e))?.next() {
        Some(_) => Err(Error::file(folder, "is not empty: name a new folder, or empty it")),
        None => Ok(()),
    }
}

/// The validation scene's cells and queries, and which cell holds which query.
fn judge(
    engine: &Engine,
    config: &TrainConfig,
    val: &ScenePair,
    task: &Pairs<'_>,
    learner: &Learner,
) -> Result<Vec<(String, Vec<usize>, Values)>> {
    let input = config.encoder.input;
    let (embedder, model) = task.model(engine, learner)?;
    // Where the cells lie is all that is asked of the index.
    let database = build(&embedder, &model, &val.map, &config.grid(1), Database::in_memory(), |_, _| {})?;
    let scale = f64::from(config.patch) / input as f64;
    let cells = database.cell_px.iter().map(|p| Ok(PatchRecord::new(0, *p, scale, 0.0, false, input)?)).collect::<Result<Vec<_>>>()?;
    let shape = |n: usize| vec![n, input, input, 4];
    let halves = |v: Vec<f32>| Values::F16(v.into_iter().map(f16::from_f32).collect());
    let maps = plain_patches(engine, val, |s| (&s.map, &s.map_mask), &cells, input, CHUNK)?;
    let mut out = vec![("cells".to_string(), shape(cells.len()), halves(maps))];
    for (name, protocol) in [("aligned", Protocol::Aligned), ("arbitrary", Protocol::Arbitrary)] {
        let queries = queries(val, &database, protocol, QUERIES, input, SEED)?;
        let records: Vec<PatchRecord> = queries.iter().map(|q| q.record).collect();
        let patches = plain_patches(engine, val, |s| (&s.sar, &s.sar_mask), &records, input, CHUNK)?;
        let right = queries.iter().flat_map(|q| (0..cells.len()).map(|c| u8::from(database.cell_holds(c as u32, q.map_px)))).collect();
        out.push((format!("queries_{name}"), shape(queries.len()), halves(patches)));
        out.push((format!("right_{name}"), vec![queries.len(), cells.len()], Values::U8(right)));
    }
    Ok(out)
}

/// The values of a tensor.
pub(super) enum Values {
    F32(Vec<f32>),
    F16(Vec<f16>),
    U8(Vec<u8>),
}

/// Writes the network's start values.
pub(super) fn write_start(engine: &Engine, learner: &Learner, folder: &Path) -> Result<()> {
    let start = learner.weights.read(engine)?;
    write(&folder.join("start.safetensors"), start.into_iter().map(|(name, (shape, values))| (name, shape, Values::F32(values))))
}

/// Writes a safetensors file.
pub(super) fn write<N: AsRef<str>>(path: &Path, tensors: impl IntoIterator<Item = (N, Vec<usize>, Values)>) -> Result<()> {
    let all: Vec<_> = tensors.into_iter().collect();
    let wrong = |e: safetensors::SafeTensorError| Error::file(path, e.to_string());
    let views = all
        .iter()
        .map(|(name, shape, values)| {
            let (dtype, bytes): (_, &[u8]) = match values {
                Values::F32(v) => (Dtype::F32, bytemuck::cast_slice(v)),
                Values::F16(v) => (Dtype::F16, bytemuck::cast_slice(v)),
                Values::U8(v) => (Dtype::U8, v),
            };
            Ok((name.as_ref(), TensorView::new(dtype, shape.clone(), bytes).map_err(wrong)?))
        })
        .collect::<Result<Vec<_>>>()?;
    put(path, &safetensors::serialize(views, None).map_err(wrong)?)
}

/// Writes a file whole or not at all.
pub(super) fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    AtomicFile::write(path, bytes).map_err(|e| Error::io(path, e.to_string(), e))
}

//! What a run of a matching model would see, as files: for training the same network elsewhere on the same batches.

use super::{MAP, MatchTrainConfig, Matching, SAR};
use crate::Result;
use crate::gpu::Engine;
use crate::pairs::PairScene;
use crate::train::export::{STEPS_A_FILE, Values, empty_folder, put, write, write_start};
use crate::train::sampling::plain_patches;
use crate::train::task::Task;
use half::f16;
use std::path::Path;

/// Patches that are cut at once.
const CHUNK: usize = 64;

/// Writes into `folder` what a run of this configuration trains on and is judged on, as the device cuts it: `batches-NNNNN.safetensors` (`map` and
/// `sar`, f16 [steps, batch, input, input, 4]; `partners`, f32 [steps, batch negatives], which optical patches are each SAR patch's negatives),
/// `judge.safetensors` (the same of the validation's pairs, one negative each), `start.safetensors` (the network's start values) and
/// `manifest.json`. `on` is told of each step.
///
/// # Errors
/// As [`super::train_matching`]; a folder that is not empty.
pub fn export_matching(
    engine: &Engine,
    config: &MatchTrainConfig,
    scene: &PairScene,
    val: &PairScene,
    folder: &Path,
    mut on: impl FnMut(usize),
) -> Result<()> {
    config.check()?;
    empty_folder(folder)?;
    let (mut task, learner) = Matching::new(engine, config, scene, val, true)?;
    let (input, batch) = (config.encoder.input, config.batch);
    let halves = |v: Vec<f32>| v.into_iter().map(f16::from_f32);
    let mut files = Vec::new();
    let mut held: [Vec<f16>; 2] = Default::default();
    let mut partners: Vec<f32> = Vec::new();
    for step in 0..config.total_steps() {
        task.start_step(engine, step, &mut ())?;
        task.sampling().submit(engine)?;
        for (held, at) in held.iter_mut().zip([MAP, SAR]) {
            held.extend(halves(engine.read(&learner.plan.inputs[at])?));
        }
        partners.extend(engine.read::<u32>(&task.partners)?.into_iter().map(|p| p as f32));
        let steps = step % STEPS_A_FILE + 1;
        if steps == STEPS_A_FILE || step + 1 == config.total_steps() {
            let name = format!("batches-{:05}.safetensors", step / STEPS_A_FILE);
            let [map, sar] = std::mem::take(&mut held);
            let shape = || vec![steps, batch, input, input, 4];
            let list = (vec![steps, batch * config.bridge.negatives], Values::F32(std::mem::take(&mut partners)));
            write(
                &folder.join(&name),
                [("map", shape(), Values::F16(map)), ("sar", shape(), Values::F16(sar)), ("partners", list.0, list.1)],
            )?;
            files.push(name);
        }
        on(step + 1);
    }
    let spots = &task.spots;
    let [map, sar] = spots.records(val, input)?;
    let map = plain_patches(engine, &val.pair, |s| (&s.map, &s.map_mask), &map, input, CHUNK)?;
    let sar = plain_patches(engine, &val.pair, |s| (&s.sar, &s.sar_mask), &sar, input, CHUNK)?;
    let n = spots.spots.len();
    let list = Values::F32(spots.negatives.iter().map(|p| *p as f32).collect());
    let shape = || vec![n, input, input, 4];
    let judge = [("map", shape(), map), ("sar", shape(), sar)].map(|(name, shape, v)| (name, shape, Values::F16(halves(v).collect())));
    write(&folder.join("judge.safetensors"), judge.into_iter().chain([("partners", vec![spots.negatives.len()], list)]))?;
    write_start(engine, &learner, folder)?;
    let manifest = serde_json::json!({ "match": config, "patch": task.network.patch, "files": files, "steps_per_file": STEPS_A_FILE });
    put(&folder.join("manifest.json"), format!("{manifest:#}\n").as_bytes())
}

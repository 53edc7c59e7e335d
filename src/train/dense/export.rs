//! What a run of dense features would see, as files: for training the same network elsewhere on the same batches.

use super::{Dense, DenseTrainConfig, Memory, network_graph};
use crate::gpu::Engine;
use crate::scene::ScenePair;
use crate::train::export::{Values, empty_folder, put, write, write_start};
use crate::train::learner::Learner;
use crate::train::task::Task;
use crate::{Error, Result};
use std::path::Path;

/// Steps in a file of batches: windows are large.
const STEPS_A_FILE: usize = 10;

/// Writes into `folder` what a run of this configuration trains on, as the device cuts it: `batches-NNNNN.safetensors` (f32: `map` [steps, windows, window, window, 4], `sar` [steps, patches, patch, patch, 4] and `target`
/// [steps, patches, 4]: row, column and window of the true offset, 0), `start.safetensors` (the network's start values) and `manifest.json` (`losses`: of the first step, at the start values). `on` is told of each step.
///
/// # Errors
/// As [`super::train_dense`]; batches that hang on the training itself (`hard`); a folder that is not empty.
pub fn export_dense(
    engine: &Engine,
    config: &DenseTrainConfig,
    scenes: &[ScenePair],
    val: &ScenePair,
    folder: &Path,
    mut on: impl FnMut(usize),
) -> Result<()> {
    config.check()?;
    if config.hard > 0.0 && config.hard_from < config.epochs {
        return Err(Error::invalid("batches of hard places hang on the training itself and cannot be written before it: set hard = 0"));
    }
    empty_folder(folder)?;
    let (graph, loss) = network_graph(config)?;
    let mut learner = Learner::new(engine, &graph, loss, None, &config.course())?;
    if let Some(from) = &config.init_from {
        learner.start_from(engine, from.dense_start(&config.encoder)?)?;
    }
    let mut task = Dense::new(engine, config, scenes, val, &learner)?;
    write_start(engine, &learner, folder)?;
    let names = ["map", "sar", "target"];
    let (mut held, mut files, mut losses): ([Vec<f32>; 3], Vec<String>, Vec<f32>) = Default::default();
    for step in 0..config.total_steps() {
        task.start_step(engine, step, &mut Memory::default())?;
        task.sampling().submit(engine)?;
        for (held, input) in held.iter_mut().zip(&learner.plan.inputs) {
            held.extend(engine.read::<f32>(input)?);
        }
        let steps = step % STEPS_A_FILE + 1;
        if steps == STEPS_A_FILE || step + 1 == config.total_steps() {
            let name = format!("batches-{:05}.safetensors", step / STEPS_A_FILE);
            let tensor = |((name, held), input): ((&str, &mut Vec<f32>), &crate::gpu::Tensor)| {
                let shape = [steps].iter().chain(input.shape()).copied().collect();
                (name.to_string(), shape, Values::F32(std::mem::take(held)))
            };
            write(&folder.join(&name), names.into_iter().zip(&mut held).zip(&learner.plan.inputs).map(tensor))?;
            files.push(name);
        }
        if step == 0 {
            learner.plan.plan.submit(engine)?;
            losses = engine.read(&learner.plan.outputs[0])?;
        }
        on(step + 1);
    }
    let manifest = serde_json::json!({ "train": config, "files": files, "steps_per_file": STEPS_A_FILE, "losses": losses });
    put(&folder.join("manifest.json"), format!("{manifest:#}\n").as_bytes())
}

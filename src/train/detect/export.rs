//! What a run of a detector would see, as files: for training the same network elsewhere on the same batches.

use super::batch::PARTS;
use super::{Detect, DetectTrainConfig, Network};
use crate::Result;
use crate::detect::AnnotatedImages;
use crate::gpu::{DType, Engine};
use crate::nn::StepFactors;
use crate::train::export::{Values, empty_folder, put, write, write_start};
use crate::train::task::Task;
use half::f16;
use std::path::Path;

/// Steps in a file of batches: whole images are large.
const STEPS_A_FILE: usize = 10;
/// Numbers of a box in a file: the input of the step, x0 y0 x1 y1 in pixels of it, the class, -1 for one that is neither to be found nor missed.
const COLUMNS: usize = 6;

/// Writes into `folder` what a run of this configuration trains on, as the device cuts it: `batches-NNNNN.safetensors` (`images`, f16 [steps, batch, input, input, 4], and `boxes`, f32 [steps, slots, 6]: input, x0, y0, x1,
/// y1, class or -1; an input of -1 in a slot that is not used), `start.safetensors` (the network's start values), `first.safetensors` (all inputs of the network in the first step, by name, and its `loss` there before and after that step, \[2\]) and
/// `manifest.json`. `on` is told of each step.
///
/// # Errors
/// As [`super::train_detector`]; a folder that is not empty.
pub fn export_detector(
    engine: &Engine,
    config: &DetectTrainConfig,
    data: &AnnotatedImages,
    folder: &Path,
    mut on: impl FnMut(usize),
) -> Result<()> {
    config.check()?;
    empty_folder(folder)?;
    let config = config.fitted(&data.dataset)?;
    data.check_classes(&config.detector.classes)?;
    let course = config.course(config.steps_of(data.images.len()));
    let network = Network::new(&config, &data.dataset)?;
    let learner = network.learner(engine, &course, config.init_from.as_ref())?;
    let mut task = Detect::new(engine, &config, data, data, &network, &learner)?;
    write_start(engine, &learner, folder)?;
    let (input, batch) = (config.detector.input, config.batch);
    let slots = super::most_boxes(&data.dataset) * PARTS * batch;
    let (mut images, mut boxes, mut files): (Vec<f16>, Vec<f32>, Vec<String>) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..course.total() {
        task.start_step(engine, step, &mut ())?;
        task.sampling().submit(engine)?;
        images.extend(engine.read::<f32>(&learner.plan.inputs[0])?.into_iter().map(f16::from_f32));
        let row = |(n, s): (usize, &super::Shown)| {
            let [x0, y0, x1, y1] = s.bbox.corners().map(|v| v as f32);
            [n as f32, x0, y0, x1, y1, s.class.map_or(-1.0, |c| c as f32)]
        };
        let mut rows: Vec<[f32; COLUMNS]> =
            task.shown.iter().enumerate().flat_map(|(n, all)| all.iter().map(move |s| row((n, s)))).collect();
        rows.resize(slots, [-1.0; COLUMNS]);
        boxes.extend(rows.as_flattened());
        let steps = step % STEPS_A_FILE + 1;
        if steps == STEPS_A_FILE || step + 1 == course.total() {
            let name = format!("batches-{:05}.safetensors", step / STEPS_A_FILE);
            let images = Values::F16(std::mem::take(&mut images));
            let boxes = Values::F32(std::mem::take(&mut boxes));
            write(
                &folder.join(&name),
                [("images", vec![steps, batch, input, input, 4], images), ("boxes", vec![steps, slots, COLUMNS], boxes)],
            )?;
            files.push(name);
        }
        on(step + 1);
    }
    // The first step, taken.
    task.start_step(engine, 0, &mut ())?;
    task.sampling().submit(engine)?;
    if let Some(pause) = &learner.plan.pause {
        let [before, _] = learner.plan.plan.clone().split_at(pause.after);
        before.submit(engine)?;
        task.pause(engine, &learner, 0)?;
    }
    learner.optimizer.set(engine, StepFactors { lr: course.learning_rate(0), step: 1 })?;
    let loss = || -> Result<f32> {
        learner.plan.plan.submit(engine)?;
        Ok(engine.read::<f32>(&learner.plan.outputs[0])?[0])
    };
    let before = loss()?;
    learner.optimizer.plan.submit(engine)?;
    let after = loss()?;
    let value = |(name, tensor): (&str, &crate::gpu::Tensor)| -> Result<(String, Vec<usize>, Values)> {
        let values = match tensor.dtype() {
            DType::U32 => engine.read::<u32>(tensor)?.into_iter().map(|v| v as f32).collect(),
            _ => engine.read::<f32>(tensor)?,
        };
        Ok((name.into(), tensor.shape().to_vec(), Values::F32(values)))
    };
    let mut first = network.graph().input_names().zip(&learner.plan.inputs).map(value).collect::<Result<Vec<_>>>()?;
    first.push(("loss".into(), vec![2], Values::F32(vec![before, after])));
    write(&folder.join("first.safetensors"), first)?;
    let manifest = serde_json::json!({ "train": config, "steps": course.steps, "files": files, "steps_per_file": STEPS_A_FILE });
    put(&folder.join("manifest.json"), format!("{manifest:#}\n").as_bytes())
}

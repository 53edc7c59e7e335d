//! The loop on a network of two weights: when checkpoints are there, and what they keep from being done again.

use super::*;
use crate::gpu::{AdapterChoice, PlanBuilder, Precision};
use crate::nn::ops::{Linear, WeightedMeans};
use crate::nn::{EncoderConfig, Graph, OptimizerConfig};
use crate::train::checkpoint::refuse_unfinished;
use crate::train::{Log, TrainConfig};

const STEPS: usize = 6;

/// A task that fails as it prepares one of its steps.
struct Toy {
    broken: Option<usize>,
    network: EncoderConfig,
    sampling: Plan,
}

fn course() -> Course {
    Course {
        epochs: 1,
        steps: STEPS,
        items: 1,
        seed: 3,
        warmup: 0.0,
        hold: 0.0,
        optimizer: OptimizerConfig::default(),
        precision: Precision::Full,
        validate_every: 1,
        checkpoint_every: 4,
    }
}

impl Task for Toy {
    type Config = u32;
    type Network = EncoderConfig;
    type State = ();

    fn config(&self) -> &u32 {
        &7
    }
    fn network(&self) -> &EncoderConfig {
        &self.network
    }
    fn course(&self) -> Course {
        course()
    }
    fn patch_m(&self) -> f64 {
        1.0
    }
    fn pixel_m(&self) -> Option<f64> {
        None
    }
    fn sampling(&self) -> &Plan {
        &self.sampling
    }
    fn start_epoch(&mut self, _: &Engine, _: &Learner, _: usize, (): &mut ()) -> Result<()> {
        Ok(())
    }
    fn start_step(&mut self, _: &Engine, step: usize, (): &mut ()) -> Result<()> {
        match self.broken == Some(step) {
            true => Err(Error::invalid("planted")),
            false => Ok(()),
        }
    }
    fn validate(&mut self, _: &Engine, _: &Learner, step: usize) -> Result<serde_json::Value> {
        Ok(serde_json::json!({ "step": step, "found": 1.0 }))
    }
}

/// A run that fails as it prepares step `broken` (from 0), as `train` starts it.
fn train(engine: &Engine, out: &Path, broken: Option<usize>, resume: bool) -> Result<Outcome> {
    if !resume {
        refuse_unfinished(out)?;
    }
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 2]);
    let y = graph.add("linear", Linear { out: 1, bias: false }, &[x])?;
    let loss = graph.add("loss", WeightedMeans { weights: vec![1.0] }, &[y])?;
    let learner = Learner::new(engine, &graph, loss, None, &course())?;
    engine.write(&learner.plan.inputs[0], &[1.0f32, -0.5])?;
    let task = Toy { broken, network: TrainConfig::default().encoder, sampling: PlanBuilder::new(engine).finish() };
    let mut log = Log::beside(out)?;
    run(engine, task, learner, Vec::new(), out, resume, &AtomicBool::new(false), |event| log.note(&event))
}

/// The steps that the log tells of, in its order.
fn told(out: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(Log::beside(out).unwrap().path()).unwrap();
    text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["step"].as_u64().unwrap()).collect()
}

#[test]
fn a_run_that_cannot_do_a_step_leaves_no_checkpoint_and_one_that_could_is_gone_on_with() {
    let engine = pollster::block_on(Engine::new(&AdapterChoice::from_option(None))).expect("a GPU adapter (see `make test`)");
    let dir = tempfile::tempdir().unwrap();
    let (whole, out) = (dir.path().join("whole"), dir.path().join("model"));
    assert_eq!(train(&engine, &whole, None, false).unwrap(), Outcome::Finished);
    assert_eq!(told(&whole), [1, 2, 3, 4, 5, 6, 6]);

    assert_eq!(train(&engine, &out, Some(0), false).unwrap_err().to_string(), "planted");
    assert!(!checkpoint_path(&out).exists());
    let nothing = train(&engine, &out, None, true).unwrap_err();
    assert!(nothing.to_string().contains("model.checkpoint: is not there") && nothing.io_kind() == Some(std::io::ErrorKind::NotFound));

    // The second step does not come: the first is kept, and not thrown away by a new run.
    train(&engine, &out, Some(1), false).unwrap_err();
    let refused = train(&engine, &out, None, false).unwrap_err().to_string();
    assert!(refused.contains("model.checkpoint") && refused.contains("--resume"), "{refused}");

    // As after a hard stop: the log knows a step (the sixth's loss was not read) that the checkpoint of the fourth does not.
    train(&engine, &out, Some(5), true).unwrap_err();
    let mut log = Log::beside(&out).unwrap();
    assert_eq!(told(&out), [1, 2, 3, 4]);
    log.note(&Event::Step { step: 5, loss: 0.0, accuracy: None, lr: 0.0, rate: 0.0, figures: Vec::new() });
    assert_eq!(train(&engine, &out, None, true).unwrap(), Outcome::Finished);
    assert_eq!(told(&out), told(&whole));
    let same = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    assert!(same("model") == same("whole"), "resumed weights differ");
}

#[test]
fn a_checkpoint_before_the_first_step_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("model");
    let keep = |step: usize| {
        let manifest = serde_json::json!({ "kind": "checkpoint", "training": { "progress": { "step": step } } }).to_string();
        let meta = std::collections::HashMap::from([("echogrid".to_string(), manifest)]);
        let none: Vec<(&str, safetensors::tensor::TensorView<'_>)> = Vec::new();
        std::fs::write(checkpoint_path(&out), safetensors::serialize(none, Some(meta)).unwrap()).unwrap();
    };
    keep(0);
    refuse_unfinished(&out).unwrap();
    keep(1);
    refuse_unfinished(&out).unwrap_err();
    // Whoever cannot be read might be worth something.
    std::fs::write(checkpoint_path(&out), "half").unwrap();
    refuse_unfinished(&out).unwrap_err();
}

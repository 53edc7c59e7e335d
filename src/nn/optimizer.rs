//! AdamW over all parameters of a graph, with the gradient norm clipped.

use super::graph::Graph;
use super::ops::ParamKind;
use super::weights::{Result, TensorMap, Weights, WeightsError, mean_name};
use crate::gpu::{DType, Engine, Plan, PlanBuilder, Readback, Tensor};
use crate::kernels::optim::{self, AdamW, LossScale, Step};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// Constants of the optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Peak learning rate.
    pub lr: f64,
    /// Decoupled weight decay of weights (not of biases and normalisation).
    pub weight_decay: f64,
    /// Decay of the mean gradient.
    pub beta1: f64,
    /// Decay of the mean squared gradient.
    pub beta2: f64,
    /// Largest norm of all gradients together.
    pub clip: f64,
    /// Share that a running mean of the weights keeps at each step, less in the first steps: then the mean is what is validated and written. 0: no mean, the
    /// weights themselves.
    pub average: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self { lr: 2e-3, weight_decay: 0.01, beta1: 0.9, beta2: 0.999, clip: 5.0, average: 0.0 }
    }
}

impl OptimizerConfig {
    /// With the values that something to be read names.
    ///
    /// # Errors
    /// Another name, another type.
    pub fn changed_by<'de, D: Deserializer<'de>>(&self, said: D) -> std::result::Result<Self, D::Error> {
        let said = serde_json::Map::deserialize(said)?;
        let mut all = serde_json::to_value(self).map_err(D::Error::custom)?;
        all.as_object_mut().expect("a struct").extend(said);
        serde_json::from_value(all).map_err(D::Error::custom)
    }
}

/// What changes from step to step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepFactors {
    /// Learning rate now.
    pub lr: f64,
    /// Number of this step, from 1.
    pub step: u64,
}

/// What a checkpoint calls the loss scale.
const SCALE: &str = "optimizer.scale";
/// Where a loss scale begins.
const FIRST_SCALE: f32 = 65536.0;
/// Steps that were not skipped after which it doubles.
const SCALE_GROWTH: u32 = 1000;

/// What became of the loss scale, on its way back.
#[derive(Debug)]
pub struct ScaleReadback {
    clip: Readback,
    scale: Readback,
}

impl ScaleReadback {
    /// The scale after a step, and whether that step was skipped.
    ///
    /// # Errors
    /// Device lost.
    pub fn finish(self, engine: &Engine) -> Result<(f32, bool)> {
        let clip: Vec<f32> = self.clip.finish(engine)?;
        Ok((self.scale.finish::<f32>(engine)?[0], clip[1] != 0.0))
    }
}

/// AdamW state and its plan.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    step: Tensor,
    clip: Tensor,
    scale: Option<Tensor>,
    moments: BTreeMap<String, (Tensor, Tensor)>,
    mean: Option<Weights>,
    /// Dispatches of one step.
    pub plan: Plan,
}

impl Optimizer {
    /// For the gradients of a training plan, in the order of the graph's parameters. Where `scale` is given, the gradient of the loss that the plan
    /// starts from ([`TrainingPlan::loss_gradient`](super::TrainingPlan)), it becomes a loss scale: for mixed precision, whose
    /// gradients would be lost in f16. Steps that it makes the optimiser skip count in the bias corrections.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(
        engine: &Engine,
        graph: &Graph,
        weights: &Weights,
        gradients: &[Option<Tensor>],
        config: OptimizerConfig,
        scale: Option<&Tensor>,
    ) -> Result<Self> {
        if let Some(scale) = scale {
            engine.write(scale, &[FIRST_SCALE])?;
        }
        let step = engine.tensor("step", &[Step::LEN], DType::F32)?;
        let clip = engine.tensor("clip", &[4], DType::F32)?;
        let mut builder = PlanBuilder::new(engine);
        let all: Vec<&Tensor> = gradients.iter().flatten().collect();
        let partials = engine.tensor("gradient norm", &[optim::partials_len(&all)], DType::F32)?;
        let loss_scale = scale.map(|scale| LossScale { scale, growth: SCALE_GROWTH });
        optim::grad_norm(&mut builder, &all, &step, config.clip as f32, &partials, &clip, loss_scale)?;
        let mut moments = BTreeMap::new();
        for ((name, spec), gradient) in graph.params().iter().zip(gradients) {
            let Some(gradient) = gradient else { continue };
            let (m, v) = (engine.tensor("m", &spec.shape, DType::F32)?, engine.tensor("v", &spec.shape, DType::F32)?);
            let hyper = AdamW {
                beta1: config.beta1 as f32,
                beta2: config.beta2 as f32,
                eps: 1e-8,
                weight_decay: if spec.kind == ParamKind::Weight { config.weight_decay as f32 } else { 0.0 },
            };
            let w = weights.get(name).expect("weights hold every parameter of the graph");
            optim::adamw(&mut builder, hyper, gradient, &step, Some(&clip), w, &m, &v)?;
            moments.insert(name.clone(), (m, v));
        }
        let mean = (config.average > 0.0).then(|| weights.room(engine)).transpose()?;
        for (name, mean) in mean.iter().flat_map(Weights::named) {
            optim::mean(&mut builder, weights.get(name).expect("room for each of them"), &step, mean)?;
        }
        Ok(Self { config, step, clip, scale: scale.cloned(), moments, mean, plan: builder.finish() })
    }

    /// The running mean of the weights, if one is kept: the weights themselves after the first step.
    pub fn mean(&self) -> Option<&Weights> {
        self.mean.as_ref()
    }

    /// Sets what the next run of the plan uses.
    ///
    /// # Errors
    /// Device lost.
    pub fn set(&self, engine: &Engine, factors: StepFactors) -> Result<()> {
        // Of few steps the mean is of all of them.
        let keep = self.config.average.min((factors.step.max(1) - 1) as f64 / (factors.step + 8) as f64);
        let step = Step { lr: factors.lr as f32, t: factors.step as u32, grad_scale: 1.0, share: (1.0 - keep) as f32 };
        Ok(engine.write(&self.step, &step.tensor_values(self.config.beta1 as f32, self.config.beta2 as f32))?)
    }

    /// Norm of the last step's gradients, and whether the step was skipped because it was not finite.
    ///
    /// # Errors
    /// Device lost.
    pub fn last_norm(&self, engine: &Engine) -> Result<(f32, bool)> {
        let v: Vec<f32> = engine.read(&self.clip)?;
        Ok((v[2], v[1] != 0.0))
    }

    /// Starts reading what the last step did to the loss scale, if there is one.
    ///
    /// # Errors
    /// Device lost.
    pub fn start_scale(&self, engine: &Engine) -> Result<Option<ScaleReadback>> {
        let Some(scale) = &self.scale else { return Ok(None) };
        Ok(Some(ScaleReadback { clip: engine.start_read(&self.clip)?, scale: engine.start_read(scale)? }))
    }

    /// The moments, as tensors called `optimizer.m.NAME` and `optimizer.v.NAME`; a running mean, `optimizer.mean.NAME`; a loss scale and what counts
    /// towards its growth.
    ///
    /// # Errors
    /// Device lost.
    pub fn read(&self, engine: &Engine) -> Result<TensorMap> {
        let mut out = BTreeMap::new();
        for (name, (m, v)) in &self.moments {
            out.insert(format!("optimizer.m.{name}"), (m.shape().to_vec(), engine.read(m)?));
            out.insert(format!("optimizer.v.{name}"), (v.shape().to_vec(), engine.read(v)?));
        }
        for (name, mean) in self.mean.iter().flat_map(Weights::named) {
            out.insert(mean_name(name), (mean.shape().to_vec(), engine.read(mean)?));
        }
        if let Some(scale) = &self.scale {
            let state = vec![engine.read::<f32>(scale)?[0], engine.read::<f32>(&self.clip)?[3]];
            out.insert(SCALE.into(), (vec![2], state));
        }
        Ok(out)
    }

    /// Restores what [`Optimizer::read`] gave.
    ///
    /// # Errors
    /// A moment is missing or has other extents.
    pub fn load(&self, engine: &Engine, tensors: &TensorMap) -> Result<()> {
        let values = |full: &str| {
            let missing = || WeightsError::Format { path: "checkpoint".into(), reason: format!("`{full}` is missing") };
            tensors.get(full).map(|(_, values)| values).ok_or_else(missing)
        };
        for (name, (m, v)) in &self.moments {
            engine.write(m, values(&format!("optimizer.m.{name}"))?)?;
            engine.write(v, values(&format!("optimizer.v.{name}"))?)?;
        }
        for (name, mean) in self.mean.iter().flat_map(Weights::named) {
            engine.write(mean, values(&mean_name(name))?)?;
        }
        if let Some(scale) = &self.scale {
            let [now, good] = values(SCALE)?[..] else {
                return Err(WeightsError::Format { path: "checkpoint".into(), reason: format!("`{SCALE}` is not two values") });
            };
            engine.write(scale, &[now])?;
            engine.write(&self.clip, &[0.0, 0.0, 0.0, good])?;
        }
        Ok(())
    }
}

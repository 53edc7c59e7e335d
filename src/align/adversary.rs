//! Networks that tell the modalities apart, trained beside the encoder on the embeddings it has just made.

use super::config::{Align, AlignConfig};
use crate::gpu::{Engine, Plan, PlanBuilder, Result, Tensor};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise;
use crate::nn::ops::{
    BinaryXent, Detach, GradientPenalty, Interpolate, Linear, LinearTransposed, Pointwise, Rows, Slope, Stack, WeightedMeans,
};
use crate::nn::{Graph, NodeId, Optimizer, OptimizerConfig, StepFactors, TensorMap, TrainingPlan, Weights, WeightsError};
use crate::random::Random;

/// What the parameters' names begin with. Models carry nothing of the loss.
pub(super) const PREFIX: &str = "loss.adversary";

/// Stream of random numbers; training has others.
const MIX: u64 = 8;

/// Slope of the LeakyReLUs below 0.
const LEAK: f32 = 0.2;

/// The scores [B, 1] of the rows of the first two of some clouds [B, D] by a multilayer perceptron to one value, and the values before
/// each activation, of all clouds below each other. They go through a layer as one batch: one product, and one gradient of its weights.
pub(super) fn scores(graph: &mut Graph, hidden: &[usize], clouds: &[NodeId]) -> Result<([NodeId; 2], Vec<NodeId>)> {
    let batch = graph.shape(clouds[0])[0];
    let mut y = graph.add(&format!("{PREFIX}.stack"), Stack, clouds)?;
    let mut before = Vec::with_capacity(hidden.len());
    for (i, width) in hidden.iter().enumerate() {
        let h = graph.add(&format!("{PREFIX}.{i}"), Linear { out: *width, bias: true }, &[y])?;
        before.push(h);
        y = graph.add(&format!("{PREFIX}.act"), Pointwise(Activation::LeakyRelu(LEAK)), &[h])?;
    }
    let out = graph.add(&format!("{PREFIX}.out"), Linear { out: 1, bias: true }, &[y])?;
    let mut part = |i: usize| graph.add(&format!("{PREFIX}.rows"), Rows { from: i * batch, count: batch }, &[out]);
    Ok(([part(0)?, part(1)?], before))
}

/// The score's gradient in its input, W1' S1 W2' S2 .. w, at the last of the clouds that `before` ([`scores`]) is of, as many rows as
/// `ones` has; S are the slopes there: locally constant, so this product is exact and its own gradient needs no second backward pass.
fn input_gradient(graph: &mut Graph, hidden: &[usize], dim: usize, before: &[NodeId], ones: NodeId) -> Result<NodeId> {
    let width = |i: usize| if i == 0 { dim } else { hidden[i - 1] };
    let mut v = graph.add(&format!("{PREFIX}.out"), LinearTransposed { inputs: width(hidden.len()) }, &[ones])?;
    let count = graph.shape(ones)[0];
    for i in (0..hidden.len()).rev() {
        let from = graph.shape(before[i])[0] - count;
        let at = graph.add(&format!("{PREFIX}.rows"), Rows { from, count }, &[before[i]])?;
        // A slope is constant wherever it has a derivative: no gradient goes that way.
        let at = graph.add(&format!("{PREFIX}.detach"), Detach, &[at])?;
        v = graph.add(&format!("{PREFIX}.slope"), Slope { slope: LEAK }, &[at, v])?;
        v = graph.add(&format!("{PREFIX}.{i}"), LinearTransposed { inputs: width(i) }, &[v])?;
    }
    Ok(v)
}

/// A critic or a classifier, with what trains it.
#[derive(Debug)]
pub struct Adversary {
    weights: Weights,
    optimizer: Optimizer,
    /// A step: both passes, the optimiser, and clipping where the method says so.
    step: Plan,
    loss: Tensor,
    mix: Option<Tensor>,
    config: AlignConfig,
    seed: u64,
}

impl Adversary {
    /// Its graph over embeddings [B, D] and its loss. Inputs `map`, `sar`, then with a gradient penalty `ones` [B, 1] and `mix` [B].
    fn describe(config: &AlignConfig, batch: usize, dim: usize) -> Result<(Graph, NodeId)> {
        let mut graph = Graph::new();
        let map = graph.input("map", &[batch, dim]);
        let sar = graph.input("sar", &[batch, dim]);
        let mut clouds = vec![map, sar];
        let mut ones = None;
        if config.method == Align::CriticGp {
            ones = Some(graph.input("ones", &[batch, 1]));
            let mix = graph.input("mix", &[batch]);
            clouds.push(graph.add("between", Interpolate, &[map, sar, mix])?);
        }
        let ([of_map, of_sar], before) = scores(&mut graph, &config.hidden, &clouds)?;
        if config.method == Align::Class {
            let right = graph.add("map", BinaryXent::all(true), &[of_map])?;
            let left = graph.add("sar", BinaryXent::all(false), &[of_sar])?;
            let loss = graph.add("loss", WeightedMeans { weights: vec![0.5, 0.5] }, &[right, left])?;
            return Ok((graph, loss));
        }
        let distance = graph.add("distance", WeightedMeans { weights: vec![1.0, -1.0] }, &[of_map, of_sar])?;
        let loss = match ones {
            Some(ones) => {
                let slope = input_gradient(&mut graph, &config.hidden, dim, &before, ones)?;
                let penalty = graph.add("penalty", GradientPenalty { one_sided: config.penalty_one_sided }, &[slope])?;
                graph.add("loss", WeightedMeans { weights: vec![-1.0, config.penalty] }, &[distance, penalty])?
            }
            None => graph.add("loss", WeightedMeans { weights: vec![-1.0] }, &[distance])?,
        };
        Ok((graph, loss))
    }

    /// Start values of its parameters.
    pub(super) fn start(engine: &Engine, config: &AlignConfig, batch: usize, dim: usize, seed: u64) -> Result<Weights, WeightsError> {
        let weights = Weights::init(engine, &Self::describe(config, batch, dim)?.0, seed)?;
        if config.method == Align::CriticClip {
            Self::clipped(engine, config, &weights)?.submit(engine)?;
        }
        Ok(weights)
    }

    fn clipped(engine: &Engine, config: &AlignConfig, weights: &Weights) -> Result<Plan> {
        let mut plan = PlanBuilder::new(engine);
        plan.scope("clip");
        for tensor in weights.tensors() {
            elementwise::clamp(&mut plan, tensor, config.clip)?;
        }
        Ok(plan.finish())
    }

    /// Trains `weights` (of [`Adversary::start`]) on the embeddings [B, D] that the given tensors hold at each step.
    ///
    /// # Errors
    /// Shapes, limits, memory.
    pub(super) fn new(
        engine: &Engine,
        config: &AlignConfig,
        weights: Weights,
        map: &Tensor,
        sar: &Tensor,
        seed: u64,
    ) -> Result<Self, WeightsError> {
        let [batch, dim] = map.shape() else { unreachable!("embeddings are rows") };
        let (graph, loss) = Self::describe(config, *batch, *dim)?;
        let TrainingPlan { plan: mut step, inputs, outputs, gradients, .. } =
            graph.training_on(engine, &weights, &[loss], &[map.clone(), sar.clone()])?;
        // No weight decay: it would pull a critic's slope to 0; the penalty or the clipping holds it.
        let settings = OptimizerConfig { lr: config.adversary_lr, weight_decay: 0.0, beta1: 0.5, beta2: 0.9, clip: 1e3, average: 0.0 };
        let optimizer = Optimizer::new(engine, &graph, &weights, &gradients, settings, None)?;
        step.extend(optimizer.plan.clone());
        if config.method == Align::CriticClip {
            step.extend(Self::clipped(engine, config, &weights)?);
        }
        if let Some(ones) = inputs.get(2) {
            engine.write(ones, &vec![1.0f32; *batch])?;
        }
        let mix = inputs.get(3).cloned();
        Ok(Self { weights, optimizer, step, loss: outputs[0].clone(), mix, config: config.clone(), seed })
    }

    /// Submits its steps to the encoder's step number `step` (from 0), on the embeddings as they are. Everything random hangs on the
    /// seed and that number.
    ///
    /// # Errors
    /// Device lost.
    pub fn train(&self, engine: &Engine, step: usize) -> Result<(), WeightsError> {
        for inner in 0..self.config.adversary_steps {
            let count = (step * self.config.adversary_steps + inner) as u64;
            if let Some(mix) = &self.mix {
                let mut random = Random::new(self.seed, MIX << 40 | count);
                engine.write(mix, &(0..mix.len()).map(|_| random.unit() as f32).collect::<Vec<f32>>())?;
            }
            self.optimizer.set(engine, StepFactors { lr: self.config.adversary_lr, step: count + 1 })?;
            self.step.submit(engine)?;
        }
        Ok(())
    }

    /// Trains one on the rows of `train` (map, SAR; of length `dim`) for its steps, and judges it on those of `test`, as many of either: a
    /// classifier by its share of right answers, a critic by the difference of its mean scores over its mean slope on the way from one row to
    /// the other. (At its optimum a critic of slope m on clouds a distance d apart weighs m d against the penalty w (m - 1)^2, so m is
    /// 1 + d / 2w and not 1; where weights are clipped it is anything.)
    ///
    /// # Errors
    /// Shapes, limits, memory.
    pub fn held_out(
        engine: &Engine,
        config: &AlignConfig,
        dim: usize,
        train: [&[f32]; 2],
        test: [&[f32]; 2],
        seed: u64,
    ) -> Result<f64, WeightsError> {
        let rows = |values: &[f32]| engine.upload_f32("embeddings", &[values.len() / dim, dim], values);
        let batch = train[0].len() / dim;
        let weights = Self::start(engine, config, batch, dim, seed)?;
        let adversary = Self::new(engine, config, weights, &rows(train[0])?, &rows(train[1])?, seed)?;
        adversary.train(engine, 0)?;
        let batch = test[0].len() / dim;
        let mut graph = Graph::new();
        let clouds = ["map", "sar"].map(|name| graph.input(name, &[batch, dim]));
        let mix = graph.input("mix", &[batch]);
        let ones = graph.input("ones", &[batch, 1]);
        let between = graph.add("between", Interpolate, &[clouds[0], clouds[1], mix])?;
        let (scores, before) = scores(&mut graph, &config.hidden, &[clouds[0], clouds[1], between])?;
        let slope = input_gradient(&mut graph, &config.hidden, dim, &before, ones)?;
        let plan = graph.inference(engine, &adversary.weights, &[scores[0], scores[1], slope])?;
        engine.write(&plan.inputs[0], test[0])?;
        engine.write(&plan.inputs[1], test[1])?;
        engine.write(&plan.inputs[2], &vec![0.5f32; batch])?;
        engine.write(&plan.inputs[3], &vec![1.0f32; batch])?;
        plan.plan.submit(engine)?;
        let read = |i: usize| engine.read::<f32>(&plan.outputs[i]);
        let (map, sar, slope) = (read(0)?, read(1)?, read(2)?);
        let mean = |v: &[f32], f: fn(f32) -> f64| v.iter().map(|z| f(*z)).sum::<f64>() / v.len() as f64;
        Ok(match config.method {
            Align::Class => (mean(&map, |z| f64::from(u8::from(z > 0.0))) + mean(&sar, |z| f64::from(u8::from(z < 0.0)))) / 2.0,
            _ => {
                let length = |g: &[f32]| g.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                let steep = slope.chunks_exact(dim).map(length).sum::<f64>() / batch as f64;
                (mean(&map, f64::from) - mean(&sar, f64::from)) / steep.max(f64::MIN_POSITIVE)
            }
        })
    }

    /// The dispatches of all its steps to one of the encoder, for profiles.
    pub(super) fn step_plan(&self) -> Plan {
        let mut all = Plan::default();
        for _ in 0..self.config.adversary_steps {
            all.extend(self.step.clone());
        }
        all
    }

    /// Its last loss \[1\].
    pub(super) fn loss(&self) -> &Tensor {
        &self.loss
    }

    /// Its parameters and its optimiser's state.
    ///
    /// # Errors
    /// Device lost.
    pub fn read(&self, engine: &Engine) -> Result<TensorMap, WeightsError> {
        let mut all = self.weights.read(engine)?;
        all.extend(self.optimizer.read(engine)?);
        Ok(all)
    }

    /// Restores what [`Adversary::read`] gave.
    ///
    /// # Errors
    /// Something is missing or has other extents.
    pub fn load(&self, engine: &Engine, tensors: &TensorMap) -> Result<(), WeightsError> {
        if self.weights.load(engine, tensors)? != self.weights.len() {
            return Err(WeightsError::Format { path: "checkpoint".into(), reason: "the adversary's weights are missing".into() });
        }
        self.optimizer.load(engine, tensors)
    }
}

//! The alignment loss as part of the encoder's graph, and what runs beside it.

use super::adversary::{Adversary, PREFIX, scores};
use super::config::{Align, AlignConfig, Sides};
use crate::gpu::{Engine, Plan, Readback, Result, Tensor};
use crate::nn::ops::{BinaryXent, CenterRows, Detach, Discrepancy, Measure, Product, ReverseGradient, SinkhornDivergence, WeightedMeans};
use crate::nn::{Graph, NodeId, TensorMap, TrainingPlan, Weights, WeightsError};

/// What a graph gets from [`Objective::append`].
#[derive(Debug, Clone)]
pub struct Objective {
    config: AlignConfig,
    batch: usize,
    dim: usize,
    /// The embeddings, and what else is watched.
    map: NodeId,
    sar: NodeId,
    /// The alignment loss \[1\], without its weight.
    loss: NodeId,
    /// Scores of map and SAR patches by a classifier inside the graph.
    scores: Option<[NodeId; 2]>,
    /// Where the factor of gradient reversal stands among the graph's inputs.
    factor: Option<usize>,
}

impl Objective {
    /// Appends the loss that draws the embeddings `map` and `sar` [B, D] (unit rows) together. Gradient reversal adds an input `reversal`
    /// \[1\] to the graph, its factor.
    ///
    /// # Errors
    /// Shapes, or a batch too large for the method.
    pub fn append(config: &AlignConfig, graph: &mut Graph, map: NodeId, sar: NodeId) -> Result<Option<Self>> {
        if config.method == Align::None {
            return Ok(None);
        }
        let (batch, dim) = (graph.shape(map)[0], graph.shape(map)[1]);
        let a = match config.sides {
            Sides::Both => map,
            Sides::Sar => graph.add("align.detach", Detach, &[map])?,
        };
        let (mut judged, mut factor) = (None, None);
        let loss = match config.method {
            Align::None => unreachable!("returned above"),
            Align::CriticClip | Align::CriticGp => {
                let ([of_map, of_sar], _) = scores(graph, &config.hidden, &[a, sar])?;
                graph.freeze(PREFIX);
                // What the critic holds for the distance: the encoder lowers it.
                graph.add("align", WeightedMeans { weights: vec![1.0, -1.0] }, &[of_map, of_sar])?
            }
            Align::Class => {
                let flip = config.flips();
                let mut x = [a, sar];
                if !flip {
                    let reversal = graph.input("reversal", &[1]);
                    factor = graph.input_index(reversal);
                    for node in &mut x {
                        *node = graph.add("align.reversal", ReverseGradient, &[*node, reversal])?;
                    }
                }
                let ([of_map, of_sar], _) = scores(graph, &config.hidden, &x)?;
                if flip {
                    graph.freeze(PREFIX);
                }
                judged = Some([of_map, of_sar]);
                let of_map = graph.add("align.map", BinaryXent::all(!flip), &[of_map])?;
                let of_sar = graph.add("align.sar", BinaryXent::all(flip), &[of_sar])?;
                graph.add("align", WeightedMeans { weights: vec![0.5, 0.5] }, &[of_map, of_sar])?
            }
            Align::Sinkhorn => {
                let products = products(graph, a, sar)?;
                graph.add("align", SinkhornDivergence { eps: config.eps, iterations: config.iterations }, &products)?
            }
            Align::Mmd => {
                let products = products(graph, a, sar)?;
                graph.add("align", Discrepancy { measure: Measure::Mmd { bandwidths: config.bandwidths } }, &products)?
            }
            Align::Coral => {
                let a = graph.add("align.center", CenterRows, &[a])?;
                let b = graph.add("align.center", CenterRows, &[sar])?;
                let products = products(graph, a, b)?;
                graph.add("align", Discrepancy { measure: Measure::Coral { dim } }, &products)?
            }
        };
        Ok(Some(Self { config: config.clone(), batch, dim, map, sar, loss, scores: judged, factor }))
    }

    /// The alignment loss \[1\], without its weight.
    pub fn loss(&self) -> NodeId {
        self.loss
    }

    /// The nodes that must stay readable behind the loss of the whole, in the order that [`Aligned::new`] expects.
    pub fn outputs(&self) -> Vec<NodeId> {
        [self.map, self.sar, self.loss].into_iter().chain(self.scores.into_iter().flatten()).collect()
    }

    /// Start values of the adversary's parameters, which the encoder's weights must adopt; `None` where there is no adversary.
    ///
    /// # Errors
    /// Out of device memory.
    pub fn adversary(&self, engine: &Engine, seed: u64) -> Result<Option<Weights>, WeightsError> {
        match self.config.has_adversary() {
            true => Adversary::start(engine, &self.config, self.batch, self.dim, seed).map(Some),
            false => Ok(None),
        }
    }
}

/// The products of unit rows: a b', a a', b b'.
fn products(graph: &mut Graph, a: NodeId, b: NodeId) -> Result<[NodeId; 3]> {
    Ok([graph.add("align.ab", Product, &[a, b])?, graph.add("align.aa", Product, &[a, a])?, graph.add("align.bb", Product, &[b, b])?])
}

/// A figure that a run's log shows at each step.
#[derive(Debug)]
struct Watched {
    name: &'static str,
    tensor: Tensor,
    sum: fn(&[f32]) -> f32,
}

/// Readbacks of the figures of a step, under way.
#[derive(Debug)]
pub struct Figures(Vec<Figure>);

#[derive(Debug)]
struct Figure {
    name: &'static str,
    sum: fn(&[f32]) -> f32,
    readback: Readback,
}

impl Figures {
    /// Waits for them: names and values. Of a name that comes twice the mean.
    ///
    /// # Errors
    /// Device lost.
    pub fn finish(self, engine: &Engine) -> Result<Vec<(&'static str, f32)>> {
        let mut all: Vec<(&'static str, f32, f32)> = Vec::with_capacity(self.0.len());
        for Figure { name, sum, readback } in self.0 {
            let value = sum(&readback.finish::<f32>(engine)?);
            match all.iter_mut().find(|f| f.0 == name) {
                Some(f) => (f.1, f.2) = (f.1 + value, f.2 + 1.0),
                None => all.push((name, value, 1.0)),
            }
        }
        Ok(all.into_iter().map(|(name, sum, n)| (name, sum / n)).collect())
    }
}

/// What a run that aligns does beside the encoder's own steps.
#[derive(Debug)]
pub struct Aligned {
    adversary: Option<Adversary>,
    /// Factor of gradient reversal.
    factor: Option<Tensor>,
    watched: Vec<Watched>,
}

impl Aligned {
    /// For the encoder's plan whose outputs are some loss and then [`Objective::outputs`]; `adversary` is what
    /// [`Objective::adversary`] gave.
    ///
    /// # Errors
    /// Shapes, limits, memory.
    pub fn new(
        engine: &Engine,
        objective: &Objective,
        adversary: Option<Weights>,
        plan: &TrainingPlan,
        seed: u64,
    ) -> Result<Self, WeightsError> {
        let [map, sar, loss, scores @ ..] = &plan.outputs[1..] else { unreachable!("outputs() names three at least") };
        let config = &objective.config;
        let adversary = adversary.map(|w| Adversary::new(engine, config, w, map, sar, seed)).transpose()?;
        let factor = objective.factor.map(|i| plan.inputs[i].clone());
        let value: fn(&[f32]) -> f32 = |v| v[0];
        let name = match config.method {
            Align::CriticClip | Align::CriticGp => "distance",
            Align::Class => "class_loss",
            Align::Sinkhorn => "sinkhorn",
            Align::Mmd => "mmd",
            Align::Coral => "coral",
            Align::None => unreachable!("no objective"),
        };
        let mut watched = vec![Watched { name, tensor: loss.clone(), sum: value }];
        if let [of_map, of_sar] = scores {
            let right: [fn(&[f32]) -> f32; 2] = [
                |v| v.iter().filter(|z| **z > 0.0).count() as f32 / v.len() as f32,
                |v| v.iter().filter(|z| **z < 0.0).count() as f32 / v.len() as f32,
            ];
            for (tensor, sum) in [of_map, of_sar].into_iter().zip(right) {
                watched.push(Watched { name: "class_accuracy", tensor: tensor.clone(), sum });
            }
        }
        if let Some(a) = &adversary {
            watched.push(Watched { name: "adversary_loss", tensor: a.loss().clone(), sum: value });
        }
        Ok(Self { adversary, factor, watched })
    }

    /// Before the encoder's step at share `p` of the run, 0 to 1.
    ///
    /// # Errors
    /// Device lost.
    pub fn before_step(&self, engine: &Engine, p: f64) -> Result<()> {
        match &self.factor {
            Some(factor) => Ok(engine.write(factor, &[reversal(p) as f32])?),
            None => Ok(()),
        }
    }

    /// After the encoder's step number `step` (from 0): the adversary's own steps on the embeddings of that step.
    ///
    /// # Errors
    /// Device lost.
    pub fn after_step(&self, engine: &Engine, step: usize) -> Result<(), WeightsError> {
        self.adversary.as_ref().map_or(Ok(()), |a| a.train(engine, step))
    }

    /// Starts reading the figures of the step just submitted.
    ///
    /// # Errors
    /// Device lost.
    pub fn figures(&self, engine: &Engine) -> Result<Figures> {
        let start = |w: &Watched| Ok(Figure { name: w.name, sum: w.sum, readback: engine.start_read(&w.tensor)? });
        Ok(Figures(self.watched.iter().map(start).collect::<Result<_>>()?))
    }

    /// The adversary's dispatches to one step of the encoder, for profiles.
    pub fn step_plan(&self) -> Plan {
        self.adversary.as_ref().map_or_else(Plan::default, Adversary::step_plan)
    }

    /// What a checkpoint needs.
    ///
    /// # Errors
    /// Device lost.
    pub fn read(&self, engine: &Engine) -> Result<TensorMap, WeightsError> {
        self.adversary.as_ref().map_or_else(|| Ok(TensorMap::new()), |a| a.read(engine))
    }

    /// Restores what [`Aligned::read`] gave.
    ///
    /// # Errors
    /// Something is missing or has other extents.
    pub fn load(&self, engine: &Engine, tensors: &TensorMap) -> Result<(), WeightsError> {
        self.adversary.as_ref().map_or(Ok(()), |a| a.load(engine, tensors))
    }
}

/// The factor of gradient reversal at share p of a run (Ganin and Lempitsky 2015).
fn reversal(p: f64) -> f64 {
    2.0 / (1.0 + (-10.0 * p).exp()) - 1.0
}

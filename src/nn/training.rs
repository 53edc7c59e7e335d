//! From a graph to a plan of its forward and backward pass.

use super::build::{Build, Pause};
use super::graph::{Graph, NodeId};
use super::lifetimes::{Event, differentiable, reaches};
use super::ops::{Backward, ParamKind};
use super::weights::Weights;
use crate::gpu::{DType, Engine, Error, Plan, Result, Tensor};
use crate::kernels::{elementwise, expect};

/// A forward and backward pass ready to run.
#[derive(Debug)]
pub struct TrainingPlan {
    /// Dispatches of both passes.
    pub plan: Plan,
    /// Where they wait for the host, if they do.
    pub pause: Option<Pause>,
    /// The graph's inputs in order of definition.
    pub inputs: Vec<Tensor>,
    /// The outputs asked for, in order; the loss first.
    pub outputs: Vec<Tensor>,
    /// The gradient of the loss, from which the backward pass starts: 1, until something else is written.
    pub loss_gradient: Tensor,
    /// What the loss's op, or that of the node that the graph watches ([`Graph::watch`]), left for its backward pass, in the order of [`Op::saved`](super::Op::saved): its accuracy, for instance.
    pub saved: Vec<Tensor>,
    /// A gradient for each parameter of the graph; none for statistics.
    pub gradients: Vec<Option<Tensor>>,
    /// Bytes of activations and their gradients.
    pub bytes: u64,
}

impl Graph {
    /// Builds forward and backward. `outputs[0]` is the scalar loss; the others are kept readable.
    ///
    /// # Errors
    /// A loss that is not a scalar; shapes, limits, memory.
    pub fn training(&self, engine: &Engine, weights: &Weights, outputs: &[NodeId]) -> Result<TrainingPlan> {
        self.training_on(engine, weights, outputs, &[])
    }

    /// [`Graph::training`] with inputs that read tensors already there (outputs of another plan, for instance), by their order; those
    /// beyond `given` are made.
    ///
    /// # Errors
    /// As [`Graph::training`]; a given tensor of another shape or type.
    pub fn training_on(&self, engine: &Engine, weights: &Weights, outputs: &[NodeId], given: &[Tensor]) -> Result<TrainingPlan> {
        let loss = outputs[0];
        if self.shape(loss).iter().product::<usize>() != 1 {
            return Err(Error::shape("training", format!("the loss has shape {:?}, not one element", self.shape(loss))));
        }
        let mut both = Both::new(self, engine, weights, outputs);
        both.forward(engine, given)?;
        let loss_gradient = both.start_backward(engine, loss)?;
        for j in (0..self.nodes.len()).rev().filter(|j| both.backward[*j]).collect::<Vec<_>>() {
            both.backward(j)?;
        }
        both.check_reached()?;
        let Both { build, mut saved, gradients, .. } = both;
        let ((inputs, outputs), pause) = (build.ends(outputs), build.pause());
        let saved = std::mem::take(&mut saved[self.watched.unwrap_or(loss).0]);
        Ok(TrainingPlan {
            plan: build.builder.finish(),
            pause,
            inputs,
            outputs,
            loss_gradient,
            saved,
            gradients,
            bytes: build.memory.total(),
        })
    }
}

/// Both passes in the making.
struct Both<'a> {
    build: Build<'a>,
    graph: &'a Graph,
    loss: NodeId,
    differentiable: Vec<bool>,
    /// The nodes that go backward: on a way from a trained parameter to the loss.
    backward: Vec<bool>,
    /// What each op left for its backward pass.
    saved: Vec<Vec<Tensor>>,
    /// Gradients of parameters, and whether they hold something already.
    gradients: Vec<Option<Tensor>>,
    written: Vec<bool>,
    /// Gradients of values that are being summed.
    sums: Vec<Option<Tensor>>,
}

impl<'a> Both<'a> {
    fn new(graph: &'a Graph, engine: &'a Engine, weights: &'a Weights, outputs: &[NodeId]) -> Self {
        let (n, loss) = (graph.nodes.len(), outputs[0]);
        let (differentiable, on_path) = (differentiable(graph), reaches(graph, &[loss]));
        let backward: Vec<bool> = (0..n).map(|i| on_path[i] && differentiable[i] && graph.nodes[i].op.is_some()).collect();
        Self {
            build: Build::new(graph, engine, weights, outputs, &backward),
            graph,
            loss,
            differentiable,
            backward,
            saved: vec![Vec::new(); n],
            gradients: Vec::new(),
            written: vec![false; graph.params.len()],
            sums: vec![None; n],
        }
    }

    fn forward(&mut self, engine: &Engine, given: &[Tensor]) -> Result<()> {
        let mut given = given.iter();
        for (j, node) in self.graph.nodes.iter().enumerate() {
            if node.op.is_none() {
                self.build.values[j] = Some(match given.next() {
                    Some(t) => {
                        expect("training", &node.name, t, &node.shape, node.dtype)?;
                        t.clone()
                    }
                    None => engine.tensor(&node.name, &node.shape, node.dtype)?,
                });
            } else if self.build.lifetimes.needed(j) {
                self.saved[j] = self.build.forward(j, true)?;
                if !self.backward[j] {
                    self.give_saved(j);
                }
                self.build.end(j, Event::Forward(j));
            }
        }
        Ok(())
    }

    fn give_saved(&mut self, j: usize) {
        self.saved[j].drain(..).for_each(|t| self.build.memory.give(&t));
    }

    /// Makes the gradients of the parameters and that of the loss.
    fn start_backward(&mut self, engine: &Engine, loss: NodeId) -> Result<Tensor> {
        for (name, spec) in &self.graph.params {
            self.gradients.push(match spec.kind {
                ParamKind::Statistic => None,
                _ => Some(engine.tensor(&format!("gradient of {name}"), &spec.shape, DType::F32)?),
            });
        }
        let gradient = engine.upload_f32("gradient of the loss", self.graph.shape(loss), &[1.0])?;
        self.sums[loss.0] = Some(gradient.clone());
        Ok(gradient)
    }

    /// Records a node's backward pass.
    fn backward(&mut self, j: usize) -> Result<()> {
        let Some(dy) = self.sums[j].take() else { return Ok(()) };
        let node = &self.graph.nodes[j];
        let op = self.build.begin(j);
        let (dx, dparams) = (self.room_for_inputs(j)?, self.room_for_params(j)?);
        let params = self.build.params_of(j);
        let Build { values, builder, .. } = &mut self.build;
        let inputs: Vec<&Tensor> = node.inputs.iter().map(|i| values[i.0].as_ref().expect("kept by construction")).collect();
        let output = values[j].as_ref().expect("made forward");
        op.backward(
            builder,
            &Backward { inputs: &inputs, params: &params, saved: &self.saved[j], output, dy: &dy, dx: &dx, dparams: &dparams },
        )?;
        self.add_to_params(j, &dparams)?;
        self.add_to_inputs(j, dx)?;
        // The loss's own gradient is a constant: it must survive for the next run.
        if j != self.loss.0 {
            self.build.memory.give(&dy);
        }
        if j != self.graph.watched.unwrap_or(self.loss).0 {
            self.give_saved(j);
        }
        self.build.end(j, Event::backward(j));
        Ok(())
    }

    /// Where a node writes the gradients of its inputs: a gradient that has a value already, or is asked for twice by one node, goes through
    /// scratch and is added.
    fn room_for_inputs(&mut self, j: usize) -> Result<Vec<Option<Tensor>>> {
        let room = |i: &NodeId| match self.differentiable[i.0] {
            true => self.build.memory.take("gradient", &self.graph.nodes[i.0].shape, self.build.types[i.0]).map(Some),
            false => Ok(None),
        };
        self.graph.nodes[j].inputs.iter().map(room).collect()
    }

    /// Where a node writes the gradients of its parameters; those that hold a value already go through scratch.
    fn room_for_params(&mut self, j: usize) -> Result<Vec<Option<Tensor>>> {
        let room = |p: &usize| match &self.gradients[*p] {
            Some(g) if self.written[*p] => self.build.memory.take("shared gradient", g.shape(), DType::F32).map(Some),
            other => Ok(other.clone()),
        };
        self.graph.nodes[j].params.iter().map(room).collect()
    }

    fn add_to_params(&mut self, j: usize, dparams: &[Option<Tensor>]) -> Result<()> {
        for (p, d) in self.graph.nodes[j].params.iter().zip(dparams) {
            let Some(d) = d else { continue };
            if self.written[*p] {
                elementwise::accumulate(&mut self.build.builder, d, 1.0, self.gradients[*p].as_ref().expect("trained"))?;
                self.build.memory.give(d);
            }
            self.written[*p] = true;
        }
        Ok(())
    }

    fn add_to_inputs(&mut self, j: usize, dx: Vec<Option<Tensor>>) -> Result<()> {
        for (i, d) in self.graph.nodes[j].inputs.iter().zip(dx) {
            let Some(d) = d else { continue };
            match &self.sums[i.0] {
                Some(sum) => {
                    elementwise::accumulate(&mut self.build.builder, &d, 1.0, sum)?;
                    self.build.memory.give(&d);
                }
                None => self.sums[i.0] = Some(d),
            }
        }
        Ok(())
    }

    /// Refuses parameters without a gradient.
    fn check_reached(&self) -> Result<()> {
        match (0..self.graph.params.len()).find(|p| self.gradients[*p].is_some() && !self.written[*p]) {
            Some(p) => Err(Error::shape("training", format!("parameter `{}` does not reach the loss", self.graph.params[p].0))),
            None => Ok(()),
        }
    }
}

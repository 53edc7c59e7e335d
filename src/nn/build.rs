//! From a graph to plans: forward alone, or forward and backward.

use super::graph::{Graph, Node, NodeId};
use super::memory::Memory;
use super::ops::{Backward, Forward, Op, ParamKind};
use super::weights::Weights;
use crate::gpu::{DType, Engine, Error, Plan, PlanBuilder, Precision, Result, Tensor};
use crate::kernels::{elementwise, expect_shape};

/// A forward pass ready to run.
#[derive(Debug)]
pub struct InferencePlan {
    /// Dispatches.
    pub plan: Plan,
    /// The graph's inputs in order of definition.
    pub inputs: Vec<Tensor>,
    /// The outputs asked for, in order.
    pub outputs: Vec<Tensor>,
    /// Bytes of activations.
    pub bytes: u64,
}

/// A forward and backward pass ready to run.
#[derive(Debug)]
pub struct TrainingPlan {
    /// Dispatches of both passes.
    pub plan: Plan,
    /// The graph's inputs in order of definition.
    pub inputs: Vec<Tensor>,
    /// The outputs asked for, in order; the loss first.
    pub outputs: Vec<Tensor>,
    /// The gradient of the loss, from which the backward pass starts: 1, until something else is written.
    pub loss_gradient: Tensor,
    /// What the loss's op left for its backward pass, in the order of [`Op::saved`](super::Op::saved): its accuracy, for instance.
    pub saved: Vec<Tensor>,
    /// A gradient for each parameter of the graph; none for statistics.
    pub gradients: Vec<Option<Tensor>>,
    /// Bytes of activations and their gradients.
    pub bytes: u64,
}

impl Graph {
    /// Builds the forward pass for `outputs`.
    ///
    /// # Errors
    /// Shapes, limits, memory.
    pub fn inference(&self, engine: &Engine, weights: &Weights, outputs: &[NodeId]) -> Result<InferencePlan> {
        let n = self.nodes.len();
        let needed = self.reaches(outputs);
        let mut last = vec![0; n];
        for (j, node) in self.nodes.iter().enumerate().filter(|(j, _)| needed[*j]) {
            node.inputs.iter().for_each(|i| last[i.0] = j);
        }
        for (i, node) in self.nodes.iter().enumerate() {
            if node.op.is_none() || outputs.contains(&NodeId(i)) {
                last[i] = usize::MAX;
            }
        }
        let types = self.stored_types(engine, outputs);
        let mut memory = Memory::new(engine, !self.unshared);
        let mut builder = PlanBuilder::new(engine);
        let mut values: Vec<Option<Tensor>> = vec![None; n];
        for j in 0..n {
            let node = &self.nodes[j];
            if node.op.is_none() {
                values[j] = Some(engine.tensor(&node.name, &node.shape, node.dtype)?);
            } else if needed[j] {
                let output = memory.take(&node.name, &node.shape, types[j])?;
                let saved = self.forward_node(j, &mut builder, &mut memory, weights, &values, &output, false)?;
                saved.iter().for_each(|t| memory.give(t));
                values[j] = Some(output);
                for i in node.inputs.iter().filter(|i| last[i.0] == j) {
                    if let Some(t) = values[i.0].take() {
                        memory.give(&t);
                    }
                }
            }
        }
        let inputs = self.input_values(&values);
        let outputs = outputs.iter().map(|o| values[o.0].clone().expect("an output is live")).collect();
        Ok(InferencePlan { plan: builder.finish(), inputs, outputs, bytes: memory.total() })
    }

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
    /// As [`Graph::training`]; a given tensor of another shape.
    pub fn training_on(&self, engine: &Engine, weights: &Weights, outputs: &[NodeId], given: &[Tensor]) -> Result<TrainingPlan> {
        let n = self.nodes.len();
        let loss = outputs[0];
        if self.shape(loss).iter().product::<usize>() != 1 {
            return Err(Error::shape("training", format!("the loss has shape {:?}, not one element", self.shape(loss))));
        }
        let needed = self.reaches(outputs);
        let differentiable = self.differentiable();
        let on_path = self.reaches(&[loss]);
        let back = |i: usize| on_path[i] && differentiable[i] && self.nodes[i].op.is_some();
        // Events: forward of node j at j, backward at 2n - 1 - j.
        let mut last = vec![0; n];
        for (j, node) in self.nodes.iter().enumerate().filter(|(j, _)| needed[*j]) {
            last[j] = last[j].max(j);
            let Some(op) = &node.op else {
                last[j] = usize::MAX;
                continue;
            };
            let keeps = op.keeps();
            for i in &node.inputs {
                last[i.0] = last[i.0].max(if back(j) && keeps.inputs { 2 * n - 1 - j } else { j });
            }
            if back(j) && keeps.output {
                last[j] = last[j].max(2 * n - 1 - j);
            }
        }
        outputs.iter().for_each(|o| last[o.0] = usize::MAX);

        let types = self.stored_types(engine, outputs);
        let mut memory = Memory::new(engine, !self.unshared);
        let mut builder = PlanBuilder::new(engine);
        let mut values: Vec<Option<Tensor>> = vec![None; n];
        let mut saved: Vec<Vec<Tensor>> = vec![Vec::new(); n];
        let release = |event: usize, candidates: &[NodeId], values: &[Option<Tensor>], memory: &mut Memory<'_>, released: &mut [bool]| {
            for c in candidates {
                if last[c.0] == event && !released[c.0] {
                    released[c.0] = true;
                    memory.give(values[c.0].as_ref().expect("live until now"));
                }
            }
        };
        let mut released = vec![false; n];
        let mut given = given.iter();
        for j in 0..n {
            let node = &self.nodes[j];
            if node.op.is_none() {
                values[j] = Some(match given.next() {
                    Some(t) => {
                        expect_shape("training", &node.name, t, &node.shape)?;
                        t.clone()
                    }
                    None => engine.tensor(&node.name, &node.shape, node.dtype)?,
                });
            } else if needed[j] {
                let output = memory.take(&node.name, &node.shape, types[j])?;
                saved[j] = self.forward_node(j, &mut builder, &mut memory, weights, &values, &output, true)?;
                values[j] = Some(output);
                if !back(j) {
                    saved[j].drain(..).for_each(|t| memory.give(&t));
                }
                release(j, &node.inputs, &values, &mut memory, &mut released);
                release(j, &[NodeId(j)], &values, &mut memory, &mut released);
            }
        }

        let mut gradients: Vec<Option<Tensor>> = Vec::with_capacity(self.params.len());
        for (name, spec) in &self.params {
            gradients.push(match spec.kind {
                ParamKind::Statistic => None,
                _ => Some(engine.tensor(&format!("gradient of {name}"), &spec.shape, DType::F32)?),
            });
        }
        let mut written = vec![false; self.params.len()];
        let mut grads: Vec<Option<Tensor>> = vec![None; n];
        let loss_gradient = engine.upload_f32("gradient of the loss", self.shape(loss), &[1.0])?;
        grads[loss.0] = Some(loss_gradient.clone());
        for j in (0..n).rev().filter(|j| back(*j)) {
            let node = &self.nodes[j];
            let op = node.op.as_ref().expect("back() says so");
            let Some(dy) = grads[j].take() else { continue };
            builder.scope(&node.name);
            builder.set_precision(self.precision_of(op.as_ref()));
            let inputs: Vec<&Tensor> = node.inputs.iter().map(|i| values[i.0].as_ref().expect("kept by construction")).collect();
            let params = self.params_of(j, weights);
            // A gradient that has a value already, or is asked for twice by one node, goes through scratch and is added.
            let mut dx = Vec::with_capacity(node.inputs.len());
            for i in &node.inputs {
                dx.push(match differentiable[i.0] {
                    true => Some(memory.take("gradient", &self.nodes[i.0].shape, types[i.0])?),
                    false => None,
                });
            }
            let mut dparams = Vec::with_capacity(node.params.len());
            for p in &node.params {
                dparams.push(match &gradients[*p] {
                    Some(g) if written[*p] => Some(memory.take("shared gradient", g.shape(), DType::F32)?),
                    other => other.clone(),
                });
            }
            op.backward(
                &mut builder,
                &Backward {
                    inputs: &inputs,
                    params: &params,
                    saved: &saved[j],
                    output: values[j].as_ref().expect("made forward"),
                    dy: &dy,
                    dx: &dx,
                    dparams: &dparams,
                },
            )?;
            for (p, d) in node.params.iter().zip(&dparams) {
                let Some(d) = d else { continue };
                if written[*p] {
                    elementwise::accumulate(&mut builder, d, 1.0, gradients[*p].as_ref().expect("trained"))?;
                    memory.give(d);
                }
                written[*p] = true;
            }
            for (i, d) in node.inputs.iter().zip(dx) {
                let Some(d) = d else { continue };
                match &grads[i.0] {
                    Some(sum) => {
                        elementwise::accumulate(&mut builder, &d, 1.0, sum)?;
                        memory.give(&d);
                    }
                    None => grads[i.0] = Some(d),
                }
            }
            // The loss's own gradient is a constant: it must survive for the next run.
            if j != loss.0 {
                memory.give(&dy);
            }
            if j != loss.0 {
                saved[j].drain(..).for_each(|t| memory.give(&t));
            }
            let event = 2 * n - 1 - j;
            release(event, &node.inputs, &values, &mut memory, &mut released);
            release(event, &[NodeId(j)], &values, &mut memory, &mut released);
        }
        if let Some(p) = (0..self.params.len()).find(|p| gradients[*p].is_some() && !written[*p]) {
            return Err(Error::shape("training", format!("parameter `{}` does not reach the loss", self.params[p].0)));
        }
        let inputs = self.input_values(&values);
        let outputs = outputs.iter().map(|o| values[o.0].clone().expect("an output is live")).collect();
        let saved = std::mem::take(&mut saved[loss.0]);
        Ok(TrainingPlan { plan: builder.finish(), inputs, outputs, loss_gradient, saved, gradients, bytes: memory.total() })
    }

    fn forward_node(
        &self,
        j: usize,
        builder: &mut PlanBuilder<'_>,
        memory: &mut Memory<'_>,
        weights: &Weights,
        values: &[Option<Tensor>],
        output: &Tensor,
        training: bool,
    ) -> Result<Vec<Tensor>> {
        let node = &self.nodes[j];
        let op = node.op.as_ref().expect("not an input");
        builder.scope(&node.name);
        builder.set_precision(self.precision_of(op.as_ref()));
        let inputs: Vec<&Tensor> = node.inputs.iter().map(|i| values[i.0].as_ref().expect("topological order")).collect();
        let shapes: Vec<&[usize]> = node.inputs.iter().map(|i| self.shape(*i)).collect();
        let saved = op.saved(&shapes).iter().map(|s| memory.take(&node.name, s, DType::F32)).collect::<Result<Vec<_>>>()?;
        op.forward(builder, &Forward { inputs: &inputs, params: &self.params_of(j, weights), saved: &saved, output, training })?;
        Ok(saved)
    }

    /// How each node's value and its gradient are stored: under mixed precision as f16, where the device has it, between ops that take it.
    fn stored_types(&self, engine: &Engine, outputs: &[NodeId]) -> Vec<DType> {
        let own = |node: &Node| node.op.as_ref().is_some_and(|op| op.stores_half().output);
        let mut half: Vec<bool> = match self.precision == Precision::Mixed && engine.caps().f16 {
            true => self.nodes.iter().map(own).collect(),
            false => vec![false; self.nodes.len()],
        };
        outputs.iter().for_each(|o| half[o.0] = false);
        for node in self.nodes.iter().filter(|n| n.op.as_ref().is_some_and(|op| !op.stores_half().inputs)) {
            node.inputs.iter().for_each(|i| half[i.0] = false);
        }
        half.iter().zip(&self.nodes).map(|(half, node)| if *half { DType::F16 } else { node.dtype }).collect()
    }

    fn precision_of(&self, op: &dyn Op) -> Precision {
        if op.mixes() { self.precision } else { Precision::Full }
    }

    fn params_of<'w>(&self, j: usize, weights: &'w Weights) -> Vec<&'w Tensor> {
        self.nodes[j].params.iter().map(|p| weights.get(&self.params[*p].0).expect("weights hold every parameter of the graph")).collect()
    }

    fn input_values(&self, values: &[Option<Tensor>]) -> Vec<Tensor> {
        self.nodes.iter().zip(values).filter(|(n, _)| n.op.is_none()).map(|(_, v)| v.clone().expect("inputs stay")).collect()
    }

    /// Nodes that some of `targets` depend on.
    fn reaches(&self, targets: &[NodeId]) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        targets.iter().for_each(|t| needed[t.0] = true);
        for j in (0..self.nodes.len()).rev().filter(|j| self.nodes[*j].op.is_some()) {
            if needed[j] {
                self.nodes[j].inputs.iter().for_each(|i| needed[i.0] = true);
            }
        }
        needed
    }

    /// Nodes whose value depends on a trained parameter.
    fn differentiable(&self) -> Vec<bool> {
        let mut d = vec![false; self.nodes.len()];
        for j in 0..self.nodes.len() {
            let node = &self.nodes[j];
            d[j] = !node.op.as_ref().is_some_and(|op| op.detaches())
                && (node.params.iter().any(|p| self.params[*p].1.kind != ParamKind::Statistic) || node.inputs.iter().any(|i| d[i.0]));
        }
        d
    }
}

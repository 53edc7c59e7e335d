//! From a graph to a plan of its forward pass, and what a plan with a backward pass shares with it.

use super::graph::{Graph, Node, NodeId};
use super::lifetimes::{Event, Lifetimes};
use super::memory::Memory;
use super::ops::{Forward, Op};
use super::weights::Weights;
use crate::gpu::{DType, Engine, Plan, PlanBuilder, Precision, Result, Tensor};

/// Where a plan waits for the host ([`Graph::pause`]).
#[derive(Debug, Clone)]
pub struct Pause {
    /// Dispatches that run before.
    pub after: usize,
    /// What the host may read then, in the order in which it was asked for.
    pub read: Vec<Tensor>,
}

/// A forward pass ready to run.
#[derive(Debug)]
pub struct InferencePlan {
    /// Dispatches.
    pub plan: Plan,
    /// Where they wait for the host, if they do.
    pub pause: Option<Pause>,
    /// The graph's inputs in order of definition.
    pub inputs: Vec<Tensor>,
    /// The outputs asked for, in order.
    pub outputs: Vec<Tensor>,
    /// Bytes of activations.
    pub bytes: u64,
}

impl Graph {
    /// Builds the forward pass for `outputs`.
    ///
    /// # Errors
    /// Shapes, limits, memory.
    pub fn inference(&self, engine: &Engine, weights: &Weights, outputs: &[NodeId]) -> Result<InferencePlan> {
        let mut build = Build::new(self, engine, weights, outputs, &vec![false; self.nodes.len()]);
        for (j, node) in self.nodes.iter().enumerate() {
            if node.op.is_none() {
                build.values[j] = Some(engine.tensor(&node.name, &node.shape, node.dtype)?);
            } else if build.lifetimes.needed(j) {
                let saved = build.forward(j, false)?;
                saved.iter().for_each(|t| build.memory.give(t));
                build.end(j, Event::Forward(j));
            }
        }
        let ((inputs, outputs), pause) = (build.ends(outputs), build.pause());
        Ok(InferencePlan { plan: build.builder.finish(), pause, inputs, outputs, bytes: build.memory.total() })
    }
}

/// A plan in the making.
pub(super) struct Build<'a> {
    graph: &'a Graph,
    weights: &'a Weights,
    pub(super) builder: PlanBuilder<'a>,
    pub(super) memory: Memory<'a>,
    pub(super) lifetimes: Lifetimes,
    /// How each node's value and its gradient are stored.
    pub(super) types: Vec<DType>,
    /// The value of each node that is made.
    pub(super) values: Vec<Option<Tensor>>,
    /// Dispatches before the graph's pause, once that is reached.
    before: Option<usize>,
}

impl<'a> Build<'a> {
    /// For `outputs`; the nodes of `backward` will also go backward.
    pub(super) fn new(graph: &'a Graph, engine: &'a Engine, weights: &'a Weights, outputs: &[NodeId], backward: &[bool]) -> Self {
        let read = graph.pause.iter().flat_map(|(_, read)| read);
        let kept: Vec<NodeId> = outputs.iter().chain(read).copied().collect();
        Self {
            graph,
            weights,
            builder: PlanBuilder::new(engine),
            memory: Memory::new(engine, !graph.unshared),
            lifetimes: Lifetimes::new(graph, &kept, backward),
            types: stored_types(graph, engine, &kept),
            values: vec![None; graph.nodes.len()],
            before: None,
        }
    }

    /// Records a node's op; gives what it saves for its backward pass.
    pub(super) fn forward(&mut self, j: usize, training: bool) -> Result<Vec<Tensor>> {
        if self.graph.pause.as_ref().is_some_and(|(first, _)| j >= *first) {
            self.before.get_or_insert(self.builder.len());
        }
        let node = &self.graph.nodes[j];
        let output = self.memory.take(&node.name, &node.shape, self.types[j])?;
        let op = self.begin(j);
        let shapes: Vec<&[usize]> = node.inputs.iter().map(|i| self.graph.shape(*i)).collect();
        let saved = op.saved(&shapes).iter().map(|s| self.memory.take(&node.name, s, DType::F32)).collect::<Result<Vec<_>>>()?;
        let inputs: Vec<&Tensor> = node.inputs.iter().map(|i| self.values[i.0].as_ref().expect("topological order")).collect();
        let params = self.params_of(j);
        op.forward(&mut self.builder, &Forward { inputs: &inputs, params: &params, saved: &saved, output: &output, training })?;
        self.values[j] = Some(output);
        Ok(saved)
    }

    /// Names the dispatches to come after a node, and sets how they multiply.
    pub(super) fn begin(&mut self, j: usize) -> &'a dyn Op {
        let node = &self.graph.nodes[j];
        let op = node.op.as_deref().expect("not an input");
        self.builder.scope(&node.name);
        self.builder.set_precision(if op.mixes() { self.graph.precision } else { Precision::Full });
        op
    }

    /// The node's parameters.
    pub(super) fn params_of(&self, j: usize) -> Vec<&'a Tensor> {
        let name = |p: &usize| &self.graph.params[*p].0;
        self.graph.nodes[j].params.iter().map(|p| self.weights.get(name(p)).expect("weights hold every parameter of the graph")).collect()
    }

    /// After an event of node `j`: gives back what it was the last to read.
    pub(super) fn end(&mut self, j: usize, event: Event) {
        for node in self.graph.nodes[j].inputs.iter().copied().chain([NodeId(j)]) {
            if self.lifetimes.ends(node, event) {
                self.memory.give(self.values[node.0].as_ref().expect("live until now"));
            }
        }
    }

    /// Where the plan waits for the host.
    pub(super) fn pause(&self) -> Option<Pause> {
        let (_, read) = self.graph.pause.as_ref()?;
        let read = read.iter().map(|n| self.values[n.0].clone().expect("kept for the host")).collect();
        Some(Pause { after: self.before?, read })
    }

    /// The inputs in order of definition, and the outputs.
    pub(super) fn ends(&self, outputs: &[NodeId]) -> (Vec<Tensor>, Vec<Tensor>) {
        let inputs = self.graph.nodes.iter().zip(&self.values).filter(|(n, _)| n.op.is_none());
        (
            inputs.map(|(_, v)| v.clone().expect("inputs stay")).collect(),
            outputs.iter().map(|o| self.values[o.0].clone().expect("an output is live")).collect(),
        )
    }
}

/// How each node's value and its gradient are stored: under mixed precision as f16, where the device has it, between ops that take it.
fn stored_types(graph: &Graph, engine: &Engine, outputs: &[NodeId]) -> Vec<DType> {
    let own = |node: &Node| node.op.as_ref().is_some_and(|op| op.stores_half().output);
    let mut half: Vec<bool> = match graph.precision == Precision::Mixed && engine.caps().f16 {
        true => graph.nodes.iter().map(own).collect(),
        false => vec![false; graph.nodes.len()],
    };
    outputs.iter().for_each(|o| half[o.0] = false);
    for node in graph.nodes.iter().filter(|n| n.op.as_ref().is_some_and(|op| !op.stores_half().inputs)) {
        node.inputs.iter().for_each(|i| half[i.0] = false);
    }
    half.iter().zip(&graph.nodes).map(|(half, node)| if *half { DType::F16 } else { node.dtype }).collect()
}

//! The graph: nodes in topological order, parameters by name.

use super::ops::{Init, Op, ParamKind, ParamSpec};
use crate::gpu::{DType, Error, Precision, Result};
use std::sync::Arc;

/// A node's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) usize);

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// None for an input of the graph.
    pub(crate) op: Option<Arc<dyn Op>>,
    pub(crate) inputs: Vec<NodeId>,
    /// Indices into [`Graph::params`].
    pub(crate) params: Vec<usize>,
    pub(crate) shape: Vec<usize>,
    /// F32 but for inputs of indices.
    pub(crate) dtype: DType,
}

/// A network described once. Nodes that name the same parameters share them.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) params: Vec<(String, ParamSpec)>,
    /// Every tensor of a plan gets a buffer of its own.
    pub(crate) unshared: bool,
    pub(crate) precision: Precision,
    /// How many nodes run before the host has its turn, and those that it reads then.
    pub(crate) pause: Option<(usize, Vec<NodeId>)>,
    /// [`Graph::watch`].
    pub(crate) watched: Option<NodeId>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input of fixed extents (the batch first).
    pub fn input(&mut self, name: &str, shape: &[usize]) -> NodeId {
        self.given(name, shape, DType::F32)
    }

    /// Adds an input of `len` whole numbers, u32 on the device; [`Graph::reference`] takes them as numbers like any other input. Ops that
    /// read indices say so; to all others such an input is an error when a plan is built.
    pub fn indices(&mut self, name: &str, len: usize) -> NodeId {
        self.given(name, &[len], DType::U32)
    }

    fn given(&mut self, name: &str, shape: &[usize], dtype: DType) -> NodeId {
        self.nodes.push(Node { name: name.into(), op: None, inputs: Vec::new(), params: Vec::new(), shape: shape.to_vec(), dtype });
        NodeId(self.nodes.len() - 1)
    }

    /// Adds an op. Its parameters are called `name.weight` and so on; a name used before is the same parameter.
    ///
    /// # Errors
    /// Inputs that do not fit the op, or a shared parameter of another shape.
    pub fn add(&mut self, name: &str, op: impl Op + 'static, inputs: &[NodeId]) -> Result<NodeId> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|i| self.nodes[i.0].shape.as_slice()).collect();
        let shape = op.shape(&shapes)?;
        let specs = op.params(&shapes);
        let mut params = Vec::with_capacity(specs.len());
        for spec in specs {
            let full = format!("{name}.{}", spec.name);
            let index = match self.params.iter().position(|(n, _)| *n == full) {
                Some(i) if self.params[i].1.shape == spec.shape => i,
                Some(i) => return Err(Error::shape(full, format!("shared as {:?} and {:?}", self.params[i].1.shape, spec.shape))),
                None => {
                    self.params.push((full, spec));
                    self.params.len() - 1
                }
            };
            params.push(index);
        }
        self.nodes.push(Node { name: name.into(), op: Some(Arc::new(op)), inputs: inputs.to_vec(), params, shape, dtype: DType::F32 });
        Ok(NodeId(self.nodes.len() - 1))
    }

    /// Has plans stop before whatever is added from here on, so that the host can read `nodes` and write inputs that hang on them; once a graph.
    pub fn pause(&mut self, nodes: &[NodeId]) {
        self.pause = Some((self.nodes.len(), nodes.to_vec()));
    }

    /// Has a training plan keep what this node's op leaves for its backward pass, in place of the loss's: of a loss of several terms, that of one.
    pub fn watch(&mut self, node: NodeId) {
        self.watched = Some(node);
    }

    /// Leaves the parameters whose names start with `prefix` as they are: they take no gradient, what comes before them still does.
    pub fn freeze(&mut self, prefix: &str) {
        self.params.iter_mut().filter(|(name, _)| name.starts_with(prefix)).for_each(|(_, spec)| spec.kind = ParamKind::Statistic);
    }

    /// Has a parameter start from other values than its op's own.
    ///
    /// # Errors
    /// No parameter of this name.
    pub fn start(&mut self, name: &str, init: Init) -> Result<()> {
        let known = self.params.iter_mut().find(|(n, _)| n == name);
        let (_, spec) = known.ok_or_else(|| Error::shape(name, "the graph has no parameter of this name"))?;
        spec.init = init;
        Ok(())
    }

    /// How convolutions and linear layers multiply in plans built from now on, forward and backward; everything else is computed in full.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    /// Switches the sharing of buffers by liveness off in plans built from now on: for the tests that prove it harmless.
    #[doc(hidden)]
    pub fn share_buffers(&mut self, on: bool) {
        self.unshared = !on;
    }

    /// Extents of a node's output.
    pub fn shape(&self, node: NodeId) -> &[usize] {
        &self.nodes[node.0].shape
    }

    /// Where an input stands among the graph's inputs, and so among those of its plans; none for a node that is no input.
    pub fn input_index(&self, node: NodeId) -> Option<usize> {
        let is_input = |n: &Node| n.op.is_none();
        is_input(&self.nodes[node.0]).then(|| self.nodes[..node.0].iter().filter(|n| is_input(n)).count())
    }

    /// Names of the inputs, in the order of plans.
    pub fn input_names(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter(|n| n.op.is_none()).map(|n| n.name.as_str())
    }

    /// Names and specifications of the parameters.
    pub fn params(&self) -> &[(String, ParamSpec)] {
        &self.params
    }
}

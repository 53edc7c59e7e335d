//! How long the values of a graph live in a plan: until the last event that reads them, after which their buffers return to the pool.

use super::graph::{Graph, NodeId};
use super::ops::ParamKind;

/// What is recorded, in this order: the forward pass, node by node, then the backward pass, the last node first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Forward(usize),
    Backward(std::cmp::Reverse<usize>),
    /// After the plan: inputs and outputs are the caller's.
    Never,
}

impl Event {
    pub(super) fn backward(node: usize) -> Self {
        Self::Backward(std::cmp::Reverse(node))
    }
}

/// The last event that reads each value.
#[derive(Debug)]
pub(super) struct Lifetimes {
    /// Whether a node is computed at all.
    needed: Vec<bool>,
    last: Vec<Event>,
    ended: Vec<bool>,
}

impl Lifetimes {
    /// Of a plan for `outputs` in which the nodes of `backward` also go backward.
    pub(super) fn new(graph: &Graph, outputs: &[NodeId], backward: &[bool]) -> Self {
        let n = graph.nodes.len();
        let needed = reaches(graph, outputs);
        let mut last: Vec<Event> = (0..n).map(Event::Forward).collect();
        for (j, node) in graph.nodes.iter().enumerate().filter(|(j, _)| needed[*j]) {
            let Some(op) = &node.op else {
                last[j] = Event::Never;
                continue;
            };
            let keeps = op.keeps();
            let reads = if backward[j] && keeps.inputs { Event::backward(j) } else { Event::Forward(j) };
            node.inputs.iter().for_each(|i| last[i.0] = last[i.0].max(reads));
            if backward[j] && keeps.output {
                last[j] = last[j].max(Event::backward(j));
            }
        }
        outputs.iter().for_each(|o| last[o.0] = Event::Never);
        Self { needed, last, ended: vec![false; n] }
    }

    /// Whether a node is computed at all.
    pub(super) fn needed(&self, node: usize) -> bool {
        self.needed[node]
    }

    /// Whether a value's life ends with this event; true once.
    pub(super) fn ends(&mut self, node: NodeId, event: Event) -> bool {
        let ends = self.last[node.0] == event && !self.ended[node.0];
        self.ended[node.0] |= ends;
        ends
    }
}

/// Nodes that some of `targets` depend on.
pub(super) fn reaches(graph: &Graph, targets: &[NodeId]) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes.len()];
    targets.iter().for_each(|t| needed[t.0] = true);
    for (j, node) in graph.nodes.iter().enumerate().rev().filter(|(_, node)| node.op.is_some()) {
        if needed[j] {
            node.inputs.iter().for_each(|i| needed[i.0] = true);
        }
    }
    needed
}

/// Nodes whose value depends on a trained parameter.
pub(super) fn differentiable(graph: &Graph) -> Vec<bool> {
    let mut d = vec![false; graph.nodes.len()];
    for (j, node) in graph.nodes.iter().enumerate() {
        d[j] = !node.op.as_ref().is_some_and(|op| op.detaches())
            && (node.params.iter().any(|p| graph.params[*p].1.kind != ParamKind::Statistic) || node.inputs.iter().any(|i| d[i.0]));
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::activation::Activation;
    use crate::nn::ops::{Add, Linear, Pointwise};

    /// x -> linear -> relu -> sum (of linear and relu) -> head, and a node that nobody reads.
    fn graph() -> (Graph, [NodeId; 5]) {
        let mut g = Graph::new();
        let x = g.input("x", &[2, 3]);
        let linear = g.add("linear", Linear { out: 3, bias: false }, &[x]).unwrap();
        let relu = g.add("relu", Pointwise(Activation::Relu), &[linear]).unwrap();
        let sum = g.add("sum", Add { relu: false }, &[linear, relu]).unwrap();
        let head = g.add("head", Linear { out: 1, bias: false }, &[sum]).unwrap();
        g.add("beside", Pointwise(Activation::Relu), &[sum]).unwrap();
        (g, [x, linear, relu, sum, head])
    }

    #[test]
    fn forward_alone_a_value_lives_to_its_last_reader() {
        let (g, [x, linear, relu, sum, head]) = graph();
        let mut l = Lifetimes::new(&g, &[head], &[false; 6]);
        assert!((0..5).all(|j| l.needed(j)) && !l.needed(5), "the node beside is not computed");
        // The linear layer is read by two.
        assert!(!l.ends(linear, Event::Forward(relu.0)) && l.ends(linear, Event::Forward(sum.0)));
        assert!(l.ends(relu, Event::Forward(sum.0)) && l.ends(sum, Event::Forward(head.0)));
        // Each once, also where a node reads a value twice.
        assert!(!l.ends(sum, Event::Forward(head.0)));
        let ever = |l: &mut Lifetimes, node| (0..6).any(|j| l.ends(node, Event::Forward(j)) || l.ends(node, Event::backward(j)));
        assert!(!ever(&mut l, x) && !ever(&mut l, head), "inputs and outputs are the caller's");
    }

    #[test]
    fn what_the_backward_pass_reads_lives_until_it_has() {
        let (g, [x, linear, relu, sum, head]) = graph();
        assert_eq!(differentiable(&g), [false, true, true, true, true, true]);
        assert_eq!(reaches(&g, &[relu]), [true, true, true, false, false, false]);
        let backward: Vec<bool> = reaches(&g, &[head]).iter().zip(differentiable(&g)).map(|(a, b)| *a && b).collect();
        let mut l = Lifetimes::new(&g, &[head], &backward);
        // The head's weights take their gradient from its input.
        assert!(!l.ends(sum, Event::Forward(head.0)) && l.ends(sum, Event::backward(head.0)));
        // A ReLU reads its input again, a sum reads nothing.
        assert!(l.ends(linear, Event::backward(relu.0)) && l.ends(relu, Event::Forward(sum.0)));
        assert!(!l.ends(x, Event::backward(linear.0)));
    }

    #[test]
    fn events_come_in_the_order_of_the_plan() {
        let order = [Event::Forward(0), Event::Forward(7), Event::backward(7), Event::backward(0), Event::Never];
        assert!(order.is_sorted());
    }
}

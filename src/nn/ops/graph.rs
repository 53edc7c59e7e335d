//! Message passing: ops that read the edges of a graph, and the edges as inputs of a network.
//!
//! The ops take the five lists of edges last ([`EdgeInputs::with`]). Rows are [N, ..] at the targets, [M, ..] at the sources, [E, ..] for edges,
//! free slots among them: a row without an edge gets 0 from [`Gather`] and [`SegmentSoftmax`], and gives and gets no gradient
//! in any op here. A layer over such rows that is not row by row, a batch normalisation for instance, would count them.

use super::{Backward, Forward, Host, Keeps, Op};
use crate::gpu::{DType, Error, PlanBuilder, Result, Tensor};
use crate::kernels::edges::{Csr, Edges, End};
use crate::kernels::message::{self, AttendBackward, Reduce};
use crate::kernels::segment_softmax;
use crate::nn::{Graph, NodeId};
use crate::reference as twin;

/// The edges of a graph among a network's inputs: five lists of indices.
#[derive(Debug, Clone, Copy)]
pub struct EdgeInputs([NodeId; 5]);

impl EdgeInputs {
    /// Adds inputs for up to `slots` edges from `sources` to `targets` rows. A batch of graphs is one disjoint union.
    pub fn new(graph: &mut Graph, name: &str, targets: usize, sources: usize, slots: usize) -> Self {
        let lists = [
            ("offsets", targets + 1),
            ("sources", slots),
            ("targets", slots),
            ("offsets by source", sources + 1),
            ("edges by source", slots),
        ];
        Self(lists.map(|(list, len)| graph.indices(&format!("{name} {list}"), len)))
    }

    /// Inputs of an op of this module: its own, then the edges.
    pub fn with(&self, own: &[NodeId]) -> Vec<NodeId> {
        [own, &self.0].concat()
    }

    /// The edges of a plan, to be written by the host or by [`knn`](crate::kernels::knn). `inputs` are the plan's.
    ///
    /// # Errors
    /// The plan is of another graph.
    pub fn edges(&self, graph: &Graph, inputs: &[Tensor]) -> Result<Edges> {
        let lists: Vec<Tensor> = inputs.iter().skip(graph.input_index(self.0[0]).expect("an input")).take(5).cloned().collect();
        Edges::from_tensors(lists.try_into().map_err(|l: Vec<_>| Error::shape("edges", format!("{} lists, not five", l.len())))?)
    }
}

/// Numbers of targets, sources and slots, from the extents of an op's inputs, of which `own` come before the edges.
fn counts(op: &str, inputs: &[&[usize]], own: usize) -> Result<[usize; 3]> {
    match inputs.get(own..) {
        Some(&[&[n], &[e], &[to], &[m], &[back]]) if n > 1 && m > 1 && e > 0 && to == e && back == e => Ok([n - 1, m - 1, e]),
        _ => Err(Error::shape(op, format!("takes {own} tensors and five lists of edges, not {inputs:?}"))),
    }
}

/// The same rows in another number, which must have been `expected`.
fn rows(op: &str, shape: &[usize], expected: usize, new: usize) -> Result<Vec<usize>> {
    match shape.split_first() {
        Some((n, rest)) if *n == expected && !rest.is_empty() => Ok([&[new], rest].concat()),
        _ => Err(Error::shape(op, format!("{shape:?} is not [{expected}, ..]"))),
    }
}

/// The edges at the end of an op's inputs. They are inputs of the network and live as long as the plan.
fn edges(inputs: &[&Tensor]) -> Result<Edges> {
    let lists: Vec<Tensor> = inputs[inputs.len() - 5..].iter().map(|t| (*t).clone()).collect();
    Edges::from_tensors(lists.try_into().expect("five"))
}

/// The same on the host, for inputs that [`Op::shape`] has accepted.
fn host(inputs: &[Host<'_>]) -> Csr {
    let [offsets, sources, _, back, _] = &inputs[inputs.len() - 5..] else { unreachable!("shape() accepted it") };
    let list = |values: &[f64]| values.iter().map(|v| *v as u32).collect::<Vec<_>>();
    Csr::from_offsets(back.0[0] - 1, &list(offsets.1), &list(sources.1)).expect("edges in range")
}

/// Values of a row.
fn width(shape: &[usize]) -> usize {
    shape[1..].iter().product()
}

/// For each edge the row of x at one of its ends: x [M, ..] of sources or [N, ..] of targets to [E, ..].
#[derive(Debug, Clone, Copy)]
pub struct Gather(pub End);

impl Op for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [n, m, e] = counts("gather", inputs, 1)?;
        rows("gather", inputs[0], if self.0 == End::Source { m } else { n }, e)
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let f = width(inputs[0].0);
        let mut y = twin::message::gather(&host(inputs), self.0, inputs[0].1, f);
        y.resize(inputs[inputs.len() - 1].0[0] * f, 0.0);
        y
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        message::gather(plan, &edges(io.inputs)?, self.0, io.inputs[0], io.output)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        match &io.dx[0] {
            Some(dx) => message::gather_backward(plan, &edges(io.inputs)?, self.0, io.dy, dx),
            None => Ok(()),
        }
    }
}

/// LeakyReLU of sums along the edges: rows of the targets [N, ..] and of the sources [M, ..] and features of the edges [E, ..], all of
/// F values, to [E, ..] (see [`message::edge_sum`]).
#[derive(Debug, Clone, Copy)]
pub struct EdgeSum {
    /// Factor of what is not above 0; above 0.
    pub slope: f32,
}

impl Op for EdgeSum {
    fn name(&self) -> &'static str {
        "edge sum"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [n, m, e] = counts("edge sum", inputs, 3)?;
        rows("edge sum", inputs[0], n, e)?;
        rows("edge sum", inputs[1], m, e)?;
        let shape = rows("edge sum", inputs[2], e, e)?;
        match inputs[..3].iter().all(|s| width(s) == width(&shape)) {
            true => Ok(shape),
            false => Err(Error::shape("edge sum", format!("rows of {:?} have not as many values", &inputs[..3]))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: false, output: true }
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let f = width(inputs[0].0);
        let mut y = twin::message::edge_sum(&host(inputs), inputs[0].1, inputs[1].1, inputs[2].1, f64::from(self.slope), f);
        y.resize(inputs[2].0[0] * f, 0.0);
        y
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        message::edge_sum(plan, &edges(io.inputs)?, io.inputs[0], io.inputs[1], io.inputs[2], self.slope, io.output)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let edges = edges(io.inputs)?;
        let dz = match &io.dx[2] {
            Some(dz) => dz.clone(),
            None => plan.engine().tensor("gradient of the edges", io.dy.shape(), DType::F32)?,
        };
        message::edge_sum_backward(plan, &edges, io.output, io.dy, self.slope, &dz)?;
        for (dx, end) in io.dx.iter().zip([End::Target, End::Source]) {
            if let Some(dx) = dx {
                message::gather_backward(plan, &edges, end, &dz, dx)?;
            }
        }
        Ok(())
    }
}

/// Sum, mean or maximum of the sources' rows at each target: x [M, ..] to [N, ..], 0 where no edge ends.
#[derive(Debug, Clone, Copy)]
pub struct Message(pub Reduce);

impl Op for Message {
    fn name(&self) -> &'static str {
        "message"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [n, m, _] = counts("message", inputs, 1)?;
        rows("message", inputs[0], m, n)
    }

    /// The edges that won.
    fn saved(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        match (self.0, counts("message", inputs, 1)) {
            (Reduce::Max, Ok([n, ..])) => vec![vec![n, width(inputs[0])]],
            _ => Vec::new(),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        twin::message::forward(self.0, &host(inputs), inputs[0].1, width(inputs[0].0)).0
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let winner = io.saved.first().map(Tensor::bits);
        message::forward(plan, self.0, &edges(io.inputs)?, io.inputs[0], io.output, winner.as_ref())
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let winner = io.saved.first().map(Tensor::bits);
        match &io.dx[0] {
            Some(dx) => message::backward(plan, self.0, &edges(io.inputs)?, io.dy, winner.as_ref(), dx),
            None => Ok(()),
        }
    }
}

/// Rows weighted by the edges and summed at each target: x [M, ..] of F values, weights [E, H], where H divides F, and where given
/// features of the edges [E, ..] of F values, which are added to the sources' rows; to [N, ..] like x.
#[derive(Debug, Clone, Copy)]
pub struct Attend;

impl Op for Attend {
    fn name(&self) -> &'static str {
        "attend"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let own = inputs.len().saturating_sub(5).clamp(2, 3);
        let [n, m, e] = counts("attend", inputs, own)?;
        let shape = rows("attend", inputs[0], m, n)?;
        let f = width(inputs[0]);
        match (inputs[1], &inputs[2..own]) {
            (&[w, h], z) if w == e && h > 0 && f.is_multiple_of(h) && z.iter().all(|z| z.len() > 1 && z[0] == e && width(z) == f) => {
                Ok(shape)
            }
            _ => Err(Error::shape("attend", format!("{:?} for {e} slots and rows of {f} values", &inputs[1..own]))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: true, output: false }
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let z = (inputs.len() == 8).then(|| inputs[2].1);
        twin::message::attend(&host(inputs), inputs[0].1, inputs[1].1, z, width(inputs[0].0), inputs[1].0[1])
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let z = (io.inputs.len() == 8).then(|| io.inputs[2]);
        message::attend(plan, &edges(io.inputs)?, io.inputs[0], io.inputs[1], z, io.output)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let z = (io.inputs.len() == 8).then(|| io.inputs[2]);
        let [dx, dw] = [0, 1].map(|i| io.dx[i].as_ref());
        let dz = z.and(io.dx[2].as_ref());
        let gradients = AttendBackward { x: io.inputs[0], w: io.inputs[1], z, dy: io.dy, dx, dw, dz };
        message::attend_backward(plan, &edges(io.inputs)?, &gradients)
    }
}

/// Softmax over the edges into each target, a head at a time: [E, H] to [E, H].
#[derive(Debug, Clone, Copy)]
pub struct SegmentSoftmax;

impl Op for SegmentSoftmax {
    fn name(&self) -> &'static str {
        "segment softmax"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [_, _, e] = counts("segment softmax", inputs, 1)?;
        match inputs[0] {
            [slots, h] if *slots == e && *h > 0 => Ok(vec![e, *h]),
            other => Err(Error::shape("segment softmax", format!("{other:?} is not [{e}, H]"))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps { inputs: false, output: true }
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        twin::segment_softmax::forward(&host(inputs), inputs[0].1, inputs[0].0[1])
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        segment_softmax::forward(plan, &edges(io.inputs)?, io.inputs[0], io.output)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        match &io.dx[0] {
            Some(dx) => segment_softmax::backward(plan, &edges(io.inputs)?, io.output, io.dy, dx),
            None => Ok(()),
        }
    }
}

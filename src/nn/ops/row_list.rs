//! Rows by lists: ops that pick rows by number or put them back, and the lists as inputs of a network.
//!
//! A slot that names no row gets 0 from [`GatherRows`], and gives and gets no gradient in either op.

use super::{Backward, Forward, Host, Keeps, Op};
use crate::gpu::{Error, PlanBuilder, Result, Tensor};
use crate::kernels::row_list::{self, RowList};
use crate::nn::{Graph, NodeId};
use crate::reference as twin;

/// A list of rows among a network's inputs, with its inverse: three lists of indices.
#[derive(Debug, Clone, Copy)]
pub struct RowListInputs([NodeId; 3]);

impl RowListInputs {
    /// Adds inputs for a list of up to `slots` out of `rows`.
    pub fn new(graph: &mut Graph, name: &str, rows: usize, slots: usize) -> Self {
        let lists = [("rows", slots), ("offsets by row", rows + 1), ("slots by row", slots)];
        Self(lists.map(|(list, len)| graph.indices(&format!("{name} {list}"), len)))
    }

    /// Inputs of an op of this module: its own, then the list.
    pub fn with(&self, own: NodeId) -> [NodeId; 4] {
        [own, self.0[0], self.0[1], self.0[2]]
    }

    /// The list of a plan, to be written by the host. `inputs` are the plan's.
    ///
    /// # Errors
    /// The plan is of another graph.
    pub fn list(&self, graph: &Graph, inputs: &[Tensor]) -> Result<RowList> {
        let lists: Vec<Tensor> = inputs.iter().skip(graph.input_index(self.0[0]).expect("an input")).take(3).cloned().collect();
        RowList::from_tensors(lists.try_into().map_err(|l: Vec<_>| Error::shape("row list", format!("{} lists, not three", l.len())))?)
    }
}

/// Numbers of rows and slots, from the extents of an op's inputs, and its own input's.
fn counts<'a>(op: &str, inputs: &[&'a [usize]]) -> Result<(&'a [usize], [usize; 2])> {
    match *inputs {
        [own, &[k], &[n], &[inverse]] if k > 0 && n > 1 && k == inverse => Ok((own, [n - 1, k])),
        _ => Err(Error::shape(op, format!("takes a tensor and a list of rows, not {inputs:?}"))),
    }
}

/// The list at the end of an op's inputs. It is an input of the network and lives as long as the plan.
fn list(inputs: &[&Tensor]) -> Result<RowList> {
    RowList::from_tensors([1, 2, 3].map(|i| inputs[i].clone()))
}

/// The same on the host.
fn host(inputs: &[Host<'_>]) -> Vec<u32> {
    // What no slot names is beyond all u32 as a number, and becomes the greatest again.
    inputs[1].1.iter().map(|v| *v as u32).collect()
}

/// A tensor as so many rows.
fn as_rows(t: &Tensor, rows: usize) -> Result<Tensor> {
    t.reshape(&[rows, t.len() / rows])
}

/// The rows that the slots of a list name ([`RowListInputs::with`]): x, whose elements are read as the list's number of rows whatever its
/// shape (a feature map as rows of its anchors, for instance), to [slots, F].
#[derive(Debug, Clone, Copy)]
pub struct GatherRows;

impl Op for GatherRows {
    fn name(&self) -> &'static str {
        "gather rows"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let (x, [n, k]) = counts("gather rows", inputs)?;
        match x.iter().product::<usize>() {
            len if len > 0 && len.is_multiple_of(n) => Ok(vec![k, len / n]),
            _ => Err(Error::shape("gather rows", format!("{x:?} does not divide into {n} rows"))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        let list = list(io.inputs)?;
        row_list::gather(plan, &list, &as_rows(io.inputs[0], list.counts()[0])?, io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let rows = inputs[2].0[0] - 1;
        twin::row_list::gather(&host(inputs), inputs[0].1, inputs[0].1.len() / rows)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        let Some(dx) = &io.dx[0] else { return Ok(()) };
        let list = list(io.inputs)?;
        row_list::scatter(plan, &list, io.dy, &as_rows(dx, list.counts()[0])?)
    }
}

/// Rows added to those that the slots of a list name ([`RowListInputs::with`]): y [slots, ..] to [rows, ..], 0 where no slot names a row.
#[derive(Debug, Clone, Copy)]
pub struct ScatterRows;

impl Op for ScatterRows {
    fn name(&self) -> &'static str {
        "scatter rows"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let (y, [n, k]) = counts("scatter rows", inputs)?;
        match y.split_first() {
            Some((slots, rest)) if *slots == k => Ok([&[n], rest].concat()),
            _ => Err(Error::shape("scatter rows", format!("{y:?} is not [{k}, ..]"))),
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    fn forward(&self, plan: &mut PlanBuilder<'_>, io: &Forward<'_>) -> Result<()> {
        row_list::scatter(plan, &list(io.inputs)?, io.inputs[0], io.output)
    }

    fn reference(&self, inputs: &[Host<'_>], _: &[&[f64]], _: bool) -> Vec<f64> {
        let [slots, rows] = [inputs[1].0[0], inputs[2].0[0] - 1];
        twin::row_list::scatter(&host(inputs), rows, inputs[0].1, inputs[0].1.len() / slots)
    }

    fn backward(&self, plan: &mut PlanBuilder<'_>, io: &Backward<'_>) -> Result<()> {
        match &io.dx[0] {
            Some(dx) => row_list::gather(plan, &list(io.inputs)?, io.dy, dx),
            None => Ok(()),
        }
    }
}

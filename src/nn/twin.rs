//! A graph's forward pass on the host in f64: the oracle for whole networks.

use super::graph::{Graph, NodeId};
use super::ops::{Host, ParamKind};
use crate::gpu::{Error, Result};
use std::collections::BTreeMap;

impl Graph {
    /// The forward pass in f64 from the CPU twins. `inputs` in order of definition; `training` takes batch statistics.
    ///
    /// # Errors
    /// A parameter is missing or an input or parameter has another number of values.
    pub fn reference(
        &self,
        params: &BTreeMap<String, Vec<f64>>,
        inputs: &[&[f64]],
        outputs: &[NodeId],
        training: bool,
    ) -> Result<Vec<Vec<f64>>> {
        self.reference_with(params, inputs, outputs, training, |_, _, _| {})
    }

    /// [`Graph::reference`] with a look at each op's output, and the power to change it: `after(op, terms, values)`, where
    /// `terms` is how many products each value sums (1 for ops without weights). For error analysis.
    ///
    /// # Errors
    /// As [`Graph::reference`].
    pub fn reference_with(
        &self,
        params: &BTreeMap<String, Vec<f64>>,
        inputs: &[&[f64]],
        outputs: &[NodeId],
        training: bool,
        mut after: impl FnMut(&str, usize, &mut [f64]),
    ) -> Result<Vec<Vec<f64>>> {
        let fits = |name: &str, shape: &[usize], n: usize| match shape.iter().product::<usize>() {
            want if want == n => Ok(()),
            _ => Err(Error::shape("reference", format!("`{name}` of {n} values, expected {shape:?}"))),
        };
        let mut given = inputs.iter();
        let mut last = vec![0; self.nodes.len()];
        for (j, node) in self.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|i| last[i.0] = j);
        }
        outputs.iter().for_each(|o| last[o.0] = usize::MAX);
        let mut values: Vec<Vec<f64>> = Vec::with_capacity(self.nodes.len());
        for (j, node) in self.nodes.iter().enumerate() {
            let Some(op) = &node.op else {
                let x = given.next().ok_or_else(|| Error::shape("reference", format!("input `{}` is missing", node.name)))?;
                fits(&node.name, &node.shape, x.len())?;
                values.push(x.to_vec());
                continue;
            };
            let mut own: Vec<&[f64]> = Vec::with_capacity(node.params.len());
            for p in &node.params {
                let (name, spec) = &self.params[*p];
                let v = params.get(name).ok_or_else(|| Error::shape("reference", format!("parameter `{name}` is missing")))?;
                fits(name, &spec.shape, v.len())?;
                own.push(v);
            }
            let from: Vec<Host<'_>> = node.inputs.iter().map(|i| (self.shape(*i), values[i.0].as_slice())).collect();
            let mut y = op.reference(&from, &own, training);
            let terms = node.params.first().map(|p| &self.params[*p].1).filter(|s| s.kind == ParamKind::Weight);
            // Each of the weights belongs to one of the output's last extent.
            let across = node.shape.last().copied().unwrap_or(1).max(1);
            after(op.name(), terms.map_or(1, |s| s.shape.iter().product::<usize>() / across), &mut y);
            values.push(y);
            node.inputs.iter().filter(|i| last[i.0] == j).for_each(|i| values[i.0] = Vec::new());
        }
        Ok(outputs.iter().map(|o| values[o.0].clone()).collect())
    }
}

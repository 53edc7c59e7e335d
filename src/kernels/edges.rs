//! The edges of a graph, sorted by target, and the same edges sorted by source: on the host and on the device.
//!
//! An edge carries the row of its source to the row of its target. Targets are N rows, sources M rows; in most graphs both are the
//! same nodes, N = M. A batch of graphs is one graph: the disjoint union, whose nodes are those of the first graph, then
//! those of the second, and so on ([`Csr::union`]). No kernel needs to know where one ends.

use super::expect;
use crate::gpu::{DType, Engine, Error, Result, Tensor};

/// What stands in slots that hold no edge.
pub const EMPTY: u32 = u32::MAX;

/// Which end of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where it comes from.
    Source,
    /// Where it goes to.
    Target,
}

/// Edges on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csr {
    offsets: Vec<u32>,
    sources: Vec<u32>,
    targets: Vec<u32>,
    back_offsets: Vec<u32>,
    back_edges: Vec<u32>,
    order: Vec<u32>,
}

/// Offsets of `n` bins and the items by bin, within a bin in their order.
pub(super) fn sort(bins: &[u32], n: usize) -> (Vec<u32>, Vec<u32>) {
    let mut offsets = vec![0u32; n + 1];
    bins.iter().for_each(|b| offsets[*b as usize + 1] += 1);
    (0..n).for_each(|i| offsets[i + 1] += offsets[i]);
    let (mut next, mut items) = (offsets.clone(), vec![0; bins.len()]);
    for (i, b) in bins.iter().enumerate() {
        let slot = &mut next[*b as usize];
        items[*slot as usize] = i as u32;
        *slot += 1;
    }
    (offsets, items)
}

impl Csr {
    /// Sorts a list of edges \[source, target\] by target; edges into one target keep their order. `targets` and `sources` are the
    /// numbers of rows on either side.
    ///
    /// # Errors
    /// A number beyond its side, or more rows or edges than u32 counts.
    pub fn new(targets: usize, sources: usize, edges: &[[u32; 2]]) -> Result<Self> {
        let fail = |reason: String| Error::shape("edges", reason);
        if [targets, sources, edges.len()].iter().any(|n| *n >= EMPTY as usize) {
            return Err(fail(format!("{targets} targets, {sources} sources and {} edges are too many", edges.len())));
        }
        if let Some((i, [s, t])) = edges.iter().enumerate().find(|(_, [s, t])| *s as usize >= sources || *t as usize >= targets) {
            return Err(fail(format!("edge {i} goes from {s} to {t}, of {sources} sources and {targets} targets")));
        }
        let (offsets, order) = sort(&edges.iter().map(|e| e[1]).collect::<Vec<_>>(), targets);
        let sorted: Vec<u32> = order.iter().map(|e| edges[*e as usize][0]).collect();
        let (back_offsets, back_edges) = sort(&sorted, sources);
        let targets = order.iter().map(|e| edges[*e as usize][1]).collect();
        Ok(Self { offsets, sources: sorted, targets, back_offsets, back_edges, order })
    }

    /// From edges sorted by target already: offsets \[N + 1\], the first 0, and the source of each edge. Sources beyond the last
    /// offset are slots without an edge.
    ///
    /// # Errors
    /// Offsets that fall or go beyond the sources; a source beyond `sources`.
    pub fn from_offsets(sources: usize, offsets: &[u32], of: &[u32]) -> Result<Self> {
        let all = offsets.last().map_or(0, |n| *n as usize);
        if offsets.first() != Some(&0) || offsets.windows(2).any(|w| w[0] > w[1]) || all > of.len() {
            return Err(Error::shape("edges", format!("offsets must rise from 0 to at most {}", of.len())));
        }
        let edges: Vec<[u32; 2]> =
            offsets.windows(2).enumerate().flat_map(|(t, w)| (w[0]..w[1]).map(move |e| [of[e as usize], t as u32])).collect();
        Self::new(offsets.len() - 1, sources, &edges)
    }

    /// Several graphs as one: the disjoint union. Nodes and edges of a graph follow those of the graph before it.
    ///
    /// # Errors
    /// More rows or edges than u32 counts.
    pub fn union(graphs: &[Self]) -> Result<Self> {
        let (mut targets, mut sources, mut edges) = (0, 0, Vec::new());
        for g in graphs {
            let [n, m, _] = g.counts();
            if targets + n >= EMPTY as usize || sources + m >= EMPTY as usize {
                return Err(Error::shape("edges", "more nodes than u32 counts"));
            }
            edges.extend(g.sources.iter().zip(&g.targets).map(|(s, t)| [s + sources as u32, t + targets as u32]));
            (targets, sources) = (targets + n, sources + m);
        }
        Self::new(targets, sources, &edges)
    }

    /// Numbers of targets, sources and edges.
    pub fn counts(&self) -> [usize; 3] {
        [self.offsets.len() - 1, self.back_offsets.len() - 1, self.sources.len()]
    }

    /// \[N + 1\]: the edges into target i are `offsets[i]..offsets[i + 1]`.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// \[E\]: where each edge comes from.
    pub fn sources(&self) -> &[u32] {
        &self.sources
    }

    /// \[E\]: where each edge goes to.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// \[M + 1\]: the edges out of source j are `back_edges[back_offsets[j]..back_offsets[j + 1]]`.
    pub fn back_offsets(&self) -> &[u32] {
        &self.back_offsets
    }

    /// \[E\]: numbers of edges by source, rising for each.
    pub fn back_edges(&self) -> &[u32] {
        &self.back_edges
    }

    /// \[E\]: which edge of the list given to [`Csr::new`] each one is; features of edges must be brought into this order.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// The edges on the device, without free slots.
    ///
    /// # Errors
    /// Out of memory.
    pub fn upload(&self, engine: &Engine) -> Result<Edges> {
        let [n, m, e] = self.counts();
        let edges = Edges::new(engine, n, m, e.max(1))?;
        edges.write(engine, self)?;
        Ok(edges)
    }
}

/// Edges on the device: five tensors of u32, which the host or [`knn`](super::knn) rewrites; plans stay.
///
/// There may be more slots than edges: what comes after the last offset holds [`EMPTY`]. Kernels give no message from a slot without
/// an edge, and write 0 there where their output is a row an edge. Numbers must be in range; kernels clamp those that are not.
#[derive(Debug, Clone)]
pub struct Edges {
    tensors: [Tensor; 5],
}

impl Edges {
    /// Room for `slots` edges from `sources` rows to `targets` rows; none yet.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(engine: &Engine, targets: usize, sources: usize, slots: usize) -> Result<Self> {
        let make = |name: &str, n: usize| engine.tensor(name, &[n], DType::U32);
        let all = [make("offsets", targets + 1)?, make("sources", slots)?, make("targets", slots)?];
        let [offsets, from, to] = all;
        Self::from_tensors([offsets, from, to, make("offsets by source", sources + 1)?, make("edges by source", slots)?])
    }

    /// Wraps offsets \[N + 1\], sources \[E\], targets \[E\], offsets by source \[M + 1\] and edges by source \[E\], all u32.
    ///
    /// # Errors
    /// Other types or shapes; no row or no slot.
    pub fn from_tensors(tensors: [Tensor; 5]) -> Result<Self> {
        let [offsets, sources, targets, back_offsets, back_edges] = &tensors;
        let (n, m, slots) = (offsets.len(), back_offsets.len(), sources.len());
        if n < 2 || m < 2 || slots == 0 {
            return Err(Error::shape("edges", format!("{n} offsets, {m} by source and {slots} slots: there must be a row and a slot")));
        }
        for (name, t, len) in [
            ("offsets", offsets, n),
            ("sources", sources, slots),
            ("targets", targets, slots),
            ("offsets by source", back_offsets, m),
            ("edges by source", back_edges, slots),
        ] {
            expect("edges", name, t, &[len], DType::U32)?;
        }
        Ok(Self { tensors })
    }

    /// Overwrites the edges; plans that read them see them from the next submission on.
    ///
    /// # Errors
    /// Other numbers of rows, or more edges than slots.
    pub fn write(&self, engine: &Engine, csr: &Csr) -> Result<()> {
        let ([n, m, e], [targets, sources, slots]) = (csr.counts(), self.counts());
        if (n, m) != (targets, sources) || e > slots {
            let room = format!("room for {slots} edges from {sources} to {targets} rows");
            return Err(Error::shape("edges", format!("{e} edges from {m} to {n} rows, {room}")));
        }
        let lists = [&csr.offsets, &csr.sources, &csr.targets, &csr.back_offsets, &csr.back_edges];
        for (t, list) in self.tensors.iter().zip(lists) {
            let mut all = list.clone();
            all.resize(t.len(), EMPTY);
            engine.write(t, &all)?;
        }
        Ok(())
    }

    /// Numbers of targets, sources and slots.
    pub fn counts(&self) -> [usize; 3] {
        [self.offsets().len() - 1, self.back_offsets().len() - 1, self.sources().len()]
    }

    /// \[N + 1\]: see [`Csr::offsets`].
    pub fn offsets(&self) -> &Tensor {
        &self.tensors[0]
    }

    /// \[E\]: see [`Csr::sources`].
    pub fn sources(&self) -> &Tensor {
        &self.tensors[1]
    }

    /// \[E\]: see [`Csr::targets`].
    pub fn targets(&self) -> &Tensor {
        &self.tensors[2]
    }

    /// \[M + 1\]: see [`Csr::back_offsets`].
    pub fn back_offsets(&self) -> &Tensor {
        &self.tensors[3]
    }

    /// \[E\]: see [`Csr::back_edges`].
    pub fn back_edges(&self) -> &Tensor {
        &self.tensors[4]
    }

    /// The row at one end of each edge, \[E\], and how many rows there are at that end.
    pub(crate) fn rows_at(&self, end: End) -> (&Tensor, usize) {
        let [n, m, _] = self.counts();
        match end {
            End::Source => (self.sources(), m),
            End::Target => (self.targets(), n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_and_transposes() {
        let csr = Csr::new(3, 4, &[[3, 2], [0, 0], [1, 2], [0, 2], [3, 0]]).unwrap();
        assert_eq!(csr.counts(), [3, 4, 5]);
        assert_eq!(csr.offsets(), [0, 2, 2, 5]);
        assert_eq!(csr.sources(), [0, 3, 3, 1, 0]);
        assert_eq!(csr.targets(), [0, 0, 2, 2, 2]);
        assert_eq!(csr.order(), [1, 4, 0, 2, 3]);
        assert_eq!(csr.back_offsets(), [0, 2, 3, 3, 5]);
        assert_eq!(csr.back_edges(), [0, 4, 3, 1, 2]);
        let again = Csr::from_offsets(4, csr.offsets(), &[csr.sources(), &[EMPTY; 2]].concat()).unwrap();
        assert_eq!((again.back_edges(), again.counts()), (csr.back_edges(), [3, 4, 5]));
        let twice = Csr::union(&[csr.clone(), csr]).unwrap();
        assert_eq!(twice.sources(), [0, 3, 3, 1, 0, 4, 7, 7, 5, 4]);
        assert_eq!(twice.offsets(), [0, 2, 2, 5, 7, 7, 10]);
    }

    #[test]
    fn refuses() {
        let e = Csr::new(2, 3, &[[2, 1], [3, 0]]).unwrap_err().to_string();
        assert!(e.contains("edge 1 goes from 3 to 0, of 3 sources and 2 targets"), "{e}");
        let e = Csr::from_offsets(3, &[0, 2, 1], &[0, 0]).unwrap_err().to_string();
        assert!(e.contains("must rise from 0 to at most 2"), "{e}");
        assert!(Csr::from_offsets(3, &[], &[]).is_err());
    }
}

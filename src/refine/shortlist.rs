//! A query and its candidates as a small database of its own, for the methods of image retrieval.

use crate::index::{CellHit, Database};

/// A query and its candidates as nodes: the query is node 0, candidate i is node i + 1.
#[derive(Debug)]
pub(super) struct Shortlist {
    dim: usize,
    vectors: Vec<f32>,
    /// Cosine of each node with each.
    cosine: Vec<f64>,
    /// All nodes by falling cosine with each node, itself first; of equals, the lower node.
    ranking: Vec<Vec<usize>>,
}

impl Shortlist {
    /// A candidate's vector is the row of its best view.
    pub(super) fn new(database: &Database, query: &[f32], hits: &[CellHit]) -> Self {
        let mut vectors = query.to_vec();
        hits.iter().for_each(|h| vectors.extend(database.row_values(h.row as usize)));
        Self::of(database.dim(), vectors)
    }

    /// Of vectors [nodes, dim].
    pub(super) fn of(dim: usize, vectors: Vec<f32>) -> Self {
        let n = vectors.len() / dim;
        let mut cosine = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let (a, b) = (&vectors[i * dim..][..dim], &vectors[j * dim..][..dim]);
                let dot = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                cosine[i * n + j] = dot;
                cosine[j * n + i] = dot;
            }
        }
        Self { dim, vectors, ..Self::of_cosines(n, cosine) }
    }

    /// Of cosines alone [nodes, nodes], for methods that need no more.
    pub(super) fn of_cosines(n: usize, cosine: Vec<f64>) -> Self {
        let rank = |i: usize| {
            let mut order: Vec<usize> = (0..n).collect();
            let key = |j: usize| if j == i { f64::INFINITY } else { cosine[i * n + j] };
            order.sort_by(|a, b| key(*b).total_cmp(&key(*a)));
            order
        };
        let ranking = (0..n).map(rank).collect();
        Self { dim: 0, vectors: Vec::new(), cosine, ranking }
    }

    /// Number of nodes.
    pub(super) fn len(&self) -> usize {
        self.ranking.len()
    }

    pub(super) fn cosine(&self, i: usize, j: usize) -> f64 {
        self.cosine[i * self.len() + j]
    }

    /// The `k` nodes most like node i, itself first; fewer where there are no more.
    pub(super) fn nearest(&self, i: usize, k: usize) -> &[usize] {
        &self.ranking[i][..k.min(self.len())]
    }

    /// A node's vector.
    pub(super) fn vector(&self, i: usize) -> &[f32] {
        &self.vectors[i * self.dim..][..self.dim]
    }
}

//! Twin of `shaders/score.wgsl`.

use rayon::prelude::*;

/// Dot products of all queries with all rows, `d` columns: [queries, rows].
pub fn scores(q: &[f64], x: &[f64], d: usize) -> Vec<f64> {
    q.par_chunks(d).flat_map_iter(|q| x.chunks(d).map(move |x| q.iter().zip(x).map(|(a, b)| a * b).sum())).collect()
}

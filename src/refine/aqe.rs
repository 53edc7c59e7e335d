//! Alpha query expansion (Radenovic, Tolias, Chum, "Fine-tuning CNN image retrieval with no human annotation", TPAMI 2019; arXiv 2018).
//!
//! ```text
//! q' = norm(q + sum over the first n candidates of max(s_j, 0)^alpha d_j),  s_j = q . d_j
//! ```
//!
//! with alpha = 3 and n = 50 as in the paper, or fewer where fewer candidates are asked for; q' is then searched anew.

use super::Request;
use crate::Result;
use crate::gpu::Engine;
use crate::index::CellHit;

/// Power of the weights.
const ALPHA: i32 = 3;
/// Most candidates that expand a query.
const NEIGHBOURS: usize = 50;

/// The expanded query; `candidates` are the vectors, best first.
fn expand(query: &[f32], candidates: impl Iterator<Item = Vec<f32>>) -> Vec<f32> {
    let dot = |a: &[f32]| -> f64 { a.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let mut sum: Vec<f64> = query.iter().map(|v| f64::from(*v)).collect();
    for d in candidates {
        let weight = dot(&d).max(0.0).powi(ALPHA);
        sum.iter_mut().zip(&d).for_each(|(s, v)| *s += weight * f64::from(*v));
    }
    let length = sum.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    sum.iter().map(|v| (v / length) as f32).collect()
}

pub(super) fn refine(engine: &Engine, request: &Request<'_>) -> Result<Vec<Vec<CellHit>>> {
    let n = request.top.min(NEIGHBOURS);
    let row = |h: &CellHit| request.database.row_values(h.row as usize);
    let expanded: Vec<f32> =
        request.hits.iter().enumerate().flat_map(|(i, hits)| expand(request.query(i), hits.iter().take(n).map(row))).collect();
    let most = request.hits.iter().map(Vec::len).max().unwrap_or(0);
    let mut found = request.searcher.search(engine, &expanded, most)?;
    found.iter_mut().zip(request.hits).for_each(|(new, old)| new.truncate(old.len()));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_leans_to_its_candidates_by_the_cube_of_their_cosine() {
        // d1 = (0, 1): s = 0.6, weight 0.216. d2 = (1, 0): s = 0.8, weight 0.512. The sum is (1.312, 0.816), of length 1.545056633.
        // A candidate of negative cosine adds nothing.
        let q = [0.8, 0.6];
        let got = expand(&q, [vec![0.0, 1.0], vec![1.0, 0.0], vec![-1.0, 0.0]].into_iter());
        for (g, w) in got.iter().zip([1.312 / 1.545_056_633, 0.816 / 1.545_056_633]) {
            assert!((f64::from(*g) - w).abs() < 1e-6, "{got:?}");
        }
        let alone = expand(&q, std::iter::empty());
        assert!(alone.iter().zip(q).all(|(a, b)| (a - b).abs() < 1e-6), "{alone:?}");
    }
}

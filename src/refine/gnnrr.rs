//! Graph re-ranking without training (Zhang, Jiang, Yu, Zhong, Tang, Luo, "Understanding image retrieval re-ranking: a graph neural network
//! perspective", arXiv:2012.07620, 2020), over a query and its candidates.
//!
//! ```text
//! A(i, j) = 1 where j is among the k1 nearest of i, itself the first, else 0
//! twice:  A <- A + A';  A(i) <- sum over the k2 nearest j of i of cos(i, j)^2 A(j);  A(i) <- A(i) / |A(i)|
//! score   = A(q) . A(i)
//! ```
//!
//! k1 = 26, k2 = 7 as in the paper.

use super::shortlist::Shortlist;

const K1: usize = 26;
const K2: usize = 7;
const ROUNDS: usize = 2;

/// The cosine of each candidate's propagated neighbourhood with the query's.
pub(super) fn scores(list: &Shortlist) -> Vec<f64> {
    scores_with(list, K1, K2, ROUNDS)
}

fn scores_with(list: &Shortlist, k1: usize, k2: usize, rounds: usize) -> Vec<f64> {
    let n = list.len();
    let mut a = vec![0.0; n * n];
    for i in 0..n {
        list.nearest(i, k1).iter().for_each(|j| a[i * n + j] = 1.0);
    }
    for _ in 0..rounds {
        let both: Vec<f64> = (0..n * n).map(|at| a[at] + a[at % n * n + at / n]).collect();
        for (i, row) in a.chunks_exact_mut(n).enumerate() {
            row.fill(0.0);
            for j in list.nearest(i, k2) {
                let weight = list.cosine(i, *j).powi(2);
                row.iter_mut().zip(&both[j * n..][..n]).for_each(|(r, b)| *r += weight * b);
            }
            let length = row.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
            row.iter_mut().for_each(|v| *v /= length);
        }
    }
    let (query, rest) = a.split_at(n);
    rest.chunks_exact(n).map(|row| row.iter().zip(query).map(|(a, b)| a * b).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbourhoods_propagate_as_by_hand() {
        #[rustfmt::skip]
        let list = Shortlist::of_cosines(3, vec![
            1.0, 0.9, 0.5,
            0.9, 1.0, 0.6,
            0.5, 0.6, 1.0,
        ]);
        // k1 = 2: the nearest are {0, 1}, {1, 0}, {2, 1}. A = (1 1 0, 1 1 0, 0 1 1), A + A' = (2 2 0, 2 2 1, 0 1 2).
        // k2 = 2: row 0 = (2 2 0) + 0.81 (2 2 1) = (3.62 3.62 0.81); row 1 = (2 2 1) + 0.81 (2 2 0) = (3.62 3.62 1);
        // row 2 = (0 1 2) + 0.36 (2 2 1) = (0.72 1.72 2.36). Squared lengths 26.8649, 27.2088, 9.0464; products with row 0 27.0188, 10.7444.
        let want = [27.0188 / (26.8649f64 * 27.2088).sqrt(), 10.7444 / (26.8649f64 * 9.0464).sqrt()];
        for (g, w) in scores_with(&list, 2, 2, 1).iter().zip(want) {
            assert!((g - w).abs() < 1e-12, "{g} {w}");
        }
        // With all nodes as neighbours at first and only itself after, nothing tells the nodes apart.
        assert!(scores_with(&list, 3, 1, 2).iter().all(|s| (s - 1.0).abs() < 1e-12));
    }
}

//! k-reciprocal re-ranking (Zhong, Zheng, Cao, Li, "Re-ranking person re-identification with k-reciprocal encoding", CVPR 2017), over a
//! query and its candidates.
//!
//! With d(i, j) = (1 - cos) over the largest such from i, as in the authors' code, and N(i, k) the k nearest of i and i itself:
//!
//! ```text
//! R(i, k)  = { j in N(i, k) : i in N(j, k) }
//! R*(i)    = R(i, k1), joined by each R(c, k1 / 2), c in R(i, k1), of which more than 2/3 lies in R(i, k1)
//! V(i)     = exp(-d(i, j)) for j in R*(i), else 0; sum 1; then the mean of V over the k2 nearest of i, itself among them
//! J(q, i)  = 1 - sum min(V(q), V(i)) / sum max(V(q), V(i))
//! distance = (1 - lambda) J(q, i) + lambda d(q, i)
//! ```
//!
//! k1 = 20, k2 = 6, lambda = 0.3 as in the paper.

use super::shortlist::Shortlist;

const K1: usize = 20;
const K2: usize = 6;
const LAMBDA: f64 = 0.3;

/// 1 less the distance of each candidate from the query.
pub(super) fn scores(list: &Shortlist) -> Vec<f64> {
    scores_with(list, K1, K2, LAMBDA)
}

/// R(i, k), by falling cosine.
fn reciprocal(list: &Shortlist, i: usize, k: usize) -> Vec<usize> {
    list.nearest(i, k + 1).iter().copied().filter(|j| list.nearest(*j, k + 1).contains(&i)).collect()
}

/// R*(i), as a flag for each node.
fn expanded(list: &Shortlist, i: usize, k1: usize) -> Vec<bool> {
    let first = reciprocal(list, i, k1);
    let mut inside = vec![false; list.len()];
    first.iter().for_each(|j| inside[*j] = true);
    let half = (k1 as f64 / 2.0).round_ties_even() as usize;
    for c in &first {
        let more = reciprocal(list, *c, half);
        let shared = more.iter().filter(|j| first.contains(j)).count();
        if 3 * shared > 2 * more.len() {
            more.iter().for_each(|j| inside[*j] = true);
        }
    }
    inside
}

fn scores_with(list: &Shortlist, k1: usize, k2: usize, lambda: f64) -> Vec<f64> {
    let n = list.len();
    let largest = |i: usize| (0..n).map(|j| 1.0 - list.cosine(i, j)).fold(f64::MIN_POSITIVE, f64::max);
    let encode = |i: usize| -> Vec<f64> {
        let (inside, scale) = (expanded(list, i, k1), largest(i));
        // Rounding may put a vector's cosine with itself above 1.
        let mut v: Vec<f64> =
            inside.iter().enumerate().map(|(j, on)| if *on { (-(1.0 - list.cosine(i, j)).max(0.0) / scale).exp() } else { 0.0 }).collect();
        let sum: f64 = v.iter().sum();
        v.iter_mut().for_each(|v| *v /= sum);
        v
    };
    let codes: Vec<Vec<f64>> = (0..n).map(encode).collect();
    let mean = |i: usize| -> Vec<f64> {
        let near = list.nearest(i, k2.max(1));
        (0..n).map(|j| near.iter().map(|g| codes[*g][j]).sum::<f64>() / near.len() as f64).collect()
    };
    let query = mean(0);
    let scale = largest(0);
    (1..n)
        .map(|i| {
            let shared: f64 = mean(i).iter().zip(&query).map(|(a, b)| a.min(*b)).sum();
            // Both sum to 1: the sum of the larger ones is 2 less that of the smaller.
            let jaccard = 1.0 - shared / (2.0 - shared);
            1.0 - (1.0 - lambda) * jaccard - lambda * (1.0 - list.cosine(0, i)) / scale
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pairs_stay_apart() {
        #[rustfmt::skip]
        let cosine = vec![
            1.0, 0.9, 0.8, 0.1,
            0.9, 1.0, 0.5, 0.2,
            0.8, 0.5, 1.0, 0.95,
            0.1, 0.2, 0.95, 1.0,
        ];
        let list = Shortlist::of_cosines(4, cosine);
        // k1 = 1: {0, 1} and {2, 3} are each other's nearest; half of it rounds to 0, which adds nothing. Node 0's largest 1 - cos is 0.9,
        // node 1's 0.8: V(0) = (a, 1 - a, 0, 0), a = 1 / (1 + exp(-0.1 / 0.9)); V(1) = (1 - b, b, 0, 0), b = 1 / (1 + exp(-0.1 / 0.8)).
        // Both are above a half: the smaller ones sum to (1 - b) + (1 - a). V(2) and V(3) share nothing with V(0).
        let (a, b) = (1.0 / (1.0 + (-0.1f64 / 0.9).exp()), 1.0 / (1.0 + (-0.1f64 / 0.8).exp()));
        let shared = 2.0 - a - b;
        let first = 0.7 * (1.0 - shared / (2.0 - shared)) + 0.3 * 0.1 / 0.9;
        let want = [1.0 - first, 1.0 - 0.7 - 0.3 * 0.2 / 0.9, 1.0 - 0.7 - 0.3];
        for (g, w) in scores_with(&list, 1, 1, 0.3).iter().zip(want) {
            assert!((g - w).abs() < 1e-12, "{g} {w}");
        }
        // k2 = 2: node 0 and node 1 both become (V(0) + V(1)) / 2, so that J = 0.
        let got = scores_with(&list, 1, 2, 0.3);
        assert!((got[0] - (1.0 - 0.3 * 0.1 / 0.9)).abs() < 1e-12, "{got:?}");
    }

    #[test]
    fn a_neighbours_neighbour_joins_when_the_rest_of_them_is_shared() {
        // Places on a line, a tenth of a radian each. Of eight nodes, the six nearest are all but the farthest: R(0, 6) is all but node 4.
        // R(3, 3) = {1, 2, 3, 4}: three of four lie in R(0, 6), more than 2/3, so node 4 joins.
        let places = [0.0, 1.0, 2.0, 3.0, 4.1, -1.2, -1.3, -1.4f64];
        let cosine = places.iter().flat_map(|a| places.iter().map(move |b| (0.1 * (a - b)).cos())).collect();
        let list = Shortlist::of_cosines(8, cosine);
        let mut first = reciprocal(&list, 0, 6);
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2, 3, 5, 6, 7]);
        let mut other = reciprocal(&list, 3, 3);
        other.sort_unstable();
        assert_eq!(other, [1, 2, 3, 4]);
        assert!(expanded(&list, 0, 6).iter().all(|on| *on));
    }
}

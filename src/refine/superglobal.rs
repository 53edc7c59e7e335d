//! SuperGlobal re-ranking (Shao, Chen, Karpur, Cui, Araujo, Cao, "Global features are all you need for image retrieval and reranking",
//! ICCV 2023), as the authors' code does it, over the first M candidates.
//!
//! ```text
//! d'_i  = (d_i + sum over the K candidates j most like i of beta cos(i, j) d_j) / (1 + sum of beta cos(i, j))
//! S1(i) = q . d'_i
//! q'    = the largest value in each dimension of the K + 1 vectors d' of largest S1
//! S2(i) = q' . d'_i
//! score = (S1 + S2) / 2
//! ```
//!
//! M = 400 or all candidates there are, K = 9, beta = 0.15 as in the paper.

use super::shortlist::Shortlist;

const M: usize = 400;
const K: usize = 9;
const BETA: f64 = 0.15;

/// The score of each of the first M candidates.
pub(super) fn scores(list: &Shortlist) -> Vec<f64> {
    scores_with(list, M, K, BETA)
}

fn scores_with(list: &Shortlist, m: usize, k: usize, beta: f64) -> Vec<f64> {
    let last = m.min(list.len() - 1);
    let refined = |i: usize| -> Vec<f64> {
        let mut sum: Vec<f64> = list.vector(i).iter().map(|v| f64::from(*v)).collect();
        let mut weights = 1.0;
        let near = list.nearest(i, list.len()).iter().filter(|j| (1..=last).contains(*j) && **j != i);
        for j in near.take(k) {
            let weight = beta * list.cosine(i, *j);
            sum.iter_mut().zip(list.vector(*j)).for_each(|(s, v)| *s += weight * f64::from(*v));
            weights += weight;
        }
        // k cosines of at least -1 keep the sum of weights above 0 only where k beta < 1; a candidate's nearest are hardly so unlike.
        sum.iter_mut().for_each(|v| *v /= weights);
        sum
    };
    let refined: Vec<Vec<f64>> = (1..=last).map(refined).collect();
    let first: Vec<f64> = refined.iter().map(|d| d.iter().zip(list.vector(0)).map(|(a, b)| a * f64::from(*b)).sum()).collect();
    let mut order: Vec<usize> = (0..last).collect();
    order.sort_by(|a, b| first[*b].total_cmp(&first[*a]));
    let mut query = vec![f64::NEG_INFINITY; list.vector(0).len()];
    for i in order.iter().take(k + 1) {
        query.iter_mut().zip(&refined[*i]).for_each(|(q, v)| *q = q.max(*v));
    }
    let second = refined.iter().map(|d| d.iter().zip(&query).map(|(a, b)| a * b).sum::<f64>());
    first.iter().zip(second).map(|(a, b)| 0.5 * (a + b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_similarities_are_those_worked_by_hand() {
        // q = (1, 0); K = 1. The nearest of d1 is d2 and of d2 is d1 (cosine 0.96, weight 0.144), of d3 it is d2 (0.8, 0.12):
        // d'1 = (0.8864, 0.7152) / 1.144, d'2 = (0.7152, 0.8864) / 1.144, d'3 = (0.072, 1.096) / 1.12.
        // S1 is the first value of each. The largest of d'1 and d'2: q' = (p, p) with p = 0.8864 / 1.144, and S2 = p times the sum of d'.
        let list = Shortlist::of(2, vec![1.0, 0.0, 0.8, 0.6, 0.6, 0.8, 0.0, 1.0]);
        let p = 0.8864 / 1.144;
        let refined = [[p, 0.7152 / 1.144], [0.7152 / 1.144, p], [0.072 / 1.12, 1.096 / 1.12]];
        let got = scores_with(&list, 400, 1, 0.15);
        for (g, d) in got.iter().zip(refined) {
            let want = 0.5 * (d[0] + p * (d[0] + d[1]));
            // 0.8 and 0.6 in f32 are off by 3e-8 at most.
            assert!((g - want).abs() < 1e-6, "{g} {want}");
        }
        // Among the first two alone nothing changes for them: neither has d3 for a neighbour.
        let two = scores_with(&list, 2, 1, 0.15);
        assert!(two.len() == 2 && two.iter().zip(&got).all(|(a, b)| a == b), "{two:?}");
        // A query without candidates.
        assert!(scores_with(&Shortlist::of(2, vec![1.0, 0.0]), 400, 9, 0.15).is_empty());
    }
}

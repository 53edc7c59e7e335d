//! Differences between two ways over the same queries.

use super::metrics::{Estimate, RESAMPLES};
use crate::random::Random;
use crate::{Error, Result};

/// The mean of b - a, where both hold a row of outcomes a training seed and a column a query, with its 95 % interval from a two-level
/// bootstrap (Davison and Hinkley 1997, ch. 3.8): seeds are drawn again with replacement, then queries, the same ones for a and b.
///
/// # Errors
/// No outcome, or rows that do not pair.
pub fn paired_difference(a: &[Vec<f64>], b: &[Vec<f64>], seed: u64) -> Result<Estimate> {
    Ok(paired_test(a, b, seed)?.0)
}

/// [`paired_difference`] with the two-sided p-value of the same draws against no difference: 2 (1 + n) / (1 + [`RESAMPLES`]), at most 1,
/// where n counts the draws at 0 or beyond it, on the side that has fewer: the level at which the percentile interval just reaches 0
/// (Efron and Tibshirani 1993, ch. 15.4; the added ones as in Davison and Hinkley 1997, ch. 4). It is never below
/// 2 / (1 + [`RESAMPLES`]), the least that so many draws can show.
///
/// # Errors
/// Those of [`paired_difference`].
pub fn paired_test(a: &[Vec<f64>], b: &[Vec<f64>], seed: u64) -> Result<(Estimate, f64)> {
    let queries = a.first().map_or(0, Vec::len);
    if queries == 0 || a.len() != b.len() || a.iter().chain(b).any(|row| row.len() != queries) {
        return Err(Error::invalid("the outcomes do not pair: as many seeds and queries are needed on both sides"));
    }
    let seeds = a.len();
    let differences: Vec<Vec<f64>> = a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| b - a).collect()).collect();
    let value = differences.iter().flatten().sum::<f64>() / (seeds * queries) as f64;
    let mut random = Random::new(seed, 31);
    let mut draws: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let rows: Vec<&Vec<f64>> = (0..seeds).map(|_| &differences[random.below(seeds)]).collect();
            let sum: f64 = (0..queries)
                .map(|_| {
                    let q = random.below(queries);
                    rows.iter().map(|r| r[q]).sum::<f64>()
                })
                .sum();
            sum / (seeds * queries) as f64
        })
        .collect();
    draws.sort_by(f64::total_cmp);
    let at = |p: f64| draws[((p * (RESAMPLES - 1) as f64).round() as usize).min(RESAMPLES - 1)];
    // Negated, so that a draw that is no number counts against a difference.
    let beyond = [|d: f64| d > 0.0, |d: f64| d < 0.0].map(|clear| draws.iter().filter(|d| !clear(**d)).count());
    let p = 2.0 * (1 + beyond[0].min(beyond[1])) as f64 / (1 + RESAMPLES) as f64;
    Ok((Estimate { value, ci95: [at(0.025), at(0.975)] }, p.min(1.0)))
}

/// Holm-Bonferroni adjusted p-values of tests made together, in the order given (Holm 1979, "A simple sequentially rejective multiple
/// test procedure"): the i-th smallest of m becomes the largest of (m - j + 1) p_j over j = 1..i, at most 1. Those at most a level may be
/// rejected together, with at most that chance of rejecting any falsely. A p that is no number counts as 1.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let known: Vec<f64> = p.iter().map(|p| if p.is_nan() { 1.0 } else { *p }).collect();
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| known[*a].total_cmp(&known[*b]));
    let (mut adjusted, mut most) = (vec![0.0; p.len()], 0.0f64);
    for (rank, i) in order.into_iter().enumerate() {
        most = most.max((p.len() - rank) as f64 * known[i]).min(1.0);
        adjusted[i] = most;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_outcomes_differ_by_nothing() {
        let a = vec![vec![1.0, 0.0, 1.0]; 3];
        let e = paired_difference(&a, &a, 1).unwrap();
        assert_eq!((e.value, e.ci95), (0.0, [0.0, 0.0]));
    }

    #[test]
    fn a_shift_has_no_spread_and_noise_has_that_of_the_mean() {
        let mut random = Random::new(5, 0);
        let noise: Vec<f64> = (0..400).map(|_| random.range(-1.0, 1.0)).collect();
        let a = vec![noise.clone(); 3];
        let b: Vec<Vec<f64>> = a.iter().map(|r| r.iter().map(|v| v + 0.25).collect()).collect();
        let e = paired_difference(&a, &b, 1).unwrap();
        assert!((e.value - 0.25).abs() < 1e-12 && e.ci95.iter().all(|v| (v - 0.25).abs() < 1e-9), "{e:?}");
        let zero = vec![vec![0.0; 400]; 3];
        let e = paired_difference(&zero, &a, 1).unwrap();
        // Uniform in -1..1: standard deviation 1 / sqrt(3), of the mean over 400 queries 0.029; rows are equal, so seeds add nothing.
        let half = (e.ci95[1] - e.ci95[0]) / 2.0;
        assert!((half / (1.96 * 0.0289) - 1.0).abs() < 0.15, "{half}");
        assert_eq!(e, paired_difference(&zero, &a, 1).unwrap());
    }

    #[test]
    fn seeds_that_disagree_widen_the_interval() {
        let zero = vec![vec![0.0; 100]; 3];
        let spread = vec![vec![-0.3; 100], vec![0.0; 100], vec![0.3; 100]];
        let e = paired_difference(&zero, &spread, 1).unwrap();
        assert!(e.ci95[0] < -0.15 && e.ci95[1] > 0.15, "{e:?}");
    }

    #[test]
    fn what_does_not_pair_is_refused() {
        for (a, b) in [(vec![], vec![]), (vec![vec![1.0]], vec![vec![1.0, 2.0]]), (vec![vec![1.0]; 2], vec![vec![1.0]])] {
            assert!(paired_difference(&a, &b, 1).is_err());
        }
    }

    #[test]
    fn p_counts_the_draws_beyond_nothing() {
        let least = 2.0 / (1.0 + RESAMPLES as f64);
        let rows = |value: f64, queries: usize| vec![vec![value; queries]; 3];
        let p = |a: &[Vec<f64>], b: &[Vec<f64>]| paired_test(a, b, 1).unwrap().1;
        // Draws that are all 0 lie on both sides of it.
        assert_eq!(p(&rows(1.0, 5), &rows(1.0, 5)), 1.0);
        assert_eq!((p(&rows(0.0, 5), &rows(1.0, 5)), p(&rows(1.0, 5), &rows(0.0, 5))), (least, least));
        assert_eq!(p(&rows(0.0, 5), &rows(f64::NAN, 5)), 1.0);
        // One query of four is better, by one seed alone: a draw is 0 where it misses that, with chance (3/4)^4.
        let one = vec![vec![1.0, 0.0, 0.0, 0.0]];
        assert!((p(&rows(0.0, 4)[..1], &one) / (2.0 * 0.75f64.powi(4)) - 1.0).abs() < 0.1);
    }

    #[test]
    fn p_is_that_of_a_normal_mean_and_agrees_with_the_interval() {
        // A mean two standard errors from 0: p = 0.0455 by the normal distribution.
        let mut random = Random::new(9, 0);
        let noise: Vec<f64> = (0..400).map(|_| random.range(-1.0, 1.0)).collect();
        let mean = noise.iter().sum::<f64>() / 400.0;
        let error = (noise.iter().map(|v| (v - mean).powi(2)).sum::<f64>()).sqrt() / 400.0;
        let at = |z: f64| vec![noise.iter().map(|v| v - mean + z * error).collect::<Vec<f64>>(); 2];
        let zero = vec![vec![0.0; 400]; 2];
        for (z, p) in [(2.0, 0.0455), (-2.0, 0.0455), (1.0, 0.317)] {
            let (e, found) = paired_test(&zero, &at(z), 3).unwrap();
            assert!((found / p - 1.0).abs() < 0.3, "{z}: {found}");
            assert_eq!(e, paired_difference(&zero, &at(z), 3).unwrap());
        }
        for z in [1.5, 2.5] {
            let (e, found) = paired_test(&zero, &at(z), 3).unwrap();
            assert_eq!(found < 0.05, e.ci95[0] > 0.0, "{z}: {found} {e:?}");
        }
    }

    #[test]
    fn holm_steps_down_in_the_order_given() {
        let near = |p: &[f64], want: &[f64]| {
            let found = holm(p);
            assert!(found.len() == want.len() && found.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        };
        // As R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") has it.
        near(&[0.01, 0.04, 0.03, 0.005], &[0.03, 0.06, 0.06, 0.02]);
        near(&[0.5, 0.001, 0.6], &[1.0, 0.003, 1.0]);
        near(&[0.02, 0.02, 0.02], &[0.06, 0.06, 0.06]);
        near(&[0.3], &[0.3]);
        near(&[0.01, f64::NAN], &[0.02, 1.0]);
        near(&[], &[]);
    }
}

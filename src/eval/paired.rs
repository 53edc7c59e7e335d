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
    Ok(Estimate { value, ci95: [at(0.025), at(0.975)] })
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
}

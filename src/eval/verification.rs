//! How well distances tell pairs from others: accuracy, precision, recall, the ROC curve and what is read off it, with bootstrap intervals.
//!
//! Two images are said to be a pair where their distance lies below a threshold. For the intervals whole pairs are drawn again, each with all its patches and
//! their negatives, as in [`super::metrics`].

use super::metrics::{Draw, Estimate, RESAMPLES, percentiles};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;
use std::fmt;

/// The recall at which the false positive rate is told.
const RECALL: (u64, u64) = (95, 100);

/// Distances of pairs and, row by row, of each pair's negatives.
#[derive(Debug, Clone, PartialEq)]
pub struct Distances {
    /// Rows of a pair's distance and those of its negatives.
    values: Vec<f64>,
    /// Length of a row.
    row: usize,
    /// Places in `values`, the smallest distance first, in runs of equal ones.
    runs: Vec<Vec<usize>>,
}

/// What became of pairs and negatives under a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// Pairs that were told for pairs.
    pub true_pairs: u64,
    /// Negatives that were told for pairs.
    pub false_pairs: u64,
    /// Pairs that were not told.
    pub missed: u64,
    /// Negatives that were told for such.
    pub true_others: u64,
}

impl Confusion {
    /// Share that was told right.
    pub fn accuracy(&self) -> f64 {
        let right = self.true_pairs + self.true_others;
        right as f64 / (right + self.false_pairs + self.missed) as f64
    }

    /// Share of pairs among what was told for such; none where nothing was.
    pub fn precision(&self) -> Option<f64> {
        let told = self.true_pairs + self.false_pairs;
        (told > 0).then(|| self.true_pairs as f64 / told as f64)
    }

    /// Share of the pairs that was told.
    pub fn recall(&self) -> f64 {
        self.true_pairs as f64 / (self.true_pairs + self.missed) as f64
    }
}

/// A point of the ROC curve: what a threshold just above a distance comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RocPoint {
    /// The distance.
    pub distance: f64,
    /// Share of the negatives below the threshold.
    pub false_positives: f64,
    /// Share of the pairs below it.
    pub recall: f64,
}

impl Distances {
    /// Of rows of a pair and its `negatives`.
    ///
    /// # Errors
    /// No pair, no negative, part of a row, a distance that is no number.
    pub fn new(values: Vec<f64>, negatives: usize) -> Result<Self> {
        let row = 1 + negatives;
        if values.is_empty() || negatives == 0 || !values.len().is_multiple_of(row) {
            return Err(Error::invalid(format!("{} distances are no rows of a pair and {negatives} negatives", values.len())));
        }
        if let Some(at) = values.iter().position(|v| v.is_nan()) {
            return Err(Error::invalid(format!("distance {} of pair {} is no number", at % row, at / row)));
        }
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
        let runs = order.chunk_by(|a, b| values[*a] == values[*b]).map(<[usize]>::to_vec).collect();
        Ok(Self { values, row, runs })
    }

    /// Pairs.
    pub fn pairs(&self) -> usize {
        self.values.len() / self.row
    }

    /// Negatives of all pairs.
    pub fn negatives(&self) -> usize {
        self.values.len() - self.pairs()
    }

    /// What becomes of them under a threshold.
    pub fn confusion(&self, threshold: f64) -> Confusion {
        self.counted(threshold, &vec![1; self.pairs()])
    }

    /// The same with each pair and its negatives counted so often.
    fn counted(&self, threshold: f64, times: &[u64]) -> Confusion {
        let mut c = Confusion { true_pairs: 0, false_pairs: 0, missed: 0, true_others: 0 };
        for (i, d) in self.values.iter().enumerate() {
            let cell = match (i % self.row == 0, *d < threshold) {
                (true, true) => &mut c.true_pairs,
                (true, false) => &mut c.missed,
                (false, true) => &mut c.false_pairs,
                (false, false) => &mut c.true_others,
            };
            *cell += times[i / self.row];
        }
        c
    }

    /// Pairs and negatives of each run of equal distances, in ascending order.
    fn steps<'a>(&'a self, times: &'a [u64]) -> impl Iterator<Item = (f64, u64, u64)> + 'a {
        self.runs.iter().map(|run| {
            let count = |pair: bool| run.iter().filter(|i| (*i % self.row == 0) == pair).map(|i| times[i / self.row]).sum::<u64>();
            (self.values[run[0]], count(true), count(false))
        })
    }

    /// The ROC curve: a point for each distance there is, in ascending order.
    pub fn roc(&self) -> Vec<RocPoint> {
        let times = vec![1; self.pairs()];
        let (mut pairs, mut others) = (0, 0);
        self.steps(&times)
            .map(|(distance, p, n)| {
                (pairs, others) = (pairs + p, others + n);
                let share = |part: u64, all: usize| part as f64 / all as f64;
                RocPoint { distance, false_positives: share(others, self.negatives()), recall: share(pairs, self.pairs()) }
            })
            .collect()
    }

    /// The area under the ROC curve, and the false positive rate at the least threshold that finds 95 % of the pairs. The area is the chance that a pair
    /// lies nearer than a negative, where equals count half (Mann and Whitney 1947; Hanley and McNeil 1982).
    fn area_and_fpr95(&self, times: &[u64]) -> [f64; 2] {
        let all = times.iter().sum::<u64>();
        let others = all * (self.row as u64 - 1);
        let (mut nearer, mut pairs, mut false_pairs, mut fpr95) = (0.0, 0, 0, None);
        for (_, p, n) in self.steps(times) {
            nearer += n as f64 * (pairs as f64 + p as f64 / 2.0);
            (pairs, false_pairs) = (pairs + p, false_pairs + n);
            if fpr95.is_none() && pairs * RECALL.1 >= all * RECALL.0 {
                fpr95 = Some(false_pairs as f64 / others as f64);
            }
        }
        [nearer / (all as f64 * others as f64), fpr95.unwrap_or(1.0)]
    }

    /// The area under the ROC curve.
    pub fn area(&self) -> f64 {
        self.area_and_fpr95(&vec![1; self.pairs()])[0]
    }

    /// The share of negatives below the least threshold that has 95 % of the pairs below it.
    pub fn fpr95(&self) -> f64 {
        self.area_and_fpr95(&vec![1; self.pairs()])[1]
    }

    /// The threshold of the greatest accuracy: half way between two neighbouring distances, or just above the greatest; of equals the one nearest to 0.5,
    /// then the lower.
    pub fn best_threshold(&self) -> f64 {
        let times = vec![1; self.pairs()];
        let steps: Vec<_> = self.steps(&times).collect();
        let mut right = self.negatives() as u64;
        let mut best = (right, steps[0].0);
        for (i, (distance, pairs, others)) in steps.iter().enumerate() {
            right = right + pairs - others;
            let at = steps.get(i + 1).map_or(distance.next_up(), |next| f64::midpoint(*distance, next.0));
            let nearer = (at - 0.5).abs() < (best.1 - 0.5).abs();
            if right > best.0 || right == best.0 && nearer {
                best = (right, at);
            }
        }
        best.1
    }
}

/// All figures of a set of distances. Shares are in 0..1, intervals of 95 %.
#[derive(Debug, Clone, PartialEq)]
pub struct Verification {
    /// Pairs.
    pub pairs: usize,
    /// Patches cut from them.
    pub patches: usize,
    /// Negatives.
    pub negatives: usize,
    /// The threshold of the figures below.
    pub threshold: f64,
    /// Share told right.
    pub accuracy: Estimate,
    /// Share of pairs among what was told for such; none where nothing was.
    pub precision: Option<Estimate>,
    /// Share of the pairs that was told.
    pub recall: Estimate,
    /// Share told right at a threshold of 0.5.
    pub accuracy_at_half: Estimate,
    /// Of a threshold at which 95 % of the pairs are told, the share of negatives that are too.
    pub fpr95: Estimate,
    /// Area under the ROC curve.
    pub auc: Estimate,
}

/// Between what pairs and negatives are trained to.
const HALF: f64 = 0.5;

impl Verification {
    /// Under a threshold that was chosen before; `seed` picks the bootstrap's draws. `of` is the pair that each row's patch was cut from, in runs of one pair.
    ///
    /// # Errors
    /// Not one for each row.
    pub fn new(distances: &Distances, of: &[usize], threshold: f64, seed: u64) -> Result<Self> {
        let n = distances.pairs();
        if of.len() != n {
            return Err(Error::invalid(format!("{} rows of distances, and pairs of {}", n, of.len())));
        }
        let pairs: Vec<usize> = of.chunk_by(|a, b| a == b).map(<[usize]>::len).collect();
        let figures = |times: &[u64]| {
            let (at, half) = (distances.counted(threshold, times), distances.counted(HALF, times));
            let [auc, fpr95] = distances.area_and_fpr95(times);
            ([at.accuracy(), at.recall(), half.accuracy(), fpr95, auc], at.precision())
        };
        let (all, precision) = figures(&vec![1; n]);
        let draws: Vec<_> = (0..RESAMPLES)
            .into_par_iter()
            .map(|r| {
                let mut drawn = vec![0; pairs.len()];
                Draw::new(seed, r, pairs.len(), 1).for_each(|i| drawn[i] += 1);
                let times: Vec<u64> = pairs.iter().zip(drawn).flat_map(|(rows, times)| std::iter::repeat_n(times, *rows)).collect();
                figures(&times)
            })
            .collect();
        let estimate = |i: usize| Estimate { value: all[i], ci95: percentiles(draws.iter().map(|d| d.0[i]).collect(), all[i]) };
        let precision = precision.map(|value| Estimate { value, ci95: percentiles(draws.iter().filter_map(|d| d.1).collect(), value) });
        let [accuracy, recall, accuracy_at_half, fpr95, auc] = std::array::from_fn(estimate);
        let (pairs, negatives) = (pairs.len(), distances.negatives());
        Ok(Self { pairs, patches: n, negatives, threshold, accuracy, precision, recall, accuracy_at_half, fpr95, auc })
    }

    /// One object of numbers: each figure under its name, its interval under that with `_ci95`.
    pub fn to_json(&self) -> serde_json::Value {
        let mut value = json!({ "pairs": self.pairs, "patches": self.patches, "negatives": self.negatives, "threshold": self.threshold });
        for (name, estimate) in [
            ("accuracy", Some(self.accuracy)),
            ("precision", self.precision),
            ("recall", Some(self.recall)),
            ("accuracy_at_half", Some(self.accuracy_at_half)),
            ("fpr95", Some(self.fpr95)),
            ("auc", Some(self.auc)),
        ] {
            value[name] = json!(estimate.map(|e| e.value));
            value[format!("{name}_ci95")] = json!(estimate.map(|e| e.ci95));
        }
        value
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |v: f64| format!("{:.1} %", 100.0 * v);
        let share = |name: &str, e: &Estimate| {
            [name.to_string(), percent(e.value), format!("{:.1} to {:.1} %", 100.0 * e.ci95[0], 100.0 * e.ci95[1])]
        };
        let none = || ["precision".to_string(), "none told".to_string(), String::new()];
        let rows = [
            ["measure", "value", "95 % interval"].map(str::to_string),
            share("accuracy", &self.accuracy),
            self.precision.as_ref().map_or_else(none, |e| share("precision", e)),
            share("recall", &self.recall),
            share("accuracy at 0.5", &self.accuracy_at_half),
            share("FPR at 95 % recall", &self.fpr95),
            ["AUC".to_string(), format!("{:.4}", self.auc.value), format!("{:.4} to {:.4}", self.auc.ci95[0], self.auc.ci95[1])],
        ];
        let patches = if self.patches == self.pairs { String::new() } else { format!(" ({} patches)", self.patches) };
        writeln!(f, "{} pairs{patches} and {} negatives, a pair below a distance of {:.4}\n", self.pairs, self.negatives, self.threshold)?;
        let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or_default();
        let (a, b, c) = (width(0), width(1), width(2));
        rows.iter().try_for_each(|[name, value, ci]| writeln!(f, "{}", format!("{name:<a$}  {value:>b$}  {ci:>c$}").trim_end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Pairs at 0.1, 0.2, 0.3, 0.6; their negatives at 0.9, 0.3, 0.7, 0.4.
    fn four() -> Distances {
        Distances::new(vec![0.1, 0.9, 0.2, 0.3, 0.3, 0.7, 0.6, 0.4], 1).unwrap()
    }

    #[test]
    fn figures_match_a_case_worked_by_hand() {
        let d = four();
        assert_eq!((d.pairs(), d.negatives()), (4, 4));
        let c = d.confusion(0.5);
        assert_eq!(c, Confusion { true_pairs: 3, false_pairs: 2, missed: 1, true_others: 2 });
        assert_eq!((c.accuracy(), c.precision(), c.recall()), (0.625, Some(0.6), 0.75));
        // A distance at the threshold is none below it.
        assert_eq!(d.confusion(0.3), Confusion { true_pairs: 2, false_pairs: 0, missed: 2, true_others: 4 });
        assert_eq!(d.confusion(0.05).precision(), None);
        // Nearer, of 16 pairs of one and the other: 4 for 0.1, 4 for 0.2, 3 and a half for 0.3, 2 for 0.6.
        assert!((d.area() - 13.5 / 16.0).abs() < 1e-12, "{}", d.area());
        // All four pairs are needed for 95 %: up to 0.6, where 0.3 and 0.4 are in.
        assert_eq!(d.fpr95(), 0.5);
        let roc: Vec<(f64, f64)> = d.roc().iter().map(|p| (p.false_positives, p.recall)).collect();
        assert_eq!(roc, [(0.0, 0.25), (0.0, 0.5), (0.25, 0.75), (0.5, 0.75), (0.5, 1.0), (0.75, 1.0), (1.0, 1.0)]);
        // Six of eight are right below 0.25, 0.35 and 0.65: the first lies farther from the half than the others.
        let best = d.best_threshold();
        assert!(((best - 0.5).abs() - 0.15).abs() < 1e-12 && d.confusion(best).accuracy() == 0.75, "{best}");
    }

    #[test]
    fn ties_count_half_and_order_does_not_matter() {
        let same = Distances::new(vec![0.4; 12], 2).unwrap();
        assert_eq!((same.area(), same.fpr95(), same.roc().len()), (0.5, 1.0, 1));
        // Two of three are negatives: nothing is a pair.
        assert_eq!(same.confusion(same.best_threshold()).accuracy(), 2.0 / 3.0);
        let apart = Distances::new(vec![0.1, 0.8, 0.9, 0.2, 0.7, 0.6], 2).unwrap();
        assert_eq!((apart.area(), apart.fpr95()), (1.0, 0.0));
        assert!((apart.best_threshold() - 0.4).abs() < 1e-12);
        let swapped = Distances::new(vec![0.2, 0.6, 0.7, 0.1, 0.9, 0.8], 2).unwrap();
        assert_eq!(swapped.roc(), apart.roc());
        // Whatever the threshold, half are right.
        let close = Distances::new(vec![0.1, 0.1, 0.2, 0.2], 1).unwrap();
        assert_eq!(close.confusion(close.best_threshold()).accuracy(), 0.5);
    }

    #[test]
    fn twenty_pairs_make_95_percent_of_nineteen() {
        // The twentieth pair lies beyond all negatives but counts for nothing at 95 %.
        let values = (0..20).flat_map(|i| [if i == 19 { 0.99 } else { 0.01 * f64::from(i) }, 0.15 + 0.02 * f64::from(i)]);
        let d = Distances::new(values.collect(), 1).unwrap();
        // The nineteenth lies at 0.18, above the negatives at 0.15 and 0.17.
        assert!((d.fpr95() - 0.1).abs() < 1e-12, "{}", d.fpr95());
    }

    #[test]
    fn intervals_bracket_the_value_and_match_the_normal_width() {
        let mut random = Random::new(4, 0);
        // Four of five pairs and negatives on the right side of 0.5.
        let mut side = |near: bool| if (random.unit() < 0.8) == near { random.range(0.1, 0.4) } else { random.range(0.6, 0.9) };
        let d = Distances::new((0..400).flat_map(|_| [side(true), side(false)]).collect(), 1).unwrap();
        let each: Vec<usize> = (0..400).collect();
        let v = Verification::new(&d, &each, 0.5, 7).unwrap();
        for e in [v.accuracy, v.recall, v.accuracy_at_half, v.fpr95, v.auc, v.precision.unwrap()] {
            assert!(e.ci95[0] <= e.value && e.value <= e.ci95[1] && e.ci95[0] < e.ci95[1], "{e:?}");
        }
        assert_eq!(v.accuracy, v.accuracy_at_half);
        let width = |e: Estimate| e.ci95[1] - e.ci95[0];
        // Shares over 800 independent outcomes, and over the 400 pairs.
        for (e, n) in [(v.accuracy, 800.0), (v.recall, 400.0)] {
            let expected = 2.0 * 1.96 * (e.value * (1.0 - e.value) / n).sqrt();
            assert!((width(e) - expected).abs() < 0.15 * expected, "{e:?} against {expected}");
        }
        // The area's standard error by Hanley and McNeil 1982, equation 2, within its approximation.
        let a = v.auc.value;
        let (q1, q2) = (a / (2.0 - a), 2.0 * a * a / (1.0 + a));
        let se = ((a * (1.0 - a) + 399.0 * (q1 - a * a + q2 - a * a)) / 160_000.0).sqrt();
        assert!((width(v.auc) / (2.0 * 1.96 * se) - 1.0).abs() < 0.3, "{} {se}", width(v.auc));
        assert_eq!(v, Verification::new(&d, &each, 0.5, 7).unwrap());
        // Four patches of each pair, which say the same: a quarter of the evidence.
        let fold: Vec<usize> = (0..400).map(|i| i / 4).collect();
        let row = |i: usize| d.values[2 * (i / 4)..][..2].to_vec();
        let same = Distances::new((0..400).flat_map(row).collect(), 1).unwrap();
        let [apart, together] = [&each, &fold].map(|of| Verification::new(&same, of, 0.5, 7).unwrap());
        assert_eq!((together.pairs, together.patches, apart.pairs), (100, 400, 400));
        assert!((width(together.accuracy) / width(apart.accuracy) - 2.0).abs() < 0.3, "{together:?}");
        assert!(Verification::new(&d, &each[1..], 0.5, 7).is_err());
        let told = v.to_json();
        assert_eq!((told["auc"].as_f64(), told["fpr95_ci95"][1].as_f64()), (Some(v.auc.value), Some(v.fpr95.ci95[1])));
        assert!(Verification::new(&d, &each, 0.0, 7).unwrap().to_json()["precision_ci95"].is_null(), "nothing is told for a pair");
        let text = v.to_string();
        assert!(text.contains("FPR at 95 % recall") && text.contains("precision"), "{text}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (values, negatives, words) in [
            (vec![], 1, "0 distances"),
            (vec![0.1, 0.2], 0, "0 negatives"),
            (vec![0.1, 0.2, 0.3], 1, "3 distances"),
            (vec![0.1, 0.2, 0.3, f64::NAN], 1, "distance 1 of pair 1 is no number"),
        ] {
            let e = Distances::new(values, negatives).unwrap_err().to_string();
            assert!(e.contains(words), "{e}");
        }
    }
}

//! Retrieval and localisation figures with bootstrap intervals.
//!
//! A query yields the rank of its first right candidate and the ground distance between the best
//! candidate and the truth. From a slice of those come recall at k, the mean reciprocal rank,
//! the median and mean error and the share of fixes within a radius.
//!
//! Intervals are 95 % percentile bootstrap intervals (Efron 1979; Efron and Tibshirani 1993, ch. 13):
//! queries are drawn again with replacement 2,000 times and the 2.5 % and 97.5 % quantiles of the statistic
//! are reported. Draws come from SplitMix64 (Steele, Lea, Flood 2014) addressed by a counter, so that
//! the same results and seed give the same interval for any number of threads.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::gpu::Precision;
use crate::random::stream;
use crate::refine::Method;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The depths k at which recall is reported.
pub const RECALL_AT: [u32; 4] = [1, 5, 10, 20];
/// The radii, in metres, for which the share of fixes is reported.
pub const WITHIN_M: [u32; 3] = [50, 100, 250];
/// Number of bootstrap resamples behind every interval.
pub const RESAMPLES: usize = 2000;

/// Lower and upper end of a 95 % interval.
pub type Interval = [f64; 2];

impl From<MetricsError> for crate::Error {
    fn from(error: MetricsError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// Why no figures could be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MetricsError {
    /// The slice of results is empty.
    #[error("there are no queries to evaluate: check that the SAR image overlaps the map and holds valid pixels")]
    NoQueries,
    /// A rank of zero; ranks start at one.
    #[error("query {query} has rank 0, but ranks start at 1")]
    ZeroRank {
        /// Position of the query in the slice.
        query: usize,
    },
    /// Results that do not make whole strips.
    #[error("{results} results do not make whole strips of {strip}")]
    BrokenStrip {
        /// Number of results.
        results: usize,
        /// Queries of a strip.
        strip: usize,
    },
    /// An error that is not a distance.
    #[error("query {query} has an error of {value} m, which is not a distance")]
    BadDistance {
        /// Position of the query in the slice.
        query: usize,
        /// The value found.
        value: f64,
    },
}

/// What became of one query.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct QueryResult {
    /// Rank of the first right candidate, from 1; `None` when no right candidate was ranked.
    pub right_rank: Option<u32>,
    /// Ground distance in metres between the best candidate and the truth; `None` when there was no fix.
    pub error_m: Option<f64>,
}

/// A statistic with its 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The statistic over all queries.
    pub value: f64,
    /// Its 95 % percentile bootstrap interval.
    pub ci95: Interval,
}

/// One bar of the histogram of ranks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankBin {
    /// The ranks it covers, such as `2-5`, or `none` for queries without a right candidate.
    pub ranks: String,
    /// Number of queries in it.
    pub count: usize,
}

/// One point of the recall curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Number of candidates looked at.
    pub k: u32,
    /// Share of queries with a right candidate among the first `k`, in 0..1.
    pub recall: f64,
    /// Its 95 % percentile bootstrap interval.
    pub ci95: Interval,
}

/// All figures of a set of queries.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Number of queries.
    pub queries: usize,
    /// Number of queries with a known error; the median and mean error are over these.
    pub with_error: usize,
    /// Share of queries with a right candidate among the first k, by k.
    pub recall: BTreeMap<u32, Estimate>,
    /// Mean of 1 / rank, where a query without a right candidate counts 0.
    pub mrr: Estimate,
    /// Median error in metres; `None` when no query has a known error.
    pub median_error_m: Option<Estimate>,
    /// Mean error in metres; `None` when no query has a known error.
    pub mean_error_m: Option<Estimate>,
    /// Share of all queries whose error is at most so many metres, by metres. A query without a fix counts as outside.
    pub within_m: BTreeMap<u32, Estimate>,
    /// How the ranks are spread.
    pub ranks: Vec<RankBin>,
}

/// The figures that need no error: recall at 1, 5, 10, 20, then the mean reciprocal rank, then the shares within the radii.
const SHARES: usize = RECALL_AT.len() + 1 + WITHIN_M.len();

#[derive(Clone, Copy)]
struct Stats {
    shares: [f64; SHARES],
    /// Median and mean error.
    error: Option<[f64; 2]>,
}

impl Summary {
    /// Computes every figure over `results`; `seed` picks the bootstrap draws.
    ///
    /// # Errors
    /// [`MetricsError`] when the slice is empty, a rank is 0 or an error is negative or not finite.
    pub fn new(results: &[QueryResult], seed: u64) -> Result<Self, MetricsError> {
        Self::of_strips(results, 1, seed)
    }

    /// [`Summary::new`] where each `strip` consecutive queries hang together: for the intervals, whole strips are drawn.
    ///
    /// # Errors
    /// As [`Summary::new`]; results that do not make whole strips.
    pub fn of_strips(results: &[QueryResult], strip: usize, seed: u64) -> Result<Self, MetricsError> {
        check(results, strip)?;
        let n = results.len();
        let all = stats(results.iter(), &mut Vec::with_capacity(n));
        let draws: Vec<Stats> = (0..RESAMPLES)
            .into_par_iter()
            .map_init(|| Vec::with_capacity(n), |errors, r| stats(Draw::new(seed, r, n, strip).map(|i| &results[i]), errors))
            .collect();

        let share =
            |i: usize| Estimate { value: all.shares[i], ci95: percentiles(draws.iter().map(|d| d.shares[i]).collect(), all.shares[i]) };
        let error = |i: usize| {
            all.error.map(|e| Estimate { value: e[i], ci95: percentiles(draws.iter().filter_map(|d| Some(d.error?[i])).collect(), e[i]) })
        };
        let first_radius = RECALL_AT.len() + 1;
        Ok(Self {
            queries: n,
            with_error: results.iter().filter(|q| q.error_m.is_some()).count(),
            recall: RECALL_AT.iter().enumerate().map(|(i, &k)| (k, share(i))).collect(),
            mrr: share(RECALL_AT.len()),
            median_error_m: error(0),
            mean_error_m: error(1),
            within_m: WITHIN_M.iter().enumerate().map(|(i, &m)| (m, share(first_radius + i))).collect(),
            ranks: histogram(results),
        })
    }
}

/// Recall at every k from 1 to `max_k`, each with its interval; the input of the recall figure.
///
/// # Errors
/// [`MetricsError`] as for [`Summary::new`].
pub fn recall_curve(results: &[QueryResult], max_k: u32, seed: u64) -> Result<Vec<CurvePoint>, MetricsError> {
    recall_curve_of_strips(results, 1, max_k, seed)
}

/// [`recall_curve`] with the intervals of [`Summary::of_strips`].
///
/// # Errors
/// [`MetricsError`] as for [`Summary::of_strips`].
pub fn recall_curve_of_strips(results: &[QueryResult], strip: usize, max_k: u32, seed: u64) -> Result<Vec<CurvePoint>, MetricsError> {
    check(results, strip)?;
    let n = results.len();
    let depth = max_k as usize;
    let curve = |picks: &mut dyn Iterator<Item = usize>| {
        let mut hits = vec![0u32; depth];
        for i in picks {
            if let Some(rank) = results[i].right_rank
                && rank <= max_k
            {
                hits[rank as usize - 1] += 1;
            }
        }
        let mut sum = 0;
        hits.iter()
            .map(|&h| {
                sum += h;
                f64::from(sum) / n as f64
            })
            .collect::<Vec<f64>>()
    };
    let all = curve(&mut (0..n));
    let draws: Vec<Vec<f64>> = (0..RESAMPLES).into_par_iter().map(|r| curve(&mut Draw::new(seed, r, n, strip))).collect();
    Ok((0..depth)
        .map(|i| CurvePoint { k: i as u32 + 1, recall: all[i], ci95: percentiles(draws.iter().map(|d| d[i]).collect(), all[i]) })
        .collect())
}

fn check(results: &[QueryResult], strip: usize) -> Result<(), MetricsError> {
    if results.is_empty() {
        return Err(MetricsError::NoQueries);
    }
    if strip == 0 || !results.len().is_multiple_of(strip) {
        return Err(MetricsError::BrokenStrip { results: results.len(), strip });
    }
    for (query, q) in results.iter().enumerate() {
        if q.right_rank == Some(0) {
            return Err(MetricsError::ZeroRank { query });
        }
        if let Some(value) = q.error_m
            && !(value.is_finite() && value >= 0.0)
        {
            return Err(MetricsError::BadDistance { query, value });
        }
    }
    Ok(())
}

fn stats<'a>(queries: impl Iterator<Item = &'a QueryResult>, errors: &mut Vec<f64>) -> Stats {
    errors.clear();
    let mut shares = [0.0; SHARES];
    let mut n = 0usize;
    for q in queries {
        n += 1;
        if let Some(rank) = q.right_rank {
            for (share, &k) in shares.iter_mut().zip(&RECALL_AT) {
                *share += f64::from(u8::from(rank <= k));
            }
            shares[RECALL_AT.len()] += 1.0 / f64::from(rank);
        }
        if let Some(error) = q.error_m {
            for (share, &m) in shares[RECALL_AT.len() + 1..].iter_mut().zip(&WITHIN_M) {
                *share += f64::from(u8::from(error <= f64::from(m)));
            }
            errors.push(error);
        }
    }
    for share in &mut shares {
        *share /= n as f64;
    }
    let error = (!errors.is_empty()).then(|| {
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        [median(errors), mean]
    });
    Stats { shares, error }
}

/// Median of a slice that is not empty; the mean of the two middle values when their number is even.
fn median(values: &mut [f64]) -> f64 {
    let half = values.len() / 2;
    let even = values.len().is_multiple_of(2);
    let (below, &mut upper, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    if even {
        let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        f64::midpoint(lower, upper)
    } else {
        upper
    }
}

/// The 2.5 % and 97.5 % quantiles (linear between order statistics); `fallback` twice when there are no values.
pub(crate) fn percentiles(mut values: Vec<f64>, fallback: f64) -> Interval {
    values.sort_unstable_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else {
        return [fallback; 2];
    };
    [0.025, 0.975].map(|p| {
        let at = p * last as f64;
        let below = at.floor() as usize;
        let above = (below + 1).min(last);
        values[below] + (values[above] - values[below]) * (at - below as f64)
    })
}

fn histogram(results: &[QueryResult]) -> Vec<RankBin> {
    const BINS: [(&str, u32, u32); 6] =
        [("1", 1, 1), ("2-5", 2, 5), ("6-10", 6, 10), ("11-20", 11, 20), ("21-100", 21, 100), ("101+", 101, u32::MAX)];
    let count = |keep: &dyn Fn(Option<u32>) -> bool| results.iter().filter(|q| keep(q.right_rank)).count();
    BINS.iter()
        .map(|&(ranks, from, to)| RankBin { ranks: ranks.to_string(), count: count(&|r| r.is_some_and(|r| (from..=to).contains(&r))) })
        .chain([RankBin { ranks: "none".to_string(), count: count(&|r| r.is_none()) }])
        .collect()
}

/// The positions drawn in one bootstrap resample: whole strips.
pub(super) struct Draw {
    seed: u64,
    next: u64,
    end: u64,
    /// Number of strips, and queries of one.
    strips: u64,
    strip: usize,
    /// What is left of the strip under way.
    left: Range<usize>,
}

impl Draw {
    pub(super) fn new(seed: u64, resample: usize, n: usize, strip: usize) -> Self {
        let strips = (n / strip) as u64;
        let next = resample as u64 * strips;
        // The seed is mixed first, so that seeds side by side start far apart in the stream.
        Self { seed: stream(seed, 0), next, end: next + strips, strips, strip, left: 0..0 }
    }
}

impl Iterator for Draw {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.left.is_empty() {
            if self.next == self.end {
                return None;
            }
            let word = stream(self.seed, self.next);
            self.next += 1;
            // Multiply and shift (Lemire 2019); the bias is below n / 2^64.
            let drawn = ((u128::from(word) * u128::from(self.strips)) >> 64) as usize;
            self.left = drawn * self.strip..(drawn + 1) * self.strip;
        }
        self.left.next()
    }
}

/// How the candidates were refined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refined {
    /// The method.
    pub method: Method,
    /// Candidates of each query that it put in a new order.
    pub top: usize,
    /// Queries of one strip.
    pub strip: usize,
    /// Squares by which the candidates slid first; 0 where they did not.
    #[serde(default, skip_serializing_if = "unslid")]
    pub slide: usize,
}

fn unslid(slide: &usize) -> bool {
    *slide == 0
}

/// What `echogrid eval` measured; serialises to the JSON object of `eval --json`. Shares are in 0..1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalReport {
    /// `aligned` or `arbitrary`.
    pub protocol: String,
    /// Number of map cells searched.
    pub cells: usize,
    /// Number of queries.
    pub queries: usize,
    /// Recall by k.
    pub recall: BTreeMap<u32, f64>,
    /// Interval of the recall by k.
    pub recall_ci95: BTreeMap<u32, Interval>,
    /// Mean reciprocal rank.
    pub mrr: f64,
    /// Median error in metres; null when no error is known.
    pub median_error_m: Option<f64>,
    /// Share of queries within so many metres.
    pub within_m: BTreeMap<u32, f64>,
    /// Seconds spent by stage.
    pub seconds: BTreeMap<String, f64>,
    /// The adapter the kernels ran on.
    pub adapter: String,
    /// How networks multiplied.
    #[serde(default)]
    pub precision: Precision,
    /// Interval of the mean reciprocal rank.
    pub mrr_ci95: Interval,
    /// Interval of the median error.
    pub median_error_ci95: Option<Interval>,
    /// Mean error in metres; null when no error is known.
    pub mean_error_m: Option<f64>,
    /// Interval of the mean error.
    pub mean_error_ci95: Option<Interval>,
    /// Interval of the shares within so many metres.
    pub within_m_ci95: BTreeMap<u32, Interval>,
    /// Number of queries with a known error; the median and mean error are over these.
    pub with_error: usize,
    /// How the ranks of the first right candidates are spread.
    pub ranks: Vec<RankBin>,
    /// How the candidates were refined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refine: Option<Refined>,
    /// Expected calibration error of the first candidates' probabilities, where the method gives such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration_error: Option<f64>,
    /// Share of the ground that the model's training held out, where queries lie on that alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<f64>,
}

/// Expected calibration error: the mean over ten bins of probability of |share right - mean probability|, weighted by size.
pub fn calibration_error(cases: &[(f64, bool)]) -> f64 {
    let mut bins = [(0usize, 0.0f64, 0usize); 10];
    for (p, right) in cases {
        let bin = &mut bins[((p * 10.0) as usize).min(9)];
        *bin = (bin.0 + 1, bin.1 + p, bin.2 + usize::from(*right));
    }
    let total = cases.len().max(1) as f64;
    bins.iter().map(|(n, p, right)| (p - *right as f64).abs() / total * f64::from(u8::from(*n > 0))).sum()
}

impl fmt::Display for Refined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.method {
            Method::None => write!(f, "candidates as the search found them")?,
            method => write!(f, "{} candidates of each query refined by {}", self.top, method.name())?,
        }
        match self.slide {
            0 => {}
            1 => write!(f, ", slid by up to a square")?,
            squares => write!(f, ", slid by up to {squares} squares")?,
        }
        if self.strip > 1 { write!(f, ", queries in strips of {}", self.strip) } else { Ok(()) }
    }
}

impl EvalReport {
    /// Joins a summary with what was run: the protocol, the number of map cells, the adapter and the seconds by stage.
    #[must_use]
    pub fn new(
        protocol: impl Into<String>,
        cells: usize,
        adapter: impl Into<String>,
        seconds: BTreeMap<String, f64>,
        summary: &Summary,
    ) -> Self {
        let values = |m: &BTreeMap<u32, Estimate>| m.iter().map(|(&k, e)| (k, e.value)).collect();
        let intervals = |m: &BTreeMap<u32, Estimate>| m.iter().map(|(&k, e)| (k, e.ci95)).collect();
        Self {
            protocol: protocol.into(),
            cells,
            queries: summary.queries,
            recall: values(&summary.recall),
            recall_ci95: intervals(&summary.recall),
            mrr: summary.mrr.value,
            median_error_m: summary.median_error_m.map(|e| e.value),
            within_m: values(&summary.within_m),
            seconds,
            adapter: adapter.into(),
            precision: Precision::Full,
            mrr_ci95: summary.mrr.ci95,
            median_error_ci95: summary.median_error_m.map(|e| e.ci95),
            mean_error_m: summary.mean_error_m.map(|e| e.value),
            mean_error_ci95: summary.mean_error_m.map(|e| e.ci95),
            within_m_ci95: intervals(&summary.within_m),
            with_error: summary.with_error,
            ranks: summary.ranks.clone(),
            refine: None,
            calibration_error: None,
            held_out: None,
        }
    }

    /// The figures as rows of name, value and interval, ready to print.
    #[must_use]
    pub fn rows(&self) -> Vec<[String; 3]> {
        let percent = |v: f64| format!("{:.1} %", 100.0 * v);
        let metres = |v: f64| {
            if v < 100.0 { format!("{v:.1}") } else { format!("{v:.0}") }
        };
        let share = |name: String, value: f64, ci: Option<&Interval>| {
            let ci = ci.map_or_else(String::new, |[lo, hi]| format!("{:.1} to {:.1} %", 100.0 * lo, 100.0 * hi));
            [name, percent(value), ci]
        };
        let error = |name: &str, value: Option<f64>, ci: Option<Interval>| {
            [
                name.to_string(),
                value.map_or_else(|| "unknown".to_string(), |v| format!("{} m", metres(v))),
                ci.map_or_else(String::new, |[lo, hi]| format!("{} to {} m", metres(lo), metres(hi))),
            ]
        };
        let mut rows = Vec::new();
        for (k, &value) in &self.recall {
            rows.push(share(format!("R@{k}"), value, self.recall_ci95.get(k)));
        }
        let [lo, hi] = self.mrr_ci95;
        rows.push(["MRR".to_string(), format!("{:.3}", self.mrr), format!("{lo:.3} to {hi:.3}")]);
        rows.push(error("median error", self.median_error_m, self.median_error_ci95));
        rows.push(error("mean error", self.mean_error_m, self.mean_error_ci95));
        for (m, &value) in &self.within_m {
            rows.push(share(format!("within {m} m"), value, self.within_m_ci95.get(m)));
        }
        rows
    }
}

impl fmt::Display for EvalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, cells, queries, adapter, precision, .. } = self;
        writeln!(f, "protocol {protocol}: {queries} queries over {cells} cells, on {adapter}, {precision}")?;
        if let Some(share) = self.held_out {
            writeln!(f, "queries on the {:.0} % of the ground that training held out", 100.0 * share)?;
        }
        if let Some(refine) = self.refine.filter(|r| r.method != Method::None || r.strip > 1 || r.slide > 0) {
            writeln!(f, "{refine}")?;
        }
        writeln!(f)?;
        let head = ["measure", "value", "95 % interval"].map(str::to_string);
        let rows = self.rows();
        let width = |column: usize| rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or_default();
        let (a, b, c) = (width(0), width(1), width(2));
        for [name, value, ci] in [&head].into_iter().chain(&rows) {
            writeln!(f, "{}", format!("{name:<a$}  {value:>b$}  {ci:>c$}").trim_end())?;
        }
        if let Some(error) = self.calibration_error {
            writeln!(f, "\nexpected calibration error of the first candidates' probabilities: {error:.3}")?;
        }
        if self.with_error < self.queries {
            writeln!(f, "\nerrors are over the {} queries that have one", self.with_error)?;
        }
        if !self.seconds.is_empty() {
            let stages: Vec<String> = self.seconds.iter().map(|(name, s)| format!("{name} {s:.2}")).collect();
            writeln!(f, "\nseconds: {}", stages.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(right_rank: Option<u32>, error_m: Option<f64>) -> QueryResult {
        QueryResult { right_rank, error_m }
    }

    fn sample() -> Vec<QueryResult> {
        vec![q(Some(1), Some(10.0)), q(Some(2), Some(80.0)), q(Some(10), Some(200.0)), q(Some(21), Some(1000.0)), q(None, None)]
    }

    #[test]
    fn honest_probabilities_have_no_calibration_error() {
        let cases: Vec<(f64, bool)> = (0..100).map(|i| (0.25, i % 4 == 0)).collect();
        assert!(calibration_error(&cases) < 1e-12);
        let sure: Vec<(f64, bool)> = (0..100).map(|i| (1.0, i % 2 == 0)).collect();
        assert!((calibration_error(&sure) - 0.5).abs() < 1e-12);
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn figures_match_a_hand_worked_case() {
        let s = Summary::new(&sample(), 7).unwrap();
        let recall: Vec<f64> = s.recall.values().map(|e| e.value).collect();
        assert_eq!(recall, [0.2, 0.4, 0.6, 0.6]);
        near(s.mrr.value, (1.0 + 0.5 + 0.1 + 1.0 / 21.0) / 5.0);
        near(s.median_error_m.unwrap().value, 140.0);
        near(s.mean_error_m.unwrap().value, 1290.0 / 4.0);
        let within: Vec<f64> = s.within_m.values().map(|e| e.value).collect();
        assert_eq!(within, [0.2, 0.4, 0.6]);
        assert_eq!((s.queries, s.with_error), (5, 4));
        let ranks: Vec<usize> = s.ranks.iter().map(|b| b.count).collect();
        assert_eq!(ranks, [1, 1, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn median_of_odd_and_even_numbers() {
        near(median(&mut [3.0, 1.0, 2.0]), 2.0);
        near(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
        near(median(&mut [5.0]), 5.0);
        near(median(&mut [5.0, 7.0]), 6.0);
    }

    #[test]
    fn intervals_bracket_the_value_and_match_the_normal_width() {
        let results: Vec<QueryResult> = (0..400).map(|i| q((i % 10 < 3).then_some(1), Some(f64::from(i)))).collect();
        let s = Summary::new(&results, 1).unwrap();
        for e in s.recall.values().chain(s.within_m.values()).chain([&s.mrr]) {
            assert!(e.ci95[0] <= e.value && e.value <= e.ci95[1], "{e:?}");
        }
        for e in [s.median_error_m.unwrap(), s.mean_error_m.unwrap()] {
            assert!(e.ci95[0] < e.value && e.value < e.ci95[1], "{e:?}");
        }
        // A share of 0.3 over 400 queries has a standard error of sqrt(0.3 * 0.7 / 400) = 0.0229.
        let [lo, hi] = s.recall[&1].ci95;
        let expected = 2.0 * 1.96 * (0.3f64 * 0.7 / 400.0).sqrt();
        assert!((hi - lo - expected).abs() < 0.15 * expected, "{lo} {hi} against a width of {expected}");
    }

    #[test]
    fn strips_are_drawn_whole() {
        // 100 strips of 4 equal queries: as uncertain as 100 queries, sqrt(0.3 * 0.7 / 100) = 0.0458, not as 400.
        let results: Vec<QueryResult> = (0..400).map(|i| q((i / 4 % 10 < 3).then_some(1), None)).collect();
        let s = Summary::of_strips(&results, 4, 1).unwrap();
        let [lo, hi] = s.recall[&1].ci95;
        let expected = 2.0 * 1.96 * (0.3f64 * 0.7 / 100.0).sqrt();
        assert!(s.recall[&1].value == 0.3 && (hi - lo - expected).abs() < 0.15 * expected, "{lo} {hi} against a width of {expected}");
        let point = recall_curve_of_strips(&results, 4, 1, 1).unwrap()[0];
        assert_eq!((point.recall, point.ci95), (s.recall[&1].value, s.recall[&1].ci95));
        assert_eq!(Summary::of_strips(&results, 3, 1), Err(MetricsError::BrokenStrip { results: 400, strip: 3 }));
        assert_eq!(Summary::of_strips(&results, 0, 1), Err(MetricsError::BrokenStrip { results: 400, strip: 0 }));
    }

    #[test]
    fn same_seed_same_bits_whatever_the_threads() {
        let results: Vec<QueryResult> = (0..97).map(|i| q((i % 3 > 0).then_some(i % 23 + 1), Some(f64::from(i * i)))).collect();
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let a = one.install(|| Summary::new(&results, 7)).unwrap();
        let b = Summary::new(&results, 7).unwrap();
        assert_eq!(a, b);
        let other = Summary::new(&results, 8).unwrap();
        assert_eq!(a.mrr.value, other.mrr.value);
        assert_ne!(a.mrr.ci95, other.mrr.ci95);
    }

    #[test]
    fn bad_input_is_an_error_value() {
        assert_eq!(Summary::new(&[], 0), Err(MetricsError::NoQueries));
        assert_eq!(recall_curve(&[], 5, 0), Err(MetricsError::NoQueries));
        assert_eq!(Summary::new(&[q(Some(0), None)], 0), Err(MetricsError::ZeroRank { query: 0 }));
        let nan = Summary::new(&[q(None, None), q(None, Some(f64::NAN))], 0);
        assert!(matches!(nan, Err(MetricsError::BadDistance { query: 1, .. })));
        assert!(Summary::new(&[q(None, Some(-1.0))], 0).is_err());
    }

    #[test]
    fn queries_without_any_fix_have_no_error_but_have_recall() {
        let s = Summary::new(&[q(Some(1), None), q(None, None)], 0).unwrap();
        assert_eq!(s.median_error_m, None);
        assert_eq!(s.recall[&1].value, 0.5);
        assert_eq!(s.within_m[&250], Estimate { value: 0.0, ci95: [0.0, 0.0] });
    }

    #[test]
    fn curve_agrees_with_the_summary() {
        let results = sample();
        let s = Summary::new(&results, 3).unwrap();
        let curve = recall_curve(&results, 25, 3).unwrap();
        assert_eq!(curve.len(), 25);
        for k in RECALL_AT {
            let point = curve[k as usize - 1];
            assert_eq!((point.k, point.recall, point.ci95), (k, s.recall[&k].value, s.recall[&k].ci95));
        }
        near(curve[20].recall, 0.8);
    }

    #[test]
    fn json_has_the_agreed_keys_in_numeric_order() {
        let summary = Summary::new(&sample(), 7).unwrap();
        let seconds = BTreeMap::from([("encode".to_string(), 1.5)]);
        let report = EvalReport::new("aligned", 42, "llvmpipe", seconds, &summary);
        let json = serde_json::to_string(&report).unwrap();
        let head = r#"{"protocol":"aligned","cells":42,"queries":5,"recall":{"1":0.2,"5":0.4,"10":0.6,"20":0.6},"recall_ci95":{"1":["#;
        assert!(json.starts_with(head), "{json}");
        assert!(json.contains(r#""within_m":{"50":0.2,"100":0.4,"250":0.6},"seconds":{"encode":1.5},"adapter":"llvmpipe""#), "{json}");
        assert!(json.contains(r#""median_error_m":140.0"#), "{json}");
        assert_eq!(serde_json::from_str::<EvalReport>(&json).unwrap(), report);
    }

    #[test]
    fn table_columns_are_aligned() {
        let summary = Summary::new(&sample(), 7).unwrap();
        let text = EvalReport::new("aligned", 42, "llvmpipe", BTreeMap::new(), &summary).to_string();
        let rows: Vec<&str> = text.lines().skip(2).take(11).collect();
        assert!(rows[1].starts_with("R@1 ") && rows[1].contains("20.0 %"), "{text}");
        assert!(rows.iter().all(|r| r.len() == rows[0].len()), "{text}");
        assert!(text.contains("errors are over the 4 queries"), "{text}");
    }
}

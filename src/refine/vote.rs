//! Geometric voting: candidates that agree on the place add to each other's score.
//!
//! A candidate of a query that lies `offset` along its strip says that the strip's first query lies at p = its position less the offset,
//! in metres. With g(a, b) = exp(-|a - b|^2 / (2 sigma^2)) and s the cosine, at least 0:
//!
//! ```text
//! score(i) = s_i + sum over the other queries of the strip of the largest s_j g(p_i, p_j) among their candidates
//! ```
//!
//! Another query lies in one place only, and has one vote: a dense cluster of its candidates does not outvote the one that fits. A query
//! by itself keeps its order: votes among its own candidates made it worse (REJECTED.md).

use super::{Request, Strip, reorder};
use crate::index::{CellHit, Database};
use rayon::prelude::*;

/// Reach of a vote, sigma, in distances between views: the best of 0.3 to 4.5 for strips of five on los-angeles (3 views a side).
const REACH: f64 = 1.0;

/// A candidate's vote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vote {
    /// Where it puts the strip's first query, metres.
    pub(super) place_m: [f64; 2],
    /// Its cosine.
    cosine: f64,
}

impl Vote {
    /// Of the candidates of a query that lies `along` its strip.
    pub(super) fn all(database: &Database, hits: &[CellHit], along: [f64; 2]) -> Vec<Self> {
        let vote = |h: &CellHit| {
            let p = database.metres(h.centre_px);
            Self { place_m: [p[0] - along[0], p[1] - along[1]], cosine: f64::from(h.score) }
        };
        hits.iter().map(vote).collect()
    }
}

/// The distance between views, metres.
pub(super) fn spacing_m(database: &Database) -> f64 {
    let grid = &database.manifest.grid;
    let [x, y] = database.metres([f64::from(grid.stride) / f64::from(grid.views); 2]);
    f64::midpoint(x, y)
}

/// The sum of votes of each candidate of each query of one strip.
pub(super) fn support(lists: &[Vec<Vote>], sigma_m: f64) -> Vec<Vec<f64>> {
    let worth = |v: &Vote, at: [f64; 2]| {
        let d = [v.place_m[0] - at[0], v.place_m[1] - at[1]];
        v.cosine.max(0.0) * (-(d[0] * d[0] + d[1] * d[1]) / (2.0 * sigma_m * sigma_m)).exp()
    };
    let one = |(own, list): (usize, &Vec<Vote>)| -> Vec<f64> {
        list.iter()
            .map(|v| {
                let others = lists.iter().enumerate().filter(|(i, _)| *i != own);
                v.cosine.max(0.0) + others.map(|(_, l)| l.iter().map(|o| worth(o, v.place_m)).fold(0.0, f64::max)).sum::<f64>()
            })
            .collect()
    };
    lists.par_iter().enumerate().map(one).collect()
}

pub(super) fn refine(request: &Request<'_>, candidates: &[Vec<CellHit>]) -> Vec<Vec<CellHit>> {
    let (database, sigma_m) = (request.database, REACH * spacing_m(request.database));
    let strip = |strip: &Strip| -> Vec<Vec<CellHit>> {
        let hits = &candidates[strip.queries.clone()];
        let lists: Vec<Vec<Vote>> = hits.iter().zip(&strip.offsets_m).map(|(h, along)| Vote::all(database, h, *along)).collect();
        hits.iter().zip(support(&lists, sigma_m)).map(|(hits, scores)| reorder(hits, &scores)).collect()
    };
    request.strips.par_iter().flat_map_iter(strip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(x: f64, y: f64, cosine: f64) -> Vote {
        Vote { place_m: [x, y], cosine }
    }

    fn near(got: &[f64], want: &[f64]) {
        assert!(got.len() == want.len() && got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-12), "{got:?} {want:?}");
    }

    #[test]
    fn each_other_query_has_one_vote() {
        // Sigma 10 m. Candidates 10 m apart weigh e = exp(-1/2), 20 m apart exp(-2) = e^4, those 1 km away nothing (exp(-5000) is 0).
        let e = (-0.5f64).exp();
        let a = vec![vote(1000.0, 0.0, 0.5), vote(0.0, 0.0, 0.4), vote(0.0, 10.0, 0.3), vote(-2000.0, 0.0, -0.9)];
        // Alone it keeps its cosines; a negative one is worth nothing.
        near(&support(std::slice::from_ref(&a), 10.0)[0], &[0.5, 0.4, 0.3, 0.0]);
        // Another query, with candidates 20, 10 and 10 m from a's second: the best of 0.9 e^4, 0.2 e and 0.5 e is 0.5 e, as 0.9 e^3 < 0.5.
        // From a's third they are at squared distances 500, 200 and 200: 0.9 exp(-2.5), 0.2 exp(-1), 0.5 exp(-1).
        let b = vec![vote(20.0, 0.0, 0.9), vote(10.0, 0.0, 0.2), vote(-10.0, 0.0, 0.5)];
        let got = support(&[a, b], 10.0);
        near(&got[0], &[0.5, 0.4 + 0.5 * e, 0.3 + 0.5 * (-1.0f64).exp(), 0.0]);
        // b's second has a's best of 0.4 e and 0.3 exp(-1).
        near(&got[1][1..2], &[0.2 + 0.4 * e]);
    }

    #[test]
    fn only_differences_of_places_count() {
        let lists = |at: [f64; 2]| -> Vec<Vec<Vote>> {
            let value = |i: u64| crate::random::unit(i + 77);
            let list = |q: u64| -> Vec<Vote> {
                (0..6)
                    .map(|i| 100 * q + 3 * i)
                    .map(|i| vote(at[0] + (256.0 * value(i)).round(), at[1] + (256.0 * value(i + 1)).round(), value(i + 2)))
                    .collect()
            };
            (0..4).map(list).collect()
        };
        // Whole metres: the differences are exact.
        let got = support(&lists([0.0; 2]), 30.0);
        assert_eq!(got, support(&lists([4096.0, -70_000.0]), 30.0));
        // In another order, the queries' results are in that order, but for the rounding of sums of four.
        let turned: Vec<Vec<Vote>> = lists([0.0; 2]).into_iter().rev().collect();
        for (a, b) in got.iter().zip(support(&turned, 30.0).iter().rev()) {
            near(a, b);
        }
    }
}

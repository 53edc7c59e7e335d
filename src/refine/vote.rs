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
//! by itself keeps its order: votes among its own candidates made it worse (REJECTED.md). The strip's place is then the mean of the
//! candidate's own and of those that voted for it, by the weights of the votes.

use super::batch::start_m;
use super::{Request, Strip, reorder};
use crate::index::{CellHit, Database};
use rayon::prelude::*;

/// Reach of a vote, sigma, in distances between views: a view is off by half of one at most along either axis.
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
        hits.iter().map(|h| Self { place_m: start_m(database, h, along), cosine: f64::from(h.score) }).collect()
    }
}

/// The distance between views, metres.
pub(super) fn spacing_m(database: &Database) -> f64 {
    let grid = &database.manifest.grid;
    let [x, y] = database.metres([f64::from(grid.stride) / f64::from(grid.views); 2]);
    f64::midpoint(x, y)
}

/// What a strip has to say for a candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Support {
    /// The sum of votes.
    pub(super) votes: f64,
    /// Where they put the strip's first query together, metres.
    pub(super) place_m: [f64; 2],
}

/// The support of each candidate of each query of one strip.
pub(super) fn support(lists: &[Vec<Vote>], sigma_m: f64) -> Vec<Vec<Support>> {
    let worth = |v: &Vote, at: [f64; 2]| {
        let d = [v.place_m[0] - at[0], v.place_m[1] - at[1]];
        v.cosine.max(0.0) * (-(d[0] * d[0] + d[1] * d[1]) / (2.0 * sigma_m * sigma_m)).exp()
    };
    let supported = |own: usize, v: &Vote| {
        let mut votes = v.cosine.max(0.0);
        // Sums of differences: where the map lies does not round them.
        let mut off = [0.0; 2];
        for other in lists.iter().enumerate().filter(|(i, _)| *i != own).map(|(_, l)| l) {
            let best = other.iter().map(|o| (worth(o, v.place_m), o)).max_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((weight, o)) = best {
                votes += weight;
                (0..2).for_each(|d| off[d] += weight * (o.place_m[d] - v.place_m[d]));
            }
        }
        let place_m = if votes > 0.0 { [0, 1].map(|d| v.place_m[d] + off[d] / votes) } else { v.place_m };
        Support { votes, place_m }
    };
    lists.par_iter().enumerate().map(|(own, list)| list.iter().map(|v| supported(own, v)).collect()).collect()
}

/// Calls `each(candidates of a query, their support, how far it lies along its strip)` for every query.
fn supported<T: Send>(
    database: &Database,
    strips: &[Strip],
    candidates: &[Vec<CellHit>],
    each: impl Fn(&[CellHit], &[Support], [f64; 2]) -> T + Sync,
) -> Vec<T> {
    let sigma_m = REACH * spacing_m(database);
    let strip = |strip: &Strip| -> Vec<T> {
        let hits = &candidates[strip.queries.clone()];
        let lists: Vec<Vec<Vote>> = hits.iter().zip(&strip.offsets_m).map(|(h, along)| Vote::all(database, h, *along)).collect();
        let support = support(&lists, sigma_m);
        hits.iter().zip(&support).zip(&strip.offsets_m).map(|((hits, support), along)| each(hits, support, *along)).collect()
    };
    strips.par_iter().flat_map_iter(strip).collect()
}

/// Where the strip puts a candidate.
fn settled(database: &Database, hit: &CellHit, support: &Support, along: [f64; 2]) -> CellHit {
    let centre_px = database.pixels([support.place_m[0] + along[0], support.place_m[1] + along[1]]);
    CellHit { centre_px, ..*hit }
}

/// Moves the candidates of strips to where their strip puts them, a candidate's score being the weight of its vote.
pub(super) fn settle(database: &Database, strips: &[Strip], candidates: &[Vec<CellHit>]) -> Vec<Vec<CellHit>> {
    supported(database, strips, candidates, |hits, support, along| {
        hits.iter().zip(support).map(|(h, s)| settled(database, h, s, along)).collect()
    })
}

pub(super) fn refine(request: &Request<'_>, candidates: &[Vec<CellHit>]) -> Vec<Vec<CellHit>> {
    supported(request.database, request.strips, candidates, |hits, support, along| {
        let votes: Vec<f64> = support.iter().map(|s| s.votes).collect();
        let moved: Vec<CellHit> = hits.iter().zip(support).map(|(h, s)| settled(request.database, h, s, along)).collect();
        reorder(&moved, &votes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(x: f64, y: f64, cosine: f64) -> Vote {
        Vote { place_m: [x, y], cosine }
    }

    fn near(got: &[Support], want: &[f64]) {
        let got: Vec<f64> = got.iter().map(|s| s.votes).collect();
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
        // Its place, of (10, 0) with 0.2 and (0, 0) with 0.4 e.
        let [x, y] = got[1][1].place_m;
        assert!((x - 2.0 / (0.2 + 0.4 * e)).abs() < 1e-12 && y == 0.0, "{x} {y}");
        // No vote at all: where it was.
        assert_eq!(got[0][3].place_m, [-2000.0, 0.0]);
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
        for (a, b) in got.iter().flatten().zip(support(&lists([4096.0, -70_000.0]), 30.0).iter().flatten()) {
            assert_eq!(a.votes, b.votes);
            assert!((a.place_m[0] + 4096.0 - b.place_m[0]).abs() < 1e-9 && (a.place_m[1] - 70_000.0 - b.place_m[1]).abs() < 1e-9);
        }
        // In another order, the queries' results are in that order, but for the rounding of sums of four.
        let turned: Vec<Vec<Vote>> = lists([0.0; 2]).into_iter().rev().collect();
        for (a, b) in got.iter().zip(support(&turned, 30.0).iter().rev()) {
            near(a, &b.iter().map(|s| s.votes).collect::<Vec<_>>());
        }
    }
}

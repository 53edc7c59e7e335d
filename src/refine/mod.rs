//! Refinement: the candidates that the search found are put in a better order by what they have to do with each other.
//!
//! Three kinds of method are here. The graph network ([`Refiner`]) learns from where the cells lie, plain voting uses it. The others are the re-ranking methods of image retrieval, made for
//! databases of many pictures of each place: they use only how alike the candidates are, and are here to be compared with. They see a
//! query and its candidates, each by its best view, as one small database of its own, so that they cost the same whatever the map's size.

mod aqe;
mod batch;
mod gnnrr;
mod graph;
mod krnn;
mod network;
mod prepare;
mod share;
mod shortlist;
mod slide;
mod superglobal;
#[cfg(test)]
mod tests;
mod vote;

pub use graph::Refiner;
pub use network::{Position, RefineLoss, RefinerConfig, Refining, Supervision};
pub use prepare::{Choice, Prepared};
pub use slide::{DEPTH, Slider};

pub(crate) use batch::{Candidates, Trainer, Turn};
pub(crate) use graph::rows;

use crate::gpu::Engine;
use crate::index::{CellHit, Database, Searcher};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use shortlist::Shortlist;
use std::borrow::Cow;
use std::ops::Range;

/// How candidates are put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// As the search found them; the score is the cosine
    #[default]
    None,
    /// The graph network that the model carries; the score is the probability that the candidate is right
    Graph,
    /// Alpha query expansion: the query leans to its best candidates and is searched anew; the score is the cosine with it
    Aqe,
    /// k-reciprocal neighbours; the score is 1 less the joined distance, 1 at best
    Krnn,
    /// Graph propagation without training; the score is the cosine of the propagated neighbourhoods, 0 to 1
    Gnnrr,
    /// SuperGlobal; the score is the mean of its two similarities
    Superglobal,
    /// Candidates of a strip's queries that agree on the place vote for each other; the score is the sum of the votes, the candidate's own cosine among them
    Vote,
}

impl Method {
    /// Its name, as in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Graph => "graph",
            Self::Aqe => "aqe",
            Self::Krnn => "krnn",
            Self::Gnnrr => "gnnrr",
            Self::Superglobal => "superglobal",
            Self::Vote => "vote",
        }
    }
}

/// Consecutive queries whose places along a strip are known from each other, though where the strip lies is not.
#[derive(Debug, Clone, PartialEq)]
pub struct Strip {
    /// Which queries.
    pub queries: Range<usize>,
    /// Where each lies from the first, metres on the map: x to the right, y down.
    pub offsets_m: Vec<[f64; 2]>,
}

impl Strip {
    /// Each of `n` queries by itself.
    pub fn singles(n: usize) -> Vec<Self> {
        (0..n).map(|i| Self { queries: i..i + 1, offsets_m: vec![[0.0; 2]] }).collect()
    }
}

/// What is to be refined.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The search over the database.
    pub searcher: &'a Searcher<'a>,
    /// The database.
    pub database: &'a Database,
    /// Vectors of the queries, [n, dim], of unit length.
    pub queries: &'a [f32],
    /// Candidates of each query, best first.
    pub hits: &'a [Vec<CellHit>],
    /// Which queries lie along one strip; each query in one of them, in order.
    pub strips: &'a [Strip],
    /// Candidates that are put into a new order. Those behind them keep order and score, and serve the retrieval methods as
    /// neighbours. [`Method::Aqe`] expands the query with so many, and puts all in a new order.
    pub top: usize,
    /// Slides the candidates before [`Method::None`] and [`Method::Vote`] take them; other methods do without, and the graph network has
    /// its own.
    pub slider: Option<&'a Slider>,
    /// The network of [`Method::Graph`], which knows its own number of candidates.
    pub refiner: Option<&'a Refiner>,
}

impl Request<'_> {
    fn check(&self) -> Result<()> {
        let n = self.hits.len();
        if self.queries.len() != n * self.database.dim() {
            return Err(Error::invalid(format!(
                "{} values of queries of {} for candidates of {n} queries",
                self.queries.len(),
                self.database.dim()
            )));
        }
        if self.top == 0 {
            return Err(Error::invalid("no candidate is to be refined: the number of them must be above 0"));
        }
        let mut next = 0;
        for strip in self.strips {
            if strip.queries.start != next || strip.queries.end <= next || strip.offsets_m.len() != strip.queries.len() {
                return Err(Error::invalid(format!(
                    "a strip of queries {:?} with {} offsets follows query {next}: strips take the queries in order, with an offset each",
                    strip.queries,
                    strip.offsets_m.len()
                )));
            }
            if strip.offsets_m.iter().flatten().any(|v| !v.is_finite()) {
                return Err(Error::invalid(format!("an offset in the strip of queries {:?} is not a finite distance", strip.queries)));
            }
            next = strip.queries.end;
        }
        if next != n {
            return Err(Error::invalid(format!("the strips hold {next} queries of {n}")));
        }
        Ok(())
    }

    /// A query's vector.
    fn query(&self, i: usize) -> &[f32] {
        let dim = self.database.dim();
        &self.queries[i * dim..][..dim]
    }

    /// Orders the first `top` candidates of each query by what `score` makes of the query and all its candidates.
    fn each(&self, score: impl Fn(&Shortlist) -> Vec<f64> + Sync) -> Vec<Vec<CellHit>> {
        use rayon::prelude::*;
        let one = |(i, hits): (usize, &Vec<CellHit>)| {
            let mut scores = score(&Shortlist::new(self.database, self.query(i), hits));
            scores.truncate(self.top);
            reorder(hits, &scores)
        };
        self.hits.par_iter().enumerate().map(one).collect()
    }
}

/// The candidates in the order of new scores, best first; ties keep their order, and so do the candidates behind the last score.
fn reorder(hits: &[CellHit], scores: &[f64]) -> Vec<CellHit> {
    // What is not a number comes last.
    let rank = |s: f64| if s.is_nan() { f64::NEG_INFINITY } else { s };
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| rank(scores[*b]).total_cmp(&rank(scores[*a])));
    let first = order.into_iter().map(|i| CellHit { score: scores[i] as f32, ..hits[i] });
    first.chain(hits[scores.len()..].iter().copied()).collect()
}

/// Puts the candidates of each query in a new order; a candidate's score becomes the method's own (see [`Method`]), so that scores of
/// different methods do not compare.
///
/// # Errors
/// Queries, candidates and strips that do not fit each other, no candidate to refine; the device.
pub fn refine(engine: &Engine, method: Method, request: &Request<'_>) -> Result<Vec<Vec<CellHit>>> {
    request.check()?;
    let refined = match method {
        Method::None => return Ok(slid(engine, request)?.into_owned()),
        Method::Graph => {
            let refiner = request.refiner.ok_or_else(|| Error::invalid("the method graph takes a graph network; load one from a model"))?;
            let Request { database, strips, .. } = *request;
            let hits = candidates(engine, &Request { slider: refiner.slider(), ..*request })?;
            let cells = vec![database.cells(); hits.len()];
            refiner.refine(engine, request.queries, &Candidates { database, hits: &hits, strips, cells: &cells })?
        }
        Method::Vote => vote::refine(request, &candidates(engine, request)?),
        Method::Aqe => return aqe::refine(engine, request),
        Method::Krnn => return Ok(request.each(krnn::scores)),
        Method::Gnnrr => return Ok(request.each(gnnrr::scores)),
        Method::Superglobal => return Ok(request.each(superglobal::scores)),
    };
    Ok(refined.into_iter().zip(request.hits).map(|(first, all)| followed(first, all)).collect())
}

/// The candidates of all queries as [`Method::Graph`] and [`Method::Vote`] take them: `request.top` of each at most, best cosine first. The
/// queries of a strip share theirs: cells of places that most of the strip agrees on are candidates of each of its queries. With a
/// slider all have slid, and places and cosines are those after it.
///
/// # Errors
/// The device.
pub fn candidates(engine: &Engine, request: &Request<'_>) -> Result<Vec<Vec<CellHit>>> {
    shared(engine, request, &slid(engine, request)?)
}

/// The candidates, slid where there is a slider.
fn slid<'a>(engine: &Engine, request: &Request<'a>) -> Result<Cow<'a, [Vec<CellHit>]>> {
    match request.slider {
        Some(slider) => slider.slide(engine, request.database, request.queries, request.hits).map(Cow::Owned),
        None => Ok(Cow::Borrowed(request.hits)),
    }
}

/// [`candidates`], of those that have slid.
fn shared(engine: &Engine, request: &Request<'_>, slid: &[Vec<CellHit>]) -> Result<Vec<Vec<CellHit>>> {
    let mut shared = share::share(request, slid);
    let Some(slider) = request.slider else { return Ok(shared) };
    // Those that came in by the strip slide now, the others have.
    let mut new: Vec<Vec<CellHit>> = vec![Vec::new(); shared.len()];
    for ((list, slid), new) in shared.iter_mut().zip(slid).zip(&mut new) {
        let known = |h: &CellHit| slid.iter().take(DEPTH).any(|s| s.cell == h.cell);
        new.extend(list.iter().filter(|h| !known(h)));
        list.retain(known);
    }
    if new.iter().any(|n| !n.is_empty()) {
        for (list, new) in shared.iter_mut().zip(slider.slide(engine, request.database, request.queries, &new)?) {
            list.extend(new);
            list.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.cell.cmp(&b.cell)));
        }
    }
    Ok(shared)
}

/// Refined candidates, and behind them what the search found beside.
fn followed(mut first: Vec<CellHit>, all: &[CellHit]) -> Vec<CellHit> {
    let count = first.len();
    let least = first.last().map_or(0.0, |h| h.score.min(0.0));
    for h in all {
        if !first[..count].iter().any(|f| f.cell == h.cell) {
            first.push(CellHit { score: least, ..*h });
        }
    }
    first
}
